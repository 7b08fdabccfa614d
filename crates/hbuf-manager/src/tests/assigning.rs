//! Who holds and leads which buffer: fencing, moves, hand-overs, forced elections, told as stories.

use alloc::string::ToString;

use hbuf_core::limits::{NODES_MAX, NOTED_KEPT_MAX};
use hbuf_core::replication::{
    Alter, AlterRefused, Change, Disk, Ended, Force, ForceRefused, HandOverRefused, Member,
    MoveRefused,
};

use super::*;

/// Three nodes and a buffer on the first two, both needed for a commit.
fn three_nodes() -> World {
    let mut world = World::new();
    world.ok(register("n2", 2, &[]));
    world.ok(register("n3", 3, &[]));
    world.ok(create_on("a", 1, "n1 n2", ""));
    world.ok(confirm(1));
    world
}

fn assign(command: Assign) -> Action {
    Action::Assign(command)
}

fn epoch_of(world: &World, node: u32) -> NodeEpoch {
    world.catalog.node_by_id(NodeId(node)).unwrap().epoch
}

fn fence(world: &World, nodes: &[u32]) -> Action {
    let session = |node: &u32| (NodeId(*node), epoch_of(world, *node));
    assign(Assign::FenceNodes {
        nodes: nodes.iter().map(session).collect(),
    })
}

fn revive(world: &World, node: u32) -> Action {
    assign(Assign::ReviveNode {
        node: NodeId(node),
        epoch: epoch_of(world, node),
    })
}

fn set_copies(copies: &[u32]) -> Action {
    assign(Assign::SetCopies {
        uuid: uuid(1),
        expected: None,
        copies: copies.iter().copied().map(NodeId).collect(),
    })
}

fn hand_over(to: u32) -> Action {
    assign(Assign::HandOver {
        uuid: uuid(1),
        expected: None,
        to: NodeId(to),
    })
}

fn alter(world: &World, change: Change) -> Action {
    let it = world.assignment(1);
    let (epoch, version) = (it.epoch, it.version);
    let by = it.primary.unwrap();
    assign(Assign::AlterInSync {
        uuid: uuid(1),
        alter: Alter {
            by,
            epoch,
            version,
            change,
        },
    })
}

fn joins(world: &World, node: u32) -> Action {
    let member = Member {
        node_epoch: epoch_of(world, node),
        from: Seq::FIRST,
    };
    alter(world, Change::Add(NodeId(node), member))
}

fn force(world: &World, node: u32) -> Force {
    let member = Member {
        node_epoch: epoch_of(world, node),
        from: Seq::FIRST,
    };
    Force {
        node: NodeId(node),
        member,
        through: Seq(7),
        history: uuid(4),
        last: None,
        although_fit: false,
    }
}

fn force_elect(force: Force) -> Action {
    assign(Assign::ForceElect {
        uuid: uuid(1),
        expected: None,
        force: Box::new(force),
    })
}

fn set_node(node: u32, change: NodeChange) -> Action {
    let node = NodeId(node);
    assign(Assign::SetNode { node, change })
}

#[test]
fn a_batch_of_fenced_nodes_is_out_before_anybody_is_elected() {
    let mut world = three_nodes();
    let (version, epoch) = (world.buffer(1).version, world.assignment(1).epoch);
    world.ok(fence(&world, &[1, 2]));
    assert_eq!(world.assignment(1).primary, None);
    assert_eq!(world.assignment(1).epoch, epoch, "nobody was appointed");
    world.ok(revive(&world, 2));
    let it = world.assignment(1);
    assert_eq!((it.primary, it.epoch), (Some(NodeId(2)), Epoch(2)));
    assert_eq!(it.in_sync.len(), 2, "who is down stays a member");
    let again = world.ok(revive(&world, 2));
    assert_eq!(again, Outcome::Done);
    assert_eq!(world.assignment(1).epoch, Epoch(2));
    assert_eq!(
        world.buffer(1).version,
        version,
        "failovers configure nothing"
    );
}

#[test]
fn a_fence_is_meant_for_one_registration_and_so_is_a_word_of_life() {
    let mut world = three_nodes();
    let (late, word) = (fence(&world, &[1]), revive(&world, 1));
    world.ok(register("n1", 1, &[]));
    let epoch = world.assignment(1).epoch;
    world.ok(late);
    assert!(world.catalog.node_by_id(NodeId(1)).unwrap().alive);
    assert_eq!(world.assignment(1).epoch, epoch);
    let superseded = Refused::NodeSuperseded { node: NodeId(1) };
    assert_eq!(world.refused(word), superseded);
    let unknown = assign(Assign::ReviveNode {
        node: NodeId(9),
        epoch: NodeEpoch(1),
    });
    assert_eq!(
        world.refused(unknown),
        Refused::NoSuchNodeId { node: NodeId(9) }
    );
}

#[test]
fn a_primary_changes_its_set_and_a_late_wish_is_refused() {
    let mut world = three_nodes();
    let out = alter(&world, Change::Remove(NodeId(2)));
    let done = world.ok(out.clone());
    let (uuid, epoch) = (uuid(1), Epoch(1));
    let version = 2;
    assert_eq!(
        done,
        Outcome::Assignment {
            uuid,
            version,
            epoch
        }
    );
    assert_eq!(world.refused(out), Refused::Alter(AlterRefused::Stale));
    let itself = alter(&world, Change::Remove(NodeId(1)));
    assert_eq!(world.refused(itself), Refused::Alter(AlterRefused::Primary));
    world.ok(joins(&world, 2));
    assert_eq!(world.assignment(1).in_sync.len(), 2);
}

#[test]
fn a_buffer_moves_and_its_configured_version_stays() {
    let mut world = three_nodes();
    let version = world.buffer(1).version;
    world.ok(set_copies(&[3, 2]));
    assert_eq!(world.assignment(1).leaving, [NodeId(1)].into());
    world.ok(joins(&world, 3));
    let it = world.assignment(1);
    assert_eq!((it.primary, it.copies.len()), (Some(NodeId(3)), 2));
    assert_eq!(world.buffer(1).version, version);
    let too_many = Refused::Copies { got: 3, wanted: 2 };
    assert_eq!(world.refused(set_copies(&[1, 2, 3])), too_many);
    let few = MoveRefused::Count { got: 1, least: 2 };
    assert_eq!(world.refused(set_copies(&[3])), Refused::Move(few));
    world.ok(delete(1, false));
    let gone = Refused::NoSuchBuffer { uuid: uuid(1) };
    assert_eq!(world.refused(set_copies(&[1, 2])), gone);
}

#[test]
fn a_wish_for_another_version_of_the_assignment_is_refused() {
    let mut world = three_nodes();
    let at = |expected| {
        assign(Assign::HandOver {
            uuid: uuid(1),
            expected: Some(expected),
            to: NodeId(2),
        })
    };
    let other = Refused::Version {
        expected: 7,
        current: 1,
    };
    assert_eq!(world.refused(at(7)), other);
    world.ok(at(1));
    assert_eq!(world.assignment(1).primary, Some(NodeId(2)));
    world.ok(hand_over(1));
    let stranger = Refused::HandOver(HandOverRefused::NotMember);
    assert_eq!(world.refused(hand_over(3)), stranger);
}

#[test]
fn what_a_commit_needs_follows_the_configuration() {
    let mut world = three_nodes();
    assert_eq!(world.assignment(1).min_in_sync, 2);
    let mut config = world.buffer(1).config;
    config.min_insync = Some(1);
    world.ok(Action::ConfigureBuffer {
        uuid: uuid(1),
        expected: None,
        config,
        mirror: MirrorChange::Keep,
    });
    let it = world.assignment(1);
    assert_eq!((it.min_in_sync, it.version), (1, 2));
}

#[test]
fn an_election_is_forced_once_and_the_old_history_is_remembered() {
    let mut world = three_nodes();
    let forced = force(&world, 1);
    let fits = Refused::Force(ForceRefused::Fit(NodeId(1)));
    assert_eq!(world.refused(force_elect(forced)), fits);
    world.ok(fence(&world, &[1, 2]));
    world.ok(register("n1", 9, &[]));
    assert_eq!(world.assignment(1).primary, None, "its disk is another");
    let forced = force(&world, 1);
    let stranger = Refused::Force(ForceRefused::NoCopy);
    assert_eq!(world.refused(force_elect(force(&world, 3))), stranger);
    let done = world.ok(force_elect(forced));
    assert_eq!(world.ok(force_elect(forced)), done, "it is done already");
    let it = world.assignment(1);
    let ended = Ended {
        history: uuid(2_000_001),
        epoch: Epoch(1),
        last: None,
        kept_from: Seq::FIRST,
        kept_through: Seq(7),
        folded: 0,
    };
    assert_eq!((it.history, &it.ended[..]), (uuid(4), &[ended][..]));
}

#[test]
fn what_retention_left_counts_for_the_epoch_of_its_primary() {
    let mut world = three_nodes();
    let kept = |epoch, from| {
        assign(Assign::NoteKept {
            kept: vec![
                (uuid(5), Epoch(1), Seq(3)),
                (uuid(1), Epoch(epoch), Seq(from)),
            ],
        })
    };
    world.ok(kept(2, 9));
    assert_eq!(world.assignment(1).kept_from, Seq(1));
    world.ok(kept(1, 9));
    assert_eq!(world.assignment(1).kept_from, Seq(9));
}

#[test]
fn one_command_is_about_so_many_nodes_and_buffers_and_no_more() {
    let mut world = three_nodes();
    let kept = |count: usize| {
        let row = (uuid(1), Epoch(1), Seq(2));
        let kept = vec![row; count];
        assign(Assign::NoteKept { kept })
    };
    let refused = |what, most| Refused::TooManyNamed {
        what,
        got: most + 1,
        most,
    };
    let full = world.refused(kept(NOTED_KEPT_MAX + 1));
    assert_eq!(full, refused("buffers", NOTED_KEPT_MAX));
    let told = "the command names 4097 buffers; name at most 4096 in one";
    assert_eq!(full.to_string(), told);
    assert_eq!(world.assignment(1).kept_from, Seq(1));
    world.ok(kept(NOTED_KEPT_MAX));
    assert_eq!(world.assignment(1).kept_from, Seq(2));
    let silent = |count: usize| {
        let nodes = vec![(NodeId(1), NodeEpoch(1)); count];
        assign(Assign::FenceNodes { nodes })
    };
    let full = world.refused(silent(NODES_MAX + 1));
    assert_eq!(full, refused("nodes", NODES_MAX));
    world.ok(silent(NODES_MAX));
}

#[test]
fn a_node_is_set_and_forgotten_when_it_holds_nothing_and_votes_no_more() {
    let mut world = three_nodes();
    let change = NodeChange {
        draining: Some(true),
        zone: Some(name("cellar")),
        address: Address::parse("[::1]:7000"),
        ..NodeChange::default()
    };
    world.ok(set_node(1, change));
    let one = world.catalog.node_by_id(NodeId(1)).unwrap();
    assert!(one.draining && one.roles == Roles::default());
    assert_eq!(world.assignment(1).primary, Some(NodeId(1)), "it goes on");
    let refused = world.refused(create_on("b", 2, "n1", ""));
    assert_eq!(refused, Refused::Move(MoveRefused::Leaves(NodeId(1))));
    let forget = |node| assign(Assign::RemoveNode { node: NodeId(node) });
    let holds = Refused::NodeHolds {
        node: name("n1"),
        copies: 1,
    };
    assert_eq!(world.refused(forget(1)), holds);
    let votes = Refused::NodeVotes { node: name("n3") };
    assert_eq!(world.refused(forget(3)), votes);
    let roles = Some("worker+gateway".parse().unwrap());
    world.ok(set_node(
        3,
        NodeChange {
            roles,
            ..NodeChange::default()
        },
    ));
    world.ok(forget(3));
    world.ok(forget(3));
    let unknown = Refused::NoSuchNodeId { node: NodeId(4) };
    assert_eq!(world.refused(forget(4)), unknown);
    let done = world.ok(register("n3", 3, &[]));
    assert!(matches!(done, Outcome::Node { id: NodeId(4), .. }));
}

#[test]
fn a_node_with_a_wrong_clock_is_not_made_primary() {
    let mut world = three_nodes();
    let clock = |off| NodeChange {
        clock_off: Some(off),
        ..NodeChange::default()
    };
    world.ok(set_node(2, clock(true)));
    world.ok(fence(&world, &[1]));
    assert_eq!(world.assignment(1).primary, None);
    world.ok(set_node(2, clock(false)));
    assert_eq!(world.assignment(1).primary, Some(NodeId(2)));
}

#[test]
fn a_last_copy_that_was_replaced_by_an_empty_disk_never_leads_by_itself() {
    let mut world = World::with_buffers(&[("a", 1, "")]);
    world.ok(register("n1", 2, &[]));
    assert_eq!(world.assignment(1).primary, None);
    world.ok(register("n1", 2, &[]));
    assert_eq!(
        world.assignment(1).primary,
        None,
        "it is as empty as before"
    );
    let mut it = world.assignment(1).clone();
    let rules = hbuf_core::rules::Rules::correct();
    it.registered(&rules, NodeId(1), NodeEpoch(99), Disk::Same);
    assert_eq!(it.in_sync[&NodeId(1)].from, Member::NOTHING);
}

#[test]
fn a_roles_or_address_that_cannot_be_written_is_not_made() {
    for text in ["", "manager,worker", "manager+none", "boss"] {
        assert!(text.parse::<Roles>().is_err(), "{text}");
    }
    for text in ["manager", "worker+gateway", "none"] {
        let roles: Roles = text.parse().unwrap();
        assert_eq!(format!("{roles}"), text);
    }
    assert!(Address::parse("a b:1").is_none() && Address::parse("").is_none());
    let longest = "x".repeat(hbuf_core::limits::NODE_ADDRESS_BYTES_MAX);
    assert!(Address::parse(&longest).is_some());
    assert!(Address::parse(&format!("{longest}x")).is_none());
}

#[test]
fn damage_that_a_node_finds_while_it_runs_takes_its_copy_out() {
    let mut world = three_nodes();
    let note = |node: u32, epoch| {
        assign(Assign::NoteDamage {
            uuid: uuid(1),
            node: NodeId(node),
            epoch,
        })
    };
    let superseded = Refused::NodeSuperseded { node: NodeId(1) };
    assert_eq!(world.refused(note(1, NodeEpoch(1))), superseded);
    let epoch = epoch_of(&world, 1);
    world.ok(note(1, epoch));
    let it = world.assignment(1);
    assert_eq!((it.primary, it.epoch), (Some(NodeId(2)), Epoch(2)));
    assert!(!it.in_sync.contains_key(&NodeId(1)) && it.copies.contains(&NodeId(1)));
    assert_eq!(it.tenures.get(&NodeId(1)), Some(&2));
    let read = text::read_back(&world.catalog, 80);
    assert_eq!(read, Ok(world.catalog.clone()));
}
