//! The shard's part in replication: which buffers this node leads, of which it holds a copy, and
//! how the one becomes the other.
//!
//! ```text
//!              Decided: appointed                      recovery, Open
//!    copy ──────────────────────────▶ Wish::Promote ───────────────────▶ primary
//!      ▲                                                                    │
//!      └──────────── Decided: somebody else, or nobody ◀────────────────────┘
//! ```

use alloc::sync::Arc;
use alloc::vec::Vec;

use super::Shard;
use crate::buffer::{Buffer, Opening};
use crate::effect::{Effect, Effects};
use crate::ids::{Micros, NodeId, Seq, Uuid};
use crate::input::{DiskHealth, Token};
use crate::replication::{Assignment, Event, Follower, FromCopy, Step, ToCopy, Wish};
use crate::rules::Rules;
use crate::segment::LogKind;

/// A copy of a buffer, and what the manager has decided of it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Copied {
    pub(super) node: NodeId,
    pub(super) assignment: Arc<Assignment>,
    pub(super) follower: Follower,
}

impl Shard {
    /// A copy of which another node is the primary, or nobody.
    #[must_use]
    pub fn copy(&self, buffer: &Uuid) -> Option<&Follower> {
        self.copies.get(buffer).map(|copied| &copied.follower)
    }

    /// What the manager has decided of a buffer, as far as the shard was told.
    #[must_use]
    pub fn assignment(&self, buffer: &Uuid) -> Option<&Arc<Assignment>> {
        let led = self.buffers.get(buffer).map(|it| it.leader().assignment());
        led.or_else(|| self.copies.get(buffer).map(|it| &it.assignment))
    }

    /// When [`crate::input::Input::CopiesDue`] has something to do next.
    #[must_use]
    pub fn next_copies_due(&self) -> Option<Micros> {
        let tells = self.damaged.values().map(|found| found.due);
        self.copies_due.values().copied().chain(tells).min()
    }

    /// What recovery found is the primary's log or a copy.
    pub(super) fn on_open(&mut self, now: Micros, opening: Opening, out: &mut Effects) {
        let uuid = opening.buffer;
        self.damaged.remove(&uuid);
        if self.disk == DiskHealth::Failed && self.copies.contains_key(&uuid) {
            // It failed while the copy was read, and the cache shows more than the disk holds.
            return;
        }
        let known = self.copies.remove(&uuid);
        let epoch = known.as_ref().map(|copied| copied.follower.epoch());
        // The manager may have decided anew while the buffer was recovered.
        let newer = known.map(|copied| copied.assignment);
        let newer = newer.filter(|it| it.version > opening.assignment.version);
        let stale = epoch > Some(opening.assignment.epoch) || newer.is_some();
        if opening.leads() && !stale {
            let buffer = Buffer::open(&self.rules, opening);
            buffer.tell_kept(out);
            self.buffers.insert(uuid, buffer);
            self.tell(&uuid, out);
            return;
        }
        let epoch = epoch.unwrap_or_default().max(opening.assignment.epoch);
        let (messages, cursors) = (opening.messages(), opening.cursors.log());
        // An appointment that is still to be taken up is of a higher epoch than what is known.
        let appointed = opening.leads();
        let known = if appointed { epoch.before() } else { epoch };
        let tenure = opening.assignment.tenure(opening.node);
        let copied = Copied {
            node: opening.node,
            assignment: Arc::clone(&opening.assignment),
            follower: Follower::open(opening.node_epoch, (known, tenure), messages, cursors),
        };
        self.copies.insert(uuid, copied);
        if let Some(newer) = newer {
            self.on_decided(now, uuid, &newer, out);
        }
    }

    pub(super) fn tell(&mut self, uuid: &Uuid, out: &mut Effects) {
        let Some(buffer) = self.buffers.get_mut(uuid) else {
            return;
        };
        buffer.tell(out);
        match buffer.copies_due() {
            Some(due) => self.copies_due.insert(*uuid, due),
            None => self.copies_due.remove(uuid),
        };
    }

    /// Whoever waits for a time waits no longer than it was to take. Call
    /// [`crate::input::Input::CopiesDue`] now and then although nothing is due: a clock that went
    /// back is noticed with the next input.
    pub(super) fn on_clock_back(&mut self, now: Micros) {
        self.hurry_damaged(now);
        for uuid in self.copies_due.keys().copied().collect::<Vec<_>>() {
            let Some(buffer) = self.buffers.get_mut(&uuid) else {
                continue;
            };
            buffer.on_clock_back(now);
            if let Some(due) = buffer.copies_due() {
                self.copies_due.insert(uuid, due);
            }
        }
    }

    pub(super) fn on_copies_due(&mut self, now: Micros, out: &mut Effects) {
        self.tell_damaged(now, out);
        let rules = self.rules;
        let due = self.copies_due.iter().filter(|(_, at)| **at <= now);
        let due: Vec<Uuid> = due.map(|(uuid, _)| *uuid).collect();
        for uuid in due {
            self.copies_due.remove(&uuid);
            self.lead(now, &uuid, out, |buffer, out| {
                buffer.on_copies_due(&rules, now, out);
            });
        }
    }

    pub(super) fn on_replication(
        &mut self,
        now: Micros,
        uuid: Uuid,
        event: Event,
        out: &mut Effects,
    ) {
        let rules = self.rules;
        match event {
            Event::Decided(assignment) => self.on_decided(now, uuid, &assignment, out),
            Event::Pull { log, to } => self.lead(now, &uuid, out, |buffer, out| {
                buffer.on_pull(now, to, log, out);
            }),
            Event::PullFill { to, records } => self.lead(now, &uuid, out, |buffer, out| {
                buffer.on_pull_fill(now, to, records, out);
            }),
            Event::Silence(node) => self.lead(now, &uuid, out, |buffer, _| {
                buffer.on_silence(node);
            }),
            Event::FromCopy { log, from, answer } => self.lead(now, &uuid, out, |buffer, out| {
                buffer.on_copy_answer(&rules, now, log, (from, answer), out);
                // Whoever has caught up is asked in at once.
                buffer.on_copies_due(&rules, now, out);
            }),
            Event::FromPrimary {
                log,
                token,
                from,
                message,
            } => self.on_primary(uuid, log, token, (from, &message), out),
            Event::CutDone(log) => {
                let copied = self.copies.get_mut(&uuid);
                if let Some((to, answer)) = copied.and_then(|it| it.follower.on_cut(log)) {
                    out.push(answering(uuid, log, to, answer));
                }
            }
            Event::Filled(first) => {
                let copied = self.copies.get_mut(&uuid);
                let answer = copied.and_then(|it| it.follower.on_filled(&rules, first));
                if let Some((to, answer)) = answer {
                    out.push(answering(uuid, LogKind::Messages, to, answer));
                }
            }
            Event::Damaged => self.on_damaged(now, uuid, out),
            Event::Marked(through) => self.lead(now, &uuid, out, |buffer, _| {
                buffer.on_marked(through);
            }),
            Event::ReadTail(token) => match self.buffers.contains_key(&uuid) {
                true => self.lead(now, &uuid, out, |buffer, out| {
                    buffer.on_read_tail(&rules, token, out);
                }),
                false => out.push(Effect::Tail {
                    token,
                    commit: None,
                }),
            },
        }
    }

    fn on_decided(
        &mut self,
        now: Micros,
        uuid: Uuid,
        assignment: &Arc<Assignment>,
        out: &mut Effects,
    ) {
        self.see_damage_noted(&uuid, assignment);
        let rules = self.rules;
        if let Some(buffer) = self.buffers.get_mut(&uuid) {
            let me = buffer.leader().node();
            let known = buffer.leader().assignment().version;
            if assignment.version <= known {
                return;
            }
            let stays = assignment.primary == Some(me) && assignment.epoch == buffer.epoch();
            if stays {
                self.lead(now, &uuid, out, |buffer, out| {
                    buffer.on_decided(&rules, assignment, out);
                    // Whoever was refused before may be let in by now.
                    buffer.on_copies_due(&rules, now, out);
                });
                return;
            }
            self.step_down(uuid, assignment, out);
        }
        let Some(copied) = self.copies.get_mut(&uuid) else {
            return;
        };
        let fit = self.disk != DiskHealth::Failed;
        copied.on_decided(uuid, assignment, fit, out);
    }

    fn step_down(&mut self, uuid: Uuid, assignment: &Arc<Assignment>, out: &mut Effects) {
        let Some(mut buffer) = self.buffers.remove(&uuid) else {
            return;
        };
        self.copies_due.remove(&uuid);
        let (node, known) = (buffer.leader().node(), buffer.leader().assignment().clone());
        // Not the epoch of a next appointment of this node, which is still to be taken up.
        let epoch = match assignment.primary == Some(node) {
            true => buffer.epoch(),
            false => assignment.epoch,
        };
        let mut follower = buffer.step_down(epoch, out);
        if self.damaged.contains_key(&uuid) {
            follower.spoil();
        }
        let copied = Copied {
            node,
            assignment: known,
            follower,
        };
        self.copies.insert(uuid, copied);
        self.note_due(uuid);
    }

    fn on_primary(
        &mut self,
        uuid: Uuid,
        log: LogKind,
        token: Token,
        (from, message): (NodeId, &ToCopy),
        out: &mut Effects,
    ) {
        let rules = self.rules;
        if let Some(buffer) = self.buffers.get(&uuid) {
            if message.epoch() <= buffer.epoch() && rules.copies_fence_epochs {
                // It leads in a higher epoch, or the message is its own that went astray.
                let answer = FromCopy::fenced(buffer.epoch(), buffer.node_epoch());
                out.push(answering(uuid, log, from, answer));
                return;
            }
            // Somebody was appointed after this node, and it has not heard of it yet.
            let known = Arc::clone(buffer.leader().assignment());
            let mut newer = (*known).clone();
            (newer.epoch, newer.primary) = (message.epoch(), Some(from));
            self.step_down(uuid, &Arc::new(newer), out);
        }
        let Some(copied) = self.copies.get_mut(&uuid) else {
            return;
        };
        let steps = copied.follower.on_message(&rules, log, from, message);
        for step in steps {
            let wish = match step {
                Step::Cut(to) => Wish::CutBack { log, to },
                Step::Begin(at) => Wish::BeginAnew { log, token, at },
                Step::Take(after, through) => Wish::TakeRecords {
                    log,
                    token,
                    after,
                    through,
                },
                Step::Fill(fill) => Wish::TakeFill { token, fill },
                Step::Mark(at, first) => Wish::TakeMark { token, at, first },
                Step::Answer(to, answer) => Wish::ToPrimary { log, to, answer },
                Step::Drop(keep_from) => {
                    let buffer = uuid;
                    out.push(Effect::DropSegments { buffer, keep_from });
                    continue;
                }
                Step::Commit(_) if log == LogKind::Cursors => continue,
                Step::Commit(commit) => Wish::Known(commit),
            };
            let buffer = uuid;
            out.push(Effect::Replication { buffer, wish });
        }
    }
}

impl Copied {
    pub(super) fn idle(&self) -> bool {
        self.follower.idle()
    }

    /// A copy on a disk that failed leads nothing: what a failed sync lost would be read from the
    /// cache, be taken for durable, and be gone with the next loss of power (rule 2).
    fn on_decided(
        &mut self,
        uuid: Uuid,
        assignment: &Arc<Assignment>,
        fit: bool,
        out: &mut Effects,
    ) {
        if assignment.version <= self.assignment.version {
            return;
        }
        self.assignment = Arc::clone(assignment);
        let tenure = assignment.tenure(self.node);
        let outside = !assignment.in_sync.contains_key(&self.node);
        if tenure > self.follower.tenure() && outside && assignment.copies.contains(&self.node) {
            self.follower.begin_anew(tenure);
            let (buffer, wish) = (uuid, Wish::Clear);
            out.push(Effect::Replication { buffer, wish });
            return;
        }
        let wish = if assignment.primary == Some(self.node) {
            let new = assignment.epoch > self.follower.epoch();
            (new && fit && self.follower.promote()).then_some(Wish::Promote)
        } else {
            let gone = !assignment.copies.contains(&self.node);
            gone.then_some(Wish::RemoveCopy)
        };
        if let Some(wish) = wish {
            let buffer = uuid;
            out.push(Effect::Replication { buffer, wish });
        }
    }

    pub(super) fn on_synced(
        &mut self,
        rules: &Rules,
        uuid: Uuid,
        (log, through): (LogKind, Seq),
        out: &mut Effects,
    ) {
        if let Some((to, answer)) = self.follower.on_synced(rules, log, through) {
            out.push(answering(uuid, log, to, answer));
        }
    }
}

const fn answering(buffer: Uuid, log: LogKind, to: NodeId, answer: FromCopy) -> Effect {
    let wish = Wish::ToPrimary { log, to, answer };
    Effect::Replication { buffer, wish }
}
