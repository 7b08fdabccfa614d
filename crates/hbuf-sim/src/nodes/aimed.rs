//! Losses of power that wait until a node is about something: what is rarely under way would else
//! rarely be hit, and what a crash there leaves is what a start must put right.

use super::{Due, World};
use crate::draw::{Purpose, key, mix};
use crate::scenario::{Action, NodeRef};
use crate::swarm::Opt;
use crate::tracefile::EventId;

/// How long a loss of power waits at most, in microseconds.
const PATIENCE_US: u64 = 500_000;
/// So soon behind what it waited for the power goes, in microseconds.
const SOON_US: u64 = 90;

/// What a node is about when it loses power.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Aim {
    /// A sync is under way.
    Sync,
    /// Something was written that no sync covers yet.
    Write,
    /// The log of the manager's group is written.
    ManagerLog,
    /// A log is cut back, or begun anew.
    Cut,
    /// A copy becomes the primary.
    Promote,
}

impl Aim {
    const ALL: [Self; 5] = [
        Self::Sync,
        Self::Write,
        Self::ManagerLog,
        Self::Cut,
        Self::Promote,
    ];
}

/// A loss of power that is to come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Doom {
    /// As soon as the node is about this, or at this time.
    Waits(Aim, u64),
    /// At once.
    Strikes,
}

impl World {
    /// A node loses power, now or at a better moment.
    pub(super) fn lose_power(&mut self, cause: EventId, host: usize) {
        if !self.takes_aim(host) {
            self.crash(cause, host, true);
        }
    }

    fn takes_aim(&mut self, host: usize) -> bool {
        let percent = self.options.get(Opt::CrashAimed);
        let draw = self.draw(Purpose::Crash, mix(key("aim"), host as u64), self.t);
        let this = &mut self.hosts[host];
        let waited = this.doom.take().is_some();
        if waited || !this.up || this.cut_off || !draw.percent(percent) {
            return false;
        }
        let aim = draw.next().below(Aim::ALL.len() as u64);
        let aim = Aim::ALL[usize::try_from(aim).unwrap_or(0)];
        this.doom = Some(Doom::Waits(aim, self.t + PATIENCE_US));
        true
    }

    /// A node is about something from now on.
    pub(super) fn is_about(&mut self, cause: EventId, host: usize, what: Aim) {
        if !matches!(self.hosts[host].doom, Some(Doom::Waits(aim, _)) if aim == what) {
            return;
        }
        let draw = self.draw(Purpose::Crash, mix(key("doom"), host as u64), self.t);
        self.strike(cause, host, draw.below(SOON_US));
    }

    /// At a node's tick: whatever its loss of power waits for has not come.
    pub(super) fn waits_no_longer(&mut self, cause: EventId, host: usize) {
        if matches!(self.hosts[host].doom, Some(Doom::Waits(_, until)) if until <= self.t) {
            self.strike(cause, host, 0);
        }
    }

    fn strike(&mut self, cause: EventId, host: usize, after: u64) {
        self.hosts[host].doom = Some(Doom::Strikes);
        self.power_goes(cause, host, after);
    }

    /// The power of a node goes after so much time, and comes back.
    pub(super) fn power_goes(&mut self, cause: EventId, host: usize, after: u64) {
        let name = || NodeRef::Named(self.names.nodes[host].clone());
        let draw = self.draw(Purpose::Crash, mix(key("back"), host as u64), self.t);
        let down = draw.exponential(self.options.get(Opt::DownLast));
        let acts = [
            (after, Action::Crash(name())),
            (after + down, Action::Start(name())),
        ];
        for (after, act) in acts {
            let at = self.t + after;
            self.due_as(cause, EventId::default(), at, Due::Act(Box::new(act)));
        }
    }
}
