//! A segment, damaged in every way that the input says: no panic, good records in front are found,
//! what was committed is not cut, and bytes alone are scanned too.
#![no_main]

use hbuf_core::ids::{Epoch, Hash, Micros, Seq, Uuid};
use hbuf_core::journal::{BufferEnd, Entry, replay};
use hbuf_core::mark;
use hbuf_core::record::{Facts, Frame, JournalFile, Proof, encode};
use hbuf_core::segment::{
    End, FORMAT, LogKind, ScanStart, SegmentHead, classify, open, scan, walk,
};
use hbuf_core::tree::Frontier;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let _ = open(data);
    let _ = mark::choose(data, data);
    let entry = Entry {
        buffer: Uuid::default(),
        file: JournalFile::Messages(Seq(1)),
        body: data,
    };
    let end = BufferEnd {
        end: Seq(0),
        epoch: Epoch(0),
        fence: 0,
        stopped: false,
    };
    let _ = replay(&entry, 1, &end);
    let start = ScanStart {
        next: Seq(1),
        ..ScanStart::default()
    };
    scan(data, &start, |_, _| {}).expect("memory reads");
    if let [plan @ .., _] = data {
        damaged_segment(plan);
    }
});

/// The first bytes say how many records are committed and how many follow; the rest are damages
/// and, as they are, the bodies, so that they may hold planted records.
fn damaged_segment(plan: &[u8]) {
    let Some(([committed, unsynced, length, damages], rest)) = plan.split_first_chunk() else {
        return;
    };
    let (committed, unsynced) = (u64::from(committed % 4), u64::from(unsynced % 4));
    let (damages, body) = rest.split_at(rest.len().min(usize::from(damages % 4) * 4));
    let body = &body[..body.len().min(usize::from(*length) * 16)];

    let mut bytes = Vec::new();
    head().encode(&mut bytes);
    let mut starts = Vec::new();
    for seq in 1..=committed + unsynced {
        starts.push(bytes.len());
        let distance = if seq <= committed { 1 } else { seq - committed };
        push(seq, distance as u32, body, &mut bytes);
    }
    starts.push(bytes.len());
    let durable = starts[committed as usize];
    let mut touched = bytes.len();
    for damage in damages.chunks_exact(4) {
        let span = bytes.len() - durable;
        if span == 0 {
            break;
        }
        let at = durable + usize::from(u16::from_le_bytes([damage[0], damage[1]])) % span;
        touched = touched.min(at);
        match damage[2] % 3 {
            0 => bytes[at] ^= damage[3],
            1 => {
                let end = bytes.len().min(at + usize::from(damage[3]) * 8);
                bytes[at..end].fill(0);
            }
            _ => bytes.truncate(at),
        }
    }
    let (_, position) = open(&bytes).expect("the head line is whole");
    let mut good = 0;
    let (_, stop) = walk(&bytes, position, |_, _| good += 1).expect("memory reads");
    let whole = starts.iter().skip(1).filter(|&&end| end <= touched).count();
    assert!(good >= whole, "{good} of {whole} untouched records");
    match classify(&bytes, &stop, Seq(committed)).expect("memory reads") {
        End::Clean => {}
        End::Torn { offset, seq, .. } => {
            assert!(
                offset >= durable as u64 && seq.0 > committed,
                "nothing committed is cut"
            );
        }
        // Only a planted record may say so, or a mark that covers what is missing.
        End::Corrupt { seq, witness, .. } => {
            assert!(seq.0 > committed && witness >= seq);
            assert!(
                memchr(body, b"POST /"),
                "nothing of the unsynced part was committed"
            );
        }
    }
}

fn memchr(body: &[u8], text: &[u8]) -> bool {
    body.windows(text.len()).any(|window| window == text)
}

fn push(seq: u64, distance: u32, body: &[u8], out: &mut Vec<u8>) {
    let frame = Frame {
        seq: Seq(seq),
        time: Micros(seq),
        epoch: Epoch(1),
        distance,
        rest: 0,
        facts: &Facts::default(),
        lines: b"",
        proof: Proof::Salted {
            salt: [1; 32],
            id: Hash([2; 32]),
        },
        body,
    };
    encode(&frame, out);
}

fn head() -> SegmentHead {
    SegmentHead {
        format: FORMAT,
        kind: LogKind::Messages,
        buffer: Uuid::default(),
        log: Uuid::default(),
        history: Uuid::default(),
        first: Seq(1),
        time: Micros(0),
        epoch: Epoch(1),
        frontier: Frontier::new(),
        epochs: Vec::new(),
        compacted: None,
    }
}
