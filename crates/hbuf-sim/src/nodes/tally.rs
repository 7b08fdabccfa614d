//! What is counted of a run besides its events: faults that took effect, operations, and where
//! nodes were when the power went.

use std::collections::BTreeMap;

use super::message::Ask;
use super::{Due, World};
use crate::kinds::Kind;
use crate::scenario::{Action, Placement, StateWord, Version};

/// Names, and how often each was seen.
pub type Counted = BTreeMap<&'static str, u64>;

/// Counts of a run.
#[derive(Clone, Debug, Default)]
pub(super) struct Tally {
    pub(super) faults: Counted,
    pub(super) operations: Counted,
    pub(super) crash_points: Counted,
}

/// Steps of a primary's mark before which the power may go.
pub(super) const MARK_STEPS: [&str; 7] = [
    "mark.sync-files",
    "mark.write-tables",
    "mark.sync-tables",
    "mark.sync-names",
    "mark.write-slot",
    "mark.sync-slot",
    "mark.sync-slot-name",
];
/// The same of the mark with which a copy begins near the tail.
pub(super) const BEGIN_STEPS: [&str; 7] = [
    "begin.sync-files",
    "begin.write-tables",
    "begin.sync-tables",
    "begin.sync-names",
    "begin.write-slot",
    "begin.sync-slot",
    "begin.sync-slot-name",
];

fn count(counts: &mut Counted, name: &'static str) {
    *counts.entry(name).or_default() += 1;
}

impl World {
    /// An action is about to be taken; one that finds nothing to do does not count.
    pub(super) fn count_action(&mut self, action: &Action) {
        let runs = |node| {
            let host = self.resolve(node);
            host.is_some_and(|host| self.hosts[host].up)
        };
        let fault = match action {
            Action::Crash(node) if runs(node) => "crash",
            Action::Kill(node) if runs(node) => "kill",
            Action::Reformat(node) if self.resolve(node).is_some() => "reformat",
            Action::SlowDisk { .. } => "slow-disk",
            _ => "",
        };
        if !fault.is_empty() {
            count(&mut self.tally.faults, fault);
            return;
        }
        let operation = match action {
            Action::Stop(node) if runs(node) => "stop",
            Action::Move { .. } => "move",
            Action::HandOver { .. } => "hand-over",
            Action::Drain(_) => "drain",
            Action::Undrain(_) => "undrain",
            Action::Rebalance(Placement::Fewest) => "rebalance.fewest-bytes",
            Action::Rebalance(Placement::Load) => "rebalance.even-load",
            Action::Rebalance(Placement::Bytes) => "rebalance.even-bytes",
            Action::State { state, .. } => match state {
                StateWord::Open => "state.open",
                StateWord::Paused => "state.paused",
                StateWord::Closed => "state.closed",
            },
            Action::Clone { .. } => "clone",
            Action::Snapshot { .. } => "snapshot",
            Action::Restore { name, .. } if self.kept.contains_key(name) => "restore",
            Action::Version { version, .. } => match version {
                Version::Current => "version.current",
                Version::Previous => "version.previous",
            },
            Action::Raise => "raise",
            _ => return,
        };
        count(&mut self.tally.operations, operation);
    }

    /// An operator does something that its action alone does not tell.
    pub(super) fn count_operation(&mut self, operation: &'static str) {
        count(&mut self.tally.operations, operation);
    }

    /// A client asks for something.
    pub(super) fn count_ask(&mut self, ask: &Ask, tries: u32) {
        let operations = &mut self.tally.operations;
        if tries > 0 {
            count(operations, "retry");
        }
        let Ask::Append { request, contents } = ask else {
            let read = match ask {
                Ask::ReadTail => "tail",
                Ask::Get { .. } => "get",
                _ => "read",
            };
            count(operations, read);
            return;
        };
        count(operations, "append");
        let features = [
            (contents.len() > 1, "append.batch"),
            (request.producer.is_some(), "append.producer"),
            (request.idem.is_some(), "append.keyed"),
            (request.if_match.is_some(), "append.conditional"),
        ];
        for (_, name) in features.into_iter().filter(|(has, _)| *has) {
            count(operations, name);
        }
    }

    /// The power goes: what was the node about on its disks? What was under way in several ways is
    /// counted by each.
    pub(super) fn count_power_loss(&mut self, host: usize) {
        let this = &self.hosts[host];
        if this.cut_off {
            // It went within a mark, and was counted then.
            return;
        }
        let due = |what: fn(&Due) -> bool| {
            let mine = |due: &Due| due.host() == Some(host) && what(due);
            self.queue.values().any(|planned| mine(&planned.due))
        };
        let ways = [
            (this.syncing.is_some(), "sync"),
            (!this.dirty.is_empty(), "write"),
            (this.manager.writes(), "manager-log"),
            (due(|it| matches!(it, Due::CutDone { .. })), "cut"),
            (due(|it| matches!(it, Due::Recover { .. })), "promote"),
            (this.node_epoch.is_none(), "register"),
            (this.leaving.is_some(), "stopping"),
        ];
        let mut points: Vec<_> = ways.into_iter().filter(|(is, _)| *is).collect();
        if points.is_empty() {
            points.push((true, "at-rest"));
        }
        for (_, point) in points {
            count(&mut self.tally.crash_points, point);
        }
    }

    /// The power goes before this step of a mark.
    pub(super) fn count_mark_cut(&mut self, begins: bool, step: u64) {
        let steps = if begins { BEGIN_STEPS } else { MARK_STEPS };
        let step = usize::try_from(step).unwrap_or(0);
        count(&mut self.tally.crash_points, steps[step]);
    }

    /// The faults that took effect.
    pub(super) fn faults_counted(&self) -> Counted {
        let mut faults = self.tally.faults.clone();
        for (fault, times) in self.net.took() {
            *faults.entry(fault.name()).or_default() += times;
        }
        for host in &self.hosts {
            for (fault, times) in host.clock.took() {
                *faults.entry(fault.name()).or_default() += times;
            }
        }
        for (kind, name) in [
            (Kind::DiskSyncFailed, "sync-fails"),
            (Kind::DiskRotted, "rot"),
            (Kind::WriteTorn, "write.torn"),
            (Kind::WriteLost, "write.lost"),
            (Kind::WriteReordered, "write.reordered"),
            (Kind::NameLost, "name.lost"),
        ] {
            let times = self.trace.count(kind);
            if times > 0 {
                faults.insert(name, times);
            }
        }
        faults
    }
}
