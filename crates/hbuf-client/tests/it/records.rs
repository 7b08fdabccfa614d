use hbuf_client::{CallError, Collection, ReadOptions, Record};
use hbuf_core::commitment::commitment;
use hbuf_core::ids::{Epoch, Hash, Micros, Seq};
use hbuf_core::record::{Facts, Frame, Kind, Proof, encode};

use crate::stub::{Reply, Stub, reply};

fn record(seq: u64, kind: Kind, body: &[u8]) -> Vec<u8> {
    let lines = b"x-hbuf-key: k\r\n";
    let salt = [7; 32];
    let proof = if kind.is_head() {
        Proof::None
    } else {
        Proof::Salted {
            salt,
            id: Hash(commitment(&salt, lines, body).0),
        }
    };
    let mut out = Vec::new();
    let frame = Frame {
        seq: Seq(seq),
        time: Micros(1_700_000_000_000_000),
        epoch: Epoch(3),
        distance: 1,
        rest: 0,
        facts: &Facts::of(kind),
        lines,
        proof,
        body,
    };
    encode(&frame, &mut out);
    out
}

async fn read(body: &[u8]) -> (Vec<Record>, Option<CallError>) {
    let stub = Stub::start(vec![Reply::Keep(reply(
        "200 OK",
        "x-hbuf-commit: 9\r\n",
        body,
    ))])
    .await;
    let options = ReadOptions::after(4);
    let mut stream = stub
        .client()
        .read(Collection::Buffers, "demo", &options)
        .await
        .unwrap();
    assert_eq!(stream.commit(), Some(9));
    assert_eq!(stub.seen()[0].header("accept"), Some("application/http"));
    let mut records = Vec::new();
    loop {
        match stream.next().await {
            Ok(Some(record)) => records.push(record),
            Ok(None) => return (records, None),
            Err(error) => return (records, Some(error)),
        }
    }
}

#[tokio::test]
async fn raw_records_come_one_by_one_and_head_lines_are_passed_over() {
    let five = record(5, Kind::Data, b"five\r\nPOST /");
    let six = record(6, Kind::Data, b"");
    let whole = [record(5, Kind::Segment, b"log: x\n"), five.clone(), six].concat();
    let (records, error) = read(&whole).await;
    assert!(error.is_none(), "{error:?}");
    assert_eq!(
        records
            .iter()
            .map(|record| record.seq().0)
            .collect::<Vec<_>>(),
        [5, 6]
    );
    assert_eq!(records[0].bytes(), &five);
    assert_eq!(records[0].body(), "five\r\nPOST /");
    assert_eq!(records[0].view().key(), Some(&b"k"[..]));
    assert_eq!(
        (records[0].kind(), records[0].epoch()),
        (Kind::Data, Epoch(3))
    );
    assert!(!records[0].is_erased() && records[0].id().is_some());
}

#[tokio::test]
async fn a_stream_that_ends_inside_a_record_is_an_error_at_every_length() {
    let one = record(5, Kind::Data, b"five");
    let whole = [one.clone(), record(6, Kind::Data, b"six")].concat();
    for end in [one.len() + 1, one.len() + 140, whole.len() - 1] {
        let (records, error) = read(&whole[..end]).await;
        assert_eq!(records.len(), 1);
        assert!(
            error.unwrap().to_string().contains("inside a record"),
            "cut at {end}"
        );
    }
}

#[tokio::test]
async fn a_damaged_record_is_an_error() {
    let mut whole = record(5, Kind::Data, b"five");
    let end = whole.len() - 4;
    whole[end] ^= 1;
    let (records, error) = read(&whole).await;
    assert!(records.is_empty());
    assert!(error.unwrap().to_string().contains("CRC"));
}
