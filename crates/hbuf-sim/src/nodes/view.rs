//! What there is to see of a world at a moment: as JSON, and as text for a person.

use std::fmt;

use serde_json::{Value, json};

use crate::tracefile::EventId;

/// Things under way and due that the text names; of the others there is a count.
const PLANNED_SHOWN_MAX: usize = 40;

/// The world at a moment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct View {
    /// When, in microseconds since the run began.
    pub t: u64,
    /// Events so far.
    pub events: u64,
    /// Steps so far.
    pub steps: u64,
    /// The event right before which this is, when one was asked for.
    pub next: Option<EventId>,
    /// The nodes.
    pub nodes: Vec<NodeView>,
    /// The buffers.
    pub buffers: Vec<BufferView>,
    /// The clients.
    pub clients: Vec<ClientView>,
    /// What is under way and due, in the order of time.
    pub planned: Vec<PlannedView>,
    /// The partitions that there are.
    pub cuts: Vec<String>,
}

/// A node.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NodeView {
    /// Its name.
    pub name: String,
    /// Its process runs.
    pub runs: bool,
    /// It runs, and stands still.
    pub stands_still: bool,
    /// A sync of its disk failed.
    pub disk_failed: bool,
    /// Which life of its process this is; starts and ends count.
    pub life: u64,
    /// Its registration, once it knows of it.
    pub node_epoch: Option<u64>,
    /// What it is in the manager's group: `leader`, `candidate`, `follower` or `none`.
    pub role: &'static str,
    /// The term of the group, as it knows.
    pub term: u64,
    /// The last index of the manager's log that it has applied.
    pub applied: u64,
    /// How far its time of day is wrong, in microseconds.
    pub clock_error_us: i64,
    /// It has written something that is not durable yet.
    pub unsynced: bool,
    /// Requests that wait for an answer.
    pub waiting: usize,
}

/// A buffer, as the node sees it that knows the most of what the manager decided.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct BufferView {
    /// Its name.
    pub name: String,
    /// The epoch of the last appointment.
    pub epoch: u32,
    /// Of the manager's record.
    pub version: u64,
    /// Who is primary.
    pub primary: Option<String>,
    /// Who must hold a message before it is committed.
    pub in_sync: Vec<String>,
    /// Who is to have a copy.
    pub assigned: Vec<String>,
    /// The highest seq that anybody has committed.
    pub committed: u64,
    /// What nodes hold.
    pub copies: Vec<CopyView>,
}

/// What a node takes itself for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CopyRole {
    /// It takes appends.
    Primary,
    /// It takes records.
    Replica,
    /// It takes nothing: it would have to cut what is committed.
    Stopped,
}

impl CopyRole {
    /// Its name.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Primary => "primary",
            Self::Replica => "replica",
            Self::Stopped => "stopped",
        }
    }
}

/// A copy of a buffer's messages on a node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CopyView {
    /// The node.
    pub node: String,
    /// What it takes itself for.
    pub role: CopyRole,
    /// The highest epoch that it has heard of, or leads in.
    pub epoch: u32,
    /// The first seq.
    pub first: u64,
    /// The last seq.
    pub end: u64,
    /// The last seq that a crash would leave.
    pub durable: u64,
    /// The last seq that it knows as committed.
    pub commit: u64,
}

/// A client.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ClientView {
    /// Its name.
    pub name: String,
    /// Its requests without an answer.
    pub asks: Vec<String>,
}

/// Something that is under way or due, and that a hand can change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PlannedView {
    /// When, in microseconds.
    pub at: u64,
    /// The event that it will be.
    pub eid: EventId,
    /// It is a packet.
    pub under_way: bool,
    /// What.
    pub what: String,
}

impl View {
    /// The same for programs.
    #[must_use]
    pub fn to_json(&self) -> Value {
        json!({
            "t": self.t,
            "events": self.events,
            "steps": self.steps,
            "next": self.next.map(|eid| eid.to_string()),
            "nodes": self.nodes.iter().map(NodeView::to_json).collect::<Vec<_>>(),
            "buffers": self.buffers.iter().map(BufferView::to_json).collect::<Vec<_>>(),
            "clients": self.clients.iter().map(|client| json!({
                "name": client.name,
                "asks": client.asks,
            })).collect::<Vec<_>>(),
            "planned": self.planned.iter().map(|planned| json!({
                "at": planned.at,
                "eid": planned.eid.to_string(),
                "under_way": planned.under_way,
                "what": planned.what,
            })).collect::<Vec<_>>(),
            "cuts": self.cuts,
        })
    }
}

impl NodeView {
    fn to_json(&self) -> Value {
        json!({
            "name": self.name,
            "runs": self.runs,
            "stands_still": self.stands_still,
            "disk_failed": self.disk_failed,
            "life": self.life,
            "node_epoch": self.node_epoch,
            "role": self.role,
            "term": self.term,
            "applied": self.applied,
            "clock_error_us": self.clock_error_us,
            "unsynced": self.unsynced,
            "waiting": self.waiting,
        })
    }

    fn is(&self) -> &'static str {
        match (self.runs, self.stands_still, self.disk_failed) {
            (false, ..) => "down",
            (_, true, _) => "stands still",
            (_, _, true) => "disk failed",
            _ => "runs",
        }
    }
}

impl BufferView {
    fn to_json(&self) -> Value {
        json!({
            "name": self.name,
            "epoch": self.epoch,
            "version": self.version,
            "primary": self.primary,
            "in_sync": self.in_sync,
            "copies": self.assigned,
            "committed": self.committed,
            "held": self.copies.iter().map(|copy| json!({
                "node": copy.node,
                "role": copy.role.name(),
                "epoch": copy.epoch,
                "first": copy.first,
                "end": copy.end,
                "durable": copy.durable,
                "commit": copy.commit,
            })).collect::<Vec<_>>(),
        })
    }
}

/// As text, with a line end behind each line but the last.
impl fmt::Display for View {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (events, seconds) = (self.events, crate::tracefile::seconds(self.t));
        write!(f, "at {seconds} s, behind event n:{events}")?;
        if let Some(next) = self.next {
            write!(f, ", right before {next}")?;
        }
        writeln!(f)?;
        for node in &self.nodes {
            self.write_node(f, node)?;
        }
        for buffer in &self.buffers {
            self.write_buffer(f, buffer)?;
        }
        for client in &self.clients {
            let asks = match client.asks.is_empty() {
                true => "asks nothing".to_owned(),
                false => client.asks.join(", "),
            };
            writeln!(f, "{:<5} {asks}", client.name)?;
        }
        for cut in &self.cuts {
            writeln!(f, "cut   {cut}")?;
        }
        self.write_planned(f)
    }
}

impl View {
    fn write_node(&self, f: &mut fmt::Formatter<'_>, node: &NodeView) -> fmt::Result {
        write!(f, "{:<5} {:<12}", node.name, node.is())?;
        if node.runs {
            write!(f, " {} of term {}", node.role, node.term)?;
            write!(f, ", manager's log {}", node.applied)?;
            match node.node_epoch {
                Some(epoch) => write!(f, ", node epoch {epoch}")?,
                None => write!(f, ", not registered")?,
            }
            if node.waiting > 0 {
                write!(f, ", {} requests wait", node.waiting)?;
            }
            if node.unsynced {
                write!(f, ", writes not yet synced")?;
            }
        }
        if node.clock_error_us != 0 {
            write!(f, ", clock wrong by {} us", node.clock_error_us)?;
        }
        writeln!(f)
    }

    fn write_buffer(&self, f: &mut fmt::Formatter<'_>, buffer: &BufferView) -> fmt::Result {
        let primary = buffer.primary.as_deref().unwrap_or("nobody");
        writeln!(
            f,
            "{:<5} epoch {}, primary {primary}, in sync {}; committed {}",
            buffer.name,
            buffer.epoch,
            buffer.in_sync.join(" "),
            buffer.committed
        )?;
        for copy in &buffer.copies {
            writeln!(
                f,
                "      {:<5} {:<8} epoch {:<4} {:>6} to {:<6} durable {:<6} commit {}",
                copy.node,
                copy.role.name(),
                copy.epoch,
                copy.first,
                copy.end,
                copy.durable,
                copy.commit
            )?;
        }
        Ok(())
    }

    fn write_planned(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let under_way = self.planned.iter().filter(|it| it.under_way).count();
        let due = self.planned.len() - under_way;
        write!(f, "{under_way} packets under way, {due} other things due:")?;
        for planned in self.planned.iter().take(PLANNED_SHOWN_MAX) {
            let later = planned.at.saturating_sub(self.t);
            write!(f, "\n  +{later:<8} us  {}  {}", planned.eid, planned.what)?;
        }
        let more = self.planned.len().saturating_sub(PLANNED_SHOWN_MAX);
        if more > 0 {
            write!(f, "\n  and {more} others")?;
        }
        Ok(())
    }
}
