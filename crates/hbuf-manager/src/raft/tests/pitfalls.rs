//! What goes wrong with the library when nobody minds it (P1–P17 of the notes on it): one test for
//! each that can be shown from outside. P1 and P4 are in `tests/files.rs`, P7–P11 in
//! `tests/changes.rs`, P12's bounds in `group.rs`.

use alloc::boxed::Box;
use alloc::vec::Vec;

use ::raft::eraftpb::{Entry, Message, MessageType};
use ::raft::{Error, StateRole, Storage as _, StorageError};

use super::world::{CALM, GROUP, World, disk_of};
use crate::raft::message::Body;
use crate::raft::timeout::{ELECTION_TICKS, ELECTION_TICKS_END, election_ticks};
use crate::raft::{
    Change, Effect, Input, MemberId, Members, MessageRefused, Mirror, PeerMessage, Refusal, Role,
};

pub(super) fn message(kind: MessageType, from: u64, to: u64, term: u64) -> Message {
    let mut message = Message {
        from,
        to,
        term,
        ..Message::default()
    };
    message.set_msg_type(kind);
    message
}

pub(super) fn input(message: Message) -> Input {
    Input::Message(Box::new(PeerMessage {
        group: GROUP,
        body: Body::Raft(Box::new(message)),
    }))
}

/// Gives one input to a member's group and performs nothing.
fn only(world: &mut World, id: u64, input: Input) -> (Result<(), Refusal>, Vec<Effect>) {
    let mut effects = Vec::new();
    let group = world.nodes.get_mut(&id).unwrap().group.as_mut().unwrap();
    let result = group.handle(input, &mut effects);
    (result, effects)
}

fn sends(effects: &[Effect]) -> usize {
    effects
        .iter()
        .filter(|effect| matches!(effect, Effect::Send(_)))
        .count()
}

fn persist_number(effects: &[Effect]) -> u64 {
    let numbers = effects.iter().filter_map(|effect| match effect {
        Effect::Persist(persist) => Some(persist.number()),
        _ => None,
    });
    numbers.max().unwrap()
}

#[test]
fn p2_a_snapshot_that_gets_lost_without_a_word_is_sent_again() {
    for silent in [true, false] {
        let mut world = World::new(3, 3, CALM);
        world.silent_snapshots = silent;
        world.commit(5);
        world.make(4, &Members::default(), 3);
        let leader = world.elect();
        let add = Change {
            add: [(MemberId(4), disk_of(4))].into(),
            ..Change::default()
        };
        world.input(leader, Input::Change(add)).unwrap();
        world.until("a snapshot on its way", |world| {
            world.group(leader).sending.contains_key(&MemberId(4))
        });
        world.isolate(4);
        world.ticks(20);
        world.cut.clear();
        world.until("a member that caught up", |world| {
            world.nodes[&4].catalog.applied() == world.group(leader).commit()
        });
    }
}

#[test]
fn p3_votes_and_acks_wait_for_the_disk_and_a_leaders_appends_do_not() {
    let mut world = World::new(1, 3, CALM);
    let mut ask = message(MessageType::MsgRequestVote, 2, 1, 5);
    (ask.index, ask.log_term) = (1, 1);
    let (_, effects) = only(&mut world, 1, input(ask));
    assert_eq!(sends(&effects), 0, "{effects:?}");
    let number = persist_number(&effects);
    let (_, effects) = only(&mut world, 1, Input::Persisted { number });
    assert_eq!(sends(&effects), 1);

    let mut append = message(MessageType::MsgAppend, 2, 1, 5);
    (append.index, append.log_term) = (1, 1);
    let entry = Entry {
        index: 2,
        term: 5,
        ..Entry::default()
    };
    append.set_entries(Vec::from([entry]).into());
    let (_, effects) = only(&mut world, 1, input(append));
    assert_eq!(sends(&effects), 0, "{effects:?}");
    let first = persist_number(&effects);
    // A heartbeat's answer changes nothing on disk, and still may not overtake the ack before it.
    let (_, effects) = only(
        &mut world,
        1,
        input(message(MessageType::MsgHeartbeat, 2, 1, 5)),
    );
    assert_eq!(sends(&effects), 0, "{effects:?}");
    let (_, effects) = only(&mut world, 1, Input::Persisted { number: first });
    assert_eq!(sends(&effects), 2);

    let mut world = World::new(1, 3, CALM);
    world.commit(2);
    let leader = world.elect();
    let text = world.command(3);
    let (_, effects) = only(&mut world, leader, Input::Propose(text));
    assert!(sends(&effects) > 0 && persist_number(&effects) > 0);
}

#[test]
fn p3_nothing_is_applied_before_it_is_durable_here() {
    let mut world = World::new(1, 1, CALM);
    world.input(1, Input::Campaign).unwrap();
    world.ticks(5);
    let text = world.command(1);
    let (_, effects) = only(&mut world, 1, Input::Propose(text));
    assert!(
        !effects
            .iter()
            .any(|effect| matches!(effect, Effect::Apply(_)))
    );
    let number = persist_number(&effects);
    let (_, effects) = only(&mut world, 1, Input::Persisted { number });
    assert!(
        effects
            .iter()
            .any(|effect| matches!(effect, Effect::Apply(_)))
    );
}

#[test]
fn p6_a_snapshot_is_of_what_is_applied_and_never_of_less_than_was_asked_for() {
    let disks = [(MemberId(1), disk_of(1))].into();
    let mut mirror = Mirror {
        before: (1, 1),
        applied: (1, 1),
        members: Members::founding(&disks),
        ..Mirror::default()
    };
    let entries: Vec<Entry> = (2..=9)
        .map(|index| Entry {
            index,
            term: 3,
            ..Entry::default()
        })
        .collect();
    mirror.append(&entries);
    mirror.hard.commit = 9;
    mirror.set_applied(4);
    let snapshot = mirror.snapshot(4, 2).unwrap();
    let meta = snapshot.get_metadata();
    assert_eq!((meta.index, meta.term), (4, 3));
    assert_eq!(meta.get_conf_state(), &mirror.members.conf_state());
    let unavailable = Error::Store(StorageError::SnapshotTemporarilyUnavailable);
    assert_eq!(mirror.snapshot(5, 2).unwrap_err(), unavailable);
}

#[test]
fn p12_a_member_that_comes_back_disturbs_nobody_and_a_lonely_leader_gives_up() {
    let mut world = World::new(5, 3, CALM);
    world.commit(3);
    let leader = world.elect();
    let term = world.group(leader).role().1;
    let follower = (1..=3).find(|id| *id != leader).unwrap();
    world.isolate(follower);
    world.ticks(200);
    world.cut.clear();
    world.ticks(100);
    assert_eq!(
        world.group(leader).role(),
        (Role::Leader, term, Some(MemberId(leader)))
    );
    world.isolate(leader);
    world.ticks(3 * ELECTION_TICKS_END as u64);
    assert_ne!(world.group(leader).role().0, Role::Leader);
    assert_ne!(world.elect(), leader);
}

#[test]
fn p13_only_a_leader_takes_commands_and_no_command_is_a_change_of_members() {
    let mut world = World::new(2, 3, CALM);
    world.commit(2);
    let leader = world.elect();
    world.ticks(10);
    let follower = (1..=3).find(|id| *id != leader).unwrap();
    let text = world.command(3);
    let expected = Refusal::NotLeader {
        leader: Some(MemberId(leader)),
    };
    assert_eq!(
        world.input(follower, Input::Propose(text.clone())),
        Err(expected)
    );
    let change = b"command: change-members\nremoved: 1\n".to_vec();
    assert_eq!(
        world.input(leader, Input::Propose(change)),
        Err(Refusal::NoCommand)
    );
    assert_eq!(
        world.input(leader, Input::Propose(Vec::new())),
        Err(Refusal::NoCommand)
    );
    let long = alloc::vec![b'x'; hbuf_core::limits::COMMAND_BYTES_MAX + 1];
    let refused = world.input(leader, Input::Propose(long));
    assert!(matches!(refused, Err(Refusal::TooLong { .. })));
    // Proposed twice, applied once: the second is answered like the first.
    for _ in 0..2 {
        world.input(leader, Input::Propose(text.clone())).unwrap();
    }
    world.number = 3;
    world.heal_and_check();
}

fn reads(world: &World, id: u64) -> Vec<&Effect> {
    let seen = world.nodes[&id].seen.iter();
    seen.filter(|effect| matches!(effect, Effect::Read { .. } | Effect::ReadFailed { .. }))
        .collect()
}

#[test]
fn p14_a_read_is_tried_again_until_it_is_proven_and_fails_with_the_leader() {
    let mut world = World::new(4, 3, CALM);
    world.until("a leader", |world| world.leader().is_some());
    let leader = world.leader().unwrap();
    // The leader has committed nothing in its term yet: the library drops the read.
    world.input(leader, Input::Read { token: 77 }).unwrap();
    world.until("the read", |world| !reads(world, leader).is_empty());
    assert!(matches!(
        reads(&world, leader)[..],
        [Effect::Read { token: 77, .. }]
    ));
    world.commit(3);
    let commit = world.group(leader).commit();
    world.isolate(leader);
    world.input(leader, Input::Read { token: 78 }).unwrap();
    world.until("the failure", |world| reads(world, leader).len() > 1);
    assert_eq!(reads(&world, leader)[1], &Effect::ReadFailed { token: 78 });
    world.cut.clear();
    let leader = world.elect();
    world.commit(1);
    world.input(leader, Input::Read { token: 79 }).unwrap();
    let shows = |effect: &&Effect| match effect {
        Effect::Read { token, index } => *token == 79 && *index > commit,
        _ => false,
    };
    world.until("the read", |world| reads(world, leader).iter().any(shows));
    let follower = (1..=3).find(|id| *id != leader).unwrap();
    let refused = world.input(follower, Input::Read { token: 80 });
    assert!(matches!(refused, Err(Refusal::NotLeader { .. })));
}

#[test]
fn p15_messages_on_which_the_library_would_panic_are_refused() {
    let mut world = World::new(6, 3, CALM);
    world.commit(3);
    let leader = world.elect();
    world.ticks(10);
    let term = world.group(leader).role().1;
    let follower = (1..=3).find(|id| *id != leader).unwrap();
    let mut beat = message(MessageType::MsgHeartbeat, leader, follower, term);
    beat.commit = 999;
    let refused = world.input(follower, input(beat));
    let beyond = |refused: Result<(), Refusal>| match refused {
        Err(Refusal::Message(why)) => why,
        other => panic!("taken: {other:?}"),
    };
    assert!(matches!(
        beyond(refused),
        MessageRefused::CommitBeyondLog { commit: 999, .. }
    ));
    let mut ack = message(MessageType::MsgAppendResponse, follower, leader, term);
    ack.index = 999;
    let refused = world.input(leader, input(ack));
    assert!(matches!(
        beyond(refused),
        MessageRefused::AckBeyondLog { index: 999, .. }
    ));
    let other = message(MessageType::MsgHeartbeat, follower, 9, term);
    let refused = world.input(leader, input(other));
    assert!(matches!(
        beyond(refused),
        MessageRefused::OtherMember { to: MemberId(9) }
    ));
    let foreign = PeerMessage {
        group: disk_of(1),
        body: Body::Raft(Box::new(message(
            MessageType::MsgHeartbeat,
            follower,
            leader,
            term,
        ))),
    };
    let refused = world.input(leader, Input::Message(Box::new(foreign)));
    assert!(matches!(beyond(refused), MessageRefused::OtherGroup { .. }));
    world.heal_and_check();
}

#[test]
fn the_election_timeout_is_the_keyed_one_after_every_call() {
    let mut world = World::new(8, 3, CALM);
    let check = |world: &World| {
        for id in 1..=3 {
            let group = world.group(id);
            let raft = &group.node.raft;
            let (seed, member) = (group.config.seed, group.config.id);
            let ticks = election_ticks(seed, GROUP, member, raft.term, raft.state);
            assert_eq!(raft.randomized_election_timeout(), ticks);
        }
    };
    check(&world);
    for turn in 0..300 {
        world.propose();
        world.tick();
        check(&world);
        if turn % 60 == 59 {
            let leader = world.leader().unwrap();
            world.input(leader, Input::Transfer).unwrap();
        }
    }
    assert_eq!(ELECTION_TICKS_END, 2 * ELECTION_TICKS);
    assert!(
        world
            .nodes
            .values()
            .any(|node| { node.group.as_ref().unwrap().node.raft.state == StateRole::Leader })
    );
}
