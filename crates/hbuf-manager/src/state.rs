//! What a group of the manager keeps: a state that only its commands change, the same on every node
//! that applies the same log. That of `global` is the [`crate::Catalog`], that of any other region
//! a [`crate::region::Region`]; both are kept, applied, sent and read back by what stands here.

use core::convert::Infallible;
use core::fmt::Debug;
use core::hash::Hash as IsHash;

use hbuf_core::ids::{Hash, Micros, Uuid};

use crate::apply::{Applied, Outcome, Refused};
use crate::command::{Command, CommandError};
use crate::dedupe::Clients;
use crate::lines::{FieldError, Fields, Writer};
use crate::rows::{Rows, SnapshotError};

/// What a command does, with its text form.
pub trait CommandAction: Clone + Debug + PartialEq + Eq + IsHash {
    /// The name in the log.
    fn name(&self) -> &'static str;

    /// Writes all but the name.
    #[doc(hidden)]
    fn write(&self, out: &mut Writer);

    /// Reads what a command of this name does.
    ///
    /// # Errors
    /// What is wrong; the node must stop then.
    #[doc(hidden)]
    fn read(name: &str, fields: &mut Fields<'_>) -> Result<Self, CommandError>;
}

/// What each state has of its own. Not to be named outside of this crate.
pub trait StateParts: Clone + Debug + Default + PartialEq + Eq {
    /// What its commands do.
    type Action: CommandAction;

    /// The index of the last command applied, and the last command of each client.
    fn place(&self) -> (u64, &Clients);

    /// The same, to be changed.
    fn place_mut(&mut self) -> (&mut u64, &mut Clients);

    /// Does what a command says, or nothing of it.
    fn act(&mut self, index: u64, time: Micros, action: &Self::Action) -> Result<Outcome, Refused>;

    /// Writes all rows but the last, the same for equal states.
    fn write_rows<E, P: FnMut(&[u8]) -> Result<(), E>>(&self, rows: &mut Rows<P>) -> Result<(), E>;

    /// Takes one row of a format; `false` when its kind is unknown.
    fn take_row(
        &mut self,
        kind: &str,
        fields: &mut Fields<'_>,
        format: u32,
    ) -> Result<bool, FieldError>;

    /// Derives what the rows leave out, and refuses what contradicts itself.
    fn finish_rows(&mut self) -> Result<(), SnapshotError>;
}

/// A state that a group keeps.
pub trait State: StateParts {
    /// The index of the last command applied; 0 before the first.
    fn applied(&self) -> u64 {
        self.place().0
    }

    /// The number of a client's last command; its next one must be higher.
    fn last_number(&self, client: Uuid) -> u64 {
        self.place().1.last_number(client)
    }

    /// Applies the command at an index of the log. A refusal is a result like any other: the index
    /// counts as applied, and a repetition of the command is refused again.
    ///
    /// # Errors
    /// Why the command is refused; it has changed nothing then.
    ///
    /// # Panics
    /// When the index was applied already: the caller has lost its place in the log.
    fn apply(&mut self, index: u64, command: &Command<Self::Action>) -> Result<Applied, Refused> {
        self.pass(index);
        let (client, number) = (command.client, command.number);
        if let Some(answer) = self.place().1.known(client, number) {
            return answer;
        }
        let result = self.act(index, command.time, &command.action);
        let clients = self.place_mut().1;
        clients.remember(index, client, number, result.as_ref().ok());
        result.map(|outcome| Applied { index, outcome })
    }

    /// Counts an index as applied that holds no command: the entry with which a leader begins, or a
    /// change of the members.
    ///
    /// # Panics
    /// As [`State::apply`].
    fn pass(&mut self, index: u64) {
        let applied = self.place_mut().0;
        assert!(
            index > *applied,
            "index {index} was applied before {applied}"
        );
        *applied = index;
    }

    /// Writes the state in pieces of whole rows, each about `piece_bytes` long, and tells its hash:
    /// equal at equal indexes on every node.
    ///
    /// # Errors
    /// What `put` says.
    fn encode<E>(
        &self,
        piece_bytes: usize,
        put: impl FnMut(&[u8]) -> Result<(), E>,
    ) -> Result<Hash, E> {
        let mut rows = Rows::new(piece_bytes, put);
        self.write_rows(&mut rows)?;
        rows.finish()
    }

    /// The hash of the state: equal at equal indexes on every node.
    fn state_hash(&self) -> Hash {
        let hash = self.encode(64 << 10, |_| Ok::<(), Infallible>(()));
        hash.unwrap_or_else(|never| match never {})
    }
}

impl<S: StateParts> State for S {}
