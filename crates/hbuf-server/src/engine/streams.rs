//! Streams as the HTTP layer asks for them. What a stream allows is the core's; here its buffer is
//! found, made and removed.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use hbuf_core::append::{AckLevel, AppendRefused, Appended};
use hbuf_core::ids::Uuid;
use hbuf_core::name::Name;
use hbuf_core::stream::{StreamAppend, StreamRefused, StreamSeen, StreamView};
use hbuf_manager::{Action, Lifecycle};
use tokio::sync::oneshot;
use tokio::time::{Instant, timeout_at};

use super::append::{Append, AppendError, Content};
use super::buffer::Buffer;
use super::described::{BufferSettings, CatalogError};
use super::host::Mail;
use super::open::LookupError;
use super::{Engine, lock};
use crate::clock;

/// How long a creation waits for an earlier stream of the same path to be gone.
const WAIT: Duration = Duration::from_secs(10);

/// Why a stream could not be made or removed.
#[derive(Debug, thiserror::Error)]
pub enum StreamError {
    /// There is none at this path.
    #[error("there is no stream at this path: create it with PUT")]
    NotFound,
    /// It is being created or deleted by somebody else, and that takes long.
    #[error("the stream is being created or deleted: try again shortly")]
    Changing,
    /// The definition or its first messages were refused.
    #[error(transparent)]
    Append(#[from] AppendError),
    /// The buffer could not be made or removed.
    #[error(transparent)]
    Catalog(#[from] CatalogError),
    /// The buffer could not be opened.
    #[error(transparent)]
    Lookup(#[from] LookupError),
}

impl Buffer {
    /// Appends to the stream. The record that goes before the messages is added here.
    pub async fn append_stream(&self, mut append: Append) -> Result<Appended, AppendError> {
        let control = append.stream.as_ref().and_then(StreamAppend::control);
        if let Some(control) = control {
            let body = Bytes::from(control.encode());
            append.contents.insert(0, Content::seal(Bytes::new(), body));
        }
        Ok(self.place(append).await?.appended)
    }

    /// What is there of the stream, without using it.
    #[must_use]
    pub fn stream_seen(&self) -> StreamSeen {
        let seen = self
            .host()
            .look(&self.uuid(), |buffer| buffer.stream_seen(clock::now()));
        seen.unwrap_or(StreamSeen::NotOpen)
    }

    /// What is there of the stream, for somebody who reads it, which keeps it alive.
    pub async fn stream_used(self: &Arc<Self>) -> StreamSeen {
        let (reply, answer) = oneshot::channel();
        self.host().post(Mail::StreamUsed(self.uuid(), reply));
        let Ok(used) = answer.await else {
            return StreamSeen::NotOpen;
        };
        if used.due {
            let buffer = Arc::clone(self);
            // Nobody waits for it: what is lost of it is made up for when the buffer is recovered.
            tokio::spawn(async move {
                let append = Append {
                    ack: AckLevel::None,
                    stream: Some(StreamAppend::Use),
                    ..Append::default()
                };
                if let Err(error) = buffer.append_stream(append).await {
                    tracing::debug!(event = "stream_use_not_recorded", buffer = %buffer.uuid(), %error);
                }
            });
        }
        used.seen
    }
}

impl Engine {
    /// The buffer of a stream, opened if it was cold; `None` when there is none.
    pub async fn stream(
        &self,
        tenant: &Name,
        name: &Name,
    ) -> Result<Option<Arc<Buffer>>, LookupError> {
        let Some((uuid, Lifecycle::Live)) = self.stream_lifecycle(tenant, name) else {
            return Ok(None);
        };
        match self.open(uuid).await {
            Ok(buffer) => Ok(Some(buffer)),
            Err(LookupError::NoBuffer { .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }

    fn stream_lifecycle(&self, tenant: &Name, name: &Name) -> Option<(Uuid, Lifecycle)> {
        self.inner.manager.view(|catalog| {
            let buffer = catalog.resolve_buffer(tenant.as_str(), name.as_str())?;
            Some((buffer.uuid, buffer.lifecycle))
        })
    }

    /// Makes a stream with its first messages, or finds that it is there as asked. What a crash
    /// leaves half-done is a buffer without a definition, which the next creation takes over.
    pub async fn create_stream(
        &self,
        tenant: &Name,
        name: &Name,
        append: Append,
    ) -> Result<(Arc<Buffer>, Appended), StreamError> {
        let deadline = Instant::now() + WAIT;
        let mut changes = self.inner.manager.watch();
        loop {
            changes.borrow_and_update();
            match self.stream_lifecycle(tenant, name) {
                None => {
                    let settings = BufferSettings::default();
                    self.create(tenant, name, &settings, Vec::new()).await?;
                }
                Some((uuid, Lifecycle::Live)) => {
                    if let Some(made) = self.define(uuid, append.clone()).await? {
                        return Ok(made);
                    }
                    self.remove_expired(tenant, name, uuid).await?;
                }
                Some((_, Lifecycle::Reserved | Lifecycle::Deleting)) => {
                    let changed = timeout_at(deadline, changes.changed()).await;
                    if !matches!(changed, Ok(Ok(()))) {
                        return Err(StreamError::Changing);
                    }
                }
            }
            if Instant::now() >= deadline {
                return Err(StreamError::Changing);
            }
        }
    }

    /// Appends the definition; `None` when the stream that is there has expired, or goes.
    async fn define(
        &self,
        uuid: Uuid,
        append: Append,
    ) -> Result<Option<(Arc<Buffer>, Appended)>, StreamError> {
        let buffer = match self.open(uuid).await {
            Ok(buffer) => buffer,
            Err(LookupError::NoBuffer { .. }) => return Ok(None),
            Err(error) => return Err(error.into()),
        };
        match buffer.append_stream(append).await {
            Ok(appended) => Ok(Some((buffer, appended))),
            Err(AppendError::Refused(AppendRefused::Stream(StreamRefused::Expired))) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// Deletes a stream with its messages.
    pub async fn delete_stream(&self, tenant: &Name, name: &Name) -> Result<(), StreamError> {
        let buffer = self.stream(tenant, name).await?;
        let buffer = buffer.ok_or(StreamError::NotFound)?;
        match buffer.stream_seen() {
            StreamSeen::Live(StreamView { .. }) => {}
            StreamSeen::NotOpen => {
                return Err(AppendError::Refused(AppendRefused::NotOpen).into());
            }
            StreamSeen::None | StreamSeen::Expired => return Err(StreamError::NotFound),
        }
        let uuid = buffer.uuid();
        drop(buffer);
        let action = Action::DeleteBuffer { uuid, force: false };
        self.inner
            .manager
            .propose(action)
            .await
            .map_err(CatalogError::from)?;
        self.remove(tenant, uuid, name.as_str()).await?;
        Ok(())
    }

    /// Removes a buffer whose stream has expired. One at a time for a buffer: who comes second
    /// waits for the first by watching the catalog.
    pub(super) async fn remove_expired(
        &self,
        tenant: &Name,
        name: &Name,
        uuid: Uuid,
    ) -> Result<(), CatalogError> {
        let Some(_removing) = Removing::start(self, uuid) else {
            tokio::time::sleep(Duration::from_millis(5)).await;
            return Ok(());
        };
        let still = self.inner.open.get(uuid);
        let expired = still.is_some_and(|buffer| buffer.stream_seen() == StreamSeen::Expired);
        if !expired {
            return Ok(());
        }
        tracing::info!(event = "stream_expired", buffer = %uuid, name = name.as_str());
        let action = Action::DeleteBuffer { uuid, force: true };
        self.inner.manager.propose(action).await?;
        self.remove(tenant, uuid, name.as_str()).await
    }
}

/// A removal under way.
struct Removing<'a> {
    engine: &'a Engine,
    uuid: Uuid,
}

impl<'a> Removing<'a> {
    fn start(engine: &'a Engine, uuid: Uuid) -> Option<Self> {
        let first = lock(&engine.inner.removing).insert(uuid);
        first.then_some(Self { engine, uuid })
    }
}

impl Drop for Removing<'_> {
    fn drop(&mut self) {
        lock(&self.engine.inner.removing).remove(&self.uuid);
    }
}
