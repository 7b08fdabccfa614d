//! The search for an order of one object's operations. `linear.rs` says what it is for.

use std::collections::BTreeMap;

use super::linear::{Model, OperationOf};
use super::operation::{Moment, OpId};

/// What a search ends with.
pub(super) enum Found<S> {
    /// An order that explains every answer.
    Order(Order<S>),
    /// There is none.
    None,
    /// The steps ran out.
    OutOfSteps,
}

/// An order, and the state behind it.
pub(super) struct Order<S> {
    pub(super) operations: Vec<OpId>,
    pub(super) state: S,
}

/// One search.
pub(super) struct Search<'a, M: Model> {
    model: &'a M,
    /// By their beginnings.
    answered: Vec<&'a OperationOf<M>>,
    /// By their beginnings, the latest first: what a read shows is mostly fresh.
    pending: Vec<&'a OperationOf<M>>,
    timeline: Timeline,
    placed: Bits,
    places: Vec<Place<M::State>>,
    /// The ways that led to what was placed and the state behind it: which pending operations each
    /// used up, none more than another.
    tried: BTreeMap<(Window, M::State), Vec<Bits>>,
    steps: u64,
    steps_max: u64,
}

/// A place in the order: what may come next, and what was tried of it.
struct Place<S> {
    /// The answered operation that led here; none at the beginning.
    by: Option<usize>,
    /// The run of pending operations before it.
    run: Vec<usize>,
    /// The state here, and behind it those that runs of pending operations lead to.
    runs: Vec<Run<S>>,
    /// The run that is tried.
    at: usize,
    /// How many of them were looked at for longer runs.
    expanded: usize,
    /// The event of the timeline at which trying goes on.
    event: usize,
}

/// Pending operations one after the other.
struct Run<S> {
    state: S,
    used: Bits,
    path: Vec<usize>,
}

/// What a place gives next.
enum Next<S> {
    Placed {
        by: usize,
        run: Vec<usize>,
        state: S,
        used: Bits,
    },
    Blocked,
    OutOfSteps,
}

impl<'a, M: Model> Search<'a, M> {
    pub(super) fn new(
        model: &'a M,
        mut answered: Vec<&'a OperationOf<M>>,
        mut pending: Vec<&'a OperationOf<M>>,
        steps_max: u64,
    ) -> Self {
        answered.sort_by_key(|it| (it.begin, it.id));
        pending.sort_by_key(|it| std::cmp::Reverse((it.begin, it.id)));
        let spans = answered.iter().map(|it| {
            let end = it.outcome.end().expect("only answered operations are here");
            (it.begin, end)
        });
        let timeline = Timeline::new(&spans.collect::<Vec<_>>());
        let first = Place::new(None, Vec::new(), model.initial(), Bits::default());
        Self {
            model,
            placed: Bits::default(),
            timeline,
            answered,
            pending,
            places: vec![first],
            tried: BTreeMap::new(),
            steps: 0,
            steps_max,
        }
    }

    /// Searches to the end; with the steps that it took.
    pub(super) fn run(mut self) -> (Found<M::State>, u64) {
        loop {
            if self.timeline.is_empty() {
                let order = self.order();
                return (Found::Order(order), self.steps);
            }
            match self.next() {
                Next::Placed {
                    by,
                    run,
                    state,
                    used,
                } => {
                    self.placed.set(by);
                    self.timeline.lift(by);
                    if !self.is_dead(&state) && self.is_new(&state, &used) {
                        self.places.push(Place::new(Some(by), run, state, used));
                    } else {
                        self.timeline.put_back(by);
                        self.placed.clear(by);
                    }
                }
                Next::Blocked => {
                    let place = self.places.pop().expect("the first one has no `by`");
                    let Some(by) = place.by else {
                        return (Found::None, self.steps);
                    };
                    self.timeline.put_back(by);
                    self.placed.clear(by);
                }
                Next::OutOfSteps => return (Found::OutOfSteps, self.steps),
            }
        }
    }

    /// The next operation that can come at the last place.
    fn next(&mut self) -> Next<M::State> {
        loop {
            let place = self.places.last_mut().expect("there is the first one");
            if place.event == START {
                place.event = self.timeline.first();
            }
            let Some(by) = self.timeline.called(place.event) else {
                // An answer: whatever began later comes behind it. A longer run, or nothing.
                match self.next_run() {
                    Some(true) => continue,
                    Some(false) => return Next::Blocked,
                    None => return Next::OutOfSteps,
                }
            };
            place.event = self.timeline.after(place.event);
            if self.steps == self.steps_max {
                return Next::OutOfSteps;
            }
            self.steps += 1;
            let (run, operation) = (&place.runs[place.at], self.answered[by]);
            let answer = operation.outcome.answer();
            if let Some(state) = self.model.step(&run.state, &operation.call, answer) {
                return Next::Placed {
                    by,
                    run: run.path.clone(),
                    state,
                    used: run.used.clone(),
                };
            }
        }
    }

    /// Goes to the next run of pending operations; false when there is none, `None` when the steps
    /// ran out.
    fn next_run(&mut self) -> Option<bool> {
        let limit = self.timeline.first_answer();
        let place = self.places.last_mut().expect("there is the first one");
        place.event = START;
        place.at += 1;
        while place.at == place.runs.len() && place.expanded < place.runs.len() {
            let from = place.expanded;
            place.expanded += 1;
            for (number, operation) in self.pending.iter().enumerate() {
                let run = &place.runs[from];
                if operation.begin > limit || run.used.has(number) {
                    continue;
                }
                if self.steps == self.steps_max {
                    return None;
                }
                self.steps += 1;
                let state = self.model.step(&run.state, &operation.call, None);
                let Some(state) = state.filter(|state| *state != run.state) else {
                    continue;
                };
                let mut used = run.used.clone();
                used.set(number);
                let mut same = place.runs.iter().filter(|other| other.state == state);
                if same.any(|other| other.used.within(&used)) {
                    continue;
                }
                let mut path = run.path.clone();
                path.push(number);
                place.runs.push(Run { state, used, path });
            }
        }
        Some(place.at < place.runs.len())
    }

    /// Whether an operation that must come soon can come no more.
    fn is_dead(&self, state: &M::State) -> bool {
        let mut waiting = self.timeline.waiting();
        waiting.any(|number| {
            let operation = self.answered[number];
            let answer = operation.outcome.answer();
            answer.is_some_and(|answer| self.model.never(state, &operation.call, answer))
        })
    }

    /// Takes a way in, unless one that used up no more led to the same.
    fn is_new(&mut self, state: &M::State, used: &Bits) -> bool {
        let ways = self.tried.entry((self.placed.window(), state.clone()));
        let ways = ways.or_default();
        if ways.iter().any(|way| way.within(used)) {
            return false;
        }
        ways.retain(|way| !used.within(way));
        ways.push(used.clone());
        true
    }

    fn order(&self) -> Order<M::State> {
        let mut operations = Vec::new();
        for place in &self.places {
            operations.extend(place.run.iter().map(|number| self.pending[*number].id));
            operations.extend(place.by.map(|number| self.answered[number].id));
        }
        let last = self.places.last().expect("there is the first one");
        Order {
            operations,
            state: last.runs[0].state.clone(),
        }
    }
}

impl<S> Place<S> {
    fn new(by: Option<usize>, run: Vec<usize>, state: S, used: Bits) -> Self {
        let path = Vec::new();
        Self {
            by,
            run,
            runs: vec![Run { state, used, path }],
            at: 0,
            expanded: 0,
            event: START,
        }
    }
}

/// Calls and answers of the operations that have no place in the order yet, by time. Of one moment
/// the calls come first, for operations that meet ran at the same time.
struct Timeline {
    /// Per event: its operation, whether it is a call, when.
    events: Vec<(usize, bool, Moment)>,
    /// Call and answer of each operation.
    of: Vec<(usize, usize)>,
    next: Vec<usize>,
    before: Vec<usize>,
}

/// Stands for "from the first event on".
const START: usize = usize::MAX;

impl Timeline {
    fn new(spans: &[(Moment, Moment)]) -> Self {
        let mut events = Vec::with_capacity(spans.len() * 2);
        for (number, (begin, end)) in spans.iter().enumerate() {
            events.push((number, true, *begin));
            events.push((number, false, *end));
        }
        events.sort_by_key(|(number, call, at)| (*at, !call, *number));
        let mut of = vec![(0, 0); spans.len()];
        for (at, (number, call, _)) in events.iter().enumerate() {
            match call {
                true => of[*number].0 = at,
                false => of[*number].1 = at,
            }
        }
        // One more than there are events: the head, which is the tail too.
        let count = events.len() + 1;
        Self {
            next: (0..count).map(|at| (at + 1) % count).collect(),
            before: (0..count).map(|at| (at + count - 1) % count).collect(),
            events,
            of,
        }
    }

    fn is_empty(&self) -> bool {
        self.first() == self.events.len()
    }

    fn first(&self) -> usize {
        self.next[self.events.len()]
    }

    fn after(&self, event: usize) -> usize {
        self.next[event]
    }

    /// The operation that begins with an event; `None` when it is an answer.
    fn called(&self, event: usize) -> Option<usize> {
        let (number, call, _) = self.events[event];
        call.then_some(number)
    }

    /// The operations that begin before the first answer comes.
    fn waiting(&self) -> impl Iterator<Item = usize> {
        let mut event = self.first();
        std::iter::from_fn(move || {
            let number = self.events.get(event).and_then(|_| self.called(event));
            number.inspect(|_| event = self.after(event))
        })
    }

    /// When the first answer comes.
    fn first_answer(&self) -> Moment {
        let mut event = self.first();
        while self.called(event).is_some() {
            event = self.after(event);
        }
        self.events[event].2
    }

    /// Takes an operation out.
    fn lift(&mut self, number: usize) {
        let (call, answer) = self.of[number];
        for event in [call, answer] {
            let (before, next) = (self.before[event], self.next[event]);
            self.next[before] = next;
            self.before[next] = before;
        }
    }

    /// Undoes the last [`Timeline::lift`].
    fn put_back(&mut self, number: usize) {
        let (call, answer) = self.of[number];
        for event in [answer, call] {
            let (before, next) = (self.before[event], self.next[event]);
            self.next[before] = event;
            self.before[next] = event;
        }
    }
}

/// A set of small numbers; equal sets are equal values.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
struct Bits {
    /// The last word is never 0.
    words: Vec<u64>,
    /// Words at the beginning that are full.
    full: usize,
}

/// A set by what follows its full words: operations are placed roughly as they began, so this
/// is short however long the history is.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Window(usize, Box<[u64]>);

impl Bits {
    fn has(&self, number: usize) -> bool {
        let word = self.words.get(number / 64);
        word.is_some_and(|word| word >> (number % 64) & 1 == 1)
    }

    fn set(&mut self, number: usize) {
        let at = number / 64;
        if self.words.len() <= at {
            self.words.resize(at + 1, 0);
        }
        self.words[at] |= 1 << (number % 64);
        while self.words.get(self.full) == Some(&u64::MAX) {
            self.full += 1;
        }
    }

    fn clear(&mut self, number: usize) {
        let at = number / 64;
        self.words[at] &= !(1 << (number % 64));
        self.full = self.full.min(at);
        while self.words.last() == Some(&0) {
            self.words.pop();
        }
    }

    /// Whether all of these are in the other set.
    fn within(&self, other: &Self) -> bool {
        let words = self.words.iter().enumerate();
        let mut missing = words.map(|(at, word)| word & !other.words.get(at).unwrap_or(&0));
        missing.all(|missing| missing == 0)
    }

    fn window(&self) -> Window {
        Window(self.full, self.words[self.full..].into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_set_is_its_members_however_it_was_made() {
        let mut one = Bits::default();
        for number in (0..200).rev() {
            one.set(number);
        }
        let mut other = Bits::default();
        for number in 0..300 {
            other.set(number);
        }
        assert!(one.within(&other) && !other.within(&one));
        assert_eq!(other.window(), Window(4, [(1 << 44) - 1].into()));
        for number in 200..300 {
            other.clear(number);
        }
        assert_eq!((one.window(), one.words), (other.window(), other.words));
        other = Bits::default();
        other.set(7);
        assert!(other.has(7) && !other.has(71));
        other.clear(7);
        assert_eq!(other, Bits::default());
    }

    #[test]
    fn what_is_put_back_stands_where_it_stood() {
        let spans = [(1, 5), (2, 3), (5, 9)].map(|(begin, end)| (Moment(begin), Moment(end)));
        let mut timeline = Timeline::new(&spans);
        let walk = |timeline: &Timeline| {
            let mut events = Vec::new();
            let mut at = timeline.first();
            while at < timeline.events.len() {
                events.push((timeline.events[at].0, timeline.events[at].1));
                at = timeline.after(at);
            }
            events
        };
        let whole = walk(&timeline);
        // The call at 5 comes before the answer at 5.
        assert_eq!(
            whole,
            [
                (0, true),
                (1, true),
                (1, false),
                (2, true),
                (0, false),
                (2, false)
            ]
        );
        assert_eq!(timeline.first_answer(), Moment(3));
        timeline.lift(1);
        timeline.lift(0);
        assert_eq!(walk(&timeline), [(2, true), (2, false)]);
        assert_eq!(timeline.first_answer(), Moment(9));
        timeline.put_back(0);
        timeline.put_back(1);
        assert_eq!(walk(&timeline), whole);
    }
}
