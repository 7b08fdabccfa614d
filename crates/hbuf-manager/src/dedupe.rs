//! The last command of each client, so that its repetition is answered and not done again.

use alloc::collections::BTreeMap;

use hbuf_core::ids::Uuid;
use hbuf_core::limits::COMMAND_CLIENTS_MAX;

use crate::apply::{Applied, Outcome, Refused};

/// The last command of a client.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct ClientRow {
    pub(crate) number: u64,
    pub(crate) index: u64,
    /// `None` when it was refused.
    pub(crate) outcome: Option<Outcome>,
}

/// The clients that were heard last.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Clients(pub(crate) BTreeMap<Uuid, ClientRow>);

impl Clients {
    /// The number of a client's last command; its next one must be higher.
    pub(crate) fn last_number(&self, client: Uuid) -> u64 {
        self.0.get(&client).map_or(0, |row| row.number)
    }

    /// The answer to a command that was answered before.
    pub(crate) fn known(&self, client: Uuid, number: u64) -> Option<Result<Applied, Refused>> {
        let row = self.0.get(&client)?;
        (number <= row.number).then(|| row.answer_again(number))
    }

    pub(crate) fn remember(
        &mut self,
        index: u64,
        client: Uuid,
        number: u64,
        outcome: Option<&Outcome>,
    ) {
        let outcome = outcome.cloned();
        let row = ClientRow {
            number,
            index,
            outcome,
        };
        let known = self.0.insert(client, row).is_some();
        if known || self.0.len() <= COMMAND_CLIENTS_MAX {
            return;
        }
        // The client that was silent for longest is the least likely to repeat its command.
        let oldest = self.0.iter().min_by_key(|(_, row)| row.index);
        if let Some(oldest) = oldest.map(|(id, _)| *id) {
            self.0.remove(&oldest);
        }
    }
}

impl ClientRow {
    fn answer_again(&self, number: u64) -> Result<Applied, Refused> {
        if number < self.number {
            return Err(Refused::Superseded {
                number,
                last: self.number,
            });
        }
        let outcome = self
            .outcome
            .clone()
            .ok_or(Refused::RefusedBefore { number })?;
        Ok(Applied {
            index: self.index,
            outcome,
        })
    }
}
