//! Inclusion and consistency proofs: made as RFC 6962 §2.1.1 and §2.1.2 say, checked as RFC 9162
//! §2.1.3.2 and §2.1.4.2 say, so that maker and checker share no code.

use alloc::vec::Vec;

use super::{empty_root, node_hash};
use crate::ids::Hash;

/// The path from leaf `index` to the root of the tree of `size` leaves, nearest sibling first.
///
/// `node` gives the root of a perfect subtree `[start, end)`; it is asked for no other range.
/// `None` when there is no such leaf or `node` cannot answer.
pub fn prove_inclusion(
    index: u64,
    size: u64,
    node: &mut impl FnMut(u64, u64) -> Option<Hash>,
) -> Option<Vec<Hash>> {
    if index >= size {
        return None;
    }
    let mut path = Vec::new();
    let (mut start, mut end) = (0, size);
    while end - start > 1 {
        let middle = start + split(end - start);
        if index < middle {
            path.push(subtree(middle, end, node)?);
            end = middle;
        } else {
            path.push(subtree(start, middle, node)?);
            start = middle;
        }
    }
    path.reverse();
    Some(path)
}

/// The proof that the tree of `old` leaves is the start of the tree of `new` leaves.
///
/// It is empty when `old` is 0 or equals `new`. `None` when `old` is beyond `new` or `node`, which
/// answers as for [`prove_inclusion`], cannot.
pub fn prove_consistency(
    old: u64,
    new: u64,
    node: &mut impl FnMut(u64, u64) -> Option<Hash>,
) -> Option<Vec<Hash>> {
    if old > new {
        return None;
    }
    let mut path = Vec::new();
    if old == 0 || old == new {
        return Some(path);
    }
    let (mut start, mut end) = (0, new);
    // The checker knows the old root, so a subtree that is the whole old tree is left out.
    let mut whole = true;
    while old != end {
        let middle = start + split(end - start);
        if old <= middle {
            path.push(subtree(middle, end, node)?);
            end = middle;
        } else {
            path.push(subtree(start, middle, node)?);
            start = middle;
            whole = false;
        }
    }
    if !whole {
        path.push(subtree(start, end, node)?);
    }
    path.reverse();
    Some(path)
}

/// Whether `proof` leads from `leaf` at `index` to `root` of the tree of `size` leaves.
#[must_use]
pub fn verify_inclusion(leaf: &Hash, index: u64, size: u64, proof: &[Hash], root: &Hash) -> bool {
    if index >= size {
        return false;
    }
    let (mut place, mut last) = (index, size - 1);
    let mut node = *leaf;
    for sibling in proof {
        if last == 0 {
            return false;
        }
        if place & 1 == 1 || place == last {
            node = node_hash(sibling, &node);
            if place & 1 == 0 {
                let zeros = place.trailing_zeros().min(63);
                place >>= zeros;
                last >>= zeros;
            }
        } else {
            node = node_hash(&node, sibling);
        }
        place >>= 1;
        last >>= 1;
    }
    last == 0 && node == *root
}

/// Whether `proof` shows that the tree of `old_size` leaves with `old_root` is the start of the
/// tree of `new_size` leaves with `new_root`.
#[must_use]
pub fn verify_consistency(
    old_size: u64,
    new_size: u64,
    old_root: &Hash,
    new_root: &Hash,
    proof: &[Hash],
) -> bool {
    if old_size > new_size {
        return false;
    }
    if old_size == new_size {
        return proof.is_empty() && old_root == new_root;
    }
    if old_size == 0 {
        return proof.is_empty() && *old_root == empty_root();
    }
    let zeros = (old_size - 1).trailing_ones();
    let (mut place, mut last) = ((old_size - 1) >> zeros, (new_size - 1) >> zeros);
    // A perfect old tree is a subtree of the new one, and its root is where the proof starts.
    let (start, rest) = if old_size.is_power_of_two() {
        (old_root, proof)
    } else {
        match proof.split_first() {
            Some(parts) => parts,
            None => return false,
        }
    };
    let (mut old, mut new) = (*start, *start);
    for sibling in rest {
        if last == 0 {
            return false;
        }
        if place & 1 == 1 || place == last {
            old = node_hash(sibling, &old);
            new = node_hash(sibling, &new);
            while place & 1 == 0 && place != 0 {
                place >>= 1;
                last >>= 1;
            }
        } else {
            new = node_hash(&new, sibling);
        }
        place >>= 1;
        last >>= 1;
    }
    last == 0 && old == *old_root && new == *new_root
}

/// The root of `[start, end)`, where only the right edge may be ragged.
fn subtree(start: u64, end: u64, node: &mut impl FnMut(u64, u64) -> Option<Hash>) -> Option<Hash> {
    let mut parts = Vec::new();
    let mut at = start;
    while !(end - at).is_power_of_two() {
        let middle = at + split(end - at);
        parts.push(node(at, middle)?);
        at = middle;
    }
    let last = node(at, end)?;
    Some(
        parts
            .iter()
            .rev()
            .fold(last, |right, left| node_hash(left, &right)),
    )
}

/// The largest power of two below `count`, which is at least 2.
const fn split(count: u64) -> u64 {
    1 << (count - 1).ilog2()
}
