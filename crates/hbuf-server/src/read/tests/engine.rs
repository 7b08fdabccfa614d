//! The read side under a real engine: what it publishes, when it closes.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use hbuf_core::ids::{Micros, Seq};
use hbuf_core::name::Name;
use hbuf_core::record::{Verdict, decode};
use hbuf_core::skim::skim;
use hbuf_core::tree::{Frontier, verify_consistency, verify_inclusion};
use hbuf_manager::MirrorChange;

use super::super::{ReadError, derived_files};
use super::{collect, run};
use crate::engine::{Append, Buffer, BufferSettings, Content, Engine, EngineSettings};

async fn start(data: &std::path::Path, idle_seconds: u64) -> Engine {
    let settings = EngineSettings {
        data: data.to_owned(),
        idle_seconds,
        ..Default::default()
    };
    Engine::start(settings).await.unwrap()
}

async fn small_segments(engine: &Engine) -> Arc<Buffer> {
    let settings = BufferSettings {
        segment_bytes: Some(8 << 10),
        ..Default::default()
    };
    let (tenant, name) = (Name::default_tenant(), Name::parse("b").unwrap());
    engine
        .create_buffer(&tenant, &name, &settings, MirrorChange::Keep)
        .await
        .unwrap();
    engine.buffer(&tenant, "b").await.unwrap()
}

async fn append(buffer: &Buffer, count: usize) {
    let content = |at: usize| Content::seal(Bytes::new(), Bytes::from(vec![b'a'; at % 700]));
    let contents = (0..count).map(content).collect();
    buffer
        .append(Append {
            contents,
            ..Append::default()
        })
        .await
        .unwrap();
}

#[test]
fn an_engines_buffer_is_read_streamed_and_proved_over_its_segments() {
    let dir = tempfile::tempdir().unwrap();
    run(async {
        let engine = start(dir.path(), 300).await;
        let buffer = small_segments(&engine).await;
        for _ in 0..30 {
            append(&buffer, 20).await;
        }
        let readable = Arc::clone(buffer.readable());
        let bytes = collect(readable.stream(Seq::ZERO, Seq(u64::MAX)))
            .await
            .unwrap();
        let (mut rest, mut tree, mut last) = (&bytes[..], Frontier::new(), Micros(0));
        while let Some(line) = skim(rest) {
            let (record, behind) = rest.split_at(line.record_len() as usize);
            let record = decode(record).unwrap();
            assert_eq!(record.verify(readable.log()), Verdict::Intact);
            tree.push(record.id().unwrap());
            (rest, last) = (behind, record.line.time);
        }
        assert_eq!((tree.size(), rest.len()), (600, 0));
        assert_eq!(readable.root(600).await.unwrap(), tree.root());
        let proof = readable.inclusion(Seq(77), 600).await.unwrap();
        assert!(verify_inclusion(
            &proof.id,
            76,
            600,
            &proof.path,
            &tree.root()
        ));
        let proof = readable.consistency(123, 600).await.unwrap();
        let roots = (&proof.from_root, &proof.to_root);
        assert!(verify_consistency(123, 600, roots.0, roots.1, &proof.path));
        assert_eq!(readable.seq_at_time(last.plus(1)).await.unwrap(), Seq(600));
        engine.stop().await;
        assert!(
            readable.dir().join(&derived_files(Seq(1))[0]).exists(),
            "sealed and indexed"
        );
    });
}

#[test]
fn a_deleted_buffer_wakes_its_tail() {
    let dir = tempfile::tempdir().unwrap();
    run(async {
        let engine = start(dir.path(), 300).await;
        let buffer = small_segments(&engine).await;
        append(&buffer, 3).await;
        let readable = Arc::clone(buffer.readable());
        let tail = tokio::spawn(async move {
            let _tailing = readable.tailing();
            readable.committed_past(Seq(3)).await.unwrap_err();
            readable.read(Seq(3), 9, 9).await
        });
        tokio::task::yield_now().await;
        engine
            .delete_buffer(&Name::default_tenant(), "b", true)
            .await
            .unwrap();
        let woken = tokio::time::timeout(Duration::from_secs(10), tail)
            .await
            .unwrap();
        assert!(matches!(woken.unwrap(), Err(ReadError::Closed)));
        engine.stop().await;
    });
}

#[test]
fn a_buffer_with_a_reader_at_its_tail_stays_and_others_leave() {
    let dir = tempfile::tempdir().unwrap();
    run(async {
        let engine = start(dir.path(), 1).await;
        let buffer = small_segments(&engine).await;
        append(&buffer, 3).await;
        let reader = Arc::clone(buffer.readable());
        drop(buffer);
        tokio::time::sleep(Duration::from_millis(4_000)).await;
        let (tenant, open) = (Name::default_tenant(), engine.status().open_buffers);
        assert_eq!(open, 1, "a reader waits there");
        let buffer = engine.buffer(&tenant, "b").await.unwrap();
        assert!(
            Arc::ptr_eq(buffer.readable(), &reader),
            "what is appended reaches the reader"
        );
        drop((buffer, reader));
        for _ in 0..100 {
            if engine.status().open_buffers == 0 {
                break;
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        assert_eq!(engine.status().open_buffers, 0, "nobody uses it any more");
        engine.stop().await;
    });
}
