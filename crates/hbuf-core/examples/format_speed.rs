//! Prints nanoseconds per operation of the format's hot paths: `cargo run --release --example
//! format_speed -p hbuf-core`. Best of several windows; compare figures of one run only.

#![expect(
    clippy::disallowed_types,
    reason = "a measurement reads the clock; the core itself does not"
)]

use std::hint::black_box;
use std::time::Instant;

use hbuf_core::commitment::{Leaf, PLAIN_FACTS, commitment};
use hbuf_core::content::{Source, parse_batch, stored_lines};
use hbuf_core::ids::{Epoch, Micros, Seq, Uuid};
use hbuf_core::record::{Facts, Frame, Line, Proof, ProofKind, decode, encode, head_len};
use hbuf_core::segment::{Position, Step, Walker};
use hbuf_core::tree::Frontier;

const MESSAGES: u64 = 4096;
const LINES: &[u8] = b"x-hbuf-key: user-1717\r\ncontent-type: application/json\r\n";
const BODY: [u8; 256] = [b'b'; 256];
const SALT: [u8; 32] = [7; 32];

fn main() {
    hashes();
    let file = framing();
    reading(&file);
    headers(&file);
}

fn leaf() -> Leaf {
    Leaf {
        log: Uuid([1; 16]),
        seq: Seq(42),
        time: Micros(1_795_173_322_123_456),
        head_len: head_len(
            &Facts::default(),
            LINES.len(),
            BODY.len(),
            ProofKind::Salted,
        ),
        body_len: BODY.len() as u64,
        facts: PLAIN_FACTS,
        commitment: commitment(&SALT, LINES, &BODY),
    }
}

fn hashes() {
    let leaf = leaf();
    let id = leaf.id();
    measure("commitment", || {
        for _ in 0..MESSAGES {
            black_box(commitment(black_box(&SALT), LINES, &BODY));
        }
    });
    measure("leaf id", || {
        for _ in 0..MESSAGES {
            black_box(black_box(&leaf).id());
        }
    });
    measure("frontier push", || {
        let mut frontier = Frontier::new();
        (0..MESSAGES).for_each(|_| frontier.push(black_box(id)));
        black_box(frontier.size());
    });
}

/// Returns the records.
fn framing() -> Vec<u8> {
    let facts = Facts::default();
    let leaf = leaf();
    let proof = Proof::Salted {
        salt: SALT,
        id: leaf.id(),
    };
    let mut out = Vec::new();
    measure("encode", || {
        out.clear();
        for seq in 1..=MESSAGES {
            let frame = Frame {
                seq: Seq(seq),
                time: leaf.time.plus(seq),
                epoch: Epoch(1),
                distance: 1,
                rest: 0,
                facts: &facts,
                lines: LINES,
                proof,
                body: &BODY,
            };
            encode(&frame, &mut out);
        }
        black_box(&out);
    });
    println!(
        "{} bytes a record with a body of {}",
        out.len() as u64 / MESSAGES,
        BODY.len()
    );
    out
}

fn reading(file: &Vec<u8>) {
    let record_len = file.len() / MESSAGES as usize;
    measure("line parse", || {
        for record in file.chunks_exact(record_len) {
            black_box(Line::parse(record).expect("a line"));
        }
    });
    measure("decode", || {
        for record in file.chunks_exact(record_len) {
            black_box(decode(record).expect("a record"));
        }
    });
    measure("walk", || {
        let mut walker = Walker::new(file, Position::at(0, Seq(1)));
        while let Step::Record { record, .. } = walker.step().expect("memory reads") {
            black_box(record.line.seq);
        }
    });
}

fn headers(file: &[u8]) {
    let mut out = Vec::new();
    let sent = [
        ("host", "a"),
        ("user-agent", "curl/8"),
        ("accept", "*/*"),
        ("x-hbuf-key", "user-1717"),
        ("content-type", "application/json"),
    ];
    measure("stored lines", || {
        for _ in 0..MESSAGES {
            out.clear();
            let headers = sent.iter().map(|(name, value)| (*name, value.as_bytes()));
            stored_lines(headers, Source::Plain, &mut out).expect("good headers");
            black_box(&out);
        }
    });
    let head = b"POST / HTTP/1.1\r\ncontent-length: 256\r\n".as_slice();
    let batch = [head, LINES, b"\r\n", &BODY]
        .concat()
        .repeat(MESSAGES as usize);
    measure("batch", || {
        black_box(parse_batch(&batch).expect("a batch"));
    });
    measure("batch of records", || {
        black_box(parse_batch(file).expect("a batch"));
    });
}

/// Prints the best time of one of `MESSAGES` operations.
fn measure(name: &str, mut run: impl FnMut()) {
    let mut best = f64::INFINITY;
    for _ in 0..200 {
        let start = Instant::now();
        run();
        best = best.min(start.elapsed().as_secs_f64());
    }
    println!("{name:20} {:8.1} ns", best * 1e9 / MESSAGES as f64);
}
