//! Random walks: the same steps as the exhaustive search, far deeper.

use std::collections::BTreeMap;

use hbuf_core::rules::Rules;

use super::{Action, Bounds, Cluster, Invariant, Packet};
use crate::draw::{Draw, Draws, Purpose};

/// Steps of a walk.
pub const WALK_STEPS: u64 = 800;

impl Bounds {
    /// What may happen in a walk.
    pub const WALK: Self = Self {
        min_in_sync: 1,
        appends: 20,
        crashes: 16,
        lost_disks: 2,
        suspicions: 12,
        alters: 32,
        reads: 32,
        repeats: 24,
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

/// The mood of a seed among all.
#[must_use]
pub fn mood_of(seed: u64) -> Mood {
    Mood::ALL[usize::try_from(seed % Mood::ALL.len() as u64).unwrap_or(0)]
}

/// Walks from a new cluster until nothing more can happen, a rule breaks or the steps are spent.
#[must_use]
pub fn walk(seed: u64, mood: Mood, rules: &Rules, bounds: Bounds, steps: u64) -> Walk {
    let draws = Draws::new(seed);
    let weights = weights(&draws, mood);
    // In half of the walks a commit needs two members.
    let min_in_sync =
        bounds.min_in_sync + usize::from(draws.draw(Purpose::Cluster, 4, 0).below(2) == 1);
    let mut cluster = Cluster::new(Bounds {
        min_in_sync,
        ..bounds
    });
    // Half of the walks of a mood begin with its story.
    let told = draws.draw(Purpose::Cluster, 5, 0).below(2) == 1;
    let mut path = Vec::new();
    if told {
        (cluster, path) = cluster.begun(mood, rules);
    }
    let mut ages = Ages::default();
    ages.note(&cluster, 0);
    // Of half of the networks the newest message mostly comes first, and an old one may come when
    // nobody expects it any more.
    let hasty = draws.draw(Purpose::Cluster, 2, 0).below(2) == 1;
    while (path.len() as u64) < steps {
        let draw = draws.draw(Purpose::Cluster, 1, path.len() as u64);
        let Some(of_kind) = kind_of_steps(cluster.actions(rules), &weights, draw) else {
            break;
        };
        let draw = draw.next();
        let newest = match hasty && draw.next().below(16) > 0 {
            true => ages.newest(&of_kind),
            false => None,
        };
        let any = usize::try_from(draw.below(of_kind.len() as u64)).unwrap_or(0);
        let action = of_kind[newest.unwrap_or(any)].clone();
        cluster = cluster.after(rules, &action);
        ages.note(&cluster, path.len());
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
const WEIGHTS: [u64; KINDS] = [
    8, 12, 20, 40, 10, 4, 12, 3, 6, 4, 8, 8, 10, 5, 8, 20, 10, 4, 6,
];
const KINDS: usize = 19;

/// What a walk is about: some kinds of steps are taken more often, so that what needs several of
/// them in a row comes about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Mood {
    /// Nothing in particular.
    Plain,
    /// Old words about the set and about logs come again, while nodes come and go.
    Stale,
    /// Who is taken for dead goes on, and hears of nothing.
    Deaf,
    /// The set shrinks and grows while primaries change.
    Churn,
    /// What the manager was asked long ago is decided once more.
    Late,
    /// Who starts again is spoken to by a primary that is none any more.
    Returned,
}

impl Mood {
    /// All of them.
    pub const ALL: [Self; 6] = [
        Self::Plain,
        Self::Stale,
        Self::Deaf,
        Self::Churn,
        Self::Late,
        Self::Returned,
    ];

    /// How often kinds of steps are taken, in halves.
    const fn weights(self) -> &'static [(usize, u64)] {
        match self {
            Self::Plain => &[],
            Self::Stale => &[(17, 0), (18, 60), (5, 8), (6, 6), (9, 2), (10, 2), (16, 6)],
            Self::Deaf => &[
                (4, 1),
                (7, 8),
                (9, 16),
                (0, 6),
                (11, 8),
                (12, 12),
                (13, 6),
                (17, 0),
            ],
            Self::Late => &[(17, 0), (18, 40), (16, 6), (0, 8), (4, 1), (7, 6), (5, 1)],
            Self::Returned => &[(4, 1), (7, 6), (5, 6), (6, 8), (17, 0)],
            Self::Churn => &[
                (9, 12),
                (10, 24),
                (16, 12),
                (0, 4),
                (7, 6),
                (5, 4),
                (14, 0),
                (17, 0),
            ],
        }
    }
}

/// Every seed has its own: some kinds of steps are many times as frequent, some rare.
fn weights(draws: &Draws, mood: Mood) -> [u64; KINDS] {
    let mut weights = WEIGHTS;
    for (kind, halves) in mood.weights() {
        weights[*kind] = weights[*kind] * halves / 2;
    }
    for (kind, weight) in (0..).zip(&mut weights) {
        *weight *= [8, 16, 16, 32, 96][draws.draw(Purpose::Cluster, 0, kind).below(5) as usize];
    }
    weights
}

fn kind(action: &Action) -> usize {
    match action {
        Action::Append(_) => 0,
        Action::Sync(_) => 1,
        Action::Send(..) => 2,
        Action::Deliver(Packet::ToCopy { .. }) => 3,
        Action::Deliver(Packet::FromCopy { .. }) => 15,
        Action::Deliver(Packet::Alter(_)) => 16,
        Action::Repeat(Packet::Alter(_)) => 18,
        Action::Repeat(packet) if packet.leads() => 18,
        Action::Repeat(_) => 17,
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

/// The steps of a kind, which is chosen by its weight.
fn kind_of_steps(actions: Vec<Action>, weights: &[u64; KINDS], draw: Draw) -> Option<Vec<Action>> {
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
    let of_kind = actions.into_iter().filter(|it| kind(it) == chosen);
    Some(of_kind.collect())
}

/// Since which step each message is under way.
#[derive(Default)]
struct Ages(BTreeMap<Packet, usize>);

impl Ages {
    fn note(&mut self, cluster: &Cluster, step: usize) {
        self.0.retain(|packet, _| cluster.net.contains(packet));
        for packet in &cluster.net {
            if !self.0.contains_key(packet) {
                self.0.insert(packet.clone(), step);
            }
        }
    }

    /// The place of the delivery that brings the newest message.
    fn newest(&self, actions: &[Action]) -> Option<usize> {
        let since = |action: &Action| match action {
            Action::Deliver(packet) => self.0.get(packet).copied(),
            _ => None,
        };
        let places = actions.iter().enumerate();
        let sent = places.filter_map(|(at, action)| Some((since(action)?, at)));
        sent.max().map(|(_, at)| at)
    }
}
