//! The rules of streams, by a shard whose files are held in memory.

use alloc::boxed::Box;
use alloc::format;
use alloc::string::ToString as _;
use alloc::sync::Arc;
use alloc::vec;
use alloc::vec::Vec;

use super::control::Control;
use super::*;
use crate::append::{AckLevel, AppendRefused, AppendRequest, Appended, Item};
use crate::commitment::commitment;
use crate::effect::{Effect, Parts};
use crate::ids::{Epoch, NodeId, Uuid};
use crate::input::{BufferConfig, BufferState, Input, Token};
use crate::limits::{NAME_BYTES_MAX, PRODUCER_ID_BYTES_MAX, STREAM_SEQ_BYTES_MAX};
use crate::mark::Mark;
use crate::record::{Kind, Producer};
use crate::recovery::{Found, FoundFile, recover};
use crate::replication::{Assignment, NodeEpoch};
use crate::rules::Rules;
use crate::segment::LogKind;
use crate::shard::Shard;

const BUFFER: Uuid = Uuid([1; 16]);
const SECOND: u64 = 1_000_000;
const SALT: [u8; 32] = [7; 32];

type Outcome = Result<Appended, AppendRefused>;

/// A buffer on a disk that syncs when it is told to.
struct World {
    shard: Shard,
    now: u64,
    epoch: u32,
    files: Vec<(Seq, Vec<u8>)>,
    framed: Seq,
    mark: Option<(Mark, Option<Vec<u8>>)>,
    replies: Vec<(Token, Outcome)>,
    used: Vec<(StreamSeen, bool)>,
    tokens: u64,
}

impl World {
    fn new() -> Self {
        let mut world = Self {
            shard: Shard::new(Rules::correct()),
            now: 100 * SECOND,
            epoch: 0,
            files: Vec::new(),
            framed: Seq::ZERO,
            mark: None,
            replies: Vec::new(),
            used: Vec::new(),
            tokens: 0,
        };
        world.restart();
        world
    }

    /// The process dies; what was written is there again.
    fn restart(&mut self) {
        self.epoch += 1;
        let tables = self.mark.as_ref().and_then(|(_, tables)| tables.clone());
        let mark = self.mark.as_ref().map(|(mark, tables)| Mark {
            table: tables.as_ref().map(|_| "tables".into()),
            ..mark.clone()
        });
        let files = self.files.clone();
        let found = Found {
            buffer: BUFFER,
            log: BUFFER,
            node: NodeId(1),
            node_epoch: NodeEpoch(1),
            assignment: Arc::new(Assignment::solo(
                NodeId(1),
                NodeEpoch(1),
                Epoch(self.epoch),
                BUFFER,
            )),
            config: BufferConfig::default(),
            state: BufferState::Open,
            mark,
            segments: files
                .iter()
                .map(|(first, bytes)| FoundFile {
                    first: *first,
                    source: bytes,
                })
                .collect(),
            cursors: Vec::new(),
            journal: Vec::new(),
            journal_stays: false,
            tables: tables.as_deref(),
        };
        let recovered = recover(&Rules::correct(), &found).unwrap();
        assert_eq!(recovered.damage, None);
        self.shard = Shard::new(Rules::correct());
        self.input(Input::Open(Box::new(recovered.opening)), &[]);
    }

    fn input(&mut self, input: Input, bodies: &[Vec<u8>]) {
        let mut effects = Vec::new();
        self.shard.handle(Micros(self.now), input, &mut effects);
        for effect in effects {
            match effect {
                Effect::Write(write) => {
                    if let Some(head) = &write.head {
                        self.files.push((write.file, head.to_vec()));
                    }
                    let (_, file) = self.files.last_mut().unwrap();
                    let parts = bodies.iter().map(|body| Parts {
                        lines: b"",
                        salt: SALT,
                        body,
                    });
                    write.encode(parts, file);
                    self.framed = write.last();
                }
                Effect::Reply { token, outcome } => self.replies.push((token, outcome)),
                Effect::StreamUsed { seen, due, .. } => self.used.push((seen, due)),
                Effect::WriteMark { mark, tables, .. } => self.mark = Some((*mark, tables)),
                _ => {}
            }
        }
    }

    fn sync(&mut self) {
        let through = self.framed;
        let (buffer, log) = (BUFFER, LogKind::Messages);
        self.input(
            Input::Synced {
                buffer,
                log,
                through,
                journal: 0,
            },
            &[],
        );
    }

    /// Sends an append; its answer may come later.
    fn send(&mut self, stream: StreamAppend, bodies: &[&str], producer: Option<Producer>) -> Token {
        self.tokens += 1;
        let token = Token(self.tokens);
        let control = stream.control().map(|control| control.encode());
        let kinds = control.iter().map(|_| Kind::Stream);
        let kinds: Vec<_> = kinds.chain(bodies.iter().map(|_| Kind::Data)).collect();
        let bodies = bodies.iter().map(|body| body.as_bytes().to_vec());
        let bodies: Vec<_> = control.into_iter().chain(bodies).collect();
        let items = kinds.into_iter().zip(&bodies).map(|(kind, body)| Item {
            kind,
            lines_len: 0,
            body_len: u32::try_from(body.len()).unwrap(),
            commitment: commitment(&SALT, b"", body),
        });
        let request = AppendRequest {
            items: items.collect(),
            ack: AckLevel::InSync,
            if_match: None,
            producer,
            idem: None,
            stream: Some(stream),
            mirrored: None,
        };
        let buffer = BUFFER;
        self.input(
            Input::Append {
                buffer,
                token,
                request,
            },
            &bodies,
        );
        token
    }

    fn answer(&self, token: Token) -> Option<&Outcome> {
        let mut replies = self.replies.iter();
        replies.find_map(|(of, outcome)| (*of == token).then_some(outcome))
    }

    /// Sends an append, syncs, and gives its answer.
    fn call(
        &mut self,
        stream: StreamAppend,
        bodies: &[&str],
        producer: Option<Producer>,
    ) -> Result<StreamEnd, StreamRefused> {
        let token = self.send(stream, bodies, producer);
        self.sync();
        match self.answer(token).unwrap().clone() {
            Ok(appended) => Ok(appended.stream.unwrap()),
            Err(AppendRefused::Stream(refused)) => Err(refused),
            Err(other) => panic!("{other}"),
        }
    }

    fn define(&mut self, life: Life) {
        let end = self.call(define("text/plain", life, false), &[], None);
        assert_eq!(end.map(|end| end.tail), Ok(Seq(1)));
    }

    fn seen(&self) -> StreamSeen {
        let buffer = self.shard.buffer(&BUFFER).unwrap();
        buffer.stream_seen(Micros(self.now))
    }

    fn live(&self) -> (u64, bool) {
        match self.seen() {
            StreamSeen::Live(view) => (view.tail.0, view.closed),
            other => panic!("{other:?}"),
        }
    }

    fn use_it(&mut self) -> (StreamSeen, bool) {
        self.tokens += 1;
        let (buffer, token) = (BUFFER, Token(self.tokens));
        self.input(Input::StreamUsed { buffer, token }, &[]);
        self.used.last().unwrap().clone()
    }
}

fn define(content_type: &str, life: Life, closed: bool) -> StreamAppend {
    let definition = Definition::new(content_type, life).unwrap();
    StreamAppend::Define { definition, closed }
}

fn write() -> StreamWrite {
    StreamWrite {
        content_type: Some("text/plain".into()),
        ..StreamWrite::default()
    }
}

fn message() -> StreamAppend {
    StreamAppend::Write(write())
}

fn close() -> StreamAppend {
    StreamAppend::Write(StreamWrite {
        close: true,
        ..write()
    })
}

fn with_seq(seq: &str) -> StreamAppend {
    StreamAppend::Write(StreamWrite {
        seq: writer_seq(seq),
        ..write()
    })
}

fn producer(epoch: u64, number: u64) -> Option<Producer> {
    let id = producer_id("p 1").unwrap();
    Some(Producer { id, epoch, number })
}

#[test]
fn a_stream_is_seen_once_its_definition_is_durable_and_made_once() {
    let mut world = World::new();
    assert_eq!(
        world.call(message(), &["x"], None),
        Err(StreamRefused::NotStream)
    );
    let token = world.send(define("text/plain", Life::Lasting, false), &["a"], None);
    assert_eq!(world.seen(), StreamSeen::None);
    assert_eq!(world.answer(token), None);
    world.sync();
    assert_eq!(world.live(), (2, false));
    let again = world.call(
        define("Text/Plain; charset=utf-8", Life::Lasting, false),
        &["b"],
        None,
    );
    assert!(again.is_ok());
    assert_eq!(
        world.live(),
        (2, false),
        "what is there already takes no more content"
    );
    for other in [
        define("text/html", Life::Lasting, false),
        define("text/plain", Life::Idle { seconds: 7 }, false),
        define("text/plain", Life::Lasting, true),
    ] {
        assert_eq!(world.call(other, &[], None), Err(StreamRefused::Differs));
    }
}

#[test]
fn a_log_of_other_messages_becomes_no_stream_and_a_stream_takes_no_plain_append() {
    let mut world = World::new();
    let plain = |world: &mut World| {
        world.tokens += 1;
        let token = Token(world.tokens);
        let request = AppendRequest {
            items: vec![Item {
                kind: Kind::Data,
                lines_len: 0,
                body_len: 1,
                commitment: commitment(&SALT, b"", b"x"),
            }],
            ack: AckLevel::None,
            if_match: None,
            producer: None,
            idem: None,
            stream: None,
            mirrored: None,
        };
        let buffer = BUFFER;
        world.input(
            Input::Append {
                buffer,
                token,
                request,
            },
            &[b"x".to_vec()],
        );
        world.answer(token).unwrap().clone()
    };
    assert!(plain(&mut world).is_ok());
    let occupied = world.call(define("text/plain", Life::Lasting, false), &[], None);
    assert_eq!(occupied, Err(StreamRefused::Occupied));
    let mut world = World::new();
    world.define(Life::Lasting);
    let refused = AppendRefused::Stream(StreamRefused::IsStream);
    assert_eq!(plain(&mut world), Err(refused));
}

#[test]
fn a_content_type_is_compared_without_case_and_parameters() {
    let mut world = World::new();
    world.define(Life::Lasting);
    let typed = |text: &str| {
        StreamAppend::Write(StreamWrite {
            content_type: Some(text.into()),
            ..StreamWrite::default()
        })
    };
    assert!(
        world
            .call(typed("TEXT/plain;charset=x"), &["a"], None)
            .is_ok()
    );
    let refused = world.call(typed("application/json"), &["a"], None);
    assert!(matches!(refused, Err(StreamRefused::TypeDiffers { .. })));
}

#[test]
fn stream_seq_rises_byte_by_byte_and_is_known_after_a_restart() {
    let mut world = World::new();
    world.define(Life::Lasting);
    assert!(world.call(with_seq("09"), &["a"], None).is_ok());
    assert!(world.call(with_seq("10"), &["b"], None).is_ok());
    for marked in [false, true] {
        if marked {
            let buffer = BUFFER;
            world.input(Input::Checkpoint { buffer, journal: 0 }, &[]);
            assert!(world.mark.is_some());
        }
        world.restart();
        for old in ["10", "09", "0", "1"] {
            let refused = world.call(with_seq(old), &["c"], None);
            assert!(
                matches!(refused, Err(StreamRefused::SeqOld { .. })),
                "{old}"
            );
        }
    }
    assert!(
        world.call(message(), &["d"], None).is_ok(),
        "a number is not needed"
    );
    assert!(world.call(with_seq("a"), &["e"], None).is_ok());
    assert!(
        world.call(with_seq("B"), &["f"], None).is_err(),
        "B comes before a"
    );
}

#[test]
fn producers_count_from_zero_in_each_epoch_and_repeats_tell_the_highest_number() {
    let mut world = World::new();
    world.define(Life::Lasting);
    let gap = |expected, got| Err(StreamRefused::ProducerGap { expected, got });
    assert_eq!(world.call(message(), &["a"], producer(0, 1)), gap(0, 1));
    for number in 0..3 {
        let end = world.call(message(), &["a"], producer(0, number)).unwrap();
        assert_eq!((end.tail.0, end.number), (2 + number, Some(number)));
    }
    world.restart();
    let again = world.call(message(), &["other"], producer(0, 1)).unwrap();
    assert_eq!((again.tail.0, again.number), (4, Some(2)));
    assert_eq!(world.live(), (4, false));
    assert_eq!(world.call(message(), &["a"], producer(0, 4)), gap(3, 4));
    let start = StreamRefused::ProducerStart { epoch: 1, got: 5 };
    assert_eq!(world.call(message(), &["a"], producer(1, 5)), Err(start));
    assert!(world.call(message(), &["a"], producer(1, 0)).is_ok());
    let stale = StreamRefused::ProducerStale { current: 1, got: 0 };
    assert_eq!(world.call(message(), &["a"], producer(0, 3)), Err(stale));
}

#[test]
fn a_repeat_is_told_before_a_number_that_would_not_fit() {
    let mut world = World::new();
    world.define(Life::Lasting);
    assert!(world.call(with_seq("5"), &["a"], producer(0, 0)).is_ok());
    let again = world.call(with_seq("5"), &["a"], producer(0, 0)).unwrap();
    assert_eq!((again.number, again.refused), (Some(0), false));
    assert_eq!(world.live(), (2, false));
}

#[test]
fn closing_takes_the_last_messages_along_or_nothing() {
    let mut world = World::new();
    world.define(Life::Lasting);
    let end = world.call(close(), &["last", "words"], None).unwrap();
    assert_eq!((end.tail.0, end.closed), (4, true));
    for marked in [false, true] {
        if marked {
            let buffer = BUFFER;
            world.input(Input::Checkpoint { buffer, journal: 0 }, &[]);
        }
        world.restart();
        assert_eq!(world.live(), (4, true));
        let refused = world.call(message(), &["x"], None).unwrap();
        assert_eq!((refused.refused, refused.tail.0), (true, 4));
        let other = StreamAppend::Write(StreamWrite {
            content_type: Some("image/png".into()),
            ..write()
        });
        assert!(
            world.call(other, &["x"], None).unwrap().refused,
            "closed is said first"
        );
        assert!(world.call(close(), &["x"], None).unwrap().refused);
        let again = world.call(close(), &[], None).unwrap();
        assert_eq!(
            (again.refused, again.closed, again.tail.0),
            (false, true, 4)
        );
    }
}

#[test]
fn closing_alone_leaves_the_tail_where_it_was() {
    let mut world = World::new();
    world.define(Life::Lasting);
    world.call(message(), &["a"], None).unwrap();
    let end = world.call(close(), &[], None).unwrap();
    assert_eq!((end.tail.0, end.closed), (2, true));
    world.restart();
    assert_eq!(world.live(), (2, true));
}

#[test]
fn only_the_request_that_closed_is_repeated_by_a_producer() {
    let mut world = World::new();
    world.define(Life::Lasting);
    world.call(message(), &["a"], producer(0, 0)).unwrap();
    world.call(close(), &["b"], producer(0, 1)).unwrap();
    world.restart();
    let again = world.call(close(), &["c"], producer(0, 1)).unwrap();
    assert_eq!(
        (again.refused, again.closed, again.number),
        (false, true, Some(1))
    );
    for number in [0, 2] {
        let end = world.call(close(), &["c"], producer(0, number)).unwrap();
        assert!(end.refused && end.closed, "{number}");
    }
    assert!(world.call(close(), &[], producer(0, 2)).unwrap().refused);
    world
        .call(message(), &["c"], producer(1, 0))
        .map(|end| assert!(end.refused))
        .unwrap();
}

#[test]
fn a_closing_that_is_not_durable_is_shown_to_nobody() {
    let mut world = World::new();
    world.define(Life::Lasting);
    let closing = world.send(close(), &["b"], None);
    let late = world.send(message(), &["c"], None);
    assert_eq!(world.live(), (1, false));
    assert_eq!((world.answer(closing), world.answer(late)), (None, None));
    world.sync();
    assert_eq!(world.live(), (3, true));
    let late = world.answer(late).unwrap().as_ref().unwrap();
    assert!(late.stream.unwrap().refused);
}

#[test]
fn a_time_to_live_slides_with_every_use_and_an_expired_stream_stays_so() {
    let mut world = World::new();
    world.define(Life::Idle { seconds: 2 });
    for _ in 0..3 {
        world.now += 1_500_000;
        assert!(matches!(world.use_it().0, StreamSeen::Live(_)));
        world.now += 1_500_000;
        world.call(message(), &["a"], None).unwrap();
    }
    world.now += 2 * SECOND - 1;
    assert!(
        matches!(world.seen(), StreamSeen::Live(_)),
        "a look is no use"
    );
    world.now += 1;
    assert_eq!(world.seen(), StreamSeen::Expired);
    assert_eq!(world.use_it(), (StreamSeen::Expired, false));
    world.now -= SECOND;
    assert_eq!(world.seen(), StreamSeen::Expired, "the clock may go back");
    assert_eq!(
        world.call(message(), &["a"], None),
        Err(StreamRefused::Expired)
    );
    let again = world.call(
        define("text/plain", Life::Idle { seconds: 2 }, false),
        &[],
        None,
    );
    assert_eq!(again, Err(StreamRefused::Expired));
}

#[test]
fn an_expiry_does_not_move() {
    let mut world = World::new();
    let end = Micros(world.now + 5 * SECOND);
    world.define(Life::Until(end));
    world.now += 4 * SECOND;
    assert!(!world.use_it().1);
    world.call(message(), &["a"], None).unwrap();
    world.restart();
    world.now += SECOND;
    assert_eq!(world.seen(), StreamSeen::Expired);
}

#[test]
fn uses_are_put_on_record_seldom_and_a_restart_never_shortens_a_life() {
    let mut world = World::new();
    let seconds = 80;
    world.define(Life::Idle { seconds });
    let mut recorded = 0;
    for _ in 0..200 {
        world.now += SECOND / 2;
        if world.use_it().1 {
            world.call(StreamAppend::Use, &[], None).unwrap();
            world.call(StreamAppend::Use, &[], None).unwrap();
            recorded += 1;
        }
    }
    assert_eq!(recorded, 10, "an eighth of 80 s apart, in 100 s");
    assert_eq!(
        world.shard.buffer(&BUFFER).unwrap().end(),
        Seq(11),
        "each is put on record once"
    );
    assert_eq!(world.live(), (1, false), "a use is no message");
    let last = world.now;
    world.restart();
    world.now = last + seconds * SECOND - 1;
    assert!(matches!(world.seen(), StreamSeen::Live(_)));
    world.now = last + (seconds + 10) * SECOND;
    assert_eq!(world.seen(), StreamSeen::Expired);
}

#[test]
fn definitions_follow_the_protocol() {
    let parse = Definition::parse;
    assert_eq!(
        parse("text/plain", Some("0"), None).unwrap().life,
        Life::Idle { seconds: 0 }
    );
    assert!(parse("a/b", None, Some("2026-11-20T11:15:22+01:00")).is_ok());
    for ttl in [
        "",
        "01",
        "+1",
        "-1",
        "1.0",
        "1e3",
        " 1",
        "x",
        "99999999999999999999",
        "31622400001",
    ] {
        assert_eq!(
            parse("a/b", Some(ttl), None),
            Err(DefinitionError::Ttl),
            "{ttl}"
        );
    }
    assert_eq!(
        parse("a/b", None, Some("soon")),
        Err(DefinitionError::ExpiresAt)
    );
    let both = parse("a/b", Some("1"), Some("2026-11-20T11:15:22Z"));
    assert_eq!(both, Err(DefinitionError::Both));
    let long = format!("a/{}", "b".repeat(300));
    for content_type in ["", "text", "/plain", "text/", "te xt/plain", "a/b\n", &long] {
        assert_eq!(
            parse(content_type, None, None),
            Err(DefinitionError::ContentType),
            "{content_type}"
        );
    }
    let is = |text: &str| {
        let definition = parse(text, None, None).unwrap();
        (definition.is_json(), definition.is_text())
    };
    assert_eq!(is("Application/JSON ; charset=utf-8"), (true, true));
    assert_eq!(is("text/html"), (false, true));
    assert_eq!(is("application/ld+json"), (false, false));
}

#[test]
fn controls_read_back_and_nothing_else_is_one() {
    let definition = |life| Definition::new("text/plain; charset=utf-8", life).unwrap();
    for control in [
        Control::Close,
        Control::Use,
        Control::Define {
            definition: definition(Life::Lasting),
            closed: false,
        },
        Control::Define {
            definition: definition(Life::Idle { seconds: 7 }),
            closed: true,
        },
        Control::Define {
            definition: definition(Life::Until(Micros(9))),
            closed: false,
        },
    ] {
        assert_eq!(Control::decode(&control.encode()), Some(control));
    }
    for body in [
        "",
        "stream: use",
        "stream: open\n",
        "stream: close\nclosed: true\n",
        "stream: define\n",
        "stream: define\ncontent-type: a/b\nttl-seconds: 07\n",
        "stream: define\nclosed: true\ncontent-type: a/b\n",
    ] {
        assert_eq!(Control::decode(body.as_bytes()), None, "{body:?}");
    }
}

#[test]
fn ids_of_producers_and_numbers_of_writers_are_bounded() {
    assert_eq!(producer_id("a b/é%").as_deref(), Some("a%20b%2F%C3%A9%25"));
    assert_eq!(producer_id(""), None);
    assert!(producer_id(&"p".repeat(PRODUCER_ID_BYTES_MAX)).is_some());
    assert_eq!(producer_id(&"p".repeat(PRODUCER_ID_BYTES_MAX + 1)), None);
    assert!(writer_seq(&"s".repeat(STREAM_SEQ_BYTES_MAX)).is_some());
    for bad in ["", " a", "a\n", "é", &"s".repeat(STREAM_SEQ_BYTES_MAX + 1)] {
        assert_eq!(writer_seq(bad), None, "{bad:?}");
    }
}

#[test]
fn every_path_has_a_name_of_its_own_and_comes_back_from_it() {
    let check = |path: &str, name: &str| {
        assert_eq!(stream_path::buffer_name(path).unwrap().as_str(), name);
        assert_eq!(stream_path::path_of(name), Some(path.to_string()));
    };
    check("chat/Room 7", "stream.chat._52oom_207");
    check("a.b_c/../é", "stream.a_2eb_5fc._2e_2e._c3_a9");
    check("/", "stream..");
    assert_ne!(
        stream_path::buffer_name("A").unwrap().fold(),
        stream_path::buffer_name("a").unwrap().fold()
    );
    for name in [
        "stream.",
        "stream.A",
        "stream._41x_4",
        "stream._2F",
        "stream._61",
        "other.a",
    ] {
        assert_eq!(stream_path::path_of(name), None, "{name}");
    }
    let longest = "a".repeat(NAME_BYTES_MAX - stream_path::PREFIX.len());
    assert!(stream_path::buffer_name(&longest).is_ok());
    let long = stream_path::buffer_name(&(longest + "a"));
    let bytes = NAME_BYTES_MAX + 1;
    assert_eq!(long, Err(stream_path::StreamPathError::TooLong { bytes }));
    assert_eq!(
        stream_path::buffer_name(""),
        Err(stream_path::StreamPathError::Empty)
    );
}
