//! An open buffer: what requests hold while they work with it.

use std::collections::HashMap;
use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, Weak};

use hbuf_core::append::{AppendRefused, AppendRequest};
use hbuf_core::dedupe::idempotency;
use hbuf_core::ids::{Epoch, Hash, Micros, Seq, Uuid};
use hbuf_core::input::BufferState;
use hbuf_core::record::{self, Kind};
use hbuf_core::segment::LogKind;
use hbuf_core::stream::StreamAppend;
use tokio::sync::oneshot;

use super::append::{Append, AppendError, AppendReply, Content};
use super::host::{AppendMail, Mail, Placed};
use super::{Admitted, OpenBuffers, Shards};
use crate::clock;
use crate::read::Readable;

/// Bytes of one read while an old reply is looked up.
const LOOKUP_BYTES: usize = 1 << 20;

/// One open buffer.
pub struct Buffer {
    uuid: Uuid,
    log: Uuid,
    idem_key: Hash,
    shard: usize,
    shards: Shards,
    readable: Arc<Readable>,
    registry: Weak<OpenBuffers>,
    /// A write failed: what is still queued for this opening is void.
    cut: AtomicBool,
    /// Its segments are worth pre-writing.
    hot: AtomicBool,
    segment_bytes: AtomicU64,
    /// Server time of its last use, for eviction.
    used: AtomicU64,
    /// The consumers that were begun in this opening, and the version of what is set on them.
    begun: Mutex<HashMap<Uuid, u64>>,
}

impl fmt::Debug for Buffer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Buffer")
            .field("uuid", &self.uuid)
            .finish_non_exhaustive()
    }
}

/// What an open buffer tells about itself.
#[derive(Clone, Debug)]
pub struct BufferStatus {
    /// Its registration.
    pub uuid: Uuid,
    /// Its log's id, part of every leaf.
    pub log: Uuid,
    /// Its history.
    pub history: Uuid,
    /// First seq that is kept.
    pub first: Seq,
    /// Highest committed seq.
    pub commit: Seq,
    /// Highest framed seq.
    pub end: Seq,
    /// The primary's epoch.
    pub epoch: Epoch,
    /// Whether it takes messages.
    pub state: BufferState,
    /// First damaged message that recovery, a read or the scrubber met; recovery also makes it
    /// read only.
    pub damaged: Option<Seq>,
    /// First damaged record of its cursors log, which makes it read only.
    pub cursors_damaged: Option<Seq>,
    /// Bytes of its segments.
    pub bytes: u64,
    /// How many segments it has.
    pub segments: usize,
    /// Server time of its last message.
    pub last_time: Micros,
}

/// An append that the shard has; see [`Buffer::finish`].
#[derive(Debug)]
pub struct Begun {
    answer: oneshot::Receiver<Result<Placed, AppendRefused>>,
    compare: Option<Vec<Content>>,
    producer: Option<record::Producer>,
    ids: bool,
    _room: Admitted,
}

/// What makes an open buffer.
pub(crate) struct Parts {
    pub(crate) uuid: Uuid,
    pub(crate) log: Uuid,
    pub(crate) idem_key: Hash,
    pub(crate) shards: Shards,
    pub(crate) readable: Arc<Readable>,
    pub(crate) registry: Weak<OpenBuffers>,
    pub(crate) segment_bytes: u64,
}

/// The first damaged seq of one of a buffer's logs, as recovery found it.
fn damaged_in(buffer: &hbuf_core::buffer::Buffer, log: LogKind) -> Option<Seq> {
    let damaged = buffer.damaged().filter(|damaged| damaged.log == log);
    damaged.map(|damaged| damaged.seq)
}

impl Buffer {
    pub(crate) fn new(parts: Parts) -> Arc<Self> {
        let Parts {
            uuid,
            log,
            idem_key,
            shards,
            readable,
            registry,
            segment_bytes,
        } = parts;
        Arc::new(Self {
            uuid,
            log,
            idem_key,
            shard: shards.index(uuid),
            shards,
            readable,
            registry,
            cut: AtomicBool::new(false),
            hot: AtomicBool::new(false),
            segment_bytes: AtomicU64::new(segment_bytes),
            used: AtomicU64::new(clock::now().0),
            begun: Mutex::default(),
        })
    }

    /// Its registration.
    #[must_use]
    pub const fn uuid(&self) -> Uuid {
        self.uuid
    }

    /// Its log's id.
    #[must_use]
    pub const fn log(&self) -> Uuid {
        self.log
    }

    /// Its read side.
    #[must_use]
    pub const fn readable(&self) -> &Arc<Readable> {
        &self.readable
    }

    pub(super) const fn shards(&self) -> &Shards {
        &self.shards
    }

    pub(super) fn has_begun(&self, consumer: Uuid, version: u64) -> bool {
        let begun = super::lock(&self.begun);
        begun.get(&consumer).is_some_and(|begun| *begun >= version)
    }

    pub(super) fn begun(&self, consumer: Uuid, version: u64) {
        let mut begun = super::lock(&self.begun);
        let held = begun.entry(consumer).or_insert(version);
        *held = version.max(*held);
    }

    /// Whether it was there.
    pub(super) fn forget_begun(&self, consumer: Uuid) -> bool {
        super::lock(&self.begun).remove(&consumer).is_some()
    }

    pub(crate) const fn shard(&self) -> usize {
        self.shard
    }

    pub(crate) fn is_cut(&self) -> bool {
        self.cut.load(Ordering::Acquire)
    }

    pub(crate) fn cut(&self) {
        self.cut.store(true, Ordering::Release);
    }

    pub(crate) fn hot(&self) -> bool {
        self.hot.load(Ordering::Relaxed)
    }

    pub(crate) fn set_hot(&self) {
        self.hot.store(true, Ordering::Relaxed);
    }

    pub(crate) fn segment_bytes(&self) -> u64 {
        self.segment_bytes.load(Ordering::Relaxed)
    }

    pub(crate) fn set_segment_bytes(&self, bytes: u64) {
        self.segment_bytes.store(bytes, Ordering::Relaxed);
    }

    pub(crate) fn touch(&self) {
        self.used.store(clock::now().0, Ordering::Relaxed);
    }

    pub(crate) fn used(&self) -> Micros {
        Micros(self.used.load(Ordering::Relaxed))
    }

    /// Leaves the table of open buffers; the next request opens it anew. Who reads it is told.
    pub(crate) fn leave(&self) {
        if let Some(registry) = self.registry.upgrade() {
            registry.remove(self.uuid);
        }
        self.readable.close();
    }

    /// What it tells about itself; `None` while it is being opened again.
    #[must_use]
    pub fn status(&self) -> Option<BufferStatus> {
        self.shards
            .host(self.shard)
            .look(&self.uuid, |buffer| BufferStatus {
                uuid: self.uuid,
                log: buffer.log(),
                history: buffer.history(),
                first: buffer.first(),
                commit: buffer.commit(),
                end: buffer.end(),
                epoch: buffer.epoch(),
                state: buffer.state(),
                damaged: damaged_in(buffer, LogKind::Messages)
                    .or_else(|| self.readable.damage().map(|damage| damage.seq)),
                cursors_damaged: damaged_in(buffer, LogKind::Cursors),
                bytes: buffer.segments().iter().map(|segment| segment.bytes).sum(),
                segments: buffer.segments().len(),
                last_time: buffer.last_time(),
            })
    }

    /// Whether it takes messages; `None` while it is being opened again.
    pub(crate) fn state(&self) -> Option<BufferState> {
        let host = self.shards.host(self.shard);
        host.look(&self.uuid, |buffer| buffer.state())
    }

    /// The last record of an origin that this log has mirrored.
    pub(crate) fn mirrored_through(&self, origin: &Uuid) -> Option<Seq> {
        let host = self.shards.host(self.shard);
        host.look(&self.uuid, |buffer| buffer.mirrored_through(origin))
            .flatten()
    }

    /// Has messages to come be no earlier than the time that is told; nothing while some are under
    /// way, or when the buffer is being opened again.
    pub(crate) async fn close_time(&self) -> Option<Micros> {
        let (reply, answer) = oneshot::channel();
        let host = self.shards.host(self.shard);
        host.post(Mail::CloseTime(self.uuid, reply));
        answer.await.ok().flatten()
    }

    /// Appends and waits until the asked level is reached, or until it is refused.
    pub async fn append(&self, append: Append) -> Result<AppendReply, AppendError> {
        self.finish(self.begin(append)?).await
    }

    /// Hands an append to the shard. It goes on also when nobody waits for its end.
    pub fn begin(&self, append: Append) -> Result<Begun, AppendError> {
        let bytes: u64 = append.contents.iter().map(Content::bytes).sum();
        let room = self
            .shards
            .admit(bytes)
            .map_err(|bytes| AppendError::Overloaded { bytes })?;
        let keyed = append.idempotency_key.is_some();
        let compare = keyed.then(|| append.contents.clone());
        let request = self.request(&append);
        let (reply, answer) = oneshot::channel();
        self.shards.host(self.shard).post(Mail::Append(AppendMail {
            buffer: self.uuid,
            request,
            contents: append.contents,
            ids: append.ids,
            reply,
        }));
        Ok(Begun {
            answer,
            compare,
            producer: append.producer,
            ids: append.ids,
            _room: room,
        })
    }

    /// Waits until an append has reached the level that it asked for, or until it is refused.
    pub async fn finish(&self, begun: Begun) -> Result<AppendReply, AppendError> {
        match begun.answer.await.map_err(|_| AppendError::Stopping)? {
            Ok(placed) if placed.appended.replayed => {
                self.replay(placed, begun.compare, begun.ids).await
            }
            Ok(Placed { appended, ids }) => {
                let id = appended.id.expect("a new append has an id");
                Ok(AppendReply { appended, id, ids })
            }
            Err(AppendRefused::ProducerOld { number, before, .. }) => {
                let producer = begun.producer.expect("only a producer's number can be old");
                self.look_up(&producer, number, before, begun.ids).await
            }
            Err(refused) => Err(refused.into()),
        }
    }

    /// Appends to the stream; repetitions are answered by the shard alone.
    pub(super) async fn place(&self, append: Append) -> Result<Placed, AppendError> {
        let begun = self.begin(append)?;
        let placed = begun.answer.await.map_err(|_| AppendError::Stopping)?;
        Ok(placed?)
    }

    fn request(&self, append: &Append) -> AppendRequest {
        let idem = append
            .idempotency_key
            .as_deref()
            .map(|key| idempotency::hash(&self.idem_key, key));
        let mut items: Vec<_> = append.contents.iter().map(item).collect();
        let control = append.stream.as_ref().and_then(StreamAppend::control);
        if let (Some(_), Some(first)) = (control, items.first_mut()) {
            first.kind = Kind::Stream;
        }
        AppendRequest {
            items,
            ack: append.ack,
            if_match: append.if_match,
            producer: append.producer.clone(),
            idem,
            stream: append.stream.clone(),
            mirrored: append.mirrored.clone(),
        }
    }

    /// The host of its shard.
    pub(super) fn host(&self) -> &super::host::ShardHost {
        self.shards.host(self.shard)
    }

    /// Reads the ids of an earlier append back; its content must be the same when a key says so.
    async fn replay(
        &self,
        placed: Placed,
        compare: Option<Vec<Content>>,
        want_ids: bool,
    ) -> Result<AppendReply, AppendError> {
        let appended = placed.appended;
        let count = appended.last.0 - appended.first.0 + 1;
        let mut ids = Vec::new();
        let mut same = compare
            .as_ref()
            .is_none_or(|contents| contents.len() as u64 == count);
        let mut after = appended.first.prev();
        while after < appended.last {
            let left = appended.last.0 - after.0;
            let records = self.readable.read(after, left, LOOKUP_BYTES).await?;
            for record in super::append::records(&records.bytes) {
                let index =
                    usize::try_from(record.line.seq.0 - appended.first.0).unwrap_or(usize::MAX);
                let content = compare.as_ref().and_then(|contents| contents.get(index));
                same &= content.is_none_or(|content| same_content(&record, content));
                ids.push(record.id().unwrap_or_default());
            }
            after = records.last;
        }
        if !same {
            return Err(AppendError::KeyReused {
                first: appended.first,
            });
        }
        let id = ids.last().copied().unwrap_or_default();
        if !want_ids {
            ids.clear();
        }
        Ok(AppendReply { appended, id, ids })
    }

    /// Finds the reply of a producer's older number in the log, from `before` backwards.
    async fn look_up(
        &self,
        producer: &record::Producer,
        number: u64,
        before: Seq,
        want_ids: bool,
    ) -> Result<AppendReply, AppendError> {
        let mut after = self.readable.first().prev();
        while after < before.prev() {
            let left = before.0 - after.0 - 1;
            let records = self.readable.read(after, left, LOOKUP_BYTES).await?;
            for record in super::append::records(&records.bytes) {
                let found = record.facts.producer.as_ref();
                if found.is_some_and(|found| {
                    found.id == producer.id
                        && found.epoch == producer.epoch
                        && found.number == number
                }) {
                    let appended = super::append::replayed(&record);
                    let placed = Placed {
                        appended,
                        ids: Vec::new(),
                    };
                    return self.replay(placed, None, want_ids).await;
                }
            }
            if records.last <= after {
                break;
            }
            after = records.last;
        }
        Err(AppendError::ReplyGone { number })
    }
}

fn item(content: &Content) -> hbuf_core::append::Item {
    hbuf_core::append::Item {
        kind: Kind::Data,
        lines_len: u32::try_from(content.lines.len()).expect("header lines are bounded"),
        body_len: u32::try_from(content.body.len()).expect("bodies are bounded"),
        commitment: content.commitment,
    }
}

/// Whether a stored record holds this content: its own salt tells, without keeping a plain hash.
/// Erased content cannot be compared and counts as the same.
fn same_content(record: &record::Record<'_>, content: &Content) -> bool {
    let record::Proof::Salted { salt, .. } = record.proof else {
        return true;
    };
    let candidate = hbuf_core::commitment::commitment(&salt, &content.lines, &content.body);
    record.commitment() == Some(candidate)
}
