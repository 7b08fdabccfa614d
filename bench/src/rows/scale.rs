//! The rows of what reads at scale: consumers and topics.

use super::{BODY_BYTES, Bound, Check, Measure, Row, Unit, alternate, ratios};
use crate::Settings;
use crate::drive::{closed_loop, on_this_thread};
use crate::servers::hbuf::{BUFFER, Hbuf};
use crate::servers::http::{Appends, append_request, batch_request};
use crate::servers::pages::{Pages, Worker, consumer_path, json_request, send_all};

const BODY: [u8; BODY_BYTES] = [b'x'; BODY_BYTES];
const MESSAGES: u64 = 1_000_000;
const HUNDRED: u64 = 100;
/// Messages of a page of the topic row: the most that a page has.
const PAGE: u64 = 10_000;
const IDLE_CONSUMERS: usize = 10_000;
const TOPIC_BUFFERS: usize = 16;

/// A running hbuf whose name in the table says what it is asked for.
fn named(settings: &Settings, name: &'static str) -> anyhow::Result<Hbuf> {
    let mut hbuf = Hbuf::start(settings)?;
    hbuf.about.name = name;
    Ok(hbuf)
}

fn pages<'a>(settings: &'a Settings, hbuf: &'a Hbuf, path: &'a str, limit: u64) -> Measure<'a> {
    let address = hbuf.process.address;
    Box::new(move || {
        let run = closed_loop(settings, hbuf.process.pid(), 1, |_| {
            Pages::connect(address, path.to_owned(), limit, MESSAGES)
        })?;
        Ok((hbuf.about.clone(), run))
    })
}

/// One worker that takes and acks hundreds, against a reader of hundreds.
pub(super) fn consumer(settings: &Settings) -> anyhow::Result<Row> {
    eprintln!("   filling two buffers with {MESSAGES} messages each");
    let worked = named(settings, "hbuf, next with acks")?;
    worked.fill(MESSAGES, &BODY)?;
    let plain = named(settings, "hbuf, plain reads")?;
    plain.fill(MESSAGES, &BODY)?;
    let address = worked.process.address;
    let paths = [0, 1].map(|n| consumer_path(BUFFER, n));
    let made = paths
        .iter()
        .map(|path| json_request(address, "PUT", path, "{}"));
    on_this_thread(send_all(address, made))?;
    let work = |path: &str, name: &'static str, together: bool| -> Measure<'_> {
        let (path, mut about) = (path.to_owned(), worked.about.clone());
        about.name = name;
        let pid = worked.process.pid();
        Box::new(move || {
            let connect = |_| Worker::connect(address, path.clone(), HUNDRED, together);
            let run = closed_loop(settings, pid, 1, connect)?;
            Ok((about.clone(), run))
        })
    };
    let buffer = format!("/buffers/{BUFFER}");
    let mut targets = [
        work(&paths[0], "hbuf, next with acks", true),
        work(&paths[1], "hbuf, next, then acks", false),
        pages(settings, &plain, &buffer, HUNDRED),
    ];
    let targets = alternate(settings, Unit::MessagesPerS, &mut targets)?;
    let to_plain = ratios(&targets[0].values, &targets[2].values);
    let apart = ratios(&targets[1].values, &targets[2].values);
    Ok(Row {
        name: "consumer",
        title: "next and ack in hundreds, one worker",
        client: "1 connection: 100 messages as lines, each with its lease, and one ack of all, on \
                 disk when it is answered: in the request for the next 100, or in one of its own; \
                 against reads of 100 as lines"
            .to_owned(),
        targets,
        checks: vec![
            Check::new(
                "next with acks / plain reads",
                to_plain,
                Bound::AtLeast(0.4),
                Bound::AtLeast(0.7),
            ),
            Check::new(
                "next, then acks / plain reads",
                apart,
                Bound::AtLeast(0.4),
                Bound::AtLeast(0.7),
            ),
        ],
        note: "",
    })
}

fn appends<'a>(settings: &'a Settings, hbuf: &'a Hbuf) -> Measure<'a> {
    let address = hbuf.process.address;
    let request = append_request(address, BUFFER, "", &BODY);
    Box::new(move || {
        let run = closed_loop(settings, hbuf.process.pid(), 64, |_| {
            Appends::connect(address, vec![request.clone()], 1, BODY_BYTES as u64)
        })?;
        Ok((hbuf.about.clone(), run))
    })
}

/// What consumers that nobody works for cost an append.
pub(super) fn consumers_idle(settings: &Settings) -> anyhow::Result<Row> {
    eprintln!("   making {IDLE_CONSUMERS} consumers");
    let idle = named(settings, "hbuf, 10,000 consumers")?;
    let none = named(settings, "hbuf, none")?;
    let address = idle.process.address;
    // Each was asked once, so that the buffer knows it and it waits for what comes.
    let asked = (0..IDLE_CONSUMERS).flat_map(|n| {
        let path = consumer_path(BUFFER, n);
        let next = format!("{path}/next");
        [
            json_request(address, "PUT", &path, r#"{"start": "last"}"#),
            json_request(address, "POST", &next, ""),
        ]
    });
    on_this_thread(send_all(address, asked))?;
    let mut targets = [appends(settings, &idle), appends(settings, &none)];
    let targets = alternate(settings, Unit::MessagesPerS, &mut targets)?;
    let to_none = ratios(&targets[0].values, &targets[1].values);
    Ok(Row {
        name: "consumers-idle",
        title: "appends to a buffer with 10,000 idle consumers",
        client: "64 connections, one message a request; every consumer was made and asked once"
            .to_owned(),
        targets,
        checks: vec![Check::new(
            "10,000 consumers / none",
            to_none,
            Bound::AtLeast(0.9),
            Bound::AtLeast(0.98),
        )],
        note: "",
    })
}

/// Fills a topic of some buffers; its requests go to them in turn.
fn fill_topic(hbuf: &Hbuf) -> anyhow::Result<()> {
    const BATCH: usize = 1_000;
    let address = hbuf.process.address;
    let names: Vec<String> = (0..TOPIC_BUFFERS).map(|n| format!("t{n}")).collect();
    let made = names
        .iter()
        .map(|name| json_request(address, "PUT", &format!("/buffers/{name}"), "{}"));
    let list = serde_json::json!({ "buffers": names }).to_string();
    let topic = json_request(address, "PUT", "/topics/t", &list);
    let batches = MESSAGES as usize / BATCH;
    let filled = (0..batches).map(|n| {
        let name = &names[n % TOPIC_BUFFERS];
        batch_request(address, name, BATCH, &BODY)
    });
    on_this_thread(send_all(address, made.chain([topic]).chain(filled)))
}

/// Reading a topic of sixteen buffers as one, against one buffer.
pub(super) fn topic(settings: &Settings) -> anyhow::Result<Row> {
    eprintln!("   filling a topic and a buffer with {MESSAGES} messages each");
    let many = named(settings, "hbuf, 16 buffers")?;
    fill_topic(&many)?;
    let one = named(settings, "hbuf, one buffer")?;
    one.fill(MESSAGES, &BODY)?;
    let buffer = format!("/buffers/{BUFFER}");
    let mut targets = [
        pages(settings, &many, "/topics/t", PAGE),
        pages(settings, &one, &buffer, PAGE),
    ];
    let targets = alternate(settings, Unit::MessagesPerS, &mut targets)?;
    let to_one = ratios(&targets[0].values, &targets[1].values);
    Ok(Row {
        name: "topic-16",
        title: "catching up with a topic of 16 buffers, the earliest message first",
        client: "1 connection, pages of 10,000 lines (application/x-ndjson) from the first \
                 message to the last of 1,000,000, again and again"
            .to_owned(),
        targets,
        checks: vec![Check::new(
            "16 buffers / one buffer",
            to_one,
            Bound::AtLeast(0.4),
            Bound::AtLeast(0.8),
        )],
        note: "",
    })
}
