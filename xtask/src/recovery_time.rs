//! How long a start takes after SIGKILL, with all the data that no mark covers: fills a real
//! directory on both commit paths, kills, starts again, and appends to every buffer.

use std::path::Path;
use std::thread;
use std::time::Instant;

use anyhow::{Result, ensure};

use crate::node::{Node, Scratch, batch_of, binary, bytes_below};

/// Messages of one batch; a record of one of them is about 310 bytes.
const BATCH: u64 = 2_000;
/// Buffers that the journal holds.
const JOURNALED: usize = 64;
/// Buffers whose open segments are filled directly.
const DIRECT: usize = 2;
const MIB: u64 = 1 << 20;

pub(crate) fn run(megabytes: u64) -> Result<()> {
    let binary = binary()?;
    let journal = [
        "--direct-buffers-max=0",
        "--journal-bytes=2GiB",
        "--checkpoint-seconds=86400",
    ];
    measure(&binary, "the journal", &journal, JOURNALED, megabytes)?;
    let direct = ["--direct-buffers-max=18446744073709551615"];
    measure(&binary, "segments alone", &direct, DIRECT, megabytes)
}

/// Fills, kills, starts, and prints what the start and the first append to each buffer took.
fn measure(
    binary: &Path,
    what: &str,
    settings: &[&str],
    buffers: usize,
    megabytes: u64,
) -> Result<()> {
    let scratch = Scratch::new("recovery-time")?;
    let settings: Vec<String> = settings.iter().map(ToString::to_string).collect();
    let node = Node::start(binary, scratch.path(), &settings)?;
    for n in 0..buffers {
        node.make_buffer(&format!("b{n}"), r#"{"segment_bytes": 1073741824}"#)?;
    }
    let before = bytes_below(&scratch.path().join("buffers"))?;
    let mut http = node.connect()?;
    let mut filled = 0;
    let mut messages = 0;
    while filled < megabytes * MIB {
        for n in 0..buffers {
            http.append(&format!("b{n}"), &batch_of(messages..messages + BATCH))?;
            messages += BATCH;
        }
        filled = bytes_below(&scratch.path().join("buffers"))? - before;
    }
    let journal = bytes_below(&scratch.path().join("journal"))?;
    node.kill()?;

    let node = Node::start(binary, scratch.path(), &settings)?;
    let ready = node.ready_after;
    let begun = Instant::now();
    append_to_each(&node, buffers)?;
    let opened = begun.elapsed();
    ensure!(
        messages_of(&node, buffers)? == messages + buffers as u64,
        "messages are missing"
    );
    println!(
        "unmarked in {what}: {} MiB of segments, {} MiB of journal, {messages} messages in \
         {buffers} buffers: ready {:.2} s after the start, {:.2} s more until each buffer took \
         an append",
        filled / MIB,
        journal / MIB,
        ready.as_secs_f64(),
        opened.as_secs_f64(),
    );
    node.stop()
}

/// One client a buffer, all at once, as clients come back after a crash.
fn append_to_each(node: &Node, buffers: usize) -> Result<()> {
    let append = |n: usize| -> Result<()> {
        let mut http = node.connect()?;
        http.append(&format!("b{n}"), &batch_of(0..1))
    };
    thread::scope(|scope| {
        let clients: Vec<_> = (0..buffers)
            .map(|n| scope.spawn(move || append(n)))
            .collect();
        clients
            .into_iter()
            .try_for_each(|client| client.join().expect("no client panics"))
    })
}

fn messages_of(node: &Node, buffers: usize) -> Result<u64> {
    let mut sum = 0;
    for n in 0..buffers {
        let reply = node.get(&format!("/buffers/b{n}"))?;
        sum += number(&reply.text(), "messages")?;
    }
    Ok(sum)
}

/// The number of a field of our own JSON.
pub(crate) fn number(json: &str, field: &str) -> Result<u64> {
    let start = json.find(&format!("\"{field}\":"));
    let digits = start.map(|at| &json[at + field.len() + 3..]);
    let digits = digits.and_then(|text| text.split([',', '}']).next());
    match digits.and_then(|digits| digits.trim().parse().ok()) {
        Some(number) => Ok(number),
        None => anyhow::bail!("no number `{field}` in {json}"),
    }
}
