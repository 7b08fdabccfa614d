//! Roots and proofs over what is committed, from level 0 and cached subtree roots.
//!
//! Every proof is made of roots of perfect subtrees. Those of 256 leaves and of powers of 256 are
//! kept in blocks of 256, bounded over the process; smaller ones are made from ids, those in
//! between from their block. What retention dropped stands in the frontier of the oldest segment's
//! head line.

use std::collections::BTreeMap;
use std::sync::Arc;

use hbuf_core::ids::{Hash, Seq};
use hbuf_core::record::LINE_LEN;
use hbuf_core::segment::SegmentHead;
use hbuf_core::skim::skim;
use hbuf_core::tree::{Frontier, node_hash, prove_consistency, prove_inclusion};

use super::shared::{Block, BlockKey, lock};
use super::walk::{HEAD_LINE_BYTES_MAX, read_at};
use super::{ReadError, Readable};

/// The proof that a message is in the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Inclusion {
    /// The message.
    pub seq: Seq,
    /// Its `x-hbuf-id`, the leaf.
    pub id: Hash,
    /// Leaves of the tree.
    pub size: u64,
    /// The tree's root.
    pub root: Hash,
    /// Nearest sibling first.
    pub path: Vec<Hash>,
}

/// The proof that one tree is the start of another.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Consistency {
    /// Leaves of the older tree.
    pub from: u64,
    /// Leaves of the newer tree.
    pub to: u64,
    /// The older tree's root.
    pub from_root: Hash,
    /// The newer tree's root.
    pub to_root: Hash,
    /// The nodes.
    pub path: Vec<Hash>,
}

/// Why there is no proof.
#[derive(Debug, thiserror::Error)]
pub enum ProofError {
    /// The tree is not that large.
    #[error("size {size} is beyond the committed {commit} messages")]
    Beyond {
        /// The size that was asked for.
        size: u64,
        /// How many messages are committed.
        commit: u64,
    },
    /// The message is not in a tree of that size.
    #[error("message {seq} is not in the tree of the first {size} messages")]
    Outside {
        /// The message.
        seq: Seq,
        /// Leaves of the tree.
        size: u64,
    },
    /// The proof needs ids that went with dropped messages.
    #[error(
        "the proof needs ids of messages below {first}, which retention dropped: \
        use a size of at least {}", first.prev()
    )]
    Dropped {
        /// The first seq that is left.
        first: Seq,
    },
    /// The ids could not be read.
    #[error(transparent)]
    Read(#[from] ReadError),
}

impl Readable {
    /// The root of the tree of the first `size` messages.
    pub async fn root(self: &Arc<Self>, size: u64) -> Result<Hash, ProofError> {
        self.check_size(size)?;
        self.proving(move |nodes| nodes.root(size)).await
    }

    /// The proof that `seq` is in the tree of the first `size` messages.
    pub async fn inclusion(self: &Arc<Self>, seq: Seq, size: u64) -> Result<Inclusion, ProofError> {
        self.check_size(size)?;
        if seq == Seq::ZERO || seq.0 > size {
            return Err(ProofError::Outside { seq, size });
        }
        self.proving(move |nodes| {
            let index = seq.prev().0;
            let id = nodes.node(index, index + 1)?;
            let path = prove_inclusion(index, size, &mut |start, end| nodes.node(start, end))?;
            Some(Inclusion {
                seq,
                id,
                size,
                root: nodes.root(size)?,
                path,
            })
        })
        .await
    }

    /// The proof that the tree of the first `from` messages is the start of that of the first `to`.
    pub async fn consistency(
        self: &Arc<Self>,
        from: u64,
        to: u64,
    ) -> Result<Consistency, ProofError> {
        self.check_size(to)?;
        if from > to {
            return Err(ProofError::Beyond {
                size: from,
                commit: to,
            });
        }
        self.proving(move |nodes| {
            let path = prove_consistency(from, to, &mut |start, end| nodes.node(start, end))?;
            let (from_root, to_root) = (nodes.root(from)?, nodes.root(to)?);
            Some(Consistency {
                from,
                to,
                from_root,
                to_root,
                path,
            })
        })
        .await
    }

    fn check_size(&self, size: u64) -> Result<(), ProofError> {
        let commit = self.commit().0;
        if size > commit {
            Err(ProofError::Beyond { size, commit })
        } else {
            Ok(())
        }
    }

    /// Makes a proof on a blocking thread.
    async fn proving<T: Send + 'static>(
        self: &Arc<Self>,
        make: impl FnOnce(&mut Nodes<'_>) -> Option<T> + Send + 'static,
    ) -> Result<T, ProofError> {
        let made = self.blocking(move |buffer| {
            let base = buffer.base()?;
            let commit = buffer.commit().0;
            let mut nodes = Nodes {
                buffer,
                base,
                commit,
                tile: None,
                short: BTreeMap::new(),
                failed: None,
            };
            let made = make(&mut nodes);
            match nodes.failed {
                Some(error) => Err(error),
                None => Ok((made, Seq(nodes.base.size()).next())),
            }
        });
        match made.await? {
            (Some(proof), _) => Ok(proof),
            (None, first) => Err(ProofError::Dropped { first }),
        }
    }

    /// The tree of everything before the oldest file.
    fn base(&self) -> Result<Frontier, ReadError> {
        let oldest = lock(&self.layout).oldest();
        match oldest {
            Some(file) if file > Seq::FIRST => Ok(self.head(file)?.frontier),
            Some(_) | None => Ok(Frontier::new()),
        }
    }

    /// The head line of a segment, checked.
    pub(super) fn head(&self, first: Seq) -> Result<SegmentHead, ReadError> {
        let file = self.segment(first)?;
        let io = |source| ReadError::Io {
            file: first,
            source,
        };
        let damaged = |what: String| ReadError::Damaged {
            seq: first,
            file: first,
            what,
        };
        let mut bytes = vec![0; LINE_LEN];
        let count = read_at(&file, &mut bytes, 0).map_err(io)?;
        let line = skim(&bytes[..count]).filter(|line| line.record_len() <= HEAD_LINE_BYTES_MAX);
        let line =
            line.ok_or_else(|| damaged("the file does not start with its head line".into()))?;
        bytes.resize(usize::try_from(line.record_len()).unwrap_or_default(), 0);
        let count = read_at(&file, &mut bytes, 0).map_err(io)?;
        let head =
            SegmentHead::decode(&bytes[..count]).map_err(|error| damaged(error.to_string()))?;
        if head.first != first || head.log != self.log {
            return Err(damaged("its head line is that of another file".into()));
        }
        Ok(head)
    }
}

/// Where one proof's nodes come from.
struct Nodes<'a> {
    buffer: &'a Readable,
    base: Frontier,
    commit: u64,
    /// The ids of the tile used last, from the first that is kept.
    tile: Option<(u64, Vec<Hash>)>,
    /// Roots asked for more than once in a proof.
    short: BTreeMap<(u64, u64), Hash>,
    failed: Option<ReadError>,
}

impl Nodes<'_> {
    fn root(&mut self, size: u64) -> Option<Hash> {
        let (mut nodes, mut start) = (Vec::new(), 0);
        while start < size {
            let end = start + (1 << (size - start).ilog2());
            nodes.push(self.node(start, end)?);
            start = end;
        }
        Some(Frontier::from_parts(size, nodes)?.root())
    }

    /// The root of the perfect subtree `[start, end)`; `None` when it needs what was dropped, or
    /// reading failed.
    fn node(&mut self, start: u64, end: u64) -> Option<Hash> {
        if let Some(node) = self.short.get(&(start, end)) {
            return Some(*node);
        }
        let node = self.make(start, end)?;
        self.short.insert((start, end), node);
        Some(node)
    }

    fn make(&mut self, start: u64, end: u64) -> Option<Hash> {
        let (base, width) = (self.base.size(), end - start);
        if end <= base {
            return self.base.node(start, end);
        }
        if start < base {
            let middle = start + width / 2;
            return Some(node_hash(
                &self.node(start, middle)?,
                &self.node(middle, end)?,
            ));
        }
        if width < TILE {
            let number = start / TILE;
            let skip = usize::try_from(start - base.max(number * TILE)).ok()?;
            let width = usize::try_from(width).ok()?;
            return Some(combined(self.tile(number)?.get(skip..skip + width)?));
        }
        let level = width.trailing_zeros() / 8 * 8;
        let (first, last) = (start >> level, (end - 1) >> level);
        let block = self.block(level, first / TILE)?;
        let at = |place: u64| usize::try_from(place % TILE).ok()?.checked_sub(block.from);
        Some(combined(block.roots.get(at(first)?..=at(last)?)?))
    }

    /// The ids of the leaves `256 × number` on, as far as they are kept and committed.
    fn tile(&mut self, number: u64) -> Option<&[Hash]> {
        if self.tile.as_ref().is_none_or(|(at, _)| *at != number) {
            let from = (number * TILE).max(self.base.size());
            let ids = self.ids(from, ((number + 1) * TILE).min(self.commit))?;
            self.tile = Some((number, ids));
        }
        self.tile.as_ref().map(|(_, ids)| &ids[..])
    }

    /// The ids of the leaves `[start, end)`.
    fn ids(&mut self, start: u64, end: u64) -> Option<Vec<Hash>> {
        let mut ids = Vec::with_capacity(usize::try_from(end - start).ok()?);
        match self.buffer.ids(Seq(start + 1), Seq(end), &mut ids) {
            Ok(()) => Some(ids),
            Err(error) => {
                self.failed.get_or_insert(error);
                None
            }
        }
    }

    /// The complete subtrees of 2^`level` leaves in a group of 256, as far as they are kept and
    /// committed.
    fn block(&mut self, level: u32, group: u64) -> Option<Arc<Block>> {
        let key = BlockKey {
            buffer: self.buffer.number,
            level,
            group,
        };
        let kept = self.buffer.shared.blocks().get(key);
        let first = self.base.size().div_ceil(1 << level).max(group * TILE);
        let end = (self.commit >> level).min((group + 1) * TILE);
        let mut block = kept.map_or_else(
            || Block {
                from: (first % TILE) as usize,
                roots: Vec::new(),
            },
            |block| Block::clone(&block),
        );
        let have = group * TILE + (block.from + block.roots.len()) as u64;
        if have < end {
            self.fill(&mut block, level, have, end)?;
        }
        let block = Arc::new(block);
        if have < end {
            let weight = size_of::<Block>() + block.roots.capacity() * size_of::<Hash>();
            self.buffer
                .shared
                .blocks()
                .put(key, Arc::clone(&block), weight);
        }
        Some(block)
    }

    /// Adds the subtrees `have` up to `end` of this level.
    fn fill(&mut self, block: &mut Block, level: u32, have: u64, end: u64) -> Option<()> {
        block.roots.reserve_exact(usize::try_from(end - have).ok()?);
        if level > TILE.trailing_zeros() {
            for number in have..end {
                let below = self.block(level - 8, number)?;
                block
                    .roots
                    .push(combined(below.roots.get(..TILE as usize)?));
            }
            return Some(());
        }
        let ids = self.ids(have * TILE, end * TILE)?;
        block
            .roots
            .extend(ids.chunks_exact(TILE as usize).map(combined));
        Some(())
    }
}

/// The root over neighbouring subtrees of one size, a power of two of them.
fn combined(nodes: &[Hash]) -> Hash {
    assert!(nodes.len().is_power_of_two(), "perfect subtrees only");
    match nodes {
        [node] => *node,
        nodes => {
            let (left, right) = nodes.split_at(nodes.len() / 2);
            node_hash(&combined(left), &combined(right))
        }
    }
}

/// Leaves of a tile, and subtrees of a block.
const TILE: u64 = 256;
