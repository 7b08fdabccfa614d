//! Doing what the plan's faults say, and counting where crashes hit.

use hbuf_core::input::{DiskHealth, Input};

use super::{Due, World};
use crate::disk::Losses;
use crate::draw::Purpose;
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
            if waits && self.rot_waits(planned) {
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
                Fault::RotCursors => self.rot_cursors(cause, planned.step),
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
        let (rules, journal) = (self.rules(), self.plan.journal_file_bytes);
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
}
