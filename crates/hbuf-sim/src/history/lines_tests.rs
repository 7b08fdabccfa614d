//! Histories go through their lines unchanged, wrong lines are refused, and Jepsen's form is this.

use hbuf_core::ids::{Hash, Seq, Uuid};

use super::generated_log_tests::generated;
use super::members::Problem;
use super::*;

fn one<C, A>(id: u64, call: C, answer: Option<A>) -> Operation<C, A> {
    let outcome = answer.map_or(Outcome::Unknown, |answer| Outcome::Answered {
        end: Moment(id * 10 + 5),
        answer,
    });
    Operation {
        id: OpId(id),
        client: ClientId(1),
        begin: Moment(id * 10),
        call,
        outcome,
    }
}

fn put(value: &str, when: Condition) -> RegisterCall {
    let value = value.to_owned();
    RegisterCall::Put { value, when }
}

/// Every call and every answer of keys and locks.
fn recorded() -> Recorded {
    use LockAnswer::{Accepted, Extended, Fenced, Granted, Held, NotHeld, Released};
    use LockCall::{Acquire, Extend, Release, Use};
    let delete = RegisterCall::Delete {
        when: Condition::Always,
    };
    let value = "a \"b\"".to_owned();
    let registers = [
        (
            put("a \"b\"", Condition::Always),
            Some(RegisterAnswer::Stored { version: 3 }),
        ),
        (
            RegisterCall::Get,
            Some(RegisterAnswer::Value { value, version: 3 }),
        ),
        (
            put("c", Condition::Matches(3)),
            Some(RegisterAnswer::Refused),
        ),
        (put("d", Condition::Matches(9)), None),
        (put("e", Condition::Absent), Some(RegisterAnswer::Refused)),
        (delete.clone(), Some(RegisterAnswer::Deleted { version: 8 })),
        (delete, Some(RegisterAnswer::Absent)),
        (RegisterCall::Get, Some(RegisterAnswer::Absent)),
    ];
    let locks = [
        (Acquire, Some(Granted(4))),
        (Acquire, Some(Held)),
        (Extend(4), Some(Extended)),
        (Release(4), Some(Released)),
        (Release(4), Some(NotHeld)),
        (Use(5), Some(Accepted)),
        (Use(4), Some(Fenced)),
        (Acquire, None),
    ];
    let mut registers: Vec<_> = (1..)
        .zip(registers)
        .map(|(id, (call, answer))| ("k".to_owned(), one(id, call, answer)))
        .collect();
    registers[2].1.outcome = Outcome::Failed { end: Moment(36) };
    let locks = (11..).zip(locks);
    Recorded {
        log: generated(7, 600),
        registers,
        locks: locks
            .map(|(id, (call, answer))| ("l".to_owned(), one(id, call, answer)))
            .collect(),
    }
}

#[test]
fn a_history_goes_through_its_lines() {
    let recorded = recorded();
    let mut lines = Vec::new();
    write_lines(&recorded, &mut lines).unwrap();
    assert_eq!(read_lines(&lines[..]).unwrap(), recorded);
    let text = String::from_utf8(lines).unwrap();
    let second_put = r#"{"begin":40,"client":1,"f":"put","if":9,"object":"k","op":4,"value":"d"}"#;
    assert!(text.starts_with("{\"hbuf-history\":1}\n"));
    assert!(text.contains(second_put), "{text}");
}

#[test]
fn wrong_lines_are_refused_with_their_numbers() {
    let history = r#"{"hbuf-history":1}"#;
    let cases = [
        ("[]", 1, Problem::NoObject),
        (r#"{"hbuf-history":2}"#, 1, Problem::Version),
        (r#"{"f":"record"}"#, 2, Problem::NoLogBefore),
        (r#"{"f":"jump"}"#, 2, Problem::Unknown("jump".to_owned())),
        (
            r#"{"f":"get","begin":1,"op":1,"client":1}"#,
            2,
            Problem::Missing("object"),
        ),
        (r#"{"f":"get","begin":"1"}"#, 2, Problem::Wrong("begin")),
        (
            r#"{"f":"get","begin":2,"end":1,"ok":{"absent":true}}"#,
            2,
            Problem::EndsBeforeItBegins,
        ),
        (
            r#"{"f":"get","begin":2,"end":3,"ok":{}}"#,
            2,
            Problem::Missing("ok"),
        ),
        (
            r#"{"f":"append","begin":2,"buffer":"b","messages":["00"]}"#,
            2,
            Problem::Wrong("messages"),
        ),
        (
            r#"{"f":"append","begin":2,"buffer":"b","messages":[]}"#,
            2,
            Problem::Missing("messages"),
        ),
    ];
    for (text, expected, problem) in cases {
        let lines = if expected == 1 {
            text.to_owned()
        } else {
            format!("{history}\n{text}\n")
        };
        match read_lines(lines.as_bytes()) {
            Err(ReadError::Line {
                line,
                problem: told,
            }) => {
                assert_eq!((line, told), (expected, problem), "{text}");
            }
            other => panic!("{text}: {other:?}"),
        }
    }
}

#[track_caller]
fn assert_jepsen(recorded: &Recorded, kind: Objects, expected: &[&str]) {
    let mut text = Vec::new();
    write_jepsen(recorded, kind, &mut text).unwrap();
    let text = String::from_utf8(text).unwrap();
    // Index and time say nothing that the order of the lines does not.
    let shown = text.lines().map(|line| {
        let kind = line.split(":type ").nth(1).unwrap();
        let (kind, rest) = kind.split_once(", :process ").unwrap();
        let (process, rest) = rest.split_once(", :time ").unwrap();
        let (_, rest) = rest.split_once(", :f ").unwrap();
        let (f, value) = rest.split_once(", :value ").unwrap();
        format!("{process} {kind} {f} {}", value.strip_suffix('}').unwrap())
    });
    assert_eq!(shown.collect::<Vec<_>>(), expected);
}

#[test]
fn keys_and_locks_are_written_as_jepsen_has_them() {
    let mut recorded = recorded();
    recorded.registers.truncate(6);
    assert_jepsen(
        &recorded,
        Objects::Keys,
        &[
            r#"1 :invoke :write ["k" "a \"b\""]"#,
            r#"1 :ok :write ["k" "a \"b\""]"#,
            r#"1 :invoke :read ["k" nil]"#,
            r#"1 :ok :read ["k" "a \"b\""]"#,
            r#"1 :invoke :cas ["k" ["a \"b\"" "c"]]"#,
            r#"1 :fail :cas ["k" ["a \"b\"" "c"]]"#,
            r#"1 :invoke :cas ["k" ["version 9, never seen" "d"]]"#,
            r#"3 :invoke :cas ["k" [nil "e"]]"#,
            r#"3 :fail :cas ["k" [nil "e"]]"#,
            r#"3 :invoke :write ["k" nil]"#,
            r#"3 :ok :write ["k" nil]"#,
        ],
    );
    recorded.locks.drain(1..3);
    assert_jepsen(
        &recorded,
        Objects::Locks,
        &[
            r#"1 :invoke :acquire ["l" nil]"#,
            r#"1 :ok :acquire ["l" nil]"#,
            r#"1 :invoke :release ["l" nil]"#,
            r#"1 :ok :release ["l" nil]"#,
            r#"1 :invoke :release ["l" nil]"#,
            r#"1 :fail :release ["l" nil]"#,
            r#"1 :invoke :acquire ["l" nil]"#,
        ],
    );
}

#[test]
fn buffers_are_written_as_jepsen_has_them() {
    let (content, other) = (Hash([0xab; 32]), Hash([0xcd; 32]));
    let call = |messages: &[Hash]| Append {
        buffer: "b".to_owned(),
        token: None,
        messages: messages.to_vec(),
    };
    let stored = |level| Stored {
        level,
        first: Seq(4),
        epoch: hbuf_core::ids::Epoch(1),
        history: Uuid([1; 16]),
        ids: Vec::new(),
    };
    let read = Read {
        buffer: "b".to_owned(),
        after: Seq(3),
        freshness: Freshness::Any,
        filtered: false,
    };
    let message = |seq, content| ShownMessage {
        seq: Seq(seq),
        content,
        id: None,
    };
    let shown = Shown {
        from: None,
        history: Uuid([1; 16]),
        through: Seq(5),
        tail: None,
        messages: vec![message(4, Some(content)), message(5, None)],
    };
    let recorded = Recorded {
        log: LogHistory {
            appends: vec![
                one(1, call(&[content, other]), Some(stored(Level::InSync))),
                one(2, call(&[other]), Some(stored(Level::Local))),
            ],
            reads: vec![one(3, read, Some(shown))],
            logs: Vec::new(),
        },
        ..Recorded::default()
    };
    let (content, other) = (content.to_string(), other.to_string());
    assert_jepsen(
        &recorded,
        Objects::Buffers,
        &[
            &format!(r#"1 :invoke :send [[:send "b" "{content}"] [:send "b" "{other}"]]"#),
            &format!(r#"1 :ok :send [[:send "b" [4 "{content}"]] [:send "b" [5 "{other}"]]]"#),
            &format!(r#"1 :invoke :send [[:send "b" "{other}"]]"#),
            &format!(r#"1 :info :send [[:send "b" "{other}"]]"#),
            "3 :invoke :poll [[:poll]]",
            &format!(r#"3 :ok :poll [[:poll {{"b" [[4 "{content}"]]}}]]"#),
        ],
    );
}
