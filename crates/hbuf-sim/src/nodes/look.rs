//! The world at a moment of a run, for a person or a page: what each node is and holds, what the
//! manager has decided, what is under way.
//!
//! A moment is found by playing the run again, up to there: without lines that is fast, and nothing
//! has to be kept.

use std::str::FromStr;

use hbuf_core::ids::NodeId;
use hbuf_core::segment::LogKind;
use hbuf_manager::raft::Role;
use thiserror::Error;

use super::cluster_run::{ClusterSetup, played};
use super::hand::{Met, Stop};
use super::view::{BufferView, ClientView, CopyRole, CopyView, NodeView, PlannedView, View};
use super::{Due, EPOCH, World};
use crate::net::Cut;
use crate::swarm::Unit;
use crate::tracefile::EventId;

/// A moment of a run: right before an event, or behind all that happens through a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum At {
    /// A time, in microseconds.
    Time(u64),
    /// The event of this number, counting from 1.
    Number(u64),
    /// The event whose id begins so: from the first to the second id, both included.
    Id(EventId, EventId),
}

/// Why there is nothing to see.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum LookError {
    /// Not the form of a moment.
    #[error(
        "`{0}` is no moment: write n: and an event's number, the first digits of its id (8 at \
         least), or a time like 1500ms"
    )]
    Form(String),
    /// No such event.
    #[error("the run has no such event: it has {events}, n:1 to n:{events}")]
    Missing {
        /// How many it has.
        events: u64,
    },
    /// More than one id begins so.
    #[error("{count} events have an id that begins so: write more digits")]
    Many {
        /// How many.
        count: u64,
    },
}

impl FromStr for At {
    type Err = LookError;

    fn from_str(text: &str) -> Result<Self, LookError> {
        let wrong = || LookError::Form(text.to_owned());
        if let Some(number) = text.strip_prefix("n:") {
            return number.parse().map(Self::Number).map_err(|_| wrong());
        }
        if let Some(time) = Unit::Micros.parse(text).filter(|_| text != "off") {
            return Ok(Self::Time(time));
        }
        let digits = text.len();
        if !(8..=16).contains(&digits) || !text.bytes().all(|it| it.is_ascii_hexdigit()) {
            return Err(wrong());
        }
        let low = EventId::parse(&format!("{text:0<16}")).ok_or_else(wrong)?;
        let high = EventId::parse(&format!("{text:f<16}")).ok_or_else(wrong)?;
        Ok(Self::Id(low, high))
    }
}

/// The id of the event that a moment is right before, for overrides that name it; none for a time.
pub fn event_at(setup: &ClusterSetup, at: At) -> Result<Option<EventId>, LookError> {
    Ok(match at {
        At::Time(_) => None,
        At::Id(low, high) if low == high => Some(low),
        at => Some(met(setup, at)?.eid),
    })
}

/// The world at a moment of a run.
pub fn look(setup: &ClusterSetup, at: At) -> Result<View, LookError> {
    let (stop, next) = match at {
        At::Time(time) => (Stop::Time(time), None),
        at => {
            let met = met(setup, at)?;
            (Stop::Step(met.step), Some(met.eid))
        }
    };
    let mut view = played(&quiet(setup), stop).view(next);
    if let At::Time(time) = at {
        // It stopped when what came next was due.
        view.t = view.t.min(time);
    }
    Ok(view)
}

/// Plays a run up to an event.
fn met(setup: &ClusterSetup, at: At) -> Result<Met, LookError> {
    let stop = match at {
        At::Number(number) => Stop::Number(number),
        At::Id(low, high) => Stop::Id(low, high),
        At::Time(time) => Stop::Time(time),
    };
    let world = played(&quiet(setup), stop);
    match (world.hand.met, world.hand.met_count) {
        (Some(met), 1) => Ok(met),
        (Some(_), count) => Err(LookError::Many { count }),
        (None, _) => {
            let events = world.trace.events();
            Err(LookError::Missing { events })
        }
    }
}

/// Without lines: nobody reads them.
fn quiet(setup: &ClusterSetup) -> ClusterSetup {
    ClusterSetup {
        lines: false,
        ..setup.clone()
    }
}

impl World {
    fn view(&self, next: Option<EventId>) -> View {
        let (hosts, buffers) = (0..self.hosts.len(), 0..self.buffers.len());
        View {
            t: self.t,
            events: self.trace.events(),
            steps: self.steps,
            next,
            nodes: hosts.map(|host| self.node_view(host)).collect(),
            buffers: buffers.map(|buffer| self.buffer_view(buffer)).collect(),
            clients: self.clients_view(),
            planned: self.planned_view(),
            cuts: self.net.cuts().values().map(Cut::to_string).collect(),
        }
    }

    fn node_view(&self, host: usize) -> NodeView {
        let this = &self.hosts[host];
        let true_time = EPOCH.plus(self.t);
        let shown = self.wall(host);
        let error = i128::from(shown.0) - i128::from(true_time.0);
        let (role, term) = this.manager.role().unwrap_or((Role::Follower, 0));
        NodeView {
            name: self.names.nodes[host].clone(),
            runs: this.up,
            stands_still: this.up && this.clock.is_paused(self.t),
            disk_failed: this.failed,
            life: this.life,
            node_epoch: this.node_epoch.map(|epoch| epoch.0),
            role: match role {
                _ if !this.up => "none",
                Role::Leader => "leader",
                Role::Candidate => "candidate",
                Role::Follower => "follower",
            },
            term,
            applied: this.manager.catalog.applied(),
            clock_error_us: i64::try_from(error).unwrap_or(i64::MAX),
            unsynced: !this.dirty.is_empty() || this.syncing.is_some(),
            waiting: this.waiting.len(),
        }
    }

    fn buffer_view(&self, buffer: usize) -> BufferView {
        let name = self.names.buffers[buffer].clone();
        let copies = (0..self.hosts.len()).filter_map(|host| self.copy_view(host, buffer));
        let copies = copies.collect();
        let committed = self.watch.committed_through(buffer).0;
        let Some(assignment) = self.newest(buffer) else {
            return BufferView {
                name,
                copies,
                committed,
                ..BufferView::default()
            };
        };
        let named = |node: &NodeId| self.name_of(*node);
        BufferView {
            name,
            epoch: assignment.epoch.0,
            version: assignment.version,
            primary: assignment.primary.as_ref().map(named),
            in_sync: assignment.in_sync.keys().map(named).collect(),
            assigned: assignment.copies.iter().map(named).collect(),
            committed,
            copies,
        }
    }

    fn name_of(&self, node: NodeId) -> String {
        let host = self.hosts.iter().position(|host| host.id == node);
        host.map_or_else(
            || format!("node {}", node.0),
            |it| self.names.nodes[it].clone(),
        )
    }

    fn copy_view(&self, host: usize, buffer: usize) -> Option<CopyView> {
        let (uuid, this) = (self.buffers[buffer], &self.hosts[host]);
        let node = self.names.nodes[host].clone();
        if let Some(led) = this.shard.buffer(&uuid) {
            return Some(CopyView {
                node,
                role: CopyRole::Primary,
                epoch: led.epoch().0,
                first: led.first().0,
                end: led.end().0,
                durable: led.leader().log(LogKind::Messages).durable.0,
                commit: led.commit().0,
            });
        }
        let copy = this.shard.copy(&uuid)?;
        let log = copy.log(LogKind::Messages);
        Some(CopyView {
            node,
            role: match copy.quarantined() {
                true => CopyRole::Stopped,
                false => CopyRole::Replica,
            },
            epoch: copy.epoch().0,
            first: log.from.0,
            end: log.end.0,
            durable: log.durable.0,
            commit: log.commit.0,
        })
    }

    fn clients_view(&self) -> Vec<ClientView> {
        let clients = self.clients.iter().zip(&self.names.clients);
        let view = |(client, name): (&super::client::Client, &String)| ClientView {
            name: name.clone(),
            asks: client
                .pending
                .values()
                .map(|pending| {
                    let (operation, verb, buffer) = pending.told();
                    let buffer = &self.names.buffers[buffer];
                    format!("req:{name}/{operation} {verb} {buffer}")
                })
                .collect(),
        };
        clients.map(view).collect()
    }

    /// What is under way and due, as far as a hand can name it.
    fn planned_view(&self) -> Vec<PlannedView> {
        let named = self.queue.iter();
        let named = named.filter(|(_, planned)| {
            let answered = match &planned.due {
                Due::GiveUp { client, operation } => {
                    !self.clients[*client].pending.contains_key(operation)
                }
                _ => false,
            };
            planned.eid != EventId::default() && !answered
        });
        named
            .map(|((at, _), planned)| PlannedView {
                at: *at,
                eid: planned.eid,
                under_way: matches!(planned.due, Due::Arrive { .. }),
                what: self.due_in_words(&planned.due),
            })
            .collect()
    }

    fn due_in_words(&self, due: &Due) -> String {
        let (nodes, clients) = (&self.names.nodes, &self.names.clients);
        match due {
            Due::Arrive { packet, message } => {
                let link = packet.link;
                let (from, to) = (self.names.of(link.from), self.names.of(link.to));
                let mut words = format!("pkt:{from}>{to}/{} {}", packet.nth, message.what());
                if let Some(buffer) = message.buffer() {
                    words += &format!(" {}", self.names.buffers[buffer]);
                }
                match message.seqs() {
                    Some((first, last)) if first == last => words += &format!(" {first}"),
                    Some((first, last)) => words += &format!(" {first}-{last}"),
                    None => {}
                }
                words
            }
            Due::Synced { host, .. } => format!("{} ends a sync", nodes[*host]),
            Due::Client(client) => format!("{} has a turn", clients[*client]),
            Due::Again { client, .. } => format!("{} asks again", clients[*client]),
            Due::GiveUp { client, operation } => {
                format!(
                    "{} waits no longer for req:{0}/{operation}",
                    clients[*client]
                )
            }
            Due::Act(action) => action.to_string(),
            _ => "something that a node does by itself".to_owned(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_are_read_and_what_is_none_says_what_would_be() {
        assert_eq!("n:17".parse(), Ok(At::Number(17)));
        assert_eq!("1500ms".parse(), Ok(At::Time(1_500_000)));
        assert_eq!("0".parse(), Ok(At::Time(0)));
        let (low, high) = (
            EventId(0x9f3c_71aa_0000_0000),
            EventId(0x9f3c_71aa_ffff_ffff),
        );
        assert_eq!("9f3c71aa".parse(), Ok(At::Id(low, high)));
        for wrong in [
            "",
            "n:",
            "n:x",
            "9f3c",
            "off",
            "1500",
            "9f3c71aa00e2b5781",
            "9f3c71zz",
        ] {
            let error = wrong.parse::<At>().unwrap_err().to_string();
            assert!(
                error.starts_with(&format!("`{wrong}` is no moment: write n: ")),
                "{error}"
            );
        }
    }
}
