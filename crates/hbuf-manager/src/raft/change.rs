//! Which change of members may be made, and when it is done.
//!
//! ```text
//!  new disk ──add──▶ learner ──caught up──▶ promote (joint, left by itself) ──▶ voter
//!  leader ──transfer──▶ voter ──remove (joint)──▶ retired: its id is never given again
//! ```

use alloc::collections::{BTreeMap, BTreeSet};

use hbuf_core::ids::Uuid;
use hbuf_core::limits::MEMBERS_MAX;

use super::members::{MemberChange, MemberId, Members};

/// A wish for other members.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Change {
    /// New ids and their disks: they become learners.
    pub add: BTreeMap<MemberId, Uuid>,
    /// Learners that become voters.
    pub promote: BTreeSet<MemberId>,
    /// Voters that become learners.
    pub demote: BTreeSet<MemberId>,
    /// Members that leave for ever.
    pub remove: BTreeSet<MemberId>,
}

/// Why a change of members is not made.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ChangeRefused {
    /// Nothing would change.
    #[error("the change names no member, or one twice")]
    Malformed,
    /// One at a time (P7).
    #[error("another change of members is under way; try again when it is done")]
    InProgress,
    /// The id is a member's already. With the same disk this is a repetition.
    #[error("the id {id} is a member already, on the disk {disk}")]
    AlreadyMember {
        /// The id.
        id: MemberId,
        /// Its disk.
        disk: Uuid,
    },
    /// The id was given before (P11).
    #[error("the id {id} was given before, up to {last}; take a higher one")]
    RetiredId {
        /// The id.
        id: MemberId,
        /// The highest id ever given.
        last: u64,
    },
    /// The disk is a member's already.
    #[error("the disk {disk} belongs to the member {id}")]
    KnownDisk {
        /// The disk.
        disk: Uuid,
        /// Its member.
        id: MemberId,
    },
    /// No such member in the role that the change supposes.
    #[error("{id} is no {expected} of the group")]
    NotA {
        /// The id.
        id: MemberId,
        /// What it would have to be.
        expected: &'static str,
    },
    /// Too many members.
    #[error("a group has at most {MEMBERS_MAX} members")]
    TooMany,
    /// The learner lacks entries, or was not heard of lately.
    #[error("the learner {id} holds entries up to {matched} of {commit}; try again later")]
    NotCaughtUp {
        /// The learner.
        id: MemberId,
        /// The last entry that it is known to hold.
        matched: u64,
        /// What is committed.
        commit: u64,
    },
    /// Two voters would be less safe than one: both would have to be there.
    #[error(
        "two voters would stop when one of them stops, which one alone does not; keep the second as a learner"
    )]
    TwoVoters,
    /// No voter would be left.
    #[error("no voter would be left")]
    NoVoter,
    /// The group would stop at once.
    #[error("of the voters after the change {live} are there, and {needed} are needed")]
    TooFewLive {
        /// How many of them were heard of lately.
        live: usize,
        /// The majority of them.
        needed: usize,
    },
    /// The leader would remove itself (P9). It hands leadership over first.
    #[error("this member leads; leadership is on its way to {to}: ask that one")]
    LeadershipMoves {
        /// To whom.
        to: MemberId,
    },
    /// The leader would remove itself, and nobody could take over.
    #[error("this member leads, and no other voter is there to take over")]
    NobodyToLead,
    /// The entry was taken and something else stands in the log, or leadership was lost.
    #[error("the change did not come to be here; look at the members, then try again")]
    Lost,
}

/// What the leader knows of another member.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Standing {
    pub(super) matched: u64,
    /// Whether it was heard of lately.
    pub(super) live: bool,
}

impl Change {
    /// The change as an entry, or why it must not be made. `standings` holds everyone but the
    /// leader itself.
    pub(super) fn plan(
        &self,
        members: &Members,
        leader: MemberId,
        commit: u64,
        standings: &BTreeMap<MemberId, Standing>,
    ) -> Result<MemberChange, ChangeRefused> {
        self.check_shape()?;
        self.check_new(members)?;
        for id in &self.promote {
            check_caught_up(*id, members, commit, standings)?;
        }
        check_role("voter", self.demote.difference(&members.voters))?;
        check_role(
            "member",
            self.remove.iter().filter(|id| !members.contains(**id)),
        )?;
        self.check_quorum(members, leader, standings)?;
        Ok(MemberChange {
            voters: self.promote.clone(),
            learners: self.add.keys().chain(&self.demote).copied().collect(),
            removed: self.remove.clone(),
            disks: self.add.clone(),
        })
    }

    fn check_shape(&self) -> Result<(), ChangeRefused> {
        let all = self
            .add
            .keys()
            .chain(&self.promote)
            .chain(&self.demote)
            .chain(&self.remove);
        let count = all.clone().count();
        let named: BTreeSet<_> = all.collect();
        let disks: BTreeSet<_> = self.add.values().collect();
        let zero = named.contains(&MemberId(0));
        if count == 0 || zero || named.len() != count || disks.len() != self.add.len() {
            return Err(ChangeRefused::Malformed);
        }
        Ok(())
    }

    fn check_new(&self, members: &Members) -> Result<(), ChangeRefused> {
        for (id, disk) in &self.add {
            if let Some(known) = members.disks.get(id) {
                let (id, disk) = (*id, *known);
                return Err(ChangeRefused::AlreadyMember { id, disk });
            }
            // P11: a disk that comes back is a new member, whatever it was before.
            if id.0 <= members.last_id {
                let (id, last) = (*id, members.last_id);
                return Err(ChangeRefused::RetiredId { id, last });
            }
            if let Some((id, disk)) = members.disks.iter().find(|(_, known)| *known == disk) {
                let (id, disk) = (*id, *disk);
                return Err(ChangeRefused::KnownDisk { disk, id });
            }
        }
        if members.disks.len() + self.add.len() > MEMBERS_MAX {
            return Err(ChangeRefused::TooMany);
        }
        Ok(())
    }

    fn check_quorum(
        &self,
        members: &Members,
        leader: MemberId,
        standings: &BTreeMap<MemberId, Standing>,
    ) -> Result<(), ChangeRefused> {
        let mut voters: BTreeSet<MemberId> = members.voters.union(&self.promote).copied().collect();
        voters.retain(|id| !self.demote.contains(id) && !self.remove.contains(id));
        if voters == members.voters {
            return Ok(());
        }
        match voters.len() {
            0 => return Err(ChangeRefused::NoVoter),
            2 => return Err(ChangeRefused::TwoVoters),
            _ => {}
        }
        let is_live = |id: &&MemberId| {
            **id == leader || standings.get(id).is_some_and(|standing| standing.live)
        };
        let live = voters.iter().filter(is_live).count();
        let needed = voters.len() / 2 + 1;
        if live < needed {
            return Err(ChangeRefused::TooFewLive { live, needed });
        }
        Ok(())
    }

    /// Whether the members are as wished.
    pub(super) fn is_done(&self, members: &Members) -> bool {
        !members.is_joint()
            && self.add.keys().all(|id| members.contains(*id))
            && self.promote.is_subset(&members.voters)
            && self.demote.is_subset(&members.learners)
            && self.remove.iter().all(|id| !members.contains(*id))
    }
}

fn check_caught_up(
    id: MemberId,
    members: &Members,
    commit: u64,
    standings: &BTreeMap<MemberId, Standing>,
) -> Result<(), ChangeRefused> {
    if !members.learners.contains(&id) {
        let expected = "learner";
        return Err(ChangeRefused::NotA { id, expected });
    }
    let standing = standings.get(&id);
    let matched = standing.map_or(0, |standing| standing.matched);
    if matched < commit || !standing.is_some_and(|standing| standing.live) {
        let refused = ChangeRefused::NotCaughtUp {
            id,
            matched,
            commit,
        };
        return Err(refused);
    }
    Ok(())
}

/// Refuses the first of those that are not what the change supposes.
fn check_role<'a>(
    expected: &'static str,
    mut others: impl Iterator<Item = &'a MemberId>,
) -> Result<(), ChangeRefused> {
    match others.next() {
        None => Ok(()),
        Some(&id) => Err(ChangeRefused::NotA { id, expected }),
    }
}
