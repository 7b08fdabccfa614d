//! A trace as a story: a lane a node, time down, a line an event, messages as arrows.
//!
//! An event whose first cause was somewhere else is where a message arrived. Events that say
//! nothing but that they happened again are folded into one line.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use super::line::seconds;
use super::refs::IMPLIED;
use super::{Event, TraceFile};
use crate::kinds::Kind;

/// Columns from one lane to the next.
const LANE_COLUMNS: usize = 5;
/// What happens this often in a row, and nothing else in between that does not, is folded.
const FOLDED_MIN: usize = 3;
/// So many different events are named in a folded line; of the others there is a count.
const FOLDED_SHOWN_MAX: usize = 6;
/// Refs that are named when the one that was asked for does not exist.
const REFS_SHOWN_MAX: usize = 12;

/// What to show.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Show {
    /// Only events with this ref, and those through which one of them led to another.
    pub follow: Option<String>,
}

/// The places of the events to show, in the order of the trace.
#[must_use]
pub fn selected(trace: &TraceFile, show: &Show) -> Vec<usize> {
    let all = 0..trace.events.len();
    let Some(wanted) = &show.follow else {
        return all.collect();
    };
    let has: Vec<bool> = trace
        .events
        .iter()
        .map(|event| event.has_ref(wanted))
        .collect();
    // Causes stand before their effects, so one pass in each direction finds all.
    let mut behind = has.clone();
    for place in all.clone() {
        let causes = trace.events[place].causes.iter();
        let mut places = causes.filter_map(|cause| trace.place(*cause));
        behind[place] |= places.any(|cause| behind[cause]);
    }
    let mut before = has;
    for place in all.clone().rev() {
        let effects = trace.effects(trace.events[place].eid);
        before[place] |= effects.iter().any(|effect| before[*effect]);
    }
    let mut shown: Vec<bool> = all.clone().map(|at| behind[at] && before[at]).collect();
    for place in all.clone() {
        if has_asked(trace, wanted, place) {
            ask_of(trace, place, &mut shown);
        }
    }
    all.filter(|place| shown[*place]).collect()
}

/// Whether a message begins to be one here: it has its seq from this event on.
fn has_asked(trace: &TraceFile, wanted: &str, place: usize) -> bool {
    let event = &trace.events[place];
    wanted.starts_with("msg:") && event.kind == Kind::AppendFramed.name() && event.has_ref(wanted)
}

/// Shows the way from the request to what it led to, too.
fn ask_of(trace: &TraceFile, place: usize, shown: &mut [bool]) {
    let mut way = Vec::new();
    let mut at = place;
    while !trace.events[at].asks() {
        let cause = trace.events[at].causes.first();
        match cause
            .and_then(|cause| trace.place(*cause))
            .filter(|it| *it < at)
        {
            Some(cause) => at = cause,
            // Nobody asked for it, as far as the trace goes.
            None => return,
        }
        way.push(at);
    }
    way.into_iter().for_each(|at| shown[at] = true);
}

/// What was last seen of it in each lane: where it is now.
fn where_now(trace: &TraceFile, places: &[usize], wanted: &str) -> String {
    let mut last: BTreeMap<(u8, String, u64, String), &Event> = BTreeMap::new();
    let events = places.iter().map(|place| &trace.events[*place]);
    for event in events.filter(|event| event.has_ref(wanted)) {
        last.insert(order(event.lane()), event);
    }
    let mut out = format!("last seen of {wanted}:\n");
    for ((.., lane), event) in last {
        let words = sentence(event, &event.subject());
        let _ = writeln!(out, "{:>14}  {lane:<4} {words}", seconds(event.t));
    }
    out
}

/// The story, with a line end behind each line.
#[must_use]
pub fn story(trace: &TraceFile, show: &Show) -> String {
    let places = selected(trace, show);
    let mut out = heading(trace);
    if let Some(wanted) = &show.follow
        && places.is_empty()
    {
        let _ = writeln!(
            out,
            "no event has the ref {wanted}{}",
            refs_there_are(trace)
        );
        return out;
    }
    let lanes = Lanes::new(places.iter().map(|place| &trace.events[*place]));
    let _ = writeln!(out, "{:>14}  {}", "time", lanes.names());
    let stories: Vec<Told<'_>> = places
        .iter()
        .map(|place| Told::new(trace, &trace.events[*place]))
        .collect();
    let mut rest = &stories[..];
    while let Some(first) = rest.first() {
        let quiet = rest.iter().take_while(|told| told.quiet).count();
        if quiet == 0 {
            first.write(&mut out, &lanes);
            rest = &rest[1..];
        } else {
            fold(&mut out, &lanes, &rest[..quiet]);
            rest = &rest[quiet..];
        }
    }
    if let Some(wanted) = &show.follow {
        out += &where_now(trace, &places, wanted);
    }
    let count = places.len();
    let of = trace.events.len();
    let _ = match count == of {
        true => writeln!(out, "{count} events"),
        false => writeln!(out, "{count} of {of} events"),
    };
    out
}

fn heading(trace: &TraceFile) -> String {
    let header = &trace.header;
    let mut out = format!(
        "{}, seed {}, hbuf {}\n",
        header.scenario, header.seed, header.hbuf
    );
    let mut line = |title: &str, text: &str| {
        let _ = writeln!(out, "{title:<9} {text}");
    };
    if !header.options.is_empty() {
        line("options", &header.options);
    }
    if let Some(bug) = &header.bug {
        line("bug", bug);
    }
    for text in &header.overrides {
        line("override", text);
    }
    out
}

fn refs_there_are(trace: &TraceFile) -> String {
    let all: BTreeSet<&String> = trace.events.iter().flat_map(|event| &event.refs).collect();
    if all.is_empty() {
        return format!("; the lines name none; {IMPLIED} go by what events are about");
    }
    let shown: Vec<&str> = all
        .iter()
        .take(REFS_SHOWN_MAX)
        .map(|it| it.as_str())
        .collect();
    let more = if all.len() > shown.len() { ", …" } else { "" };
    format!(
        "; there are {}{more}, and {IMPLIED} go by what events are about",
        shown.join(", ")
    )
}

/// Who has a lane: nodes first, then clients.
pub(super) struct Lanes(Vec<String>);

impl Lanes {
    pub(super) fn new<'a>(events: impl Iterator<Item = &'a Event>) -> Self {
        let names: BTreeSet<_> = events.map(|event| order(event.lane())).collect();
        Self(names.into_iter().map(|(_, _, _, name)| name).collect())
    }

    /// A row without an arrow.
    pub(super) fn mark(&self, lane: &str) -> String {
        let at = self.0.iter().position(|name| name == lane).unwrap_or(0);
        let mut cells = self.bars('│');
        cells[at * LANE_COLUMNS] = '●';
        cells.into_iter().collect()
    }

    /// A row of what is left out.
    pub(super) fn gap(&self) -> String {
        self.bars('⋮').into_iter().collect()
    }

    pub(super) fn names(&self) -> String {
        let cells: Vec<String> = self
            .0
            .iter()
            .map(|name| format!("{name:<LANE_COLUMNS$}"))
            .collect();
        cells.concat().trim_end().to_owned()
    }

    /// One row: a mark where it happened, and an arrow from where the message came.
    fn row(&self, told: &Told<'_>) -> String {
        let column = |lane: &str| self.0.iter().position(|name| name == lane);
        let at = column(told.event.lane()).unwrap_or(0);
        let mut cells = self.bars('│');
        if let Some(from) = told.from.and_then(column)
            && from != at
        {
            let (left, right) = (from.min(at) * LANE_COLUMNS, from.max(at) * LANE_COLUMNS);
            for cell in &mut cells[left + 1..right] {
                *cell = if *cell == '│' { '┼' } else { '─' };
            }
            cells[from * LANE_COLUMNS] = if from < at { '├' } else { '┤' };
            let head = if from < at {
                (right - 1, '▶')
            } else {
                (left + 1, '◀')
            };
            cells[head.0] = head.1;
        }
        cells[at * LANE_COLUMNS] = '●';
        cells.into_iter().collect()
    }

    fn bars(&self, bar: char) -> Vec<char> {
        let columns = self.0.len() * LANE_COLUMNS;
        let cell = |at: usize| {
            if at.is_multiple_of(LANE_COLUMNS) {
                bar
            } else {
                ' '
            }
        };
        (0..columns).map(cell).collect()
    }
}

/// The run itself, nodes, then others; `n10` behind `n9`.
fn order(lane: &str) -> (u8, String, u64, String) {
    let digits = lane
        .find(|it: char| it.is_ascii_digit())
        .unwrap_or(lane.len());
    let (begin, rest) = lane.split_at(digits);
    let end = rest
        .find(|it: char| !it.is_ascii_digit())
        .unwrap_or(rest.len());
    let number = rest[..end].parse().unwrap_or(0);
    let rank = match begin {
        "run" => 0,
        "n" => 1,
        _ => 2,
    };
    (rank, begin.to_owned(), number, lane.to_owned())
}

/// An event with what its line says.
struct Told<'a> {
    event: &'a Event,
    /// From where the message came, and how long it took.
    from: Option<&'a str>,
    took: u64,
    subject: String,
    /// It says nothing but that it happened.
    quiet: bool,
}

impl<'a> Told<'a> {
    fn new(trace: &'a TraceFile, event: &'a Event) -> Self {
        let cause = event.causes.first().and_then(|cause| trace.place(*cause));
        let cause = cause.map(|place| &trace.events[place]);
        let sender = cause.filter(|cause| cause.node.is_some() && cause.node != event.node);
        Self {
            event,
            from: sender.map(|cause| cause.lane()),
            took: sender.map_or(0, |cause| event.t.saturating_sub(cause.t)),
            subject: event.subject(),
            quiet: event.is_quiet(),
        }
    }

    fn write(&self, out: &mut String, lanes: &Lanes) {
        let row = lanes.row(self);
        let _ = writeln!(
            out,
            "{:>14}  {row}  {}  {}",
            seconds(self.event.t),
            short(self.event),
            self.words()
        );
    }

    fn words(&self) -> String {
        let mut words = sentence(self.event, &self.subject);
        match (self.from, self.event.packet()) {
            (Some(from), _) => {
                let _ = write!(words, " [from {from}, {} us]", self.took);
            }
            (None, Some((_, to, number))) => {
                let _ = write!(words, " [to {to}, number {number}]");
            }
            (None, None) => {}
        }
        words
    }

    /// What must be the same for one event to count as a repetition of another.
    fn key(&self) -> (&str, &str, Option<&str>, &str) {
        let event = self.event;
        (&event.kind, event.lane(), self.from, &self.subject)
    }
}

/// The first digits of an event's id, enough to ask for it.
pub(super) fn short(event: &Event) -> String {
    event.eid.to_string()[..8].to_owned()
}

/// Kind, subject and what the kind means.
pub(super) fn sentence(event: &Event, subject: &str) -> String {
    let mut words = event.kind.clone();
    if !subject.is_empty() {
        let _ = write!(words, " {subject}");
    }
    let known = Kind::ALL.iter().find(|kind| kind.name() == event.kind);
    if let Some(kind) = known {
        let _ = write!(words, ": {}", kind.about());
    }
    words
}

/// Writes quiet events, those that repeat each other as one line.
fn fold(out: &mut String, lanes: &Lanes, quiet: &[Told<'_>]) {
    let mut counts = BTreeMap::new();
    for told in quiet {
        *counts.entry(told.key()).or_insert(0) += 1;
    }
    let rare = |told: &Told<'_>| counts[&told.key()] < FOLDED_MIN;
    if !quiet.iter().any(rare) {
        write_folded(out, lanes, quiet);
        return;
    }
    // What happened only once or twice stands on its own; what is between may repeat itself.
    let mut rest = quiet;
    while let Some(first) = rest.first() {
        let often = rest.iter().take_while(|told| !rare(told)).count();
        if often == 0 {
            first.write(out, lanes);
            rest = &rest[1..];
        } else {
            fold(out, lanes, &rest[..often]);
            rest = &rest[often..];
        }
    }
}

fn write_folded(out: &mut String, lanes: &Lanes, quiet: &[Told<'_>]) {
    let (Some(first), Some(last)) = (quiet.first(), quiet.last()) else {
        return;
    };
    let mut counts: Vec<(&Told<'_>, usize)> = Vec::new();
    for told in quiet {
        match counts
            .iter_mut()
            .find(|(other, _)| other.key() == told.key())
        {
            Some((_, count)) => *count += 1,
            None => counts.push((told, 1)),
        }
    }
    let parts = counts.iter().map(|(told, count)| {
        let subject = match told.subject.as_str() {
            "" => String::new(),
            subject => format!(" {subject}"),
        };
        let way = match told.from {
            Some(from) => format!("{from} to {}", told.event.lane()),
            None => told.event.lane().to_owned(),
        };
        format!("{count} x {}{subject} ({way})", told.event.kind)
    });
    let mut parts: Vec<String> = parts.take(FOLDED_SHOWN_MAX).collect();
    let others = counts.iter().skip(FOLDED_SHOWN_MAX).map(|(_, count)| count);
    let others: usize = others.sum();
    if others > 0 {
        parts.push(format!("{others} others"));
    }
    let bars: String = lanes.bars('⋮').into_iter().collect();
    let _ = writeln!(
        out,
        "{:>14}  {bars}  until {}: {}",
        seconds(first.event.t),
        seconds(last.event.t),
        parts.join(", ")
    );
}
