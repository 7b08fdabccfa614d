//! What a primary knows of one copy of one log.

use super::assignment::NodeEpoch;
use super::message::Word;
use crate::ids::Seq;

/// How a copy stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Standing {
    /// The registration that has spoken.
    pub(super) node_epoch: NodeEpoch,
    /// The tenure in which it has.
    pub(super) tenure: u64,
    /// What it holds, once it has compared its log in this epoch.
    pub(super) holds: Option<Held>,
    /// The newest round that it has answered.
    pub(super) round: u64,
}

impl Standing {
    /// It says something in this epoch.
    pub(super) fn hears(&mut self, word: Word) {
        match word {
            Word::Holds {
                from,
                durable,
                commit,
                round,
            } => {
                let fresh = Held {
                    from,
                    durable,
                    commit,
                    sent: durable,
                    marked: Seq::ZERO,
                    mark_sent: Seq::ZERO,
                };
                let held = self.holds.get_or_insert(fresh);
                // Where it begins follows from how far it has come: later words count.
                if durable >= held.durable {
                    held.from = from;
                }
                held.durable = held.durable.max(durable);
                held.commit = held.commit.max(commit);
                held.sent = held.sent.max(durable);
                self.round = self.round.max(round);
            }
            Word::Marked { at } => {
                if let Some(held) = &mut self.holds {
                    held.marked = held.marked.max(at);
                }
            }
            Word::Gap { end } => {
                if let Some(held) = &mut self.holds {
                    held.sent = end.max(held.durable);
                }
            }
            Word::NotLed | Word::Quarantined => self.holds = None,
            Word::Filled { .. } | Word::Fenced => {}
        }
    }
}

/// What a copy holds whose log is the beginning of the primary's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Held {
    /// The first seq.
    pub(super) from: Seq,
    /// The last that its disk holds.
    pub(super) durable: Seq,
    /// What it knows as committed.
    pub(super) commit: Seq,
    /// The last that was sent.
    pub(super) sent: Seq,
    /// The newest mark that it has, or was answered for.
    pub(super) marked: Seq,
    /// The newest mark that was sent.
    pub(super) mark_sent: Seq,
}
