//! One node of the small cluster: a log on a disk, and the role that drives it.

use std::sync::Arc;

use hbuf_core::ids::{Epoch, NodeId, Seq};
use hbuf_core::replication::{Assignment, Copy, FromCopy, Log, NodeEpoch, Primary, ToCopy};
use hbuf_core::rules::Rules;

use super::actions::commits;

/// A record: the epoch that appended it, and what it holds.
pub type Record = (Epoch, u8);

/// What a node does with its log.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Role {
    /// It takes what a primary sends.
    Copy(Copy),
    /// It was appointed.
    Primary(Box<Primary>),
}

/// A read of the tail that waits for its round.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TailRead {
    /// The round.
    pub round: u64,
    /// What was committed when it was asked, by whomever.
    pub floor: usize,
}

/// A node.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Node {
    /// Its process runs.
    pub up: bool,
    /// Its last registration.
    pub node_epoch: NodeEpoch,
    /// Its log, the unsynced tail included.
    pub records: Vec<Record>,
    /// What it does.
    pub role: Role,
    /// A read that waits.
    pub read: Option<TailRead>,
}

/// Why a step broke the cluster.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Broken {
    /// A member of the in-sync set cut records off that were committed.
    CommittedCut,
    /// Two records of one seq and epoch differ.
    TwoRecords,
}

impl Node {
    pub(super) fn new(node_epoch: NodeEpoch) -> Self {
        Self {
            up: true,
            node_epoch,
            records: Vec::new(),
            role: Role::Copy(Copy::open(node_epoch, Epoch(0), Log::default())),
            read: None,
        }
    }

    /// Its log as its role sees it.
    #[must_use]
    pub fn log(&self) -> &Log {
        match &self.role {
            Role::Copy(copy) => copy.log(),
            Role::Primary(primary) => primary.log(),
        }
    }

    /// The highest epoch that it knows of.
    #[must_use]
    pub fn epoch(&self) -> Epoch {
        match &self.role {
            Role::Copy(copy) => copy.epoch(),
            Role::Primary(primary) => primary.epoch(),
        }
    }

    /// How many records a crash would leave.
    #[must_use]
    pub fn durable(&self) -> usize {
        index(self.log().durable)
    }

    /// Hears what the manager has decided.
    pub(super) fn learns(&mut self, rules: &Rules, me: NodeId, assignment: &Assignment) {
        let appointed = assignment.primary == Some(me);
        let resumes = !rules.restart_takes_a_new_epoch && assignment.epoch == self.epoch();
        let decided = Arc::new(assignment.clone());
        match &mut self.role {
            Role::Copy(copy) if appointed && (assignment.epoch > copy.epoch() || resumes) => {
                let mut primary = Primary::appointed(rules, me, decided, copy.log().clone());
                commits(rules, &mut primary);
                self.role = Role::Primary(Box::new(primary));
            }
            Role::Primary(primary) if appointed && assignment.epoch > primary.epoch() => {
                let mut primary = Primary::appointed(rules, me, decided, primary.log().clone());
                commits(rules, &mut primary);
                self.role = Role::Primary(Box::new(primary));
                self.read = None;
            }
            Role::Primary(primary) => {
                primary.on_decided(decided);
                commits(rules, primary);
            }
            Role::Copy(_) => {}
        }
        // Only with a bent rule: a primary keeps its log.
        self.records.truncate(index(self.log().end));
    }

    /// A primary's message with its records; gives what is answered.
    pub(super) fn takes(
        &mut self,
        rules: &Rules,
        message: &ToCopy,
        records: &[Record],
        committed: &[Record],
    ) -> Result<Option<FromCopy>, Broken> {
        let epoch = message.epoch();
        if let Role::Primary(primary) = &self.role {
            if epoch <= primary.epoch() && (rules.copies_fence_epochs || epoch == primary.epoch()) {
                let fenced = FromCopy::fenced(primary.epoch(), self.node_epoch);
                return Ok((epoch < primary.epoch()).then_some(fenced));
            }
            let copy = Copy::open(self.node_epoch, primary.epoch(), primary.log().clone());
            self.role = Role::Copy(copy);
            self.read = None;
        }
        let Role::Copy(copy) = &mut self.role else {
            return Ok(None);
        };
        let taken = copy.on_message(rules, message);
        if let Some(cut) = taken.cut {
            let lost = self.records.split_off(index(cut));
            let behind = committed.get(index(cut)..).unwrap_or_default();
            if lost.iter().zip(behind).any(|(lost, one)| lost == one) {
                return Err(Broken::CommittedCut);
            }
        }
        if let ToCopy::Append { prev, .. } = message {
            let from = index(prev.seq);
            let held = self.records.get(from..).unwrap_or_default();
            let differ =
                |((epoch, one), (of, other)): (&Record, &Record)| epoch == of && one != other;
            if held.iter().zip(records).any(differ) {
                return Err(Broken::TwoRecords);
            }
            if let Some((after, through)) = taken.append {
                // With a rule that is bent, they may follow anything.
                let new = records.iter().skip(index(after).saturating_sub(from));
                self.records.extend(
                    new.take(index(through).saturating_sub(index(after)))
                        .copied(),
                );
            }
        }
        Ok(taken.answer)
    }
}

/// A seq as a count of records.
pub(super) fn index(seq: Seq) -> usize {
    usize::try_from(seq.0).expect("logs are short here")
}
