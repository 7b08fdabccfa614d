use super::*;

pub(super) const ONE: NodeId = NodeId(1);
pub(super) const TWO: NodeId = NodeId(2);
const THREE: NodeId = NodeId(3);
const FOUR: NodeId = NodeId(4);

fn member(node_epoch: u64) -> Member {
    Member {
        node_epoch: NodeEpoch(node_epoch),
        from: Seq::FIRST,
    }
}

/// One and two in sync, one primary; three is a copy that has not caught up.
fn assignment() -> Assignment {
    let mut it = of(&[ONE, TWO], 2);
    it.copies.insert(THREE);
    it
}

/// All in sync; a node's registration is its number.
pub(super) fn of(nodes: &[NodeId], min_in_sync: usize) -> Assignment {
    let registration = |node: &NodeId| (*node, NodeEpoch(u64::from(node.0)));
    let copies: Vec<_> = nodes.iter().map(registration).collect();
    Assignment::new(Uuid([1; 16]), &copies, min_in_sync)
}

pub(super) fn up(node: NodeId) -> Option<NodeFacts> {
    Some(NodeFacts {
        node_epoch: NodeEpoch(u64::from(node.0)),
        alive: true,
        draining: false,
        clock_off: false,
    })
}

fn all_but(down: &'static [NodeId]) -> impl Fn(NodeId) -> Option<NodeFacts> {
    move |node| {
        up(node).map(|facts| NodeFacts {
            alive: !down.contains(&node),
            ..facts
        })
    }
}

fn alter(version: u64, change: Change) -> Alter {
    Alter {
        by: ONE,
        epoch: Epoch(1),
        version,
        change,
    }
}

#[test]
fn a_change_counts_once_and_only_for_its_version() {
    let (rules, mut it) = (Rules::correct(), assignment());
    let shrink = alter(1, Change::Remove(TWO));
    assert_eq!(it.alter(&rules, &shrink, up), Ok(()));
    assert_eq!(it.alter(&rules, &shrink, up), Err(AlterRefused::Stale));
    let other = Alter {
        by: TWO,
        version: 2,
        ..shrink
    };
    assert_eq!(it.alter(&rules, &other, up), Err(AlterRefused::Stale));
}

#[test]
fn a_primary_does_not_take_itself_out() {
    let (rules, mut it) = (Rules::correct(), assignment());
    let itself = alter(1, Change::Remove(ONE));
    assert_eq!(it.alter(&rules, &itself, up), Err(AlterRefused::Primary));
    assert_eq!((it.version, it.in_sync.len()), (1, 2));
}

#[test]
fn only_a_copy_that_is_still_the_one_that_caught_up_joins() {
    let (rules, mut it) = (Rules::correct(), assignment());
    let add = |node, node_epoch| alter(1, Change::Add(NodeId(node), member(node_epoch)));
    let refused = it.alter(&rules, &add(4, 4), up);
    assert_eq!(refused, Err(AlterRefused::NoCopy));
    let refused = it.alter(&rules, &add(3, 2), up);
    assert_eq!(refused, Err(AlterRefused::Node), "it has restarted");
    let refused = it.alter(&rules, &add(3, 3), all_but(&[THREE]));
    assert_eq!(refused, Err(AlterRefused::Node), "it is down");
    assert_eq!(it.alter(&rules, &add(3, 3), up), Ok(()));
    assert_eq!(it.in_sync.len(), 3);
}

#[test]
fn a_member_that_fills_in_holds_more_and_never_less() {
    let (rules, mut it) = (Rules::correct(), assignment());
    let at = |seq, node_epoch| Member {
        from: Seq(seq),
        node_epoch: NodeEpoch(node_epoch),
    };
    it.in_sync.insert(TWO, at(9, 2));
    let holds = |seq, node_epoch| alter(1, Change::Holds(TWO, at(seq, node_epoch)));
    let refused = it.alter(&rules, &holds(10, 2), up);
    assert_eq!(refused, Err(AlterRefused::From));
    let refused = it.alter(&rules, &holds(5, 1), up);
    assert_eq!(refused, Err(AlterRefused::Node), "an earlier life of it");
    let stranger = alter(1, Change::Holds(THREE, at(1, 3)));
    let refused = it.alter(&rules, &stranger, up);
    assert_eq!(refused, Err(AlterRefused::NoCopy));
    assert_eq!(it.alter(&rules, &holds(5, 2), up), Ok(()));
    assert_eq!((it.in_sync[&TWO], it.version), (at(5, 2), 2));
}

#[test]
fn a_primary_that_restarts_gets_another_epoch() {
    let (rules, mut it) = (Rules::correct(), assignment());
    it.registered(&rules, ONE, NodeEpoch(9), Disk::Same);
    let again = |node: NodeId| {
        up(node).map(|facts| NodeFacts {
            node_epoch: if node == ONE {
                NodeEpoch(9)
            } else {
                facts.node_epoch
            },
            ..facts
        })
    };
    assert!(it.elect(&rules, again));
    assert_eq!((it.primary, it.epoch), (Some(ONE), Epoch(2)));
    assert!(!it.elect(&rules, again), "it is alive");
}

fn now_ten(node: NodeId) -> Option<NodeFacts> {
    up(node).map(|facts| NodeFacts {
        node_epoch: NodeEpoch(10),
        ..facts
    })
}

#[test]
fn a_member_that_lost_its_disk_goes_and_the_last_one_keeps_the_buffer_offline() {
    let (rules, mut it) = (Rules::correct(), assignment());
    it.registered(&rules, ONE, NodeEpoch(9), Disk::Lost);
    assert!(it.elect(&rules, up));
    assert_eq!((it.primary, it.in_sync.len()), (Some(TWO), 1));
    it.registered(&rules, TWO, NodeEpoch(9), Disk::Lost);
    assert!(!it.elect(&rules, now_ten));
    it.registered(&rules, TWO, NodeEpoch(10), Disk::Same);
    assert!(!it.elect(&rules, now_ten), "the disk is the same empty one");
    assert_eq!((it.primary, it.in_sync.len()), (None, 1));
}

#[test]
fn a_last_member_that_was_damaged_leads_again_when_it_is_whole() {
    let (rules, mut it) = (Rules::correct(), of(&[ONE], 1));
    it.registered(&rules, ONE, NodeEpoch(9), Disk::Damaged);
    assert!(!it.elect(&rules, now_ten));
    it.registered(&rules, ONE, NodeEpoch(10), Disk::Same);
    assert!(it.elect(&rules, now_ten));
    assert_eq!((it.primary, it.epoch), (Some(ONE), Epoch(2)));
}

#[test]
fn a_copy_that_began_at_the_tail_is_not_elected() {
    let (rules, mut it) = (Rules::correct(), assignment());
    let tail = Member {
        from: Seq(7),
        ..member(2)
    };
    it.in_sync.insert(TWO, tail);
    assert!(it.elect(&rules, all_but(&[ONE])));
    assert_eq!(it.primary, None);
    assert!(!it.note_kept(Epoch(1), Seq(7)), "nobody is primary");
    it.kept_from = Seq(7);
    assert!(
        it.elect(&rules, all_but(&[ONE])),
        "retention dropped what it lacks"
    );
    assert_eq!((it.primary, it.epoch), (Some(TWO), Epoch(2)));
}

#[test]
fn only_the_primary_says_what_is_kept_and_that_only_rises() {
    let mut it = assignment();
    assert!(!it.note_kept(Epoch(2), Seq(5)), "of another epoch");
    assert!(it.note_kept(Epoch(1), Seq(5)));
    assert!(!it.note_kept(Epoch(1), Seq(5)));
    assert!(!it.note_kept(Epoch(1), Seq(4)));
    assert_eq!((it.kept_from, it.version), (Seq(5), 2));
    assert!(it.set_min_in_sync(1));
    assert!(!it.set_min_in_sync(1));
    assert_eq!((it.min_in_sync, it.version), (1, 3));
}

#[test]
fn who_stays_leads_before_who_leaves_and_then_who_is_preferred() {
    let rules = Rules::correct();
    let mut it = of(&[ONE, THREE, FOUR, TWO], 1);
    let with = |draining: NodeId, clock: NodeId| {
        move |node: NodeId| {
            up(node).map(|facts| NodeFacts {
                alive: node != ONE,
                draining: node == draining,
                clock_off: node == clock,
                ..facts
            })
        }
    };
    let elected = |it: &Assignment, draining, clock| {
        let mut it = it.clone();
        it.elect(&rules, with(draining, clock));
        it.primary
    };
    assert_eq!(elected(&it, ONE, ONE), Some(THREE));
    assert_eq!(elected(&it, THREE, ONE), Some(FOUR));
    assert_eq!(elected(&it, FOUR, THREE), Some(TWO));
    it.leaving = [TWO, FOUR].into();
    assert_eq!(elected(&it, ONE, THREE), Some(FOUR), "both leave");
    it.in_sync.retain(|node, _| [ONE, THREE].contains(node));
    assert_eq!(elected(&it, ONE, THREE), None, "a wrong clock never leads");
    it.primary = Some(THREE);
    assert!(!it.elect(&rules, with(ONE, THREE)), "who leads, stays");
}

#[test]
fn a_buffer_is_handed_over_to_a_member_that_can_lead_and_to_nobody_else() {
    let (rules, mut it) = (Rules::correct(), of(&[ONE, TWO, THREE], 1));
    let refused = |it: &Assignment, facts: fn(NodeFacts) -> NodeFacts| {
        let facts = |node| up(node).map(facts);
        it.clone().hand_over(&rules, TWO, facts).unwrap_err()
    };
    let down = |it| NodeFacts { alive: false, ..it };
    assert_eq!(refused(&it, down), HandOverRefused::Down);
    let off = |it| NodeFacts {
        clock_off: true,
        ..it
    };
    assert_eq!(refused(&it, off), HandOverRefused::ClockOff);
    let drains = |it| NodeFacts {
        draining: true,
        ..it
    };
    assert_eq!(refused(&it, drains), HandOverRefused::Leaves);
    let stranger = it.clone().hand_over(&rules, FOUR, up);
    assert_eq!(stranger, Err(HandOverRefused::NotMember));
    let mut tail = it.clone();
    tail.in_sync.insert(
        TWO,
        Member {
            from: Seq(3),
            ..member(2)
        },
    );
    assert_eq!(refused(&tail, |it| it), HandOverRefused::NotWhole);
    assert_eq!(it.hand_over(&rules, TWO, up), Ok(true));
    assert_eq!(it.hand_over(&rules, TWO, up), Ok(false));
    assert_eq!((it.primary, it.epoch), (Some(TWO), Epoch(2)));
}

/// The primary adds a copy that holds everything from a seq on.
fn joins(it: &mut Assignment, node: NodeId, from: u64) {
    let (by, epoch, version) = (it.primary.unwrap(), it.epoch, it.version);
    let member = Member {
        from: Seq(from),
        ..member(u64::from(node.0))
    };
    let change = match it.in_sync.contains_key(&node) {
        true => Change::Holds(node, member),
        false => Change::Add(node, member),
    };
    let alter = Alter {
        by,
        epoch,
        version,
        change,
    };
    it.alter(&Rules::correct(), &alter, up).unwrap();
}

fn members(it: &Assignment) -> Vec<u32> {
    it.in_sync.keys().map(|node| node.0).collect()
}

#[test]
fn a_move_goes_copy_by_copy_and_the_primary_last() {
    let (rules, mut it) = (Rules::correct(), of(&[ONE, TWO, THREE], 2));
    let to = [NodeId(6), NodeId(5), FOUR];
    assert_eq!(it.set_copies(&rules, &to, up), Ok(true));
    assert_eq!(it.set_copies(&rules, &to, up), Ok(false));
    assert!(!it.settle(&rules, up), "nobody holds anything yet");
    assert_eq!((it.copies.len(), it.whole_min), (6, 3));
    joins(&mut it, FOUR, 1);
    assert!(it.settle(&rules, up));
    assert_eq!(members(&it), [1, 3, 4]);
    joins(&mut it, NodeId(5), 9);
    assert!(!it.settle(&rules, up), "it lacks what is before 9");
    joins(&mut it, NodeId(5), 1);
    assert!(it.settle(&rules, up));
    assert_eq!((members(&it), it.primary), ([1, 4, 5].into(), Some(ONE)));
    joins(&mut it, NodeId(6), 1);
    assert!(it.settle(&rules, up));
    assert_eq!(members(&it), [4, 5, 6]);
    assert_eq!((it.primary, it.epoch), (Some(NodeId(6)), Epoch(2)));
    assert_eq!((it.copies.len(), it.leaving.len(), it.whole_min), (3, 0, 0));
    assert_eq!(it.broken(), None);
}

#[test]
fn a_move_is_taken_back_by_naming_the_nodes_of_before() {
    let (rules, mut it) = (Rules::correct(), of(&[ONE, TWO], 2));
    it.set_copies(&rules, &[THREE, FOUR], up).unwrap();
    joins(&mut it, THREE, 1);
    it.settle(&rules, up);
    assert_eq!(members(&it), [1, 3]);
    it.set_copies(&rules, &[ONE, TWO], up).unwrap();
    it.settle(&rules, up);
    assert_eq!(members(&it), [1, 3], "two has left: it must catch up anew");
    joins(&mut it, TWO, 1);
    it.settle(&rules, up);
    assert_eq!((members(&it), it.copies.len()), ([1, 2].into(), 2));
    assert_eq!((it.epoch, it.whole_min), (Epoch(1), 0));
}

#[test]
fn nobody_leaves_while_the_others_are_down() {
    let (rules, mut it) = (Rules::correct(), of(&[ONE, TWO], 1));
    it.set_copies(&rules, &[TWO, THREE], up).unwrap();
    joins(&mut it, THREE, 1);
    assert!(!it.clone().settle(&rules, all_but(&[THREE])));
    assert!(!it.clone().settle(&rules, all_but(&[TWO])));
    assert!(it.settle(&rules, up));
    assert_eq!(it.primary, Some(TWO));
}

#[test]
fn one_copy_moves_without_a_moment_in_which_nobody_holds_everything() {
    let (rules, mut it) = (Rules::correct(), of(&[ONE], 1));
    it.set_copies(&rules, &[TWO], up).unwrap();
    assert!(!it.settle(&rules, up));
    joins(&mut it, TWO, 4);
    assert!(!it.settle(&rules, up));
    joins(&mut it, TWO, 1);
    assert!(it.settle(&rules, up));
    assert_eq!((members(&it), it.primary), ([2].into(), Some(TWO)));
}

#[test]
fn a_move_to_unknown_too_few_or_too_many_nodes_is_refused() {
    let (rules, mut it) = (Rules::correct(), of(&[ONE, TWO], 2));
    let known = |node: NodeId| up(node).filter(|_| node.0 < 30);
    let to = |it: &mut Assignment, nodes: &[u32]| {
        let nodes: Vec<NodeId> = nodes.iter().copied().map(NodeId).collect();
        it.set_copies(&rules, &nodes, known)
    };
    let count = |got| Err(MoveRefused::Count { got, least: 2 });
    assert_eq!(to(&mut it, &[]), count(0));
    assert_eq!(to(&mut it, &[3]), count(1));
    assert_eq!(to(&mut it, &[1, 2, 3, 4, 5, 6, 7, 8, 9]), count(9));
    assert_eq!(to(&mut it, &[3, 3]), Err(MoveRefused::Twice(THREE)));
    let unknown = Err(MoveRefused::Unknown(NodeId(30)));
    assert_eq!(to(&mut it, &[1, 30]), unknown);
    let drains = |node| {
        up(node).map(|facts| NodeFacts {
            draining: node == THREE,
            ..facts
        })
    };
    let refused = it.set_copies(&rules, &[ONE, THREE], drains);
    assert_eq!(refused, Err(MoveRefused::Leaves(THREE)));
    assert_eq!(to(&mut it, &[11, 12, 13, 14, 15, 16, 17, 18]), Ok(true));
    let unfinished = Err(MoveRefused::Unfinished);
    assert_eq!(to(&mut it, &[21, 22, 23, 24, 25, 26, 27, 28]), unfinished);
    assert_eq!(to(&mut it, &[2, 1]), Ok(true), "taking it back is no more");
}

fn force(node: NodeId, from: u64, through: u64, history: u8) -> Force {
    Force {
        node,
        member: Member {
            from: Seq(from),
            ..member(u64::from(node.0))
        },
        through: Seq(through),
        history: Uuid([history; 16]),
        last: None,
        although_fit: false,
    }
}

#[test]
fn a_forced_election_begins_a_history_with_one_copy_and_says_what_is_left_of_the_old() {
    let (rules, mut it) = (Rules::correct(), assignment());
    it.kept_from = Seq(3);
    let down = all_but(&[ONE, TWO]);
    it.elect(&rules, &down);
    let last = Checkpoint {
        size: Seq(20),
        root: crate::ids::Hash([5; 32]),
    };
    let force = Force {
        last: Some(last),
        ..force(THREE, 9, 12, 2)
    };
    assert_eq!(it.force(&rules, &force, &down), Ok(()));
    assert_eq!((it.primary, it.epoch), (Some(THREE), Epoch(2)));
    assert_eq!((members(&it), it.kept_from), ([3].into(), Seq(9)));
    assert_eq!(it.history, Uuid([2; 16]));
    let ended = Ended {
        history: Uuid([1; 16]),
        epoch: Epoch(1),
        last: Some(last),
        kept_from: Seq(9),
        kept_through: Seq(12),
        folded: 0,
    };
    assert_eq!(it.ended, [ended]);
    assert!(!it.elect(&rules, &down), "it leads");
    assert_eq!(it.broken(), None);
}

#[test]
fn an_election_is_not_forced_while_the_old_primary_lives_or_somebody_fits() {
    let (rules, mut it) = (Rules::correct(), assignment());
    let other = |node, history| Force {
        although_fit: true,
        ..force(node, 1, 5, history)
    };
    let lives = Err(ForceRefused::PrimaryLives(ONE));
    assert_eq!(it.force(&rules, &other(THREE, 2), up), lives);
    let one_down = all_but(&[ONE]);
    it.elect(&rules, &one_down);
    assert_eq!(it.primary, Some(TWO));
    let fits = it.force(&rules, &force(TWO, 1, 5, 2), &one_down);
    assert_eq!(fits, Err(ForceRefused::Fit(TWO)));
    assert_eq!(it.force(&rules, &other(TWO, 2), &one_down), Ok(()));
    let again = it.force(&rules, &other(TWO, 1), &one_down);
    assert_eq!(again, Err(ForceRefused::History));
}

#[test]
fn an_election_is_forced_for_a_copy_that_is_there_and_a_range_that_makes_sense() {
    let (rules, mut it) = (Rules::correct(), assignment());
    let down = all_but(&[ONE, TWO]);
    it.elect(&rules, &down);
    let mut refused = |force: Force, facts: &dyn Fn(NodeId) -> Option<NodeFacts>| {
        it.force(&rules, &force, facts).unwrap_err()
    };
    let stranger = refused(force(FOUR, 1, 5, 2), &down);
    assert_eq!(stranger, ForceRefused::NoCopy);
    let dead = refused(force(TWO, 1, 5, 2), &down);
    assert_eq!(dead, ForceRefused::Node);
    let restarted = refused(force(THREE, 1, 5, 2), &now_ten);
    assert_eq!(restarted, ForceRefused::Node);
    for (from, through) in [(0, 5), (7, 5), (1, u64::MAX)] {
        let senseless = refused(force(THREE, from, through, 2), &down);
        assert_eq!(senseless, ForceRefused::Range);
    }
    assert_eq!(it.force(&rules, &force(THREE, 6, 5, 2), &down), Ok(()));
}

#[test]
fn what_a_copy_of_an_older_history_knows_counts_as_far_as_it_was_kept() {
    let (rules, mut it) = (Rules::correct(), of(&[ONE], 1));
    for (through, history) in [(5, 2), (8, 3)] {
        let force = Force {
            although_fit: true,
            ..force(ONE, 1, through, history)
        };
        it.force(&rules, &force, up).unwrap();
    }
    let known = |commit, epoch| it.known_in_history(Seq(commit), Epoch(epoch));
    assert_eq!((known(9, 1), known(4, 1)), (Seq(5), Seq(4)));
    assert_eq!((known(9, 2), known(9, 3)), (Seq(8), Seq(9)));
}

#[test]
fn the_oldest_histories_are_folded_into_one() {
    let (rules, mut it) = (Rules::correct(), of(&[ONE], 1));
    for history in 2..=70 {
        let force = Force {
            although_fit: true,
            ..force(ONE, 1, 5, history)
        };
        it.force(&rules, &force, up).unwrap();
    }
    assert_eq!(it.ended.len(), crate::limits::HISTORIES_MAX);
    let oldest = it.ended[0];
    assert_eq!((oldest.history, oldest.folded), (Uuid([6; 16]), 5));
    assert_eq!(it.ended[1].history, Uuid([7; 16]));
    assert_eq!(it.epoch, Epoch(70));
}
