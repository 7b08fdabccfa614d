//! The compact range of `[0, size)`: the roots of the perfect subtrees that cover it, largest
//! first.
//!
//! Invariant: one node for each bit that is set in `size`.

use alloc::vec::Vec;

use super::{empty_root, node_hash};
use crate::ids::Hash;

/// What of a tree is needed to grow it and to know its root.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Frontier {
    size: u64,
    nodes: Vec<Hash>,
}

impl Frontier {
    /// The tree without leaves.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            size: 0,
            nodes: Vec::new(),
        }
    }

    /// Takes up stored nodes, largest subtree first; `None` when their count does not go with
    /// `size`.
    #[must_use]
    pub fn from_parts(size: u64, nodes: Vec<Hash>) -> Option<Self> {
        (size.count_ones() as usize == nodes.len()).then_some(Self { size, nodes })
    }

    /// Adds the next leaf by its hash, `x-hbuf-id`.
    pub fn push(&mut self, leaf: Hash) {
        self.push_with(leaf, |_, _, _| {});
    }

    /// Adds the next leaf and calls `made` with each perfect subtree `[start, end)` that it
    /// completes, the leaf itself first.
    pub fn push_with(&mut self, leaf: Hash, mut made: impl FnMut(u64, u64, &Hash)) {
        let end = self.size + 1;
        let mut node = leaf;
        made(self.size, end, &node);
        for level in 1..=self.size.trailing_ones() {
            let left = self.nodes.pop().expect("a node for each bit of the size");
            node = node_hash(&left, &node);
            made(end - (1 << level), end, &node);
        }
        self.nodes.push(node);
        self.size = end;
    }

    /// How many leaves there are.
    #[must_use]
    pub const fn size(&self) -> u64 {
        self.size
    }

    /// The roots of the perfect subtrees, largest first.
    #[must_use]
    pub fn nodes(&self) -> &[Hash] {
        &self.nodes
    }

    /// The root of the tree.
    #[must_use]
    pub fn root(&self) -> Hash {
        let mut nodes = self.nodes.iter().rev();
        let Some(&last) = nodes.next() else {
            return empty_root();
        };
        nodes.fold(last, |right, left| node_hash(left, &right))
    }

    /// The root of `[start, end)` when it is one of the nodes.
    #[must_use]
    pub fn node(&self, start: u64, end: u64) -> Option<Hash> {
        let mut at = 0;
        for (index, node) in self.nodes.iter().enumerate() {
            let width = self.width(index)?;
            if at == start {
                return (at + width == end).then_some(*node);
            }
            at += width;
        }
        None
    }

    /// Leaves under the node of this index.
    fn width(&self, index: usize) -> Option<u64> {
        let bits = (0..64).rev().filter(|bit| self.size & (1 << bit) != 0);
        bits.map(|bit| 1 << bit).nth(index)
    }
}
