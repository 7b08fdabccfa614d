//! Linearizability of operations on one object: is there an order that explains all answers, in
//! which whatever ended before another thing began also comes before it?
//!
//! The search is that of Wing and Gong (1993) with Lowe's memory of what was tried ("Testing for
//! linearizability", 2017): operations are put in order one by one, each before the first answer
//! that is still to be explained; what was put there together with the state that it left is not
//! tried twice. Objects are independent of each other, so each key is searched for itself
//! ([`check_by_key`]).
//!
//! Operations without an answer may be put in at any time after they began, or left out. They are
//! put in only where the answered ones alone lead no further, shortest runs first; and a way that
//! used up more of them than another one to the same place is not followed. Without both, a few
//! dozen lost replies would make the search endless.
//!
//! The search is bounded by a number of steps. When they run out nothing is said: that is an
//! outcome of its own ([`Verdict::Undecided`]) and never counts as passed.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use super::operation::{Moment, OpId, Operation, Outcome};
use super::search::{Found, Search};

/// What an object does, as if nothing else happened at the same time.
pub trait Model {
    /// All that its answers depend on.
    type State: Clone + Ord + fmt::Display;
    /// What can be asked of it.
    type Call: Clone + fmt::Display;
    /// What it may answer.
    type Answer: Clone + fmt::Display;

    /// The state before the first operation.
    fn initial(&self) -> Self::State;

    /// The state behind a call that got this answer; `None` when it cannot be answered so here.
    /// Without an answer: the state behind it, whatever the answer would have been.
    fn step(
        &self,
        state: &Self::State,
        call: &Self::Call,
        answer: Option<&Self::Answer>,
    ) -> Option<Self::State>;

    /// Whether a call cannot get this answer in any state that may follow this one, however much
    /// happens before. Known early, this spares the search from trying all that could come
    /// between; to say `false` is always right.
    fn never(&self, state: &Self::State, call: &Self::Call, answer: &Self::Answer) -> bool {
        let _ = (state, call, answer);
        false
    }
}

/// An operation of a model.
pub type OperationOf<M> = Operation<<M as Model>::Call, <M as Model>::Answer>;

/// What the search says of one object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// There is such an order.
    Linearizable {
        /// Steps of the model that the search took.
        steps: u64,
    },
    /// There is none.
    Broken(Box<Offence>),
    /// The steps ran out before an order was found or excluded. Not a pass.
    Undecided {
        /// Steps that were taken: all that were allowed.
        steps: u64,
    },
}

/// Answers that no order explains.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Offence {
    /// The answer up to which an order can be found no more.
    pub last: OpId,
    /// The shortest prefix of the history without an order: all that began before that answer came.
    pub prefix: Vec<OpId>,
    /// An order of what was answered before it.
    pub order: Vec<OpId>,
    /// Surely the shortest; otherwise the steps ran out while shorter ones were tried.
    pub shortest: bool,
    /// The same in words.
    pub what: String,
}

/// What the search says of each of many objects.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// The verdict of each key.
    pub keys: BTreeMap<String, Verdict>,
}

impl Report {
    /// True when every key is linearizable: undecided is not.
    #[must_use]
    pub fn passed(&self) -> bool {
        let passed = |verdict: &Verdict| matches!(verdict, Verdict::Linearizable { .. });
        self.keys.values().all(passed)
    }

    /// The keys whose answers no order explains.
    pub fn broken(&self) -> impl Iterator<Item = (&str, &Offence)> {
        self.keys.iter().filter_map(|(key, verdict)| match verdict {
            Verdict::Broken(offence) => Some((key.as_str(), &**offence)),
            Verdict::Linearizable { .. } | Verdict::Undecided { .. } => None,
        })
    }

    /// The keys of which nothing can be said.
    pub fn undecided(&self) -> impl Iterator<Item = &str> {
        let undecided = |verdict: &Verdict| matches!(verdict, Verdict::Undecided { .. });
        let keys = self.keys.iter();
        keys.filter_map(move |(key, verdict)| undecided(verdict).then_some(key.as_str()))
    }

    /// Steps of the model over all keys, those of broken ones aside.
    #[must_use]
    pub fn steps(&self) -> u64 {
        let steps = |verdict: &Verdict| match verdict {
            Verdict::Linearizable { steps } | Verdict::Undecided { steps } => *steps,
            Verdict::Broken(_) => 0,
        };
        self.keys.values().map(steps).sum()
    }
}

/// Judges operations of many objects, each by itself, with at most `steps_max` steps for one.
///
/// # Panics
///
/// As [`check`] does.
pub fn check_by_key<'a, M>(
    model: &M,
    operations: impl IntoIterator<Item = (&'a str, &'a OperationOf<M>)>,
    steps_max: u64,
) -> Report
where
    M: Model,
    M::Call: 'a,
    M::Answer: 'a,
{
    let mut keys: BTreeMap<String, Vec<&OperationOf<M>>> = BTreeMap::new();
    for (key, operation) in operations {
        keys.entry(key.to_owned()).or_default().push(operation);
    }
    let verdicts = keys.into_iter().map(|(key, operations)| {
        let verdict = check(model, &operations, steps_max);
        (key, verdict)
    });
    Report {
        keys: verdicts.collect(),
    }
}

/// Judges the operations of one object, in any order, with at most `steps_max` steps of the model
/// for one search. Of a history that has no order the shortest prefix without one is searched for,
/// by halves, each with as many steps.
///
/// # Panics
///
/// When an operation ends before it begins, or two have the same number.
pub fn check<M: Model>(model: &M, operations: &[&OperationOf<M>], steps_max: u64) -> Verdict {
    let mut numbers = BTreeSet::new();
    for operation in operations {
        let (id, end) = (operation.id, operation.outcome.end());
        assert!(
            end.is_none_or(|end| operation.begin <= end),
            "{id} ends before it begins"
        );
        assert!(numbers.insert(id), "there are two of {id}");
    }
    let history = Answers::new(operations);
    match history.search(model, history.count(), steps_max) {
        (Found::Order(_), steps) => Verdict::Linearizable { steps },
        (Found::OutOfSteps, steps) => Verdict::Undecided { steps },
        (Found::None, _) => Verdict::Broken(Box::new(history.shorten(model, steps_max))),
    }
}

/// The operations of one object by the order of their answers, so that a prefix is a number.
struct Answers<'a, M: Model> {
    /// Answered, the earliest answer first.
    answered: Vec<(Moment, &'a OperationOf<M>)>,
    /// Nobody knows what came of these.
    pending: Vec<&'a OperationOf<M>>,
}

impl<'a, M: Model> Answers<'a, M> {
    fn new(operations: &[&'a OperationOf<M>]) -> Self {
        let mut answered = Vec::new();
        let mut pending = Vec::new();
        for operation in operations {
            match &operation.outcome {
                Outcome::Answered { end, .. } => answered.push((*end, *operation)),
                Outcome::Unknown => pending.push(*operation),
                Outcome::Failed { .. } => {}
            }
        }
        answered.sort_by_key(|(end, operation)| (*end, operation.id));
        Self { answered, pending }
    }

    const fn count(&self) -> usize {
        self.answered.len()
    }

    /// Searches for an order of the first `count` answers. What had begun by then and was answered
    /// later had no answer yet.
    fn search(&self, model: &M, count: usize, steps_max: u64) -> (Found<M::State>, u64) {
        let (answered, later) = self.answered.split_at(count);
        let until = self.until(count);
        let open = later.iter().map(|(_, operation)| *operation);
        let begun = open
            .chain(self.pending.iter().copied())
            .filter(|it| it.begin <= until);
        let answered = answered.iter().map(|(_, operation)| *operation);
        Search::new(model, answered.collect(), begun.collect(), steps_max).run()
    }

    /// The moment in which a prefix ends.
    fn until(&self, count: usize) -> Moment {
        let last = count.checked_sub(1).map(|last| self.answered[last].0);
        last.unwrap_or_default()
    }

    /// The shortest prefix without an order, given that the whole has none: what has none has none
    /// with more behind it either, so halving finds it.
    fn shorten(&self, model: &M, steps_max: u64) -> Offence {
        let (mut has, mut has_none) = (0, self.count());
        let mut shortest = true;
        while has_none - has > 1 {
            let middle = has + (has_none - has) / 2;
            match self.search(model, middle, steps_max).0 {
                Found::None => has_none = middle,
                Found::Order(_) => has = middle,
                Found::OutOfSteps => (has, shortest) = (middle, false),
            }
        }
        let (order, state) = match self.search(model, has_none - 1, steps_max).0 {
            Found::Order(order) => (order.operations, order.state),
            Found::None | Found::OutOfSteps => (Vec::new(), model.initial()),
        };
        self.offence(has_none, order, &state, shortest)
    }

    fn offence(&self, count: usize, order: Vec<OpId>, state: &M::State, shortest: bool) -> Offence {
        let last = self.answered[count - 1].1;
        let until = self.until(count);
        let all = self.answered.iter().map(|(_, operation)| *operation);
        let all = all.chain(self.pending.iter().copied());
        let begun: Vec<_> = all.filter(|it| it.begin <= until).collect();
        let meanwhile = begun
            .iter()
            .filter(|it| it.id != last.id && !it.precedes(last));
        let meanwhile: Vec<_> = meanwhile.map(ToString::to_string).collect();
        let beside = match meanwhile.len() {
            0 => "nothing ran beside it".to_owned(),
            _ => format!("beside it ran: {}", meanwhile.join("; ")),
        };
        let doubt = match shortest {
            true => "",
            false => " (a shorter prefix may have none either: the steps ran out)",
        };
        let what = format!(
            "no order explains the first {count} answers{doubt}; the last of them is {last}; before \
             it the state can be: {state}; {beside}"
        );
        Offence {
            last: last.id,
            prefix: begun.iter().map(|it| it.id).collect(),
            order,
            shortest,
            what,
        }
    }
}
