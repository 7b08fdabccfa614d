//! A small cluster around the replication core: three nodes, an abstract manager that decides at
//! once, and a network that delays, reorders and loses. Small enough that every interleaving can be
//! looked at; the same steps, drawn at random, go deeper.
//!
//! What the manager is made of is of no matter here: it is one record, changed by commands, of
//! which each node hears at some time.

mod actions;
mod log_node;
mod random;
mod stories;

use std::collections::{BTreeMap, BTreeSet};

use hbuf_core::ids::{NodeId, Uuid};
use hbuf_core::replication::{Alter, Assignment, FromCopy, NodeEpoch, NodeFacts, ToCopy};
use hbuf_core::rules::Rules;

pub use actions::Action;
pub use log_node::{Broken, Node, Record, Role, TailRead};
pub use random::{Mood, WALK_STEPS, Walk, mood_of, walk};

/// How much may happen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Bounds {
    /// Members that a commit needs.
    pub min_in_sync: usize,
    /// Messages.
    pub appends: u8,
    /// Crashes.
    pub crashes: u8,
    /// Disks that are lost in a crash.
    pub lost_disks: u8,
    /// Nodes that the manager takes for dead, rightly or not.
    pub suspicions: u8,
    /// Changes of the in-sync set.
    pub alters: u8,
    /// Reads of the tail.
    pub reads: u8,
    /// Messages that arrive twice.
    pub repeats: u8,
    /// Messages under way at once.
    pub packets: usize,
}

/// A message under way.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Packet {
    /// To a copy, with its records.
    ToCopy {
        /// Who sent it.
        from: NodeId,
        /// Who gets it.
        to: NodeId,
        /// What it says.
        message: ToCopy,
        /// The records.
        records: Vec<Record>,
    },
    /// A copy's answer.
    FromCopy {
        /// Who sent it.
        from: NodeId,
        /// Who gets it.
        to: NodeId,
        /// What it says.
        answer: FromCopy,
    },
    /// To the manager.
    Alter(Alter),
}

impl Packet {
    /// Whether it is the first word of an epoch.
    #[must_use]
    pub fn leads(&self) -> bool {
        let lead = |message: &ToCopy| matches!(message, ToCopy::Lead { .. });
        matches!(self, Self::ToCopy { message, .. } if lead(message))
    }
}

/// What must always hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Invariant {
    /// What was acknowledged is durable on the whole in-sync set, and stays what it was.
    AckedNeverLost,
    /// No member of the in-sync set cuts off what is committed, and no copy comes to where it would
    /// have to cut what it knows as committed.
    CommittedNeverCut,
    /// Records of one seq and epoch are the same everywhere.
    PrefixAgreement,
    /// No two nodes are primary in one epoch.
    OnePrimaryPerEpoch,
    /// A read of the tail shows all that was committed when it began.
    TailIsFresh,
}

impl Invariant {
    /// All of them.
    pub const ALL: [Self; 5] = [
        Self::AckedNeverLost,
        Self::CommittedNeverCut,
        Self::PrefixAgreement,
        Self::OnePrimaryPerEpoch,
        Self::TailIsFresh,
    ];

    /// Its name.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::AckedNeverLost => "acked-never-lost",
            Self::CommittedNeverCut => "committed-never-cut",
            Self::PrefixAgreement => "prefix-agreement",
            Self::OnePrimaryPerEpoch => "one-primary-per-epoch",
            Self::TailIsFresh => "tail-is-fresh",
        }
    }
}

/// The cluster at one moment.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Cluster {
    /// What the manager holds.
    pub assignment: Assignment,
    /// What the manager knows of each node.
    pub facts: BTreeMap<NodeId, NodeFacts>,
    /// The nodes.
    pub nodes: BTreeMap<NodeId, Node>,
    /// What is under way.
    pub net: BTreeSet<Packet>,
    /// What was acknowledged, in the order of its seqs.
    pub acked: Vec<Record>,
    /// What may still happen.
    pub left: Bounds,
    /// The next record's content.
    next_value: u8,
    /// The next registration's number.
    next_registration: u64,
    /// The first rule that did not hold.
    pub broken: Option<Invariant>,
}

impl Cluster {
    /// Three nodes, all in sync, the first one primary.
    #[must_use]
    pub fn new(bounds: Bounds) -> Self {
        let ids: BTreeSet<NodeId> = (1..=3).map(NodeId).collect();
        let registration = |node: &NodeId| NodeEpoch(u64::from(node.0));
        let facts = |node: &NodeId| NodeFacts {
            node_epoch: registration(node),
            alive: true,
            draining: false,
            clock_off: false,
        };
        let copies: Vec<_> = ids.iter().map(|node| (*node, registration(node))).collect();
        Self {
            assignment: Assignment::new(Uuid([0; 16]), &copies, bounds.min_in_sync),
            facts: ids.iter().map(|node| (*node, facts(node))).collect(),
            nodes: ids
                .iter()
                .map(|node| (*node, Node::new(registration(node))))
                .collect(),
            net: BTreeSet::new(),
            acked: Vec::new(),
            left: bounds,
            next_value: 1,
            next_registration: 4,
            broken: None,
        }
    }

    /// Looks at everything that must hold between two steps.
    pub(crate) fn check(&mut self) {
        self.note_commits();
        let found = [
            self.two_records().then_some(Invariant::PrefixAgreement),
            self.lost().then_some(Invariant::AckedNeverLost),
            self.quarantined().then_some(Invariant::CommittedNeverCut),
            self.two_primaries()
                .then_some(Invariant::OnePrimaryPerEpoch),
        ];
        let found = found.into_iter().flatten().next();
        self.broken = self.broken.or(found);
    }

    /// What a primary commits is acknowledged.
    fn note_commits(&mut self) {
        for node in self.nodes.values().filter(|node| node.up) {
            let Role::Primary(primary) = &node.role else {
                continue;
            };
            let commit = log_node::index(primary.log().commit);
            let committed = node.records.get(..commit).unwrap_or(&node.records);
            let same = self
                .acked
                .iter()
                .zip(committed)
                .all(|(one, two)| one == two);
            if !same {
                self.broken = self.broken.or(Some(Invariant::AckedNeverLost));
            } else if commit > self.acked.len() {
                self.acked = committed.to_vec();
            }
        }
    }

    fn lost(&self) -> bool {
        self.assignment.in_sync.keys().any(|member| {
            let node = &self.nodes[member];
            let holds = node.records.get(..node.durable()).unwrap_or_default();
            !holds.starts_with(&self.acked)
        })
    }

    /// Also what is not synced, and what a node holds that is down.
    fn two_records(&self) -> bool {
        let logs: Vec<&[Record]> = self.nodes.values().map(|node| &node.records[..]).collect();
        let differ = |one: &[Record], two: &[Record]| {
            let mut both = one.iter().zip(two);
            both.any(|(one, two)| one.0 == two.0 && one != two)
        };
        let mut others = &logs[..];
        while let Some((one, rest)) = others.split_first() {
            if rest.iter().any(|two| differ(one, two)) {
                return true;
            }
            others = rest;
        }
        false
    }

    fn quarantined(&self) -> bool {
        let stopped = |node: &Node| matches!(&node.role, Role::Copy(copy) if copy.quarantined());
        self.nodes.values().any(stopped)
    }

    fn two_primaries(&self) -> bool {
        let mut epochs = BTreeSet::new();
        let primaries = self.nodes.values().filter_map(|node| match &node.role {
            Role::Primary(primary) => Some(primary.epoch()),
            Role::Copy(_) => None,
        });
        primaries.into_iter().any(|epoch| !epochs.insert(epoch))
    }

    fn elect(&mut self, rules: &Rules) {
        let facts = self.facts.clone();
        self.assignment
            .elect(rules, |node| facts.get(&node).copied());
    }

    pub(crate) fn broke(&mut self, broken: Broken) {
        let rule = match broken {
            Broken::CommittedCut => Invariant::CommittedNeverCut,
            Broken::TwoRecords => Invariant::PrefixAgreement,
        };
        self.broken = self.broken.or(Some(rule));
    }
}
