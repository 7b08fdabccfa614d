//! A primary: what it sends to each copy, what is committed, whom it asks to be added or removed.

use alloc::collections::BTreeMap;
use alloc::sync::Arc;

use super::assignment::{Alter, Assignment, Change, Ended, Member, NodeEpoch};
use super::log::Log;
use super::message::{FromCopy, Position, ToCopy, Word};
use super::standing::{Held, Standing};
use crate::ids::{Epoch, NodeId, Seq};
use crate::rules::Rules;

/// Where copies begin that lack too much: behind a committed record, of which the primary still has
/// the tables of its log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Base {
    /// They begin behind this seq.
    pub at: Seq,
    /// Copies that hold less than this begin anew.
    pub behind: Seq,
    /// Members of the in-sync set too: what is before is in no log any more, or said again.
    pub members: bool,
}

/// What a copy was told last, as far as telling it again would be in vain. Compare two.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Told {
    /// 0: nothing is known of it; 1: its log is to be compared; 2: it takes records.
    stage: u8,
    node_epoch: NodeEpoch,
    sent: Seq,
    commit: Seq,
    round: u64,
    mark: Seq,
}

impl Told {
    /// A mark says nothing of the rest.
    pub(super) const fn of_mark(self, told: Self) -> Self {
        Self {
            mark: told.mark,
            ..self
        }
    }
}

/// The primary's view of one log in one epoch.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Primary {
    me: NodeId,
    assignment: Arc<Assignment>,
    /// What the manager was asked, and has not decided.
    proposal: Option<Alter>,
    /// The end of the log when the epoch began: anything up to it may have been committed.
    start: Seq,
    log: Log,
    copies: BTreeMap<NodeId, Standing>,
    round: u64,
    /// What the newest mark on this node's disk covers.
    marked: Seq,
    /// Where that ends with which the last file begins, when it says again all that was before.
    file_whole: Seq,
    /// A copy knows a higher epoch.
    deposed: bool,
}

impl Primary {
    /// Begins an epoch with the log as it is (rule 7): all of it is kept, for any of it may have
    /// been committed.
    #[must_use]
    pub fn appointed(rules: &Rules, me: NodeId, assignment: Arc<Assignment>, mut log: Log) -> Self {
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
            marked: Seq::ZERO,
            file_whole: Seq::ZERO,
            deposed: false,
        }
    }

    /// Its epoch.
    #[must_use]
    pub fn epoch(&self) -> Epoch {
        self.assignment.epoch
    }

    /// The log as it is.
    #[must_use]
    pub const fn log(&self) -> &Log {
        &self.log
    }

    /// The manager's record that it goes by.
    #[must_use]
    pub const fn assignment(&self) -> &Arc<Assignment> {
        &self.assignment
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

    /// A file begins with all that was before it, said again through `through`.
    pub const fn file_begins(&mut self, through: Seq) {
        self.file_whole = through;
    }

    /// Its own disk holds the log through `through`.
    pub fn on_synced(&mut self, through: Seq) {
        self.log.durable = self.log.durable.max(through);
    }

    /// A mark is on this node's disk that covers the log through `at`.
    pub fn on_marked(&mut self, at: Seq) {
        self.marked = self.marked.max(at);
    }

    /// Retention dropped what is before `from`.
    pub fn on_dropped(&mut self, from: Seq) {
        self.log.from = self.log.from.max(from);
    }

    /// The manager has decided: a newer record in the same epoch. What it was asked for is done or
    /// will never be, for it was asked of an older version.
    pub fn on_decided(&mut self, assignment: Arc<Assignment>) {
        if assignment.epoch != self.epoch() || assignment.primary != Some(self.me) {
            self.deposed |= assignment.epoch > self.epoch();
            return;
        }
        if assignment.version <= self.assignment.version {
            return;
        }
        self.assignment = assignment;
        self.proposal = None;
        let it = &self.assignment;
        let counts = |node: &NodeId, copy: &mut Standing| {
            it.copies.contains(node) && copy.tenure >= it.tenure(*node)
        };
        self.copies.retain(counts);
    }

    /// What a copy says.
    pub fn on_answer(&mut self, from: NodeId, answer: FromCopy) {
        // Not by the word alone: it may answer what this node sent in an epoch before.
        if answer.epoch > self.epoch() {
            self.deposed = true;
            return;
        }
        if answer.epoch < self.epoch() && answer.word != Word::NotLed {
            return;
        }
        // Said before it was removed and added again, or before damage was found in it, and so of
        // what it holds no more, or will have to give up.
        if answer.tenure < self.assignment.tenure(from) {
            // It has registered anew, perhaps, and that ended the tenure: what the life before said
            // counts no more, and it is asked again until this node knows.
            let copy = self.copies.get(&from);
            if copy.is_some_and(|copy| copy.node_epoch < answer.node_epoch) {
                self.copies.remove(&from);
            }
            return;
        }
        let fresh = Standing {
            node_epoch: answer.node_epoch,
            tenure: answer.tenure,
            holds: None,
            round: 0,
        };
        let copy = self.copies.entry(from).or_insert(fresh);
        let life = (answer.node_epoch, answer.tenure);
        let known = (copy.node_epoch, copy.tenure);
        if life < known {
            return;
        }
        if life > known {
            *copy = fresh;
        }
        copy.hears(answer.word);
    }

    /// The connection to a copy is gone, or it has not answered for long: what was sent and not
    /// answered is sent again.
    pub fn on_silence(&mut self, copy: NodeId) {
        if let Some(held) = self.copies.get_mut(&copy).and_then(|it| it.holds.as_mut()) {
            held.sent = held.durable;
            held.mark_sent = held.marked;
        }
    }

    /// What a copy would know after the next message: as long as this is what it was told last,
    /// another message is of use only because messages get lost.
    #[must_use]
    pub fn would_tell(&self, copy: NodeId) -> Told {
        let Some(standing) = self.copies.get(&copy) else {
            return Told::default();
        };
        let node_epoch = standing.node_epoch;
        match standing.holds {
            // The first word of an epoch tells the log as it is; what comes after it follows.
            None => Told {
                stage: 1,
                node_epoch,
                ..Told::default()
            },
            Some(held) => Told {
                stage: 2,
                node_epoch,
                sent: self.log.end,
                commit: self.log.commit,
                round: self.round,
                // It must hold all that a mark covers before it is told of it.
                mark: match held.durable >= self.marked {
                    true => self.marked,
                    false => held.mark_sent,
                },
            },
        }
    }

    /// The next message for a copy: its registration first, then its log is compared, then it gets
    /// at most so many records at once, or begins anew where `base` says so.
    pub fn next_for(&mut self, copy: NodeId, records: u64, base: Option<Base>) -> Option<ToCopy> {
        if self.deposed || copy == self.me || !self.assignment.copies.contains(&copy) {
            return None;
        }
        let (epoch, member) = (self.epoch(), self.assignment.in_sync.contains_key(&copy));
        let Some(standing) = self.copies.get_mut(&copy) else {
            return Some(ToCopy::Greet { epoch });
        };
        let Some(held) = &mut standing.holds else {
            return Some(ToCopy::Lead {
                epoch,
                to: standing.node_epoch,
                end: self.log.end,
                epochs: self.log.epochs.clone(),
                commit: self.log.commit,
                ended: self.assignment.ended.iter().map(Ended::end).collect(),
            });
        };
        let asked = self.proposal.is_some_and(|alter| alter.change.adds(copy));
        let lacks = |base: &Base| held.durable < base.behind && held.durable < base.at;
        let may = |base: &Base| base.members || !(member || asked);
        if let Some(base) = base.filter(|base| may(base) && lacks(base)) {
            return Some(ToCopy::Begin {
                epoch,
                to: standing.node_epoch,
                at: base.at,
                epochs: self.log.epochs.through(base.at),
                commit: self.log.commit.min(base.at),
            });
        }
        if held.durable >= self.marked && held.mark_sent < self.marked {
            held.mark_sent = self.marked;
            let (at, first) = (self.marked, self.log.from);
            return Some(ToCopy::Mark { epoch, at, first });
        }
        let after = held.sent;
        let through = self.log.end.min(after.plus(records)).max(after);
        held.sent = through;
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

    /// What a copy was told, as [`Self::would_tell`] is compared with it.
    #[must_use]
    pub fn told(&self, copy: NodeId) -> Told {
        let held = self.copies.get(&copy).and_then(|standing| standing.holds);
        let told = self.would_tell(copy);
        Told {
            sent: held.map_or(told.sent, |held| held.sent),
            mark: held.map_or(told.mark, |held| held.mark_sent),
            ..told
        }
    }

    /// Whether a copy was sent what it has not answered yet.
    #[must_use]
    pub fn owes(&self, copy: NodeId) -> bool {
        let standing = self.copies.get(&copy);
        // Of whom nothing that counts was heard yet owes an answer to the first word of all.
        standing.is_none_or(|standing| {
            let owes = |held: Held| {
                let unknown = held.commit < self.log.commit;
                let answered = held.durable >= held.sent && held.marked >= held.mark_sent;
                !answered || standing.round < self.round || unknown
            };
            // The first word of an epoch is answered with what the copy holds.
            standing.holds.is_none_or(owes)
        })
    }

    /// The last seq that a copy's disk holds, when that is known in this epoch.
    #[must_use]
    pub fn holds(&self, copy: NodeId) -> Option<Seq> {
        let held = self.copies.get(&copy)?.holds;
        held.map(|held| held.durable)
    }

    /// The registration under which a copy spoke last.
    #[must_use]
    pub fn registration(&self, copy: NodeId) -> Option<NodeEpoch> {
        self.copies.get(&copy).map(|standing| standing.node_epoch)
    }

    /// This node.
    #[must_use]
    pub const fn node(&self) -> NodeId {
        self.me
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
        // With fewer members than a commit needs, what was committed before is not known.
        let known = self.log.commit >= self.start || !rules.tail_reads_wait_for_the_start;
        !self.deposed && known && self.maximal(rules).all(|node| answered(&node))
    }

    /// Asks to take a member out (rule 4). It is waited for until the manager has said yes.
    pub fn ask_remove(&mut self, node: NodeId) -> Option<Alter> {
        let member = self.assignment.in_sync.contains_key(&node) && node != self.me;
        member.then(|| self.propose(Change::Remove(node)))?
    }

    /// Where a copy begins that lacks something of before, when that is known in this epoch.
    #[must_use]
    pub fn begins_late(&self, copy: NodeId) -> Option<Seq> {
        let held = self.copies.get(&copy)?.holds?;
        (held.from > self.log.from).then_some(held.from)
    }

    /// Asks to note that a member has filled in all that it lacked (rule 5).
    pub fn ask_holds(&mut self, node: NodeId) -> Option<Alter> {
        let copy = self.copies.get(&node)?;
        let (from, member) = (copy.holds?.from, *self.assignment.in_sync.get(&node)?);
        let same = member.node_epoch == copy.node_epoch;
        let whole = from <= self.log.from && from < member.from;
        let now = Member { from, ..member };
        (same && whole).then(|| self.propose(Change::Holds(node, now)))?
    }

    /// Asks to take a copy in that holds all that is committed (rule 5). From now on it is waited
    /// for.
    pub fn ask_add(&mut self, rules: &Rules, node: NodeId) -> Option<Alter> {
        let member = self.may_add(rules, node)?;
        self.propose(Change::Add(node, member))
    }

    /// The member that a copy would be, if it may be asked in.
    #[must_use]
    pub fn may_add(&self, rules: &Rules, node: NodeId) -> Option<Member> {
        let copy = self.copies.get(&node)?;
        let Held { from, durable, .. } = copy.holds.filter(|held| self.is_whole(held))?;
        let known = self.assignment.in_sync.contains_key(&node);
        // The primaries before may have committed more than this one knows of, but nothing behind
        // what it began with (rule 7).
        let needed = match rules.added_hold_the_start {
            true => self.log.commit.max(self.start),
            false => self.log.commit,
        };
        if known || durable < needed {
            return None;
        }
        Some(Member {
            node_epoch: copy.node_epoch,
            from,
        })
    }

    /// The primary of the buffer's other log has asked for this.
    pub fn proposes(&mut self, alter: Alter) {
        self.proposal = Some(alter);
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
    fn maximal(&self, rules: &Rules) -> impl Iterator<Item = NodeId> {
        let change = self.proposal.map(|alter| alter.change);
        let added = match change {
            Some(Change::Add(node, _)) if rules.commit_waits_for_proposed => Some(node),
            _ => None,
        };
        let dropped = match change {
            Some(Change::Remove(node)) if !rules.removal_waits_for_manager => Some(node),
            _ => None,
        };
        let members = self.assignment.in_sync.keys().copied();
        let stay = members.filter(move |node| Some(*node) != dropped);
        stay.chain(added)
    }

    /// How far a node's disk has come, as far as it counts for the commit (rule 3).
    fn held(&self, rules: &Rules, node: NodeId) -> Option<Seq> {
        if node == self.me {
            return Some(self.log.durable);
        }
        let copy = self.copies.get(&node)?;
        let member = self.assignment.in_sync.get(&node);
        let stamped = member.is_none_or(|member| member.node_epoch == copy.node_epoch);
        let held = copy.holds.filter(|_| stamped || !rules.members_are_stamped);
        let held = held.filter(|held| self.is_whole(held));
        held.map(|held| held.durable)
    }

    /// Whether a copy holds what its log says: one that begins with a file has what was before only
    /// once it holds all that the file begins with.
    fn is_whole(&self, held: &Held) -> bool {
        held.from <= Seq::FIRST || held.durable >= self.file_whole
    }

    /// Through where the disks of the whole maximal in-sync set hold the log (rules 3 and 7), never
    /// before what was committed. The owner says where in it the commit stops
    /// ([`Self::on_committed`]), for it knows which records are one append.
    #[must_use]
    pub fn agreed(&self, rules: &Rules) -> Seq {
        if self.deposed || self.assignment.in_sync.len() < self.assignment.min_in_sync {
            return self.log.commit;
        }
        let held = |node: NodeId| self.held(rules, node).unwrap_or(Seq::ZERO);
        let all = match rules.commit_waits_for_in_sync {
            true => self.maximal(rules).map(held).min().unwrap_or(Seq::ZERO),
            false => self.log.durable,
        };
        self.log.commit.max(all.min(self.log.end))
    }

    /// What is committed from now on.
    pub fn on_committed(&mut self, through: Seq) {
        debug_assert!(
            through <= self.log.end,
            "the commit never passes the log's end"
        );
        self.log.commit = self.log.commit.max(through);
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
        Primary::appointed(
            &Rules::correct(),
            SELF,
            Arc::new(assignment),
            Log::default(),
        )
    }

    fn says(epoch: u32, node_epoch: u64, word: Word) -> FromCopy {
        FromCopy {
            epoch: Epoch(epoch),
            node_epoch: NodeEpoch(node_epoch),
            tenure: 0,
            word,
        }
    }

    #[test]
    fn a_higher_epoch_deposes_and_a_late_word_of_an_older_one_does_not() {
        let mut primary = primary();
        primary.on_answer(OTHER, says(2, 2, Word::Fenced));
        assert!(primary.appends(), "it answers what was sent in epoch 1");
        primary.on_answer(OTHER, says(4, 2, Word::Fenced));
        assert!(!primary.appends());
        assert_eq!(primary.next_for(OTHER, 1, None), None);
    }

    #[test]
    fn a_commit_waits_for_both_disks_and_for_the_member_that_is_meant() {
        let (rules, mut primary) = (Rules::correct(), primary());
        let holds = |durable| Word::Holds {
            from: Seq::FIRST,
            durable,
            commit: Seq(0),
            round: 0,
        };
        primary.on_framed(Seq(2));
        primary.on_synced(Seq(2));
        assert_eq!(primary.agreed(&rules), Seq(0));
        primary.on_answer(OTHER, says(3, 2, holds(Seq(1))));
        assert_eq!(primary.agreed(&rules), Seq(1));
        primary.on_answer(OTHER, says(3, 9, holds(Seq(2))));
        primary.on_committed(Seq(1));
        assert_eq!(primary.agreed(&rules), Seq(1), "it has restarted");
    }

    #[test]
    fn a_copy_gets_a_mark_when_it_holds_what_that_covers_and_again_until_it_answers() {
        let mut primary = primary();
        let holds = |durable| Word::Holds {
            from: Seq::FIRST,
            durable: Seq(durable),
            commit: Seq(0),
            round: 0,
        };
        primary.on_framed(Seq(4));
        primary.on_answer(OTHER, says(3, 2, holds(2)));
        primary.on_marked(Seq(3));
        let sent = primary.next_for(OTHER, 9, None);
        assert!(matches!(sent, Some(ToCopy::Append { .. })), "{sent:?}");
        primary.on_answer(OTHER, says(3, 2, holds(4)));
        assert_ne!(primary.would_tell(OTHER), primary.told(OTHER));
        let mark = Some(ToCopy::Mark {
            epoch: Epoch(3),
            at: Seq(3),
            first: Seq(1),
        });
        assert_eq!(primary.next_for(OTHER, 9, None), mark);
        assert_eq!(primary.would_tell(OTHER), primary.told(OTHER));
        assert!(primary.owes(OTHER));
        primary.on_silence(OTHER);
        assert_eq!(primary.next_for(OTHER, 9, None), mark);
        primary.on_answer(OTHER, says(3, 2, Word::Marked { at: Seq(3) }));
        assert!(!primary.owes(OTHER));
        let next = primary.next_for(OTHER, 9, None);
        assert!(matches!(next, Some(ToCopy::Append { .. })), "{next:?}");
    }

    #[test]
    fn what_a_copy_said_before_damage_was_found_in_it_counts_for_nothing() {
        let (rules, mut primary) = (Rules::correct(), primary());
        let holds = |durable| Word::Holds {
            from: Seq::FIRST,
            durable: Seq(durable),
            commit: Seq(0),
            round: 0,
        };
        primary.on_framed(Seq(2));
        primary.on_answer(OTHER, says(3, 2, holds(2)));
        let mut noted = (**primary.assignment()).clone();
        assert!(noted.found_damaged(OTHER));
        let version = noted.version;
        primary.on_decided(Arc::new(noted));
        assert_eq!(primary.holds(OTHER), None);
        // It was under way.
        primary.on_answer(OTHER, says(3, 2, holds(2)));
        assert_eq!(primary.may_add(&rules, OTHER), None);
        assert!(primary.owes(OTHER), "it is asked again");
        let anew = |word| FromCopy {
            tenure: version,
            ..says(3, 2, word)
        };
        primary.on_answer(OTHER, anew(holds(0)));
        assert_eq!(primary.holds(OTHER), Some(Seq(0)));
        primary.on_answer(OTHER, anew(holds(2)));
        assert!(primary.may_add(&rules, OTHER).is_some());
    }

    #[test]
    fn a_copy_is_greeted_led_and_sent_what_it_lacks_again_after_a_gap() {
        let mut primary = primary();
        primary.on_framed(Seq(3));
        let first = primary.next_for(OTHER, 2, None);
        assert_eq!(first, Some(ToCopy::Greet { epoch: Epoch(3) }));
        primary.on_answer(OTHER, says(2, 2, Word::NotLed));
        let lead = primary.next_for(OTHER, 2, None);
        assert!(matches!(
            lead,
            Some(ToCopy::Lead {
                to: NodeEpoch(2),
                ..
            })
        ));
        let nothing = Word::Holds {
            from: Seq::FIRST,
            durable: Seq(0),
            commit: Seq(0),
            round: 0,
        };
        primary.on_answer(OTHER, says(3, 2, nothing));
        let sent = |primary: &mut Primary| match primary.next_for(OTHER, 2, None) {
            Some(ToCopy::Append { prev, through, .. }) => (prev.seq, through),
            other => panic!("{other:?}"),
        };
        assert_eq!(sent(&mut primary), (Seq(0), Seq(2)));
        assert_eq!(sent(&mut primary), (Seq(2), Seq(3)));
        primary.on_answer(OTHER, says(3, 2, Word::Gap { end: Seq(0) }));
        assert_eq!(sent(&mut primary), (Seq(0), Seq(2)));
    }

    /// It has let go of what it held before, perhaps, and says so again only as a whole.
    #[test]
    fn a_copy_that_begins_with_a_file_counts_once_it_holds_all_that_the_file_begins_with() {
        let (rules, mut primary) = (Rules::correct(), primary());
        primary.on_framed(Seq(33));
        primary.on_synced(Seq(33));
        primary.file_begins(Seq(33));
        let holds = |durable| Word::Holds {
            from: Seq(26),
            durable: Seq(durable),
            commit: Seq::ZERO,
            round: 0,
        };
        for durable in [25, 26, 32] {
            primary.on_answer(OTHER, says(3, 2, holds(durable)));
            assert_eq!(primary.agreed(&rules), Seq::ZERO, "{durable}");
        }
        primary.on_answer(OTHER, says(3, 2, holds(33)));
        assert_eq!(primary.agreed(&rules), Seq(33));
    }
}
