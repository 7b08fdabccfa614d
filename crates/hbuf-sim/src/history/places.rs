//! What is known of each message of a buffer, by whoever said it: one message a place, for ever.

use std::collections::BTreeMap;
use std::fmt;
use std::ops::RangeInclusive;

use hbuf_core::ids::{Epoch, Hash};

use super::lineage::Place;
use super::logged::{AppendOp, FinalLog, ReadOp};
use super::operation::OpId;

/// What somebody said of a message.
#[derive(Clone, Copy, Debug)]
pub(super) struct Facts {
    pub(super) content: Option<Hash>,
    pub(super) id: Option<Hash>,
    pub(super) epoch: Option<Epoch>,
    /// False of records of the server's own.
    pub(super) is_message: bool,
}

/// Who said it.
#[derive(Clone, Copy, Debug)]
pub(super) enum Source<'a> {
    Log(&'a FinalLog),
    Ack(&'a AppendOp),
    Read(&'a ReadOp),
}

impl Source<'_> {
    /// The operation, where it is one.
    pub(super) const fn operation(&self) -> Option<OpId> {
        match self {
            Self::Log(_) => None,
            Self::Ack(append) => Some(append.id),
            Self::Read(read) => Some(read.id),
        }
    }
}

impl fmt::Display for Source<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Log(log) => write!(f, "copy {}", log.copy),
            Self::Ack(append) => append.fmt(f),
            Self::Read(read) => read.fmt(f),
        }
    }
}

/// What is known of one message.
#[derive(Clone, Copy, Debug)]
pub(super) struct Held<'a> {
    pub(super) facts: Facts,
    /// Who said it first.
    pub(super) by: Source<'a>,
    /// The append, by the number of its group, whose acknowledgement named this place.
    pub(super) group: Option<usize>,
}

/// Two that say different things of one place.
#[derive(Clone, Copy, Debug)]
pub(super) struct Conflict<'a> {
    /// What differs.
    pub(super) what: &'static str,
    /// Who said what was known before.
    pub(super) by: Source<'a>,
    /// See [`Held::group`].
    pub(super) group: Option<usize>,
}

/// What is known of all messages of a buffer.
#[derive(Clone, Debug, Default)]
pub(super) struct Places<'a> {
    held: BTreeMap<Place, Held<'a>>,
}

impl<'a> Places<'a> {
    /// Adds what somebody says of a place, unless it contradicts what is known.
    pub(super) fn add(
        &mut self,
        place: Place,
        facts: Facts,
        by: Source<'a>,
        group: Option<usize>,
    ) -> Result<(), Conflict<'a>> {
        let new = Held { facts, by, group };
        let held = self.held.entry(place).or_insert(new);
        let others = held
            .group
            .zip(group)
            .is_some_and(|(one, other)| one != other);
        let difference = facts.difference(&held.facts);
        if let Some(what) = difference.or_else(|| others.then_some("another append")) {
            let (by, group) = (held.by, held.group);
            return Err(Conflict { what, by, group });
        }
        held.group = held.group.or(group);
        held.facts.content = held.facts.content.or(facts.content);
        held.facts.id = held.facts.id.or(facts.id);
        held.facts.epoch = held.facts.epoch.or(facts.epoch);
        Ok(())
    }

    /// What is known of these places, in their order.
    pub(super) fn range(
        &self,
        places: RangeInclusive<Place>,
    ) -> impl Iterator<Item = (Place, &Held<'a>)> {
        self.held.range(places).map(|(place, held)| (*place, held))
    }
}

impl Facts {
    /// What contradicts the other.
    fn difference(&self, other: &Self) -> Option<&'static str> {
        let differ = |one: Option<Hash>, other: Option<Hash>| {
            one.zip(other).is_some_and(|(one, other)| one != other)
        };
        let epochs = self.epoch.zip(other.epoch);
        if self.is_message != other.is_message {
            return Some("a record of the server");
        }
        if differ(self.content, other.content) {
            return Some("another content");
        }
        if differ(self.id, other.id) {
            return Some("another id");
        }
        epochs
            .is_some_and(|(one, other)| one != other)
            .then_some("another epoch")
    }
}
