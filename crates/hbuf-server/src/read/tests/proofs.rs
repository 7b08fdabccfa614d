use hbuf_core::ids::{Hash, Seq};
use hbuf_core::tree::{Frontier, verify_consistency, verify_inclusion};

use super::super::testing::{WRITE_PLAIN, Writer};
use super::super::{ProofError, ReadError, derived_files};
use super::{run, writer_of_three_segments};

fn root(ids: &[Hash]) -> Hash {
    roots(ids, &[ids.len() as u64])[0]
}

/// The roots of the trees of these sizes, which rise.
fn roots(ids: &[Hash], sizes: &[u64]) -> Vec<Hash> {
    let mut frontier = Frontier::new();
    let mut grown = |size: &u64| {
        let behind = frontier.size() as usize..*size as usize;
        ids[behind].iter().for_each(|id| frontier.push(*id));
        frontier.root()
    };
    sizes.iter().map(&mut grown).collect()
}

async fn check_proofs(writer: &Writer, buffer: &std::sync::Arc<super::Readable>, sizes: &[u64]) {
    let first = buffer.first().0;
    let roots = roots(&writer.ids, sizes);
    for (&size, &expected) in sizes.iter().zip(&roots) {
        assert_eq!(buffer.root(size).await.unwrap(), expected, "size {size}");
        for seq in [first, first + 1, first + 99, size / 2, size - 1, size] {
            if seq < first || seq > size {
                continue;
            }
            let proof = buffer.inclusion(Seq(seq), size).await.unwrap();
            assert_eq!(
                (proof.root, proof.id),
                (expected, writer.ids[seq as usize - 1])
            );
            let holds = verify_inclusion(&proof.id, seq - 1, size, &proof.path, &proof.root);
            assert!(holds, "message {seq} of {size}");
        }
        for &from in sizes.iter().filter(|from| **from <= size) {
            let proof = buffer.consistency(from, size).await.unwrap();
            assert_eq!(proof.from_root, root(&writer.ids[..from as usize]));
            let roots = (&proof.from_root, &proof.to_root);
            assert!(
                verify_consistency(from, size, roots.0, roots.1, &proof.path),
                "{from}, {size}"
            );
        }
    }
}

#[test]
fn proofs_hold_over_segments_and_after_a_restart() {
    let writer = writer_of_three_segments();
    let sizes = [1, 2, 255, 256, 257, 400, 401, 511, 512, 700, 768, 999, 1000];
    run(async {
        check_proofs(&writer, &writer.buffer, &sizes).await;
        assert!(writer.dir.path().join(&derived_files(Seq(401))[1]).exists());
        check_proofs(&writer, &writer.buffer, &sizes).await;
        check_proofs(&writer, &writer.reopened(), &sizes).await;
        assert_eq!(writer.buffer.root(0).await.unwrap(), root(&[]));
        assert!(
            writer
                .buffer
                .consistency(0, 1000)
                .await
                .unwrap()
                .path
                .is_empty()
        );
    });
}

#[test]
fn the_oldest_head_line_stands_for_what_retention_dropped() {
    let mut writer = writer_of_three_segments();
    writer.drop_oldest();
    run(async {
        for buffer in [&writer.buffer, &writer.reopened()] {
            check_proofs(&writer, buffer, &[400, 401, 512, 700, 768, 1000]).await;
            let error = buffer.inclusion(Seq(300), 1000).await.unwrap_err();
            assert_eq!(
                error.to_string(),
                "the proof needs ids of messages below 401, which retention dropped: \
                use a size of at least 400"
            );
            assert!(matches!(
                buffer.root(399).await,
                Err(ProofError::Dropped { first: Seq(401) })
            ));
        }
    });
}

#[test]
fn proofs_grow_with_the_log() {
    let mut writer = Writer::new(WRITE_PLAIN);
    for step in 1..=12 {
        writer.append(step * 37);
        if step % 4 == 0 {
            writer.roll_and_seal();
        }
        let size = writer.ids.len() as u64;
        run(check_proofs(
            &writer,
            &writer.buffer,
            &[size / 3 + 1, size - 1, size],
        ));
    }
}

#[test]
fn subtrees_of_powers_of_256_tiles_are_right() {
    let mut writer = Writer::new(WRITE_PLAIN);
    for _ in 0..6 {
        writer.append(11_100);
        writer.roll_and_seal();
    }
    let sizes = [65_535, 65_536, 65_537, 66_600];
    run(async {
        check_proofs(&writer, &writer.buffer, &sizes).await;
        check_proofs(&writer, &writer.buffer, &sizes).await;
    });
    writer.drop_oldest();
    run(check_proofs(&writer, &writer.reopened(), &sizes));
}

#[test]
fn bad_ids_files_are_made_again() {
    let writer = writer_of_three_segments();
    let path = writer.dir.path().join(&derived_files(Seq(1))[1]);
    run(async {
        check_proofs(&writer, &writer.buffer, &[1000]).await;
        let good = std::fs::read(&path).unwrap();
        for at in (0..good.len())
            .step_by(97)
            .chain(good.len() - 48..good.len())
        {
            let mut bad = good.clone();
            bad[at] ^= 1;
            std::fs::write(&path, &bad).unwrap();
            let size = 1 + (at as u64 / 32).min(399);
            let expected = root(&writer.ids[..size as usize]);
            assert_eq!(
                writer.reopened().root(size).await.unwrap(),
                expected,
                "byte {at}"
            );
        }
        for bad in [
            &good[..good.len() - 1],
            &[good.as_slice(), b"x"].concat(),
            b"",
        ] {
            std::fs::write(&path, bad).unwrap();
            assert!(writer.reopened().root(400).await.is_ok());
            assert_eq!(std::fs::read(&path).unwrap(), good);
        }
    });
}

#[test]
fn what_is_not_committed_or_not_there_has_no_proof() {
    let mut writer = Writer::new(WRITE_PLAIN);
    writer.append(5);
    writer.frame(5);
    run(async {
        let buffer = &writer.buffer;
        let error = buffer.root(6).await.unwrap_err();
        assert_eq!(
            error.to_string(),
            "size 6 is beyond the committed 5 messages"
        );
        let error = buffer.inclusion(Seq(4), 3).await.unwrap_err();
        assert_eq!(
            error.to_string(),
            "message 4 is not in the tree of the first 3 messages"
        );
        assert!(buffer.inclusion(Seq(0), 3).await.is_err());
        assert!(buffer.consistency(4, 3).await.is_err());
        assert!(buffer.consistency(4, 6).await.is_err());
    });
}

#[test]
fn a_message_with_a_damaged_id_line_has_no_proof_and_is_named() {
    let writer = writer_of_three_segments();
    let bytes = std::fs::read(writer.dir.path().join("00000000000000000001.hbuf")).unwrap();
    let at = writer.offset(77) as usize;
    let line = bytes[at..]
        .windows(11)
        .position(|text| text == b"x-hbuf-id: ")
        .unwrap();
    writer.flip(Seq(1), (at + line + 3) as u64);
    run(async {
        let error = writer.reopened().root(200).await.unwrap_err();
        let named = matches!(
            error,
            ProofError::Read(ReadError::Damaged { seq: Seq(77), .. })
        );
        assert!(named, "{error}");
    });
}
