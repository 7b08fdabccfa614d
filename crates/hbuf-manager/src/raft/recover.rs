//! Reading a group's files at a start.
//!
//! A torn tail was never reported as persisted and is cut. Anything else that cannot be read
//! refuses the start: a member that forgot an entry or a vote breaks the promise it gave to others
//! (P1, P11).

use alloc::borrow::ToOwned;
use alloc::string::{String, ToString};
use alloc::vec;
use alloc::vec::Vec;

use ::raft::eraftpb::{Entry, HardState};
use hbuf_core::ids::{Epoch, Micros, Seq, Uuid};
use hbuf_core::record::{Kind, Line, Record, State as RecordState, decode};
use hbuf_core::segment::{
    End, HeadError, LogKind, OpenError, Position, SegmentHead, Step, Stop, Walker, Why, classify,
    open,
};

use super::entry::{LogEntryError, Vote, decode_members, read_entry};
use super::log_file::{FileStep, LogFile, VOTES_FILE};
use super::members::Members;
use super::storage::Mirror;
use crate::catalog::Catalog;
use crate::lines::FieldError;
use crate::rows::{SnapshotError, SnapshotReader};
use crate::state::State;

/// What a start found.
#[derive(Clone, Debug, PartialEq)]
pub struct Recovered<S = Catalog> {
    pub(super) mirror: Mirror,
    /// What to do to the files before anything else: torn tails go.
    pub steps: Vec<FileStep>,
    /// The files from here on.
    pub log: LogFile,
    /// The state as of the snapshot in the log. The entries behind it come as effects.
    pub state: S,
}

/// Why a group's files cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RecoverError {
    /// No head line.
    #[error("{file}: {why}")]
    Head {
        /// Which of the two files.
        file: &'static str,
        /// What is wrong.
        why: String,
    },
    /// The file is another's.
    #[error("{file}: the head line is that of another file; put the right file back")]
    Misplaced {
        /// Which of the two files.
        file: &'static str,
    },
    /// Something durable is damaged.
    #[error(
        "{file}: the record at byte {offset} is damaged ({why}) and what stands behind it shows that it was durable; restore the file from a backup, or remove this member and add its disk anew under a new id"
    )]
    Corrupt {
        /// Which of the two files.
        file: &'static str,
        /// Where it stands.
        offset: u64,
        /// What is wrong there.
        why: Why,
    },
    /// An entry that this version cannot read.
    #[error("the log: {0}")]
    Entry(#[from] LogEntryError),
    /// A head line that cannot be read.
    #[error("{file}: a head line cannot be read: {why}")]
    Line {
        /// Which of the two files.
        file: &'static str,
        /// What is wrong.
        why: FieldError,
    },
    /// The snapshot makes no state.
    #[error("the log: {0}")]
    Snapshot(#[from] SnapshotError),
    /// The log ends before what this member had applied.
    #[error(
        "the log ends at {last}, but this member had applied {applied}: entries are lost; remove it and add its disk anew under a new id"
    )]
    Lost {
        /// The last index in the log.
        last: u64,
        /// What was applied.
        applied: u64,
    },
    /// The votes are missing.
    #[error(
        "the log has entries of term {term}, but the file of votes knows only term {known}: a vote may be lost; restore the file from a backup, or remove this member and add its disk anew under a new id"
    )]
    VoteLost {
        /// The log's last term.
        term: Epoch,
        /// What the file of votes says.
        known: Epoch,
    },
    /// The log names no members: a lone voter kept it. It is founded anew from its state, by
    /// [`LogFile::found`].
    #[error("the log names no members: it is that of a lone voter")]
    NoMembers,
}

const LOG: &str = "the manager's log";
const VOTES: &str = "the manager's votes";

/// Reads the newest file of the log, whose name says its first index, and the file of votes.
pub fn recover<S: State>(
    group: Uuid,
    first: Seq,
    log: &[u8],
    votes: &[u8],
) -> Result<Recovered<S>, RecoverError> {
    let mut reader = LogReader::open(group, first, log)?;
    reader.read(log)?;
    reader.finish(read_votes(group, votes)?)
}

#[derive(Default)]
struct Votes {
    vote: Vote,
    members: Option<(u64, Members)>,
    end: u64,
}

struct LogReader<S> {
    group: Uuid,
    head: SegmentHead,
    position: Position,
    base: u64,
    commit: u64,
    term: Epoch,
    members: Option<Members>,
    entries: Vec<Entry>,
    offsets: Vec<u64>,
    state: S,
}

impl<S: State> LogReader<S> {
    fn open(group: Uuid, first: Seq, log: &[u8]) -> Result<Self, RecoverError> {
        let (head, position) = open_file(LOG, group, log)?;
        if head.first != first {
            return Err(RecoverError::Misplaced { file: LOG });
        }
        Ok(Self {
            group,
            base: position.offset,
            position,
            commit: 0,
            term: Epoch(0),
            members: None,
            entries: Vec::new(),
            offsets: Vec::new(),
            state: S::default(),
            head,
        })
    }

    fn read(&mut self, log: &[u8]) -> Result<(), RecoverError> {
        if self.head.first > Seq::FIRST {
            self.read_snapshot(log)?;
        }
        let mut walker = Walker::new(log, self.position.clone());
        // Where the lines that belong to the next entry start.
        let mut lines_at = None;
        let stop = loop {
            let step = walker.step().expect("the bytes are in memory");
            let (offset, record) = match step {
                Step::Stop(stop) => break stop,
                Step::Record { offset, record } => (offset, record),
            };
            if record.line.state == RecordState::Head {
                let base = self.take_line(&record)?;
                if base {
                    self.base = offset + record.line.record_len();
                } else {
                    lines_at = lines_at.or(Some(offset));
                }
                continue;
            }
            self.entries.push(read_entry(&record)?);
            self.offsets.push(lines_at.take().unwrap_or(offset));
        };
        self.position = walker.position().clone();
        // Lines behind the last entry belong to one that was torn off.
        self.position.offset = lines_at.unwrap_or(self.position.offset);
        check_end(LOG, log, &stop)
    }

    /// Takes a head line between the entries; whether it belongs to the base.
    fn take_line(&mut self, record: &Record<'_>) -> Result<bool, RecoverError> {
        let unreadable = |why| RecoverError::Line { file: LOG, why };
        match record.facts.kind {
            Kind::Members if self.entries.is_empty() => {
                let (_, members) = decode_members(record.body).map_err(unreadable)?;
                self.members = Some(members);
                Ok(true)
            }
            Kind::Vote => {
                let vote = Vote::decode(record.body).map_err(unreadable)?;
                self.commit = self.commit.max(vote.commit);
                self.term = self.term.max(vote.term);
                Ok(false)
            }
            kind => Err(LogEntryError::Kind {
                index: record.line.seq.0,
                kind: kind.text(),
            }
            .into()),
        }
    }

    fn read_snapshot(&mut self, log: &[u8]) -> Result<(), RecoverError> {
        let mut reader = SnapshotReader::new();
        let mut at = self.position.offset;
        while !reader.ended() {
            let damaged = |why| RecoverError::Corrupt {
                file: LOG,
                offset: at,
                why: Why::Record(why),
            };
            let record = record_at(log, at);
            let record = decode(record).map_err(damaged)?;
            if record.facts.kind != Kind::Snapshot {
                break;
            }
            reader.push(record.body)?;
            at += record.line.record_len();
        }
        self.state = reader.finish()?;
        if self.state.applied() + 1 != self.head.first.0 {
            return Err(RecoverError::Misplaced { file: LOG });
        }
        self.position.offset = at;
        self.base = at;
        Ok(())
    }

    fn finish(self, votes: Votes) -> Result<Recovered<S>, RecoverError> {
        let before = self.head.first.0 - 1;
        let last = before + self.entries.len() as u64;
        let log_term = self
            .entries
            .last()
            .map_or(self.head.epoch, |entry| super::entry::epoch(entry.term));
        // The vote of a term is durable before its first entry.
        let (term, known) = (log_term.max(self.term), votes.vote.term);
        if term > known {
            return Err(RecoverError::VoteLost { term, known });
        }
        let members = self.members.ok_or(RecoverError::NoMembers)?;
        // P1: what was applied was committed, whether or not the commit was persisted; and what was
        // applied must still be there.
        let applied = votes
            .members
            .as_ref()
            .map_or(0, |(index, _)| *index)
            .max(before);
        if last < applied {
            return Err(RecoverError::Lost { last, applied });
        }
        // A commit line may stand before entries that were torn off: those that are there are still
        // the leader's, so the commit reaches as far as they do.
        let commit = self.commit.max(applied).min(last);
        let hard = HardState {
            term: known.0.into(),
            vote: votes.vote.vote.map_or(0, |id| id.0),
            commit,
            ..HardState::default()
        };
        let base_term = self.head.epoch.0.into();
        let mirror = Mirror {
            hard,
            before: (before, base_term),
            entries: self.entries.into(),
            applied: (before, base_term),
            members,
        };
        let log = LogFile {
            group: self.group,
            first: self.head.first.0,
            offsets: self.offsets,
            base: self.base,
            end: self.position.offset,
            time: self.position.time.max(self.head.time),
            vote: votes.vote,
            members: votes.members,
            votes_end: votes.end,
            commit: self.commit.min(last),
        };
        Ok(Recovered {
            mirror,
            steps: vec![
                FileStep::Cut {
                    file: log.log_name(),
                    length: log.end,
                },
                FileStep::Cut {
                    file: VOTES_FILE.to_owned(),
                    length: log.votes_end,
                },
            ],
            log,
            state: self.state,
        })
    }
}

fn open_file(
    file: &'static str,
    group: Uuid,
    bytes: &[u8],
) -> Result<(SegmentHead, Position), RecoverError> {
    let opened = open(bytes).map_err(|why| RecoverError::Head {
        file,
        why: match why {
            OpenError::Head(HeadError::Record(why)) => why.to_string(),
            other => other.to_string(),
        },
    });
    let (head, position) = opened?;
    if head.kind != LogKind::Manager || head.buffer != group {
        return Err(RecoverError::Misplaced { file });
    }
    Ok((head, position))
}

fn read_votes(group: Uuid, bytes: &[u8]) -> Result<Votes, RecoverError> {
    let (head, position) = open_file(VOTES, group, bytes)?;
    if head.first != Seq::FIRST {
        return Err(RecoverError::Misplaced { file: VOTES });
    }
    let unreadable = |why| RecoverError::Line { file: VOTES, why };
    let mut votes = Votes::default();
    let mut lines = 0;
    let mut walker = Walker::new(bytes, position);
    let stop = loop {
        match walker.step().expect("the bytes are in memory") {
            Step::Stop(stop) => break stop,
            Step::Record { record, .. } => match record.facts.kind {
                Kind::Vote => votes.vote = Vote::decode(record.body).map_err(unreadable)?,
                Kind::Members => {
                    votes.members = Some(decode_members(record.body).map_err(unreadable)?);
                }
                _ => return Err(RecoverError::Misplaced { file: VOTES }),
            },
        }
        lines += 1;
    };
    // Each line was durable before the next was written, and the first came with the file: damage
    // is a torn tail only when nothing good stands behind it.
    let torn = lines > 0 && !good_behind(bytes, stop.offset);
    if !matches!(stop.why, Why::End) && !torn || lines == 0 {
        return Err(corrupt(VOTES, &stop));
    }
    votes.end = stop.offset;
    Ok(votes)
}

fn good_behind(bytes: &[u8], offset: u64) -> bool {
    let start = usize::try_from(offset).expect("the bytes are in memory") + 1;
    (start..bytes.len())
        .any(|at| bytes[at..].starts_with(b"POST /") && decode(record_at(bytes, at as u64)).is_ok())
}

fn check_end(file: &'static str, bytes: &[u8], stop: &Stop) -> Result<(), RecoverError> {
    let end = classify(bytes, stop, Seq(stop.seq.0 - 1)).expect("the bytes are in memory");
    match end {
        End::Clean | End::Torn { .. } => Ok(()),
        End::Corrupt { .. } => Err(corrupt(file, stop)),
    }
}

const fn corrupt(file: &'static str, stop: &Stop) -> RecoverError {
    RecoverError::Corrupt {
        file,
        offset: stop.offset,
        why: stop.why,
    }
}

/// The bytes of the record at an offset, as far as its line and the file go.
fn record_at(bytes: &[u8], at: u64) -> &[u8] {
    let rest = usize::try_from(at)
        .ok()
        .and_then(|at| bytes.get(at..))
        .unwrap_or_default();
    let claimed = Line::parse(rest).map_or(0, |line| line.record_len());
    let claimed = usize::try_from(claimed).unwrap_or(usize::MAX);
    rest.get(..claimed).unwrap_or(rest)
}

impl<S> Recovered<S> {
    /// The time of the last record, below which no new one may be.
    #[must_use]
    pub const fn time(&self) -> Micros {
        self.log.time
    }
}
