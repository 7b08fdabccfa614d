//! The engine on a real directory: appends, restarts, both commit paths, rolls, retention, states.

use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use hbuf_core::append::AppendRefused;
use hbuf_core::buffer::Demands;
use hbuf_core::commit_path::Choice;
use hbuf_core::ids::Seq;
use hbuf_core::input::BufferState;
use hbuf_core::name::Name;
use hbuf_core::record::Producer;
use hbuf_manager::MirrorChange;

use super::{
    Append, AppendError, Buffer, BufferSettings, Content, Engine, EngineSettings, MirrorSettings,
};

fn settings(data: &Path, direct_files_max: usize) -> EngineSettings {
    EngineSettings {
        data: data.to_path_buf(),
        choice: Choice {
            direct_files_max,
            ..Choice::default()
        },
        prewrite_bytes: 1 << 20,
        ..EngineSettings::default()
    }
}

fn one(body: &str) -> Append {
    let body = Bytes::copy_from_slice(body.as_bytes());
    Append {
        contents: vec![Content::seal(Bytes::new(), body)],
        ..Append::default()
    }
}

fn batch(bodies: &[&str]) -> Append {
    let content =
        |body: &&str| Content::seal(Bytes::new(), Bytes::copy_from_slice(body.as_bytes()));
    Append {
        contents: bodies.iter().map(content).collect(),
        ids: true,
        ..Append::default()
    }
}

async fn bodies(buffer: &Arc<Buffer>) -> Vec<String> {
    let mut bodies = Vec::new();
    let mut after = buffer.readable().first().prev();
    loop {
        let records = buffer.readable().read(after, 1_000, 1 << 20).await.unwrap();
        if records.count == 0 {
            return bodies;
        }
        for record in super::append::records(&records.bytes) {
            bodies.push(String::from_utf8(record.body.to_vec()).unwrap());
        }
        after = records.last;
    }
}

fn tenant() -> Name {
    Name::default_tenant()
}

/// Appends, stops (in order or not), starts again: everything is there, and appends go on.
async fn round(direct_files_max: usize, orderly: bool) {
    let dir = tempfile::tempdir().unwrap();
    let engine = Engine::start(settings(dir.path(), direct_files_max))
        .await
        .unwrap();
    let buffer = engine
        .buffer_or_create(&tenant(), "b", Demands::default())
        .await
        .unwrap();
    for n in 1..=20 {
        let reply = buffer.append(one(&format!("m{n}"))).await.unwrap();
        assert_eq!(reply.appended.first, Seq(n));
    }
    let reply = buffer.append(batch(&["x", "y", "z"])).await.unwrap();
    assert_eq!(
        (reply.appended.first, reply.appended.last, reply.ids.len()),
        (Seq(21), Seq(23), 3)
    );
    let before = bodies(&buffer).await;
    assert_eq!(before.len(), 23);
    drop(buffer);
    if orderly {
        engine.stop().await;
    }
    // Without a stop the lock would outlive the test's wish: a copy stands for the killed process.
    let copy = tempfile::tempdir().unwrap();
    copy_tree(dir.path(), copy.path());
    let engine = Engine::start(settings(copy.path(), direct_files_max))
        .await
        .unwrap();
    let buffer = engine.buffer(&tenant(), "b").await.unwrap();
    assert_eq!(bodies(&buffer).await, before);
    let reply = buffer.append(one("after")).await.unwrap();
    assert_eq!(reply.appended.first, Seq(24));
    assert!(
        reply.appended.epoch.0 > 1,
        "a restarted primary never resumes its old epoch"
    );
    engine.stop().await;
}

#[tokio::test]
async fn messages_that_wait_for_their_segments_outlive_the_process() {
    let dir = tempfile::tempdir().unwrap();
    let engine = Engine::start(settings(dir.path(), 0)).await.unwrap();
    for name in ["a", "b", "c"] {
        let buffer = engine
            .buffer_or_create(&tenant(), name, Demands::default())
            .await
            .unwrap();
        for n in 1..=20 {
            buffer.append(one(&format!("{name}{n}"))).await.unwrap();
        }
    }
    // A copy stands for the killed process; nobody has read, so nothing was written for a reader.
    let copy = tempfile::tempdir().unwrap();
    copy_tree(dir.path(), copy.path());
    let after = Engine::start(settings(copy.path(), 0)).await.unwrap();
    for name in ["a", "b", "c"] {
        let expected: Vec<String> = (1..=20).map(|n| format!("{name}{n}")).collect();
        for engine in [&engine, &after] {
            let buffer = engine.buffer(&tenant(), name).await.unwrap();
            assert_eq!(bodies(&buffer).await, expected);
        }
    }
    after.stop().await;
    engine.stop().await;
}

#[tokio::test]
async fn many_buffers_that_are_made_together_are_all_there_after_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    let engine = Engine::start(settings(dir.path(), 0)).await.unwrap();
    let mut makers = tokio::task::JoinSet::new();
    for n in 0..200 {
        let engine = engine.clone();
        makers.spawn(async move {
            let name = Name::parse(&format!("b{n}")).unwrap();
            let defaults = BufferSettings::default();
            engine
                .create_buffer(&tenant(), &name, &defaults, MirrorChange::Keep)
                .await
                .unwrap()
        });
    }
    while let Some(made) = makers.join_next().await {
        assert!(made.unwrap().1, "each is new");
    }
    let copy = tempfile::tempdir().unwrap();
    copy_tree(dir.path(), copy.path());
    engine.stop().await;
    let engine = Engine::start(settings(copy.path(), 0)).await.unwrap();
    for n in 0..200 {
        let buffer = engine.buffer(&tenant(), &format!("b{n}")).await.unwrap();
        assert_eq!(
            buffer.append(one("x")).await.unwrap().appended.first,
            Seq(1)
        );
    }
    engine.stop().await;
}

fn copy_tree(from: &Path, to: &Path) {
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        let kind = entry.file_type().unwrap();
        if kind.is_symlink() {
            std::os::unix::fs::symlink(std::fs::read_link(entry.path()).unwrap(), target).unwrap();
        } else if kind.is_dir() {
            std::fs::create_dir(&target).unwrap();
            copy_tree(&entry.path(), &target);
        } else {
            std::fs::copy(entry.path(), target).unwrap();
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn messages_survive_an_orderly_stop_on_both_paths() {
    round(4, true).await;
    round(0, true).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn messages_survive_a_kill_on_both_paths() {
    round(4, false).await;
    round(0, false).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn segments_roll_and_retention_drops_the_oldest() {
    let dir = tempfile::tempdir().unwrap();
    let mut settings = settings(dir.path(), 4);
    settings.retention_seconds = 1;
    let engine = Engine::start(settings.clone()).await.unwrap();
    let name = Name::parse("b").unwrap();
    let small = BufferSettings {
        segment_bytes: Some(4096),
        ..BufferSettings::default()
    };
    engine
        .create_buffer(&tenant(), &name, &small, MirrorChange::Keep)
        .await
        .unwrap();
    let buffer = engine.buffer(&tenant(), "b").await.unwrap();
    for n in 0..100 {
        buffer.append(one(&format!("{n:0>200}"))).await.unwrap();
    }
    assert!(buffer.status().unwrap().segments > 5);
    let keep = BufferSettings {
        retention_count: Some(20),
        ..BufferSettings::default()
    };
    engine
        .create_buffer(&tenant(), &name, &keep, MirrorChange::Keep)
        .await
        .unwrap();
    for _ in 0..100 {
        if buffer.status().unwrap().first > Seq(1) {
            break;
        }
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
    let first = buffer.status().unwrap().first;
    assert!(first > Seq(1) && first <= Seq(81), "{first}");
    let left = bodies(&buffer).await;
    assert_eq!(left.len() as u64, 101 - first.0);
    drop(buffer);
    engine.stop().await;
    drop(engine);
    let engine = Engine::start(settings).await.unwrap();
    let buffer = engine.buffer(&tenant(), "b").await.unwrap();
    assert_eq!(buffer.status().unwrap().first, first);
    assert_eq!(bodies(&buffer).await, left);
    engine.stop().await;
}

fn by(number: u64) -> Append {
    let producer = Producer {
        id: "p".into(),
        epoch: 1,
        number,
    };
    Append {
        producer: Some(producer),
        ..one(&format!("by {number}"))
    }
}

fn keyed(body: &str) -> Append {
    Append {
        idempotency_key: Some(b"k".to_vec()),
        ..one(body)
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn repeated_appends_get_the_first_reply_also_after_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    let engine = Engine::start(settings(dir.path(), 4)).await.unwrap();
    let buffer = engine
        .buffer_or_create(&tenant(), "b", Demands::default())
        .await
        .unwrap();
    let first = buffer.append(by(0)).await.unwrap();
    buffer.append(by(1)).await.unwrap();
    let third = buffer.append(keyed("c")).await.unwrap();
    drop(buffer);
    engine.stop().await;
    drop(engine);
    let engine = Engine::start(settings(dir.path(), 4)).await.unwrap();
    let buffer = engine.buffer(&tenant(), "b").await.unwrap();
    let again = buffer.append(by(0)).await.unwrap();
    assert!(again.appended.replayed);
    assert_eq!(
        (again.appended.first, again.id),
        (first.appended.first, first.id)
    );
    let again = buffer.append(keyed("c")).await.unwrap();
    assert_eq!((again.appended.replayed, again.id), (true, third.id));
    let other = buffer.append(keyed("d")).await;
    assert!(
        matches!(other, Err(AppendError::KeyReused { .. })),
        "{other:?}"
    );
    let gap = buffer.append(by(5)).await;
    assert!(
        matches!(
            gap,
            Err(AppendError::Refused(AppendRefused::ProducerGap {
                expected: 2,
                got: 5
            }))
        ),
        "{gap:?}"
    );
    assert_eq!(bodies(&buffer).await, ["by 0", "by 1", "c"]);
    engine.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn states_refuse_and_come_back() {
    let dir = tempfile::tempdir().unwrap();
    let engine = Engine::start(settings(dir.path(), 0)).await.unwrap();
    let buffer = engine
        .buffer_or_create(&tenant(), "b", Demands::default())
        .await
        .unwrap();
    buffer.append(one("a")).await.unwrap();
    engine
        .set_state(&tenant(), "b", BufferState::Paused)
        .await
        .unwrap();
    let refused = buffer.append(one("b")).await;
    assert!(
        matches!(refused, Err(AppendError::Refused(AppendRefused::Paused))),
        "{refused:?}"
    );
    engine
        .set_state(&tenant(), "b", BufferState::Open)
        .await
        .unwrap();
    buffer.append(one("c")).await.unwrap();
    engine
        .set_state(&tenant(), "b", BufferState::Closed)
        .await
        .unwrap();
    let refused = buffer.append(one("d")).await;
    assert!(
        matches!(refused, Err(AppendError::Refused(AppendRefused::Closed))),
        "{refused:?}"
    );
    assert_eq!(bodies(&buffer).await, ["a", "c"]);
    engine.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deleted_buffer_is_gone_and_its_name_is_free() {
    let dir = tempfile::tempdir().unwrap();
    let engine = Engine::start(settings(dir.path(), 0)).await.unwrap();
    let buffer = engine
        .buffer_or_create(&tenant(), "b", Demands::default())
        .await
        .unwrap();
    buffer.append(one("a")).await.unwrap();
    engine.delete_buffer(&tenant(), "b", false).await.unwrap();
    assert!(engine.buffer(&tenant(), "b").await.is_err());
    let buffer = engine
        .buffer_or_create(&tenant(), "b", Demands::default())
        .await
        .unwrap();
    assert_eq!(
        buffer.append(one("new")).await.unwrap().appended.first,
        Seq(1)
    );
    engine.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn idle_buffers_leave_memory_and_come_back() {
    let dir = tempfile::tempdir().unwrap();
    let mut settings = settings(dir.path(), 0);
    settings.idle_seconds = 1;
    settings.checkpoint_seconds = 1;
    let engine = Engine::start(settings).await.unwrap();
    for n in 0..50 {
        let name = format!("b{n}");
        let buffer = engine
            .buffer_or_create(&tenant(), &name, Demands::default())
            .await
            .unwrap();
        buffer.append(one(&name)).await.unwrap();
    }
    for _ in 0..200 {
        if engine.status().open_buffers == 0 {
            break;
        }
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
    assert_eq!(engine.status().open_buffers, 0);
    let buffer = engine.buffer(&tenant(), "b7").await.unwrap();
    assert_eq!(bodies(&buffer).await, ["b7"]);
    engine.stop().await;
}

#[tokio::test]
async fn a_tenant_comes_into_being_with_its_first_buffer_and_keeps_its_names_apart() {
    let dir = tempfile::tempdir().unwrap();
    let engine = Engine::start(settings(dir.path(), 4)).await.unwrap();
    let coke = Name::parse("coke").unwrap();
    let (first, second) = tokio::join!(
        engine.buffer_or_create(&coke, "b", Demands::default()),
        engine.topic_or_create(&coke, "t", Demands::default())
    );
    first.unwrap().append(one("coke")).await.unwrap();
    second.unwrap();
    let ours = engine
        .buffer_or_create(&tenant(), "b", Demands::default())
        .await
        .unwrap();
    ours.append(one("ours")).await.unwrap();
    let theirs = engine.buffer(&coke, "b").await.unwrap();
    assert_eq!(bodies(&theirs).await, ["coke"]);
    assert!(dir.path().join("names/coke/b").exists());
    engine.stop().await;
}

/// A mirror of `a` from its start.
async fn mirror_of_a(engine: &Engine) -> Arc<Buffer> {
    let (tenant, name) = (tenant(), Name::parse("m").unwrap());
    let wanted = MirrorSettings {
        of: "a".into(),
        tags: Vec::new(),
        from_start: true,
    };
    let mirror = engine.mirror_config(&tenant, &wanted).await.unwrap();
    let settings = BufferSettings::default();
    engine
        .create_buffer(
            &tenant,
            &name,
            &settings,
            MirrorChange::Follow(Box::new(mirror)),
        )
        .await
        .unwrap();
    engine.buffer(&tenant, "m").await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_mirror_goes_on_where_its_log_ends_without_a_gap_or_a_double() {
    let dir = tempfile::tempdir().unwrap();
    for round in 0..4_u64 {
        let engine = Engine::start(settings(dir.path(), 4)).await.unwrap();
        let origin = engine
            .buffer_or_create(&tenant(), "a", Demands::default())
            .await
            .unwrap();
        for n in 0..300 {
            origin.append(one(&format!("{round}/{n}"))).await.unwrap();
        }
        let mirror = match round {
            0 => mirror_of_a(&engine).await,
            _ => engine.buffer(&tenant(), "m").await.unwrap(),
        };
        // Whatever is under way when it stops is there once or not at all.
        let seen = Seq(round * 300 + 50);
        mirror.readable().committed_past(seen).await.unwrap();
        drop((origin, mirror));
        engine.stop().await;
    }
    let engine = Engine::start(settings(dir.path(), 4)).await.unwrap();
    let mirror = engine.buffer(&tenant(), "m").await.unwrap();
    mirror.readable().committed_past(Seq(1_199)).await.unwrap();
    let origin = engine.buffer(&tenant(), "a").await.unwrap();
    assert_eq!(bodies(&mirror).await, bodies(&origin).await);
    drop((origin, mirror));
    engine.stop().await;
}
