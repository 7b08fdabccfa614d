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

fn main() {
    let body = [b'b'; 256];
    let lines = b"x-hbuf-key: user-1717\r\ncontent-type: application/json\r\n";
    let salt = [7; 32];
    let facts = Facts::default();
    let leaf = Leaf {
        log: Uuid([1; 16]),
        seq: Seq(42),
        time: Micros(1_795_173_322_123_456),
        head_len: head_len(&facts, lines.len(), body.len(), ProofKind::Salted),
        body_len: 256,
        facts: PLAIN_FACTS,
        commitment: commitment(&salt, lines, &body),
    };
    let frame = |seq| Frame {
        seq: Seq(seq),
        time: leaf.time,
        epoch: Epoch(1),
        distance: 1,
        rest: 0,
        facts: &facts,
        lines,
        proof: Proof::Salted {
            salt,
            id: leaf.id(),
        },
        body: &body,
    };
    let id = leaf.id();
    let mut file = Vec::new();
    (1..=MESSAGES).for_each(|seq| encode(&frame(seq), &mut file));
    let record_len = file.len() / MESSAGES as usize;
    let mut inner = b"POST / HTTP/1.1\r\ncontent-length: 256\r\nx-hbuf-key: user-1717\r\n\
        content-type: application/json\r\n\r\n"
        .to_vec();
    inner.extend_from_slice(&body);
    let batch = inner.repeat(MESSAGES as usize);
    println!("{record_len} bytes a record with a body of 256");

    let mut out = Vec::with_capacity(file.len());
    measure("encode", || {
        out.clear();
        let proof = Proof::Salted { salt, id };
        (1..=MESSAGES).for_each(|seq| {
            encode(
                &Frame {
                    proof,
                    ..frame_of(seq, &facts, lines, &body)
                },
                &mut out,
            )
        });
        black_box(&out);
    });
    measure("commitment", || {
        for _ in 0..MESSAGES {
            black_box(commitment(black_box(&salt), lines, &body));
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
        let mut walker = Walker::new(&file, Position::at(0, Seq(1)));
        while let Step::Record { record, .. } = walker.step().expect("memory reads") {
            black_box(record.line.seq);
        }
    });
    measure("stored lines", || {
        for _ in 0..MESSAGES {
            out.clear();
            let headers = [
                ("host", "a"),
                ("user-agent", "curl/8"),
                ("accept", "*/*"),
                ("x-hbuf-key", "user-1717"),
                ("content-type", "application/json"),
            ];
            let headers = headers
                .iter()
                .map(|(name, value)| (*name, value.as_bytes()));
            stored_lines(headers, Source::Plain, &mut out).expect("good headers");
            black_box(&out);
        }
    });
    measure("batch", || {
        black_box(parse_batch(&batch).expect("a batch"));
    });
    let records = &file[..];
    measure("batch of records", || {
        black_box(parse_batch(records).expect("a batch"));
    });
}

fn frame_of<'a>(seq: u64, facts: &'a Facts, lines: &'a [u8], body: &'a [u8]) -> Frame<'a> {
    Frame {
        seq: Seq(seq),
        time: Micros(1_795_173_322_123_456 + seq),
        epoch: Epoch(1),
        distance: 1,
        rest: 0,
        facts,
        lines,
        proof: Proof::None,
        body,
    }
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
