//! The one way to change the catalog.
//!
//! [`State::apply`](crate::State::apply) is a pure function of catalog, index and command: every
//! node that applies the same log comes to the same catalog. A command either changes everything
//! that it names or is refused and changes nothing; which of the two is as much part of the
//! replicated state as the change itself.

use alloc::vec::Vec;

use hbuf_core::ids::{Epoch, Micros, NodeId, Uuid};
use hbuf_core::name::Name;

use crate::assigned::DiskFound;
use crate::catalog::{Catalog, RegionId, Tenant, TenantId, TopicId};
use crate::command::Action;
use crate::config::TenantConfig;
use crate::name::{folded, with_folded};
use crate::node::Node;

mod buffers;
mod consumers;
mod nodes;
mod refused;
mod regions;
mod topics;

pub use refused::Refused;

/// A command was applied.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Applied {
    /// The index at which it was; an earlier one when the command was a repetition.
    pub index: u64,
    /// What came of it.
    pub outcome: Outcome,
}

/// What came of a command.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Outcome {
    /// Nothing to tell.
    Done,
    /// The node is registered.
    Node {
        /// Its number.
        id: NodeId,
        /// Its epoch until its next start.
        epoch: u64,
        /// Whether its disk is the one that was known.
        disk: DiskFound,
    },
    /// The tenant is as asked.
    Tenant {
        /// Its version.
        version: u64,
    },
    /// The buffer is as asked.
    Buffer {
        /// Its registration.
        uuid: Uuid,
        /// Its version.
        version: u64,
        /// The number of its primary's appointment.
        epoch: Epoch,
    },
    /// The region is as asked.
    Region {
        /// Its number.
        id: RegionId,
    },
    /// A buffer's assignment is as asked.
    Assignment {
        /// The buffer.
        uuid: Uuid,
        /// The assignment's version.
        version: u64,
        /// The number of its primary's appointment.
        epoch: Epoch,
    },
    /// The topic is as asked.
    Topic {
        /// Its number.
        id: TopicId,
        /// Its version.
        version: u64,
    },
    /// The consumer is as asked.
    Consumer {
        /// The name of its records.
        uuid: Uuid,
        /// Its version.
        version: u64,
    },
    /// These buffers are to be removed from disk and then dropped.
    Deleting {
        /// Their registrations.
        buffers: Vec<Uuid>,
    },
}

impl Catalog {
    /// Does what a command says.
    pub(crate) fn obey(
        &mut self,
        index: u64,
        time: Micros,
        action: &Action,
    ) -> Result<Outcome, Refused> {
        self.check_gate(action)?;
        match action {
            Action::FoundCluster { cluster, version } => {
                self.found_cluster(index, time, *cluster, *version)
            }
            Action::SetClusterVersion { version } => self.set_cluster_version(*version),
            Action::RegisterNode(node) => self.register_node(index, node),
            Action::Assign(command) => self.assign(command),
            Action::CreateRegion { region, group } => self.create_region(time, region, *group),
            Action::DeleteRegion { region } => self.delete_region(region),
            Action::CreateTenant { tenant, config } => {
                self.create_tenant(index, time, tenant, *config)
            }
            Action::ConfigureTenant {
                tenant,
                expected,
                config,
            } => self.configure_tenant(tenant, *expected, *config),
            Action::CreateBuffer(create) => self.create_buffer(index, time, create),
            Action::ConfirmBuffer { uuid, reserved } => self.confirm_buffer(*uuid, *reserved),
            Action::ConfigureBuffer {
                uuid,
                expected,
                config,
                mirror,
            } => self.configure_buffer(*uuid, *expected, *config, mirror),
            Action::SetBufferState {
                uuid,
                expected,
                state,
            } => self.set_buffer_state(*uuid, *expected, *state),
            Action::DeleteBuffer { uuid, force } => self.delete_buffer(*uuid, *force),
            Action::DropBuffer { uuid } => self.drop_buffer(*uuid),
            Action::CreateTopic {
                tenant,
                topic,
                buffers,
            } => self.create_topic(time, tenant, topic, buffers),
            Action::ConfigureTopic {
                tenant,
                topic,
                expected,
                buffers,
            } => self.configure_topic(tenant, topic, *expected, buffers),
            Action::DeleteTopic {
                tenant,
                topic,
                buffers,
            } => self.delete_topic(tenant, topic, *buffers),
            Action::CreateConsumer(create) => self.create_consumer(time, create),
            Action::ConfigureConsumer {
                uuid,
                expected,
                config,
            } => self.configure_consumer(*uuid, *expected, config),
            Action::DeleteConsumer { uuid, expected } => self.delete_consumer(*uuid, *expected),
        }
    }

    /// Nothing happens before the cluster is founded, and no command before its cluster version.
    fn check_gate(&self, action: &Action) -> Result<(), Refused> {
        if matches!(action, Action::FoundCluster { .. }) {
            return Ok(());
        }
        if self.cluster.is_none() {
            return Err(Refused::NotFounded);
        }
        let needed = action.since_cluster_version();
        if needed > self.cluster_version {
            return Err(Refused::ClusterVersion {
                needed,
                current: self.cluster_version,
            });
        }
        Ok(())
    }

    fn found_cluster(
        &mut self,
        index: u64,
        time: Micros,
        cluster: Uuid,
        version: u32,
    ) -> Result<Outcome, Refused> {
        match self.cluster {
            Some(founded) if founded == cluster => return Ok(Outcome::Done),
            Some(founded) => return Err(Refused::AlreadyFounded { cluster: founded }),
            None => {}
        }
        self.cluster = Some(cluster);
        self.cluster_version = version;
        self.insert_tenant(
            index,
            time,
            &Name::default_tenant(),
            TenantConfig::default(),
        );
        Ok(Outcome::Done)
    }

    fn set_cluster_version(&mut self, version: u32) -> Result<Outcome, Refused> {
        if version == self.cluster_version {
            return Ok(Outcome::Done);
        }
        if version != self.cluster_version + 1 {
            return Err(Refused::ClusterVersionStep {
                version,
                current: self.cluster_version,
            });
        }
        // Also nodes that are down must know the version: they will come back.
        let too_old = |(_, node): &(NodeId, &Node)| !node.versions.contains(version);
        if let Some((_, node)) = self.nodes().find(too_old) {
            return Err(Refused::NodeTooOld {
                node: node.name.clone(),
                version,
            });
        }
        self.cluster_version = version;
        Ok(Outcome::Done)
    }

    fn create_tenant(
        &mut self,
        index: u64,
        time: Micros,
        name: &Name,
        config: TenantConfig,
    ) -> Result<Outcome, Refused> {
        config.check()?;
        if let Some(existing) = self.tenant_ignoring_case(name) {
            return Err(Refused::TenantExists {
                existing: existing.name.clone(),
            });
        }
        self.insert_tenant(index, time, name, config);
        Ok(Outcome::Tenant { version: 1 })
    }

    fn insert_tenant(&mut self, index: u64, created: Micros, name: &Name, config: TenantConfig) {
        let id = TenantId(index);
        let (buffers, topics) = Default::default();
        let tenant = Tenant {
            name: name.clone(),
            version: 1,
            config,
            created,
            buffers,
            topics,
        };
        self.tenants.insert(id, tenant);
        self.tenant_names.insert(folded(name), id);
    }

    fn configure_tenant(
        &mut self,
        name: &Name,
        expected: Option<u64>,
        config: TenantConfig,
    ) -> Result<Outcome, Refused> {
        config.check()?;
        let id = self.tenant_id(name)?;
        let tenant = self
            .tenants
            .get_mut(&id)
            .expect("a tenant's name leads to it");
        check_version(expected, tenant.version)?;
        if tenant.config != config {
            tenant.config = config;
            tenant.version += 1;
        }
        Ok(Outcome::Tenant {
            version: tenant.version,
        })
    }

    fn tenant_id(&self, name: &Name) -> Result<TenantId, Refused> {
        let entry = self.tenant_entry(name).map(|(id, _)| id);
        entry.ok_or_else(|| Refused::NoSuchTenant {
            tenant: name.clone(),
        })
    }

    fn tenant_ignoring_case(&self, name: &Name) -> Option<&Tenant> {
        let id = with_folded(name, |folded| self.tenant_names.get(folded).copied())?;
        self.tenants.get(&id)
    }
}

/// Refuses a change that was meant for another version.
pub(crate) fn check_version(expected: Option<u64>, current: u64) -> Result<(), Refused> {
    match expected {
        Some(expected) if expected != current => Err(Refused::Version { expected, current }),
        _ => Ok(()),
    }
}
