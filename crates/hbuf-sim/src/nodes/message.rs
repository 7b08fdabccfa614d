//! What nodes and clients say to each other.

use hbuf_core::append::{AppendRefused, AppendRequest, Appended};
use hbuf_core::consumer::Filter;
use hbuf_core::ids::{Micros, NodeId, Seq};
use hbuf_core::replication::{FromCopy, NodeEpoch, ToCopy};
use hbuf_core::segment::LogKind;
use hbuf_manager::sessions::Heartbeat;

use super::pages::Page;
use super::topics::{TopicAsk, TopicPage};
use super::work::{Work, Worked};
use crate::history::Shown;
use crate::kinds::Kind;
use crate::model::Content;

/// A message under way.
#[derive(Clone, Debug)]
pub(super) enum Message {
    /// Between members of the manager's group, as bytes.
    Raft(Vec<u8>),
    /// A command for whoever leads the group.
    Propose(Vec<u8>),
    /// A node lives.
    Heartbeat(Heartbeat),
    /// The process of this registration ends in order.
    Ended(NodeEpoch),
    /// Another process has registered for the node: the one of this registration must stop.
    Superseded(NodeEpoch),
    /// From a primary to a copy, with the records, or the mark and its tables.
    ToCopy {
        buffer: usize,
        log: LogKind,
        message: ToCopy,
        body: Vec<u8>,
        tables: Option<Vec<u8>>,
    },
    /// From a copy to a primary.
    FromCopy {
        buffer: usize,
        log: LogKind,
        answer: FromCopy,
    },
    /// From a client.
    Ask {
        operation: u64,
        buffer: usize,
        ask: Ask,
    },
    /// To a client.
    Answer { operation: u64, answer: Answer },
}

/// What a client asks.
#[derive(Clone, Debug)]
pub(super) enum Ask {
    /// To append.
    Append {
        request: AppendRequest,
        contents: Vec<Content>,
    },
    /// What is there, surely through all that anybody was told of.
    ReadTail,
    /// What is behind a seq, as far as whoever is asked knows that it is committed.
    Read { after: Seq, limit: u64 },
    /// The newest message of a key, as surely as the tail.
    Get { key: String },
    /// What matches a filter behind a seq.
    Page {
        after: Seq,
        limit: usize,
        filter: Filter,
    },
    /// What comes next of a topic.
    Topic(TopicAsk),
    /// Something of a consumer, as one of its workers.
    Work { consumer: usize, work: Work },
}

/// The newest message of a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Newest {
    pub(super) seq: Seq,
    pub(super) time: Micros,
    pub(super) body: Vec<u8>,
}

/// What it is answered.
#[derive(Clone, Debug)]
pub(super) enum Answer {
    /// To an append.
    Appended(
        Box<Result<Appended, AppendRefused>>,
        Option<NodeId>,
        hbuf_core::ids::Uuid,
    ),
    /// To a read.
    Tail(Box<Shown>),
    /// To one of messages, or of a key.
    Read(Box<Shown>, Option<Box<Newest>>),
    /// A page; nothing when this node cannot say.
    Page(Option<Box<Page>>, Option<NodeId>),
    /// The same of a topic.
    Topic(Option<Box<TopicPage>>),
    /// To a worker.
    Worked(Box<Worked>, Option<NodeId>),
    /// This node cannot say; another one may.
    NoTail(Option<NodeId>),
}

impl Ask {
    /// Whether it is told from another one when it comes twice.
    pub(super) const fn is_told_apart(&self) -> bool {
        match self {
            Self::Append { request, .. } => request.producer.is_some() || request.idem.is_some(),
            _ => false,
        }
    }

    /// The event of a client that asks it.
    pub(super) const fn kind(&self) -> Kind {
        match self {
            Self::Append { .. } => Kind::AppendAsked,
            Self::ReadTail => Kind::TailAsked,
            Self::Read { .. } | Self::Get { .. } | Self::Page { .. } | Self::Topic(_) => {
                Kind::ReadAsked
            }
            Self::Work { work, .. } => work.kind(),
        }
    }
}

impl Message {
    /// Its length, for the network.
    pub(super) fn bytes(&self) -> u64 {
        let body = match self {
            Self::Raft(bytes) | Self::Propose(bytes) => bytes.len(),
            Self::ToCopy { body, tables, .. } => body.len() + tables.as_ref().map_or(0, Vec::len),
            Self::Ask {
                ask: Ask::Append { contents, .. },
                ..
            } => contents.iter().map(|it| it.body.len() + 200).sum(),
            _ => 0,
        };
        body as u64 + 100
    }

    /// Whether it does something a second time when it comes again.
    pub(super) const fn is_unrepeatable(&self) -> bool {
        match self {
            Self::Ask { ask, .. } => matches!(ask, Ask::Append { .. }) && !ask.is_told_apart(),
            _ => false,
        }
    }

    /// What kind it is, for a person.
    pub(super) const fn what(&self) -> &'static str {
        match self {
            Self::Raft(_) => "raft",
            Self::Propose(_) => "propose",
            Self::Heartbeat(_) => "heartbeat",
            Self::Ended(_) => "ended",
            Self::Superseded(_) => "superseded",
            Self::ToCopy { message, .. } => match message {
                ToCopy::Greet { .. } => "greet",
                ToCopy::Lead { .. } => "lead",
                ToCopy::Begin { .. } => "begin",
                ToCopy::Mark { .. } => "mark",
                ToCopy::Fill { .. } => "fill",
                ToCopy::Append { .. } => "append",
            },
            Self::FromCopy { .. } => "answer",
            Self::Ask { .. } => "ask",
            Self::Answer { .. } => "reply",
        }
    }

    /// The buffer that it is about.
    pub(super) const fn buffer(&self) -> Option<usize> {
        match self {
            Self::ToCopy { buffer, .. }
            | Self::FromCopy { buffer, .. }
            | Self::Ask { buffer, .. } => Some(*buffer),
            _ => None,
        }
    }

    /// Which log of it.
    pub(super) const fn log(&self) -> Option<LogKind> {
        match self {
            Self::ToCopy { log, .. } | Self::FromCopy { log, .. } => Some(*log),
            _ => None,
        }
    }

    /// The epoch in which a primary says it.
    pub(super) fn epoch(&self) -> Option<u32> {
        match self {
            Self::ToCopy { message, .. } => Some(message.epoch().0),
            _ => None,
        }
    }

    /// The seqs that it carries.
    pub(super) fn seqs(&self) -> Option<(u64, u64)> {
        match self {
            Self::ToCopy {
                message: ToCopy::Append { prev, through, .. },
                ..
            } if *through > prev.seq => Some((prev.seq.next().0, through.0)),
            Self::FromCopy { answer, .. } => match answer.word {
                hbuf_core::replication::Word::Holds { durable, .. } if durable > Seq::ZERO => {
                    Some((durable.0, durable.0))
                }
                _ => None,
            },
            Self::Answer {
                answer: Answer::Appended(outcome, ..),
                ..
            } => {
                let appended = outcome.as_ref().as_ref().ok()?;
                Some((appended.first.0, appended.last.0))
            }
            _ => None,
        }
    }
}
