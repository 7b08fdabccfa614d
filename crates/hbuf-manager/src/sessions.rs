//! The sessions of nodes, as the leader of a group of the manager keeps them: who is heard, who is
//! to be fenced, who is to be taken back.
//!
//! ```text
//!              heard within the timeout             silent, or ended in order
//!   alive ◀──────────────────────────────▶ alive ─────────────────────────▶ FenceNodes ─▶ fenced
//!     ▲                                                                                     │
//!     └────────────── ReviveNode ◀── heard without a gap for its time of probation ◀────────┘
//! ```
//! Nothing of this is replicated: what is decided becomes a command, and only a command changes who
//! leads. A new leader knows nothing of when nodes were heard, so it gives all of them a whole
//! timeout. The caller gives the time, of a clock that never goes back, and calls
//! [`Sessions::due`] at least once per heartbeat: one that was paused for longer gives the others
//! that time too, for their heartbeats may still lie in its queue.

use alloc::collections::BTreeMap;
use alloc::vec::Vec;

use hbuf_core::ids::{Micros, NodeId};
use hbuf_core::limits::{
    CLOCK_OFF_MICROS, NODE_CALM_MICROS, NODE_PROBATION_MICROS_MAX, NODE_SESSION_MICROS,
};
use hbuf_core::replication::NodeEpoch;

use crate::assign::Assign;
use crate::assigned::Assigned;
use crate::node::NodeChange;

/// A time of a clock that never goes back, in microseconds since whenever.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Moment(pub u64);

/// Readings of a clock in a row that say the same before it is believed: one heartbeat that waited
/// in a queue carries an old time.
const CLOCK_READINGS: u8 = 3;

/// What a node says of itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Heartbeat {
    /// The node.
    pub node: NodeId,
    /// Its registration.
    pub epoch: NodeEpoch,
    /// The time of day by its clock.
    pub clock: Micros,
}

/// Why a heartbeat counts for nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
pub enum HeartbeatRefused {
    /// Another process has registered for the node, or the node was removed. The process must stop
    /// at once: what it holds is not what the manager counts on.
    #[error("another process has registered for this node, or it was removed; this one must stop")]
    Superseded,
    /// The registration is not applied here yet.
    #[error("the registration is not known here yet; send it again")]
    NotYet,
    /// The process has said that it stops.
    #[error("the session was ended; register anew")]
    Ended,
}

/// What a node is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Heard {
    /// The node is fenced: others lead its buffers until it is taken back.
    pub fenced: bool,
}

/// One node.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Session {
    epoch: NodeEpoch,
    /// As it was replicated last.
    alive: bool,
    clock_off: bool,
    heard: Moment,
    /// Since when it was heard without a gap.
    steady: Moment,
    /// Since when it is alive or fenced.
    since: Moment,
    /// How often it was fenced and taken back of late.
    lapses: u32,
    ended: bool,
    /// How far its clock is ahead of the leader's, in microseconds.
    ahead: Option<i64>,
    /// Readings in a row that say other than what was replicated.
    doubts: u8,
    /// When a command about it was asked for that was not applied yet.
    asked: Option<Moment>,
}

/// All sessions of a group.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Sessions {
    timeout_micros: u64,
    nodes: BTreeMap<NodeId, Session>,
    looked: Moment,
}

impl Sessions {
    /// Those of a new leader: everybody who is alive gets a whole timeout.
    #[must_use]
    pub fn begin(now: Moment, assigned: &Assigned) -> Self {
        Self::with_timeout(now, assigned, NODE_SESSION_MICROS)
    }

    /// Those of a new leader, with another timeout in microseconds, at least 4.
    ///
    /// # Panics
    /// When the timeout is below 4.
    #[must_use]
    pub fn with_timeout(now: Moment, assigned: &Assigned, timeout_micros: u64) -> Self {
        assert!(timeout_micros >= 4, "a session of no time is none");
        let mut sessions = Self {
            timeout_micros,
            nodes: BTreeMap::new(),
            looked: now,
        };
        sessions.on_applied(now, assigned);
        sessions
    }

    /// A command was applied: takes over who is registered, alive and removed. There are as many
    /// sessions as nodes.
    pub fn on_applied(&mut self, now: Moment, assigned: &Assigned) {
        self.nodes.retain(|id, _| assigned.node(*id).is_some());
        for (id, node) in assigned.nodes() {
            let fresh = || Session {
                epoch: node.epoch,
                alive: node.alive,
                clock_off: node.clock_off,
                heard: now,
                steady: now,
                since: now,
                lapses: 0,
                ended: false,
                ahead: None,
                doubts: 0,
                asked: None,
            };
            let session = self.nodes.entry(id).or_insert_with(fresh);
            if session.epoch != node.epoch {
                // How often it lapsed is the node's, not the process's.
                let lapses = session.lapses;
                *session = Session { lapses, ..fresh() };
            }
            if session.alive != node.alive || session.clock_off != node.clock_off {
                session.asked = None;
                session.doubts = 0;
            }
            if session.alive != node.alive {
                (session.alive, session.since) = (node.alive, now);
                session.lapses += u32::from(!node.alive && !session.ended);
            }
            session.clock_off = node.clock_off;
        }
    }

    /// A node is heard. `clock` is the leader's time of day.
    ///
    /// # Errors
    /// Why it counts for nothing; the node is told.
    pub fn heartbeat(
        &mut self,
        now: Moment,
        clock: Micros,
        beat: Heartbeat,
    ) -> Result<Heard, HeartbeatRefused> {
        let usual = self.usual_clock();
        let gap_max = self.timeout_micros / 2;
        let session = self.nodes.get_mut(&beat.node);
        let session = session.ok_or(HeartbeatRefused::Superseded)?;
        if beat.epoch < session.epoch {
            return Err(HeartbeatRefused::Superseded);
        }
        if beat.epoch > session.epoch {
            return Err(HeartbeatRefused::NotYet);
        }
        if session.ended {
            return Err(HeartbeatRefused::Ended);
        }
        if now.0.saturating_sub(session.heard.0) > gap_max {
            session.steady = now;
        }
        session.heard = now.max(session.heard);
        let ahead = beat.clock.0.cast_signed() - clock.0.cast_signed();
        session.ahead = Some(ahead);
        // Once it is off it must be well within to count as right again.
        let allowed = CLOCK_OFF_MICROS / (1 + u64::from(session.clock_off));
        let off = ahead.abs_diff(usual) > allowed;
        session.doubts = match off == session.clock_off {
            true => 0,
            false => session.doubts.saturating_add(1),
        };
        let fenced = !session.alive;
        Ok(Heard { fenced })
    }

    /// A node stops in order: it is fenced without waiting, and its disk may come back at once.
    ///
    /// # Errors
    /// When it is not the registration that is known.
    pub fn end(&mut self, node: NodeId, epoch: NodeEpoch) -> Result<(), HeartbeatRefused> {
        let session = self.nodes.get_mut(&node);
        let session = session.filter(|session| session.epoch == epoch);
        session.ok_or(HeartbeatRefused::Superseded)?.ended = true;
        Ok(())
    }

    /// The commands that are to be proposed now: one batch of those to fence, those to take back,
    /// those whose clock is judged anew. One that was not applied within a timeout is asked for
    /// again.
    pub fn due(&mut self, now: Moment) -> Vec<Assign> {
        self.forgive_own_pause(now);
        let timeout = self.timeout_micros;
        let mut silent = Vec::new();
        let mut others = Vec::new();
        for (id, session) in &mut self.nodes {
            if session.is_waiting(now, timeout) {
                continue;
            }
            session.calm_down(now);
            let (node, epoch) = (*id, session.epoch);
            if session.alive && (session.ended || now >= session.lapses_at(timeout)) {
                silent.push((node, epoch));
            } else if session.returns_at(timeout).is_some_and(|at| now >= at) {
                others.push(Assign::ReviveNode { node, epoch });
            } else if session.doubts >= CLOCK_READINGS {
                let clock_off = Some(!session.clock_off);
                let change = NodeChange {
                    clock_off,
                    ..NodeChange::default()
                };
                others.push(Assign::SetNode { node, change });
            } else {
                continue;
            }
            session.asked = Some(now);
        }
        let fence = (!silent.is_empty()).then_some(Assign::FenceNodes { nodes: silent });
        fence.into_iter().chain(others).collect()
    }

    /// When the next session lapses if nothing is heard, for a timer; `None` when nobody is alive.
    #[must_use]
    pub fn next_lapse(&self) -> Option<Moment> {
        let alive = self.nodes.values().filter(|session| session.alive);
        let lapses = alive.map(|session| session.lapses_at(self.timeout_micros));
        lapses.min()
    }

    /// Nobody is taken for dead for a time in which the leader itself did not run.
    fn forgive_own_pause(&mut self, now: Moment) {
        let pause = now.0.saturating_sub(self.looked.0);
        self.looked = now.max(self.looked);
        if pause <= self.timeout_micros / 2 {
            return;
        }
        for session in self.nodes.values_mut() {
            session.heard = Moment(session.heard.0 + pause).min(now);
        }
    }

    /// How far most clocks are ahead of the leader's: its own may be the wrong one. Of two, the
    /// leader's is believed.
    fn usual_clock(&self) -> i64 {
        let alive = self.nodes.values().filter(|session| session.alive);
        let mut ahead: Vec<i64> = alive.filter_map(|session| session.ahead).collect();
        ahead.sort_unstable();
        match ahead.len() {
            0..=2 => 0,
            count => ahead[count / 2],
        }
    }
}

impl Session {
    const fn lapses_at(&self, timeout: u64) -> Moment {
        Moment(self.heard.0 + timeout)
    }

    /// A command about it is under way.
    fn is_waiting(&self, now: Moment, timeout: u64) -> bool {
        self.asked
            .is_some_and(|asked| now < Moment(asked.0 + timeout))
    }

    /// When a fenced node is taken back if it goes on being heard.
    fn returns_at(&self, timeout: u64) -> Option<Moment> {
        let fenced = !self.alive && !self.ended && self.heard > self.since;
        let doubled = timeout.saturating_mul(1 << self.lapses.saturating_sub(1).min(20));
        let probation = doubled.min(NODE_PROBATION_MICROS_MAX.max(timeout));
        let begun = self.steady.max(self.since);
        let heard = self.heard.0.saturating_sub(begun.0) + timeout / 2 >= probation;
        (fenced && heard).then_some(Moment(begun.0 + probation))
    }

    fn calm_down(&mut self, now: Moment) {
        if self.alive && now.0.saturating_sub(self.since.0) >= NODE_CALM_MICROS {
            self.lapses = 0;
        }
    }
}
