//! Doing what the plan's faults say, and counting where crashes hit.

use hbuf_core::ids::Seq;
use hbuf_core::input::{DiskHealth, Input};

use super::{Due, World};
use crate::bugs;
use crate::disk::{Losses, Name};
use crate::draw::{Draw, Purpose};
use crate::kinds::Kind;
use crate::node::Node;
use crate::plan::Fault;
use crate::trace::{EventId, Facts};

/// Steps that a crash waits for the step that it is meant to hit.
const PATIENCE: u64 = 300;

impl World<'_> {
    /// Faults of the plan whose time has come, before the next step.
    pub(super) fn faults_before_step(&mut self) {
        while let Some(planned) = self.plan.faults.get(self.next_fault).copied()
            && planned.step <= self.steps
            && !self.draining
        {
            let point = self.crash_point();
            let waits = self.steps < planned.step + PATIENCE;
            if planned.target.is_some_and(|target| target != point) && waits {
                return;
            }
            let aimed = self.draws.draw(Purpose::Rot, 2, planned.step).percent(75);
            let rots = planned.fault == Fault::Rot && aimed;
            if rots && waits && self.proven_by_journal().is_none() {
                return;
            }
            self.next_fault += 1;
            let cause = self.root;
            match planned.fault {
                Fault::PowerLoss | Fault::Kill => {
                    *self.crash_points.entry(point).or_insert(0) += 1;
                    self.crash(cause, planned.fault);
                }
                // A start without room fails and is tried again when there is some.
                Fault::Full if !self.node.started => {}
                Fault::Full => self.fill(cause, planned.step),
                Fault::SyncError => self.fail_next_sync = !self.node.failed,
                Fault::Rot => self.rot(cause, planned.step),
                Fault::Clock => self.jump(cause, planned.step),
            }
        }
    }

    /// What a crash would come before.
    pub(super) fn crash_point(&self) -> String {
        let due = self.queue.first_key_value().map(|(_, (_, due))| *due);
        let (who, step) = match due {
            Some(Due::Pipeline { life }) if life == self.life => {
                ("pipeline", self.node.pipeline.front())
            }
            Some(Due::Keeper { life }) if life == self.life => (
                if self.node.started { "keeper" } else { "start" },
                self.node.keeper.front(),
            ),
            _ => return "request".to_string(),
        };
        step.map_or_else(
            || "request".to_string(),
            |(_, step)| format!("{who}.{}", step.label()),
        )
    }

    pub(super) fn count_fault(&mut self, fault: Fault) {
        *self.faults_done.entry(fault).or_insert(0) += 1;
    }

    /// The node ends without a word and starts anew.
    pub(super) fn crash(&mut self, cause: EventId, fault: Fault) {
        let facts = Facts {
            note: fault.name(),
            ..Facts::default()
        };
        let event = self.event(cause, Kind::NodeCrashed, &facts);
        self.count_fault(fault);
        // After a failed sync the page cache shows what the disk does not have, also to the next
        // process: only a restart of the machine tells the truth again.
        if fault == Fault::PowerLoss || self.node.failed {
            let losses = self.disk.crash(&self.draws);
            self.losses(event, losses);
        }
        self.disk.limit(None);
        self.fail_next_sync = false;
        self.life = self.registry.register(false);
        let (rules, journal) = (bugs::rules(self.bug), self.plan.journal_file_bytes);
        self.node = Node::new(rules, self.life, self.plan.buffers, journal);
        self.state_asks.clear();
        for (_, ask) in std::mem::take(&mut self.asks) {
            self.client_unknown(event, ask);
        }
        self.lose_crew(event);
        self.start(event);
        // A start is as good a moment as any for the next loss of power.
        let again = self.draws.draw(Purpose::Plan, 30, self.life);
        if fault == Fault::PowerLoss && again.percent(40) {
            self.due(event, again.next().within(1, 12_000), Due::PowerLoss);
        }
    }

    fn losses(&mut self, cause: EventId, losses: Losses) {
        let Losses {
            torn,
            lost,
            reordered,
            names,
        } = losses;
        let kinds = [
            (Kind::WriteTorn, torn),
            (Kind::WriteLost, lost),
            (Kind::WriteReordered, reordered),
            (Kind::NameLost, names),
        ];
        for (kind, count) in kinds {
            for _ in 0..count {
                self.event(cause, kind, &Facts::default());
            }
        }
    }

    fn fill(&mut self, cause: EventId, step: u64) {
        let draw = self.draws.draw(Purpose::Plan, 20, step);
        self.count_fault(Fault::Full);
        self.disk.limit(Some(draw.below(2_000)));
        // The node may notice by itself, or only by the first write that fails.
        if draw.next().percent(50) {
            self.shard(cause, Input::Disk(DiskHealth::Full));
        }
        let after = draw.next().next().within(1_000, 60_000);
        self.due(cause, after, Due::Room);
    }

    fn jump(&mut self, cause: EventId, step: u64) {
        let draw = self.draws.draw(Purpose::Plan, 21, step);
        let by = i64::try_from(draw.within(1_000, 10_000_000)).expect("ten seconds at most");
        self.skew += if draw.next().percent(60) { -by } else { by };
        self.count_fault(Fault::Clock);
        self.event(cause, Kind::ClockJumped, &Facts::default());
    }

    /// Rots something of which a later record, in a segment or in the journal, or the mark proves
    /// that it was acknowledged: what nothing vouches for cannot be told from a torn tail.
    fn rot(&mut self, cause: EventId, step: u64) {
        let draw = self.draws.draw(Purpose::Rot, 0, step);
        let Some((buffer, seq)) = self.proven_by_journal().or_else(|| self.proven(draw)) else {
            return;
        };
        let Some(entry) = self.models[buffer].entry(seq) else {
            return;
        };
        let (name, from) = (Name::Segment(buffer, entry.file), entry.body_at);
        let body = entry.content.body.len() as u64;
        if body == 0 || !self.disk.rot(name, from + draw.next().next().below(body)) {
            return;
        }
        self.models[buffer].rotted = true;
        self.count_fault(Fault::Rot);
        let event = self.seqs_event(cause, Kind::DiskRotted, buffer, (seq, seq));
        // Soon, while the proof may be in the journal alone.
        let crash = self.draws.draw(Purpose::Rot, 1, step);
        if crash.percent(75) {
            self.due(event, crash.next().within(1, 5_000), Due::PowerLoss);
        }
    }

    /// Any such record.
    fn proven(&self, draw: Draw) -> Option<(usize, Seq)> {
        let buffer = usize::try_from(draw.below(self.plan.buffers as u64)).expect("few buffers");
        let model = &self.models[buffer];
        let proven = model
            .entry(self.stable[buffer])
            .map_or(Seq::ZERO, |last| last.known_commit);
        if proven < model.first || model.rotted {
            return None;
        }
        // Mostly near the end, where a recovery reads.
        let from = if draw.next().percent(70) {
            proven.0.saturating_sub(5)
        } else {
            1
        };
        let seq = draw.next().next().within(from.max(model.first.0), proven.0);
        Some((buffer, Seq(seq)))
    }

    /// The last record that went straight into its segment, of a buffer whose next ones are in the
    /// journal and wait for theirs.
    fn proven_by_journal(&self) -> Option<(usize, Seq)> {
        (0..self.plan.buffers).find_map(|buffer| {
            let model = &self.models[buffer];
            let waits = |name: &Name| matches!(name, Name::Segment(..));
            let name = self.node.unwritten_of(buffer).find(waits)?;
            let waiting = self.node.unwritten[&name].front()?;
            let before = |seq: &Seq| {
                let entry = model.entry(*seq);
                entry.is_some_and(|it| it.file == waiting.file && it.body_at < waiting.offset)
            };
            let stable = self.stable[buffer];
            let seq = (model.first.0..=stable.0).rev().map(Seq).find(before)?;
            let proven = model.entry(stable)?.known_commit >= seq;
            (proven && !model.rotted && self.disk.is_durable(name)).then_some((buffer, seq))
        })
    }
}
