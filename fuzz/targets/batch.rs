//! Any bytes as a batch: no panic, and what is accepted makes records that are accepted as a batch
//! too, with the same content.
#![no_main]

use hbuf_core::content::parse_batch;
use hbuf_core::ids::{Epoch, Hash, Micros, Seq};
use hbuf_core::record::{Facts, Frame, Proof, decode, encode};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let Ok(batch) = parse_batch(data) else {
        return;
    };
    let mut file = Vec::new();
    for (index, inner) in batch.messages.iter().enumerate() {
        assert_eq!(
            &data[inner.offset..inner.offset + inner.body.len()],
            inner.body
        );
        let frame = Frame {
            seq: Seq(index as u64 + 1),
            time: Micros(1),
            epoch: Epoch(1),
            distance: 1,
            rest: 0,
            facts: &Facts::default(),
            lines: batch.lines(inner),
            proof: Proof::Salted {
                salt: [1; 32],
                id: Hash([2; 32]),
            },
            body: inner.body,
        };
        let start = file.len();
        encode(&frame, &mut file);
        let record = decode(&file[start..]).expect("what a batch stores is a record");
        assert_eq!(record.lines, batch.lines(inner));
        assert_eq!(record.body, inner.body);
    }
    let again = parse_batch(&file).expect("records are accepted as a batch");
    assert_eq!(again.messages.len(), batch.messages.len());
    for (one, other) in again.messages.iter().zip(&batch.messages) {
        assert_eq!(again.lines(one), batch.lines(other));
        assert_eq!(one.body, other.body);
    }
});
