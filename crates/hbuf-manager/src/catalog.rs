//! What the manager knows, and how to look it up. Changes are in `apply.rs`.
//!
//! Invariants, checked by [`Catalog::broken_invariant`]: names are unique per tenant, ignoring
//! case; a buffer's list of topics and a topic's list of buffers agree; every buffer has an
//! assignment that keeps the rules of the core; versions and epochs only grow.

use alloc::boxed::Box;
use alloc::collections::{BTreeMap, BTreeSet};
use core::ops::Bound;

use hbuf_core::ids::{Hash, Micros, NodeId, Uuid};
use hbuf_core::input::BufferState;
use hbuf_core::name::Name;
use hbuf_core::replication::Assignment;
use hbuf_core::rules::Rules;
use hbuf_core::stream::stream_path;
use hbuf_core::topic::SlotTable;

use crate::assigned::Assigned;
use crate::config::{BufferConfig, TenantConfig};
use crate::dedupe::Clients;
use crate::mirror::MirrorConfig;
use crate::name::{folded, with_folded};
use crate::node::Node;

mod consumer_lists;
mod invariants;

pub use consumer_lists::Consumer;
pub(crate) use consumer_lists::Consumers;

/// The number of a tenant within its cluster: the index of the command that made it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TenantId(pub u64);

/// The number of a region within its cluster, counted upwards and never given twice. `global` has
/// none.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RegionId(pub u32);

/// A region that is not `global`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct RegionRow {
    /// Its name.
    pub name: Name,
    /// The id of its group of the manager.
    pub group: Uuid,
    /// When it was made.
    pub created: Micros,
}

/// The number of a topic within its cluster, counted upwards and never given twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TopicId(pub u64);

/// An owner of names.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Tenant {
    /// Its name.
    pub name: Name,
    /// Grows with every change of its configuration.
    pub version: u64,
    /// Its configuration.
    pub config: TenantConfig,
    /// When it was made.
    pub created: Micros,
    /// Lower-case name to buffer.
    pub(crate) buffers: BTreeMap<Box<str>, Uuid>,
    /// Lower-case name to topic.
    pub(crate) topics: BTreeMap<Box<str>, TopicId>,
}

/// How far a buffer's creation or deletion has come.
///
/// ```text
///  create ──▶ Reserved ──confirm──▶ Live ──delete──▶ Deleting ──drop──▶ (gone, name free)
///                 └──────────────drop (given up)───────────────────────▶
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Lifecycle {
    /// Name and uuid are taken; its copies may not exist yet.
    Reserved,
    /// It can be used.
    Live,
    /// Its copies may be gone already.
    Deleting,
}

/// A buffer, as the manager knows it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Buffer {
    /// Its registration.
    pub uuid: Uuid,
    /// Its tenant.
    pub tenant: TenantId,
    /// Its name.
    pub name: Name,
    /// Whose group assigns it; `None` for `global`, which is this catalog.
    pub region: Option<RegionId>,
    /// The index at which its name and uuid were reserved; 0 when that was not noted yet.
    pub reserved: u64,
    /// The id of its log, part of every leaf.
    pub log: Uuid,
    /// The key of the hash under which idempotency keys are kept.
    pub idem_key: Hash,
    /// Its configuration.
    pub config: BufferConfig,
    /// How far its creation or deletion has come.
    pub lifecycle: Lifecycle,
    /// Whether it takes messages.
    pub state: BufferState,
    /// Grows with every change of this record, which failovers and moves do not touch: what is
    /// configured has a version of its own, beside that of the assignment.
    pub version: u64,
    /// When it was made.
    pub created: Micros,
    /// What it follows, when it is a mirror.
    pub mirror: Option<Box<MirrorConfig>>,
    /// The topics that it is in, in order of their numbers.
    pub(crate) topics: Box<[TopicId]>,
}

impl Buffer {
    /// Whether a path of a stream leads to it. Whether it is one stands in its own log; the catalog
    /// goes by the name, so that it need not know and nothing else is in the way of a stream that
    /// is made later.
    #[must_use]
    pub fn may_be_stream(&self) -> bool {
        names_stream(&self.name)
    }
}

/// Whether a path of a stream leads to a buffer of this name.
pub(crate) fn names_stream(name: &Name) -> bool {
    stream_path::path_of(name.as_str()).is_some()
}

/// A named group of buffers of one tenant.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Topic {
    /// Its number.
    pub id: TopicId,
    /// Its tenant.
    pub tenant: TenantId,
    /// Its name.
    pub name: Name,
    /// Grows with every change of its list of buffers.
    pub version: u64,
    /// Its buffers, in the order in which they were given. Never empty.
    pub buffers: Box<[Uuid]>,
    /// Which of them takes which keys; it changes with the version only.
    pub slots: SlotTable,
    /// When it was made.
    pub created: Micros,
}

/// The state of the manager.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Catalog {
    pub(crate) applied: u64,
    pub(crate) cluster: Option<Uuid>,
    pub(crate) cluster_version: u32,
    pub(crate) last_topic: u64,
    /// The regions besides `global`.
    pub(crate) regions: BTreeMap<RegionId, RegionRow>,
    pub(crate) last_region: u32,
    /// The nodes, and the assignments of the buffers of `global`.
    pub(crate) assigned: Assigned,
    pub(crate) tenants: BTreeMap<TenantId, Tenant>,
    pub(crate) tenant_names: BTreeMap<Box<str>, TenantId>,
    pub(crate) buffers: BTreeMap<Uuid, Buffer>,
    pub(crate) topics: BTreeMap<TopicId, Topic>,
    pub(crate) clients: Clients,
    /// The buffers that are mirrors.
    pub(crate) mirrors: BTreeSet<Uuid>,
    pub(crate) consumers: Consumers,
}

impl Lifecycle {
    /// The word in snapshots and descriptions.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Reserved => "reserved",
            Self::Live => "live",
            Self::Deleting => "deleting",
        }
    }

    /// Reads the word.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        [Self::Reserved, Self::Live, Self::Deleting]
            .into_iter()
            .find(|it| it.as_str() == text)
    }
}

impl Catalog {
    /// A catalog to which no command was applied.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// The same, obeying these rules of assignment instead of the product's: for a simulator, which
    /// bends them to see what breaks. They are no part of a snapshot.
    #[must_use]
    pub const fn obeying(mut self, rules: Rules) -> Self {
        self.assigned.rules = rules;
        self
    }

    /// The index of the last command applied; 0 before the first.
    #[must_use]
    pub const fn applied(&self) -> u64 {
        self.applied
    }

    /// The cluster's id; `None` before it is founded.
    #[must_use]
    pub const fn cluster(&self) -> Option<Uuid> {
        self.cluster
    }

    /// The version that gates which commands may be applied; 0 before the cluster is founded.
    #[must_use]
    pub const fn cluster_version(&self) -> u32 {
        self.cluster_version
    }

    /// The number of a client's last command; its next one must be higher.
    #[must_use]
    pub fn last_number(&self, client: Uuid) -> u64 {
        self.clients.last_number(client)
    }

    /// A tenant by its exact name.
    #[must_use]
    pub fn tenant(&self, name: &str) -> Option<&Tenant> {
        self.tenant_entry(name).map(|(_, tenant)| tenant)
    }

    /// A tenant by its number.
    #[must_use]
    pub fn tenant_by_id(&self, id: TenantId) -> Option<&Tenant> {
        self.tenants.get(&id)
    }

    /// All tenants behind the name `after`, in the order of their lower-case names.
    pub fn tenants(&self, after: &str) -> impl Iterator<Item = &Tenant> + use<'_> {
        behind(&self.tenant_names, &folded(after)).filter_map(|(_, id)| self.tenants.get(id))
    }

    /// A node by its exact name.
    #[must_use]
    pub fn node(&self, name: &str) -> Option<(NodeId, &Node)> {
        self.nodes().find(|(_, node)| &*node.name == name)
    }

    /// A node by its number.
    #[must_use]
    pub fn node_by_id(&self, id: NodeId) -> Option<&Node> {
        self.assigned.node(id)
    }

    /// All nodes, in the order of their numbers.
    pub fn nodes(&self) -> impl Iterator<Item = (NodeId, &Node)> {
        self.assigned.nodes()
    }

    /// The regions besides `global`, in the order of their numbers.
    pub fn regions(&self) -> impl Iterator<Item = (RegionId, &RegionRow)> {
        self.regions.iter().map(|(id, region)| (*id, region))
    }

    /// A region by its exact name.
    #[must_use]
    pub fn region(&self, name: &str) -> Option<(RegionId, &RegionRow)> {
        self.regions().find(|(_, region)| &*region.name == name)
    }

    /// Who holds and leads a buffer; `None` when another region's group knows that.
    #[must_use]
    pub fn assignment(&self, buffer: Uuid) -> Option<&Assignment> {
        self.assigned.get(buffer)
    }

    /// The nodes, and the assignments of all buffers.
    #[must_use]
    pub const fn assigned(&self) -> &Assigned {
        &self.assigned
    }

    /// A buffer by its registration.
    #[must_use]
    pub fn buffer(&self, uuid: Uuid) -> Option<&Buffer> {
        self.buffers.get(&uuid)
    }

    /// A buffer by its exact name, whatever its lifecycle.
    #[must_use]
    pub fn resolve_buffer(&self, tenant: &str, name: &str) -> Option<&Buffer> {
        self.resolve_buffer_ignoring_case(tenant, name)
            .filter(|buffer| &*buffer.name == name)
    }

    /// The buffer that stands in the way of one with this name.
    #[must_use]
    pub fn resolve_buffer_ignoring_case(&self, tenant: &str, name: &str) -> Option<&Buffer> {
        let tenant = self.tenant(tenant)?;
        let uuid = with_folded(name, |folded| tenant.buffers.get(folded).copied())?;
        self.buffers.get(&uuid)
    }

    /// A topic by its exact name.
    #[must_use]
    pub fn resolve_topic(&self, tenant: &str, name: &str) -> Option<&Topic> {
        self.resolve_topic_ignoring_case(tenant, name)
            .filter(|topic| &*topic.name == name)
    }

    /// The topic that stands in the way of one with this name.
    #[must_use]
    pub fn resolve_topic_ignoring_case(&self, tenant: &str, name: &str) -> Option<&Topic> {
        let tenant = self.tenant(tenant)?;
        let id = with_folded(name, |folded| tenant.topics.get(folded).copied())?;
        self.topics.get(&id)
    }

    /// A topic by its number.
    #[must_use]
    pub fn topic(&self, id: TopicId) -> Option<&Topic> {
        self.topics.get(&id)
    }

    /// The buffers of a tenant behind the name `after`, in the order of their lower-case names.
    pub fn buffers_of_tenant<'c>(
        &'c self,
        tenant: &str,
        after: &str,
    ) -> impl Iterator<Item = &'c Buffer> + use<'c> {
        let after = folded(after);
        self.tenant(tenant)
            .into_iter()
            .flat_map(move |tenant| behind(&tenant.buffers, &after))
            .filter_map(|(_, uuid)| self.buffers.get(uuid))
    }

    /// The topics of a tenant behind the name `after`, in the order of their lower-case names.
    pub fn topics_of_tenant<'c>(
        &'c self,
        tenant: &str,
        after: &str,
    ) -> impl Iterator<Item = &'c Topic> + use<'c> {
        let after = folded(after);
        self.tenant(tenant)
            .into_iter()
            .flat_map(move |tenant| behind(&tenant.topics, &after))
            .filter_map(|(_, id)| self.topics.get(id))
    }

    /// All buffers, in the order of their uuids.
    pub fn buffers(&self) -> impl Iterator<Item = &Buffer> {
        self.buffers.values()
    }

    /// The buffers that are mirrors, in the order of their uuids.
    pub fn mirrors(&self) -> impl Iterator<Item = &Buffer> {
        self.mirrors
            .iter()
            .filter_map(|uuid| self.buffers.get(uuid))
    }

    /// How many buffers there are, reserved and half-deleted ones included.
    #[must_use]
    pub fn buffer_count(&self) -> usize {
        self.buffers.len()
    }

    /// How many topics there are.
    #[must_use]
    pub fn topic_count(&self) -> usize {
        self.topics.len()
    }

    /// The topics that a buffer is in.
    pub fn topics_of_buffer(&self, uuid: Uuid) -> impl Iterator<Item = &Topic> {
        self.buffers
            .get(&uuid)
            .into_iter()
            .flat_map(|buffer| buffer.topics.iter())
            .filter_map(|id| self.topics.get(id))
    }

    /// The buffers of a topic, in its own order.
    pub fn buffers_of_topic(&self, topic: &Topic) -> impl Iterator<Item = &Buffer> {
        topic
            .buffers
            .iter()
            .filter_map(|uuid| self.buffers.get(uuid))
    }

    pub(crate) fn tenant_entry(&self, name: &str) -> Option<(TenantId, &Tenant)> {
        let id = with_folded(name, |folded| self.tenant_names.get(folded).copied())?;
        let tenant = self.tenants.get(&id)?;
        (&*tenant.name == name).then_some((id, tenant))
    }
}

/// The part of a map behind a key.
fn behind<'m, T>(
    map: &'m BTreeMap<Box<str>, T>,
    key: &str,
) -> impl Iterator<Item = (&'m Box<str>, &'m T)> + use<'m, T> {
    map.range::<str, _>((Bound::Excluded(key), Bound::Unbounded))
}
