//! Properties of the record: it reads back as written, damage is noticed, erasure keeps the proof.

use alloc::vec;
use alloc::vec::Vec;

use proptest::prelude::*;

use super::*;
use crate::commitment::{Leaf, commitment, facts_hash};
use crate::ids::{Epoch, Hash, Micros, Seq, Uuid};
use crate::limits::{
    BODY_BYTES_MAX, HEAD_BYTES_MAX, HEADERS_BYTES_MAX, PRODUCER_ID_BYTES_MAX, STREAM_SEQ_BYTES_MAX,
};

const LOG: Uuid = Uuid([0x11; 16]);

/// A message in its owned parts.
#[derive(Clone, Debug)]
struct Message {
    seq: Seq,
    time: Micros,
    facts: Facts,
    lines: Vec<u8>,
    salt: [u8; 32],
    body: Vec<u8>,
}

impl Message {
    fn plain() -> Self {
        Self {
            seq: Seq(42),
            time: Micros(1_795_173_322_123_456),
            facts: Facts::default(),
            lines: b"x-hbuf-key: user-1717\r\nx-hbuf-tag: web7, eu-west-1\r\n\
                content-type: application/json\r\nce-empty: \r\n"
                .to_vec(),
            salt: core::array::from_fn(|at| at as u8),
            body: b"{\"a\":1}".to_vec(),
        }
    }

    fn encode(&self) -> Vec<u8> {
        let leaf = Leaf {
            log: LOG,
            seq: self.seq,
            time: self.time,
            head_len: head_len(
                &self.facts,
                self.lines.len(),
                self.body.len(),
                ProofKind::Salted,
            ),
            body_len: self.body.len() as u64,
            facts: facts_hash(&self.facts),
            commitment: commitment(&self.salt, &self.lines, &self.body),
        };
        self.encode_with(Proof::Salted {
            salt: self.salt,
            id: leaf.id(),
        })
    }

    fn encode_with(&self, proof: Proof) -> Vec<u8> {
        let frame = Frame {
            seq: self.seq,
            time: self.time,
            epoch: Epoch(3),
            distance: 1,
            rest: 0,
            facts: &self.facts,
            lines: &self.lines,
            proof,
            body: &self.body,
        };
        let mut out = vec![b'#'; 3];
        encode(&frame, &mut out);
        out.split_off(3)
    }
}

/// A record with another CRC than it has, made right: what an attacker writes.
fn reseal(mut bytes: Vec<u8>) -> Vec<u8> {
    encode::seal(&mut bytes);
    bytes
}

fn some_facts() -> impl Strategy<Value = Facts> {
    let kind = prop::sample::select(vec![
        Kind::Data,
        Kind::Erase,
        Kind::Tombstone,
        Kind::Compact,
        Kind::Retain,
        Kind::Snapshot,
        Kind::Stream,
    ]);
    let hash = || any::<[u8; 32]>().prop_map(Hash);
    let uuid = || any::<[u8; 16]>().prop_map(Uuid);
    let producer =
        ("[!-.0-~]{1,20}", any::<u64>(), any::<u64>()).prop_map(|(id, epoch, number)| Producer {
            id: id.into(),
            epoch,
            number,
        });
    let origin = (uuid(), 0..=Seq::MAX.0).prop_map(|(buffer, seq)| Origin {
        buffer,
        seq: Seq(seq),
    });
    let dek = (uuid(), any::<u64>()).prop_map(|(id, counter)| Dek { id, counter });
    let file = prop_oneof![
        (0..=Seq::MAX.0).prop_map(|first| JournalFile::Messages(Seq(first))),
        (0..=Seq::MAX.0).prop_map(|first| JournalFile::Cursors(Seq(first))),
    ];
    let options = (
        prop::option::of(producer),
        prop::option::of(hash()),
        prop::option::of(origin),
        prop::option::of(hash()),
        prop::option::of(dek),
        prop::option::of(uuid()),
        prop::option::of(file),
        prop::option::of("[!-~]{1,9}( [!-~]{1,9})?"),
    );
    (kind, options).prop_map(
        |(kind, (producer, idem, origin, origin_id, dek, buffer, file, seq))| Facts {
            kind,
            format: None,
            producer,
            idem,
            origin,
            origin_id,
            dek,
            buffer,
            file,
            stream_seq: seq.map(Into::into),
        },
    )
}

fn some_message() -> impl Strategy<Value = Message> {
    let line = ("[a-wyz][a-z0-9-]{0,8}", "([!-~]([ -~]{0,30}[!-~])?)?")
        .prop_filter("frames a request", |(name, _)| name != "host");
    (
        (1..=Seq::MAX.0, 0..=Micros::MAX.0),
        prop_oneof![Just(Facts::default()), some_facts()],
        prop::collection::vec(line, 0..6),
        any::<[u8; 32]>(),
        prop::collection::vec(any::<u8>(), 0..600),
    )
        .prop_map(|((seq, time), facts, lines, salt, body)| Message {
            seq: Seq(seq),
            time: Micros(time),
            facts,
            lines: lines
                .into_iter()
                .flat_map(|(name, value)| alloc::format!("{name}: {value}\r\n").into_bytes())
                .collect(),
            salt,
            body,
        })
}

#[test]
fn a_plain_record_reads_back_with_its_headers_key_and_tags() {
    let message = Message::plain();
    let bytes = message.encode();
    let record = decode(&bytes).unwrap();
    assert_eq!(record.line.seq, Seq(42));
    assert_eq!(record.line.known_commit(), Seq(41));
    assert_eq!(record.key(), Some(&b"user-1717"[..]));
    assert_eq!(
        record.tags().collect::<Vec<_>>(),
        [&b"web7"[..], b"eu-west-1"]
    );
    assert_eq!(record.headers().count(), 4);
    assert_eq!(record.headers().last(), Some((&b"ce-empty"[..], &b""[..])));
    assert_eq!(record.body, message.body);
    assert_eq!(record.verify(LOG), Verdict::Intact);
    assert_eq!(record.verify(Uuid([0x12; 16])), Verdict::Altered);
}

#[test]
fn a_record_says_when_it_is_to_be_delivered() {
    let mut message = Message::plain();
    assert_eq!(decode(&message.encode()).unwrap().deliver_at(), None);
    message
        .lines
        .extend_from_slice(b"x-hbuf-deliver-at: 2026-11-20T11:15:22.123456Z\r\n");
    let bytes = message.encode();
    let record = decode(&bytes).unwrap();
    assert_eq!(record.deliver_at(), Some(Micros(1_795_173_322_123_456)));
}

#[test]
fn every_single_byte_flip_is_noticed_by_its_checksum() {
    let bytes = Message::plain().encode();
    for at in 0..bytes.len() {
        for flip in [1, 0x20, 0x80, 0xff] {
            let mut bytes = bytes.clone();
            bytes[at] ^= flip;
            assert!(decode(&bytes).is_err(), "byte {at}");
        }
    }
}

#[test]
fn every_resealed_byte_flip_is_noticed_by_form_or_proof() {
    let bytes = Message::plain().encode();
    let epoch_distance_rest = 59..85;
    for at in (0..bytes.len()).filter(|at| !epoch_distance_rest.contains(at)) {
        for flip in [1, 2, 0x20, 0x80] {
            let mut flipped = bytes.clone();
            flipped[at] ^= flip;
            let flipped = reseal(flipped);
            if flipped == bytes {
                continue;
            }
            let intact = decode(&flipped).is_ok_and(|record| record.verify(LOG) == Verdict::Intact);
            assert!(!intact, "byte {at} ^ {flip}");
        }
    }
}

#[test]
fn a_record_cut_or_lengthened_anywhere_is_no_record() {
    let mut bytes = Message::plain().encode();
    for end in 0..bytes.len() {
        assert!(decode(&bytes[..end]).is_err(), "{end}");
    }
    bytes.push(b'\r');
    assert!(matches!(decode(&bytes), Err(RecordError::Length { .. })));
}

#[test]
fn an_erased_record_keeps_length_facts_and_proof_and_nothing_else() {
    let facts = Facts {
        idem: Some(Hash([5; 32])),
        ..Facts::default()
    };
    let message = Message {
        facts,
        ..Message::plain()
    };
    let before = message.encode();
    let mut after = before.clone();
    erase(&mut after).unwrap();
    let (old, new) = (decode(&before).unwrap(), decode(&after).unwrap());
    assert_eq!(after.len(), before.len());
    assert_eq!(new.line.state, State::Gone);
    assert_eq!((new.id(), new.commitment()), (old.id(), old.commitment()));
    assert_eq!(new.facts, old.facts);
    assert_eq!(new.verify(LOG), Verdict::Erased);
    assert_eq!(
        new.lines,
        b"xxxxxxxxxx: 000000000\r\nxxxxxxxxxx: 000000000000000\r\n\
        xxxxxxxxxxxx: 0000000000000000\r\nxxxxxxxx: \r\n"
    );
    assert_eq!(new.body, b"0000000");
    let again = after.clone();
    erase(&mut after).unwrap();
    assert_eq!(after, again);
}

#[test]
fn what_is_left_of_erased_content_is_noticed() {
    let mut bytes = Message::plain().encode();
    erase(&mut bytes).unwrap();
    let body = bytes.len() - 3;
    for at in [body, LINE_LEN + 7 + 19 + 12, LINE_LEN + 7 + 19] {
        let mut bytes = bytes.clone();
        bytes[at] = b'z';
        let bytes = reseal(bytes);
        assert_eq!(
            decode(&bytes).unwrap().verify(LOG),
            Verdict::NotWiped,
            "byte {at}"
        );
    }
}

#[test]
fn only_good_messages_with_an_id_are_erased() {
    let mut bytes = Message::plain().encode_with(Proof::None);
    assert_eq!(decode(&bytes).unwrap().verify(LOG), Verdict::NoProof);
    assert_eq!(erase(&mut bytes), Err(EraseError::NoProof));
    bytes[150] ^= 1;
    assert!(matches!(
        erase(&mut bytes),
        Err(EraseError::Record(RecordError::Crc { .. }))
    ));
}

#[test]
fn header_lines_that_no_record_has_are_refused() {
    for line in [
        "host: a\r\n",
        "content-length: 7\r\n",
        "transfer-encoding: chunked\r\n",
        "x-hbuf-other: 1\r\n",
        "x-hbuf-kind: erase\r\n",
        "Upper: 1\r\n",
        "no-space:1\r\n",
        "trailing: 1 \r\n",
        "control: \u{1}\r\n",
        ": 1\r\n",
        "no colon\r\n",
        " folded: 1\r\n",
        "bare: 1\n2\r\n",
    ] {
        let lines = [b"a: 1\r\n", line.as_bytes()].concat();
        let bytes = Message {
            lines,
            ..Message::plain()
        }
        .encode();
        let error = decode(&bytes).unwrap_err();
        assert!(
            matches!(error, RecordError::Header { .. }),
            "{line:?}: {error}"
        );
    }
}

#[test]
fn facts_out_of_order_or_in_another_form_are_refused() {
    for lines in [
        "x-hbuf-kind: data\r\n",
        "x-hbuf-kind: unheard-of\r\n",
        "x-hbuf-kind: erase\r\nx-hbuf-kind: erase\r\n",
        "x-hbuf-producer: a/1/1\r\nx-hbuf-kind: erase\r\n",
        "x-hbuf-producer: a/01/1\r\n",
        "x-hbuf-producer: a/18446744073709551616/1\r\n",
        "x-hbuf-stream-seq: \r\n",
        "x-hbuf-producer: /1/1\r\n",
        "x-hbuf-producer: a/1/1/1\r\n",
        "x-hbuf-origin: 11111111-1111-1111-1111-11111111111/1\r\n",
        "x-hbuf-idem: 00\r\n",
        "x-hbuf-file: 1\r\n",
        "x-hbuf-file: cursors/1\r\n",
    ] {
        let lines = lines.as_bytes().to_vec();
        let bytes = Message {
            lines,
            ..Message::plain()
        }
        .encode();
        let error = decode(&bytes).unwrap_err();
        assert!(matches!(error, RecordError::Facts { .. }), "{error}");
    }
}

#[test]
fn the_longest_message_is_within_the_bounds_of_a_head_and_a_record() {
    let uuid = Uuid([0xff; 16]);
    let facts = Facts {
        kind: Kind::Tombstone,
        format: Some(u32::MAX),
        producer: Some(Producer {
            id: "p".repeat(PRODUCER_ID_BYTES_MAX).into(),
            epoch: u64::MAX,
            number: u64::MAX,
        }),
        idem: Some(Hash([0xff; 32])),
        origin: Some(Origin {
            buffer: uuid,
            seq: Seq::MAX,
        }),
        origin_id: Some(Hash([0xff; 32])),
        dek: Some(Dek {
            id: uuid,
            counter: u64::MAX,
        }),
        buffer: Some(uuid),
        file: Some(JournalFile::Cursors(Seq::MAX)),
        stream_seq: Some("s".repeat(STREAM_SEQ_BYTES_MAX).into()),
    };
    let value = "v".repeat(HEADERS_BYTES_MAX as usize - "a: \r\n".len());
    let message = Message {
        facts,
        lines: alloc::format!("a: {value}\r\n").into_bytes(),
        body: vec![b'b'; BODY_BYTES_MAX as usize],
        ..Message::plain()
    };
    let bytes = message.encode();
    let record = decode(&bytes).unwrap();
    assert!(u64::from(record.line.head_len) <= HEAD_BYTES_MAX);
    assert_eq!(record.facts, message.facts);
    assert_eq!(record.verify(LOG), Verdict::Intact);
}

#[test]
fn kinds_read_back_by_their_text() {
    for kind in Kind::ALL {
        assert_eq!(Kind::parse(kind.text().as_bytes()), Some(kind));
    }
}

#[test]
fn a_state_that_does_not_go_with_the_proof_is_refused() {
    let live = Message::plain().encode();
    for state in [b"gone", b"head"] {
        let mut bytes = live.clone();
        bytes[STATE_AT..STATE_AT + 4].copy_from_slice(state);
        assert_eq!(decode(&reseal(bytes)), Err(RecordError::State));
    }
}

proptest! {
    #[test]
    fn every_record_reads_back_as_written(message in some_message()) {
        let bytes = message.encode();
        let record = decode(&bytes).unwrap();
        prop_assert_eq!(record.line.seq, message.seq);
        prop_assert_eq!(record.line.time, message.time);
        prop_assert_eq!(&record.facts, &message.facts);
        prop_assert_eq!(record.lines, &message.lines);
        prop_assert_eq!(record.body, &message.body);
        prop_assert_eq!(record.verify(LOG), Verdict::Intact);
    }

    #[test]
    fn every_record_can_be_erased(message in some_message()) {
        let mut bytes = message.encode();
        let id = decode(&bytes).unwrap().id();
        erase(&mut bytes).unwrap();
        let record = decode(&bytes).unwrap();
        prop_assert_eq!(record.id(), id);
        prop_assert_eq!(record.verify(LOG), Verdict::Erased);
    }

    #[test]
    fn any_flip_of_any_record_is_noticed(
        message in some_message(),
        at: prop::sample::Index,
        flip in 1..=255_u8,
    ) {
        let mut bytes = message.encode();
        let at = at.index(bytes.len());
        bytes[at] ^= flip;
        prop_assert!(decode(&bytes).is_err());
    }

    #[test]
    fn any_bytes_are_read_without_panic(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
        let _ = decode(&bytes);
    }
}
