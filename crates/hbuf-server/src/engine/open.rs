//! Names to open buffers: cold ones are recovered at their first use and leave when they idle.

use std::collections::HashMap;
use std::fs;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use hbuf_core::append::AppendRefused;
use hbuf_core::cloudevents::source_of;
use hbuf_core::ids::{Hash, Uuid};
use hbuf_core::name::Name;
use hbuf_core::recovery::{Damage, Recovered};
use hbuf_core::segment::LogKind;
use hbuf_manager::Lifecycle;
use tokio::sync::OnceCell;

use super::buffer::{Buffer, Parts};
use super::counters::Counters;
use super::host::Mail;
use super::reasons::told;
use super::{Engine, Inner};
use crate::disk::files::FileKey;
use crate::disk::journal_found::JournalFound;
use crate::disk::recovery::{Expected, JournalStays, RecoverError, recover_buffer};
use crate::read::{ReadError, Readable, SegmentAt};

/// Why a name leads to no open buffer.
#[derive(Debug, thiserror::Error)]
pub enum LookupError {
    /// No tenant with this name.
    #[error("there is no tenant `{tenant}`")]
    NoTenant {
        /// The name.
        tenant: String,
    },
    /// No buffer with this name.
    #[error("there is no buffer `{name}`: create it with PUT, or append to it")]
    NoBuffer {
        /// The name.
        name: String,
    },
    /// No topic with this name.
    #[error("there is no topic `{name}`: create it with PUT, or append to it")]
    NoTopic {
        /// The name.
        name: String,
    },
    /// It is being created or deleted.
    #[error("the buffer `{name}` is being created or deleted: try again shortly")]
    Changing {
        /// The name.
        name: String,
    },
    /// A topic of several buffers where one is expected.
    #[error("the topic `{name}` has {count} buffers: name one of them")]
    SeveralBuffers {
        /// The topic.
        name: String,
        /// How many it has.
        count: usize,
    },
    /// Its files cannot be opened.
    #[error("the buffer cannot be opened: {0}")]
    Recover(Arc<RecoverError>),
    /// An append that would have made it is refused: nothing was made.
    #[error(transparent)]
    Refused(#[from] AppendRefused),
    /// It could not be created on first write.
    #[error(transparent)]
    Create(#[from] super::CatalogError),
}

/// The table of open buffers.
#[derive(Debug, Default)]
pub(crate) struct OpenBuffers {
    table: Mutex<HashMap<Uuid, Arc<OnceCell<Arc<Buffer>>>>>,
}

impl OpenBuffers {
    fn table(&self) -> MutexGuard<'_, HashMap<Uuid, Arc<OnceCell<Arc<Buffer>>>>> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn cell(&self, buffer: Uuid) -> Arc<OnceCell<Arc<Buffer>>> {
        Arc::clone(self.table().entry(buffer).or_default())
    }

    pub(crate) fn get(&self, buffer: Uuid) -> Option<Arc<Buffer>> {
        self.table()
            .get(&buffer)
            .and_then(|cell| cell.get().cloned())
    }

    pub(crate) fn remove(&self, buffer: Uuid) {
        self.table().remove(&buffer);
    }

    pub(crate) fn len(&self) -> usize {
        self.table().len()
    }

    pub(crate) fn all(&self) -> Vec<Arc<Buffer>> {
        self.table()
            .values()
            .filter_map(|cell| cell.get().cloned())
            .collect()
    }
}

/// What opening needs to know of the manager's record.
pub(super) struct Record {
    pub(super) expected: Expected,
    pub(super) idem_key: Hash,
    pub(super) lifecycle: Lifecycle,
}

impl Engine {
    /// A buffer by its name, opened if it was cold.
    pub async fn buffer(&self, tenant: &Name, name: &str) -> Result<Arc<Buffer>, LookupError> {
        let found = self.inner.manager.view(|catalog| {
            let buffer = catalog.resolve_buffer(tenant.as_str(), name)?;
            Some((buffer.uuid, buffer.lifecycle))
        });
        match found {
            Some((uuid, Lifecycle::Live)) => self.open(uuid).await,
            Some(_) => Err(LookupError::Changing { name: name.into() }),
            None => Err(LookupError::NoBuffer { name: name.into() }),
        }
    }

    /// The reference of a buffer as the source of events; a buffer that is just gone has none but
    /// that of all buffers.
    pub(crate) fn source(&self, uuid: Uuid) -> String {
        let source = self.inner.manager.view(|catalog| {
            let buffer = catalog.buffer(uuid)?;
            let tenant = catalog.tenant_by_id(buffer.tenant)?;
            Some(source_of(&tenant.name, &buffer.name))
        });
        source.unwrap_or_else(|| "/buffers".to_owned())
    }

    /// A topic's one buffer.
    pub async fn topic_buffer(
        &self,
        tenant: &Name,
        name: &str,
    ) -> Result<Arc<Buffer>, LookupError> {
        let found = self.inner.manager.view(|catalog| {
            let topic = catalog.resolve_topic(tenant.as_str(), name)?;
            let first = catalog.buffers_of_topic(topic).next()?;
            Some((first.uuid, first.lifecycle, topic.buffers.len()))
        });
        match found {
            Some((uuid, Lifecycle::Live, 1)) => self.open(uuid).await,
            Some((_, Lifecycle::Live, count)) => Err(LookupError::SeveralBuffers {
                name: name.into(),
                count,
            }),
            Some(_) => Err(LookupError::Changing { name: name.into() }),
            None => Err(LookupError::NoTopic { name: name.into() }),
        }
    }

    /// An open buffer by its registration; recovered first when it is cold.
    pub async fn open(&self, uuid: Uuid) -> Result<Arc<Buffer>, LookupError> {
        if let Some(buffer) = self.inner.open.get(uuid) {
            buffer.touch();
            return Ok(buffer);
        }
        let cell = self.inner.open.cell(uuid);
        let inner = Arc::clone(&self.inner);
        let opened = cell
            .get_or_try_init(|| async move {
                let open = tokio::task::spawn_blocking(move || inner.open_blocking(uuid));
                match open.await {
                    Ok(opened) => opened,
                    Err(error) => std::panic::resume_unwind(error.into_panic()),
                }
            })
            .await;
        match opened {
            Ok(buffer) => Ok(Arc::clone(buffer)),
            Err(error) => {
                self.inner.open.remove(uuid);
                Err(error)
            }
        }
    }
}

impl Engine {
    /// Whether a buffer that was there is deleted now.
    pub(crate) fn is_deleted(&self, uuid: Uuid) -> bool {
        let record = self.inner.record(uuid);
        record.is_none_or(|record| record.lifecycle == Lifecycle::Deleting)
    }
}

impl Inner {
    /// What the manager knows that opening needs.
    pub(super) fn record(&self, uuid: Uuid) -> Option<Record> {
        self.manager.view(|catalog| {
            let buffer = catalog.buffer(uuid)?;
            Some(Record {
                expected: super::described::expected(catalog, buffer, self.node)?,
                idem_key: buffer.idem_key,
                lifecycle: buffer.lifecycle,
            })
        })
    }

    fn open_blocking(&self, uuid: Uuid) -> Result<Arc<Buffer>, LookupError> {
        let gone = || LookupError::NoBuffer {
            name: uuid.to_string(),
        };
        let record = self.record(uuid).ok_or_else(gone)?;
        if record.lifecycle == Lifecycle::Deleting {
            return Err(gone());
        }
        // What the journal holds belongs to open buffers.
        let journal = JournalFound::default();
        let recovered = recover_buffer(
            &self.directory.layout,
            &record.expected,
            (&journal, JournalStays::No),
            self.directory.cache,
        )
        .map_err(|error| LookupError::Recover(Arc::new(error)))?;
        self.note_recovery(&recovered);
        Ok(self.enter(recovered, &record))
    }

    /// Opens a buffer that the start recovered and for which the journal, up to `last`, still
    /// answers: it goes on where the life before stopped, and the next checkpoint marks it.
    pub(super) fn take_over(&self, recovered: Recovered, last: u64) -> io::Result<()> {
        let uuid = recovered.opening.buffer;
        let Some(record) = self.record(uuid) else {
            return Ok(());
        };
        for segment in recovered.opening.unmarked_segments() {
            let key = FileKey::new(uuid, LogKind::Messages, segment);
            self.files.note_unsynced(key)?;
        }
        self.note_recovery(&recovered);
        let fence = recovered.opening.fence;
        let buffer = self.enter(recovered, &record);
        self.checkpoints
            .journaled(std::iter::once(&buffer), fence, last);
        // Nobody else opens anything yet.
        let _ = self.open.cell(uuid).set(buffer);
        Ok(())
    }

    pub(super) fn note_recovery(&self, recovered: &Recovered) {
        Counters::add(&self.counters.recoveries, 1);
        Counters::add(&self.counters.torn_bytes, recovered.torn_bytes);
        Counters::add(&self.counters.replayed_records, recovered.replayed);
        let buffer = recovered.opening.buffer;
        if recovered.torn_bytes > 0 {
            let bytes = recovered.torn_bytes;
            tracing::info!(event = "torn_tail_cut", %buffer, bytes, end = %recovered.opening.end);
        }
        if let Some(damage) = &recovered.damage {
            let (seq, file) = (damage.seq, damage.file);
            tracing::error!(event = "buffer_damaged", %buffer, %seq, %file, reason = %damage.reason);
            self.reasons.push(buffer, told(buffer, damage));
        }
    }

    /// Makes the open buffer and gives its state machine to its shard.
    fn enter(&self, recovered: Recovered, record: &Record) -> Arc<Buffer> {
        let Recovered {
            mut opening,
            damage,
            unreadable,
            ..
        } = recovered;
        // Consumers that were deleted while the buffer was cold are left out.
        let buffer = opening.buffer;
        opening.consumers = self.manager.view(|catalog| {
            let known = std::mem::take(&mut opening.consumers).into_iter();
            let reads = |uuid: &Uuid| {
                let consumer = catalog.consumer(*uuid);
                consumer.is_some_and(|it| catalog.buffers_of_consumer(it).contains(&buffer))
            };
            known.filter(|(uuid, _)| reads(uuid)).collect()
        });
        let segments: Vec<SegmentAt> = opening
            .segments
            .iter()
            .map(|segment| SegmentAt {
                first: segment.first,
                bytes: segment.bytes,
            })
            .collect();
        let readable = Readable::new(
            &self.read,
            self.directory.layout.buffer(opening.buffer),
            opening.log,
            opening.first,
            opening.end,
            &segments,
        );
        if opening.stream.is_some() {
            readable.holds_controls();
        }
        let buffer = Buffer::new(Parts {
            uuid: opening.buffer,
            log: opening.log,
            idem_key: record.idem_key,
            shards: self.shards.clone(),
            readable,
            registry: Arc::downgrade(&self.open),
            segment_bytes: opening.config.segment_bytes,
        });
        if let Some(damage) = damage.filter(|damage| damage.log == LogKind::Messages) {
            let Damage {
                seq, file, reason, ..
            } = damage;
            let what = reason;
            let damage = crate::read::Damage { seq, file, what };
            buffer.readable().recovered_damaged(damage, unreadable);
        }
        let (reasons, uuid) = (Arc::clone(&self.reasons), buffer.uuid());
        let watch = move |error: &ReadError| reasons.damaged(uuid, error);
        buffer.readable().watch_damage(Box::new(watch));
        let behind = Arc::clone(&self.behind);
        buffer
            .readable()
            .write_behind(Box::new(move || behind.write(uuid)));
        let host = self.shards.host(buffer.shard());
        host.post(Mail::Open(Box::new(opening), Arc::clone(&buffer)));
        buffer
    }

    /// Removes a buffer's directory and name. A crash in the middle leaves it to the next start.
    pub(super) fn remove_files(&self, uuid: Uuid, tenant: &str, name: &str) -> io::Result<()> {
        use crate::disk::sync::{self, SyncPoint};
        let layout = &self.directory.layout;
        self.behind.forget(uuid);
        self.files.forget(uuid, None);
        self.checkpoints.forget(uuid);
        let (link, _) = layout.name_link(tenant, name, uuid);
        match fs::remove_file(link) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        match fs::remove_dir_all(layout.buffer(uuid)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        match sync::sync_dir(&layout.fan(uuid), SyncPoint::Delete) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    }
}
