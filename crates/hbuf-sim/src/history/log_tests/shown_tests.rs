//! What reads may show, and how fresh they are.

use super::*;

fn three() -> ([AppendOp; 3], [FinalLog; 1], ReadOp) {
    let appends = [1, 2, 3].map(|number| unknown(u64::from(number), 0, &[number]));
    let right = read(4, (1, 2), 0, &[1, 2, 3]);
    (appends, [log("n1", &[1, 2, 3])], right)
}

fn bent(read: &ReadOp, bend: fn(&mut ReadOp)) -> [ReadOp; 1] {
    let mut read = read.clone();
    bend(&mut read);
    [read]
}

fn without_the_second(read: &mut ReadOp) {
    shown(read).messages.remove(1);
}

#[test]
fn a_read_shows_all_of_its_range_in_order() {
    let (appends, logs, right) = three();
    assert_passes(&appends, std::slice::from_ref(&right), &logs);
    let bends: [fn(&mut ReadOp); 7] = [
        without_the_second,
        |read| shown(read).messages.swap(0, 1),
        |read| shown(read).messages.truncate(2),
        |read| shown(read).through = Seq(2),
        |read| read.call.after = Seq(1),
        |read| shown(read).messages[1].content = Some(digest(1)),
        |read| shown(read).messages[1].id = Some(id_of(1)),
    ];
    for bend in bends {
        only(Check::ReadIsASlice, &appends, &bent(&right, bend), &logs);
    }
    let hole = bent(&right, without_the_second);
    let (what, _) = only(Check::ReadIsASlice, &appends, &hole, &logs);
    let end = "it leaves out 2, which copy n1 has";
    assert!(what.ends_with(end), "{what}");
}

#[test]
fn limits_filters_erasure_and_retention_leave_messages_out() {
    let (appends, logs, right) = three();
    let limited = bent(&right, |read| {
        shown(read).messages.truncate(1);
        shown(read).through = Seq(1);
    });
    assert_passes(&appends, &limited, &logs);
    let filtered = bent(&right, |read| {
        without_the_second(read);
        read.call.filtered = true;
    });
    assert_passes(&appends, &filtered, &logs);
    let hole = bent(&right, without_the_second);
    let mut erased = logs.clone();
    erased[0].records[1].content = None;
    assert_passes(&appends, &hole, &erased);
    let late = bent(&right, |read| {
        shown(read).messages.remove(0);
    });
    only(Check::ReadIsASlice, &appends, &late, &logs);
    let mut dropped = logs;
    dropped[0].records.remove(0);
    dropped[0].first = Seq(2);
    assert_passes(&appends, &late, &dropped);
    // An acknowledged message is left out in the range that retention has dropped since.
    let appends = [
        acked(1, (0, 0), &[1], 1),
        acked(2, (0, 0), &[2], 2),
        unknown(3, 0, &[3]),
    ];
    dropped[0].records.remove(0);
    dropped[0].first = Seq(3);
    let (_, operations) = only(Check::ReadIsASlice, &appends, &hole, &dropped);
    assert_eq!(operations, [2, 4]);
}

#[test]
fn what_was_shown_is_not_taken_back() {
    let appends = [unknown(1, 0, &[1]), unknown(2, 0, &[2])];
    let reads = [read(3, (1, 2), 0, &[1, 2])];
    only(Check::CommitMonotonic, &appends, &reads, &[log("n1", &[1])]);
    // A new history says what it lost.
    let new = with_history(log("n1", &[1]), 2, 1);
    assert_passes(&appends, &reads, &[new]);
}

#[test]
fn a_linearizable_read_shows_what_was_known_before() {
    let appends = [acked(1, (0, 5), &[1], 1), acked(2, (0, 5), &[2], 2)];
    let logs = [log("n1", &[1, 2])];
    let stale = read(3, (6, 7), 0, &[1]);
    let (_, operations) = only(
        Check::TailIsFresh,
        &appends,
        std::slice::from_ref(&stale),
        &logs,
    );
    assert_eq!(operations, [2, 3]);
    assert_passes(&appends, &[read(3, (5, 7), 0, &[1])], &logs);
    let mut any = stale;
    any.call.freshness = Freshness::Any;
    assert_passes(&appends, &[any], &logs);
    // What another client was shown counts too.
    let appends = [unknown(1, 0, &[1]), unknown(2, 0, &[2])];
    let mut other = read(4, (6, 7), 0, &[1, 2]);
    other.client = ClientId(9);
    only(
        Check::TailIsFresh,
        &appends,
        &[other.clone(), read(3, (8, 9), 0, &[1])],
        &logs,
    );
    assert_passes(&appends, &[other, read(3, (7, 9), 0, &[1])], &logs);
}

#[test]
fn a_clients_tail_does_not_go_back() {
    let appends = [unknown(1, 0, &[1]), unknown(2, 0, &[2])];
    let logs = [log("n1", &[1, 2])];
    let from = |id, span, messages: &[u8], copy: &str| {
        let mut read = read(id, span, 0, messages);
        read.call.freshness = Freshness::Any;
        shown(&mut read).from = Some(copy.to_owned());
        read
    };
    let reads = [from(3, (1, 2), &[1, 2], "n1"), from(4, (3, 4), &[1], "n1")];
    let (_, operations) = only(Check::TailNeverGoesBack, &appends, &reads, &logs);
    assert_eq!(operations, [3, 4]);
    let reads = [from(3, (1, 2), &[1, 2], "n1"), from(4, (3, 4), &[1], "n2")];
    assert_passes(&appends, &reads, &logs);
    let mut reads = [from(3, (1, 2), &[1, 2], "n1"), from(4, (3, 4), &[1], "n1")];
    reads[1].client = ClientId(2);
    assert_passes(&appends, &reads, &logs);
    // Of one client the second began in the moment in which the first ended.
    let reads = [read(3, (1, 2), 0, &[1, 2]), read(4, (2, 4), 0, &[1])];
    only(Check::TailNeverGoesBack, &appends, &reads, &logs);
}

#[test]
fn what_one_read_adds_another_one_is_compared_with() {
    // Neither log nor acknowledgement tell the id; the reads tell different ones.
    let mut append = acked(1, (0, 0), &[1], 1);
    stored(&mut append).ids.clear();
    let mut logs = [log("n1", &[1])];
    logs[0].records[0].id = None;
    let mut reads = [read(2, (1, 2), 0, &[1]), read(3, (3, 4), 0, &[1])];
    assert_passes(std::slice::from_ref(&append), &reads, &logs);
    shown(&mut reads[1]).messages[0].id = Some(id_of(2));
    only(Check::ReadIsASlice, &[append], &reads, &logs);
}
