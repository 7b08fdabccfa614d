//! Who belongs to a group: voters, learners, the disk behind each id, and changes of that.
//!
//! An id belongs to one disk for ever, and ids only rise: one that was removed is never given
//! again (P11), because a voter that forgot what it voted for could vote twice.

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::format;
use alloc::string::ToString;
use alloc::vec::Vec;
use core::fmt;

use ::raft::eraftpb::{
    ConfChangeSingle, ConfChangeTransition, ConfChangeType, ConfChangeV2, ConfState,
};
use hbuf_core::ids::Uuid;
use hbuf_core::limits::MEMBERS_MAX;

use crate::lines::{FieldError, Fields, Layout, Writer};

/// A voter's or learner's number within its group. Never 0, never given twice.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MemberId(pub u64);

impl fmt::Display for MemberId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// The members of a group as of one index of its log.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Members {
    /// Those whose majority elects and commits.
    pub voters: BTreeSet<MemberId>,
    /// Those that follow the log and have no vote.
    pub learners: BTreeSet<MemberId>,
    /// While two configurations hold at once: the voters of the one that ends.
    pub outgoing: BTreeSet<MemberId>,
    /// Voters of the ending configuration that become learners.
    pub next_learners: BTreeSet<MemberId>,
    /// Whether the leader ends the joint configuration by itself.
    pub auto_leave: bool,
    /// The disk of each member.
    pub disks: BTreeMap<MemberId, Uuid>,
    /// The highest id ever given: one up to it that is no member is retired.
    pub last_id: u64,
}

/// A change of members, as an entry of the log holds it. Without any step it ends a joint
/// configuration.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct MemberChange {
    pub(super) voters: BTreeSet<MemberId>,
    pub(super) learners: BTreeSet<MemberId>,
    pub(super) removed: BTreeSet<MemberId>,
    pub(super) disks: BTreeMap<MemberId, Uuid>,
}

impl Members {
    /// A group of one, or of several that are founded together.
    #[must_use]
    pub fn founding(disks: &BTreeMap<MemberId, Uuid>) -> Self {
        Self {
            voters: disks.keys().copied().collect(),
            disks: disks.clone(),
            last_id: disks.keys().map(|id| id.0).max().unwrap_or(0),
            ..Self::default()
        }
    }

    /// Whether two configurations hold at once.
    #[must_use]
    pub fn is_joint(&self) -> bool {
        !self.outgoing.is_empty()
    }

    /// Whether the id belongs to the group in any role.
    #[must_use]
    pub fn contains(&self, id: MemberId) -> bool {
        [
            &self.voters,
            &self.learners,
            &self.outgoing,
            &self.next_learners,
        ]
        .iter()
        .any(|set| set.contains(&id))
    }

    /// Whether the id was a member's and is no longer.
    #[must_use]
    pub fn is_retired(&self, id: MemberId) -> bool {
        id.0 <= self.last_id && !self.contains(id)
    }

    /// The members as text lines.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Writer::new(Layout::Lines);
        out.list("voters", &self.voters);
        out.list("learners", &self.learners);
        out.list("outgoing", &self.outgoing);
        out.list("next-learners", &self.next_learners);
        if self.auto_leave {
            out.field("auto-leave", true);
        }
        write_disks(&self.disks, &mut out);
        out.field("last-id", self.last_id);
        out.text.into_bytes()
    }

    /// Reads the text lines.
    pub fn decode(text: &[u8]) -> Result<Self, FieldError> {
        let mut fields = Fields::read_lines(text)?;
        let members = Self {
            voters: ids(&mut fields, "voters")?,
            learners: ids(&mut fields, "learners")?,
            outgoing: ids(&mut fields, "outgoing")?,
            next_learners: ids(&mut fields, "next-learners")?,
            auto_leave: fields.parse_optional("auto-leave")?.unwrap_or(false),
            disks: read_disks(&mut fields)?,
            last_id: fields.parse("last-id")?,
        };
        fields.finish()?;
        let broken = |field: &'static str| FieldError::Value {
            field,
            value: format!("{members:?}"),
        };
        // The library would panic on a configuration that no change leads to (P15).
        if members == Self::default() {
            // A member that is about to join knows nobody.
            return Ok(members);
        }
        if members.voters.is_empty()
            || members
                .voters
                .iter()
                .any(|id| members.learners.contains(id))
        {
            return Err(broken("voters"));
        }
        if !members.next_learners.is_subset(&members.outgoing)
            || members
                .learners
                .iter()
                .any(|id| members.outgoing.contains(id))
            || members
                .next_learners
                .iter()
                .any(|id| members.voters.contains(id))
            || (members.auto_leave && !members.is_joint())
        {
            return Err(broken("outgoing"));
        }
        let known = members
            .disks
            .keys()
            .all(|id| members.contains(*id) && id.0 <= members.last_id);
        let all = [&members.voters, &members.learners, &members.outgoing];
        let bound = all
            .iter()
            .all(|set| set.iter().all(|id| members.disks.contains_key(id)));
        if !known || !bound {
            return Err(broken("disks"));
        }
        Ok(members)
    }

    /// As the library has it.
    pub(super) fn conf_state(&self) -> ConfState {
        let list = |set: &BTreeSet<MemberId>| set.iter().map(|id| id.0).collect::<Vec<_>>();
        let mut state = ConfState::default();
        state.set_voters(list(&self.voters));
        state.set_learners(list(&self.learners));
        state.set_voters_outgoing(list(&self.outgoing));
        state.set_learners_next(list(&self.next_learners));
        state.set_auto_leave(self.auto_leave);
        state
    }

    /// What the library says after a change, with the disks that the change brought.
    pub(super) fn after(&self, state: &ConfState, change: &MemberChange) -> Self {
        let set = |ids: &[u64]| ids.iter().map(|id| MemberId(*id)).collect::<BTreeSet<_>>();
        let mut disks = self.disks.clone();
        disks.extend(change.disks.iter().map(|(id, disk)| (*id, *disk)));
        let last_id = disks
            .keys()
            .map(|id| id.0)
            .max()
            .unwrap_or(0)
            .max(self.last_id);
        let mut after = Self {
            voters: set(state.get_voters()),
            learners: set(state.get_learners()),
            outgoing: set(state.get_voters_outgoing()),
            next_learners: set(state.get_learners_next()),
            auto_leave: state.auto_leave,
            disks: BTreeMap::new(),
            last_id,
        };
        disks.retain(|id, _| after.contains(*id));
        after.disks = disks;
        after
    }

    /// Whether the change may be applied here: each new id is new and comes with its disk.
    pub(super) fn takes(&self, change: &MemberChange) -> bool {
        if change.is_leave() {
            return self.is_joint();
        }
        let added = change.voters.iter().chain(&change.learners);
        !self.is_joint()
            && added.clone().all(|id| {
                self.contains(*id) || (id.0 > self.last_id && change.disks.contains_key(id))
            })
            && change.disks.keys().all(|id| !self.contains(*id))
            && change
                .disks
                .values()
                .all(|disk| !self.disks.values().any(|known| known == disk))
    }
}

/// What the entry of a change starts with. No command has this name.
const CHANGE: &[u8] = b"command: change-members\n";

impl MemberChange {
    pub(super) fn is_leave(&self) -> bool {
        self.voters.is_empty() && self.learners.is_empty() && self.removed.is_empty()
    }

    /// The body of the entry's record.
    pub(super) fn encode(&self) -> Vec<u8> {
        let mut out = Writer::new(Layout::Lines);
        out.list("voters", &self.voters);
        out.list("learners", &self.learners);
        out.list("removed", &self.removed);
        write_disks(&self.disks, &mut out);
        let mut bytes = CHANGE.to_vec();
        bytes.extend_from_slice(out.text.as_bytes());
        bytes
    }

    /// Reads the body of an entry's record; `None` when it is no change of members.
    pub(super) fn decode(body: &[u8]) -> Option<Result<Self, FieldError>> {
        body.strip_prefix(CHANGE).map(Self::read)
    }

    fn read(text: &[u8]) -> Result<Self, FieldError> {
        let mut fields = Fields::read_lines(text)?;
        let change = Self {
            voters: ids(&mut fields, "voters")?,
            learners: ids(&mut fields, "learners")?,
            removed: ids(&mut fields, "removed")?,
            disks: read_disks(&mut fields)?,
        };
        fields.finish()?;
        Ok(change)
    }

    /// As the library has it: `ConfChangeV2` alone (P8). A new learner is one step and needs no
    /// joint configuration; anything that touches voters goes through one.
    pub(super) fn conf_change(&self) -> ConfChangeV2 {
        let steps = [
            (&self.voters, ConfChangeType::AddNode),
            (&self.learners, ConfChangeType::AddLearnerNode),
            (&self.removed, ConfChangeType::RemoveNode),
        ];
        let mut changes = Vec::new();
        for (ids, kind) in steps {
            for id in ids {
                let mut step = ConfChangeSingle::default();
                step.set_change_type(kind);
                step.node_id = id.0;
                changes.push(step);
            }
        }
        let mut change = ConfChangeV2::default();
        let only_learners = self.voters.is_empty() && self.removed.is_empty();
        let one_new_learner = only_learners && self.learners.len() == 1 && self.disks.len() == 1;
        if !self.is_leave() && !one_new_learner {
            change.set_transition(ConfChangeTransition::Implicit);
        }
        change.set_changes(changes.into());
        change
    }
}

fn ids(fields: &mut Fields<'_>, name: &'static str) -> Result<BTreeSet<MemberId>, FieldError> {
    let ids = fields.list(name, read_id)?;
    let set: BTreeSet<MemberId> = ids.iter().copied().collect();
    if set.len() != ids.len() || set.len() > MEMBERS_MAX {
        return Err(FieldError::Value {
            field: name,
            value: format!("{} ids", ids.len()),
        });
    }
    Ok(set)
}

fn read_id(text: &str) -> Option<MemberId> {
    text.parse().ok().filter(|id| *id != 0).map(MemberId)
}

fn write_disks(disks: &BTreeMap<MemberId, Uuid>, out: &mut Writer) {
    out.list(
        "disks",
        disks.iter().map(|(id, disk)| format!("{id}={disk}")),
    );
}

fn read_disks(fields: &mut Fields<'_>) -> Result<BTreeMap<MemberId, Uuid>, FieldError> {
    let disks = fields.list("disks", |text| {
        let (id, disk) = text.split_once('=')?;
        Some((read_id(id)?, Uuid::parse(disk)?))
    })?;
    let map: BTreeMap<MemberId, Uuid> = disks.iter().copied().collect();
    if map.len() != disks.len() {
        return Err(FieldError::Value {
            field: "disks",
            value: disks.len().to_string(),
        });
    }
    Ok(map)
}
