//! Judges what a walk or a download brings: does content give the id, do the ids give the tree?
//!
//! A checksum that is wrong tells of an accident. A checksum that is right over content, or ids
//! that do not give the tree's root, tell of a hand: that is *tampered*.

use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};

use hbuf_core::ids::{Hash, Seq, Uuid};
use hbuf_core::record::{Kind as RecordKind, Record, Verdict, erasures};
use hbuf_core::segment::{LogKind, SegmentHead};
use hbuf_core::tree::Frontier;

use super::walk::{Damage, Kind};

/// What was checked so far.
#[derive(Clone, Debug, Default)]
pub(crate) struct Check {
    /// The log's uuid, which every leaf names.
    pub(crate) log: Option<Uuid>,
    pub(crate) first: Option<Seq>,
    pub(crate) last: Option<Seq>,
    pub(crate) intact: u64,
    pub(crate) erased: u64,
    pub(crate) damage: Vec<Damage>,
    /// The tree of everything so far; `None` behind damage, until a head line says it anew.
    tree: Option<Frontier>,
    /// Records behind damage, whose place in the tree nothing vouches for.
    unproven: bool,
    expected: Vec<Expected>,
    /// Wiped records, which an erase record must name.
    wiped: Vec<(Seq, PathBuf, u64)>,
    /// What the erase records name.
    named: Vec<RangeInclusive<Seq>>,
    /// The log has neither ids nor a tree, as the catalog's has not: its checksums are all there
    /// is.
    treeless: bool,
    /// Only a part of the log is seen, so an erase record may stand elsewhere.
    partial: bool,
}

/// A root that the tree must have at a size.
#[derive(Clone, Debug)]
struct Expected {
    size: u64,
    root: Hash,
    whose: &'static str,
    file: PathBuf,
}

impl Check {
    /// The tree so far, if it could be followed to here.
    pub(crate) const fn tree(&self) -> Option<&Frontier> {
        self.tree.as_ref()
    }

    /// Some records could not be held against a root.
    pub(crate) const fn unproven(&self) -> bool {
        self.unproven
    }

    /// Starts, or goes on, from a tree that is known.
    pub(crate) fn start(&mut self, log: Option<Uuid>, tree: Frontier) {
        self.log = self.log.or(log);
        self.tree = Some(tree);
        self.meet();
    }

    /// A segment's head: it must name the same log and the tree that the records before it gave.
    pub(crate) fn head(&mut self, head: &SegmentHead, file: &Path) {
        let wrong = |reason: String| Damage {
            kind: Kind::Tampered,
            file: file.to_owned(),
            offset: 0,
            seq: head.first,
            last: head.first,
            reason,
        };
        if let Some(log) = self.log.filter(|&log| log != head.log) {
            let reason = format!(
                "the head names log {}, the files before it log {log}",
                head.log
            );
            self.damage.push(wrong(reason));
        }
        self.log = self.log.or(Some(head.log));
        if (head.kind != LogKind::Messages) != self.treeless {
            self.damage
                .push(wrong("the head is that of another kind of log".to_owned()));
        }
        if self.treeless {
            return;
        }
        let meets = self
            .tree
            .as_ref()
            .filter(|tree| tree.size() == head.frontier.size());
        if meets.is_some_and(|tree| tree.root() != head.frontier.root()) {
            self.damage.push(Damage {
                seq: self.first.unwrap_or(Seq::FIRST),
                last: head.first.prev(),
                ..wrong("the ids of these do not give the root that the next head holds".to_owned())
            });
        }
        self.tree = Some(head.frontier.clone());
        self.meet();
    }

    /// The log has come to `end`, where its root is this, and nothing of it is left to look at.
    pub(crate) fn emptied(&mut self, end: Seq, root: Option<Hash>) {
        self.last = Some(end);
        let here = |expected: &Expected| expected.size == end.0 && Some(expected.root) == root;
        self.expected.retain(|expected| !here(expected));
    }

    /// A record with a right checksum.
    pub(crate) fn record(&mut self, record: &Record<'_>, file: &Path, offset: u64) {
        let seq = record.line.seq;
        self.first.get_or_insert(seq);
        self.last = Some(seq);
        // Without a head that can be read there is no log uuid, and nothing to hold ids against.
        let verdict = self.log.map(|log| record.verify(log));
        let reason = match verdict {
            Some(Verdict::Intact) => {
                self.intact += 1;
                None
            }
            Some(Verdict::Erased) => {
                self.erased += 1;
                self.wiped.push((seq, file.to_owned(), offset));
                None
            }
            Some(Verdict::Altered) => Some("the content does not give the id: it was exchanged"),
            Some(Verdict::NotWiped) => Some("marked as erased, but content is left"),
            Some(Verdict::NoProof) if self.treeless => {
                self.intact += 1;
                None
            }
            Some(Verdict::NoProof) => Some("no id, so nothing proves the content"),
            None => {
                self.unproven = true;
                None
            }
        };
        if let Some(reason) = reason {
            self.damage.push(Damage {
                kind: Kind::Tampered,
                file: file.to_owned(),
                offset,
                seq,
                last: seq,
                reason: reason.to_owned(),
            });
        }
        if record.facts.kind == RecordKind::Erase && verdict == Some(Verdict::Intact) {
            self.named.extend(erasures(record.body).unwrap_or_default());
        }
        if !self.treeless {
            self.push(seq, record.id());
        }
    }

    /// A place that is not good.
    pub(crate) fn damaged(&mut self, damage: Damage) {
        match damage.kind {
            // What is cut was never in the tree; mark and filters are no part of it.
            Kind::Torn | Kind::Mark | Kind::Filter => {}
            Kind::Head | Kind::Damaged | Kind::Missing | Kind::Tampered => {
                let next_due = self.tree.as_ref().map(|tree| Seq(tree.size()).next());
                // A bad head before the next record due leaves the tree as it was.
                if damage.kind != Kind::Head || next_due != Some(damage.seq) {
                    self.tree = None;
                }
            }
        }
        self.damage.push(damage);
    }

    /// Says what root the tree must have at a size, and in whose word. Sizes that are passed
    /// already are not looked at.
    pub(crate) fn expect(&mut self, size: u64, root: Hash, whose: &'static str, file: &Path) {
        self.expected.push(Expected {
            size,
            root,
            whose,
            file: file.to_owned(),
        });
        self.meet();
    }

    /// The log is one of hbuf's own, which have no tree.
    pub(crate) fn without_tree(&mut self) {
        self.treeless = true;
    }

    /// Only a part of the log will be seen.
    pub(crate) fn part_only(&mut self) {
        self.partial = true;
    }

    /// After the last record: what was expected and never met, and what was wiped by nobody's word.
    pub(crate) fn finish(&mut self) {
        for (seq, file, offset) in std::mem::take(&mut self.wiped) {
            if self.named.iter().any(|named| named.contains(&seq)) {
                continue;
            }
            if self.partial {
                self.unproven = true;
                continue;
            }
            self.erased -= 1;
            self.damage.push(Damage {
                kind: Kind::Tampered,
                file,
                offset,
                seq,
                last: seq,
                reason: "wiped, and no erase record names it".to_owned(),
            });
        }
        let end = self.last.unwrap_or_default();
        for Expected {
            size, whose, file, ..
        } in std::mem::take(&mut self.expected)
        {
            let known = self.damage.iter().any(|damage| damage.last >= Seq(size));
            if size == 0 {
                // An empty tree asks for nothing.
            } else if Seq(size) > end && !known {
                self.damage.push(Damage {
                    kind: Kind::Missing,
                    file,
                    offset: 0,
                    seq: end.next(),
                    last: Seq(size),
                    reason: format!("{whose} covers {size} messages, the log ends with seq {end}"),
                });
            } else {
                self.unproven = true;
            }
        }
    }

    /// Holds the tree against the roots that are due at its size.
    fn meet(&mut self) {
        let Some(tree) = &self.tree else { return };
        let due = |expected: &Expected| expected.size == tree.size();
        if !self.expected.iter().any(due) {
            return;
        }
        let root = tree.root();
        for Expected {
            size, whose, file, ..
        } in self
            .expected
            .extract_if(.., |expected| due(expected))
            .filter(|met| met.root != root)
        {
            self.damage.push(Damage {
                kind: Kind::Tampered,
                file,
                offset: 0,
                seq: self.first.unwrap_or(Seq::FIRST),
                last: Seq(size),
                reason: format!("the ids of these do not give the root that {whose} holds"),
            });
        }
    }

    fn push(&mut self, seq: Seq, id: Option<Hash>) {
        self.tree = match (self.tree.take(), id) {
            (Some(mut tree), Some(id)) if Seq(tree.size()).next() == seq => {
                tree.push(id);
                Some(tree)
            }
            _ => None,
        };
        self.unproven |= self.tree.is_none();
        self.meet();
    }
}
