//! A trace as a short story: what turns it, a line each, and between two turns one line that counts
//! what clients were told.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use super::line::seconds;
use super::story::{Lanes, sentence};
use super::{Event, TraceFile};
use crate::kinds::Kind;

/// Kinds that turn a story.
const TURNS: [Kind; 28] = [
    Kind::ActionTaken,
    Kind::NodeCrashed,
    Kind::NodeRegistered,
    Kind::NodeRefused,
    Kind::LeaderElected,
    Kind::PrimaryAppointed,
    Kind::CopyCut,
    Kind::CopyBegan,
    Kind::CopyFilled,
    Kind::CopyRemoved,
    Kind::BufferDamaged,
    Kind::BackupTaken,
    Kind::BackupRestored,
    Kind::StateReached,
    Kind::TopicRead,
    Kind::DiskRotted,
    Kind::DiskSyncFailed,
    Kind::DiskFull,
    Kind::DiskRoom,
    Kind::WriteTorn,
    Kind::WriteLost,
    Kind::NameLost,
    Kind::ClockJumped,
    Kind::ReadShown,
    Kind::FaultsEnded,
    Kind::ExpectationFailed,
    Kind::InvariantBroken,
    Kind::RunEnded,
];
/// What clients are told, by which a stretch without turns is counted.
const TOLD: [Kind; 7] = [
    Kind::AppendAcked,
    Kind::AppendReplayed,
    Kind::AppendRefused,
    Kind::AppendUnknown,
    Kind::TailShown,
    Kind::MessagesGiven,
    Kind::MessageAcked,
];
/// So many events of one kind in one place stand on lines of their own; more are counted.
const TURNS_MAX: usize = 12;

/// The short story, with a line end behind each line.
#[must_use]
pub fn brief(trace: &TraceFile) -> String {
    let asked = asked_in_words(trace);
    let frequent = frequent(trace);
    let turns = |event: &Event| {
        let told = is_one_of(&TOLD, event);
        let one = event.refs.iter().any(|it| asked.contains(it.as_str()));
        let key = (event.kind.as_str(), event.lane());
        (is_one_of(&TURNS, event) && !frequent.contains(&key))
            || (one && (told || event.kind.ends_with(".asked")))
    };
    let shown: Vec<&Event> = trace.events.iter().filter(|event| turns(event)).collect();
    let lanes = Lanes::new(shown.iter().copied());
    let mut out = String::new();
    let _ = writeln!(out, "{:>10}  {}", "time", lanes.names());
    let mut between = Between::default();
    for event in &trace.events {
        if !turns(event) {
            between.add(event);
            continue;
        }
        between.write(&mut out, &lanes);
        let row = lanes.mark(event.lane());
        let words = sentence(event, &event.subject());
        let _ = writeln!(out, "{:>10}  {row}  {words}", seconds(event.t));
    }
    between.write(&mut out, &lanes);
    out
}

fn is_one_of(kinds: &[Kind], event: &Event) -> bool {
    kinds.iter().any(|kind| kind.name() == event.kind)
}

/// Requests of which a scenario says what they say: their refs.
fn asked_in_words(trace: &TraceFile) -> BTreeSet<&str> {
    let asked = trace
        .events
        .iter()
        .filter(|event| event.kind.ends_with(".asked") && event.details.contains_key("note"));
    let refs = asked.flat_map(|event| event.refs.iter().map(String::as_str));
    refs.filter(|it| it.starts_with("req:")).collect()
}

/// What comes so often in one place that it turns nothing.
fn frequent(trace: &TraceFile) -> BTreeSet<(&str, &str)> {
    let mut counts = BTreeMap::new();
    for event in &trace.events {
        *counts
            .entry((event.kind.as_str(), event.lane()))
            .or_insert(0) += 1;
    }
    let often = counts.into_iter().filter(|((kind, _), count)| {
        *count > TURNS_MAX && *kind != "action.taken" && *kind != "expectation.failed"
    });
    often.map(|(key, _)| key).collect()
}

/// What happened between two turns.
#[derive(Default)]
struct Between {
    events: u64,
    from: u64,
    until: u64,
    /// By kind and buffer: how often, and through which seq.
    told: BTreeMap<(String, String), (u64, u64)>,
}

impl Between {
    fn add(&mut self, event: &Event) {
        if self.events == 0 {
            self.from = event.t;
        }
        self.events += 1;
        self.until = event.t;
        if is_one_of(&TOLD, event) {
            let key = (event.kind.clone(), event.buffer.clone().unwrap_or_default());
            let entry = self.told.entry(key).or_default();
            entry.0 += 1;
            entry.1 = entry.1.max(event.seqs.map_or(0, |(_, last)| last));
        }
    }

    fn write(&mut self, out: &mut String, lanes: &Lanes) {
        let Self {
            events,
            from,
            until,
            told,
        } = std::mem::take(self);
        // A few events of nobody's concern say nothing.
        if told.is_empty() {
            return;
        }
        let told = told.into_iter().map(|((kind, buffer), (count, last))| {
            let through = match last {
                0 => String::new(),
                last => format!(" through {last}"),
            };
            format!("{count} x {kind} {buffer}{through}")
        });
        let told: Vec<String> = told.collect();
        let row = lanes.gap();
        let (from, until) = (seconds(from), seconds(until));
        let _ = writeln!(
            out,
            "{from:>10}  {row}  until {until}: {}, of {events} events",
            told.join(", ")
        );
    }
}
