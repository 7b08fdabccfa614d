//! What was asked of a consumer, written into its account before it is answered.

use hbuf_core::buffer::ConsumerCall;
use hbuf_core::consumer::{Given, Settled};
use hbuf_core::ids::Micros;

use super::{Finding, Ledger, LogView, Wanted};

/// What was asked of a consumer.
#[derive(Clone, Debug)]
pub(crate) enum Asked {
    Begin {
        version: u64,
    },
    Next {
        limit: usize,
        moves: u64,
    },
    Settle {
        wanted: Vec<Wanted>,
        /// How often the consumer had been moved.
        moves: u64,
    },
    Seek {
        moves: u64,
    },
    Forget,
}

impl Asked {
    /// Writes down that it is asked, of a consumer whose record has this version.
    pub(crate) fn of(
        ledger: Option<&mut Ledger>,
        now: Micros,
        version: u64,
        call: &ConsumerCall,
    ) -> Self {
        match (call, ledger) {
            (ConsumerCall::Begin { config, .. }, ledger) => {
                if let Some(ledger) = ledger {
                    ledger.configure((**config).clone());
                }
                Self::Begin { version }
            }
            (ConsumerCall::Next { limit, .. }, ledger) => Self::Next {
                limit: *limit,
                moves: ledger.map_or(0, |ledger| ledger.moves),
            },
            (ConsumerCall::Settle(items), Some(ledger)) => Self::Settle {
                wanted: ledger.settle(now, items),
                moves: ledger.moves,
            },
            (ConsumerCall::Seek(after), Some(ledger)) => {
                ledger.seek(*after);
                let moves = ledger.moves;
                Self::Seek { moves }
            }
            _ => Self::Forget,
        }
    }
}

impl Ledger {
    /// Messages were answered to who had asked when the consumer had been moved so often. What is
    /// done by being handed out is answered when that is on disk; the consumer may have been moved
    /// meanwhile.
    pub(crate) fn gave(
        &mut self,
        now: Micros,
        given: &[Given],
        moves: u64,
        log: &impl LogView,
    ) -> Result<(), Finding> {
        let done = given.iter().any(|one| one.lease.is_none());
        if self.moves != moves && done {
            self.given_around_a_move(given);
            return Ok(());
        }
        self.give(now, given, log)
    }

    /// What came of one message is answered.
    pub(crate) fn settled_as(
        &mut self,
        (wanted, moves): (&Wanted, u64),
        settled: Settled,
        on_record: bool,
    ) -> Result<(), Finding> {
        if self.moves != moves {
            return Ok(());
        }
        self.settled(wanted, settled, on_record)
    }
}
