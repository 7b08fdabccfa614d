//! Where the nodes of proofs come from: leaves at hand, or leaves that stream by.

use alloc::collections::BTreeMap;
use alloc::vec::Vec;

use super::frontier::Frontier;
use super::node_hash;
use super::proof::{prove_consistency, prove_inclusion};
use crate::ids::Hash;

/// The leaves from `base.size()` on, with the frontier that stands for those before them: enough
/// for every proof about leaves and sizes at or past it, so retention may drop what is older.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Leaves<'a> {
    /// Frontier at the first leaf that is kept.
    pub base: &'a Frontier,
    /// Hashes of the leaves from there on.
    pub hashes: &'a [Hash],
}

impl Leaves<'_> {
    /// The root of the perfect subtree `[start, end)`; `None` when it needs a leaf that is not
    /// kept.
    #[must_use]
    pub fn node(&self, start: u64, end: u64) -> Option<Hash> {
        let first = self.base.size();
        if end <= first {
            return self.base.node(start, end);
        }
        if end - start == 1 {
            return self
                .hashes
                .get(usize::try_from(start - first).ok()?)
                .copied();
        }
        let middle = start + (end - start) / 2;
        Some(node_hash(
            &self.node(start, middle)?,
            &self.node(middle, end)?,
        ))
    }
}

/// Makes proofs in one pass over the leaves, holding only what the proofs need.
///
/// Say what is wanted, push every leaf behind the frontier in order, then ask for the proofs.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Prover {
    frontier: Frontier,
    nodes: BTreeMap<(u64, u64), Option<Hash>>,
}

impl Prover {
    /// A prover of the leaves behind `base`: an empty frontier, or that of the first kept segment.
    #[must_use]
    pub const fn new(base: Frontier) -> Self {
        Self {
            frontier: base,
            nodes: BTreeMap::new(),
        }
    }

    /// Will ask for [`Prover::inclusion`] with these arguments.
    pub fn want_inclusion(&mut self, index: u64, size: u64) {
        let mut ranges = Vec::new();
        prove_inclusion(index, size, &mut |start, end| note(&mut ranges, start, end));
        self.want(ranges);
    }

    /// Will ask for [`Prover::consistency`] with these arguments.
    pub fn want_consistency(&mut self, old: u64, new: u64) {
        let mut ranges = Vec::new();
        prove_consistency(old, new, &mut |start, end| note(&mut ranges, start, end));
        self.want(ranges);
    }

    /// Takes in the next leaf.
    pub fn push(&mut self, leaf: Hash) {
        let nodes = &mut self.nodes;
        self.frontier.push_with(leaf, |start, end, node| {
            if let Some(wanted) = nodes.get_mut(&(start, end)) {
                *wanted = Some(*node);
            }
        });
    }

    /// The frontier behind the leaves so far.
    #[must_use]
    pub const fn frontier(&self) -> &Frontier {
        &self.frontier
    }

    /// The inclusion proof that was wanted; `None` when leaves for it are missing.
    #[must_use]
    pub fn inclusion(&self, index: u64, size: u64) -> Option<Vec<Hash>> {
        prove_inclusion(index, size, &mut |start, end| self.node(start, end))
    }

    /// The consistency proof that was wanted; `None` when leaves for it are missing.
    #[must_use]
    pub fn consistency(&self, old: u64, new: u64) -> Option<Vec<Hash>> {
        prove_consistency(old, new, &mut |start, end| self.node(start, end))
    }

    fn want(&mut self, ranges: Vec<(u64, u64)>) {
        for (start, end) in ranges {
            let node = self.frontier.node(start, end);
            self.nodes.entry((start, end)).or_insert(node);
        }
    }

    fn node(&self, start: u64, end: u64) -> Option<Hash> {
        self.nodes.get(&(start, end)).copied().flatten()
    }
}

/// Notes which ranges a proof asks for; what it answers goes nowhere.
fn note(ranges: &mut Vec<(u64, u64)>, start: u64, end: u64) -> Option<Hash> {
    ranges.push((start, end));
    Some(Hash::default())
}
