//! The rows that read: catching up, and tailing.

use std::time::Duration;

use super::{BODY_BYTES, Bound, Check, Measure, Row, Unit, alternate, ratios};
use crate::Settings;
use crate::drive::closed_loop;
use crate::paced::{Pace, end_to_end};
use crate::servers::bare::Bare;
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

/// Reading a million messages, by one reader or by eight.
pub(super) fn catchup(settings: &Settings, readers: usize) -> anyhow::Result<Row> {
    let body = [b'x'; BODY_BYTES];
    eprintln!("   filling hbuf, Redis and NATS with {MESSAGES} messages each");
    let hbuf = Hbuf::start(settings)?;
    hbuf.fill(MESSAGES, &body)?;
    let bare = Bare::stream(settings, &hbuf.segments()?)?;
    let redis = Redis::start(settings)?;
    redis.fill(MESSAGES, &body)?;
    let nats = Nats::start(settings)?;
    nats.fill(MESSAGES, &body)?;
    let of_hbuf: Measure<'_> = Box::new(|| {
        let address = hbuf.process.address;
        let connect = |_| CatchUp::connect(address, BUFFER, MESSAGES);
        let run = closed_loop(settings, hbuf.process.pid(), readers, connect)?;
        Ok((hbuf.about.clone(), run))
    });
    let of_bare: Measure<'_> = Box::new(|| {
        let address = bare.process.address;
        let connect = |_| CatchUp::connect(address, BUFFER, MESSAGES);
        let run = closed_loop(settings, bare.process.pid(), readers, connect)?;
        Ok((bare.about.clone(), run))
    });
    let of_redis: Measure<'_> = Box::new(|| {
        let address = redis.process.address;
        let connect = |_| Reads::connect(address, MESSAGES);
        let run = closed_loop(settings, redis.process.pid(), readers, connect)?;
        Ok((redis.about.clone(), run))
    });
    let of_nats: Measure<'_> = Box::new(|| {
        let address = nats.process.address;
        let connect = |_| Pulls::connect(address, MESSAGES);
        let run = closed_loop(settings, nats.process.pid(), readers, connect)?;
        Ok((nats.about.clone(), run))
    });
    let mut targets = [of_hbuf, of_bare, of_redis, of_nats];
    let mut targets = alternate(settings, Unit::MessagesPerS, &mut targets)?;
    // An operation here is one read of the socket, or one XREAD: no latency that compares.
    targets
        .iter_mut()
        .flat_map(|t| &mut t.runs)
        .for_each(|run| run.summary.samples = 0);
    let to_redis = ratios(&targets[0].values, &targets[2].values);
    let to_bare = ratios(&targets[0].values, &targets[1].values);
    let least = if readers == 1 { 4.0 } else { 3.0 };
    Ok(Row {
        name: if readers == 1 {
            "catchup-1"
        } else {
            "catchup-8"
        },
        title: match readers {
            1 => "catching up with 1,000,000 messages, one reader",
            _ => "catching up with 1,000,000 messages, eight readers",
        },
        client: format!(
            "{readers} connections, each reads from the first message to the last and begins \
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

/// From sending to arrival at a tailing reader.
pub(super) fn tail(settings: &Settings) -> anyhow::Result<Row> {
    let least = Duration::from_secs_f64(TAILED / TAILED_PER_S / settings.runs as f64);
    let pace = Pace {
        connections: 16,
        per_second: TAILED_PER_S,
        measured: settings.measured.max(least),
        body_bytes: BODY_BYTES,
    };
    let of_hbuf: Measure<'_> = Box::new(|| {
        let hbuf = Hbuf::start(settings)?;
        let address = hbuf.process.address;
        let run = end_to_end(
            settings,
            &pace,
            hbuf.process.pid(),
            |_| StampedAppends::connect(address, BUFFER),
            || Tail::connect(address, BUFFER, 1, TAIL_INPUT_BYTES),
        )?;
        Ok((hbuf.about.clone(), run))
    });
    let of_redis: Measure<'_> = Box::new(|| {
        let redis = Redis::start(settings)?;
        let address = redis.process.address;
        let run = end_to_end(
            settings,
            &pace,
            redis.process.pid(),
            |_| resp::Client::connect(address),
            || redis::Tail::connect(address),
        )?;
        Ok((redis.about.clone(), run))
    });
    let of_nats: Measure<'_> = Box::new(|| {
        let nats = Nats::start(settings)?;
        let address = nats.process.address;
        let run = end_to_end(
            settings,
            &pace,
            nats.process.pid(),
            |_| nats::Client::connect(address),
            || nats::Tail::connect(address),
        )?;
        Ok((nats.about.clone(), run))
    });
    let mut targets = [of_hbuf, of_redis, of_nats];
    let targets = alternate(settings, Unit::P50Ms, &mut targets)?;
    let p99 = |n: usize| -> Vec<f64> { targets[n].runs.iter().map(|r| r.summary.p99_ms).collect() };
    let p50s = ratios(&targets[0].values, &targets[1].values);
    let p99s = ratios(&p99(0), &p99(1));
    Ok(Row {
        name: "tail",
        title: "end to end at 1,000 messages/s, one tailing reader",
        client: "16 connections at 1,000 messages/s in all, one tailing reader: server-sent \
                 events, XREAD BLOCK, a push consumer; 30,000 messages over all runs"
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
