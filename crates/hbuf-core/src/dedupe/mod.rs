//! Repeated appends: found by producer number or by idempotency key, answered with the first reply.
//!
//! Both tables are bounded, rebuilt from the log behind the mark, and written to a file of their
//! own that the mark names (see [`table`]).

pub mod idempotency;
pub mod producers;
pub mod table;

use crate::ids::{Epoch, Micros, Seq};

/// Where an earlier append stands in the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Earlier {
    /// Seq of its first message.
    pub first: Seq,
    /// How many messages follow the first one.
    pub rest: u16,
    /// Server time of its messages.
    pub time: Micros,
    /// Epoch in which it was framed.
    pub epoch: Epoch,
}

impl Earlier {
    /// Seq of its last message.
    #[must_use]
    pub fn last(&self) -> Seq {
        self.first.plus(u64::from(self.rest))
    }
}
