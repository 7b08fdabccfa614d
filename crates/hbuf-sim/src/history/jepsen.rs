//! Histories in the form of Jepsen's, so that outsiders can judge them with their own checkers.
//!
//! EDN, one operation a line: an `:invoke`, and later, by the same process, `:ok` when it was
//! answered, `:fail` when it surely had no effect, `:info` when nobody knows. A process that was
//! left without an answer does nothing more: its client goes on as another one, as Jepsen wants it.
//!
//! - Buffers as in `jepsen.tests.kafka`: `:send` with `[[:send buffer content]]` gives
//!   `[[:send buffer [seq content]]]`, and `:poll` gives `[[:poll {buffer [[seq content] …]}]]`.
//!   An answer that promises less than in sync is an `:info`. Leave out what a new history lost.
//! - Keys as Knossos' `cas-register`, each with its key (`jepsen.independent`): `:read`, `:write`,
//!   `:cas`. Values stand for their versions, so each must be put once only; no value is `nil`. A
//!   change that was refused is a `:fail`.
//! - Locks as Knossos' `mutex`: `:acquire` and `:release`; only for leases that do not lapse. Other
//!   calls of a lock are left out.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::{self, Write};

use hbuf_core::ids::Seq;

use super::linear::OperationOf;
use super::lines::Recorded;
use super::lock::{LockAnswer, LockCall};
use super::logged::{AppendOp, Level, ReadOp};
use super::operation::{ClientId, Moment, OpId, Operation, Outcome};
use super::register::{Condition, Register, RegisterAnswer, RegisterCall};

/// Which of a history's objects are written: each kind is judged by a checker of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Objects {
    /// Appends and reads of buffers.
    Buffers,
    /// Keys of collections.
    Keys,
    /// Locks.
    Locks,
}

/// How an operation ends.
enum Ending {
    Ok(String),
    Fail,
    Info,
}

/// An operation as it will be written.
struct Written {
    id: OpId,
    client: ClientId,
    begin: Moment,
    end: Option<Moment>,
    f: &'static str,
    asked: String,
    ending: Ending,
}

/// Writes one kind of a history's operations as EDN.
pub fn write_jepsen(recorded: &Recorded, kind: Objects, out: &mut dyn Write) -> io::Result<()> {
    let operations: Vec<Written> = match kind {
        Objects::Buffers => {
            let appends = recorded.log.appends.iter().map(send);
            appends.chain(recorded.log.reads.iter().map(poll)).collect()
        }
        Objects::Keys => {
            let values = values_by_version(&recorded.registers);
            let keys = recorded.registers.iter();
            keys.map(|(key, one)| key_operation(key, one, &values))
                .collect()
        }
        Objects::Locks => {
            let locks = recorded.locks.iter();
            locks
                .filter_map(|(name, one)| lock_operation(name, one))
                .collect()
        }
    };
    write_events(&operations, out)
}

fn write_events(operations: &[Written], out: &mut dyn Write) -> io::Result<()> {
    // Of one moment the calls come first: operations that meet ran at the same time.
    let mut events: Vec<(Moment, bool, OpId, &Written)> = Vec::new();
    for one in operations {
        events.push((one.begin, false, one.id, one));
        if let Some(end) = one.end {
            events.push((end, true, one.id, one));
        }
    }
    events.sort_by_key(|(at, answer, id, _)| (*at, *answer, *id));
    let clients = operations.iter().map(|one| u64::from(one.client.0) + 1);
    let clients = clients.max().unwrap_or(0);
    // A client's process: its next one when it is left without an answer, or asks for more while
    // it waits.
    let mut lives: BTreeMap<ClientId, u64> = BTreeMap::new();
    let mut processes: BTreeMap<OpId, u64> = BTreeMap::new();
    let mut busy: BTreeMap<ClientId, OpId> = BTreeMap::new();
    for (index, (at, answer, id, one)) in events.iter().enumerate() {
        let life = lives.entry(one.client).or_insert(0);
        if !answer {
            if busy.insert(one.client, *id).is_some() {
                *life += 1;
            }
            processes.insert(*id, u64::from(one.client.0) + clients * *life);
        } else if busy.get(&one.client) == Some(id) && !matches!(one.ending, Ending::Info) {
            busy.remove(&one.client);
        }
        let (kind, value) = match (answer, &one.ending) {
            (false, _) => (":invoke", &one.asked),
            (true, Ending::Ok(value)) => (":ok", value),
            (true, Ending::Fail) => (":fail", &one.asked),
            (true, Ending::Info) => (":info", &one.asked),
        };
        let (process, f, time) = (processes[id], one.f, at.0);
        writeln!(
            out,
            "{{:index {index}, :type {kind}, :process {process}, :time {time}, :f {f}, :value {value}}}"
        )?;
    }
    Ok(())
}

fn written<C, A>(
    one: &Operation<C, A>,
    f: &'static str,
    asked: String,
    ending: impl Fn(&A) -> Ending,
) -> Written {
    let ending = match &one.outcome {
        Outcome::Answered { answer, .. } => ending(answer),
        Outcome::Failed { .. } => Ending::Fail,
        Outcome::Unknown => Ending::Info,
    };
    Written {
        id: one.id,
        client: one.client,
        begin: one.begin,
        end: one.outcome.end(),
        f,
        asked,
        ending,
    }
}

/// A text as EDN writes it.
fn quoted(text: &str) -> String {
    let mut quoted = String::from("\"");
    for character in text.chars() {
        match character {
            '"' | '\\' => quoted.extend(['\\', character]),
            '\n' => quoted.push_str("\\n"),
            '\r' => quoted.push_str("\\r"),
            '\t' => quoted.push_str("\\t"),
            other => quoted.push(other),
        }
    }
    quoted.push('"');
    quoted
}

fn send(append: &AppendOp) -> Written {
    let buffer = quoted(&append.call.buffer);
    let sends = |first: Option<Seq>| {
        let mut text = String::from("[");
        for (at, content) in (0..).zip(&append.call.messages) {
            let space = if at == 0 { "" } else { " " };
            let done = match first {
                None => write!(text, "{space}[:send {buffer} \"{content}\"]"),
                Some(first) => {
                    let seq = first.plus(at);
                    write!(text, "{space}[:send {buffer} [{seq} \"{content}\"]]")
                }
            };
            done.expect("writing to a String cannot fail");
        }
        text.push(']');
        text
    };
    written(append, ":send", sends(None), |stored| match stored.level {
        Level::InSync => Ending::Ok(sends(Some(stored.first))),
        Level::Local | Level::Framed => Ending::Info,
    })
}

fn poll(read: &ReadOp) -> Written {
    let buffer = quoted(&read.call.buffer);
    written(read, ":poll", "[[:poll]]".to_owned(), |shown| {
        let mut text = format!("[[:poll {{{buffer} [");
        let contents = shown.messages.iter();
        let contents = contents.filter_map(|it| it.content.map(|content| (it.seq, content)));
        for (at, (seq, content)) in contents.enumerate() {
            let space = if at == 0 { "" } else { " " };
            write!(text, "{space}[{seq} \"{content}\"]").expect("writing to a String cannot fail");
        }
        text.push_str("]}]]");
        Ending::Ok(text)
    })
}

/// The values that answers tied to versions, by key.
type Values<'a> = BTreeMap<(&'a str, u64), &'a str>;

fn values_by_version(registers: &[(String, OperationOf<Register>)]) -> Values<'_> {
    let mut values = BTreeMap::new();
    for (key, one) in registers {
        let known = match (&one.call, one.outcome.answer()) {
            (_, Some(RegisterAnswer::Value { value, version })) => Some((version, value)),
            (RegisterCall::Put { value, .. }, Some(RegisterAnswer::Stored { version })) => {
                Some((version, value))
            }
            _ => None,
        };
        if let Some((version, value)) = known {
            values.insert((key.as_str(), *version), value.as_str());
        }
    }
    values
}

fn key_operation(key: &str, one: &OperationOf<Register>, values: &Values<'_>) -> Written {
    let name = quoted(key);
    let of_key = |value: &str| format!("[{name} {value}]");
    let (new, when) = match &one.call {
        RegisterCall::Get => {
            return written(one, ":read", of_key("nil"), |answer| match answer {
                RegisterAnswer::Value { value, .. } => Ending::Ok(of_key(&quoted(value))),
                _ => Ending::Ok(of_key("nil")),
            });
        }
        RegisterCall::Put { value, when } => (quoted(value), *when),
        RegisterCall::Delete { when } => ("nil".to_owned(), *when),
    };
    let expected = match when {
        // That there was nothing to delete is as good as a read of nothing.
        _ if one.outcome.answer() == Some(&RegisterAnswer::Absent) => {
            return written(one, ":read", of_key("nil"), |_| Ending::Ok(of_key("nil")));
        }
        Condition::Always => None,
        Condition::Absent => Some("nil".to_owned()),
        // A version that no answer named is that of no value which was ever seen.
        Condition::Matches(version) => Some(match values.get(&(key, version)) {
            Some(value) => quoted(value),
            None => quoted(&format!("version {version}, never seen")),
        }),
    };
    let (f, asked) = match expected {
        None => (":write", of_key(&new)),
        Some(expected) => (":cas", of_key(&format!("[{expected} {new}]"))),
    };
    let done = asked.clone();
    written(one, f, asked, move |answer| match answer {
        RegisterAnswer::Refused => Ending::Fail,
        _ => Ending::Ok(done.clone()),
    })
}

fn lock_operation(name: &str, one: &Operation<LockCall, LockAnswer>) -> Option<Written> {
    let f = match one.call {
        LockCall::Acquire => ":acquire",
        LockCall::Release(_) => ":release",
        LockCall::Extend(_) | LockCall::Use(_) => return None,
    };
    let asked = format!("[{} nil]", quoted(name));
    let done = asked.clone();
    Some(written(one, f, asked, move |answer| match answer {
        LockAnswer::Granted(_) | LockAnswer::Released => Ending::Ok(done.clone()),
        _ => Ending::Fail,
    }))
}
