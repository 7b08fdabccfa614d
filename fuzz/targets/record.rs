//! Any bytes as a record: no panic, and what decodes reads back, erases and verifies.
#![no_main]

use hbuf_core::ids::Uuid;
use hbuf_core::record::{Frame, LINE_LEN, State, Verdict, decode, encode, erase};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    check(data);
    check(&sealed(data));
});

/// Decodes and, where that works, encodes again and erases.
fn check(data: &[u8]) {
    let Ok(record) = decode(data) else {
        return;
    };
    let frame = Frame {
        seq: record.line.seq,
        time: record.line.time,
        epoch: record.line.epoch,
        distance: record.line.distance,
        rest: record.line.rest,
        facts: &record.facts,
        lines: record.lines,
        proof: record.proof,
        body: record.body,
    };
    let mut again = Vec::new();
    encode(&frame, &mut again);
    assert_eq!(again, data, "a record reads in one way only");
    assert_eq!(
        record.headers().count(),
        record.lines.split(|&c| c == b'\n').count() - 1
    );
    let log = Uuid::default();
    let (leaf, before) = (record.leaf(log), record.verify(log));
    let live = record.line.state == State::Live && leaf.is_some();
    assert!(record.tags().all(|tag| !tag.is_empty()));
    if live {
        let mut wiped = data.to_vec();
        erase(&mut wiped).expect("a good message with an id can be erased");
        let wiped = decode(&wiped).expect("an erased record is a record");
        assert_eq!(wiped.leaf(log), leaf);
        let expected = if before == Verdict::Intact {
            Verdict::Erased
        } else {
            before
        };
        assert_eq!(wiped.verify(log), expected);
    }
}

/// The same bytes with lengths and checksum made right, so that the head behind the line is read.
fn sealed(data: &[u8]) -> Vec<u8> {
    let mut bytes = data.to_vec();
    let Some(head_len) = data
        .windows(4)
        .position(|four| four == b"\r\n\r\n")
        .map(|at| at + 4)
    else {
        return bytes;
    };
    if head_len < LINE_LEN || data.len() < head_len + 2 {
        return bytes;
    }
    let body_len = data.len() - head_len - 2;
    bytes[88..96].copy_from_slice(format!("{head_len:08x}").as_bytes());
    bytes[99..107].copy_from_slice(format!("{body_len:08x}").as_bytes());
    let crc = crc32c::crc32c_append(crc32c::crc32c(&bytes[..110]), &bytes[118..]);
    bytes[110..118].copy_from_slice(format!("{crc:08x}").as_bytes());
    bytes
}
