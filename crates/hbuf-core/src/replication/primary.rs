//! A primary: what it sends to each copy, what is committed, whom it asks to be added or removed.

use alloc::collections::{BTreeMap, BTreeSet};

use super::assignment::{Alter, Assignment, Change, Member, NodeEpoch};
use super::log::Log;
use super::message::{FromCopy, Position, ToCopy, Word};
use crate::ids::{Epoch, NodeId, Seq};
use crate::rules::Rules;

/// How a copy stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
struct Standing {
    /// The registration that has spoken.
    node_epoch: NodeEpoch,
    /// It has compared its log in this epoch; what it holds, and what was sent.
    holds: Option<(Seq, Seq)>,
    /// The newest round that it has answered.
    round: u64,
}

/// The primary's view of one log in one epoch.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Primary {
    me: NodeId,
    assignment: Assignment,
    /// What the manager was asked, and has not decided.
    proposal: Option<Alter>,
    /// The end of the log when the epoch began: anything up to it may have been committed.
    start: Seq,
    log: Log,
    copies: BTreeMap<NodeId, Standing>,
    round: u64,
    /// A copy knows a higher epoch.
    deposed: bool,
}

impl Primary {
    /// Begins an epoch with the log as it is (rule 7): all of it is kept, for any of it may have
    /// been committed.
    #[must_use]
    pub fn appointed(rules: &Rules, me: NodeId, assignment: Assignment, mut log: Log) -> Self {
        if !rules.appointed_keeps_its_log {
            log.end = log.commit;
            log.durable = log.durable.min(log.end);
            log.epochs.cut(log.end);
        }
        log.epochs.note(assignment.epoch, log.end.next());
        Self {
            me,
            assignment,
            proposal: None,
            start: log.end,
            log,
            copies: BTreeMap::new(),
            round: 0,
            deposed: false,
        }
    }

    /// Its epoch.
    #[must_use]
    pub const fn epoch(&self) -> Epoch {
        self.assignment.epoch
    }

    /// The log as it is.
    #[must_use]
    pub const fn log(&self) -> &Log {
        &self.log
    }

    /// Whether it may append: nobody has shown it a higher epoch. That nobody has does not mean
    /// that there is none; then nothing of what it appends is ever committed (rule 10).
    #[must_use]
    pub const fn appends(&self) -> bool {
        !self.deposed
    }

    /// Records were framed through `through`.
    pub fn on_framed(&mut self, through: Seq) {
        self.log.end = through;
    }

    /// Its own disk holds the log through `through`.
    pub fn on_synced(&mut self, rules: &Rules, through: Seq) {
        self.log.durable = through;
        self.advance(rules);
    }

    /// The manager has decided: a newer record in the same epoch. What it was asked for is done or
    /// will never be, for it was asked of an older version.
    pub fn on_decided(&mut self, rules: &Rules, assignment: Assignment) {
        if assignment.epoch != self.epoch() || assignment.primary != Some(self.me) {
            self.deposed |= assignment.epoch > self.epoch();
            return;
        }
        if assignment.version <= self.assignment.version {
            return;
        }
        self.assignment = assignment;
        self.proposal = None;
        self.advance(rules);
    }

    /// What a copy says.
    pub fn on_answer(&mut self, rules: &Rules, from: NodeId, answer: FromCopy) {
        // Not by the word alone: it may answer what this node sent in an epoch before.
        if answer.epoch > self.epoch() {
            self.deposed = true;
            return;
        }
        if answer.epoch < self.epoch() && answer.word != Word::NotLed {
            return;
        }
        let fresh = Standing {
            node_epoch: answer.node_epoch,
            holds: None,
            round: 0,
        };
        let copy = self.copies.entry(from).or_insert(fresh);
        if answer.node_epoch < copy.node_epoch {
            return;
        }
        if answer.node_epoch > copy.node_epoch {
            *copy = fresh;
        }
        match answer.word {
            Word::Holds { durable, round } => {
                let (before, sent) = copy.holds.unwrap_or((durable, durable));
                copy.holds = Some((before.max(durable), sent.max(durable)));
                copy.round = copy.round.max(round);
            }
            Word::Gap { end } => {
                if let Some((durable, sent)) = &mut copy.holds {
                    *sent = end.max(*durable);
                }
            }
            Word::NotLed | Word::Quarantined => copy.holds = None,
            Word::Fenced => {}
        }
        self.advance(rules);
    }

    /// The next message for a copy: its registration first, then its log is compared. The caller
    /// sends at most so many records at once as it likes.
    pub fn next_for(&mut self, copy: NodeId, records: u64) -> Option<ToCopy> {
        if self.deposed || copy == self.me || !self.assignment.copies.contains(&copy) {
            return None;
        }
        let epoch = self.epoch();
        let Some(standing) = self.copies.get_mut(&copy) else {
            return Some(ToCopy::Greet { epoch });
        };
        let Some((_, sent)) = &mut standing.holds else {
            return Some(ToCopy::Lead {
                epoch,
                to: standing.node_epoch,
                end: self.log.end,
                epochs: self.log.epochs.clone(),
                commit: self.log.commit,
            });
        };
        let after = *sent;
        let through = self.log.end.min(after.plus(records));
        *sent = through;
        Some(ToCopy::Append {
            epoch,
            prev: Position {
                seq: after,
                epoch: self.log.epochs.at(after),
            },
            through,
            epochs: self.log.epochs.within(after, through),
            commit: self.log.commit,
            round: self.round,
        })
    }

    /// Begins a round of acks, for a read of the tail (rule 11).
    pub fn ask_round(&mut self) -> u64 {
        self.round += 1;
        self.round
    }

    /// Whether the tail may be read: everybody who must hold a commit has answered the round in
    /// this epoch, so that no newer primary had committed anything when it began, and what older
    /// ones committed is known.
    #[must_use]
    pub fn round_is_done(&self, rules: &Rules, round: u64) -> bool {
        if !rules.tail_reads_ask_a_round {
            return true;
        }
        let answered = |node: &NodeId| {
            let copy = self.copies.get(node);
            *node == self.me || copy.is_some_and(|copy| copy.round >= round)
        };
        let caught_up = self.log.commit >= self.start || !rules.commit_waits_for_epoch_start;
        !self.deposed && caught_up && self.maximal(rules).iter().all(answered)
    }

    /// Asks to take a member out (rule 4). It is waited for until the manager has said yes.
    pub fn ask_remove(&mut self, node: NodeId) -> Option<Alter> {
        let member = self.assignment.in_sync.contains_key(&node) && node != self.me;
        member.then(|| self.propose(Change::Remove(node)))?
    }

    /// Asks to take a copy in that holds all that is committed (rule 5). From now on it is waited
    /// for.
    pub fn ask_add(&mut self, node: NodeId, from: Seq) -> Option<Alter> {
        let copy = self.copies.get(&node)?;
        let (durable, _) = copy.holds?;
        let known = self.assignment.in_sync.contains_key(&node);
        if known || durable < self.log.commit.max(self.start) {
            return None;
        }
        let member = Member {
            node_epoch: copy.node_epoch,
            from,
        };
        self.propose(Change::Add(node, member))
    }

    /// What the manager was asked, to be asked again until it has decided.
    #[must_use]
    pub const fn proposal(&self) -> Option<Alter> {
        self.proposal
    }

    fn propose(&mut self, change: Change) -> Option<Alter> {
        if self.proposal.is_some() || self.deposed {
            return None;
        }
        self.proposal = Some(Alter {
            by: self.me,
            epoch: self.epoch(),
            version: self.assignment.version,
            change,
        });
        self.proposal
    }

    /// Who must hold a record before it is committed: the in-sync set, and whoever the manager may
    /// be adding to it just now (KIP-497).
    fn maximal(&self, rules: &Rules) -> BTreeSet<NodeId> {
        let mut nodes: BTreeSet<NodeId> = self.assignment.in_sync.keys().copied().collect();
        match self.proposal.map(|alter| alter.change) {
            Some(Change::Add(node, _)) if rules.commit_waits_for_proposed => {
                nodes.insert(node);
            }
            Some(Change::Remove(node)) if !rules.removal_waits_for_manager => {
                nodes.remove(&node);
            }
            _ => {}
        }
        nodes
    }

    /// How far everybody's disk has come (rule 3).
    fn on_all(&self, rules: &Rules) -> Option<Seq> {
        let held = |node: &NodeId| {
            if *node == self.me {
                return Some(self.log.durable);
            }
            let copy = self.copies.get(node)?;
            let member = self.assignment.in_sync.get(node);
            let stamped = member.is_none_or(|member| member.node_epoch == copy.node_epoch);
            copy.holds
                .filter(|_| stamped || !rules.members_are_stamped)
                .map(|(durable, _)| durable)
        };
        let nodes = self.maximal(rules);
        let held: Option<BTreeSet<Seq>> = match rules.commit_waits_for_in_sync {
            true => nodes.iter().map(held).collect(),
            false => Some(BTreeSet::from([self.log.durable])),
        };
        held?.first().copied()
    }

    fn advance(&mut self, rules: &Rules) {
        if self.deposed || self.assignment.in_sync.len() < self.assignment.min_in_sync {
            return;
        }
        let Some(all) = self.on_all(rules) else {
            return;
        };
        if all >= self.start || !rules.commit_waits_for_epoch_start {
            self.log.commit = self.log.commit.max(all);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::Uuid;

    const SELF: NodeId = NodeId(1);
    const OTHER: NodeId = NodeId(2);

    /// The primary of epoch 3 with an empty log, of two copies in sync.
    fn primary() -> Primary {
        let copies = [(SELF, NodeEpoch(1)), (OTHER, NodeEpoch(2))];
        let assignment = Assignment {
            epoch: Epoch(3),
            ..Assignment::new(Uuid([1; 16]), &copies, 2)
        };
        Primary::appointed(&Rules::correct(), SELF, assignment, Log::default())
    }

    fn says(epoch: u32, node_epoch: u64, word: Word) -> FromCopy {
        FromCopy {
            epoch: Epoch(epoch),
            node_epoch: NodeEpoch(node_epoch),
            word,
        }
    }

    #[test]
    fn a_higher_epoch_deposes_and_a_late_word_of_an_older_one_does_not() {
        let (rules, mut primary) = (Rules::correct(), primary());
        primary.on_answer(&rules, OTHER, says(2, 2, Word::Fenced));
        assert!(primary.appends(), "it answers what was sent in epoch 1");
        primary.on_answer(&rules, OTHER, says(4, 2, Word::Fenced));
        assert!(!primary.appends());
        assert_eq!(primary.next_for(OTHER, 1), None);
    }

    #[test]
    fn a_commit_waits_for_both_disks_and_for_the_member_that_is_meant() {
        let (rules, mut primary) = (Rules::correct(), primary());
        let holds = |durable| Word::Holds { durable, round: 0 };
        primary.on_framed(Seq(2));
        primary.on_synced(&rules, Seq(2));
        assert_eq!(primary.log().commit, Seq(0));
        primary.on_answer(&rules, OTHER, says(3, 2, holds(Seq(1))));
        assert_eq!(primary.log().commit, Seq(1));
        primary.on_answer(&rules, OTHER, says(3, 9, holds(Seq(2))));
        assert_eq!(primary.log().commit, Seq(1), "it has restarted");
    }

    #[test]
    fn a_copy_is_greeted_led_and_sent_what_it_lacks_again_after_a_gap() {
        let (rules, mut primary) = (Rules::correct(), primary());
        primary.on_framed(Seq(3));
        let first = primary.next_for(OTHER, 2);
        assert_eq!(first, Some(ToCopy::Greet { epoch: Epoch(3) }));
        primary.on_answer(&rules, OTHER, says(2, 2, Word::NotLed));
        let lead = primary.next_for(OTHER, 2);
        assert!(matches!(
            lead,
            Some(ToCopy::Lead {
                to: NodeEpoch(2),
                ..
            })
        ));
        let nothing = Word::Holds {
            durable: Seq(0),
            round: 0,
        };
        primary.on_answer(&rules, OTHER, says(3, 2, nothing));
        let sent = |primary: &mut Primary| match primary.next_for(OTHER, 2) {
            Some(ToCopy::Append { prev, through, .. }) => (prev.seq, through),
            other => panic!("{other:?}"),
        };
        assert_eq!(sent(&mut primary), (Seq(0), Seq(2)));
        assert_eq!(sent(&mut primary), (Seq(2), Seq(3)));
        primary.on_answer(&rules, OTHER, says(3, 2, Word::Gap { end: Seq(0) }));
        assert_eq!(sent(&mut primary), (Seq(0), Seq(2)));
    }
}
