//! A copy of a log: what it takes, what it cuts back, whom it refuses.

use super::assignment::NodeEpoch;
use super::epochs::Epochs;
use super::log::Log;
use super::message::{FromCopy, Position, ToCopy, Word};
use crate::ids::{Epoch, Seq};
use crate::rules::Rules;

/// A copy's view of its log.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Copy {
    node_epoch: NodeEpoch,
    /// The highest epoch that it has heard of. Its disk holds it before anything is said in it.
    epoch: Epoch,
    /// Its log was compared with the primary's in `epoch`, in this life.
    led: bool,
    epochs: Epochs,
    end: Seq,
    durable: Seq,
    commit: Seq,
    round: u64,
    quarantined: bool,
}

/// What is to be done with a message, in this order.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Taken {
    /// Cut the log back to this seq, durably.
    pub cut: Option<Seq>,
    /// Make the epoch durable before anything is said in it.
    pub adopt: Option<Epoch>,
    /// Append the message's records behind `.0` through `.1`.
    pub append: Option<(Seq, Seq)>,
    /// What is answered at once; records are answered when the disk holds them.
    pub answer: Option<FromCopy>,
}

impl Copy {
    /// A copy of a log as a start finds it, or as a primary leaves it that is none any more.
    #[must_use]
    pub fn open(node_epoch: NodeEpoch, epoch: Epoch, log: Log) -> Self {
        Self {
            node_epoch,
            epoch,
            led: false,
            epochs: log.epochs,
            end: log.end,
            durable: log.durable,
            commit: log.commit.min(log.end),
            round: 0,
            quarantined: false,
        }
    }

    /// The log as it is.
    #[must_use]
    pub fn log(&self) -> Log {
        Log {
            end: self.end,
            durable: self.durable,
            commit: self.commit,
            epochs: self.epochs.clone(),
        }
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

    /// The end of its log.
    #[must_use]
    pub const fn end(&self) -> Seq {
        self.end
    }

    /// The last seq that a crash would leave.
    #[must_use]
    pub const fn durable(&self) -> Seq {
        self.durable
    }

    /// What it knows as committed, and holds.
    #[must_use]
    pub const fn commit(&self) -> Seq {
        self.commit
    }

    /// The epochs of its log.
    #[must_use]
    pub const fn epochs(&self) -> &Epochs {
        &self.epochs
    }

    /// A message of a primary (rules 1 and 8).
    pub fn on_message(&mut self, rules: &Rules, message: &ToCopy) -> Taken {
        let nothing = Taken {
            cut: None,
            adopt: None,
            append: None,
            answer: None,
        };
        let epoch = message.epoch();
        if epoch < self.epoch {
            if rules.copies_fence_epochs {
                return nothing.answering(self.says(Word::Fenced));
            }
            (self.epoch, self.led) = (epoch, false);
        }
        if self.quarantined {
            return nothing.answering(self.says(Word::Quarantined));
        }
        let led = self.led && epoch == self.epoch;
        match message {
            ToCopy::Greet { .. } => nothing.answering(match led {
                true => self.holds(),
                false => self.says(Word::NotLed),
            }),
            ToCopy::Lead { to, .. } if *to != self.node_epoch && rules.members_are_stamped => {
                nothing.answering(self.says(Word::NotLed))
            }
            ToCopy::Lead {
                end,
                epochs,
                commit,
                ..
            } => self.on_lead(rules, epoch, (*end, epochs), *commit, nothing),
            ToCopy::Append {
                prev,
                through,
                epochs,
                commit,
                round,
                ..
            } => {
                if !led {
                    return nothing.answering(self.says(Word::NotLed));
                }
                self.round = self.round.max(*round);
                self.on_append((*prev, *through), epochs, *commit, nothing)
            }
        }
    }

    /// Its disk holds the log through `through`.
    pub fn on_synced(&mut self, through: Seq) -> Option<FromCopy> {
        self.durable = self.durable.max(through.min(self.end));
        self.led.then(|| self.holds())
    }

    fn on_lead(
        &mut self,
        rules: &Rules,
        epoch: Epoch,
        (end, epochs): (Seq, &Epochs),
        commit: Seq,
        nothing: Taken,
    ) -> Taken {
        let adopt = (epoch > self.epoch).then_some(epoch);
        if adopt.is_none() && self.led {
            // It was heard before; what came since follows it.
            return nothing.answering(self.holds());
        }
        let common = match rules.reconcile_by_epoch {
            true => epochs.common(end, &self.epochs, self.end),
            false => self.commit.min(end),
        };
        self.epoch = self.epoch.max(epoch);
        if common < self.commit && rules.committed_is_never_cut {
            self.quarantined = true;
            return Taken { adopt, ..nothing }.answering(self.says(Word::Quarantined));
        }
        self.led = true;
        self.round = 0;
        let cut = (common < self.end).then_some(common);
        self.end = common.min(self.end);
        self.durable = self.durable.min(self.end);
        // Also the epochs without a record, in which it was primary itself: records of earlier
        // ones may follow.
        self.epochs.cut(self.end);
        self.learn(commit);
        Taken {
            cut,
            adopt,
            ..nothing
        }
        .answering(self.holds())
    }

    fn on_append(
        &mut self,
        (prev, through): (Position, Seq),
        epochs: &Epochs,
        commit: Seq,
        nothing: Taken,
    ) -> Taken {
        let follows = prev.seq <= self.end && self.epochs.at(prev.seq) == prev.epoch;
        if !follows {
            return nothing.answering(self.says(Word::Gap {
                end: self.end.min(prev.seq.prev()),
            }));
        }
        let after = self.end;
        let append = (through > after).then_some((after, through));
        if append.is_some() {
            for (epoch, first) in epochs.within(after, through).entries() {
                self.epochs.note(*epoch, *first);
            }
            self.end = through;
        }
        self.learn(commit);
        let taken = Taken { append, ..nothing };
        match append {
            Some(_) => taken,
            None => taken.answering(self.holds()),
        }
    }

    fn learn(&mut self, commit: Seq) {
        self.commit = self.commit.max(commit.min(self.end));
    }

    const fn holds(&self) -> FromCopy {
        self.says(Word::Holds {
            durable: self.durable,
            round: self.round,
        })
    }

    const fn says(&self, word: Word) -> FromCopy {
        FromCopy {
            epoch: self.epoch,
            node_epoch: self.node_epoch,
            word,
        }
    }
}

impl Taken {
    fn answering(self, answer: FromCopy) -> Self {
        Self {
            answer: Some(answer),
            ..self
        }
    }
}
