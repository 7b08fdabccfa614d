//! A copy of a buffer: its two logs, and whom it answers.
//!
//! It keeps no tables: what a primary believes it reads from its disk when it is appointed, by the
//! same recovery as at a start.

use alloc::vec::Vec;

use super::assignment::NodeEpoch;
use super::copy::{Copy, Taken};
use super::filling::Fill;
use super::leader::LOGS;
use super::log::Log;
use super::message::{FromCopy, ToCopy};
use crate::ids::{Epoch, NodeId, Seq};
use crate::rules::Rules;
use crate::segment::LogKind;

/// A copy of a buffer on a node that is not its primary.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Follower {
    messages: Side,
    cursors: Side,
    /// It was told to become the primary, and is being opened as such.
    promoting: bool,
}

/// One of its logs.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Side {
    copy: Copy,
    /// Who spoke last in the epoch that it is in.
    leader: Option<NodeId>,
    /// Answers that wait until the log is cut back, or begun anew, on disk.
    waits: Option<(NodeId, FromCopy)>,
}

/// What follows from a message, in this order.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Step {
    /// Cut a log back to this seq, durably; nothing of it stays when that is before its first.
    Cut(Seq),
    /// Give a log up and begin another one behind this seq, durably.
    Begin(Seq),
    /// Take the message's mark, which covers the log from the second seq through the first.
    Mark(Seq, Seq),
    /// Drop what is before this seq, whole segments of it.
    Drop(Seq),
    /// Append the message's records behind the first seq through the second.
    Take(Seq, Seq),
    /// Put the message's records into a segment of before the first.
    Fill(Fill),
    /// Answer.
    Answer(NodeId, FromCopy),
    /// What is committed and here has grown.
    Commit(Seq),
}

impl Follower {
    /// A copy as a start finds it, or as a primary leaves it that is none any more. `epoch` as in
    /// [`Copy::open`], `tenure` as in [`Copy::of_tenure`].
    #[must_use]
    pub fn open(
        node_epoch: NodeEpoch,
        (epoch, tenure): (Epoch, u64),
        messages: Log,
        cursors: Log,
    ) -> Self {
        let side = |log: Log| Side {
            copy: Copy::of_tenure(node_epoch, epoch, log, tenure),
            leader: None,
            waits: None,
        };
        Self {
            messages: side(messages),
            cursors: side(cursors),
            promoting: false,
        }
    }

    /// One of the logs as it is.
    #[must_use]
    pub const fn log(&self, log: LogKind) -> &Log {
        match log {
            LogKind::Cursors => self.cursors.copy.log(),
            _ => self.messages.copy.log(),
        }
    }

    /// The highest epoch that it knows of.
    #[must_use]
    pub fn epoch(&self) -> Epoch {
        self.messages.copy.epoch().max(self.cursors.copy.epoch())
    }

    /// Its registration.
    pub(crate) const fn node_epoch(&self) -> NodeEpoch {
        self.messages.copy.node_epoch()
    }

    /// Whether one of its logs takes nothing more, for somebody to look.
    #[must_use]
    pub const fn quarantined(&self) -> bool {
        self.messages.copy.quarantined() || self.cursors.copy.quarantined()
    }

    /// Damage was found in one of its logs. Both say nothing until they begin anew, for the buffer
    /// is one.
    pub(crate) const fn spoil(&mut self) {
        self.messages.copy.spoil();
        self.cursors.copy.spoil();
        self.promoting = false;
    }

    /// Whether it waits to begin anew.
    #[must_use]
    pub const fn damaged(&self) -> bool {
        self.messages.copy.damaged()
    }

    /// Its tenure.
    pub(crate) const fn tenure(&self) -> u64 {
        self.messages.copy.tenure()
    }

    /// Both logs begin anew, and are empty.
    pub(crate) fn begin_anew(&mut self, tenure: u64) {
        for log in LOGS {
            let side = self.side(log);
            side.copy.begin_anew(tenure);
            side.waits = None;
        }
    }

    /// Whether nothing of it is under way.
    #[must_use]
    pub fn idle(&self) -> bool {
        let idle = |side: &Side| {
            let log = side.copy.log();
            side.waits.is_none() && log.durable == log.end
        };
        idle(&self.messages) && idle(&self.cursors) && !self.promoting && !self.damaged()
    }

    /// It is to become the primary; `false` when it is becoming it.
    pub(crate) const fn promote(&mut self) -> bool {
        !core::mem::replace(&mut self.promoting, true)
    }

    const fn side(&mut self, log: LogKind) -> &mut Side {
        match log {
            LogKind::Cursors => &mut self.cursors,
            _ => &mut self.messages,
        }
    }

    /// What a primary says of a log.
    pub fn on_message(
        &mut self,
        rules: &Rules,
        log: LogKind,
        from: NodeId,
        message: &ToCopy,
    ) -> Vec<Step> {
        let side = self.side(log);
        let before = side.copy.log().commit;
        let taken = side.copy.on_message(rules, message);
        if message.epoch() >= side.copy.epoch() {
            side.leader = Some(from);
        }
        let commit = side.copy.log().commit;
        let mut steps = side.steps(from, taken);
        if commit > before {
            steps.push(Step::Commit(commit));
        }
        // Who leads one log leads both: nobody of before is believed in the other.
        let epoch = message.epoch();
        self.side(other(log)).copy.hears_of(epoch);
        steps
    }

    /// The disk holds a log through `through`.
    pub fn on_synced(
        &mut self,
        rules: &Rules,
        log: LogKind,
        through: Seq,
    ) -> Option<(NodeId, FromCopy)> {
        let side = self.side(log);
        let answer = side.copy.on_synced(rules, through)?;
        // What is being cut back is answered when that is done.
        match &mut side.waits {
            Some((_, waits)) => {
                *waits = answer;
                None
            }
            None => Some((side.leader?, answer)),
        }
    }

    /// A segment of before the first is durable, and the mark by which the log begins there.
    pub(crate) fn on_filled(&mut self, rules: &Rules, first: Seq) -> Option<(NodeId, FromCopy)> {
        let side = &mut self.messages;
        let answer = side.copy.on_filled(rules, first)?;
        Some((side.leader?, answer))
    }

    /// A log was cut back, or begun anew, durably.
    pub fn on_cut(&mut self, log: LogKind) -> Option<(NodeId, FromCopy)> {
        self.side(log).waits.take()
    }
}

impl Side {
    fn steps(&mut self, from: NodeId, taken: Taken) -> Vec<Step> {
        let Taken {
            cut,
            begin,
            mark,
            drop,
            append,
            fill,
            answer,
        } = taken;
        let mut steps = Vec::new();
        steps.extend(cut.map(Step::Cut));
        steps.extend(begin.map(Step::Begin));
        steps.extend(mark.map(|(at, first)| Step::Mark(at, first)));
        steps.extend(drop.map(Step::Drop));
        steps.extend(append.map(|(after, through)| Step::Take(after, through)));
        steps.extend(fill.map(Step::Fill));
        let Some(answer) = answer else { return steps };
        if cut.is_some() || begin.is_some() || self.waits.is_some() {
            self.waits = Some((from, answer));
        } else {
            steps.push(Step::Answer(from, answer));
        }
        steps
    }
}

const fn other(log: LogKind) -> LogKind {
    match log {
        LogKind::Cursors => LogKind::Messages,
        _ => LogKind::Cursors,
    }
}
