//! The rows that read: catching up, and tailing.

use std::future::Future;
use std::net::SocketAddr;
use std::time::Duration;

use super::{BODY_BYTES, Bound, Check, Measure, Row, Unit, alternate, ratios};
use crate::Settings;
use crate::drive::{Work, closed_loop};
use crate::paced::{Pace, end_to_end};
use crate::servers::About;
use crate::servers::bare::Bare;
use crate::servers::child::Process;
use crate::servers::hbuf::{BUFFER, Hbuf};
use crate::servers::http::{CatchUp, StampedAppends, Tail};
use crate::servers::nats::{self, Nats, Pulls};
use crate::servers::redis::{self, Reads, Redis};
use crate::servers::resp;

/// Messages to catch up with.
const MESSAGES: u64 = 1_000_000;
/// Messages of the end-to-end row, over all runs.
const TAILED: f64 = 30_000.0;
const TAILED_PER_S: f64 = 1_000.0;
const TAIL_INPUT_BYTES: usize = 64 << 10;

/// The servers of the catch-up rows, each holding the same messages.
struct Filled {
    hbuf: Hbuf,
    bare: Bare,
    redis: Redis,
    nats: Nats,
}

impl Filled {
    fn new(settings: &Settings) -> anyhow::Result<Self> {
        let body = [b'x'; BODY_BYTES];
        eprintln!("   filling hbuf, Redis and NATS with {MESSAGES} messages each");
        let hbuf = Hbuf::start(settings)?;
        hbuf.fill(MESSAGES, &body)?;
        let bare = Bare::stream(settings, &hbuf.segments()?)?;
        let redis = Redis::start(settings)?;
        redis.fill(MESSAGES, &body)?;
        let nats = Nats::start(settings)?;
        nats.fill(MESSAGES, &body)?;
        Ok(Self {
            hbuf,
            bare,
            redis,
            nats,
        })
    }
}

/// One closed loop of readers on one server.
fn readers<'a, W: Work, F: Future<Output = anyhow::Result<W>>>(
    settings: &'a Settings,
    server: (&'a Process, &'a About),
    readers: usize,
    connect: impl Fn(SocketAddr) -> F + 'a,
) -> Measure<'a> {
    let (process, about) = server;
    Box::new(move || {
        let address = process.address;
        let run = closed_loop(settings, process.pid(), readers, |_| connect(address))?;
        Ok((about.clone(), run))
    })
}

/// Reading a million messages, by one reader or by eight.
pub(super) fn catchup(settings: &Settings, count: usize) -> anyhow::Result<Row> {
    let Filled {
        hbuf,
        bare,
        redis,
        nats,
    } = Filled::new(settings)?;
    let raw = |address| CatchUp::connect(address, BUFFER, MESSAGES);
    let mut targets = [
        readers(settings, (&hbuf.process, &hbuf.about), count, raw),
        readers(settings, (&bare.process, &bare.about), count, raw),
        readers(settings, (&redis.process, &redis.about), count, |address| {
            Reads::connect(address, MESSAGES)
        }),
        readers(settings, (&nats.process, &nats.about), count, |address| {
            Pulls::connect(address, MESSAGES, None)
        }),
    ];
    let mut targets = alternate(settings, Unit::MessagesPerS, &mut targets)?;
    // An operation here is one read of the socket, or one XREAD: no latency that compares.
    targets
        .iter_mut()
        .flat_map(|t| &mut t.runs)
        .for_each(|run| run.summary.samples = 0);
    let to_redis = ratios(&targets[0].values, &targets[2].values);
    let to_bare = ratios(&targets[0].values, &targets[1].values);
    let (name, title, least) = match count {
        1 => (
            "catchup-1",
            "catching up with 1,000,000 messages, one reader",
            4.0,
        ),
        _ => (
            "catchup-8",
            "catching up with 1,000,000 messages, eight readers",
            3.0,
        ),
    };
    Ok(Row {
        name,
        title,
        client: format!(
            "{count} connections, each reads from the first message to the last and begins \
             again, and walks every frame; one streamed raw request (application/http), \
             XREAD COUNT 1000, pulls of 5,000"
        ),
        targets,
        checks: vec![
            Check::new("hbuf / Redis", to_redis, Bound::AtLeast(least), None),
            Check::new(
                "hbuf / bare hyper, same files",
                to_bare,
                None,
                Bound::AtLeast(0.8),
            ),
        ],
        note: "",
    })
}

fn tail_of_hbuf<'a>(settings: &'a Settings, pace: &'a Pace) -> Measure<'a> {
    Box::new(move || {
        let hbuf = Hbuf::start(settings)?;
        let address = hbuf.process.address;
        let run = end_to_end(
            settings,
            pace,
            hbuf.process.pid(),
            |_| StampedAppends::connect(address, BUFFER),
            |_| Tail::connect(address, BUFFER, 1, TAIL_INPUT_BYTES),
        )?;
        Ok((hbuf.about.clone(), run))
    })
}

fn tail_of_redis<'a>(settings: &'a Settings, pace: &'a Pace) -> Measure<'a> {
    Box::new(move || {
        let redis = Redis::start(settings)?;
        let address = redis.process.address;
        let run = end_to_end(
            settings,
            pace,
            redis.process.pid(),
            |_| resp::Client::connect(address),
            |_| redis::Tail::connect(address),
        )?;
        Ok((redis.about.clone(), run))
    })
}

fn tail_of_nats<'a>(settings: &'a Settings, pace: &'a Pace) -> Measure<'a> {
    Box::new(move || {
        let nats = Nats::start(settings)?;
        let address = nats.process.address;
        let run = end_to_end(
            settings,
            pace,
            nats.process.pid(),
            |_| nats::Client::connect(address),
            |_| nats::Tail::connect(address),
        )?;
        Ok((nats.about.clone(), run))
    })
}

/// From sending to arrival at a tailing reader.
pub(super) fn tail(settings: &Settings) -> anyhow::Result<Row> {
    let least = Duration::from_secs_f64(TAILED / TAILED_PER_S / settings.runs as f64);
    let pace = Pace {
        connections: 16,
        per_second: TAILED_PER_S,
        measured: settings.measured.max(least),
        body_bytes: BODY_BYTES,
        readers: 1,
    };
    let mut targets = [
        tail_of_hbuf(settings, &pace),
        tail_of_redis(settings, &pace),
        tail_of_nats(settings, &pace),
    ];
    let targets = alternate(settings, Unit::P50Ms, &mut targets)?;
    let p99 = |n: usize| -> Vec<f64> { targets[n].runs.iter().map(|r| r.summary.p99_ms).collect() };
    let p50s = ratios(&targets[0].values, &targets[1].values);
    let p99s = ratios(&p99(0), &p99(1));
    Ok(Row {
        name: "tail",
        title: "end to end at 1,000 messages/s, one tailing reader",
        client: "16 connections at 1,000 messages/s in all, one tailing reader: server-sent \
                 events, XREAD BLOCK, a push consumer; at least 30,000 messages over all runs"
            .to_owned(),
        targets,
        checks: vec![
            Check::new(
                "p50: hbuf / Redis",
                p50s,
                Bound::AtMost(1.5),
                Bound::AtMost(1.0),
            ),
            Check::new(
                "p99: hbuf / Redis",
                p99s,
                Bound::AtMost(2.0),
                Bound::AtMost(1.0),
            ),
        ],
        note: "",
    })
}
