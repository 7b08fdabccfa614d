//! Where two traces part.
//!
//! Events that happened in both have the same id in both. So what one has and the other has not is
//! a difference of sets, and the first difference in time is where a change took effect.

use std::fmt;

use super::line::seconds;
use super::story::{sentence, short};
use super::{Event, TraceFile};

/// How two traces differ.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Difference {
    /// Fields of the header that differ: name, what the first has, what the second has.
    pub header: Vec<(&'static str, String, String)>,
    /// Events up to the first difference.
    pub common: usize,
    /// The first event of each at which they differ; `None` where one has ended.
    pub first: [Option<Event>; 2],
    /// Events that only the first has, and only the second.
    pub only: [usize; 2],
    /// Events that both have, with another time or other content.
    pub changed: usize,
}

/// Compares two traces; `None` when all events are the same.
#[must_use]
pub fn compare(one: &TraceFile, two: &TraceFile) -> Option<Difference> {
    let both = one.events.iter().zip(&two.events);
    let common = both.take_while(|(one, two)| one == two).count();
    let first = [one, two].map(|trace| trace.events.get(common).cloned());
    if first == [None, None] {
        return None;
    }
    let missing = |from: &TraceFile, other: &TraceFile| {
        let lacks = |event: &&Event| other.place(event.eid).is_none();
        from.events.iter().filter(lacks).count()
    };
    let changed = one.events.iter().filter(|event| {
        let place = two.place(event.eid);
        place.is_some_and(|place| !same_content(event, &two.events[place]))
    });
    Some(Difference {
        header: headers(one, two),
        common,
        only: [missing(one, two), missing(two, one)],
        changed: changed.count(),
        first,
    })
}

/// The same but for its number, which counts events that have nothing to do with it.
fn same_content(one: &Event, two: &Event) -> bool {
    let renumbered = Event {
        n: one.n,
        ..two.clone()
    };
    *one == renumbered
}

fn headers(one: &TraceFile, two: &TraceFile) -> Vec<(&'static str, String, String)> {
    let fields = |trace: &TraceFile| {
        let header = &trace.header;
        [
            ("hbuf", header.hbuf.clone()),
            ("scenario", header.scenario.clone()),
            ("seed", header.seed.to_string()),
            (
                "bug",
                header.bug.clone().unwrap_or_else(|| "none".to_owned()),
            ),
            ("overrides", header.overrides.join("; ")),
            ("options", header.options.clone()),
        ]
    };
    let both = fields(one).into_iter().zip(fields(two));
    both.filter(|(one, two)| one != two)
        .map(|((name, one), (_, two))| (name, one, two))
        .collect()
}

/// In words, a line each, without an end behind the last one.
impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (name, one, two) in &self.header {
            writeln!(f, "{name}: {one} | {two}")?;
        }
        writeln!(f, "the first {} events are the same; then", self.common)?;
        for (name, event) in ["A", "B"].iter().zip(&self.first) {
            match event {
                None => writeln!(f, "  {name}  ends")?,
                Some(event) => {
                    let (at, id, lane) = (seconds(event.t), short(event), event.lane());
                    let words = sentence(event, &event.subject());
                    writeln!(f, "  {name}  {at}  {id}  {lane}: {words}")?;
                }
            }
        }
        let [one, two] = self.only;
        write!(
            f,
            "{one} events only in A, {two} only in B, {} in both but not alike",
            self.changed
        )
    }
}
