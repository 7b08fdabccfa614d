//! What a hand changes in a run: the fourth argument of a world, besides version, scenario, seed.
//!
//! ```text
//! at=9f3c71aa00e2b578 drop                 the packet whose arrival is this event never arrives
//! at=9f3c71aa00e2b578 delay 5ms            it arrives later
//! at=9f3c71aa00e2b578 before 71aa9f3c…     it arrives before that one
//! at=9f3c71aa00e2b578 skip                 the request, or what else was planned, does not happen
//! at=9f3c71aa00e2b578 fail                 the sync that this event would end fails
//! at=9f3c71aa00e2b578 crash n1             an action of scenarios, right before the event
//! at=1500ms crash n1                       the same at a time
//! at=crash/3 skip                          the fourth crash that the seed plans does not happen
//! ```
//!
//! Ids name events that happen in the run with all overrides before this one. One that names an
//! event that never comes changes nothing: [`Overrides::unused`] says so when the run is over.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use thiserror::Error;

use crate::scenario::{Action, ParseError, Words, read_action};
use crate::swarm::{Opt, Planned, Unit};
use crate::tracefile::EventId;

/// Where in a run something is changed.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Place {
    /// At this time, in microseconds.
    Time(u64),
    /// At this event.
    Event(EventId),
    /// At this fault of the plan of the seed: its name, and which one of it, counting from 0.
    Fault(String, u64),
}

/// What is changed there.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Change {
    /// The packet never arrives.
    Drop,
    /// It happens so many microseconds later.
    Delay(u64),
    /// It happens right before that event, which was to come first.
    Before(EventId),
    /// It does not happen.
    Skip,
    /// The sync fails.
    Fail,
    /// This happens, right before the event or at the time.
    Act(Action),
}

/// One change.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Override {
    /// Where.
    pub at: Place,
    /// What.
    pub change: Change,
}

/// Why a text is no override.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("override `{text}`: `{word}` cannot stand here; allowed: {allowed}")]
pub struct OverrideError {
    /// The whole text.
    pub text: String,
    /// The word that is not understood.
    pub word: String,
    /// What can stand in its place.
    pub allowed: String,
}

const PLACES: &str = "at= and an event's id of 16 hex digits, a time like 1500ms, \
                      or a planned fault like crash/3";

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Time(0) => f.write_str("0"),
            Self::Time(at) => Unit::Micros.show(*at).fmt(f),
            Self::Event(eid) => eid.fmt(f),
            Self::Fault(fault, nth) => write!(f, "{fault}/{nth}"),
        }
    }
}

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Drop => f.write_str("drop"),
            Self::Delay(by) => write!(f, "delay {}", Unit::Micros.show(*by)),
            Self::Before(other) => write!(f, "before {other}"),
            Self::Skip => f.write_str("skip"),
            Self::Fail => f.write_str("fail"),
            Self::Act(action) => action.fmt(f),
        }
    }
}

/// As the command line takes it.
impl fmt::Display for Override {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "at={} {}", self.at, self.change)
    }
}

impl FromStr for Override {
    type Err = OverrideError;

    fn from_str(text: &str) -> Result<Self, OverrideError> {
        let read = || {
            let mut words = Words::new(1, text)?;
            let at = place(&mut words)?;
            let change = change(&mut words, &at)?;
            words.end()?;
            Ok(Self { at, change })
        };
        read().map_err(|error: ParseError| OverrideError {
            text: text.to_owned(),
            word: error.word,
            allowed: error.allowed,
        })
    }
}

fn place(words: &mut Words) -> Result<Place, ParseError> {
    let text = words.peek().and_then(|word| word.strip_prefix("at="));
    let place = text.and_then(|text| {
        if let Some(eid) = EventId::parse(text) {
            return Some(Place::Event(eid));
        }
        if let Some((fault, nth)) = text.split_once('/') {
            let known = Opt::named(fault)?;
            return Some(Place::Fault(known.name().to_owned(), nth.parse().ok()?));
        }
        // `off` is for options.
        let time = Unit::Micros.parse(text).filter(|_| text != "off");
        time.map(Place::Time)
    });
    let place = place.ok_or_else(|| words.wrong(PLACES))?;
    words.take(PLACES)?;
    Ok(place)
}

fn change(words: &mut Words, at: &Place) -> Result<Change, ParseError> {
    if matches!(at, Place::Fault(..)) {
        words.expect("skip")?;
        return Ok(Change::Skip);
    }
    if matches!(at, Place::Event(_)) {
        const CHANGES: [&str; 5] = ["drop", "delay", "before", "skip", "fail"];
        match CHANGES.into_iter().find(|change| words.takes(change)) {
            Some("drop") => return Ok(Change::Drop),
            Some("skip") => return Ok(Change::Skip),
            Some("fail") => return Ok(Change::Fail),
            Some("before") => return before(words),
            Some(_) => {
                let by = words.quantity(Unit::Micros)?;
                return match by {
                    0 => Err(words.last_wrong("a time above 0")),
                    by => Ok(Change::Delay(by)),
                };
            }
            None => {}
        }
        let action = read_action(words);
        return action.map(Change::Act).map_err(|error| {
            let first = error.allowed.starts_with("crash, ");
            let more = if first {
                CHANGES.join(", ") + ", "
            } else {
                String::new()
            };
            ParseError {
                allowed: more + &error.allowed,
                ..error
            }
        });
    }
    read_action(words).map(Change::Act)
}

fn before(words: &mut Words) -> Result<Change, ParseError> {
    const ALLOWED: &str = "an event's id of 16 hex digits";
    let other = words.peek().and_then(EventId::parse);
    let other = other.ok_or_else(|| words.wrong(ALLOWED))?;
    words.take(ALLOWED)?;
    Ok(Change::Before(other))
}

impl Override {
    /// Forms of it that do less, the least first: for making a failure smaller.
    #[must_use]
    pub fn simpler(&self) -> Vec<Self> {
        let with = |change| Self {
            at: self.at.clone(),
            change,
        };
        let shorter = |micros: u64| {
            let quarters = [micros / 8, micros / 2].into_iter();
            quarters.filter(move |it| *it > 0 && *it < micros)
        };
        match &self.change {
            Change::Delay(by) => shorter(*by).map(|by| with(Change::Delay(by))).collect(),
            Change::Act(Action::Pause {
                node,
                last: Some(last),
            }) => {
                let pause = |last| Action::Pause {
                    node: node.clone(),
                    last: Some(last),
                };
                shorter(*last)
                    .map(|last| with(Change::Act(pause(last))))
                    .collect()
            }
            Change::Act(Action::Clog { from, to, last }) => {
                let clog = |last| Action::Clog {
                    from: from.clone(),
                    to: to.clone(),
                    last,
                };
                shorter(*last)
                    .map(|last| with(Change::Act(clog(last))))
                    .collect()
            }
            _ => Vec::new(),
        }
    }
}

/// All changes of a run, in one order whatever the order was in which they were made, each once.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Overrides {
    all: Vec<Override>,
    used: Vec<bool>,
    by_event: BTreeMap<EventId, Vec<usize>>,
    /// By the event that is to come second.
    by_second: BTreeMap<EventId, Vec<usize>>,
    /// The first of the changes at a time that is not taken yet; those come first in the order.
    next_timed: usize,
}

impl Overrides {
    /// The changes, sorted.
    #[must_use]
    pub fn new(all: impl IntoIterator<Item = Override>) -> Self {
        let mut all: Vec<Override> = all.into_iter().collect();
        all.sort();
        all.dedup();
        let mut by_event: BTreeMap<EventId, Vec<usize>> = BTreeMap::new();
        let mut by_second: BTreeMap<EventId, Vec<usize>> = BTreeMap::new();
        for (index, change) in all.iter().enumerate() {
            if let Place::Event(eid) = change.at {
                by_event.entry(eid).or_default().push(index);
            }
            if let Change::Before(second) = change.change {
                by_second.entry(second).or_default().push(index);
            }
        }
        Self {
            used: vec![false; all.len()],
            all,
            by_event,
            by_second,
            next_timed: 0,
        }
    }

    /// The changes, in their order.
    #[must_use]
    pub fn all(&self) -> &[Override] {
        &self.all
    }

    /// As the header of a trace has them.
    #[must_use]
    pub fn texts(&self) -> Vec<String> {
        self.all.iter().map(Override::to_string).collect()
    }

    /// What is changed at the event of this id, which is about to happen. They count as used.
    pub fn at_event(&mut self, eid: EventId) -> Vec<Change> {
        let Some(found) = self.by_event.get(&eid) else {
            return Vec::new();
        };
        for index in found {
            self.used[*index] = true;
        }
        found
            .iter()
            .map(|index| self.all[*index].change.clone())
            .collect()
    }

    /// Whether any change names an event.
    #[must_use]
    pub fn name_events(&self) -> bool {
        !self.by_event.is_empty()
    }

    /// The changes at an event that have changed nothing so far.
    pub fn open_at(&self, eid: EventId) -> impl Iterator<Item = &Override> {
        self.open(self.by_event.get(&eid))
    }

    /// The changes that let another event come before this one, and have not so far.
    pub fn open_before(&self, eid: EventId) -> impl Iterator<Item = &Override> {
        self.open(self.by_second.get(&eid))
    }

    fn open(&self, found: Option<&Vec<usize>>) -> impl Iterator<Item = &Override> {
        let found = found.into_iter().flatten();
        let open = found.filter(|index| !self.used[**index]);
        open.map(|index| &self.all[*index])
    }

    /// When the next change at a time is due.
    #[must_use]
    pub fn next_time(&self) -> Option<u64> {
        match self.all.get(self.next_timed)?.at {
            Place::Time(at) => Some(at),
            _ => None,
        }
    }

    /// Takes the next action that is due at `now` or before; it counts as used.
    pub fn take_due(&mut self, now: u64) -> Option<Action> {
        self.next_time().filter(|at| *at <= now)?;
        let index = self.next_timed;
        self.next_timed += 1;
        self.used[index] = true;
        match &self.all[index].change {
            Change::Act(action) => Some(action.clone()),
            other => unreachable!("at a time there are actions alone, not {other}"),
        }
    }

    /// Whether a planned fault is left out; if so, that counts as used.
    pub fn skips(&mut self, planned: &Planned) -> bool {
        let wanted = Place::Fault(planned.fault.to_owned(), planned.nth);
        let found = self.all.iter().position(|change| change.at == wanted);
        if let Some(index) = found {
            self.used[index] = true;
        }
        found.is_some()
    }

    /// What has changed nothing so far: when a run is over, these name what never was.
    pub fn unused(&self) -> impl Iterator<Item = &Override> {
        let pairs = self.all.iter().zip(&self.used);
        pairs.filter(|(_, used)| !**used).map(|(change, _)| change)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::swarm::planned;

    const ONE: &str = "9f3c71aa00e2b578";
    const TWO: &str = "00000000000000aa";

    fn read(text: &str) -> Override {
        text.parse().unwrap()
    }

    fn error(text: &str) -> String {
        text.parse::<Override>().unwrap_err().to_string()
    }

    #[test]
    fn overrides_are_shown_as_they_are_read() {
        for text in [
            &format!("at={ONE} drop"),
            &format!("at={ONE} delay 5ms"),
            &format!("at={ONE} before {TWO}"),
            &format!("at={ONE} skip"),
            &format!("at={ONE} fail"),
            &format!("at={ONE} crash primary of b1"),
            &format!("at={ONE} disk n3 sync-fails"),
            "at=1500ms partition n1 | n2 n3",
            "at=0 pause n1 for 2s",
            "at=2s client c1 append b1 \"one more\" key=a",
            "at=crash/3 skip",
        ] {
            assert_eq!(read(text).to_string(), *text);
        }
    }

    #[test]
    fn mistakes_say_what_is_allowed() {
        let place = "allowed: at= and an event's id of 16 hex digits, a time like 1500ms, or a \
                     planned fault like crash/3";
        for wrong in [
            "drop",
            "at=9f3c drop",
            "at= drop",
            "at=crush/1 skip",
            "at=off heal",
        ] {
            let error = error(wrong);
            assert!(
                error.starts_with(&format!("override `{wrong}`: ")),
                "{error}"
            );
            assert!(error.ends_with(place), "{error}");
        }
        let after = |text: &str| {
            let error = error(text);
            error
                .strip_prefix(&format!("override `{text}`: "))
                .unwrap()
                .to_owned()
        };
        let unknown = after(&format!("at={ONE} explode"));
        let says = "`explode` cannot stand here; allowed: drop, delay, before, skip, fail, crash, ";
        assert!(unknown.starts_with(says), "{unknown}");
        let timed = after("at=2s drop");
        assert!(
            timed.starts_with("`drop` cannot stand here; allowed: crash, "),
            "{timed}"
        );
        for (text, says) in [
            ("at=crash/3 heal", "`heal` cannot stand here; allowed: skip"),
            (
                "at=9f3c71aa00e2b578 delay 0",
                "`0` cannot stand here; allowed: a time above 0",
            ),
            (
                "at=9f3c71aa00e2b578 before 7",
                "`7` cannot stand here; allowed: an event's id of 16 hex digits",
            ),
            (
                "at=9f3c71aa00e2b578 drop it",
                "`it` cannot stand here; allowed: the end of the line",
            ),
        ] {
            assert_eq!(after(text), says);
        }
    }

    #[test]
    fn the_order_in_which_changes_were_made_does_not_matter() {
        let texts = [
            "at=2s heal".to_owned(),
            format!("at={ONE} drop"),
            "at=1s crash n1".to_owned(),
            "at=2s heal".to_owned(),
            "at=kill/0 skip".to_owned(),
        ];
        let forwards = Overrides::new(texts.iter().map(|text| read(text)));
        let backwards = Overrides::new(texts.iter().rev().map(|text| read(text)));
        assert_eq!(forwards, backwards);
        let sorted = ["at=1s crash n1", "at=2s heal", &texts[1], "at=kill/0 skip"];
        assert_eq!(forwards.texts(), sorted);
    }

    #[test]
    fn what_names_an_event_that_never_comes_stays_unused() {
        let texts = [
            "at=1s crash n1",
            "at=9s heal",
            &format!("at={ONE} drop"),
            &format!("at={TWO} drop"),
            "at=crash/0 skip",
            "at=crash/999 skip",
        ];
        let mut overrides = Overrides::new(texts.map(read));
        assert_eq!(overrides.unused().count(), 6);
        let one = EventId::parse(ONE).unwrap();
        assert_eq!(overrides.at_event(one), [Change::Drop]);
        assert_eq!(overrides.at_event(EventId(7)), []);
        assert_eq!(overrides.next_time(), Some(1_000_000));
        assert_eq!(overrides.take_due(999_999), None);
        assert_eq!(
            overrides.take_due(1_000_000).unwrap().to_string(),
            "crash n1"
        );
        assert_eq!(overrides.take_due(1_000_000), None);
        assert_eq!(overrides.next_time(), Some(9_000_000));
        let faults = planned(1, &"crash=100ms safety=2s".parse().unwrap());
        let skipped: Vec<String> = faults
            .iter()
            .filter(|planned| overrides.skips(planned))
            .map(Planned::name)
            .collect();
        assert_eq!(skipped, ["crash/0"]);
        let unused: Vec<String> = overrides.unused().map(Override::to_string).collect();
        assert_eq!(unused, ["at=9s heal", texts[3], "at=crash/999 skip"]);
    }

    #[test]
    fn simpler_forms_do_less() {
        let texts = |text: &str| -> Vec<String> {
            let simpler = read(text).simpler();
            simpler.iter().map(Override::to_string).collect()
        };
        let one = format!("at={ONE}");
        let delay = [format!("{one} delay 1ms"), format!("{one} delay 4ms")];
        assert_eq!(texts(&format!("{one} delay 8ms")), delay);
        assert_eq!(texts(&format!("{one} delay 1us")), Vec::<String>::new());
        assert_eq!(texts("at=1s pause n1 for 2us"), ["at=1s pause n1 for 1us"]);
        assert_eq!(texts("at=1s clog n1 -> n2 for 16us").len(), 2);
        assert_eq!(texts("at=1s crash n1").len(), 0);
    }
}
