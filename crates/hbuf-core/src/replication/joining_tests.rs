//! Who is taken into the in-sync set, by what is known of its two logs.

use alloc::sync::Arc;

use super::*;
use crate::ids::{Epoch, Micros, NodeId, Seq, Uuid};
use crate::rules::Rules;
use crate::segment::LogKind;

const ONE: NodeId = NodeId(1);
const TWO: NodeId = NodeId(2);
const NOW: Micros = Micros(1);

fn log(end: u64) -> Log {
    Log {
        from: Seq::FIRST,
        end: Seq(end),
        durable: Seq(end),
        commit: Seq(end),
        ..Log::default()
    }
}

/// One leads alone, with 5 messages and 3 records of consumers; two is a copy.
fn leader() -> Leader {
    let mut assignment = Assignment::new(Uuid([1; 16]), &[(ONE, NodeEpoch(1))], 1);
    assignment.copies.insert(TWO);
    let assignment = Arc::new(assignment);
    Leader::appointed(&Rules::correct(), ONE, &assignment, log(5), log(3))
}

fn holds(leader: &mut Leader, life: u64, log: LogKind, durable: u64) {
    let word = Word::Holds {
        from: Seq::FIRST,
        durable: Seq(durable),
        commit: Seq::ZERO,
        round: 0,
    };
    let answer = FromCopy {
        epoch: Epoch(1),
        node_epoch: NodeEpoch(life),
        tenure: leader.assignment().tenure(TWO),
        word,
    };
    leader.on_answer(NOW, log, TWO, answer);
}

/// The consumers' records that its last life held may be gone with its disk: only its messages are
/// known of this life.
#[test]
fn a_copy_whose_cursors_are_known_of_an_earlier_life_is_not_taken_in() {
    let rules = Rules::correct();
    let mut leader = leader();
    holds(&mut leader, 2, LogKind::Cursors, 3);
    holds(&mut leader, 7, LogKind::Messages, 5);
    assert_eq!(leader.on_time(&rules, NOW), None);
    holds(&mut leader, 7, LogKind::Cursors, 2);
    assert_eq!(leader.on_time(&rules, NOW), None);
    holds(&mut leader, 7, LogKind::Cursors, 3);
    let asked = leader.on_time(&rules, NOW).map(|alter| alter.change);
    let member = Member {
        node_epoch: NodeEpoch(7),
        from: Seq::FIRST,
    };
    assert_eq!(asked, Some(Change::Add(TWO, member)));
}

#[test]
fn a_copy_whose_messages_are_known_of_an_earlier_life_is_not_taken_in() {
    let rules = Rules::correct();
    let mut leader = leader();
    holds(&mut leader, 2, LogKind::Messages, 5);
    holds(&mut leader, 7, LogKind::Cursors, 3);
    assert_eq!(leader.on_time(&rules, NOW), None);
}
