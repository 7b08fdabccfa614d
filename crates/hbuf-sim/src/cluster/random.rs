//! Random walks: the same steps as the exhaustive search, far deeper.

use hbuf_core::rules::Rules;

use super::{Action, Bounds, Cluster, Invariant};
use crate::draw::{Draw, Draws, Purpose};

/// Steps of a walk.
pub const WALK_STEPS: u64 = 400;

impl Bounds {
    /// What may happen in a walk.
    pub const WALK: Self = Self {
        min_in_sync: 1,
        appends: 12,
        crashes: 4,
        lost_disks: 1,
        suspicions: 4,
        alters: 8,
        reads: 6,
        packets: 12,
    };
}

/// How a walk went.
#[derive(Clone, Debug)]
pub struct Walk {
    /// Steps that were taken.
    pub steps: u64,
    /// The first rule that did not hold.
    pub broken: Option<Invariant>,
    /// Messages that were acknowledged.
    pub acked: usize,
    /// The steps, in order.
    pub path: Vec<Action>,
}

/// Walks from a new cluster until nothing more can happen, a rule breaks or the steps are spent.
#[must_use]
pub fn walk(seed: u64, rules: &Rules, bounds: Bounds, steps: u64) -> Walk {
    let draws = Draws::new(seed);
    let weights = weights(&draws);
    let mut cluster = Cluster::new(bounds);
    let mut path = Vec::new();
    while (path.len() as u64) < steps {
        let draw = draws.draw(Purpose::Cluster, 1, path.len() as u64);
        let Some(action) = chosen(cluster.actions(rules), &weights, draw) else {
            break;
        };
        cluster = cluster.after(rules, &action);
        path.push(action);
    }
    Walk {
        steps: path.len() as u64,
        broken: cluster.broken,
        acked: cluster.acked.len(),
        path,
    }
}

/// How often each kind of step is taken where it can be, but for what a seed makes of it: a network
/// that brings nothing, or a manager that suspects everybody, gets nowhere.
const WEIGHTS: [u64; KINDS] = [10, 12, 20, 40, 10, 3, 12, 3, 6, 3, 6, 3, 4, 5, 3];
const KINDS: usize = 15;

/// Every seed has its own: some kinds of steps are many times as frequent, some rare.
fn weights(draws: &Draws) -> [u64; KINDS] {
    let mut weights = WEIGHTS;
    for (kind, weight) in (0..).zip(&mut weights) {
        *weight *= [1, 2, 2, 4, 12][draws.draw(Purpose::Cluster, 0, kind).below(5) as usize];
    }
    weights
}

const fn kind(action: &Action) -> usize {
    match action {
        Action::Append(_) => 0,
        Action::Sync(_) => 1,
        Action::Send(..) => 2,
        Action::Deliver(_) => 3,
        Action::Learn(_) => 4,
        Action::Crash(..) => 5,
        Action::Start(..) => 6,
        Action::Suspect(_) => 7,
        Action::Revive(_) => 8,
        Action::AskRemove(..) => 9,
        Action::AskAdd(..) => 10,
        Action::AskTail(_) => 11,
        Action::ShowTail(_) => 12,
        Action::Lose(_) => 13,
        Action::AskAgain(_) => 14,
    }
}

/// A kind by its weight, then any step of it.
fn chosen(actions: Vec<Action>, weights: &[u64; KINDS], draw: Draw) -> Option<Action> {
    let mut kinds: Vec<usize> = actions.iter().map(kind).collect();
    kinds.sort_unstable();
    kinds.dedup();
    let all: u64 = kinds.iter().map(|kind| weights[*kind]).sum();
    let mut left = draw.below(all.max(1));
    let chosen = kinds.into_iter().find(|kind| {
        let found = left < weights[*kind];
        left = left.saturating_sub(weights[*kind]);
        found
    })?;
    let of_kind: Vec<Action> = actions
        .into_iter()
        .filter(|it| kind(it) == chosen)
        .collect();
    let at = usize::try_from(draw.next().below(of_kind.len() as u64)).ok()?;
    of_kind.into_iter().nth(at)
}
