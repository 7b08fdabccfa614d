//! What operators do in a run, planned by its seed like its faults.

use super::planned::{Occasion, Timed, below};
use super::{Opt, Options};
use crate::scenario::{Action, Placement, StateWord};

/// What operators do again and again: how often, how long each lasts, what it is made of.
pub(super) const OPERATIONS: [Timed; 5] = [
    (Opt::State, Some(Opt::StateLast), state),
    (Opt::Drain, Some(Opt::DrainLast), drain),
    (Opt::Rebalance, None, |it| {
        let placement = Placement::ALL[below(it.draw, Placement::ALL.len())];
        vec![(it.from, Action::Rebalance(placement))]
    }),
    (Opt::Clone, Some(Opt::DownLast), clone),
    (Opt::Restore, Some(Opt::RestoreLast), restore),
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

/// A disk is copied while nobody runs on it, and both are started: the copy first.
fn clone(it: &Occasion<'_, '_>) -> Vec<(u64, Action)> {
    let node = it.victim();
    let name = format!("{node}x{}", it.from);
    let copy = Action::Clone {
        node: node.clone(),
        name,
    };
    vec![
        (it.from, Action::Kill(node.clone())),
        (it.from, copy),
        (it.until, Action::Start(node)),
    ]
}

/// A disk is kept while nobody runs on it, and put back when it is old. One that was kept while its
/// process went on is not told from what that one left, until another one has registered.
fn restore(it: &Occasion<'_, '_>) -> Vec<(u64, Action)> {
    let node = it.victim();
    let name = format!("{node}s{}", it.from);
    let (kept, back) = (name.clone(), node.clone());
    let soon = it.from + (it.until - it.from) / 4;
    vec![
        (it.from, Action::Kill(node.clone())),
        (it.from, Action::Snapshot { node: back, name }),
        (soon, Action::Start(node.clone())),
        (
            it.until,
            Action::Restore {
                node: node.clone(),
                name: kept,
            },
        ),
        (it.until, Action::Start(node)),
    ]
}
