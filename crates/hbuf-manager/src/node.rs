//! A node: one hbuf process, as a group of the manager knows it.

use alloc::boxed::Box;
use alloc::vec::Vec;
use core::fmt;
use core::str::FromStr;

use hbuf_core::ids::{NodeId, Uuid};
use hbuf_core::limits::NODE_ADDRESS_BYTES_MAX;
use hbuf_core::name::Name;
use hbuf_core::replication::{NodeEpoch, NodeFacts};

use crate::command::VersionRange;
use crate::lines::{FieldError, Fields, Writer};

/// A process that holds copies.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Node {
    /// Its name.
    pub name: Name,
    /// The id of its disk.
    pub disk: Uuid,
    /// The index of its last registration: a new one at every start.
    pub epoch: NodeEpoch,
    /// The id of the process that registered last. The disk holds it too, so that a disk that was
    /// set back to an earlier state is told.
    pub life: Option<Uuid>,
    /// Whether it had stopped in order before that.
    pub clean: bool,
    /// Cluster versions that its binary can apply.
    pub versions: VersionRange,
    /// Its session has not lapsed.
    pub alive: bool,
    /// Its clock is too far off for it to be made primary.
    pub clock_off: bool,
    /// It is about to leave: nothing new is put there.
    pub draining: bool,
    /// Where it stands: what may fail together.
    pub zone: Option<Name>,
    /// What it does.
    pub roles: Roles,
    /// Where peers reach it, as `host:port`.
    pub address: Option<Address>,
}

/// Where a node is reached: one word of visible ASCII characters, at most
/// [`NODE_ADDRESS_BYTES_MAX`] of them.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Address(Box<str>);

/// What a node does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Roles {
    /// It may vote in the groups of its regions.
    pub manager: bool,
    /// It holds buffers.
    pub worker: bool,
    /// It takes requests of clients and forwards them.
    pub gateway: bool,
}

/// What is set on a node. What is `None` stays.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct NodeChange {
    /// Whether it is about to leave.
    pub draining: Option<bool>,
    /// Whether its clock is too far off.
    pub clock_off: Option<bool>,
    /// Where it stands.
    pub zone: Option<Name>,
    /// What it does.
    pub roles: Option<Roles>,
    /// Where peers reach it.
    pub address: Option<Address>,
}

/// A node has started.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct RegisterNode {
    /// The node's name.
    pub node: Name,
    /// The id of its disk.
    pub disk: Uuid,
    /// The id of this process, drawn at its start and on its disk before it registers. Once a disk
    /// has registered with one it does so for ever.
    pub life: Option<Uuid>,
    /// The lives of before that the disk knows: the last one that the manager confirmed and those
    /// that were tried since, at most [`hbuf_core::limits::NODE_LIVES_MAX`] of them.
    pub earlier: Vec<Uuid>,
    /// Whether it had stopped in order before.
    pub clean: bool,
    /// Buffers whose copies it cannot use.
    pub bad: Vec<Uuid>,
    /// Cluster versions that its binary can apply.
    pub versions: VersionRange,
    /// What it is configured to be. Draining stays as it is.
    pub change: NodeChange,
}

impl Default for Roles {
    /// All of them.
    fn default() -> Self {
        Self {
            manager: true,
            worker: true,
            gateway: true,
        }
    }
}

impl Address {
    /// Reads it as it is; `None` when it is not one.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let word = text.bytes().all(|byte| byte.is_ascii_graphic());
        let fits = (1..=NODE_ADDRESS_BYTES_MAX).contains(&text.len());
        (word && fits).then(|| Self(text.into()))
    }

    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Display for Roles {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let all = [
            (self.manager, "manager"),
            (self.worker, "worker"),
            (self.gateway, "gateway"),
        ];
        if all.iter().all(|(has, _)| !has) {
            return f.write_str("none");
        }
        let mut between = "";
        for (_, word) in all.iter().filter(|(has, _)| *has) {
            write!(f, "{between}{word}")?;
            between = "+";
        }
        Ok(())
    }
}

impl FromStr for Roles {
    type Err = ();

    /// Reads one role or several, joined by `+`, or `none`.
    fn from_str(text: &str) -> Result<Self, ()> {
        let mut roles = Self {
            manager: false,
            worker: false,
            gateway: false,
        };
        for word in text.split('+') {
            let role = match word {
                "manager" => &mut roles.manager,
                "worker" => &mut roles.worker,
                "gateway" => &mut roles.gateway,
                "none" if text == "none" => return Ok(roles),
                _ => return Err(()),
            };
            *role = true;
        }
        Ok(roles)
    }
}

impl Node {
    /// What decides where buffers are led.
    #[must_use]
    pub const fn facts(&self) -> NodeFacts {
        NodeFacts {
            node_epoch: self.epoch,
            alive: self.alive,
            draining: self.draining,
            clock_off: self.clock_off,
        }
    }

    /// Makes a change; says whether it was one.
    pub(crate) fn change(&mut self, change: &NodeChange) -> bool {
        let before = self.clone();
        self.draining = change.draining.unwrap_or(self.draining);
        self.clock_off = change.clock_off.unwrap_or(self.clock_off);
        self.zone = change.zone.clone().or_else(|| self.zone.take());
        self.roles = change.roles.unwrap_or(self.roles);
        self.address = change.address.clone().or_else(|| self.address.take());
        *self != before
    }

    pub(crate) fn write(&self, id: NodeId, out: &mut Writer) {
        out.field("id", id.0);
        out.field("name", &self.name);
        out.field("disk", self.disk);
        out.field("epoch", self.epoch.0);
        out.optional("life", self.life);
        out.field("clean", self.clean);
        out.field("versions", self.versions);
        out.field("alive", self.alive);
        out.field("clock-off", self.clock_off);
        out.field("draining", self.draining);
        out.optional("zone", self.zone.as_ref());
        out.field("roles", self.roles);
        out.optional("address", self.address.as_ref());
    }

    /// Reads a row. One of the first format knows neither sessions nor roles: the node was there.
    pub(crate) fn read(fields: &mut Fields<'_>) -> Result<(NodeId, Self), FieldError> {
        let id = NodeId(fields.parse("id")?);
        let node = Self {
            name: fields.name("name")?,
            disk: fields.uuid("disk")?,
            epoch: NodeEpoch(fields.parse("epoch")?),
            life: fields.with_optional("life", Uuid::parse)?,
            clean: fields.parse("clean")?,
            versions: fields.parse("versions")?,
            alive: fields.parse_optional("alive")?.unwrap_or(true),
            clock_off: fields.parse_optional("clock-off")?.unwrap_or(false),
            draining: fields.parse_optional("draining")?.unwrap_or(false),
            zone: fields.with_optional("zone", |value| Name::parse(value).ok())?,
            roles: fields.parse_optional("roles")?.unwrap_or_default(),
            address: fields.with_optional("address", Address::parse)?,
        };
        Ok((id, node))
    }
}

impl NodeChange {
    /// Whether nothing is set.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    pub(crate) fn write(&self, out: &mut Writer) {
        out.optional("draining", self.draining);
        out.optional("clock-off", self.clock_off);
        out.optional("zone", self.zone.as_ref());
        out.optional("roles", self.roles);
        out.optional("address", self.address.as_ref());
    }

    pub(crate) fn read(fields: &mut Fields<'_>) -> Result<Self, FieldError> {
        Ok(Self {
            draining: fields.parse_optional("draining")?,
            clock_off: fields.parse_optional("clock-off")?,
            zone: fields.with_optional("zone", |value| Name::parse(value).ok())?,
            roles: fields.parse_optional("roles")?,
            address: fields.with_optional("address", Address::parse)?,
        })
    }
}

impl RegisterNode {
    /// A start after which every copy can be used, of a node without lives or settings.
    #[must_use]
    pub fn new(node: Name, disk: Uuid, versions: VersionRange) -> Self {
        Self {
            node,
            disk,
            life: None,
            earlier: Vec::new(),
            clean: false,
            bad: Vec::new(),
            versions,
            change: NodeChange::default(),
        }
    }

    /// Whether this is the start of a copy of the disk of a process that lives and has this life:
    /// what comes after it on its own disk comes when it is gone. It then takes another life.
    #[must_use]
    pub fn is_of_a_copy(&self, disk: Uuid, life: Uuid) -> bool {
        self.disk == disk && self.life != Some(life) && self.earlier.contains(&life)
    }

    pub(crate) fn write(&self, out: &mut Writer) {
        out.field("node", &self.node);
        out.field("disk", self.disk);
        out.optional("life", self.life);
        out.list("earlier", &self.earlier);
        out.field("clean", self.clean);
        out.list("bad", &self.bad);
        out.field("versions", self.versions);
        self.change.write(out);
    }

    pub(crate) fn read(fields: &mut Fields<'_>) -> Result<Self, FieldError> {
        Ok(Self {
            node: fields.name("node")?,
            disk: fields.uuid("disk")?,
            life: fields.with_optional("life", Uuid::parse)?,
            earlier: fields.list("earlier", Uuid::parse)?,
            clean: fields.parse("clean")?,
            bad: fields.list("bad", Uuid::parse)?,
            versions: fields.parse("versions")?,
            change: NodeChange::read(fields)?,
        })
    }
}
