//! One message that a consumer has found and that is not done.

use super::config::Config;
use super::machine::{GivenUp, LeaseId, Wish};
use crate::ids::{Micros, Seq};
use crate::rules::Rules;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum State {
    Free {
        from: Micros,
    },
    Leased {
        lease: LeaseId,
        until: Micros,
    },
    Dying {
        again: Micros,
        tries: u32,
        why: GivenUp,
    },
    /// It was put away while the buffer stood still: it is done when the buffer goes on.
    Put,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Item {
    pub(super) time: Micros,
    pub(super) key: Option<u64>,
    pub(super) bytes: u32,
    pub(super) deliveries: u32,
    /// It was handed out, or given back: it is put on record.
    pub(super) touched: bool,
    pub(super) state: State,
}

impl Item {
    pub(super) const fn is_leased(&self) -> bool {
        matches!(self.state, State::Leased { .. })
    }

    /// Whether it may be handed out, or given up instead.
    pub(super) fn may_go(&self, rules: &Rules, now: Micros) -> bool {
        match self.state {
            State::Free { from } => from <= now,
            State::Leased { .. } => !rules.leases_exclude,
            State::Dying { .. } | State::Put => false,
        }
    }

    /// It is given up: it waits until it was put away.
    pub(super) fn bury(&mut self, seq: Seq, tries: u32, why: GivenUp) -> Wish {
        let again = Micros::MAX;
        self.state = State::Dying { again, tries, why };
        Wish::Bury {
            seq,
            deliveries: self.deliveries,
            why,
        }
    }
}

/// Whether a message is given up instead of handed out again.
pub(super) fn given_up(
    rules: &Rules,
    config: &Config,
    item: &Item,
    now: Micros,
) -> Option<GivenUp> {
    if item.deliveries == 0 {
        return None;
    }
    let most = config.deliveries_max;
    let most = most.filter(|_| rules.deliveries_are_bounded);
    let spent = item.deliveries + u32::from(!rules.given_up_when_spent);
    let often = most.is_some_and(|most| spent >= most);
    let age = now.0.saturating_sub(item.time.0);
    let old = config
        .expire_ms
        .is_some_and(|most| age > most.saturating_mul(1_000));
    match (often, old) {
        (true, _) => Some(GivenUp::Deliveries),
        (false, true) => Some(GivenUp::Expired),
        (false, false) => None,
    }
}
