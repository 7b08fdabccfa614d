//! Histories as JSON lines, so that whoever talks to real servers can record what it saw.
//!
//! ```text
//! {"hbuf-history":1}
//! {"f":"append","op":1,"client":2,"begin":10,"end":15,"buffer":"b","messages":["<hash>"],
//!  "key":"k","ok":{"level":"insync","seq":4,"epoch":1,"history":"<uuid>","ids":["<hash>"]}}
//! {"f":"read","op":2,"client":2,"begin":16,"end":17,"buffer":"b","after":3,"freshness":"any",
//!  "filtered":false,"ok":{"from":"n1","history":"<uuid>","through":4,"tail":4,
//!  "messages":[[4,"<hash>","<hash>"]]}}
//! {"f":"put","op":3,"client":1,"begin":18,"object":"k","value":"v","if":7}
//! {"f":"acquire","op":4,"client":1,"begin":18,"end":19,"object":"l","ok":{"granted":3}}
//! {"f":"log","copy":"n1","buffer":"b","in_sync":true,"histories":[["<uuid>",0]],"first":1,
//!  "commit":9,"gone":[5]}
//! {"f":"record","seq":1,"epoch":1,"content":"<hash>","id":"<hash>","message":true}
//! ```
//!
//! An operation with `ok` was answered, one with `failed` failed, one with neither has no answer.
//! `key` or `producer` (`["id",epoch,number]`) is the token of an append; `if` of a put or delete is
//! a version or `"absent"`. Records belong to the log before them. Contents, ids, `from` and `tail`
//! that are not known are `null`. A line is one object; unknown members are passed over.

use std::io::{self, BufRead, Write};

use hbuf_core::ids::{Epoch, Hash, Seq, Uuid};
use serde_json::{Value, json};

use super::linear::OperationOf;
use super::lock::{Lock, LockAnswer, LockCall};
use super::logged::{
    Append, FinalLog, Freshness, HistoryStart, Level, LogHistory, LogRecord, Read, Shown,
    ShownMessage, Stored, Token,
};
use super::members::{Members, Problem};
use super::operation::{ClientId, Moment, OpId, Operation, Outcome};
use super::register::{Condition, Register, RegisterAnswer, RegisterCall};

/// All that was recorded of one run.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Recorded {
    /// Appends, reads and logs of buffers.
    pub log: LogHistory,
    /// Operations on keys, each with its key.
    pub registers: Vec<(String, OperationOf<Register>)>,
    /// Operations on locks, each with its lock's name.
    pub locks: Vec<(String, OperationOf<Lock>)>,
}

/// Why lines are no history.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// They could not be read.
    #[error("the history cannot be read")]
    Io(#[from] io::Error),
    /// A line is not as it must be.
    #[error("line {line} of the history: {problem}")]
    Line {
        /// Its number, from 1.
        line: u64,
        /// What is wrong with it.
        problem: Problem,
    },
}

/// Writes a history as JSON lines.
pub fn write_lines(recorded: &Recorded, out: &mut dyn Write) -> io::Result<()> {
    writeln!(out, "{}", json!({"hbuf-history": 1}))?;
    for append in &recorded.log.appends {
        let mut line = operation(append, stored);
        line["f"] = "append".into();
        line["buffer"] = append.call.buffer.as_str().into();
        line["messages"] = append.call.messages.iter().map(hex).collect();
        match &append.call.token {
            None => {}
            Some(Token::Key(key)) => line["key"] = key.as_str().into(),
            Some(Token::Producer { id, epoch, number }) => {
                line["producer"] = json!([id, epoch, number]);
            }
        }
        writeln!(out, "{line}")?;
    }
    for read in &recorded.log.reads {
        let mut line = operation(read, shown);
        line["f"] = "read".into();
        line["buffer"] = read.call.buffer.as_str().into();
        line["after"] = read.call.after.0.into();
        line["filtered"] = read.call.filtered.into();
        line["freshness"] = match read.call.freshness {
            Freshness::Linearizable => "linearizable".into(),
            Freshness::Any => "any".into(),
        };
        writeln!(out, "{line}")?;
    }
    for (key, one) in &recorded.registers {
        let mut line = operation(one, register_answer);
        line["object"] = key.as_str().into();
        register_call(&one.call, &mut line);
        writeln!(out, "{line}")?;
    }
    for (name, one) in &recorded.locks {
        let mut line = operation(one, lock_answer);
        line["object"] = name.as_str().into();
        lock_call(one.call, &mut line);
        writeln!(out, "{line}")?;
    }
    recorded
        .log
        .logs
        .iter()
        .try_for_each(|log| write_log(log, out))
}

/// Reads what [`write_lines`] writes.
pub fn read_lines(lines: impl BufRead) -> Result<Recorded, ReadError> {
    let mut recorded = Recorded::default();
    for (number, text) in (1..).zip(lines.lines()) {
        let text = text?;
        let problem = |problem| ReadError::Line {
            line: number,
            problem,
        };
        let line = Members::parse(&text).map_err(problem)?;
        if number == 1 {
            line.version().map_err(problem)?;
        } else {
            read_line(&line, &mut recorded).map_err(problem)?;
        }
    }
    Ok(recorded)
}

fn hex(hash: &Hash) -> Value {
    hash.to_string().into()
}

fn operation<C, A>(one: &Operation<C, A>, answer: fn(&A) -> Value) -> Value {
    let mut line = json!({"op": one.id.0, "client": one.client.0, "begin": one.begin.0});
    if let Some(end) = one.outcome.end() {
        line["end"] = end.0.into();
    }
    match &one.outcome {
        Outcome::Answered { answer: it, .. } => line["ok"] = answer(it),
        Outcome::Failed { .. } => line["failed"] = true.into(),
        Outcome::Unknown => {}
    }
    line
}

fn stored(answer: &Stored) -> Value {
    json!({
        "level": answer.level.name(),
        "seq": answer.first.0,
        "epoch": answer.epoch.0,
        "history": answer.history.to_string(),
        "ids": answer.ids.iter().map(hex).collect::<Value>(),
    })
}

fn shown(answer: &Shown) -> Value {
    let messages = answer.messages.iter().map(|it| {
        let (content, id) = (it.content.as_ref().map(hex), it.id.as_ref().map(hex));
        json!([it.seq.0, content, id])
    });
    json!({
        "from": answer.from,
        "history": answer.history.to_string(),
        "through": answer.through.0,
        "tail": answer.tail.map(|tail| tail.0),
        "messages": messages.collect::<Value>(),
    })
}

fn register_call(call: &RegisterCall, line: &mut Value) {
    let (name, when) = match call {
        RegisterCall::Get => ("get", Condition::Always),
        RegisterCall::Put { value, when } => {
            line["value"] = value.as_str().into();
            ("put", *when)
        }
        RegisterCall::Delete { when } => ("delete", *when),
    };
    line["f"] = name.into();
    match when {
        Condition::Always => {}
        Condition::Matches(version) => line["if"] = version.into(),
        Condition::Absent => line["if"] = "absent".into(),
    }
}

fn register_answer(answer: &RegisterAnswer) -> Value {
    match answer {
        RegisterAnswer::Value { value, version } => json!({"value": value, "version": version}),
        RegisterAnswer::Absent => json!({"absent": true}),
        RegisterAnswer::Stored { version } => json!({"stored": version}),
        RegisterAnswer::Deleted { version } => json!({"deleted": version}),
        RegisterAnswer::Refused => json!({"refused": true}),
    }
}

fn lock_call(call: LockCall, line: &mut Value) {
    let (name, token) = match call {
        LockCall::Acquire => ("acquire", None),
        LockCall::Extend(token) => ("extend", Some(token)),
        LockCall::Release(token) => ("release", Some(token)),
        LockCall::Use(token) => ("use", Some(token)),
    };
    line["f"] = name.into();
    if let Some(token) = token {
        line["token"] = token.into();
    }
}

fn lock_answer(answer: &LockAnswer) -> Value {
    match answer {
        LockAnswer::Granted(token) => json!({"granted": token}),
        LockAnswer::Held => json!({"held": true}),
        LockAnswer::Extended => json!({"extended": true}),
        LockAnswer::Released => json!({"released": true}),
        LockAnswer::NotHeld => json!({"not_held": true}),
        LockAnswer::Accepted => json!({"accepted": true}),
        LockAnswer::Fenced => json!({"fenced": true}),
    }
}

fn write_log(log: &FinalLog, out: &mut dyn Write) -> io::Result<()> {
    let histories = log.histories.iter();
    let histories = histories.map(|it| json!([it.history.to_string(), it.kept.0]));
    let line = json!({
        "f": "log",
        "copy": log.copy,
        "buffer": log.buffer,
        "in_sync": log.in_sync,
        "histories": histories.collect::<Value>(),
        "first": log.first.0,
        "commit": log.commit.0,
        "gone": log.gone.iter().map(|seq| seq.0).collect::<Value>(),
    });
    writeln!(out, "{line}")?;
    for record in &log.records {
        let line = json!({
            "f": "record",
            "seq": record.seq.0,
            "epoch": record.epoch.0,
            "content": record.content.as_ref().map(hex),
            "id": record.id.as_ref().map(hex),
            "message": record.is_message,
        });
        writeln!(out, "{line}")?;
    }
    Ok(())
}

fn read_line(line: &Members<'_>, recorded: &mut Recorded) -> Result<(), Problem> {
    match line.text("f")? {
        "append" => {
            let append = read_operation(line, read_append(line)?, read_stored)?;
            recorded.log.appends.push(append);
        }
        "read" => {
            let read = read_operation(line, read_call(line)?, read_shown)?;
            recorded.log.reads.push(read);
        }
        "get" | "put" | "delete" => {
            let one = read_operation(line, read_register_call(line)?, read_register_answer)?;
            let key = line.text("object")?.to_owned();
            recorded.registers.push((key, one));
        }
        "acquire" | "extend" | "release" | "use" => {
            let one = read_operation(line, read_lock_call(line)?, read_lock_answer)?;
            let name = line.text("object")?.to_owned();
            recorded.locks.push((name, one));
        }
        "log" => recorded.log.logs.push(read_log(line)?),
        "record" => {
            let log = recorded.log.logs.last_mut();
            let log = log.ok_or(Problem::NoLogBefore)?;
            log.records.push(read_record(line)?);
        }
        other => return Err(Problem::Unknown(other.to_owned())),
    }
    Ok(())
}

fn read_operation<C, A>(
    line: &Members<'_>,
    call: C,
    answer: fn(&Members<'_>) -> Result<A, Problem>,
) -> Result<Operation<C, A>, Problem> {
    let begin = Moment(line.number("begin")?);
    let outcome = if let Some(ok) = line.members("ok")? {
        let end = Moment(line.number("end")?);
        Outcome::Answered {
            end,
            answer: answer(&ok)?,
        }
    } else if line.flag("failed")? {
        let end = Moment(line.number("end")?);
        Outcome::Failed { end }
    } else {
        Outcome::Unknown
    };
    if outcome.end().is_some_and(|end| end < begin) {
        return Err(Problem::EndsBeforeItBegins);
    }
    Ok(Operation {
        id: OpId(line.number("op")?),
        client: ClientId(line.small("client")?),
        begin,
        call,
        outcome,
    })
}

fn read_append(line: &Members<'_>) -> Result<Append, Problem> {
    let token = match (line.optional_text("key")?, line.list("producer")?) {
        (Some(key), _) => Some(Token::Key(key.to_owned())),
        (None, Some(producer)) => Some(Token::Producer {
            id: producer.text(0)?.to_owned(),
            epoch: producer.number(1)?,
            number: producer.number(2)?,
        }),
        (None, None) => None,
    };
    let messages = line.hashes("messages")?;
    if messages.is_empty() {
        return Err(Problem::Missing("messages"));
    }
    Ok(Append {
        buffer: line.text("buffer")?.to_owned(),
        token,
        messages,
    })
}

fn read_stored(ok: &Members<'_>) -> Result<Stored, Problem> {
    let level = match ok.text("level")? {
        "insync" => Level::InSync,
        "local" => Level::Local,
        "none" => Level::Framed,
        other => return Err(Problem::Unknown(other.to_owned())),
    };
    Ok(Stored {
        level,
        first: Seq(ok.number("seq")?),
        epoch: Epoch(ok.small("epoch")?),
        history: ok.uuid("history")?,
        ids: ok.hashes("ids")?,
    })
}

fn read_call(line: &Members<'_>) -> Result<Read, Problem> {
    let freshness = match line.text("freshness")? {
        "linearizable" => Freshness::Linearizable,
        "any" => Freshness::Any,
        other => return Err(Problem::Unknown(other.to_owned())),
    };
    Ok(Read {
        buffer: line.text("buffer")?.to_owned(),
        after: Seq(line.number("after")?),
        freshness,
        filtered: line.flag("filtered")?,
    })
}

fn read_shown(ok: &Members<'_>) -> Result<Shown, Problem> {
    let mut messages = Vec::new();
    for message in ok.lists("messages")? {
        messages.push(ShownMessage {
            seq: Seq(message.number(0)?),
            content: message.optional_hash(1)?,
            id: message.optional_hash(2)?,
        });
    }
    Ok(Shown {
        from: ok.optional_text("from")?.map(str::to_owned),
        history: ok.uuid("history")?,
        through: Seq(ok.number("through")?),
        tail: ok.optional_number("tail")?.map(Seq),
        messages,
    })
}

fn read_register_call(line: &Members<'_>) -> Result<RegisterCall, Problem> {
    let when = line.condition("if")?;
    Ok(match line.text("f")? {
        "get" => RegisterCall::Get,
        "put" => RegisterCall::Put {
            value: line.text("value")?.to_owned(),
            when,
        },
        _ => RegisterCall::Delete { when },
    })
}

fn read_register_answer(ok: &Members<'_>) -> Result<RegisterAnswer, Problem> {
    if let Some(value) = ok.optional_text("value")? {
        let version = ok.number("version")?;
        let value = value.to_owned();
        return Ok(RegisterAnswer::Value { value, version });
    }
    if let Some(version) = ok.optional_number("stored")? {
        return Ok(RegisterAnswer::Stored { version });
    }
    if let Some(version) = ok.optional_number("deleted")? {
        return Ok(RegisterAnswer::Deleted { version });
    }
    match (ok.flag("absent")?, ok.flag("refused")?) {
        (true, _) => Ok(RegisterAnswer::Absent),
        (false, true) => Ok(RegisterAnswer::Refused),
        (false, false) => Err(Problem::Missing("ok")),
    }
}

fn read_lock_call(line: &Members<'_>) -> Result<LockCall, Problem> {
    Ok(match line.text("f")? {
        "acquire" => LockCall::Acquire,
        "extend" => LockCall::Extend(line.number("token")?),
        "release" => LockCall::Release(line.number("token")?),
        _ => LockCall::Use(line.number("token")?),
    })
}

fn read_lock_answer(ok: &Members<'_>) -> Result<LockAnswer, Problem> {
    if let Some(token) = ok.optional_number("granted")? {
        return Ok(LockAnswer::Granted(token));
    }
    let flags = [
        ("held", LockAnswer::Held),
        ("extended", LockAnswer::Extended),
        ("released", LockAnswer::Released),
        ("not_held", LockAnswer::NotHeld),
        ("accepted", LockAnswer::Accepted),
        ("fenced", LockAnswer::Fenced),
    ];
    for (name, answer) in flags {
        if ok.flag(name)? {
            return Ok(answer);
        }
    }
    Err(Problem::Missing("ok"))
}

fn read_log(line: &Members<'_>) -> Result<FinalLog, Problem> {
    let mut histories = Vec::new();
    for start in line.lists("histories")? {
        let history = Uuid::parse(start.text(0)?).ok_or(Problem::Wrong("histories"))?;
        let kept = Seq(start.number(1)?);
        histories.push(HistoryStart { history, kept });
    }
    Ok(FinalLog {
        copy: line.text("copy")?.to_owned(),
        buffer: line.text("buffer")?.to_owned(),
        in_sync: line.flag("in_sync")?,
        histories,
        first: Seq(line.number("first")?),
        commit: Seq(line.number("commit")?),
        gone: line.numbers("gone")?.into_iter().map(Seq).collect(),
        records: Vec::new(),
    })
}

fn read_record(line: &Members<'_>) -> Result<LogRecord, Problem> {
    Ok(LogRecord {
        seq: Seq(line.number("seq")?),
        epoch: Epoch(line.small("epoch")?),
        content: line.optional_hash("content")?,
        id: line.optional_hash("id")?,
        is_message: line.flag("message")?,
    })
}
