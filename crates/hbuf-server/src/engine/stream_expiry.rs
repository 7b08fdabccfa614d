//! Removes streams whose time is over. When that is, is the core's rule; here every stream is
//! looked at again and again, slowly, so that also those go that nobody asks for any more.

use std::collections::BTreeMap;
use std::sync::{Arc, Weak};
use std::time::Duration;

use hbuf_core::ids::{Micros, Uuid};
use hbuf_core::limits::{LIST_LIMIT_MAX, STREAM_PATROL_MAX};
use hbuf_core::name::Name;
use hbuf_core::stream::{StreamSeen, stream_path};
use hbuf_manager::Lifecycle;
use tokio::task::JoinHandle;
use tokio::time::{MissedTickBehavior, interval};

use super::{Engine, Inner};
use crate::clock;

/// Starts the patrol; it ends with the engine.
pub(super) fn spawn(inner: &Arc<Inner>) -> JoinHandle<()> {
    let inner: Weak<Inner> = Arc::downgrade(inner);
    tokio::spawn(async move {
        let mut patrol = Patrol::default();
        let mut ticks = interval(Duration::from_secs(1));
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            let Some(inner) = inner.upgrade() else { return };
            patrol.round(&Engine { inner }).await;
        }
    })
}

/// A walk through all streams, a page a second.
#[derive(Debug, Default)]
struct Patrol {
    /// Tenant and name behind which the next page begins.
    at: (String, String),
    /// When streams end that are not in memory, as far as known; `None` is never.
    known: BTreeMap<Uuid, Option<Micros>>,
    /// The same, of this walk: what is gone is not carried over.
    seen: BTreeMap<Uuid, Option<Micros>>,
}

/// A buffer whose name is that of a stream.
struct Entry {
    tenant: Name,
    name: Name,
    uuid: Uuid,
}

impl Patrol {
    async fn round(&mut self, engine: &Engine) {
        let mut opened = 0;
        for entry in self.page(engine) {
            let cold = engine.inner.open.get(entry.uuid).is_none();
            let known = self.known.get(&entry.uuid).copied();
            let asleep = match known {
                Some(deadline) => deadline.is_none_or(|deadline| clock::now() < deadline),
                None => opened >= STREAM_PATROL_MAX,
            };
            if cold && asleep {
                self.seen.extend(known.map(|known| (entry.uuid, known)));
                continue;
            }
            opened += usize::from(cold);
            if let Some(deadline) = look(engine, &entry).await {
                self.seen.insert(entry.uuid, deadline);
            }
        }
    }

    /// The next streams in the order of tenants and names.
    fn page(&mut self, engine: &Engine) -> Vec<Entry> {
        let limit = usize::try_from(LIST_LIMIT_MAX).expect("a page fits");
        let (tenant, after) = self.at.clone();
        let page = engine.inner.manager.view(|catalog| {
            let first = catalog.tenant(&tenant);
            let behind = catalog.tenants(&tenant);
            let starts = first.map(|first| (first, after.as_str())).into_iter();
            let starts = starts.chain(behind.map(|next| (next, stream_path::PREFIX)));
            let entries = starts.flat_map(|(owner, after)| {
                catalog
                    .buffers_of_tenant(owner.name.as_str(), after)
                    .take_while(|buffer| buffer.name.fold().starts_with(stream_path::PREFIX))
                    .map(|buffer| (owner.name.clone(), buffer))
            });
            let live =
                |(_, buffer): &(Name, &hbuf_manager::Buffer)| buffer.lifecycle == Lifecycle::Live;
            let entry = |(tenant, buffer): (Name, &hbuf_manager::Buffer)| Entry {
                tenant,
                name: buffer.name.clone(),
                uuid: buffer.uuid,
            };
            entries
                .filter(live)
                .take(limit)
                .map(entry)
                .collect::<Vec<_>>()
        });
        match page.last() {
            Some(last) if page.len() == limit => {
                self.at = (last.tenant.to_string(), last.name.to_string());
            }
            _ => {
                self.at = (String::new(), String::new());
                self.known = std::mem::take(&mut self.seen);
            }
        }
        page
    }
}

/// Looks at one stream and removes it when it has expired; else says when it ends. `None`: it
/// cannot be told.
async fn look(engine: &Engine, entry: &Entry) -> Option<Option<Micros>> {
    // A look is no use: it keeps no buffer in memory that is there already.
    let open = engine.inner.open.get(entry.uuid);
    let buffer = match open {
        Some(buffer) => buffer,
        None => match engine.open(entry.uuid).await {
            Ok(buffer) => buffer,
            Err(error) => {
                tracing::debug!(event = "stream_not_opened", buffer = %entry.uuid, %error);
                return None;
            }
        },
    };
    if buffer.stream_seen() != StreamSeen::Expired {
        return buffer
            .host()
            .look(&entry.uuid, hbuf_core::buffer::Buffer::stream_deadline);
    }
    drop(buffer);
    let removed = engine
        .remove_expired(&entry.tenant, &entry.name, entry.uuid)
        .await;
    if let Err(error) = removed {
        tracing::warn!(event = "stream_not_removed", buffer = %entry.uuid, %error);
    }
    None
}
