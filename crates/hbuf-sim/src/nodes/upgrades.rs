//! Nodes that stop in order, and the programs that they run.

use hbuf_manager::raft::Input;
use hbuf_manager::{Action as Command, CLUSTER_VERSIONS, Stopping, VersionRange, stopping};

use super::message::Message;
use super::{About, World};
use crate::bugs::Bug;
use crate::kinds::Kind;
use crate::scenario::{NodeRef, Version};
use crate::tracefile::EventId;

/// Ticks after which a node ends although something could not be handed over: 5 s.
const STOP_TICKS: u64 = 250;
/// Ticks after which what was not handed over is asked for again.
const HAND_OVER_TICKS: u64 = 10;

/// Ticks after which whoever leads the group is told again that a session ends.
const END_TICKS: u64 = 3;

/// A node that is to stop.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Leaving {
    ticks: u64,
    /// It is to start again then.
    pub(super) again: bool,
}

/// What a program can apply.
pub(super) const fn versions_of(version: Version) -> VersionRange {
    let VersionRange { min, max } = CLUSTER_VERSIONS;
    match version {
        Version::Current => VersionRange { min, max },
        Version::Previous => VersionRange { min, max: max - 1 },
    }
}

impl World {
    /// The process is told to end: what it does not do within a time it leaves undone.
    pub(super) fn stop(&mut self, cause: EventId, host: usize) {
        let this = &mut self.hosts[host];
        match (this.up, this.copy_of.is_some() || this.node_epoch.is_none()) {
            (false, _) => {}
            // It leads nothing yet.
            (true, true) => self.crash(cause, host, false),
            (true, false) => {
                this.leaving.get_or_insert_default();
            }
        }
    }

    /// A tick of a node that is to stop.
    pub(super) fn go_on_stopping(&mut self, cause: EventId, host: usize) {
        let this = &mut self.hosts[host];
        let Some(leaving) = &mut this.leaving else {
            return;
        };
        leaving.ticks += 1;
        let ticks = leaving.ticks;
        let next = stopping(&this.manager.catalog, this.id, this.manager.leads());
        let asks = ticks % HAND_OVER_TICKS == 1;
        match next {
            _ if ticks > STOP_TICKS => self.end_process(cause, host),
            Stopping::HandOver(steps) if asks => {
                for step in steps {
                    self.propose(cause, host, Command::Assign(step));
                }
            }
            Stopping::Transfer if asks => self.group_input(cause, host, Input::Transfer),
            Stopping::HandOver(_) | Stopping::Transfer => {}
            Stopping::End => self.end_process(cause, host),
        }
    }

    /// Once all that was written is durable, the process ends and its disk says so.
    fn end_process(&mut self, cause: EventId, host: usize) {
        let hurries = self.does(Bug::StopsUnsynced);
        let this = &mut self.hosts[host];
        if !this.failed && !hurries && (this.syncing.is_some() || !this.dirty.is_empty()) {
            return;
        }
        let in_order = !this.failed;
        let Leaving { ticks, again } = this.leaving.unwrap_or_default();
        let known = this.manager.catalog.node_by_id(this.id);
        if known.is_some_and(|node| node.alive) && ticks <= STOP_TICKS {
            // Who leads the group is told, until everybody knows.
            if let (Some(epoch), Some(leader)) = (this.node_epoch, this.manager.leader())
                && ticks.is_multiple_of(END_TICKS)
            {
                let to = usize::try_from(leader.0).unwrap_or(1) - 1;
                self.say(cause, host, Some(to), Message::Ended(epoch));
            }
            return;
        }
        let about = About {
            host: Some(host),
            ..About::default()
        };
        let event = self.event(&[cause], Kind::NodeStopped, &about);
        self.crash(event, host, hurries);
        self.hosts[host].clean = in_order;
        if again {
            self.start(event, host);
        }
    }

    /// The node runs this program from its next start on.
    pub(super) fn set_version(&mut self, node: &NodeRef, version: Version) {
        if let Some(host) = self.resolve(node) {
            self.hosts[host].program = version;
        }
    }

    /// Whether a program can apply what the manager's log holds; if not, the process ends again.
    pub(super) fn can_run(&mut self, cause: EventId, host: usize) -> bool {
        let this = &self.hosts[host];
        let versions = versions_of(this.runs);
        let version = this.manager.catalog.cluster_version();
        if versions.contains(version) {
            return true;
        }
        let why = format!(
            "the cluster is at version {version}, and this hbuf supports {versions}; start a newer version"
        );
        self.told_refused(cause, host, &why);
        self.crash(cause, host, false);
        false
    }

    /// An operator allows what the next cluster version brings.
    pub(super) fn raise_version(&mut self, cause: EventId) {
        let version = self.newest_catalog().cluster_version() + 1;
        if version <= CLUSTER_VERSIONS.max {
            self.ask_manager(cause, Command::SetClusterVersion { version });
        }
    }
}
