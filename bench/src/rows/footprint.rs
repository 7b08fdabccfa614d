//! The rows about starting and about memory.

use std::path::Path;
use std::time::Instant;

use anyhow::{Context, ensure};

use super::{BODY_BYTES, Bound, Check, Row, Target, Unit};
use crate::Settings;
use crate::drive::on_this_thread;
use crate::servers::About;
use crate::servers::child::{Process, Scratch};
use crate::servers::hbuf::{BUFFER, Hbuf};
use crate::servers::http::{Tail, append_request, exchange};
use crate::servers::nats::Nats;
use crate::servers::pages::{consumer_path, json_request, send_all};
use crate::servers::redis::Redis;
use crate::servers::tagged::{FILTER, filter_request, tagged_batch};
use crate::wire::Connection;

/// Tailing readers whose memory is measured.
const TAILS: usize = 10_000;
/// What a tailing reader costs this client.
const TAIL_INPUT_BYTES: usize = 1 << 10;
const MB: f64 = 1e6;
const MIB: f64 = 1_048_576.0;

/// A data directory with many buffers, made once for all rows that need it.
#[derive(Default)]
pub(crate) struct Many(Option<Scratch>);

impl Many {
    fn directory(&mut self, settings: &Settings) -> anyhow::Result<&Path> {
        if self.0.is_none() {
            eprintln!("   making {} buffers", settings.many);
            let data = Scratch::new(&settings.dir, "many")?;
            let hbuf = Hbuf::start_on(settings, data.path())?;
            hbuf.make_buffers(settings.many, &[b'x'; BODY_BYTES])?;
            hbuf.process.stop()?;
            self.0 = Some(data);
        }
        Ok(self.0.as_ref().context("no directory")?.path())
    }
}

/// Appends one message; milliseconds since the process was started.
fn first_accepted(process: &Process) -> anyhow::Result<f64> {
    let address = process.address;
    let request = append_request(address, BUFFER, "", &[b'x'; BODY_BYTES]);
    let status = on_this_thread(async {
        let mut connection = Connection::connect(address, 16 << 10).await?;
        anyhow::Ok(exchange(&mut connection, &request).await?.status)
    })?;
    let elapsed = process.started.elapsed();
    ensure!(
        status == 201,
        "the first append was answered with status {status}"
    );
    Ok(elapsed.as_secs_f64() * 1e3)
}

fn about(settings: &Settings) -> About {
    let version = crate::build::first_line(&settings.hbuf.to_string_lossy(), &["--version"]);
    let version = version.trim_start_matches("hbuf ").to_owned();
    About {
        name: "hbuf",
        version,
        settings: Vec::new(),
    }
}

fn checked(target: Target, what: &'static str, must: f64, goal: Option<f64>) -> (Target, Check) {
    let bounds = (Bound::AtMost(must), goal.map(Bound::AtMost));
    let check = Check::new(what, target.values.clone(), bounds.0, bounds.1);
    (target, check)
}

/// From `exec` to the first acknowledged append, on an empty directory.
pub(super) fn start(settings: &Settings) -> anyhow::Result<Row> {
    let (mut ours, mut redis, mut nats) = (Vec::new(), Vec::new(), Vec::new());
    let (mut of_redis, mut of_nats) = (About::default(), About::default());
    for _ in 0..settings.runs {
        let data = Scratch::new(&settings.dir, "start")?;
        let process = Hbuf::spawn(settings, data.path())?;
        ours.push(first_accepted(&process)?);
        // Both are asked for their settings on the way, which is no part of what is compared.
        let peer = Redis::start(settings)?;
        redis.push(peer.process.listened_after_ms);
        of_redis = peer.about.clone();
        let peer = Nats::start(settings)?;
        nats.push(peer.process.listened_after_ms);
        of_nats = peer.about.clone();
    }
    let ours = Target::of_values(about(settings), Unit::Ms, ours);
    let (ours, check) = checked(ours, "hbuf ms", 100.0, Some(30.0));
    let redis = Target::of_values(of_redis, Unit::Ms, redis);
    let nats = Target::of_values(of_nats, Unit::Ms, nats);
    Ok(Row {
        name: "start",
        title: "empty start",
        client: "from exec to the first acknowledged append; the peers to their first accepted \
                 connection"
            .to_owned(),
        targets: vec![ours, redis, nats],
        checks: vec![check],
        note: "",
    })
}

/// The same on a directory with many buffers.
pub(super) fn start_many(settings: &Settings, many: &mut Many) -> anyhow::Result<Row> {
    let data = many.directory(settings)?;
    let mut values = Vec::new();
    for _ in 0..settings.runs {
        let process = Hbuf::spawn(settings, data)?;
        values.push(first_accepted(&process)?);
        process.stop()?;
    }
    let target = Target::of_values(about(settings), Unit::Ms, values);
    let (target, check) = checked(target, "hbuf ms", 3_000.0, Some(1_000.0));
    Ok(Row {
        name: "start-many",
        title: "start with 100,000 buffers",
        client: format!(
            "from exec to the first acknowledged append; {} buffers",
            settings.many
        ),
        targets: vec![target],
        checks: vec![check],
        note: "",
    })
}

/// Resident memory at rest, empty.
pub(super) fn rss(settings: &Settings) -> anyhow::Result<Row> {
    // All at once: they rest, so they do not disturb each other.
    let mut servers = Vec::new();
    for _ in 0..settings.runs {
        servers.push((
            Hbuf::start(settings)?,
            Redis::start(settings)?,
            Nats::start(settings)?,
        ));
    }
    std::thread::sleep(settings.idle);
    let (mut ours, mut redis, mut nats) = (Vec::new(), Vec::new(), Vec::new());
    for (one, two, three) in &servers {
        ours.push(one.process.resident_bytes()? as f64 / MB);
        redis.push(two.process.resident_bytes()? as f64 / MB);
        nats.push(three.process.resident_bytes()? as f64 / MB);
    }
    let (of_hbuf, of_redis, of_nats) = servers
        .first()
        .map(|(one, two, three)| (one.about.clone(), two.about.clone(), three.about.clone()))
        .context("no run")?;
    let ours = Target::of_values(of_hbuf, Unit::Mb, ours);
    let (ours, check) = checked(ours, "hbuf MB", 30.0, Some(20.0));
    let redis = Target::of_values(of_redis, Unit::Mb, redis);
    let nats = Target::of_values(of_nats, Unit::Mb, nats);
    Ok(Row {
        name: "rss",
        title: "resident memory at rest, one message",
        client: format!("{} s after the first message", settings.idle.as_secs()),
        targets: vec![ours, redis, nats],
        checks: vec![check],
        note: "",
    })
}

/// Resident memory at rest, with many buffers.
pub(super) fn rss_many(settings: &Settings, many: &mut Many) -> anyhow::Result<Row> {
    let data = many.directory(settings)?;
    let mut values = Vec::new();
    for _ in 0..settings.runs {
        let process = Hbuf::spawn(settings, data)?;
        first_accepted(&process)?;
        std::thread::sleep(settings.idle);
        values.push(process.resident_bytes()? as f64 / MB);
        process.stop()?;
    }
    let target = Target::of_values(about(settings), Unit::Mb, values);
    let (target, check) = checked(target, "hbuf MB", 500.0, None);
    let (idle, count) = (settings.idle.as_secs(), settings.many);
    Ok(Row {
        name: "rss-many",
        title: "resident memory at rest, 100,000 buffers",
        client: format!("{idle} s after a start on {count} buffers and one message"),
        targets: vec![target],
        checks: vec![check],
        note: "",
    })
}

/// What each of 10,000 tailing readers adds.
pub(super) fn rss_tails(settings: &Settings) -> anyhow::Result<Row> {
    let mut values = Vec::new();
    let mut of_hbuf = About::default();
    // The connections need it for as long as they are open.
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    for _ in 0..settings.runs {
        let hbuf = Hbuf::start(settings)?;
        let before = hbuf.process.resident_bytes()?;
        let address = hbuf.process.address;
        let begun = Instant::now();
        let tails = runtime.block_on(async {
            let mut tails = Vec::with_capacity(TAILS);
            for n in 0..TAILS {
                let tail = Tail::connect(address, BUFFER, 1, TAIL_INPUT_BYTES).await;
                tails.push(tail.with_context(|| format!("tail {n}"))?);
            }
            anyhow::Ok(tails)
        })?;
        eprintln!(
            "   {TAILS} tails after {:.1} s",
            begun.elapsed().as_secs_f64()
        );
        std::thread::sleep(settings.idle);
        let grown = hbuf.process.resident_bytes()?.saturating_sub(before);
        values.push(grown as f64 / TAILS as f64 / 1024.0);
        drop(tails);
        of_hbuf = hbuf.about.clone();
    }
    let target = Target::of_values(of_hbuf, Unit::Kib, values);
    let (target, check) = checked(target, "KiB a reader", 32.0, None);
    Ok(Row {
        name: "rss-tails",
        title: "resident memory of a tailing reader, at 10,000",
        client: format!(
            "10,000 connections tail one buffer (server-sent events); {} s later, what each added",
            settings.idle.as_secs()
        ),
        targets: vec![target],
        checks: vec![check],
        note: "",
    })
}

/// Makes a consumer with a filter of `tags` tags, and takes its first message; seconds.
fn make_filter_consumer(hbuf: &Hbuf, tags: u64) -> anyhow::Result<f64> {
    let address = hbuf.process.address;
    let path = consumer_path(BUFFER, 0);
    let config = format!(r#"{{"filter": "{FILTER}"}}"#);
    let requests = [
        filter_request(address, tags),
        json_request(address, "PUT", &path, &config),
        json_request(address, "POST", &format!("{path}/next?limit=1"), ""),
    ];
    on_this_thread(async {
        let mut connection = Connection::connect(address, 16 << 10).await?;
        let begun = Instant::now();
        for request in requests {
            let reply = connection.send(&request).await?;
            let mut body = Vec::new();
            while let Some(piece) = connection.chunk().await? {
                body.extend_from_slice(piece);
            }
            let text = String::from_utf8_lossy(&body);
            let status = reply.status;
            ensure!((200..300).contains(&status), "status {status}: {text}");
            let handed = !request.starts_with(b"POST") || text.contains("\"lease\"");
            ensure!(handed, "no message was handed out: {text}");
        }
        Ok(begun.elapsed().as_secs_f64())
    })
}

/// What it takes to make a consumer with a large filter, and what it holds afterwards.
pub(super) fn filter_consumer(settings: &Settings) -> anyhow::Result<Row> {
    let tags = settings.filter_tags;
    // All at once, so that they rest together.
    let mut servers = Vec::new();
    for _ in 0..settings.runs {
        let hbuf = Hbuf::start(settings)?;
        let address = hbuf.process.address;
        let matching = tagged_batch(address, 1..2, tags, &[b'x'; BODY_BYTES]);
        on_this_thread(send_all(address, [matching].into_iter()))?;
        servers.push(hbuf);
    }
    std::thread::sleep(settings.idle);
    let resident = |hbuf: &Hbuf| anyhow::Ok(hbuf.process.resident_bytes()? as f64 / MIB);
    let (mut seconds, mut before) = (Vec::new(), Vec::new());
    for hbuf in &servers {
        before.push(resident(hbuf)?);
        seconds.push(make_filter_consumer(hbuf, tags)?);
        eprintln!("   {:.2} s", seconds.last().unwrap_or(&0.0));
    }
    std::thread::sleep(settings.idle);
    let mut kept = Vec::new();
    for (hbuf, before) in servers.iter().zip(before) {
        kept.push(resident(hbuf)? - before);
    }
    let about = servers.first().map(|hbuf| hbuf.about.clone());
    let about = about.context("no run")?;
    let seconds = Target::of_values(about.clone(), Unit::S, seconds);
    let (seconds, quick) = checked(seconds, "seconds to the first message", 10.0, Some(3.0));
    let kept = Target::of_values(about, Unit::Mib, kept);
    let (kept, small) = checked(kept, "MiB kept", 64.0, None);
    Ok(Row {
        name: "filter-consumer",
        title: "a consumer with a filter of 5,000,000 tags is made",
        client: format!(
            "1 connection: the filter of {tags} tags is uploaded as a stream of lines, none of \
             them known to the buffer before, the consumer is made, and its first message handed \
             out; what that added to resident memory {} s later, the dictionary included",
            settings.idle.as_secs()
        ),
        targets: vec![seconds, kept],
        checks: vec![quick, small],
        note: "",
    })
}

#[cfg(test)]
mod tests {
    use super::super::tests::settings_with_hbuf;
    use super::*;

    #[test]
    fn a_consumer_with_a_filter_hands_out_a_matching_message() {
        let row = filter_consumer(&settings_with_hbuf()).unwrap();
        assert!(row.targets[0].values[0] > 0.0);
    }
}
