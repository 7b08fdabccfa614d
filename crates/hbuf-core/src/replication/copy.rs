//! A copy of a log: what it takes, what it cuts back, whom it refuses.

use super::assignment::NodeEpoch;
use super::epochs::Epochs;
use super::filling::{Fill, Filling};
use super::log::Log;
use super::message::{FromCopy, HistoryEnd, Position, ToCopy, Word};
use crate::ids::{Epoch, Seq};
use crate::rules::Rules;

/// A copy's view of its log.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Copy {
    node_epoch: NodeEpoch,
    /// The highest epoch that it has heard of. It begins with that of the manager's record when the
    /// node registered, so it need not be on disk.
    epoch: Epoch,
    /// Its log was compared with the primary's in `epoch`, in this life.
    led: bool,
    log: Log,
    round: u64,
    quarantined: bool,
    /// What the newest mark covers that it took in this life.
    marked: Seq,
    /// The segment of before its first that it takes just now.
    pub(super) filling: Option<Filling>,
    /// Its tenure.
    tenure: u64,
    /// Damage was found in it: it says nothing of what it holds until it begins anew.
    damaged: bool,
}

/// What is to be done with a message, in this order.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Taken {
    /// Cut the log back to this seq, durably; nothing of it stays when that is before its first.
    pub cut: Option<Seq>,
    /// Give the log up and begin another one behind this seq, durably.
    pub begin: Option<Seq>,
    /// Take the mark that came with the message, which covers the log from `.1` through `.0`.
    pub mark: Option<(Seq, Seq)>,
    /// Then drop what is before this seq, whole segments of it.
    pub drop: Option<Seq>,
    /// Append the message's records behind `.0` through `.1`.
    pub append: Option<(Seq, Seq)>,
    /// Put the message's records into a segment of before the first.
    pub fill: Option<Fill>,
    /// What is answered at once; records are answered when the disk holds them.
    pub answer: Option<FromCopy>,
}

impl Copy {
    /// A copy of a log as a start finds it, or as a primary leaves it that is none any more.
    /// `epoch` is the highest that the node knows of: at a start, that of the manager's record as
    /// of the registration, so that nobody who led before it is believed (rule 10).
    #[must_use]
    pub fn open(node_epoch: NodeEpoch, epoch: Epoch, log: Log) -> Self {
        Self::of_tenure(node_epoch, epoch, log, 0)
    }

    /// The same of one that was added or began anew in this registration: of this tenure, as in
    /// [`super::Assignment::tenures`].
    #[must_use]
    pub fn of_tenure(node_epoch: NodeEpoch, epoch: Epoch, log: Log, tenure: u64) -> Self {
        Self {
            node_epoch,
            epoch,
            led: false,
            log: Log {
                commit: log.commit.min(log.end),
                ..log
            },
            round: 0,
            quarantined: false,
            marked: Seq::ZERO,
            filling: None,
            tenure,
            damaged: false,
        }
    }

    /// Damage was found: it answers nothing of what it holds from now on.
    pub const fn spoil(&mut self) {
        (self.damaged, self.led) = (true, false);
    }

    /// Whether it waits to begin anew.
    #[must_use]
    pub const fn damaged(&self) -> bool {
        self.damaged
    }

    /// Its tenure; 0 for that of the buffer's beginning or of its registration.
    #[must_use]
    pub const fn tenure(&self) -> u64 {
        self.tenure
    }

    /// What it holds begins here from now on.
    pub(super) const fn begins_at(&mut self, first: Seq) {
        self.log.from = first;
    }

    /// Whether its log was compared with the primary's in this epoch and life.
    pub(super) const fn led(&self) -> bool {
        self.led
    }

    /// Begins anew with an empty log, in a tenure in which it is none of the in-sync set.
    pub fn begin_anew(&mut self, tenure: u64) {
        *self = Self::of_tenure(self.node_epoch, self.epoch, Log::default(), tenure);
    }

    /// The log as it is.
    #[must_use]
    pub const fn log(&self) -> &Log {
        &self.log
    }

    /// Its registration.
    #[must_use]
    pub const fn node_epoch(&self) -> NodeEpoch {
        self.node_epoch
    }

    /// Whether it takes nothing more, for somebody to look.
    #[must_use]
    pub const fn quarantined(&self) -> bool {
        self.quarantined
    }

    /// The highest epoch that it has heard of.
    #[must_use]
    pub const fn epoch(&self) -> Epoch {
        self.epoch
    }

    /// Somebody leads in this epoch, as another log of the buffer was told.
    pub fn hears_of(&mut self, epoch: Epoch) {
        if epoch > self.epoch {
            (self.epoch, self.led) = (epoch, false);
        }
    }

    /// A message of a primary (rules 1 and 8).
    pub fn on_message(&mut self, rules: &Rules, message: &ToCopy) -> Taken {
        let nothing = Taken {
            cut: None,
            begin: None,
            mark: None,
            drop: None,
            append: None,
            fill: None,
            answer: None,
        };
        let epoch = message.epoch();
        if epoch < self.epoch {
            if rules.copies_fence_epochs {
                return nothing.answering(self.says(Word::Fenced));
            }
            (self.epoch, self.led) = (epoch, false);
        }
        if self.damaged {
            self.hears_of(epoch);
            return nothing.answering(self.says(Word::NotLed));
        }
        if self.quarantined {
            return nothing.answering(self.says(Word::Quarantined));
        }
        let led = self.led && epoch == self.epoch;
        match message {
            ToCopy::Greet { .. } if led => nothing.answering(self.holds(rules)),
            ToCopy::Greet { .. } => nothing.answering(self.says(Word::NotLed)),
            ToCopy::Lead { to, .. } | ToCopy::Begin { to, .. }
                if *to != self.node_epoch && rules.leads_name_a_life =>
            {
                nothing.answering(self.says(Word::NotLed))
            }
            ToCopy::Lead {
                end,
                epochs,
                commit,
                ended,
                ..
            } => {
                let lost = self.forget_lost(rules, epoch, ended);
                let taken = self.on_lead(rules, epoch, (*end, epochs), *commit, nothing);
                self.cut_whole(rules, taken, lost)
            }
            _ if !led => nothing.answering(self.says(Word::NotLed)),
            _ => self.on_led(rules, message, nothing),
        }
    }

    /// What only a copy takes whose log was compared with the primary's.
    fn on_led(&mut self, rules: &Rules, message: &ToCopy, nothing: Taken) -> Taken {
        match message {
            ToCopy::Greet { .. } | ToCopy::Lead { .. } => nothing,
            // What was under way while the log grew is needed no more.
            ToCopy::Begin { at, .. } if *at <= self.log.end => nothing.answering(self.holds(rules)),
            ToCopy::Begin {
                at, epochs, commit, ..
            } => self.on_begin(rules, (*at, epochs), *commit, nothing),
            ToCopy::Mark { at, first, .. } => self.on_mark(*at, *first, nothing),
            ToCopy::Fill {
                first,
                last,
                after,
                through,
                ..
            } => self.on_fill(rules, (*first, *last), (*after, *through), nothing),
            ToCopy::Append {
                prev,
                through,
                epochs,
                commit,
                round,
                ..
            } => {
                self.round = self.round.max(*round);
                self.on_append(rules, (*prev, *through), epochs, *commit, nothing)
            }
        }
    }

    /// Its disk holds the log through `through` (rule 2).
    pub fn on_synced(&mut self, rules: &Rules, through: Seq) -> Option<FromCopy> {
        self.log.durable = self.log.durable.max(through.min(self.log.end));
        self.led.then(|| self.holds(rules))
    }

    /// What it knew as committed in a history that a forced election ended is lost behind what was
    /// kept of that, and so may be cut (rule 13). The manager's record says so, and nothing else.
    /// Says whether there was anything.
    fn forget_lost(&mut self, rules: &Rules, epoch: Epoch, ended: &[HistoryEnd]) -> bool {
        if (epoch <= self.epoch && self.led) || !rules.forced_loss_is_told {
            return false;
        }
        let before = self.log.commit;
        let ended = ended.iter().copied();
        self.log.commit = HistoryEnd::kept_of(ended, before, self.log.epochs.at(before));
        self.log.commit < before
    }

    /// A log that began near the tail is of no use without the mark with which it began, which may
    /// vouch for what is lost: nothing of it stays.
    fn cut_whole(&mut self, rules: &Rules, taken: Taken, lost: bool) -> Taken {
        if !lost || taken.cut.is_none() || self.log.from == Seq::FIRST {
            return taken;
        }
        self.log = Log::default();
        self.filling = None;
        let cut = Some(Seq::ZERO);
        Taken { cut, ..taken }.answering(self.holds(rules))
    }

    fn on_begin(
        &mut self,
        rules: &Rules,
        (at, epochs): (Seq, &Epochs),
        commit: Seq,
        nothing: Taken,
    ) -> Taken {
        // Also what it knew before stays known.
        let commit = self.log.commit.max(commit).min(at);
        self.filling = None;
        self.log = Log {
            commit,
            ..Log::behind(at, epochs.clone())
        };
        let begin = Some(at);
        Taken { begin, ..nothing }.answering(self.holds(rules))
    }

    fn on_lead(
        &mut self,
        rules: &Rules,
        epoch: Epoch,
        (end, epochs): (Seq, &Epochs),
        commit: Seq,
        nothing: Taken,
    ) -> Taken {
        if epoch <= self.epoch && self.led {
            // It was heard before; what came since follows it.
            return nothing.answering(self.holds(rules));
        }
        let common = match rules.reconcile_by_epoch {
            true => epochs.common(end, &self.log.epochs, self.log.end),
            false => self.log.commit.min(end),
        };
        self.epoch = self.epoch.max(epoch);
        if common < self.log.commit && rules.committed_is_never_cut {
            self.quarantined = true;
            return nothing.answering(self.says(Word::Quarantined));
        }
        self.led = true;
        self.round = 0;
        let cut = (common < self.log.end).then_some(common);
        self.filling = self.filling.filter(|_| common >= self.log.from.prev());
        self.log.cut(common.min(self.log.end));
        self.learn(commit);
        Taken { cut, ..nothing }.answering(self.holds(rules))
    }

    fn on_append(
        &mut self,
        rules: &Rules,
        (prev, through): (Position, Seq),
        epochs: &Epochs,
        commit: Seq,
        nothing: Taken,
    ) -> Taken {
        let follows = prev.seq <= self.log.end && self.log.epochs.at(prev.seq) == prev.epoch;
        if !follows && rules.copies_take_what_follows {
            return nothing.answering(self.says(Word::Gap {
                end: self.log.end.min(prev.seq.prev()),
            }));
        }
        let after = self.log.end;
        // With the rule bent, they are put wherever the log ends.
        let through = match follows {
            true => through,
            false => after.plus(through.0 - prev.seq.0),
        };
        let append = (through > after).then_some((after, through));
        if append.is_some() {
            for (epoch, first) in epochs.within(after, through).entries() {
                self.log.epochs.note(*epoch, *first);
            }
            self.log.end = through;
        }
        self.learn(commit);
        let taken = Taken { append, ..nothing };
        match append {
            Some(_) if rules.copies_answer_by_disk => taken,
            _ => taken.answering(self.holds(rules)),
        }
    }

    /// A mark vouches for what a crash would leave, and for no log but the one of which it is: it
    /// is taken when the disk holds all that it covers, and once.
    fn on_mark(&mut self, at: Seq, first: Seq, nothing: Taken) -> Taken {
        let news = at > self.marked && at <= self.log.durable && at >= self.log.from;
        let drop = Some(first.min(at)).filter(|first| news && *first > self.log.from);
        if news {
            self.marked = at;
        }
        if let Some(first) = drop {
            self.log.from = first;
            self.filling = None;
        }
        // What was filled in counts for the mark as soon as it is to be on disk: that comes first.
        let filled = self.filling.filter(|filling| filling.whole);
        let from = filled.map_or(self.log.from, |filling| filling.first);
        let mark = news.then_some((at, from));
        Taken {
            mark,
            drop,
            ..nothing
        }
        .answering(self.says(Word::Marked { at }))
    }

    /// What is committed is known as soon as all of it is here: a part could be a part of a batch.
    fn learn(&mut self, commit: Seq) {
        if commit <= self.log.end {
            self.log.commit = self.log.commit.max(commit);
        }
    }

    pub(super) const fn holds(&self, rules: &Rules) -> FromCopy {
        let durable = match rules.copies_answer_by_disk {
            true => self.log.durable,
            false => self.log.end,
        };
        let Log { from, commit, .. } = self.log;
        let round = self.round;
        self.says(Word::Holds {
            from,
            durable,
            commit,
            round,
        })
    }

    pub(super) const fn says(&self, word: Word) -> FromCopy {
        FromCopy {
            epoch: self.epoch,
            node_epoch: self.node_epoch,
            tenure: self.tenure,
            word,
        }
    }
}

impl Taken {
    pub(super) fn answering(self, answer: FromCopy) -> Self {
        Self {
            answer: Some(answer),
            ..self
        }
    }
}

#[cfg(test)]
mod tests {
    use alloc::vec;

    use super::*;

    const SELF: NodeEpoch = NodeEpoch(7);

    /// A copy of epoch 1 with five records, of which so many are known as committed.
    fn copy(commit: u64) -> Copy {
        let log = Log {
            from: Seq::FIRST,
            end: Seq(5),
            durable: Seq(5),
            commit: Seq(commit),
            epochs: Epochs::of(vec![(Epoch(1), Seq(1))]),
        };
        Copy::open(SELF, Epoch(1), log)
    }

    /// The first word of a primary of epoch 2 whose log of epoch 1 ends at `end`.
    fn lead(to: NodeEpoch, end: u64) -> ToCopy {
        ToCopy::Lead {
            epoch: Epoch(2),
            to,
            end: Seq(end),
            epochs: Epochs::of(vec![(Epoch(1), Seq(1))]),
            commit: Seq(0),
            ended: vec![],
        }
    }

    fn append(prev: (u64, u32), through: u64) -> ToCopy {
        let prev = Position {
            seq: Seq(prev.0),
            epoch: Epoch(prev.1),
        };
        ToCopy::Append {
            epoch: Epoch(2),
            prev,
            through: Seq(through),
            epochs: Epochs::of(vec![(Epoch(2), prev.seq.next())]),
            commit: Seq(0),
            round: 0,
        }
    }

    fn holds(durable: Seq, commit: u64) -> Word {
        Word::Holds {
            from: Seq::FIRST,
            durable,
            commit: Seq(commit),
            round: 0,
        }
    }

    fn word(taken: Taken) -> Word {
        taken.answer.expect("it answers at once").word
    }

    #[test]
    fn what_is_known_as_committed_is_never_cut_and_nothing_is_taken_any_more() {
        let (rules, mut copy) = (Rules::correct(), copy(4));
        let taken = copy.on_message(&rules, &lead(SELF, 3));
        assert_eq!((taken.cut, copy.epoch()), (None, Epoch(2)));
        assert_eq!(word(taken), Word::Quarantined);
        assert!(copy.quarantined());
        assert_eq!(copy.log().end, Seq(5));
        let taken = copy.on_message(&rules, &append((5, 1), 6));
        assert_eq!((taken.append, word(taken)), (None, Word::Quarantined));
    }

    /// The file that it begins with may say again what is not committed.
    #[test]
    fn a_copy_that_begins_anew_knows_no_more_as_committed_than_it_is_told() {
        let (rules, mut copy) = (Rules::correct(), copy(2));
        copy.on_message(&rules, &lead(SELF, 5));
        let begin = ToCopy::Begin {
            epoch: Epoch(2),
            to: SELF,
            at: Seq(25),
            epochs: Epochs::of(vec![(Epoch(1), Seq(1))]),
            commit: Seq(20),
        };
        let taken = copy.on_message(&rules, &begin);
        assert_eq!(taken.begin, Some(Seq(25)));
        assert_eq!((copy.log().end, copy.log().commit), (Seq(25), Seq(20)));
        // The next primary may not have come so far.
        let taken = copy.on_message(
            &rules,
            &ToCopy::Lead {
                epoch: Epoch(3),
                to: SELF,
                end: Seq(22),
                epochs: Epochs::of(vec![(Epoch(1), Seq(1))]),
                commit: Seq(20),
                ended: vec![],
            },
        );
        assert!(!copy.quarantined());
        assert_eq!(taken.cut, Some(Seq(22)));
    }

    #[test]
    fn a_damaged_copy_says_nothing_of_what_it_holds_until_it_began_anew() {
        let (rules, mut copy) = (Rules::correct(), copy(4));
        copy.on_message(&rules, &lead(SELF, 5));
        copy.spoil();
        assert_eq!(copy.on_synced(&rules, Seq(5)), None);
        let taken = copy.on_message(&rules, &append((5, 1), 6));
        assert_eq!((taken.append, word(taken)), (None, Word::NotLed));
        copy.begin_anew(9);
        assert_eq!((copy.log(), copy.epoch()), (&Log::default(), Epoch(2)));
        let answer = copy.on_message(&rules, &lead(SELF, 5)).answer.unwrap();
        assert_eq!((answer.tenure, answer.word), (9, holds(Seq(0), 0)));
    }

    #[test]
    fn a_mark_is_taken_when_the_disk_holds_what_it_covers_and_retention_goes_with_it() {
        let (rules, mut copy) = (Rules::correct(), copy(4));
        let mark = |at, first| ToCopy::Mark {
            epoch: Epoch(2),
            at: Seq(at),
            first: Seq(first),
        };
        assert_eq!(word(copy.on_message(&rules, &mark(4, 1))), Word::NotLed);
        copy.on_message(&rules, &lead(SELF, 5));
        copy.on_message(&rules, &append((5, 1), 7));
        let early = copy.on_message(&rules, &mark(6, 3));
        assert_eq!((early.mark, copy.log().from), (None, Seq(1)));
        assert_eq!(word(early), Word::Marked { at: Seq(6) });
        copy.on_synced(&rules, Seq(7));
        let taken = copy.on_message(&rules, &mark(6, 3));
        assert_eq!(taken.mark, Some((Seq(6), Seq(3))));
        assert_eq!(taken.drop, Some(Seq(3)));
        assert_eq!(copy.log().from, Seq(3));
        assert_eq!(copy.on_message(&rules, &mark(6, 3)).mark, None, "once");
    }

    #[test]
    fn what_a_forced_election_lost_is_cut_although_it_was_known_as_committed() {
        let told = |to: u64, epoch: u32, kept: u64| {
            let mut lead = lead(SELF, to);
            let ToCopy::Lead { ended, .. } = &mut lead else {
                unreachable!("it is one");
            };
            ended.push(HistoryEnd {
                epoch: Epoch(epoch),
                kept_through: Seq(kept),
            });
            lead
        };
        let rules = Rules::correct();
        let mut it = copy(5);
        let taken = it.on_message(&rules, &told(3, 1, 3));
        assert_eq!((taken.cut, it.log().commit), (Some(Seq(3)), Seq(3)));
        assert!(!it.quarantined());
        // It says nothing of what was committed since, nor of more than it says.
        for told in [told(3, 0, 3), told(3, 1, 4)] {
            let mut it = copy(5);
            assert_eq!(word(it.on_message(&rules, &told)), Word::Quarantined);
        }
        let bent = Rules {
            forced_loss_is_told: false,
            ..rules
        };
        let mut it = copy(5);
        assert_eq!(
            word(it.on_message(&bent, &told(3, 1, 3))),
            Word::Quarantined
        );
        // Without the mark with which it began, a log near the tail is none.
        let mut it = copy(5);
        it.log.from = Seq(2);
        let taken = it.on_message(&rules, &told(3, 1, 3));
        assert_eq!((taken.cut, it.log()), (Some(Seq::ZERO), &Log::default()));
        assert_eq!(word(taken), holds(Seq(0), 0));
    }

    #[test]
    fn what_nobody_knows_as_committed_is_cut_before_anything_is_said() {
        let (rules, mut copy) = (Rules::correct(), copy(2));
        let taken = copy.on_message(&rules, &lead(SELF, 3));
        assert_eq!((taken.cut, copy.epoch()), (Some(Seq(3)), Epoch(2)));
        let durable = Seq(3);
        assert_eq!(word(taken), holds(durable, 2));
    }

    #[test]
    fn a_first_word_for_an_earlier_life_cuts_nothing() {
        let (rules, mut copy) = (Rules::correct(), copy(0));
        let taken = copy.on_message(&rules, &lead(NodeEpoch(6), 1));
        assert_eq!((taken.cut, word(taken)), (None, Word::NotLed));
        assert_eq!(copy.log().end, Seq(5));
    }

    #[test]
    fn records_are_taken_behind_the_log_only_and_answered_by_the_disk() {
        let (rules, mut copy) = (Rules::correct(), copy(0));
        let early = copy.on_message(&rules, &append((5, 1), 6));
        assert_eq!(word(early), Word::NotLed);
        copy.on_message(&rules, &lead(SELF, 5));
        let gap = copy.on_message(&rules, &append((6, 2), 7));
        assert_eq!(word(gap), Word::Gap { end: Seq(5) });
        let taken = copy.on_message(&rules, &append((5, 1), 6));
        assert_eq!((taken.append, taken.answer), (Some((Seq(5), Seq(6))), None));
        let durable = Seq(6);
        let said = copy.on_synced(&rules, durable).map(|answer| answer.word);
        assert_eq!(said, Some(holds(durable, 0)));
        let old = ToCopy::Greet { epoch: Epoch(1) };
        assert_eq!(word(copy.on_message(&rules, &old)), Word::Fenced);
    }
}
