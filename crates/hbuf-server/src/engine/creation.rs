//! Making the files of new buffers, several at once: creations that wait together share the syncs
//! of their directories.
//!
//! It decides nothing about names or settings: the manager has reserved them before.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::os::unix::fs::symlink;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use hbuf_core::ids::Uuid;
use hbuf_manager::CreateBuffer;
use tokio::sync::oneshot;

use super::described::CatalogError;
use super::{Inner, lock};
use crate::disk::sync::{self, SyncPoint};

/// From this many new buffers on, one sync of the whole file system is cheaper than theirs.
const BULK_BUFFERS: usize = 4;

type Made = Result<(), Arc<io::Error>>;

/// New buffers that wait for their files.
#[derive(Debug, Default)]
pub(super) struct Creations {
    /// Bounded by the requests that are under way.
    waiting: Mutex<Vec<(CreateBuffer, oneshot::Sender<Made>)>>,
    /// Held by the one that makes the files of all who wait.
    turn: tokio::sync::Mutex<()>,
}

impl Inner {
    /// Makes a buffer's files durably, together with those of all others that wait.
    pub(super) async fn make_files(
        self: &Arc<Self>,
        create: CreateBuffer,
    ) -> Result<(), CatalogError> {
        let (sender, made) = oneshot::channel();
        lock(&self.creations.waiting).push((create, sender));
        let turn = self.creations.turn.lock().await;
        let group = std::mem::take(&mut *lock(&self.creations.waiting));
        // Nobody is left when the turn before took this one's too.
        if !group.is_empty() {
            let inner = Arc::clone(self);
            super::catalog::blocking(move || {
                inner.make_group(group);
                Ok(())
            })
            .await?;
        }
        drop(turn);
        match made.await {
            Ok(made) => made.map_err(CatalogError::Files),
            Err(_) => {
                let error = io::Error::other("making the files broke off: try again");
                Err(CatalogError::Files(Arc::new(error)))
            }
        }
    }

    fn make_group(&self, group: Vec<(CreateBuffer, oneshot::Sender<Made>)>) {
        let (mut made, mut answers) = (Vec::new(), Vec::new());
        for (create, answer) in group {
            match self.write_description(&create) {
                Ok(path) => {
                    made.push((create, path));
                    answers.push(answer);
                }
                Err(error) => drop(answer.send(Err(Arc::new(error)))),
            }
        }
        let synced = self.sync_descriptions(&made).map_err(Arc::new);
        for ((create, _), answer) in made.iter().zip(answers) {
            let linked = synced.clone().and_then(|()| {
                self.link(create.tenant.as_str(), create.name.as_str(), create.uuid)
                    .map_err(Arc::new)
            });
            // A caller that went away leaves a reserved name, as after a crash.
            let _ = answer.send(linked);
        }
    }

    /// Makes a buffer's directory and its description, not durably yet.
    fn write_description(&self, create: &CreateBuffer) -> io::Result<PathBuf> {
        let directory = self.directory.layout.buffer(create.uuid);
        fs::create_dir_all(&directory)?;
        let path = directory.join("buffer.json");
        let description = serde_json::json!({
            "format": 1,
            "buffer": create.uuid.to_string(),
            "log": create.log.to_string(),
            "history": create.history.to_string(),
            "tenant": create.tenant.as_str(),
            "name": create.name.as_str(),
            "idem_key": create.idem_key.to_string(),
        });
        fs::write(&path, format!("{description:#}\n"))?;
        Ok(path)
    }

    /// A crash before the last sync leaves reserved names, which the next start frees again;
    /// nothing was acknowledged in them.
    fn sync_descriptions(&self, made: &[(CreateBuffer, PathBuf)]) -> io::Result<()> {
        let layout = &self.directory.layout;
        if made.len() >= BULK_BUFFERS
            && let Some(root) = self.files.root()
        {
            return sync::sync_file_system(root, SyncPoint::BulkCreation);
        }
        let mut fans = BTreeSet::new();
        for (create, path) in made {
            sync::sync_all(&fs::File::open(path)?, SyncPoint::BufferFile)?;
            sync::sync_dir(&layout.buffer(create.uuid), SyncPoint::BufferEntry)?;
            fans.insert(layout.fan(create.uuid));
        }
        for fan in &fans {
            sync::sync_dir(fan, SyncPoint::BufferFan)?;
        }
        if fans.is_empty() {
            return Ok(());
        }
        sync::sync_dir(&layout.buffers(), SyncPoint::BuffersEntry)
    }

    /// The link is for people and grep: nothing depends on it.
    fn link(&self, tenant: &str, name: &str, uuid: Uuid) -> io::Result<()> {
        let (link, target) = self.directory.layout.name_link(tenant, name, uuid);
        fs::create_dir_all(
            link.parent()
                .expect("a link stands in its tenant's directory"),
        )?;
        match symlink(target, &link) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => Err(error),
            _ => Ok(()),
        }
    }
}
