//! Changes of members: what is refused, and what comes of those that are made.

use alloc::collections::BTreeMap;
use alloc::vec::Vec;

use ::raft::eraftpb::{ConfChangeSingle, ConfChangeTransition, ConfChangeType, ConfChangeV2};

use super::world::*;
use crate::raft::change::Standing;
use crate::raft::members::MemberChange;
use crate::raft::{
    Change, ChangeRefused, Effect, Group, Input, MemberId, Members, Refusal, Role, StartError,
};

fn add(id: u64) -> Change {
    Change {
        add: [(MemberId(id), disk_of(id))].into(),
        ..Change::default()
    }
}

fn promote(ids: &[u64]) -> Change {
    Change {
        promote: ids.iter().map(|id| MemberId(*id)).collect(),
        ..Change::default()
    }
}

fn remove(id: u64) -> Change {
    Change {
        remove: [MemberId(id)].into(),
        ..Change::default()
    }
}

/// A calm group with a leader that has applied something.
fn group_of(voters: u64) -> (World, u64) {
    let mut world = World::new(11, voters, CALM);
    world.commit(2);
    let leader = world.elect();
    world.ticks(10);
    (world, leader)
}

fn refused(world: &mut World, id: u64, change: Change) -> ChangeRefused {
    match world.input(id, Input::Change(change)) {
        Err(Refusal::Change(why)) => why,
        other => panic!("not refused: {other:?}"),
    }
}

#[test]
fn a_lone_member_grows_to_three_and_the_second_stays_a_learner_until_then() {
    let (mut world, leader) = group_of(1);
    for id in [2, 3] {
        world.make(id, &Members::default(), 11);
        world.change(&add(id));
        world.ticks(30);
        if id == 2 {
            assert_eq!(
                refused(&mut world, leader, promote(&[2])),
                ChangeRefused::TwoVoters
            );
        }
    }
    world.commit(5);
    world.change(&promote(&[2, 3]));
    assert_eq!(world.group(leader).members().voters.len(), 3);
    assert!(world.nodes[&leader].seen.contains(&Effect::Changed));
    world.crash(leader);
    world.commit(5);
    world.heal_and_check();
}

#[test]
fn a_learner_is_promoted_only_when_it_has_caught_up_and_was_heard_of() {
    let (mut world, leader) = group_of(3);
    world.make(4, &Members::default(), 11);
    world.isolate(4);
    world.change(&add(4));
    world.make(5, &Members::default(), 11);
    world.change(&add(5));
    world.commit(5);
    let lags = refused(&mut world, leader, promote(&[4]));
    assert!(matches!(
        lags,
        ChangeRefused::NotCaughtUp {
            id: MemberId(4),
            matched: 0,
            ..
        }
    ));
    world.ticks(20);
    world.isolate(5);
    world.ticks(20);
    let silent = refused(&mut world, leader, promote(&[5]));
    assert!(matches!(
        silent,
        ChangeRefused::NotCaughtUp {
            id: MemberId(5),
            ..
        }
    ));
    world.cut.clear();
    world.change(&promote(&[4, 5]));
    world.heal_and_check();
}

#[test]
fn p7_one_change_at_a_time() {
    let (mut world, leader) = group_of(3);
    world.input(leader, Input::Change(add(4))).unwrap();
    assert_eq!(
        refused(&mut world, leader, add(5)),
        ChangeRefused::InProgress
    );
    world.until("the change", |world| {
        world.nodes[&leader].seen.contains(&Effect::Changed)
    });
    world.input(leader, Input::Change(add(5))).unwrap();
    // Nothing of it is lost: both are members in the end.
    world.change(&add(5));
    assert!(world.group(leader).members().contains(MemberId(4)));
}

#[test]
fn p7_a_change_under_way_when_leadership_is_lost_is_reported_as_unknown() {
    let (mut world, leader) = group_of(3);
    world.isolate(leader);
    world.input(leader, Input::Change(add(4))).unwrap();
    let lost = Effect::ChangeFailed(ChangeRefused::Lost);
    world.until("the report", |world| {
        world.nodes[&leader].seen.contains(&lost)
    });
    world.cut.clear();
    world.elect();
    world.ticks(50);
    assert!(!world.group(leader).members().contains(MemberId(4)));
    world.heal_and_check();
}

#[test]
fn p8_members_are_persisted_when_they_are_applied() {
    let (mut world, leader) = group_of(3);
    world.change(&add(4));
    world.ticks(20);
    let recovered = world.recovered(leader);
    let (_, members) = recovered.log.members.unwrap();
    assert_eq!(&members, world.group(leader).members());
    assert!(members.learners.contains(&MemberId(4)));
}

#[test]
fn p8_a_joint_configuration_that_nobody_leaves_is_left() {
    let (mut world, leader) = group_of(3);
    world.change(&add(4));
    world.ticks(5);
    // As a change of leadership at the wrong moment would leave it: nobody leaves it by itself.
    let mut step = ConfChangeSingle::default();
    step.set_change_type(ConfChangeType::AddLearnerNode);
    step.node_id = (1..=3).find(|id| *id != leader).unwrap();
    let mut change = ConfChangeV2::default();
    change.set_transition(ConfChangeTransition::Explicit);
    change.set_changes(Vec::from([step]).into());
    let mut node_effects = Vec::new();
    let node = world.nodes.get_mut(&leader).unwrap();
    let group = node.group.as_mut().unwrap();
    let state = group.call(|node| node.apply_conf_change(&change)).unwrap();
    let after = group.members().after(&state, &MemberChange::default());
    group.node.mut_store().members = after;
    assert!(group.members().is_joint() && !group.members().auto_leave);
    for _ in 0..9 {
        group.handle(Input::Tick, &mut node_effects).unwrap();
    }
    let last = group.node.raft.raft_log.last_index();
    group.handle(Input::Tick, &mut node_effects).unwrap();
    assert_eq!(group.node.raft.raft_log.last_index(), last + 1);
    assert!(group.node.raft.has_pending_conf());
}

#[test]
fn p9_a_leader_hands_leadership_over_before_it_is_removed() {
    let (mut world, leader) = group_of(4);
    let moves = refused(&mut world, leader, remove(leader));
    let ChangeRefused::LeadershipMoves { to } = moves else {
        panic!("{moves}");
    };
    world.until("another leader", |world| world.leader() == Some(to.0));
    world.change(&remove(leader));
    world.until("farewell", |world| world.nodes[&leader].removed);
    world.heal_and_check();
    assert_eq!(world.group(to.0).members().voters.len(), 3);
}

#[test]
fn p10_a_removed_member_that_slept_is_told_and_disturbs_nobody() {
    let (mut world, leader) = group_of(4);
    let out = (1..=4).find(|id| *id != leader).unwrap();
    world.crash(out);
    world.change(&remove(out));
    world.commit(3);
    let term = world.group(leader).role().1;
    world.start(out);
    world.until("farewell", |world| world.nodes[&out].removed);
    let mut effects = Vec::new();
    let group = world.nodes.get_mut(&out).unwrap().group.as_mut().unwrap();
    assert_eq!(
        group.handle(Input::Tick, &mut effects),
        Err(Refusal::Removed)
    );
    assert_eq!(
        world.group(leader).role(),
        (Role::Leader, term, Some(MemberId(leader)))
    );
}

#[test]
fn p10_a_learner_is_told_when_it_is_removed_since_it_never_asks_for_votes() {
    let (mut world, leader) = group_of(3);
    world.make(4, &Members::default(), 11);
    world.change(&add(4));
    world.until("a member that caught up", |world| {
        world.nodes[&4].catalog.applied() == world.group(leader).commit()
    });
    // It is told without having said anything.
    world.crash(4);
    world.change(&remove(4));
    assert!(world.told.contains(&4));
}

#[test]
fn p11_ids_and_disks_are_never_given_twice() {
    let (mut world, leader) = group_of(4);
    let out = (1..=4).find(|id| *id != leader).unwrap();
    world.change(&remove(out));
    let again = refused(&mut world, leader, add(out));
    assert!(matches!(again, ChangeRefused::RetiredId { last: 4, .. }));
    let other = (1..=4).find(|id| *id != leader && *id != out).unwrap();
    let same_disk = Change {
        add: [(MemberId(9), disk_of(other))].into(),
        ..Change::default()
    };
    let known = refused(&mut world, leader, same_disk);
    assert!(matches!(known, ChangeRefused::KnownDisk { id, .. } if id.0 == other));
    let member = refused(&mut world, leader, add(other));
    assert!(matches!(member, ChangeRefused::AlreadyMember { .. }));
    // An entry that slipped through would change nothing.
    let entry = MemberChange {
        learners: [MemberId(out)].into(),
        disks: [(MemberId(out), disk_of(out))].into(),
        ..MemberChange::default()
    };
    assert!(!world.group(leader).members().takes(&entry));
    let mut config = world.nodes[&other].config;
    config.disk = disk_of(77);
    let started = Group::open(config, &world.recovered(other));
    assert!(matches!(
        started.map(drop),
        Err(StartError::OtherDisk { .. })
    ));
}

#[test]
fn a_change_that_would_stop_the_group_is_refused() {
    let disks: BTreeMap<_, _> = (1..=5).map(|id| (MemberId(id), disk_of(id))).collect();
    let members = Members::founding(&disks);
    let standing = |live| Standing { matched: 9, live };
    let standings: BTreeMap<_, _> = (2..=5)
        .map(|id| (MemberId(id), standing(id == 2 || id == 3)))
        .collect();
    let plan = |change: &Change| change.plan(&members, MemberId(1), 9, &standings);
    // Without 2, only 1 and 3 of the four are there; three would be needed.
    let few = ChangeRefused::TooFewLive { live: 2, needed: 3 };
    assert_eq!(plan(&remove(2)), Err(few));
    assert!(plan(&remove(5)).is_ok());
    assert_eq!(plan(&Change::default()), Err(ChangeRefused::Malformed));
    let twice = Change {
        demote: [MemberId(4)].into(),
        ..remove(4)
    };
    assert_eq!(plan(&twice), Err(ChangeRefused::Malformed));
    let unknown = plan(&remove(6));
    assert!(matches!(
        unknown,
        Err(ChangeRefused::NotA {
            id: MemberId(6),
            ..
        })
    ));
    let voter = plan(&promote(&[2]));
    assert!(matches!(
        voter,
        Err(ChangeRefused::NotA {
            expected: "learner",
            ..
        })
    ));
    let all = Change {
        remove: disks.keys().copied().collect(),
        ..Change::default()
    };
    assert_eq!(plan(&all), Err(ChangeRefused::NoVoter));
    let many = Change {
        add: (6..=100).map(|id| (MemberId(id), disk_of(id))).collect(),
        ..Change::default()
    };
    assert_eq!(plan(&many), Err(ChangeRefused::TooMany));
}

#[test]
fn members_and_changes_are_read_back_from_their_text() {
    let mut members = Members::founding(&(1..=3).map(|id| (MemberId(id), disk_of(id))).collect());
    assert_eq!(Members::decode(&members.encode()), Ok(members.clone()));
    members.outgoing = members.voters.clone();
    members.voters = [MemberId(1), MemberId(2), MemberId(5)].into();
    members.next_learners = [MemberId(3)].into();
    members.disks.insert(MemberId(5), disk_of(5));
    (members.auto_leave, members.last_id) = (true, 5);
    assert_eq!(Members::decode(&members.encode()), Ok(members.clone()));
    members.last_id = 4;
    assert!(Members::decode(&members.encode()).is_err());
    members.last_id = 5;
    members.voters.insert(MemberId(3));
    assert!(Members::decode(&members.encode()).is_err());
    let change = MemberChange {
        voters: [MemberId(5)].into(),
        learners: [MemberId(3), MemberId(6)].into(),
        removed: [MemberId(2)].into(),
        disks: [(MemberId(6), disk_of(6))].into(),
    };
    assert_eq!(MemberChange::decode(&change.encode()), Some(Ok(change)));
    assert_eq!(MemberChange::decode(b"command: found-cluster\n"), None);
    assert!(
        MemberChange::decode(b"command: change-members\nvoters: 0\n")
            .unwrap()
            .is_err()
    );
}
