//! The rows that append.

use anyhow::Context;

use super::{BODY_BYTES, Bound, Check, Measure, Row, Target, Unit, alternate, ratios};
use crate::Settings;
use crate::drive::{Run, closed_loop};
use crate::limits::disk;
use crate::servers::About;
use crate::servers::bare::Bare;
use crate::servers::child::Process;
use crate::servers::hbuf::{BUFFER, Hbuf, buffer_name};
use crate::servers::http::{Appends, append_request, batch_request};
use crate::servers::nats::{Nats, Publishes};
use crate::servers::redis::{Adds, Redis};

const BODY: [u8; BODY_BYTES] = [b'x'; BODY_BYTES];
const BATCH: usize = 1_000;
const MANY: usize = 5_000;

/// The reply that the bare server must give too.
fn reply(settings: &Settings) -> anyhow::Result<Vec<u8>> {
    Ok(Hbuf::start(settings)?.reply)
}

/// Drives HTTP: each connection sends the same request again and again.
fn http(
    settings: &Settings,
    process: &Process,
    connections: usize,
    messages: usize,
) -> anyhow::Result<Run> {
    let address = process.address;
    let request = match messages {
        1 => append_request(address, BUFFER, "", &BODY),
        count => batch_request(address, BUFFER, count, &BODY),
    };
    let bytes = (messages * BODY_BYTES) as u64;
    closed_loop(settings, process.pid(), connections, |_| {
        Appends::connect(address, vec![request.clone()], messages as u64, bytes)
    })
}

fn hbuf(settings: &Settings, connections: usize, messages: usize) -> Measure<'_> {
    Box::new(move || {
        let hbuf = Hbuf::start(settings)?;
        let run = http(settings, &hbuf.process, connections, messages)?;
        Ok((hbuf.about.clone(), run))
    })
}

fn redis(settings: &Settings, connections: usize, messages: usize) -> Measure<'_> {
    Box::new(move || {
        let redis = Redis::start(settings)?;
        let address = redis.process.address;
        let connect = |_| Adds::connect(address, messages, &BODY);
        let run = closed_loop(settings, redis.process.pid(), connections, connect)?;
        Ok((redis.about.clone(), run))
    })
}

fn nats(settings: &Settings, connections: usize, messages: usize) -> Measure<'_> {
    Box::new(move || {
        let nats = Nats::start(settings)?;
        let address = nats.process.address;
        let connect = |_| Publishes::connect(address, messages, &BODY);
        let run = closed_loop(settings, nats.process.pid(), connections, connect)?;
        Ok((nats.about.clone(), run))
    })
}

/// One message a request over 64 connections.
pub(super) fn append_64(settings: &Settings) -> anyhow::Result<Row> {
    let reply = reply(settings)?;
    let bare: Measure<'_> = Box::new(|| {
        let bare = Bare::answer(settings, Some(&reply))?;
        let run = http(settings, &bare.process, 64, 1)?;
        Ok((bare.about.clone(), run))
    });
    let mut targets = [
        hbuf(settings, 64, 1),
        bare,
        redis(settings, 64, 1),
        nats(settings, 64, 1),
    ];
    let targets = alternate(settings, Unit::MessagesPerS, &mut targets)?;
    let to_bare = ratios(&targets[0].values, &targets[1].values);
    let to_redis = ratios(&targets[0].values, &targets[2].values);
    Ok(Row {
        name: "append-64",
        title: "one message a request, 64 connections",
        client: "64 connections, one request each at a time; HTTP/1.1, RESP2, NATS".to_owned(),
        targets,
        checks: vec![
            Check::new(
                "hbuf / bare hyper",
                to_bare,
                Bound::AtLeast(0.45),
                Bound::AtLeast(0.6),
            ),
            Check::new("hbuf / Redis", to_redis, Bound::AtLeast(1.0), None),
        ],
        note: "The bare server reads the same requests and gives hbuf's reply headers.",
    })
}

/// One message a request over one connection: latency.
pub(super) fn append_1(settings: &Settings) -> anyhow::Result<Row> {
    let reply = reply(settings)?;
    let hop: Measure<'_> = Box::new(|| {
        let bare = Bare::hop(settings, Some(&reply))?;
        let run = http(settings, &bare.process, 1, 1)?;
        Ok((bare.about.clone(), run))
    });
    let fdatasync: Measure<'_> = Box::new(|| {
        let bytes = disk::RECORD_BYTES;
        let about = About {
            name: "fdatasync",
            version: "the disk".to_owned(),
            settings: vec![format!(
                "write of {bytes} bytes and fdatasync, file written before"
            )],
        };
        Ok((about, disk::fdatasync(settings)?))
    });
    let mut targets = [hbuf(settings, 1, 1), fdatasync, hop, redis(settings, 1, 1)];
    let targets = alternate(settings, Unit::P50Ms, &mut targets)?;
    let floor: Vec<f64> = targets[1]
        .values
        .iter()
        .zip(&targets[2].values)
        .map(|(disk, hop)| disk + hop)
        .collect();
    let to_floor = ratios(&targets[0].values, &floor);
    Ok(Row {
        name: "append-1",
        title: "one message a request, 1 connection",
        client: "1 connection, one request at a time; HTTP/1.1, RESP2".to_owned(),
        checks: vec![Check::new(
            "hbuf p50 / (fdatasync p50 + bare hyper with a thread hop p50)",
            to_floor,
            Bound::AtMost(1.3),
            Bound::AtMost(1.1),
        )],
        targets,
        note: "A wake-up across cores decides much of these figures: look at the spread.",
    })
}

/// Batches of 1,000 over four connections.
pub(super) fn batch_4(settings: &Settings) -> anyhow::Result<Row> {
    let mut targets = [
        hbuf(settings, 4, BATCH),
        redis(settings, 4, BATCH),
        nats(settings, 4, BATCH),
    ];
    let targets = alternate(settings, Unit::MessagesPerS, &mut targets)?;
    let to_redis = ratios(&targets[0].values, &targets[1].values);
    let rate = targets[0].values.clone();
    Ok(Row {
        name: "batch-4",
        title: "batches of 1,000, 4 connections",
        client: "4 connections, one batch each at a time; application/http over HTTP/1.1, \
                 pipelines of 1,000 XADD, 1,000 publishes in flight"
            .to_owned(),
        targets,
        checks: vec![
            Check::new("hbuf / Redis", to_redis, Bound::AtLeast(3.0), None),
            Check::new("hbuf messages/s", rate, None, Bound::AtLeast(1_000_000.0)),
        ],
        note: "Latencies are those of a whole batch. A batch of hbuf is atomic, a pipeline is not.",
    })
}

/// One message a request to any of 5,000 buffers.
pub(super) fn buffers_5000(settings: &Settings) -> anyhow::Result<Row> {
    let many: Measure<'_> = Box::new(|| {
        let hbuf = Hbuf::start(settings)?;
        hbuf.make_buffers(MANY, &BODY)
            .context("making the buffers")?;
        let address = hbuf.process.address;
        let run = closed_loop(settings, hbuf.process.pid(), 64, |n| {
            let names = (n..MANY).step_by(64).map(buffer_name);
            let requests = names
                .map(|name| append_request(address, &name, "", &BODY))
                .collect();
            Appends::connect(address, requests, 1, BODY_BYTES as u64)
        })?;
        let mut about = hbuf.about.clone();
        about.name = "hbuf, 5,000 buffers";
        Ok((about, run))
    });
    let mut targets = [many, hbuf(settings, 64, 1)];
    let targets: Vec<Target> = alternate(settings, Unit::MessagesPerS, &mut targets)?;
    let to_one = ratios(&targets[0].values, &targets[1].values);
    Ok(Row {
        name: "buffers-5000",
        title: "5,000 existing buffers, one message a request, 64 connections",
        client: "64 connections, one request each at a time, each over its own 78 buffers; \
                 HTTP/1.1"
            .to_owned(),
        targets,
        checks: vec![Check::new(
            "5,000 buffers / one buffer",
            to_one,
            Bound::AtLeast(0.7),
            Bound::AtLeast(0.9),
        )],
        note: "",
    })
}
