//! Buffers as operators see them: create, configure, describe, list, delete, change state.
//!
//! Each step is a command of the manager first, then work on disk, then a command that says that it
//! is done; whatever a crash leaves half-done, the next start finishes.

use std::io;
use std::sync::Arc;

use hbuf_core::buffer::Demands;
use hbuf_core::ids::{Hash, Seq, Uuid};
use hbuf_core::input::{BufferState, Input};
use hbuf_core::name::Name;
use hbuf_manager::{
    self as manager, Action, CreateBuffer, Lifecycle, MirrorChange, MirrorConfig, Refused,
};
use tokio::sync::oneshot;

use super::buffer::Buffer;
use super::described::{
    BufferInfo, BufferSettings, CatalogError, MirrorSettings, Page, core_config, info, page,
};
use super::host::Mail;
use super::open::LookupError;
use super::{Engine, Inner};
use crate::clock;
use crate::manager::ProposeError;

/// So often a change of a configuration gives way to another's.
const CHANGES_MAX: usize = 16;

impl Engine {
    /// Makes a buffer, or configures the one that exists. True when it was made.
    pub async fn create_buffer(
        &self,
        tenant: &Name,
        name: &Name,
        settings: &BufferSettings,
        mirror: MirrorChange,
    ) -> Result<(BufferInfo, bool), CatalogError> {
        if let Some(wanted) = settings.replicas.filter(|replicas| *replicas > 0) {
            return Err(CatalogError::NotEnoughNodes { wanted });
        }
        if let Ok(info) = self.describe_buffer(tenant, name.as_str()) {
            return Ok((self.configure(tenant, info, settings, mirror).await?, false));
        }
        let follows = match &mirror {
            MirrorChange::Follow(mirror) => Some(mirror.clone()),
            MirrorChange::Keep | MirrorChange::End => None,
        };
        let made = self.make(tenant, name, settings, (Vec::new(), follows));
        let (_, ours) = made.await?;
        let info = self.describe_buffer(tenant, name.as_str())?;
        match ours {
            true => Ok((info, true)),
            false => Ok((self.configure(tenant, info, settings, mirror).await?, false)),
        }
    }

    async fn configure(
        &self,
        tenant: &Name,
        mut info: BufferInfo,
        settings: &BufferSettings,
        mirror: MirrorChange,
    ) -> Result<BufferInfo, CatalogError> {
        for _ in 0..CHANGES_MAX {
            let config = settings.over(info.config);
            if config == info.config && mirror == MirrorChange::Keep {
                return Ok(info);
            }
            let action = Action::ConfigureBuffer {
                uuid: info.uuid,
                expected: Some(info.version),
                config,
                mirror: mirror.clone(),
            };
            let done = self.inner.manager.propose(action).await;
            info = self.describe_buffer(tenant, info.name.as_str())?;
            match done {
                // Another's change came between: this one goes on top of it.
                Err(ProposeError::Refused(Refused::Version { .. })) => {}
                Err(error) => return Err(error.into()),
                Ok(_) => {
                    self.tell_configuration(&info);
                    return Ok(info);
                }
            }
        }
        let name = info.name.to_string();
        Err(LookupError::Changing { name }.into())
    }

    fn tell_configuration(&self, info: &BufferInfo) {
        if let Some(buffer) = self.inner.open.get(info.uuid) {
            let config = core_config(&info.config, info.mirror.as_ref());
            buffer.set_segment_bytes(config.segment_bytes);
            let input = Input::Configure {
                buffer: info.uuid,
                config,
            };
            self.inner.shards.input(&buffer, input);
        }
    }

    /// What a buffer shall follow, as the manager keeps it: the origin must exist.
    pub async fn mirror_config(
        &self,
        tenant: &Name,
        wanted: &MirrorSettings,
    ) -> Result<MirrorConfig, CatalogError> {
        let named = |error| match error {
            LookupError::NoBuffer { .. } => CatalogError::NoOrigin {
                name: wanted.of.clone(),
            },
            other => other.into(),
        };
        let origin = self.describe_buffer(tenant, &wanted.of).map_err(named)?;
        let after = match wanted.from_start {
            true => Seq::ZERO,
            false => {
                let origin = self.open(origin.uuid).await.map_err(named)?;
                origin.readable().commit()
            }
        };
        Ok(MirrorConfig {
            of: origin.uuid,
            name: origin.name,
            after,
            tags: wanted.tags.clone(),
        })
    }

    /// Makes a buffer in topics, or finds the one that exists.
    pub(super) async fn create(
        &self,
        tenant: &Name,
        name: &Name,
        settings: &BufferSettings,
        topics: Vec<Name>,
    ) -> Result<Uuid, CatalogError> {
        let (uuid, _) = self.make(tenant, name, settings, (topics, None)).await?;
        Ok(uuid)
    }

    /// Reserves the name, makes the files, confirms. Another's creation of the same name wins:
    /// false then.
    async fn make(
        &self,
        tenant: &Name,
        name: &Name,
        settings: &BufferSettings,
        (topics, mirror): (Vec<Name>, Option<Box<MirrorConfig>>),
    ) -> Result<(Uuid, bool), CatalogError> {
        self.ensure_tenant(tenant).await?;
        let defaults = self.inner.manager.view(|catalog| {
            catalog
                .tenant(tenant.as_str())
                .map(|tenant| tenant.config.buffer)
        });
        let create = CreateBuffer {
            tenant: tenant.clone(),
            name: name.clone(),
            uuid: clock::uuid(),
            log: clock::uuid(),
            history: clock::uuid(),
            idem_key: Hash(clock::random_32()),
            config: settings.over(defaults.unwrap_or_default()),
            region: None,
            copies: vec![self.node_name()],
            topics,
            mirror,
        };
        let uuid = create.uuid;
        let files = create.clone();
        match self
            .inner
            .manager
            .propose(Action::CreateBuffer(Box::new(create)))
            .await
        {
            Ok(_) => {}
            Err(ProposeError::Refused(Refused::BufferExists { existing, uuid, .. }))
                if existing == *name =>
            {
                return Ok((self.wait_until_live(uuid, name).await?, false));
            }
            Err(error) => return Err(error.into()),
        }
        self.inner.make_files(files).await?;
        self.inner
            .manager
            .propose(Action::ConfirmBuffer {
                uuid,
                reserved: None,
            })
            .await?;
        Ok((uuid, true))
    }

    /// The first creation under a tenant's name makes the tenant.
    async fn ensure_tenant(&self, tenant: &Name) -> Result<(), CatalogError> {
        let exists = |catalog: &manager::Catalog| catalog.tenant(tenant.as_str()).is_some();
        if self.inner.manager.view(exists) {
            return Ok(());
        }
        let action = Action::CreateTenant {
            tenant: tenant.clone(),
            config: manager::TenantConfig::default(),
        };
        match self.inner.manager.propose(action).await {
            Ok(_) => Ok(()),
            // Another request made it since the look.
            Err(ProposeError::Refused(Refused::TenantExists { existing }))
                if existing == *tenant =>
            {
                Ok(())
            }
            Err(error) => Err(error.into()),
        }
    }

    /// Somebody else is making it: wait for that, but not for ever.
    async fn wait_until_live(&self, uuid: Uuid, name: &Name) -> Result<Uuid, CatalogError> {
        let mut applied = self.inner.manager.watch();
        let lifecycle = || {
            self.inner
                .manager
                .view(|catalog| Some(catalog.buffer(uuid)?.lifecycle))
        };
        let wait = async {
            while lifecycle() == Some(Lifecycle::Reserved) && applied.changed().await.is_ok() {}
        };
        let _ = tokio::time::timeout(std::time::Duration::from_secs(5), wait).await;
        match lifecycle() {
            Some(Lifecycle::Live) => Ok(uuid),
            _ => Err(LookupError::Changing {
                name: name.to_string(),
            }
            .into()),
        }
    }

    /// A buffer that another request is making, as soon as it is there.
    pub(super) async fn once_made(
        &self,
        uuid: Option<Uuid>,
        name: &str,
    ) -> Result<Arc<Buffer>, LookupError> {
        let changing = || LookupError::Changing { name: name.into() };
        let uuid = uuid.ok_or_else(changing)?;
        let name = Name::parse(name).map_err(|_| changing())?;
        self.wait_until_live(uuid, &name).await?;
        self.open(uuid).await
    }

    /// A buffer for an append, made on first write where the tenant allows it and the append is not
    /// refused by an empty one.
    pub async fn buffer_or_create(
        &self,
        tenant: &Name,
        name: &str,
        demands: Demands<'_>,
    ) -> Result<Arc<Buffer>, LookupError> {
        match self.buffer(tenant, name).await {
            Err(LookupError::NoBuffer { .. }) => {}
            Err(LookupError::Changing { .. }) => {
                let uuid = self
                    .inner
                    .manager
                    .view(|catalog| Some(catalog.resolve_buffer(tenant.as_str(), name)?.uuid));
                return self.once_made(uuid, name).await;
            }
            found => return found,
        }
        let name = self.new_name(tenant, name)?;
        demands.of_an_empty_log()?;
        let uuid = self
            .create(tenant, &name, &BufferSettings::default(), Vec::new())
            .await?;
        self.open(uuid).await
    }

    pub(super) fn new_name(&self, tenant: &Name, name: &str) -> Result<Name, CatalogError> {
        let allowed = self.inner.settings.create_on_write
            && self.inner.manager.view(|catalog| {
                catalog
                    .tenant(tenant.as_str())
                    .is_none_or(|tenant| tenant.config.create_on_append)
            });
        let not_allowed = || CatalogError::NotAllowed { name: name.into() };
        if !allowed {
            return Err(not_allowed());
        }
        Name::parse(name).map_err(|_| not_allowed())
    }

    fn node_name(&self) -> Name {
        Name::parse(&self.inner.node_name).expect("checked at start")
    }

    /// A buffer as the manager knows it.
    pub fn describe_buffer(&self, tenant: &Name, name: &str) -> Result<BufferInfo, LookupError> {
        let info = self.inner.manager.view(|catalog| {
            let buffer = catalog.resolve_buffer(tenant.as_str(), name)?;
            (buffer.lifecycle == Lifecycle::Live).then(|| info(catalog, buffer))
        });
        info.ok_or_else(|| LookupError::NoBuffer { name: name.into() })
    }

    /// The buffers of a tenant behind a name.
    #[must_use]
    pub fn list_buffers(&self, tenant: &Name, after: &str, limit: usize) -> Page<BufferInfo> {
        self.inner.manager.view(|catalog| {
            let live = |buffer: &&manager::Buffer| buffer.lifecycle == Lifecycle::Live;
            let buffers = catalog
                .buffers_of_tenant(tenant.as_str(), after)
                .filter(live);
            page(buffers.map(|buffer| info(catalog, buffer)), limit)
        })
    }

    /// Deletes a buffer with its files.
    pub async fn delete_buffer(
        &self,
        tenant: &Name,
        name: &str,
        force: bool,
    ) -> Result<(), CatalogError> {
        let info = self.describe_buffer(tenant, name)?;
        let action = Action::DeleteBuffer {
            uuid: info.uuid,
            force,
        };
        self.inner.manager.propose(action).await?;
        self.remove(tenant, info.uuid, name).await
    }

    /// The manager let it go: take it out of memory, remove its files, free its name.
    pub(super) async fn remove(
        &self,
        tenant: &Name,
        uuid: Uuid,
        name: &str,
    ) -> Result<(), CatalogError> {
        if let Some(buffer) = self.inner.open.get(uuid) {
            buffer.cut();
            let host = self.inner.shards.host(buffer.shard());
            host.post(Mail::Remove(uuid));
            let keeper = Arc::clone(&self.inner.keeper);
            blocking(move || {
                keeper.wait_idle();
                Ok(())
            })
            .await?;
            buffer.leave();
        }
        let inner = Arc::clone(&self.inner);
        let (tenant, name) = (tenant.to_string(), name.to_owned());
        blocking(move || inner.remove_files(uuid, &tenant, &name)).await?;
        self.inner
            .manager
            .propose(Action::DropBuffer { uuid })
            .await?;
        Ok(())
    }

    /// Changes whether a buffer takes messages; complete when nothing of it is under way.
    pub async fn set_state(
        &self,
        tenant: &Name,
        name: &str,
        state: BufferState,
    ) -> Result<BufferInfo, CatalogError> {
        let info = self.describe_buffer(tenant, name)?;
        let buffer = self.open(info.uuid).await?;
        // The manager first: it knows which changes are allowed, and what a restart comes back to.
        let action = Action::SetBufferState {
            uuid: info.uuid,
            expected: None,
            state,
        };
        self.inner.manager.propose(action).await?;
        let (reply, answer) = oneshot::channel();
        let journal = self.inner.committer.journal_position();
        let host = self.inner.shards.host(buffer.shard());
        host.post(Mail::SetState(info.uuid, state, journal, reply));
        let _ = answer.await;
        let inner = Arc::clone(&self.inner);
        blocking(move || {
            inner.keeper.wait_idle();
            match state {
                BufferState::Paused => inner.settle(&buffer),
                BufferState::Open | BufferState::Closed => Ok(()),
            }
        })
        .await?;
        Ok(self.describe_buffer(tenant, name)?)
    }
}

/// Runs work on a thread that may block.
pub(super) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> io::Result<T> + Send + 'static,
) -> Result<T, CatalogError> {
    match tokio::task::spawn_blocking(work).await {
        Ok(done) => done.map_err(|error| CatalogError::Files(Arc::new(error))),
        Err(error) => std::panic::resume_unwind(error.into_panic()),
    }
}

impl Inner {
    /// A pause is complete when no filter is on its way to its name, its mark is on disk and
    /// nothing waits for the segments: only then the directory stands still, also over a crash.
    /// Without room it is asked for again.
    fn settle(&self, buffer: &Arc<Buffer>) -> io::Result<()> {
        let uuid = buffer.uuid();
        buffer.readable().settle_filters();
        self.behind.write(uuid)?;
        if !self.checkpoints.holds(uuid) {
            return Ok(());
        }
        let journal = self.committer.journal_position();
        let again = Input::FenceAgain {
            buffer: uuid,
            journal,
        };
        self.shards.input(buffer, again);
        self.keeper.wait_idle();
        if self.checkpoints.holds(uuid) {
            return Err(io::ErrorKind::StorageFull.into());
        }
        Ok(())
    }
}
