//! The naive log: a list of what was framed, who was told what, and what an operator asked for.

use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

use hbuf_core::effect::Write;
use hbuf_core::ids::{Hash, Micros, Seq, Uuid};
use hbuf_core::input::BufferState;
use hbuf_core::record::Producer;
use hbuf_core::retention::Retention;
use hbuf_core::time::parse_rfc3339;
use hbuf_core::tree::Frontier;

use crate::disk::Name;
use crate::filters::Filters;
use crate::ledger::{Chosen, Ledger, LogView};

/// A message's content, as its client sent it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Content {
    pub(crate) lines: Rc<[u8]>,
    pub(crate) body: Rc<[u8]>,
    pub(crate) salt: [u8; 32],
}

/// What consumers choose messages by, as their header lines say it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Labels {
    pub(crate) key: Option<Vec<u8>>,
    pub(crate) tags: Vec<Vec<u8>>,
    pub(crate) deliver_at: Option<Micros>,
}

impl Labels {
    pub(crate) fn of(lines: &[u8]) -> Self {
        let mut labels = Self::default();
        let text = String::from_utf8_lossy(lines);
        for (name, value) in text.lines().filter_map(|line| line.split_once(": ")) {
            match name {
                "x-hbuf-key" => labels.key = Some(value.into()),
                "x-hbuf-tag" => labels.tags = value.split(", ").map(Into::into).collect(),
                "x-hbuf-deliver-at" => labels.deliver_at = parse_rfc3339(value),
                _ => {}
            }
        }
        labels
    }
}

/// What repeats an append: a producer's number or an idempotency key.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum DedupeKey {
    Producer(Producer),
    Idem(Hash),
}

/// A message in the log.
#[derive(Clone, Debug)]
pub(crate) struct Entry {
    pub(crate) id: Hash,
    pub(crate) content: Content,
    pub(crate) labels: Labels,
    pub(crate) time: Micros,
    pub(crate) bytes: u64,
    /// The last seq of its append.
    pub(crate) batch_last: Seq,
    /// The commit that the primary knew when it framed it.
    pub(crate) known_commit: Seq,
    /// Its segment, and where its body stands in it.
    pub(crate) file: Seq,
    pub(crate) body_at: u64,
    /// Its seq in the origin, in a mirror.
    pub(crate) mirrored: Option<Seq>,
}

/// A copy of a buffer's directory, with what the log held then.
#[derive(Clone, Debug)]
pub(crate) struct Backup {
    pub(crate) end: Seq,
    pub(crate) first: Seq,
    pub(crate) files: Vec<(Name, Vec<u8>)>,
    /// How its consumers stood.
    pub(crate) ledgers: BTreeMap<Uuid, Ledger>,
    pub(crate) filters: Filters,
}

/// What a buffer should be.
#[derive(Clone, Debug)]
pub(crate) struct Model {
    log: Vec<Entry>,
    repeats: BTreeMap<DedupeKey, (Seq, Seq)>,
    /// Length of each segment's head line.
    pub(crate) heads: BTreeMap<Seq, u64>,
    /// Ids of messages that a restored copy gave up: they must not come back.
    given_up: BTreeSet<Hash>,
    /// The highest seq that a client was told is durable.
    pub(crate) acked: Seq,
    /// The highest seq that readers were shown.
    pub(crate) commit: Seq,
    /// The first seq that retention keeps.
    pub(crate) first: Seq,
    pub(crate) state: BufferState,
    /// The operator was told that the state is reached.
    pub(crate) settled: bool,
    /// Changes of state that were asked for.
    pub(crate) changes: u64,
    pub(crate) rotted: bool,
    /// An operator put an older copy in its place.
    pub(crate) restored: bool,
    pub(crate) damaged: bool,
    pub(crate) backup: Option<Backup>,
    pub(crate) retention: Retention,
    pub(crate) filters: Filters,
}

impl Model {
    pub(crate) fn new(retention: Retention) -> Self {
        Self {
            log: Vec::new(),
            repeats: BTreeMap::new(),
            heads: BTreeMap::new(),
            given_up: BTreeSet::new(),
            acked: Seq::ZERO,
            commit: Seq::ZERO,
            first: Seq::FIRST,
            state: BufferState::Open,
            settled: true,
            changes: 0,
            rotted: false,
            restored: false,
            damaged: false,
            backup: None,
            retention,
            filters: Filters::default(),
        }
    }

    pub(crate) const fn end(&self) -> Seq {
        Seq(self.log.len() as u64)
    }

    /// The operator was told that it is paused.
    pub(crate) fn stands_still(&self) -> bool {
        self.state == BufferState::Paused && self.settled
    }

    pub(crate) fn entry(&self, seq: Seq) -> Option<&Entry> {
        let index = usize::try_from(seq.0.checked_sub(1)?).ok()?;
        self.log.get(index)
    }

    /// The last record of its origin that a mirror has.
    pub(crate) fn last_mirrored(&self) -> Seq {
        let mut entries = self.log.iter().rev();
        entries.find_map(|entry| entry.mirrored).unwrap_or_default()
    }

    /// Where an earlier append with this key stands.
    pub(crate) fn repeated(&self, key: &DedupeKey) -> Option<(Seq, Seq)> {
        self.repeats.get(key).copied()
    }

    /// The shard framed an append.
    pub(crate) fn framed(&mut self, write: &Write, contents: &[Content], keys: Vec<DedupeKey>) {
        let mut at = write.offset;
        for (index, (placed, content)) in write.placed.iter().zip(contents).enumerate() {
            let bytes = u64::from(placed.head_len) + content.body.len() as u64 + 2;
            // The same message may be appended again at the same seq, and the same time when the
            // clock went back: then it has its id of before by right.
            self.given_up.remove(&placed.id);
            self.log.push(Entry {
                id: placed.id,
                content: content.clone(),
                labels: Labels::of(&content.lines),
                time: write.time,
                bytes,
                batch_last: write.last(),
                known_commit: write.commit,
                file: write.file,
                body_at: at + u64::from(placed.head_len),
                mirrored: write.mirrored.as_ref().map(|it| it.records[index].seq),
            });
            at += bytes;
        }
        for key in keys {
            self.repeats.insert(key, (write.first, write.last()));
        }
    }

    /// A crash or a restored copy leaves the log at this end.
    pub(crate) fn cut(&mut self, end: Seq) {
        self.log
            .truncate(usize::try_from(end.0).expect("logs of a simulation are short"));
        self.repeats.retain(|_, (_, last)| *last <= end);
    }

    /// An operator gives up what is behind `end`.
    pub(crate) fn give_up(&mut self, end: Seq) {
        self.restored = true;
        let kept = usize::try_from(end.0).expect("logs of a simulation are short");
        self.given_up
            .extend(self.log.iter().skip(kept).map(|entry| entry.id));
        self.cut(end);
    }

    pub(crate) fn is_given_up(&self, id: Option<Hash>) -> bool {
        id.is_some_and(|id| self.given_up.contains(&id))
    }

    /// The tree of everything through `end`.
    pub(crate) fn frontier(&self, end: Seq) -> Frontier {
        let mut frontier = Frontier::default();
        let count = usize::try_from(end.0).expect("logs of a simulation are short");
        for entry in self.log.iter().take(count) {
            frontier.push(entry.id);
        }
        frontier
    }

    /// Bytes of the segments from the one that starts with `first` on.
    pub(crate) fn bytes_from(&self, first: Seq) -> u64 {
        let skip = usize::try_from(first.prev().0).expect("logs of a simulation are short");
        let heads: u64 = self.heads.range(first..).map(|(_, bytes)| bytes).sum();
        self.log
            .iter()
            .skip(skip)
            .map(|entry| entry.bytes)
            .sum::<u64>()
            + heads
    }
}

impl LogView for Model {
    fn first(&self) -> Seq {
        self.first
    }

    fn commit(&self) -> Seq {
        self.commit
    }

    fn entry(&self, seq: Seq) -> Option<Chosen<'_>> {
        let entry = Self::entry(self, seq)?;
        Some(Chosen {
            labels: &entry.labels,
            time: entry.time,
        })
    }

    fn still(&self) -> Option<u64> {
        self.stands_still().then_some(self.changes)
    }

    fn rotted(&self) -> bool {
        self.rotted
    }
}
