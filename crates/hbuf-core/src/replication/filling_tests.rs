//! A copy that began near the tail fills in what is before, whatever is lost on the way.

use alloc::sync::Arc;
use alloc::vec;
use alloc::vec::Vec;

use super::*;
use crate::ids::{Epoch, Micros, NodeId, Seq, Uuid};
use crate::limits::{ASK_AGAIN_MICROS, COPY_SILENT_MICROS, FILL_RECORDS_MAX};
use crate::rules::Rules;
use crate::segment::LogKind;

const ONE: NodeId = NodeId(1);
const TWO: NodeId = NodeId(2);
const THREE: NodeId = NodeId(3);
const BEGINS: Seq = Seq(2_501);
const END: Seq = Seq(3_000);
const NOW: Micros = Micros(1);

fn log_from(from: Seq) -> Log {
    Log {
        from,
        end: END,
        durable: END,
        commit: END,
        epochs: Epochs::of(vec![(Epoch(1), Seq::FIRST)]),
    }
}

fn leader_of(record: &Assignment) -> Leader {
    let record = Arc::new(record.clone());
    let cursors = Log::default();
    Leader::appointed(
        &Rules::correct(),
        ONE,
        &record,
        log_from(Seq::FIRST),
        cursors,
    )
}

/// One leads, two is a member that begins late.
fn two_members() -> Assignment {
    let nodes = [(ONE, NodeEpoch(1)), (TWO, NodeEpoch(2))];
    let mut record = Assignment::new(Uuid([1; 16]), &nodes, 1);
    record.in_sync.get_mut(&TWO).unwrap().from = BEGINS;
    record
}

fn says(word: Word, node: NodeId) -> FromCopy {
    FromCopy {
        epoch: Epoch(1),
        node_epoch: NodeEpoch(u64::from(node.0)),
        tenure: 0,
        word,
    }
}

fn holds(from: Seq, durable: Seq) -> Word {
    Word::Holds {
        from,
        durable,
        commit: durable,
        round: 0,
    }
}

/// A leader that knows where the copy begins, and the copy.
fn pair() -> (Leader, Copy) {
    let mut leader = leader_of(&two_members());
    let answer = says(holds(BEGINS, END), TWO);
    leader.on_answer(NOW, LogKind::Messages, TWO, answer);
    let mut copy = Copy::open(NodeEpoch(2), Epoch(1), log_from(BEGINS));
    let lead = ToCopy::Lead {
        epoch: Epoch(1),
        to: NodeEpoch(2),
        end: END,
        epochs: Epochs::of(vec![(Epoch(1), Seq::FIRST)]),
        commit: END,
        ended: Vec::new(),
    };
    copy.on_message(&Rules::correct(), &lead);
    (leader, copy)
}

/// One message of a segment, and what the copy does with it.
fn one(leader: &mut Leader, copy: &mut Copy, first: Seq) -> Taken {
    assert_eq!(leader.fills(), [TWO]);
    assert_eq!(leader.fills(), [], "it is said once");
    let message = leader
        .pull_fill(NOW, TWO, (first, u64::MAX))
        .expect("something lacks");
    assert_eq!(leader.fills(), [], "one at a time");
    copy.on_message(&Rules::correct(), &message)
}

fn hear(leader: &mut Leader, answer: FromCopy) {
    leader.on_answer(NOW, LogKind::Messages, TWO, answer);
}

#[test]
fn a_segment_is_filled_in_by_pieces_and_counts_when_all_of_it_is_durable() {
    let (rules, (mut leader, mut copy)) = (Rules::correct(), pair());
    let first = Seq(1_201);
    let piece = one(&mut leader, &mut copy, first);
    let through = first.prev().plus(FILL_RECORDS_MAX);
    let fill = |after, through, whole| Fill {
        first,
        after,
        through,
        whole,
    };
    assert_eq!(piece.fill, Some(fill(first.prev(), through, false)));
    let answer = piece.answer.unwrap();
    assert_eq!(answer.word, Word::Filled { first, through });
    hear(&mut leader, answer);
    let rest = one(&mut leader, &mut copy, first);
    assert_eq!(rest.fill, Some(fill(through, BEGINS.prev(), true)));
    assert_eq!((rest.answer, copy.log().from), (None, BEGINS));
    let answer = copy.on_filled(&rules, first).expect("it is led");
    assert_eq!(answer.word, holds(first, END));
    assert_eq!(copy.on_filled(&rules, first), None, "once");
    hear(&mut leader, answer);
    // The next segment, which is the last one.
    let last = one(&mut leader, &mut copy, Seq(1_000));
    assert!(last.fill.unwrap().whole);
    hear(&mut leader, copy.on_filled(&rules, Seq(1_000)).unwrap());
    assert_eq!(
        leader.on_time(&rules, NOW),
        None,
        "it still lacks something"
    );
    one(&mut leader, &mut copy, Seq::FIRST);
    hear(&mut leader, copy.on_filled(&rules, Seq::FIRST).unwrap());
    assert_eq!(leader.fills(), []);
    let asked = leader.on_time(&rules, NOW).expect("it holds all by now");
    let whole = Member {
        node_epoch: NodeEpoch(2),
        from: Seq::FIRST,
    };
    assert_eq!(asked.change, Change::Holds(TWO, whole));
}

#[test]
fn what_is_lost_is_sent_again_from_where_the_copy_is() {
    let (mut leader, mut copy) = pair();
    let (rules, first) = (Rules::correct(), Seq(1_201));
    one(&mut leader, &mut copy, first);
    // The answer is lost.
    let later = NOW.plus(COPY_SILENT_MICROS);
    assert_eq!(leader.due(), Some(later));
    leader.on_time(&rules, later);
    assert_eq!(leader.fills(), [TWO]);
    let again = leader.pull_fill(later, TWO, (first, u64::MAX)).unwrap();
    let taken = copy.on_message(&rules, &again);
    assert!(taken.fill.is_some_and(|fill| fill.after < first), "anew");
    // It was late only, and the copy has come further meanwhile.
    let from_behind = ToCopy::Fill {
        epoch: Epoch(1),
        first,
        last: BEGINS.prev(),
        after: Seq(2_300),
        through: Seq(2_400),
    };
    let nothing = copy.on_message(&rules, &from_behind);
    let through = first.prev().plus(FILL_RECORDS_MAX);
    assert_eq!(nothing.fill, None);
    assert_eq!(
        nothing.answer.unwrap().word,
        Word::Filled { first, through }
    );
}

#[test]
fn what_does_not_end_where_the_copy_begins_is_not_taken() {
    let (_, mut copy) = pair();
    let fill = |first, last| ToCopy::Fill {
        epoch: Epoch(1),
        first,
        last,
        after: first.prev(),
        through: last,
    };
    let taken = copy.on_message(&Rules::correct(), &fill(Seq(10), Seq(20)));
    assert_eq!(taken.fill, None);
    assert_eq!(taken.answer.unwrap().word, holds(BEGINS, END));
}

#[test]
fn a_mark_that_comes_while_a_segment_is_made_durable_begins_with_it() {
    let (rules, (mut leader, mut copy)) = (Rules::correct(), pair());
    let first = Seq(2_000);
    assert!(one(&mut leader, &mut copy, first).fill.unwrap().whole);
    let mark = |first, at| ToCopy::Mark {
        epoch: Epoch(1),
        at: Seq(at),
        first: Seq(first),
    };
    let taken = copy.on_message(&rules, &mark(1, 2_900));
    assert_eq!(taken.mark, Some((Seq(2_900), first)));
    assert_eq!(
        copy.log().from,
        BEGINS,
        "nothing is said before it is durable"
    );
    // Retention has gone beyond it meanwhile: what was filled in is of no use any more.
    let taken = copy.on_message(&rules, &mark(2_700, 2_950));
    assert_eq!(
        (taken.mark, taken.drop),
        (Some((Seq(2_950), Seq(2_700))), Some(Seq(2_700)))
    );
    assert_eq!(copy.on_filled(&rules, first), None);
    assert_eq!(copy.log().from, Seq(2_700));
}

#[test]
fn one_that_the_manager_refuses_keeps_no_other_out() {
    let rules = Rules::correct();
    let mut record = Assignment::new(Uuid([1; 16]), &[(ONE, NodeEpoch(1))], 1);
    record.copies.extend([TWO, THREE]);
    let mut leader = leader_of(&record);
    for node in [TWO, THREE] {
        for (log, durable) in [(LogKind::Messages, END), (LogKind::Cursors, Seq::ZERO)] {
            leader.on_answer(NOW, log, node, says(holds(Seq::FIRST, durable), node));
        }
    }
    let refused = leader.on_time(&rules, NOW).unwrap();
    assert!(refused.change.adds(TWO));
    let later = NOW.plus(ASK_AGAIN_MICROS);
    assert_eq!(
        leader.on_time(&rules, later).unwrap().change,
        Change::Nothing
    );
    record.version += 1;
    leader.on_decided(&Arc::new(record));
    assert!(leader.on_time(&rules, later).unwrap().change.adds(THREE));
}

#[test]
fn old_records_leave_a_node_no_faster_than_they_may() {
    let mut pace = FillPace::new(1_000);
    assert_eq!(pace.next(Micros(5)), Micros(5));
    pace.sent(Micros(5), 500);
    assert_eq!(pace.next(Micros(6)), Micros(500_005));
    pace.sent(Micros(500_005), 2_000);
    assert_eq!(pace.next(Micros(9)), Micros(2_500_005));
    pace.restart();
    assert_eq!(pace.next(Micros(9)), Micros(9));
}
