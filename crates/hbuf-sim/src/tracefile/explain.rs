//! Why an event happened, back to the first cause, and what came of it.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use super::line::seconds;
use super::story::{sentence, short};
use super::{Event, TraceFile};
use crate::kinds::Kind;

/// Direct effects that are named; the others are counted.
const EFFECTS_SHOWN_MAX: usize = 20;
/// Causes besides the first one that are named for each step; the others are counted.
const JOINS_SHOWN_MAX: usize = 8;

/// The causes and effects of the event at this place of the trace, in words, with a line end
/// behind each line.
#[must_use]
pub fn explain(trace: &TraceFile, place: usize) -> String {
    let event = &trace.events[place];
    let mut out = format!(
        "event {} (n:{}) at {} s\n",
        event.eid,
        event.n,
        seconds(event.t)
    );
    let _ = writeln!(out, "  {}", on(event));
    if !event.refs.is_empty() {
        let _ = writeln!(out, "  about {}", event.refs.join(", "));
    }
    let known = Kind::ALL.into_iter().find(|kind| kind.name() == event.kind);
    if let Some(rule) = known.and_then(Kind::rule) {
        let _ = writeln!(out, "  {rule}");
    }
    why(&mut out, trace, place);
    effects(&mut out, trace, place);
    out
}

/// The first causes, from the root to the event.
fn chain(trace: &TraceFile, place: usize) -> Vec<usize> {
    let mut chain = vec![place];
    let mut at = place;
    while let Some(cause) = trace.events[at].causes.first()
        && let Some(before) = trace.place(*cause)
        // An effect cannot stand before its cause; a damaged file must not send us in circles.
        && before < at
    {
        chain.push(before);
        at = before;
    }
    chain.reverse();
    chain
}

fn why(out: &mut String, trace: &TraceFile, place: usize) {
    let chain = chain(trace, place);
    let root = &trace.events[chain[0]];
    if !root.causes.is_empty() {
        let _ = writeln!(out, "why, as far back as the trace goes:");
    } else if chain.len() == 1 {
        let _ = writeln!(out, "why: nothing brought it about, a root");
        return;
    } else {
        let _ = writeln!(out, "why, from the first cause on:");
    }
    let mut before: Option<&Event> = None;
    for at in &chain {
        let event = &trace.events[*at];
        let later = match before {
            None => seconds(event.t),
            Some(before) => format!("+{} us", event.t.saturating_sub(before.t)),
        };
        let _ = writeln!(out, "  {later:>14}  {}  {}", short(event), on(event));
        if let Some((from, to, number)) = event.packet()
            && event.kind == Kind::PacketSent.name()
        {
            let _ = writeln!(out, "{:>16}  packet {number} from {from} to {to}", "");
        }
        joins(out, trace, event);
        before = Some(event);
    }
}

/// What an event needed besides its first cause: the other members of a batch, of a quorum.
fn joins(out: &mut String, trace: &TraceFile, event: &Event) {
    let others = event.causes.get(1..).unwrap_or_default();
    let known = others.iter().filter_map(|cause| trace.place(*cause));
    for place in known.take(JOINS_SHOWN_MAX) {
        let other = &trace.events[place];
        let at = seconds(other.t);
        let _ = writeln!(
            out,
            "{:>16}  also {}  {} at {at}",
            "",
            short(other),
            on(other)
        );
    }
    if others.len() > JOINS_SHOWN_MAX {
        let more = others.len() - JOINS_SHOWN_MAX;
        let _ = writeln!(out, "{:>16}  also {more} others", "");
    }
}

fn effects(out: &mut String, trace: &TraceFile, place: usize) {
    let event = &trace.events[place];
    let direct = trace.effects(event.eid);
    if direct.is_empty() {
        let _ = writeln!(out, "what came of it: nothing");
        return;
    }
    let all = downstream(trace, place).len();
    let _ = writeln!(
        out,
        "what came of it, {} at once and {all} in all:",
        direct.len()
    );
    for effect in direct.iter().take(EFFECTS_SHOWN_MAX) {
        let effect = &trace.events[*effect];
        let later = format!("+{} us", effect.t.saturating_sub(event.t));
        let _ = writeln!(out, "  {later:>14}  {}  {}", short(effect), on(effect));
    }
    if direct.len() > EFFECTS_SHOWN_MAX {
        let more = direct.len() - EFFECTS_SHOWN_MAX;
        let _ = writeln!(out, "{:>16}  and {more} others", "");
    }
}

/// The places of all that followed.
fn downstream(trace: &TraceFile, place: usize) -> BTreeSet<usize> {
    let mut found = BTreeSet::new();
    let mut open = vec![place];
    while let Some(at) = open.pop() {
        for effect in trace.effects(trace.events[at].eid) {
            if found.insert(*effect) {
                open.push(*effect);
            }
        }
    }
    found
}

/// Where, and what.
fn on(event: &Event) -> String {
    let lane = event.lane();
    format!("{lane}: {}", sentence(event, &event.subject()))
}
