//! Reads actions.

use std::collections::BTreeMap;

use super::action::{Action, Ask, DiskFault, Field, NodeRef, Placement, StateWord, Verb, Version};
use super::words::{ParseError, Words, is_name};
use crate::clock::DRIFT_PPM_MAX;
use crate::net::Weather;
use crate::swarm::Unit;

const NODE: &str = "a node like n1, primary of b1, replica of b1";
const BUFFER: &str = "a buffer like b1";
const NEW_NAME: &str = "a name like n2x";
const COPIES_MAX: u64 = 8;
type Reader = fn(&mut Words) -> Result<Action, ParseError>;

/// The first word of each action and what reads the rest.
const ACTIONS: [(&str, Reader); 33] = [
    ("crash", |words| Ok(Action::Crash(node(words)?))),
    ("kill", |words| Ok(Action::Kill(node(words)?))),
    ("stop", |words| Ok(Action::Stop(node(words)?))),
    ("start", |words| match words.takes("all") {
        true => Ok(Action::StartAll),
        false => Ok(Action::Start(node(words)?)),
    }),
    ("pause", pause),
    ("resume", |words| Ok(Action::Resume(node(words)?))),
    ("reformat", |words| Ok(Action::Reformat(node(words)?))),
    ("clone", |words| {
        let (node, name) = node_and_name(words, "as")?;
        Ok(Action::Clone { node, name })
    }),
    ("snapshot", |words| {
        let (node, name) = node_and_name(words, "as")?;
        Ok(Action::Snapshot { node, name })
    }),
    ("restore", |words| {
        let (node, name) = node_and_name(words, "from")?;
        Ok(Action::Restore { node, name })
    }),
    ("version", |words| {
        let node = node(words)?;
        let version = *words.one_of(Version::ALL, |it| it.name())?;
        Ok(Action::Version { node, version })
    }),
    ("raise", |_| Ok(Action::Raise)),
    ("partition", partition),
    ("cut", |words| {
        let (from, to) = link(words)?;
        Ok(Action::Cut { from, to })
    }),
    ("isolate", |words| Ok(Action::Isolate(node(words)?))),
    ("heal", |_| Ok(Action::Heal)),
    ("clog", |words| {
        let (from, to) = link(words)?;
        words.expect("for")?;
        let last = words.quantity(Unit::Micros)?;
        Ok(Action::Clog { from, to, last })
    }),
    ("slow", |words| {
        let (from, to) = link(words)?;
        let bytes = words.quantity(Unit::Bytes)?;
        Ok(Action::Slow { from, to, bytes })
    }),
    ("reset", |words| {
        let (one, other) = (node(words)?, node(words)?);
        Ok(Action::Reset { one, other })
    }),
    ("net", net),
    ("disk", disk),
    ("clock", clock),
    ("move", |words| {
        let buffer = words.name(BUFFER)?;
        words.expect("to")?;
        let to = nodes(words)?;
        Ok(Action::Move { buffer, to })
    }),
    ("hand-over", |words| {
        let buffer = words.name(BUFFER)?;
        words.expect("to")?;
        let to = node(words)?;
        Ok(Action::HandOver { buffer, to })
    }),
    ("drain", |words| Ok(Action::Drain(node(words)?))),
    ("undrain", |words| Ok(Action::Undrain(node(words)?))),
    ("rebalance", |words| {
        let placement = words.one_of(Placement::ALL, |it| it.name())?;
        Ok(Action::Rebalance(*placement))
    }),
    ("force", |words| {
        let buffer = words.name(BUFFER)?;
        words.expect("to")?;
        let node = node(words)?;
        Ok(Action::Force { buffer, node })
    }),
    ("elect", |words| {
        let buffer = words.name(BUFFER)?;
        words.expect("accepting-loss")?;
        Ok(Action::Elect(buffer))
    }),
    ("create", create),
    ("topic", topic),
    ("state", |words| {
        let buffer = words.name(BUFFER)?;
        let state = *words.one_of(StateWord::ALL, |it| it.name())?;
        Ok(Action::State { buffer, state })
    }),
    ("client", client),
];

/// Reads an action; what follows it is left.
pub(crate) fn action(words: &mut Words) -> Result<Action, ParseError> {
    let (_, read) = words.one_of(&ACTIONS, |(name, _)| name)?;
    read(words)
}

pub(super) fn node(words: &mut Words) -> Result<NodeRef, ParseError> {
    for (word, make) in [
        ("primary", NodeRef::PrimaryOf as fn(String) -> NodeRef),
        ("replica", NodeRef::ReplicaOf),
    ] {
        if words.takes(word) {
            words.expect("of")?;
            return Ok(make(words.name(BUFFER)?));
        }
    }
    Ok(NodeRef::Named(words.name(NODE)?))
}

/// At least one, as many as there are before a word that is none.
fn nodes(words: &mut Words) -> Result<Vec<NodeRef>, ParseError> {
    let mut nodes = vec![node(words)?];
    // What may follow the action of a timed line is no node.
    while words
        .peek()
        .is_some_and(|word| is_name(word) && !matches!(word, "from" | "until"))
    {
        nodes.push(node(words)?);
    }
    Ok(nodes)
}

fn node_and_name(words: &mut Words, between: &str) -> Result<(NodeRef, String), ParseError> {
    let node = node(words)?;
    words.expect(between)?;
    Ok((node, words.name(NEW_NAME)?))
}

fn link(words: &mut Words) -> Result<(NodeRef, NodeRef), ParseError> {
    let from = node(words)?;
    words.expect("->")?;
    Ok((from, node(words)?))
}

fn pause(words: &mut Words) -> Result<Action, ParseError> {
    let node = node(words)?;
    let last = match words.takes("for") {
        true => Some(words.quantity(Unit::Micros)?),
        false => None,
    };
    Ok(Action::Pause { node, last })
}

fn partition(words: &mut Words) -> Result<Action, ParseError> {
    let mut groups = vec![nodes(words)?];
    words.expect("|")?;
    groups.push(nodes(words)?);
    while words.takes("|") {
        groups.push(nodes(words)?);
    }
    Ok(Action::Partition(groups))
}

fn net(words: &mut Words) -> Result<Action, ParseError> {
    let allowed = || {
        let net = Weather::OPTIONS.iter();
        let names: Vec<String> = net.map(|opt| format!("{}=", opt.name())).collect();
        names.join(", ")
    };
    let mut options = Vec::new();
    while let Some((name, value)) = words.peek().and_then(|word| word.split_once('=')) {
        let opt = Weather::OPTIONS.into_iter().find(|opt| opt.name() == name);
        let opt = opt.ok_or_else(|| words.wrong(&allowed()))?;
        let value = opt.parse(value).map_err(|_| words.wrong(&opt.allowed()))?;
        options.push((opt, value));
        words.take(&allowed())?;
    }
    if options.is_empty() {
        return Err(words.wrong(&allowed()));
    }
    Ok(Action::Net(options))
}

fn disk(words: &mut Words) -> Result<Action, ParseError> {
    let node = node(words)?;
    if words.takes("slow") {
        let by = words.quantity(Unit::Micros)?;
        return Ok(Action::SlowDisk { node, by });
    }
    let fault = words.one_of(DiskFault::ALL, |it| it.name());
    let fault = fault.map_err(|error| ParseError {
        allowed: format!("{}, slow", error.allowed),
        ..error
    })?;
    let fault = *fault;
    Ok(Action::Disk { node, fault })
}

fn clock(words: &mut Words) -> Result<Action, ParseError> {
    let node = node(words)?;
    match *words.one_of(&["jump", "drift"], |it| it)? {
        "jump" => {
            let by = words.signed(Unit::Micros)?;
            Ok(Action::Jump { node, by })
        }
        _ => {
            let ppm = words.signed(Unit::Ppm)?;
            let bound = i64::from(DRIFT_PPM_MAX);
            let ppm = i32::try_from(ppm)
                .ok()
                .filter(|it| i64::from(it.abs()) <= bound);
            let allowed = format!("at most {DRIFT_PPM_MAX}ppm");
            let ppm = ppm.ok_or_else(|| words.last_wrong(&allowed))?;
            Ok(Action::Drift { node, ppm })
        }
    }
}

fn create(words: &mut Words) -> Result<Action, ParseError> {
    let buffer = words.name(BUFFER)?;
    words.expect("copies")?;
    let copies = words.quantity(Unit::Count)?;
    if !(1..=COPIES_MAX).contains(&copies) {
        return Err(words.last_wrong("a number from 1 to 8"));
    }
    Ok(Action::Create { buffer, copies })
}

fn topic(words: &mut Words) -> Result<Action, ParseError> {
    let topic = words.name("a topic like t1")?;
    words.expect("of")?;
    let mut buffers = vec![words.name(BUFFER)?];
    while words
        .peek()
        .is_some_and(|word| is_name(word) && !matches!(word, "from" | "until"))
    {
        buffers.push(words.name(BUFFER)?);
    }
    Ok(Action::Topic { topic, buffers })
}

fn client(words: &mut Words) -> Result<Action, ParseError> {
    let client = words.name("a client like c1")?;
    let verb = *words.one_of(Verb::ALL, |it| it.name())?;
    let target = words.name("a buffer like b1 or a topic like t1")?;
    let text = match words.next_is_quoted() {
        true if verb.takes_text() => Some(words.take("a text")?),
        _ => None,
    };
    let fields = verb.fields();
    let allowed = || {
        let names: Vec<String> = fields.iter().map(|field| format!("{field}=")).collect();
        names.join(", ")
    };
    let mut with = BTreeMap::new();
    while let Some((name, value)) = words.peek().and_then(|word| word.split_once('=')) {
        let field = fields.iter().find(|field| field.name() == name);
        let field = *field.ok_or_else(|| words.wrong(&allowed()))?;
        check(words, field, value)?;
        with.insert(field, value.to_owned());
        words.take("a field")?;
    }
    Ok(Action::Client(Ask {
        client,
        verb,
        target,
        text,
        with,
    }))
}

/// Whether a field can have this value.
fn check(words: &Words, field: Field, value: &str) -> Result<(), ParseError> {
    let number = |least: u64, most: u64, allowed: &str| match value.parse::<u64>() {
        Ok(number) if (least..=most).contains(&number) => Ok(()),
        _ => Err(words.wrong(allowed)),
    };
    match field {
        Field::Batch | Field::Limit => number(1, 10_000, "a number from 1 to 10000"),
        Field::Bytes => number(0, 1 << 20, "a number from 0 to 1048576"),
        Field::After => number(0, 1 << 63, "a seq"),
        Field::IfMatch => number(0, 1 << 63, "the seq with which the log is to end"),
        Field::Lease => match Unit::Micros.parse(value) {
            Some(_) => Ok(()),
            None => Err(words.wrong(Unit::Micros.allowed())),
        },
        Field::Retry if matches!(value, "on" | "off") => Ok(()),
        Field::Retry => Err(words.wrong("retry=on, retry=off")),
        Field::To if is_name(value) => Ok(()),
        Field::To => Err(words.wrong("to= and a node like n1")),
        Field::Key
        | Field::Tag
        | Field::Idem
        | Field::Producer
        | Field::Consumer
        | Field::Token => match value.is_empty() {
            true => Err(words.wrong("something behind the =")),
            false => Ok(()),
        },
    }
}
