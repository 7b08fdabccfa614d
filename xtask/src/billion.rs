//! A long run of small messages into one buffer, through the real binary: batches in, then reads
//! from start, middle and end, a proof, a check of everything that is kept, and restarts.

use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};

use crate::node::{Node, Scratch, batch_of, binary, bytes_below};
use crate::recovery_time::number;
use crate::shell;

/// Messages of one batch, the most that one may have.
const BATCH: u64 = 10_000;
/// Connections that append.
const CONNECTIONS: usize = 4;
/// Messages of one of the reads.
const READ: u64 = 10_000;
const BUFFER: &str = "billion";

pub(crate) fn run(messages: u64, keep_gigabytes: u64) -> Result<()> {
    let binary = binary()?;
    let scratch = Scratch::new("billion")?;
    let data = scratch.path();
    let node = Node::start(&binary, data, &[])?;
    let settings = format!(
        r#"{{"segment_bytes": 1073741824, "retention_bytes": {}}}"#,
        keep_gigabytes << 30
    );
    node.make_buffer(BUFFER, &settings)?;
    let took = fill(&node, messages)?;
    let info = node.get(&format!("/buffers/{BUFFER}"))?.text();
    let (first, commit) = (number(&info, "first")?, number(&info, "commit")?);
    ensure!(commit == messages, "{commit} messages are committed");
    println!(
        "appended {messages} messages in {:.0} s ({:.0}/s); kept from seq {first}, {:.1} GB on disk",
        took.as_secs_f64(),
        messages as f64 / took.as_secs_f64(),
        bytes_below(data)? as f64 / 1e9,
    );
    let middle = first + (commit - first) / 2;
    for (place, from) in [
        ("start", first),
        ("middle", middle),
        ("end", commit.saturating_sub(READ) + 1),
    ] {
        read(&node, place, from.max(first))?;
    }
    restart(&binary, data, node, commit)?;
    prove_and_verify(&binary, data, middle)
}

/// Appends from several connections; each batch holds the numbers that follow each other.
fn fill(node: &Node, messages: u64) -> Result<Duration> {
    let batches = messages.div_ceil(BATCH);
    let next = AtomicU64::new(0);
    let begun = Instant::now();
    let append = || -> Result<()> {
        let mut http = node.connect()?;
        loop {
            let batch = next.fetch_add(1, Ordering::Relaxed);
            if batch >= batches {
                return Ok(());
            }
            let from = batch * BATCH;
            http.append(BUFFER, &batch_of(from..messages.min(from + BATCH)))?;
            if (batch + 1).is_multiple_of(1_000) {
                eprintln!(
                    "{} messages after {:.0} s",
                    (batch + 1) * BATCH,
                    begun.elapsed().as_secs_f64()
                );
            }
        }
    };
    thread::scope(|scope| {
        let connections: Vec<_> = (0..CONNECTIONS).map(|_| scope.spawn(append)).collect();
        connections
            .into_iter()
            .try_for_each(|connection| connection.join().expect("no panic"))
    })?;
    Ok(begun.elapsed())
}

/// Reads a page and checks that each message is the one that was appended there.
fn read(node: &Node, place: &str, from: u64) -> Result<()> {
    let path = format!("/buffers/{BUFFER}/messages?after={}&limit={READ}", from - 1);
    let begun = Instant::now();
    let mut http = node.connect()?;
    let reply = http.send("GET", &path, "accept: application/http\r\n", b"")?;
    let took = begun.elapsed();
    ensure!(reply.status == 200, "{path}: {}", reply.text());
    let text = String::from_utf8(reply.body).context("the messages are text")?;
    let mut seq = from;
    let mut number = None;
    for record in text.split("POST /").skip(1) {
        let found: u64 = record.get(..20).context("a request line")?.parse()?;
        let body = record.trim_end().rsplit("\r\n").next().context("a body")?;
        let body = u64::from_str_radix(body, 16).with_context(|| body.to_owned())?;
        ensure!(found == seq, "seq {found} where {seq} was due");
        let goes_on = number.is_none_or(|before: u64| before + 1 == body);
        // Batches of several connections take turns, each of them whole.
        let in_place = body % BATCH == (seq - 1) % BATCH;
        ensure!(
            in_place && (goes_on || body % BATCH == 0),
            "seq {seq} holds message {body}"
        );
        (seq, number) = (seq + 1, Some(body));
    }
    let count = seq - from;
    println!(
        "read {count} messages at the {place} (seq {from}) in {:.1} ms",
        took.as_secs_f64() * 1e3
    );
    ensure!(count > 0, "nothing was read");
    Ok(())
}

/// Once after SIGKILL, once after an orderly stop; nothing is lost by either.
fn restart(binary: &Path, data: &Path, node: Node, commit: u64) -> Result<()> {
    node.kill()?;
    let node = Node::start(binary, data, &[])?;
    let killed = node.ready_after;
    let begun = Instant::now();
    let info = node.get(&format!("/buffers/{BUFFER}"))?.text();
    let opened = begun.elapsed();
    ensure!(number(&info, "commit")? == commit, "{info}");
    node.stop()?;
    let node = Node::start(binary, data, &[])?;
    println!(
        "ready {:.2} s after SIGKILL, {:.2} s more to open the buffer; {:.2} s after an orderly stop",
        killed.as_secs_f64(),
        opened.as_secs_f64(),
        node.ready_after.as_secs_f64()
    );
    node.stop()
}

fn prove_and_verify(binary: &Path, data: &Path, seq: u64) -> Result<()> {
    let directory = data.join("names/-").join(BUFFER);
    let directory = directory.to_string_lossy();
    let program = binary.to_string_lossy();
    let seq = seq.to_string();
    let begun = Instant::now();
    let proof = shell::output(&mut shell::command(&program, &["prove", &directory, &seq]))?;
    let took = begun.elapsed();
    let path = data.join("proof");
    std::fs::write(&path, proof)?;
    let checked = ["prove", "--check", &path.to_string_lossy()];
    let said = shell::output(&mut shell::command(&program, &checked))?;
    println!("proof after {:.2} s: {}", took.as_secs_f64(), said.trim());
    let begun = Instant::now();
    let said = shell::output(&mut shell::command(&program, &["verify", &directory]))?;
    println!(
        "verified what is kept in {:.1} s: {}",
        begun.elapsed().as_secs_f64(),
        said.trim()
    );
    Ok(())
}
