//! The scrubber's view of the node: open buffers as they are, cold ones by their files alone.

use std::fs;
use std::sync::{Arc, Weak};

use hbuf_core::ids::{Seq, Uuid};
use hbuf_core::segment::first_of_name;
use hbuf_manager::Lifecycle;
use tokio::task::JoinHandle;

use super::Inner;
use crate::read::scrub::{ScrubSource, Scrubber};
use crate::read::{ReadError, Readable, SegmentAt};

/// Starts the scrubber; it ends with the engine.
pub(super) fn spawn(inner: &Arc<Inner>) -> JoinHandle<()> {
    let rate = inner.settings.scrub_bytes_per_second;
    let scrubber = Scrubber::new(rate, Arc::clone(&inner.counters.scrub));
    tokio::spawn(scrubber.run(Arc::new(Node(Arc::downgrade(inner)))))
}

/// The buffers of a node.
struct Node(Weak<Inner>);

impl ScrubSource for Node {
    fn buffers(&self) -> Vec<Uuid> {
        let Some(inner) = self.0.upgrade() else {
            return Vec::new();
        };
        inner.manager.view(|catalog| {
            let live = |buffer: &&hbuf_manager::Buffer| buffer.lifecycle == Lifecycle::Live;
            catalog
                .buffers()
                .filter(live)
                .map(|buffer| buffer.uuid)
                .collect()
        })
    }

    fn buffer(&self, uuid: Uuid) -> Option<Arc<Readable>> {
        let inner = self.0.upgrade()?;
        match inner.open.get(uuid) {
            Some(buffer) => Some(Arc::clone(buffer.readable())),
            None => inner.cold(uuid),
        }
    }

    fn damaged(&self, uuid: Uuid, error: &ReadError) {
        let Some(inner) = self.0.upgrade() else {
            return;
        };
        inner.reasons.damaged(uuid, error);
    }

    fn is_gone(&self) -> bool {
        self.0.strong_count() == 0
    }
}

impl Inner {
    /// A cold buffer as its sealed segments stand in its directory; its last segment is left alone.
    fn cold(&self, uuid: Uuid) -> Option<Arc<Readable>> {
        let log = self.record(uuid)?.expected.log;
        let dir = self.directory.layout.buffer(uuid);
        let mut segments = Vec::new();
        for entry in fs::read_dir(&dir).ok()?.flatten() {
            let name = entry.file_name();
            let Some(first) = name.to_str().and_then(first_of_name) else {
                continue;
            };
            let bytes = entry.metadata().ok()?.len();
            segments.push(SegmentAt { first, bytes });
        }
        segments.sort_unstable_by_key(|segment| segment.first);
        let first = segments.first()?.first;
        let commit: Seq = segments.last()?.first.prev();
        Some(Readable::new(
            &self.read, dir, log, first, commit, &segments,
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::{Append, BufferSettings, Content, Engine, EngineSettings};
    use bytes::Bytes;
    use hbuf_core::name::Name;
    use hbuf_manager::MirrorChange;
    use std::sync::atomic::Ordering;

    async fn start(data: &std::path::Path) -> Engine {
        let settings = EngineSettings {
            data: data.to_owned(),
            ..EngineSettings::default()
        };
        Engine::start(settings).await.unwrap()
    }

    #[tokio::test]
    async fn cold_buffers_are_scrubbed_by_their_files_and_damage_is_said_once() {
        let dir = tempfile::tempdir().unwrap();
        let engine = start(dir.path()).await;
        let (tenant, name) = (Name::default_tenant(), Name::parse("b").unwrap());
        let small = BufferSettings {
            segment_bytes: Some(4 << 10),
            ..Default::default()
        };
        engine
            .create_buffer(&tenant, &name, &small, MirrorChange::Keep)
            .await
            .unwrap();
        let buffer = engine.buffer(&tenant, "b").await.unwrap();
        for _ in 0..30 {
            let contents = vec![Content::seal(Bytes::new(), Bytes::from_static(&[7; 500]))];
            buffer
                .append(Append {
                    contents,
                    ..Append::default()
                })
                .await
                .unwrap();
        }
        let (uuid, path) = (buffer.uuid(), buffer.readable().dir().to_owned());
        drop(buffer);
        engine.stop().await;
        drop(engine);
        let engine = start(dir.path()).await;
        let node = Node(Arc::downgrade(&engine.inner));
        assert_eq!(
            (engine.status().open_buffers, node.buffers()),
            (0, vec![uuid])
        );
        let progress = &engine.counters().scrub;
        let mut scrubber = Scrubber::new(u64::MAX, Arc::clone(progress));
        assert!(scrubber.scrub(&node.buffer(uuid).unwrap()).await.is_none());
        let segments = progress.segments.load(Ordering::Relaxed);
        assert!(segments > 2, "{segments} sealed segments");

        let file = path.join(hbuf_core::segment::file_name(Seq(1)));
        let mut bytes = fs::read(&file).unwrap();
        let end = bytes.len() - 5;
        bytes[end] ^= 1;
        fs::write(&file, bytes).unwrap();
        for _ in 0..2 {
            let error = scrubber.scrub(&node.buffer(uuid).unwrap()).await.unwrap();
            node.damaged(uuid, &error);
        }
        assert_eq!(engine.status().open_buffers, 0, "scrubbing opens nothing");
        let reasons = engine.status().reasons;
        assert_eq!(reasons.len(), 1, "{reasons:?}");
        assert_eq!(engine.damaged_buffers(), 1);
        assert!(
            reasons[0].starts_with(&format!("buffer {uuid}: message ")),
            "{reasons:?}"
        );
        engine.stop().await;
        drop(engine);
        assert!(node.is_gone());
    }
}
