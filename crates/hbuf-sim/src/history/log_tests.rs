//! Each check of logs turns red for its own reason, and for no other; right histories pass.

use std::collections::BTreeSet;

use hbuf_core::ids::{Epoch, Hash, Seq, Uuid};

use super::*;

mod shown_tests;

/// The content, or the id, of message `number`.
fn digest(number: u8) -> Hash {
    Hash([number; 32])
}

fn id_of(number: u8) -> Hash {
    Hash([number | 0x80; 32])
}

fn history(number: u8) -> Uuid {
    Uuid([number; 16])
}

/// An append of these messages by client `id`, acknowledged at `first` in history 1 and epoch 1.
fn acked(id: u64, span: (u64, u64), messages: &[u8], first: u64) -> AppendOp {
    let mut append = unknown(id, span.0, messages);
    append.outcome = Outcome::Answered {
        end: Moment(span.1),
        answer: Stored {
            level: Level::InSync,
            first: Seq(first),
            epoch: Epoch(1),
            history: history(1),
            ids: messages.iter().map(|number| id_of(*number)).collect(),
        },
    };
    append
}

fn unknown(id: u64, begin: u64, messages: &[u8]) -> AppendOp {
    Operation {
        id: OpId(id),
        client: ClientId(u32::try_from(id).unwrap()),
        begin: Moment(begin),
        call: Append {
            buffer: "orders".to_owned(),
            token: None,
            messages: messages.iter().map(|number| digest(*number)).collect(),
        },
        outcome: Outcome::Unknown,
    }
}

fn failed(id: u64, span: (u64, u64), messages: &[u8]) -> AppendOp {
    let mut append = unknown(id, span.0, messages);
    append.outcome = Outcome::Failed {
        end: Moment(span.1),
    };
    append
}

fn under_key(mut append: AppendOp, key: &str) -> AppendOp {
    append.call.token = Some(Token::Key(key.to_owned()));
    append
}

fn stored(append: &mut AppendOp) -> &mut Stored {
    match &mut append.outcome {
        Outcome::Answered { answer, .. } => answer,
        other => panic!("{other:?}"),
    }
}

/// A linearizable read behind `after` that shows these messages from there on, up to the tail.
fn read(id: u64, span: (u64, u64), after: u64, messages: &[u8]) -> ReadOp {
    let last = Seq(after + messages.len() as u64);
    let shown = (after + 1..)
        .zip(messages)
        .map(|(seq, number)| ShownMessage {
            seq: Seq(seq),
            content: Some(digest(*number)),
            id: Some(id_of(*number)),
        });
    Operation {
        id: OpId(id),
        client: ClientId(1),
        begin: Moment(span.0),
        call: Read {
            buffer: "orders".to_owned(),
            after: Seq(after),
            freshness: Freshness::Linearizable,
            filtered: false,
        },
        outcome: Outcome::Answered {
            end: Moment(span.1),
            answer: Shown {
                from: None,
                history: history(1),
                through: last,
                tail: Some(last),
                messages: shown.collect(),
            },
        },
    }
}

fn shown(read: &mut ReadOp) -> &mut Shown {
    match &mut read.outcome {
        Outcome::Answered { answer, .. } => answer,
        other => panic!("{other:?}"),
    }
}

/// What an in-sync copy holds: these messages from seq 1 on; 0 is a record of the server.
fn log(copy: &str, messages: &[u8]) -> FinalLog {
    let records = (1..).zip(messages).map(|(seq, number)| LogRecord {
        seq: Seq(seq),
        epoch: Epoch(1),
        content: Some(digest(*number)),
        id: Some(id_of(*number)),
        is_message: *number != 0,
    });
    FinalLog {
        copy: copy.to_owned(),
        buffer: "orders".to_owned(),
        in_sync: true,
        histories: vec![HistoryStart {
            history: history(1),
            kept: Seq::ZERO,
        }],
        first: Seq::FIRST,
        commit: Seq(messages.len() as u64),
        gone: BTreeSet::new(),
        records: records.collect(),
    }
}

fn with_history(mut log: FinalLog, number: u8, kept: u64) -> FinalLog {
    log.histories.push(HistoryStart {
        history: history(number),
        kept: Seq(kept),
    });
    log
}

fn judge(appends: &[AppendOp], reads: &[ReadOp], logs: &[FinalLog]) -> LogVerdict {
    check_logs(&LogHistory {
        appends: appends.to_vec(),
        reads: reads.to_vec(),
        logs: logs.to_vec(),
    })
}

#[track_caller]
fn assert_passes(appends: &[AppendOp], reads: &[ReadOp], logs: &[FinalLog]) {
    let verdict = judge(appends, reads, logs);
    assert!(verdict.findings.is_empty(), "{:#?}", verdict.findings);
}

/// Finds this and nothing else; gives the first words and the operations.
#[track_caller]
fn only(
    check: Check,
    appends: &[AppendOp],
    reads: &[ReadOp],
    logs: &[FinalLog],
) -> (String, Vec<u64>) {
    let findings = judge(appends, reads, logs).findings;
    let found: Vec<_> = findings.counts.keys().copied().collect();
    assert_eq!(found, [check], "{:#?}", findings.told);
    let first = &findings.told[0];
    let operations = first.operations.iter().map(|id| id.0).collect();
    (first.to_string(), operations)
}

#[test]
fn a_right_history_passes() {
    let appends = [
        acked(1, (0, 5), &[1], 1),
        acked(2, (6, 9), &[2, 3], 2),
        unknown(3, 7, &[4]),
        unknown(4, 7, &[5, 6]),
        failed(5, (8, 9), &[7]),
        acked(6, (20, 21), &[8], 6),
    ];
    let reads = [
        read(7, (10, 11), 0, &[1, 2, 3]),
        read(8, (22, 23), 3, &[5, 6, 8]),
    ];
    // The first batch without an answer is not there, the second one is.
    let logs = [
        log("n1", &[1, 2, 3, 5, 6, 8]),
        log("n2", &[1, 2, 3, 5, 6, 8]),
    ];
    assert_passes(&appends, &reads, &logs);
    let verdict = judge(&appends, &reads, &logs);
    let counts = (
        verdict.buffers,
        verdict.acknowledged,
        verdict.shown,
        verdict.records,
    );
    assert_eq!(counts, (1, 4, 6, 12));
}

#[test]
fn a_lost_message_is_found_in_each_in_sync_log() {
    let appends = [acked(1, (0, 5), &[1], 1), acked(2, (6, 9), &[2], 2)];
    let logs = [log("n1", &[1, 2]), log("n2", &[1])];
    let (what, operations) = only(Check::AckedNeverLost, &appends, &[], &logs);
    assert_eq!(operations, [2]);
    assert_eq!(
        what,
        "acked-never-lost: buffer orders: operation 2 (client 2, 6 to 9): append to orders gave seq 2 \
         in epoch 1, insync; copy n2 is in sync, lacks 2 and has committed through 1"
    );
    // There, but not committed: it may still go.
    let mut uncommitted = log("n2", &[1, 2]);
    uncommitted.commit = Seq(1);
    only(
        Check::AckedNeverLost,
        &appends,
        &[],
        &[log("n1", &[1, 2]), uncommitted],
    );
    let mut outside = log("n2", &[1]);
    outside.in_sync = false;
    assert_passes(&appends, &[], &[log("n1", &[1, 2]), outside.clone()]);
    // Without the log of an in-sync copy nothing can be said.
    only(Check::AckedNeverLost, &appends, &[], &[outside]);
    only(Check::AckedNeverLost, &appends, &[], &[]);
    assert_passes(&[unknown(1, 0, &[1])], &[], &[]);
    // Retention may drop what is old.
    let mut kept = log("n1", &[1, 2]);
    kept.records.remove(0);
    kept.first = Seq(2);
    assert_passes(&appends, &[], &[kept]);
}

#[test]
fn other_bytes_ids_and_epochs_are_found() {
    let appends = [acked(1, (0, 5), &[1], 1)];
    let right = log("n1", &[1]);
    let mut content = right.clone();
    content.records[0].content = Some(digest(2));
    let spare = [appends[0].clone(), unknown(2, 0, &[2])];
    only(Check::BytesEqual, &spare, &[], &[content]);
    let mut id = right.clone();
    id.records[0].id = Some(id_of(2));
    only(Check::BytesEqual, &appends, &[], &[id]);
    let mut epoch = right.clone();
    epoch.records[0].epoch = Epoch(2);
    only(Check::BytesEqual, &appends, &[], &[epoch]);
    let mut server = right.clone();
    server.records[0].is_message = false;
    only(Check::BytesEqual, &appends, &[], &[server]);
    // An erased message has no content that could differ.
    let mut gone = right;
    gone.records[0].content = None;
    assert_passes(&appends, &[], &[gone]);
}

#[test]
fn an_append_that_began_later_comes_behind() {
    let logs = [log("n1", &[2, 1])];
    let first = acked(1, (0, 5), &[1], 2);
    let (_, operations) = only(
        Check::RealTimeOrder,
        &[first.clone(), acked(2, (6, 9), &[2], 1)],
        &[],
        &logs,
    );
    assert_eq!(operations, [1, 2]);
    // Those that met may come either way.
    assert_passes(&[first.clone(), acked(2, (5, 9), &[2], 1)], &[], &logs);
    // One without an answer is judged by where it is, a shown tail as an acknowledgement.
    only(
        Check::RealTimeOrder,
        &[first, unknown(2, 6, &[2])],
        &[],
        &logs,
    );
    let mut seen = read(3, (3, 4), 0, &[]);
    shown(&mut seen).tail = Some(Seq(2));
    shown(&mut seen).through = Seq::ZERO;
    let appends = [unknown(1, 0, &[1]), unknown(2, 6, &[2])];
    only(Check::RealTimeOrder, &appends, &[seen], &logs);
    // A repeated append has the place of its first attempt.
    let repeated = [
        under_key(unknown(1, 0, &[2]), "k"),
        acked(2, (6, 7), &[1], 2),
        under_key(acked(3, (8, 9), &[2], 1), "k"),
    ];
    assert_passes(&repeated, &[], &logs);
}

#[test]
fn a_log_is_dense_and_a_seq_holds_one_message() {
    let appends = [
        unknown(1, 0, &[1]),
        unknown(2, 0, &[2]),
        unknown(3, 0, &[3]),
    ];
    let mut gap = log("n1", &[1, 2, 3]);
    gap.records.remove(1);
    only(Check::SeqDenseUnique, &appends, &[], &[gap]);
    let mut twice = log("n1", &[1, 2]);
    twice.records[1].seq = Seq(1);
    only(Check::SeqDenseUnique, &appends, &[], &[twice]);
    let mut short = log("n1", &[1, 2]);
    short.commit = Seq(3);
    only(Check::SeqDenseUnique, &appends, &[], &[short]);
    // Two were told the same seq; retention has dropped it, so the log cannot say whose it was.
    let mut dropped = log("n1", &[1]);
    dropped.records.clear();
    dropped.first = Seq(2);
    let both = [acked(1, (0, 5), &[1], 1), acked(2, (0, 5), &[2], 1)];
    let (_, operations) = only(Check::SeqDenseUnique, &both, &[], &[dropped.clone()]);
    assert_eq!(operations, [1, 2]);
    // The same content twice is still two messages.
    let same = [acked(1, (0, 5), &[1], 1), acked(2, (0, 5), &[1], 1)];
    only(Check::SeqDenseUnique, &same, &[], &[dropped.clone()]);
    // Two reads saw different ones.
    let appends = [unknown(1, 0, &[1]), unknown(2, 0, &[2])];
    let reads = [read(3, (1, 2), 0, &[1]), read(4, (3, 4), 0, &[2])];
    only(Check::SeqDenseUnique, &appends, &reads, &[dropped]);
}

#[test]
fn epochs_that_go_back_are_found() {
    let appends = [unknown(1, 0, &[1]), unknown(2, 0, &[2])];
    let mut back = log("n1", &[1, 2]);
    back.records[0].epoch = Epoch(2);
    only(Check::EpochMonotonic, &appends, &[], &[back]);
}

#[test]
fn copies_agree_as_far_as_they_know_it_committed() {
    let appends = [
        unknown(1, 0, &[1]),
        unknown(2, 0, &[2]),
        unknown(3, 0, &[3]),
    ];
    let mut other = log("n2", &[1, 3]);
    only(
        Check::PrefixAgreement,
        &appends,
        &[],
        &[log("n1", &[1, 2]), other.clone()],
    );
    other.in_sync = false;
    only(
        Check::PrefixAgreement,
        &appends,
        &[],
        &[log("n1", &[1, 2]), other.clone()],
    );
    other.commit = Seq(1);
    assert_passes(&appends, &[], &[log("n1", &[1, 2]), other]);
}

#[test]
fn an_append_is_there_once() {
    let twice = [log("n1", &[1, 1])];
    only(
        Check::NoDupAppend,
        &[acked(1, (0, 5), &[1], 1)],
        &[],
        &twice,
    );
    let retried = |second| {
        [
            under_key(unknown(1, 0, &[1]), "k"),
            under_key(acked(2, (6, 9), &[1], second), "k"),
        ]
    };
    only(Check::NoDupAppend, &retried(2), &[], &twice);
    assert_passes(&retried(1), &[], &[log("n1", &[1])]);
    // Without a token each attempt is one of its own.
    assert_passes(
        &[unknown(1, 0, &[1]), acked(2, (6, 9), &[1], 2)],
        &[],
        &twice,
    );
    // Both attempts were answered, with different seqs, and the log has dropped both.
    let mut dropped = log("n1", &[1, 1]);
    dropped.records.clear();
    dropped.first = Seq(3);
    let answered = [
        under_key(acked(1, (0, 5), &[1], 1), "k"),
        under_key(acked(2, (6, 9), &[1], 2), "k"),
    ];
    let (_, operations) = only(Check::NoDupAppend, &answered, &[], &[dropped]);
    assert_eq!(operations, [1, 2]);
    // A producer's number is a token too.
    let mut numbered = retried(2);
    for append in &mut numbered {
        append.call.token = Some(Token::Producer {
            id: "p".to_owned(),
            epoch: 0,
            number: 7,
        });
    }
    only(Check::NoDupAppend, &numbered, &[], &twice);
}

#[test]
fn a_lesser_answer_holds_or_the_message_is_nowhere() {
    let mut local = acked(1, (0, 5), &[1], 2);
    stored(&mut local).level = Level::Local;
    let appends = [local, unknown(2, 0, &[2])];
    assert_passes(&appends, &[], &[log("n1", &[2, 1])]);
    assert_passes(&appends, &[], &[log("n1", &[2])]);
    let (_, operations) = only(Check::SeqAsTold, &appends, &[], &[log("n1", &[1, 2])]);
    assert_eq!(operations, [1]);
}

#[test]
fn what_is_not_known_is_there_at_most_once() {
    let appends = [unknown(1, 0, &[1])];
    assert_passes(&appends, &[], &[log("n1", &[])]);
    assert_passes(&appends, &[], &[log("n1", &[1])]);
    only(Check::UnknownIsMaybe, &appends, &[], &[log("n1", &[1, 1])]);
}

#[test]
fn what_failed_is_nowhere() {
    let appends = [failed(1, (0, 5), &[1]), unknown(2, 0, &[2])];
    assert_passes(&appends, &[], &[log("n1", &[2])]);
    only(
        Check::FailedNeverThere,
        &appends,
        &[],
        &[log("n1", &[2, 1])],
    );
    // Not even where it may still go.
    let mut behind = log("n1", &[2, 1]);
    behind.commit = Seq(1);
    only(Check::FailedNeverThere, &appends, &[], &[behind]);
    // Shown, and dropped since.
    let mut dropped = log("n1", &[2, 2]);
    dropped.records.clear();
    dropped.first = Seq(3);
    let reads = [read(3, (6, 7), 0, &[2, 1])];
    only(Check::FailedNeverThere, &appends, &reads, &[dropped]);
    // A later attempt under the same key was not refused.
    let retried = [
        under_key(failed(1, (0, 5), &[1]), "k"),
        under_key(acked(2, (6, 9), &[1], 1), "k"),
    ];
    assert_passes(&retried, &[], &[log("n1", &[1])]);
}

#[test]
fn what_nobody_sent_is_found() {
    let appends = [acked(1, (3, 5), &[1], 1)];
    only(
        Check::NothingFromNowhere,
        &appends,
        &[],
        &[log("n1", &[1, 9])],
    );
    // Records of the server need no sender.
    assert_passes(&appends, &[], &[log("n1", &[1, 0])]);
    // Shown before it was sent.
    let early = [read(2, (0, 2), 0, &[1])];
    let unsure = [unknown(1, 3, &[1])];
    let found = judge(&unsure, &early, &[log("n1", &[1])]).findings;
    let checks: Vec<_> = found.counts.keys().copied().collect();
    // That is an order of time too: a tail of 1 was shown before the message at 1 began.
    assert_eq!(checks, [Check::RealTimeOrder, Check::NothingFromNowhere]);
    assert_passes(&unsure, &[read(2, (0, 3), 0, &[1])], &[log("n1", &[1])]);
    // Shown, sent by nobody, and dropped since.
    let mut dropped = log("n1", &[1]);
    dropped.records.clear();
    dropped.first = Seq(2);
    only(
        Check::NothingFromNowhere,
        &[],
        &[read(2, (0, 2), 0, &[1])],
        &[dropped],
    );
}

#[test]
fn half_a_batch_is_found() {
    let batch = [unknown(1, 0, &[1, 2, 3]), unknown(2, 0, &[4])];
    for whole in [&[1, 2, 3, 4][..], &[4, 1, 2, 3], &[4]] {
        assert_passes(&batch, &[], &[log("n1", whole)]);
    }
    for part in [
        &[1, 2][..],
        &[4, 1, 2],
        &[1, 3, 2],
        &[1, 4, 2, 3],
        &[2, 3, 4],
        &[3],
    ] {
        only(Check::BatchAllOrNothing, &batch, &[], &[log("n1", part)]);
    }
    // Committed in part.
    let mut half = log("n1", &[1, 2, 3]);
    half.commit = Seq(2);
    only(Check::BatchAllOrNothing, &batch, &[], &[half.clone()]);
    half.commit = Seq::ZERO;
    assert_passes(&batch, &[], &[half]);
    // Dropped or erased in part.
    let mut dropped = log("n1", &[1, 2, 3]);
    dropped.records.remove(0);
    dropped.first = Seq(2);
    dropped.records[0].content = None;
    assert_passes(&batch, &[], &[dropped]);
}

#[test]
fn a_new_history_loses_what_it_states_and_no_more() {
    let appends = [
        acked(1, (0, 1), &[1], 1),
        acked(2, (2, 3), &[2], 2),
        acked(3, (4, 5), &[3], 3),
    ];
    let mut later = acked(4, (8, 9), &[4], 2);
    stored(&mut later).history = history(2);
    let all = [&appends[..], &[later.clone()]].concat();
    assert_passes(&all, &[], &[with_history(log("n1", &[1, 4]), 2, 1)]);
    // It states that 2 was kept.
    let (what, operations) = only(
        Check::HistoryStatesItsLoss,
        &appends,
        &[],
        &[with_history(log("n1", &[1]), 2, 2)],
    );
    assert_eq!(operations, [2]);
    assert!(what.contains("no later history states"), "{what}");
    // A history that nobody states, of an append or a read.
    let mut strange = appends[0].clone();
    stored(&mut strange).history = history(9);
    only(
        Check::HistoryStatesItsLoss,
        &[strange],
        &[],
        &[log("n1", &[1])],
    );
    let mut strange = read(5, (6, 7), 0, &[1]);
    shown(&mut strange).history = history(9);
    only(
        Check::HistoryStatesItsLoss,
        &appends[..1],
        &[strange],
        &[log("n1", &[1])],
    );
    // Copies that state different ones; one that is not in sync may not know the last.
    let new = with_history(log("n1", &[1]), 2, 1);
    let other = with_history(log("n2", &[1]), 3, 1);
    only(
        Check::HistoryStatesItsLoss,
        &appends[..1],
        &[],
        &[new.clone(), other],
    );
    let mut old = log("n2", &[1]);
    only(
        Check::HistoryStatesItsLoss,
        &appends[..1],
        &[],
        &[new.clone(), old.clone()],
    );
    old.in_sync = false;
    assert_passes(&appends[..1], &[], &[new, old]);
    // A read of the old history after the new one was seen.
    let mut fresh = read(5, (10, 11), 0, &[1, 4]);
    shown(&mut fresh).history = history(2);
    let stale = read(6, (12, 13), 0, &[1, 2, 3]);
    let logs = [with_history(log("n1", &[1, 4]), 2, 1)];
    let found = judge(&all, &[fresh, stale], &logs).findings;
    let checks: Vec<_> = found.counts.keys().copied().collect();
    assert_eq!(checks, [Check::TailIsFresh, Check::TailNeverGoesBack]);
    // An append that is acknowledged in the old history after one was in the new.
    let zombie = acked(5, (10, 11), &[5], 4);
    let all = [&all[..], &[zombie]].concat();
    only(Check::RealTimeOrder, &all, &[], &logs);
}

#[test]
fn a_retry_behind_a_loss_is_stored_anew() {
    let first = under_key(acked(1, (0, 1), &[1], 2), "k");
    let mut again = under_key(acked(2, (4, 5), &[1], 3), "k");
    stored(&mut again).history = history(2);
    let others = [acked(3, (0, 0), &[2], 1), unknown(4, 3, &[3])];
    let all = [&[first, again][..], &others].concat();
    let lost = with_history(log("n1", &[2, 3, 1]), 2, 1);
    assert_passes(&all, &[], std::slice::from_ref(&lost));
    let mut kept = lost;
    kept.histories[1].kept = Seq(2);
    let found = judge(&all, &[], &[kept]).findings;
    assert!(found.counts.contains_key(&Check::NoDupAppend), "{found:?}");
}

#[test]
fn many_findings_of_one_kind_are_counted() {
    let appends: Vec<_> = (1..=40)
        .map(|id| acked(id, (0, 5), &[u8::try_from(id).unwrap()], id))
        .collect();
    let findings = judge(&appends, &[], &[log("n1", &[])]).findings;
    assert_eq!(findings.counts.get(&Check::AckedNeverLost), Some(&40));
    assert_eq!(findings.told.len() as u64, FINDINGS_TOLD_MAX);
}

#[test]
fn names_of_checks_are_unique_and_said_in_words() {
    let names: BTreeSet<_> = Check::ALL.iter().map(|check| check.name()).collect();
    assert_eq!(names.len(), Check::ALL.len());
    assert!(Check::ALL.iter().all(|check| !check.about().is_empty()));
}
