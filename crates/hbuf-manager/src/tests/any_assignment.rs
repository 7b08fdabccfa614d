//! Any command about nodes and assignments.

use proptest::prelude::*;

use hbuf_core::replication::{Alter, Change, Checkpoint, Force, Member};

use super::*;

fn any_node() -> impl Strategy<Value = NodeId> {
    (1_u32..5).prop_map(NodeId)
}

/// Registrations are indexes of the log: the first ones are those of a new world.
fn any_epoch() -> impl Strategy<Value = NodeEpoch> {
    (2_u64..9).prop_map(NodeEpoch)
}

fn any_member() -> impl Strategy<Value = Member> {
    (any_epoch(), 1_u64..6).prop_map(|(node_epoch, from)| Member {
        node_epoch,
        from: Seq(from),
    })
}

pub(super) fn any_change() -> impl Strategy<Value = NodeChange> {
    let flag = || prop::option::weighted(0.2, any::<bool>());
    let zone = prop::option::weighted(0.2, Just(name("z1")));
    let roles = prop::sample::select(["none", "manager", "worker+gateway"].to_vec());
    let roles = prop::option::weighted(0.2, roles.prop_map(|text| text.parse().unwrap()));
    let address = prop::option::weighted(0.2, Just(Address::parse("h=1:7").unwrap()));
    (flag(), flag(), zone, roles, address).prop_map(
        |(draining, clock_off, zone, roles, address)| NodeChange {
            draining,
            clock_off,
            zone,
            roles,
            address,
        },
    )
}

fn any_alter() -> impl Strategy<Value = Alter> {
    let change = prop_oneof![
        (any_node(), any_member()).prop_map(|(node, member)| Change::Add(node, member)),
        (any_node(), any_member()).prop_map(|(node, member)| Change::Holds(node, member)),
        any_node().prop_map(Change::Remove),
        Just(Change::Nothing),
    ];
    (any_node(), 1_u32..4, 1_u64..6, change).prop_map(|(by, epoch, version, change)| Alter {
        by,
        epoch: Epoch(epoch),
        version,
        change,
    })
}

fn any_force() -> impl Strategy<Value = Box<Force>> {
    let last = prop::option::of((0_u64..9).prop_map(|size| Checkpoint {
        size: Seq(size),
        root: Hash([3; 32]),
    }));
    let force = (
        any_node(),
        any_member(),
        0_u64..9,
        20_u64..30,
        last,
        any::<bool>(),
    );
    force.prop_map(|(node, member, through, history, last, although_fit)| {
        Box::new(Force {
            node,
            member,
            through: Seq(through),
            history: uuid(history),
            last,
            although_fit,
        })
    })
}

pub(super) fn any_assign() -> impl Strategy<Value = Assign> {
    let buffer = || (0_u64..8).prop_map(uuid);
    let expected = || prop::option::weighted(0.2, 1_u64..5);
    let sessions = prop::collection::vec((any_node(), any_epoch()), 0..3);
    let copies = prop::collection::vec(any_node(), 0..4);
    let kept = (
        buffer(),
        (1_u32..3).prop_map(Epoch),
        (1_u64..6).prop_map(Seq),
    );
    prop_oneof![
        sessions.prop_map(|nodes| Assign::FenceNodes { nodes }),
        (any_node(), any_epoch()).prop_map(|(node, epoch)| Assign::ReviveNode { node, epoch }),
        (any_node(), any_epoch()).prop_map(|(node, epoch)| {
            let life = uuid(epoch.0);
            Assign::RenewLife { node, epoch, life }
        }),
        (any_node(), any_change()).prop_map(|(node, change)| Assign::SetNode { node, change }),
        any_node().prop_map(|node| Assign::RemoveNode { node }),
        (buffer(), any_alter()).prop_map(|(uuid, alter)| Assign::AlterInSync { uuid, alter }),
        (buffer(), any_node(), any_epoch()).prop_map(|(uuid, node, epoch)| Assign::NoteDamage {
            uuid,
            node,
            epoch
        }),
        (buffer(), expected(), copies).prop_map(|(uuid, expected, copies)| Assign::SetCopies {
            uuid,
            expected,
            copies
        }),
        (buffer(), expected(), any_node()).prop_map(|(uuid, expected, to)| Assign::HandOver {
            uuid,
            expected,
            to
        }),
        (buffer(), expected(), any_force()).prop_map(|(uuid, expected, force)| {
            Assign::ForceElect {
                uuid,
                expected,
                force,
            }
        }),
        prop::collection::vec(kept, 0..3).prop_map(|kept| Assign::NoteKept { kept }),
    ]
}
