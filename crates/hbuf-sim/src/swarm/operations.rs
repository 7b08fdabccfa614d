//! What operators do in a run, planned by its seed like its faults.

use super::planned::{Occasion, Timed, below};
use super::{Opt, Options};
use crate::scenario::{Action, NodeRef, Placement, StateWord, Version};

/// What operators do again and again: how often, how long each lasts, what it is made of.
pub(super) const OPERATIONS: [Timed; 9] = [
    (Opt::State, Some(Opt::StateLast), state),
    (Opt::Drain, Some(Opt::DrainLast), drain),
    (Opt::Rebalance, None, |it| {
        let placement = Placement::ALL[below(it.draw, Placement::ALL.len())];
        vec![(it.from, Action::Rebalance(placement))]
    }),
    (Opt::Clone, Some(Opt::DownLast), clone),
    (Opt::Restore, Some(Opt::RestoreLast), restore),
    (Opt::Stop, Some(Opt::DownLast), stop),
    (Opt::Upgrade, Some(Opt::UpgradeLast), upgrade),
    (Opt::Elect, None, |it| {
        let buffers = 1..=it.plan.options.get(Opt::Buffers);
        let looks = buffers.map(|buffer| (it.from, Action::Elect(format!("b{buffer}"))));
        looks.collect()
    }),
    (Opt::Create, None, |it| {
        let options = it.plan.options;
        let number = options.get(Opt::Buffers) + 1 + it.nth;
        let copies = options.get(Opt::Copies).min(options.get(Opt::Nodes));
        let buffer = format!("b{number}");
        vec![(it.from, Action::Create { buffer, copies })]
    }),
];

impl Options {
    /// The same without what operators do, for whoever looks for what faults alone bring about.
    #[must_use]
    pub fn without_operations(mut self) -> Self {
        for operation in Opt::operations() {
            self.set(operation, 0);
        }
        self
    }
}

impl Opt {
    /// Those of what operators do, and of what is not drawn for the faults' sake alone.
    pub fn operations() -> impl Iterator<Item = Self> {
        let operations = OPERATIONS.into_iter().map(|(operation, ..)| operation);
        operations.chain([Self::ClusterVersion, Self::Core])
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

/// A process ends in order. It may take its time, and is started soon after the plan says so.
fn stop(it: &Occasion<'_, '_>) -> Vec<(u64, Action)> {
    it.down(Action::Stop)
}

/// One node after the other runs the program before, then this one again; or this one alone, and
/// then what it brings is allowed.
fn upgrade(it: &Occasion<'_, '_>) -> Vec<(u64, Action)> {
    let nodes = it.plan.nodes();
    let back = it.draw.percent(50);
    let versions: &[Version] = match back {
        true => &[Version::Previous, Version::Current],
        false => &[Version::Current],
    };
    let rounds: Vec<(&Version, &NodeRef)> = versions
        .iter()
        .flat_map(|version| nodes.iter().map(move |node| (version, node)))
        .collect();
    let each = (it.until - it.from) / rounds.len() as u64;
    let mut actions = Vec::new();
    for (at, (version, node)) in (0..).zip(rounds) {
        let (from, version) = (it.from + at * each, *version);
        let set = Action::Version {
            node: node.clone(),
            version,
        };
        actions.push((from, Action::Stop(node.clone())));
        actions.push((from, set));
        actions.push((from + each / 2, Action::Kill(node.clone())));
        actions.push((from + each / 2, Action::Start(node.clone())));
    }
    actions.push((it.until, Action::Raise));
    actions
}
