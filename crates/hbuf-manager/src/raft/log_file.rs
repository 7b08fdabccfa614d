//! From what must be persisted to writes of files, and what a crash between them leaves.
//!
//! ```text
//! 00000000000000004711.hbuf   head line, snapshot of 1–4710, members, then entries 4711, … with a
//!                             vote line before them whenever the commit moved
//! votes.hbuf                  head line, then a vote line for each term and vote, and a members
//!                             line for each applied change
//! ```
//!
//! Votes have a file of their own because an overwritten suffix is cut off (P4), and a vote that
//! stood behind it must not go with it. The commit stands before the entries that came with it: a
//! member that holds the end of a change of members must know that its start was committed.

use alloc::borrow::ToOwned;
use alloc::string::String;
use alloc::vec;
use alloc::vec::Vec;
use core::convert::Infallible;

use ::raft::eraftpb::Entry;
use hbuf_core::ids::{Epoch, Micros, Seq, Uuid};
use hbuf_core::limits::{SNAPSHOT_CHUNK_BYTES, VOTES_BYTES_MAX};
use hbuf_core::record::Kind;
use hbuf_core::segment::{FORMAT, LogKind, SegmentHead, file_name};
use hbuf_core::tree::Frontier;

use super::entry::{Vote, encode_members, epoch, push_entry, push_head};
use super::members::Members;
use super::ready::vote_of;
use crate::record::{Place, encode_snapshot};
use crate::state::State;

/// The term in which a group is founded, and which a log without elections has.
const FOUNDING_TERM: u64 = 1;
/// The file of votes and members.
pub const VOTES_FILE: &str = "votes.hbuf";

/// One thing to do to the files. It must be durable before the next one begins, and a failure of
/// its sync ends the group's use of the disk: it is never tried again (P16).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FileStep {
    /// Write at the end, then sync. A crash leaves any part of the bytes.
    Append {
        /// The file.
        file: String,
        /// Where its end is.
        at: u64,
        /// What to write.
        bytes: Vec<u8>,
    },
    /// Cut the file, then sync. A crash leaves it as it was, or cut.
    Cut {
        /// The file.
        file: String,
        /// Its length afterwards.
        length: u64,
    },
    /// Write a file under another name, sync it, give it its name, sync the directory. A crash
    /// leaves what had the name before, or all of this.
    Replace {
        /// The file.
        file: String,
        /// All of it.
        bytes: Vec<u8>,
    },
}

/// What a snapshot says besides the state.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Base {
    pub(super) index: u64,
    pub(super) term: u64,
    pub(super) members: Members,
}

/// What must be durable before a number may be reported as persisted.
#[derive(Clone, Debug, PartialEq)]
pub struct Persist {
    pub(super) number: u64,
    pub(super) vote: Vote,
    /// Members that were applied, with the index as of which they are (P8).
    pub(super) members: Option<(u64, Members)>,
    /// A snapshot that replaces the log, and its state (P5).
    pub(super) snapshot: Option<(Base, Vec<u8>)>,
    pub(super) entries: Vec<Entry>,
}

impl Persist {
    /// What to report when it is durable.
    #[must_use]
    pub const fn number(&self) -> u64 {
        self.number
    }
}

/// A log that is replaced by a snapshot of its own state and the entries behind it.
#[derive(Clone, Debug, PartialEq)]
pub struct Roll {
    pub(super) base: Base,
    pub(super) vote: Vote,
    pub(super) entries: Vec<Entry>,
}

/// What is in the group's files, and where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogFile {
    pub(super) group: Uuid,
    /// The first index that stands in the file as an entry.
    pub(super) first: u64,
    /// Where each entry starts, the lines that came with it included.
    pub(super) offsets: Vec<u64>,
    pub(super) base: u64,
    pub(super) end: u64,
    pub(super) time: Micros,
    /// As the file of votes says.
    pub(super) vote: Vote,
    pub(super) members: Option<(u64, Members)>,
    pub(super) votes_end: u64,
    /// The last commit that stands in the log.
    pub(super) commit: u64,
}

impl LogFile {
    /// The files of a member that begins, and what makes them: with the founding members and a
    /// state, or without both for one that is about to join. A founding state has an index, so
    /// that whoever joins takes a snapshot and with it the members, who stand in no entry.
    ///
    /// # Panics
    /// When there are members and no state, or the other way round.
    #[must_use]
    pub fn found<S: State>(
        group: Uuid,
        members: &Members,
        state: &S,
        now: Micros,
    ) -> (Self, Vec<FileStep>) {
        let index = state.applied();
        assert_eq!(
            members.voters.is_empty(),
            index == 0,
            "members and a state, or neither"
        );
        let term = FOUNDING_TERM.min(index);
        let mut log = Self {
            group,
            first: 1,
            offsets: Vec::new(),
            base: 0,
            end: 0,
            time: now,
            vote: vote_of(term, 0, index),
            members: None,
            votes_end: 0,
            commit: 0,
        };
        let base = Base {
            index,
            term,
            members: members.clone(),
        };
        let state = state_text(state);
        // Votes first: a log without them is that of a member that forgot what it voted for.
        let steps = vec![log.replace_votes(), log.replace_log(&base, &state, &[], 0)];
        (log, steps)
    }

    /// Bytes of entries in the log's file: what a snapshot would save the next start.
    #[must_use]
    pub const fn entry_bytes(&self) -> u64 {
        self.end - self.base
    }

    /// The name of the file that holds the log.
    #[must_use]
    pub fn log_name(&self) -> String {
        file_name(Seq(self.first))
    }

    /// The steps that make something durable, in their order.
    #[must_use]
    pub fn plan(&mut self, persist: &Persist, now: Micros) -> Vec<FileStep> {
        self.time = self.time.max(now);
        let mut steps = Vec::new();
        // P4: the vote is durable before any entry of its term.
        self.plan_votes(persist, &mut steps);
        if let Some((base, state)) = &persist.snapshot {
            let step = self.replace_log(base, state, &persist.entries, persist.vote.commit);
            steps.push(step);
        } else if !persist.entries.is_empty() {
            self.plan_entries(&persist.entries, persist.vote.commit, &mut steps);
        }
        steps
    }

    /// The steps that replace the log by a snapshot.
    ///
    /// # Panics
    /// When the state is not as of the roll's index.
    #[must_use]
    pub fn plan_roll<S: State>(&mut self, roll: &Roll, state: &S, now: Micros) -> Vec<FileStep> {
        assert_eq!(
            state.applied(),
            roll.base.index,
            "the snapshot is of the roll's index"
        );
        self.time = self.time.max(now);
        let state = state_text(state);
        vec![self.replace_log(&roll.base, &state, &roll.entries, roll.vote.commit)]
    }

    fn plan_votes(&mut self, persist: &Persist, steps: &mut Vec<FileStep>) {
        let mut bytes = Vec::new();
        let Vote { term, vote, .. } = persist.vote;
        if (term, vote) != (self.vote.term, self.vote.vote) {
            assert!(term >= self.vote.term, "terms only rise");
            self.vote = persist.vote;
            push_head(Kind::Vote, 1, self.time, &self.vote.encode(), &mut bytes);
        }
        if let Some((index, members)) = &persist.members {
            let body = encode_members(*index, members);
            push_head(Kind::Members, 1, self.time, &body, &mut bytes);
            self.members = Some((*index, members.clone()));
        }
        if bytes.is_empty() {
            return;
        }
        if self.votes_end + bytes.len() as u64 > VOTES_BYTES_MAX {
            steps.push(self.replace_votes());
            return;
        }
        let at = self.votes_end;
        self.votes_end += bytes.len() as u64;
        let file = VOTES_FILE.to_owned();
        steps.push(FileStep::Append { file, at, bytes });
    }

    fn plan_entries(&mut self, entries: &[Entry], commit: u64, steps: &mut Vec<FileStep>) {
        let start = entries.first().expect("there are entries").index;
        let at = usize::try_from(start - self.first).expect("the log is in memory");
        assert!(at <= self.offsets.len(), "a gap in the log's file");
        if at < self.offsets.len() {
            // P4: what stood here is cut off and the cut is durable before anything takes its
            // place, so that no crash leaves old entries behind new ones.
            self.end = self.offsets[at];
            self.offsets.truncate(at);
            self.commit = 0;
            steps.push(FileStep::Cut {
                file: self.log_name(),
                length: self.end,
            });
        }
        let bytes = self.push_entries(entries, commit, start - 1);
        let at = self.end - bytes.len() as u64;
        let file = self.log_name();
        steps.push(FileStep::Append { file, at, bytes });
    }

    /// Frames entries behind the file's end. `d` tells recovery what was durable here before:
    /// commit alone may be ahead of what this member had written.
    fn push_entries(&mut self, entries: &[Entry], commit: u64, durable: u64) -> Vec<u8> {
        let mut bytes = Vec::new();
        let start = self.end;
        for (at, entry) in entries.iter().enumerate() {
            self.offsets.push(start + bytes.len() as u64);
            if at == 0 && commit > self.commit {
                let vote = Vote {
                    commit,
                    ..self.vote
                };
                push_head(
                    Kind::Vote,
                    entry.index,
                    self.time,
                    &vote.encode(),
                    &mut bytes,
                );
                self.commit = commit;
            }
            let known = durable.min(commit).min(entry.index);
            let distance = u32::try_from(entry.index - known).unwrap_or(u32::MAX);
            push_entry(entry, self.time, distance, &mut bytes);
        }
        self.end = start + bytes.len() as u64;
        bytes
    }

    fn replace_log(
        &mut self,
        base: &Base,
        state: &[u8],
        entries: &[Entry],
        commit: u64,
    ) -> FileStep {
        self.first = base.index + 1;
        self.offsets.clear();
        self.commit = 0;
        let mut bytes = Vec::new();
        self.head(self.first, epoch(base.term)).encode(&mut bytes);
        let place = Place {
            index: base.index,
            term: epoch(base.term),
            time: self.time,
            distance: 0,
        };
        // A member that is about to join has no state, and no index to put it at.
        for piece in pieces(state).filter(|_| base.index > 0) {
            encode_snapshot(&place, piece, &mut bytes);
        }
        let members = encode_members(base.index, &base.members);
        push_head(Kind::Members, self.first, self.time, &members, &mut bytes);
        self.base = bytes.len() as u64;
        self.end = self.base;
        // The file gets its name when all of it is durable.
        let tail = self.push_entries(entries, commit, u64::MAX);
        bytes.extend_from_slice(&tail);
        FileStep::Replace {
            file: self.log_name(),
            bytes,
        }
    }

    fn replace_votes(&mut self) -> FileStep {
        let mut bytes = Vec::new();
        self.head(1, Epoch(0)).encode(&mut bytes);
        push_head(Kind::Vote, 1, self.time, &self.vote.encode(), &mut bytes);
        if let Some((index, members)) = &self.members {
            let body = encode_members(*index, members);
            push_head(Kind::Members, 1, self.time, &body, &mut bytes);
        }
        self.votes_end = bytes.len() as u64;
        let file = VOTES_FILE.to_owned();
        FileStep::Replace { file, bytes }
    }

    fn head(&self, first: u64, term: Epoch) -> SegmentHead {
        SegmentHead {
            format: FORMAT,
            kind: LogKind::Manager,
            buffer: self.group,
            log: Uuid::default(),
            history: Uuid::default(),
            first: Seq(first),
            time: self.time,
            epoch: term,
            frontier: Frontier::default(),
            epochs: vec![(term, Seq(first))],
            compacted: None,
        }
    }
}

/// A state's text.
pub(super) fn state_text<S: State>(state: &S) -> Vec<u8> {
    let mut text = Vec::new();
    let written = state.encode(SNAPSHOT_CHUNK_BYTES, |piece| {
        text.extend_from_slice(piece);
        Ok::<(), Infallible>(())
    });
    match written {
        Ok(_) => text,
        Err(never) => match never {},
    }
}

/// A state's text in pieces of whole rows, none much longer than a record of a snapshot may be.
fn pieces(text: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut rest = text;
    core::iter::from_fn(move || {
        let from = rest.len().min(SNAPSHOT_CHUNK_BYTES).saturating_sub(1);
        let end = rest.get(from..)?.iter().position(|&byte| byte == b'\n');
        let (piece, left) = rest.split_at(end.map_or(rest.len(), |at| from + at + 1));
        rest = left;
        (!piece.is_empty()).then_some(piece)
    })
}
