//! What operators do in a run, planned by its seed like its faults.

use super::planned::{Occasion, Timed, below};
use super::{Opt, Options};
use crate::scenario::{Action, Placement, StateWord};

/// What operators do again and again: how often, how long each lasts, what it is made of.
pub(super) const OPERATIONS: [Timed; 3] = [
    (Opt::State, Some(Opt::StateLast), state),
    (Opt::Drain, Some(Opt::DrainLast), drain),
    (Opt::Rebalance, None, |it| {
        let placement = Placement::ALL[below(it.draw, Placement::ALL.len())];
        vec![(it.from, Action::Rebalance(placement))]
    }),
];

impl Options {
    /// The same without what operators do, for whoever looks for what faults alone bring about.
    #[must_use]
    pub fn without_operations(mut self) -> Self {
        for (operation, ..) in OPERATIONS {
            self.set(operation, 0);
        }
        self
    }
}

/// A buffer is paused or closed, and opened again.
fn state(it: &Occasion<'_, '_>) -> Vec<(u64, Action)> {
    let buffer = it.buffer();
    let state = match it.draw.next().percent(60) {
        true => StateWord::Paused,
        false => StateWord::Closed,
    };
    let to = |state| Action::State {
        buffer: buffer.clone(),
        state,
    };
    vec![(it.from, to(state)), (it.until, to(StateWord::Open))]
}

/// All copies leave a node, which in half of the cases may hold some again later. It is one node in
/// a run: what falls behind where nobody stays does not come back.
fn drain(it: &Occasion<'_, '_>) -> Vec<(u64, Action)> {
    let node = it.the_one("drained");
    let mut actions = vec![(it.from, Action::Drain(node.clone()))];
    if it.draw.next().percent(50) {
        actions.push((it.until, Action::Undrain(node)));
    }
    actions
}
