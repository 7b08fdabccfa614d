//! The search against all permutations, against generated histories, and each model's own rules.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::fmt::Debug;

use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};

use super::*;
use crate::draw::{Draw, Draws, Purpose};

type Op = OperationOf<Register>;

fn op<C, A>(id: u64, begin: u64, end: Option<u64>, call: C, answer: Option<A>) -> Operation<C, A> {
    let outcome = match (end, answer) {
        (Some(end), Some(answer)) => Outcome::Answered {
            end: Moment(end),
            answer,
        },
        (Some(end), None) => Outcome::Failed { end: Moment(end) },
        (None, _) => Outcome::Unknown,
    };
    Operation {
        id: OpId(id),
        client: ClientId(u32::try_from(id).unwrap()),
        begin: Moment(begin),
        call,
        outcome,
    }
}

fn get(id: u64, span: (u64, u64), value: &str, version: u64) -> Op {
    let value = value.to_owned();
    let answer = RegisterAnswer::Value { value, version };
    op(id, span.0, Some(span.1), RegisterCall::Get, Some(answer))
}

fn put_when(value: &str, when: Condition) -> RegisterCall {
    let value = value.to_owned();
    RegisterCall::Put { value, when }
}

fn put(id: u64, span: (u64, u64), value: &str, version: u64) -> Op {
    let answer = RegisterAnswer::Stored { version };
    let call = put_when(value, Condition::Always);
    op(id, span.0, Some(span.1), call, Some(answer))
}

fn lost_put(id: u64, begin: u64, value: &str) -> Op {
    op(id, begin, None, put_when(value, Condition::Always), None)
}

fn judge<M: Model>(model: &M, operations: &[OperationOf<M>]) -> Verdict {
    check(model, &operations.iter().collect::<Vec<_>>(), 1_000_000)
}

#[track_caller]
fn assert_passes(operations: &[Op]) {
    let verdict = judge(&Register, operations);
    assert!(
        matches!(verdict, Verdict::Linearizable { .. }),
        "{verdict:?}"
    );
}

#[track_caller]
fn broken<M: Model>(model: &M, operations: &[OperationOf<M>]) -> Offence {
    match judge(model, operations) {
        Verdict::Broken(offence) => *offence,
        other => panic!("{other:?}"),
    }
}

#[test]
fn operations_that_meet_may_come_in_any_order() {
    // The get ends in the moment in which the put begins, and shows it.
    assert_passes(&[put(1, (5, 9), "a", 1), get(2, (0, 5), "a", 1)]);
    let offence = broken(&Register, &[put(1, (5, 9), "a", 1), get(2, (0, 4), "a", 1)]);
    assert_eq!((offence.last, offence.order), (OpId(2), vec![]));
}

#[test]
fn a_stale_read_is_told_with_the_shortest_prefix() {
    let operations = [
        put(1, (0, 1), "a", 1),
        put(2, (2, 3), "b", 2),
        get(3, (4, 8), "a", 1),
        get(4, (5, 6), "b", 2),
        put(5, (10, 11), "c", 3),
        lost_put(6, 9, "d"),
    ];
    let offence = broken(&Register, &operations);
    assert_eq!(offence.last, OpId(3));
    assert_eq!(offence.prefix, [1, 2, 4, 3].map(OpId));
    assert_eq!(offence.order, [1, 2, 4].map(OpId));
    assert!(offence.shortest);
    assert_eq!(
        offence.what,
        "no order explains the first 4 answers; the last of them is operation 3 (client 3, 4 to 8): \
         get gave a of version 1; before it the state can be: b of version 2; beside it ran: \
         operation 4 (client 4, 5 to 6): get gave b of version 2"
    );
}

#[test]
fn a_put_without_an_answer_may_come_at_any_later_time_or_never() {
    let seen_late = [
        lost_put(1, 0, "a"),
        put(2, (5, 6), "b", 1),
        get(3, (7, 8), "a", 2),
    ];
    assert_passes(&seen_late);
    assert_passes(&[lost_put(1, 0, "a"), put(2, (5, 6), "b", 1)]);
    // Its version is settled by the first that sees it, and it comes but once.
    broken(
        &Register,
        &[
            lost_put(1, 0, "a"),
            get(2, (1, 2), "a", 7),
            get(3, (3, 4), "a", 8),
        ],
    );
    broken(
        &Register,
        &[
            lost_put(1, 0, "a"),
            get(2, (1, 2), "a", 1),
            put(3, (3, 4), "b", 2),
            get(4, (5, 6), "a", 3),
        ],
    );
    // It does not come before it began.
    broken(&Register, &[get(1, (0, 1), "a", 1), lost_put(2, 2, "a")]);
}

#[test]
fn what_failed_had_no_effect() {
    let failed = op(1, 0, Some(1), put_when("a", Condition::Always), None);
    broken(&Register, &[failed.clone(), get(2, (2, 3), "a", 1)]);
    assert_passes(&[failed, put(2, (2, 3), "b", 1)]);
}

#[test]
fn conditions_hold_when_they_are_answered_so() {
    let conditional = |id, at, when, answer| {
        op(
            id,
            at,
            Some(at + 1),
            put_when("x", when),
            Some::<RegisterAnswer>(answer),
        )
    };
    let stored = |version| RegisterAnswer::Stored { version };
    let first = put(1, (0, 1), "a", 4);
    let cases = [
        (Condition::Matches(4), stored(5), true),
        (Condition::Matches(3), stored(5), false),
        (Condition::Matches(3), RegisterAnswer::Refused, true),
        (Condition::Matches(4), RegisterAnswer::Refused, false),
        (Condition::Absent, RegisterAnswer::Refused, true),
        (Condition::Absent, stored(5), false),
        (Condition::Always, RegisterAnswer::Refused, false),
        // Versions grow.
        (Condition::Always, stored(4), false),
        (Condition::Always, stored(9), true),
    ];
    for (when, answer, passes) in cases {
        let operations = [first.clone(), conditional(2, 2, when, answer.clone())];
        let verdict = judge(&Register, &operations);
        let passed = matches!(verdict, Verdict::Linearizable { .. });
        assert_eq!(passed, passes, "{when:?} {answer:?}");
    }
    // Refused for a version, so the lost put does not have it.
    let refused = conditional(3, 4, Condition::Matches(9), RegisterAnswer::Refused);
    let lost = lost_put(2, 2, "b");
    let seen = get(4, (6, 7), "b", 9);
    let late = [
        first.clone(),
        lost.clone(),
        get(5, (3, 3), "b", 9),
        refused.clone(),
        seen.clone(),
    ];
    broken(&Register, &late);
    assert_passes(&[first.clone(), lost.clone(), refused, seen]);
    // A lost conditional put whose condition surely fails does nothing.
    let lost = op(2, 2, None, put_when("b", Condition::Matches(3)), None);
    broken(&Register, &[first, lost, get(3, (3, 4), "b", 9)]);
}

#[test]
fn what_is_deleted_is_absent() {
    let delete = |answer| {
        let when = Condition::Always;
        let call = RegisterCall::Delete { when };
        op(2, 2, Some(3), call, Some(answer))
    };
    let absent = op(
        3,
        4,
        Some(5),
        RegisterCall::Get,
        Some(RegisterAnswer::Absent),
    );
    let first = put(1, (0, 1), "a", 1);
    let gone = RegisterAnswer::Deleted { version: 2 };
    assert_passes(&[first.clone(), delete(gone.clone()), absent.clone()]);
    broken(&Register, &[first.clone(), absent.clone()]);
    broken(&Register, &[delete(gone.clone()), absent]);
    broken(&Register, &[first.clone(), delete(RegisterAnswer::Absent)]);
    broken(
        &Register,
        &[first.clone(), delete(gone.clone()), get(3, (4, 5), "a", 1)],
    );
    // Its version counts.
    broken(&Register, &[first, delete(gone), put(3, (4, 5), "b", 2)]);
}

#[test]
fn out_of_steps_is_no_pass() {
    let operations: Vec<_> = (0..50).map(|at| put(at, (0, 100), "a", 100 - at)).collect();
    let operations: Vec<_> = operations.iter().collect();
    let verdict = check(&Register, &operations, 60);
    assert_eq!(verdict, Verdict::Undecided { steps: 60 });
    let report = check_by_key(&Register, operations.iter().map(|it| ("k", *it)), 60);
    assert!(!report.passed());
    assert_eq!(report.undecided().collect::<Vec<_>>(), ["k"]);
    assert_eq!((report.broken().count(), report.steps()), (0, 60));
    // Only one order is right, and it is the last that one would try.
    let verdict = check(&Register, &operations, 2_000);
    assert!(
        matches!(verdict, Verdict::Linearizable { .. }),
        "{verdict:?}"
    );
}

fn lock_op(id: u64, at: u64, call: LockCall, answer: LockAnswer) -> OperationOf<Lock> {
    op(id, at, Some(at + 1), call, Some(answer))
}

#[test]
fn a_lock_is_held_by_one_and_its_tokens_grow() {
    use LockAnswer::{Accepted, Extended, Fenced, Granted, Held, NotHeld, Released};
    use LockCall::{Acquire, Extend, Release, Use};
    // Per case: the calls with their answers, and whether they pass when leases are kept and when
    // they may lapse.
    type Case<'a> = (&'a [(LockCall, LockAnswer)], bool, bool);
    let cases: &[Case<'_>] = &[
        (&[(Acquire, Granted(3)), (Acquire, Held)], true, true),
        (&[(Acquire, Held)], false, false),
        (&[(Acquire, Granted(3)), (Acquire, Granted(4))], false, true),
        (
            &[(Acquire, Granted(3)), (Acquire, Granted(3))],
            false,
            false,
        ),
        (
            &[
                (Acquire, Granted(3)),
                (Release(3), Released),
                (Acquire, Granted(4)),
            ],
            true,
            true,
        ),
        (
            &[
                (Acquire, Granted(3)),
                (Release(3), Released),
                (Acquire, Held),
            ],
            false,
            false,
        ),
        (
            &[(Acquire, Granted(3)), (Release(2), Released)],
            false,
            false,
        ),
        (&[(Acquire, Granted(3)), (Release(3), NotHeld)], false, true),
        (&[(Acquire, Granted(3)), (Extend(3), Extended)], true, true),
        (&[(Acquire, Granted(3)), (Extend(2), NotHeld)], true, true),
        (
            &[(Acquire, Granted(3)), (Extend(2), Extended)],
            false,
            false,
        ),
        (&[(Use(4), Accepted), (Use(3), Fenced)], true, true),
        (&[(Use(4), Accepted), (Use(3), Accepted)], false, false),
        (&[(Use(3), Accepted), (Use(4), Fenced)], false, false),
    ];
    for (calls, kept, lapsing) in cases {
        let operations: Vec<_> = (1_u64..)
            .zip(*calls)
            .map(|(id, (call, answer))| lock_op(id, id * 10, *call, *answer))
            .collect();
        for (leases, passes) in [(Leases::Kept, kept), (Leases::MayLapse, lapsing)] {
            let verdict = judge(&Lock { leases }, &operations);
            let passed = matches!(verdict, Verdict::Linearizable { .. });
            assert_eq!(passed, *passes, "{leases:?} {calls:?}");
        }
    }
}

#[test]
fn a_grant_without_an_answer_may_hold_the_lock() {
    use LockAnswer::{Granted, Held, Released};
    let lock = Lock {
        leases: Leases::Kept,
    };
    let lost = op(1, 0, None, LockCall::Acquire, None);
    let held = lock_op(2, 1, LockCall::Acquire, Held);
    let verdict = judge(&lock, &[lost.clone(), held.clone()]);
    assert!(matches!(verdict, Verdict::Linearizable { .. }));
    let granted = lock_op(3, 5, LockCall::Acquire, Granted(1));
    broken(&lock, &[lost.clone(), held.clone(), granted.clone()]);
    let freed = op(4, 3, None, LockCall::Release(1), None);
    let granted = lock_op(3, 5, LockCall::Acquire, Granted(2));
    let verdict = judge(&lock, &[lost.clone(), held.clone(), freed, granted]);
    assert!(matches!(verdict, Verdict::Linearizable { .. }));
    // The holder is above all known tokens.
    let earlier = lock_op(5, 0, LockCall::Acquire, Granted(4));
    let released = lock_op(6, 2, LockCall::Release(4), Released);
    let lost = op(7, 4, None, LockCall::Acquire, None);
    let wrong = lock_op(8, 6, LockCall::Release(3), Released);
    broken(&lock, &[earlier, released, lost, wrong]);
}

/// Whether some order of all answered operations and some of the pending ones explains everything:
/// every one of them is tried.
fn any_order<M: Model>(model: &M, state: &M::State, open: &[&OperationOf<M>]) -> bool {
    let answered = |it: &&&OperationOf<M>| it.outcome.answer().is_some();
    if !open.iter().any(|it| answered(&it)) {
        return true;
    }
    open.iter().enumerate().any(|(at, first)| {
        let others = open.iter().filter(answered);
        if others.clone().any(|other| other.precedes(first)) {
            return false;
        }
        let state = model.step(state, &first.call, first.outcome.answer());
        let mut rest = open.to_vec();
        rest.remove(at);
        state.is_some_and(|state| any_order(model, &state, &rest))
    })
}

/// At most six operations, of which at most two are pending.
fn histories<C, A>(
    calls: impl Strategy<Value = (C, A)> + Clone + 'static,
) -> impl Strategy<Value = Vec<Operation<C, A>>>
where
    C: Clone + Debug + 'static,
    A: Clone + Debug + 'static,
{
    let one = (calls, 0..8_u64, 0..5_u64, 0..10_u8);
    prop::collection::vec(one, 1..=6).prop_map(|all| {
        let mut pending = 0;
        let numbered = (0..).zip(all);
        let operations = numbered.map(|(id, ((call, answer), begin, time, lost))| {
            let lost = lost < 4 && pending < 2;
            pending += u32::from(lost);
            let end = (!lost).then_some(begin + time);
            op(id, begin, end, call, Some(answer))
        });
        operations.collect()
    })
}

fn register_calls() -> impl Strategy<Value = (RegisterCall, RegisterAnswer)> + Clone {
    let value = || prop_oneof![Just("a".to_owned()), Just("b".to_owned())];
    let when = || {
        prop_oneof![
            4 => Just(Condition::Always),
            2 => (1..4_u64).prop_map(Condition::Matches),
            1 => Just(Condition::Absent),
        ]
    };
    let seen =
        (value(), 1..4_u64).prop_map(|(value, version)| RegisterAnswer::Value { value, version });
    let seen = prop_oneof![6 => seen, 1 => Just(RegisterAnswer::Absent)];
    let gets = seen.prop_map(|answer| (RegisterCall::Get, answer));
    let stored = prop_oneof![
        5 => (1..5_u64).prop_map(|version| RegisterAnswer::Stored { version }),
        1 => Just(RegisterAnswer::Refused),
    ];
    let puts = (value(), when(), stored)
        .prop_map(|(value, when, answer)| (RegisterCall::Put { value, when }, answer));
    let gone = prop_oneof![
        3 => (1..5_u64).prop_map(|version| RegisterAnswer::Deleted { version }),
        1 => Just(RegisterAnswer::Absent),
        1 => Just(RegisterAnswer::Refused),
    ];
    let deletes = (when(), gone).prop_map(|(when, answer)| (RegisterCall::Delete { when }, answer));
    prop_oneof![4 => gets, 6 => puts, 1 => deletes]
}

fn lock_calls() -> impl Strategy<Value = (LockCall, LockAnswer)> + Clone {
    use LockAnswer::{Accepted, Extended, Fenced, Granted, Held, NotHeld, Released};
    prop_oneof![
        5 => (1..4_u64).prop_map(|token| (LockCall::Acquire, Granted(token))),
        1 => Just((LockCall::Acquire, Held)),
        3 => (1..4_u64).prop_map(|token| (LockCall::Release(token), Released)),
        1 => (1..4_u64).prop_map(|token| (LockCall::Release(token), NotHeld)),
        1 => (1..4_u64).prop_map(|token| (LockCall::Extend(token), Extended)),
        1 => (1..4_u64).prop_map(|token| (LockCall::Use(token), Accepted)),
        1 => (1..4_u64).prop_map(|token| (LockCall::Use(token), Fenced)),
    ]
}

/// Compares the search with every permutation, and sees to it that both verdicts are frequent.
fn compare<M>(model: &M, calls: impl Strategy<Value = (M::Call, M::Answer)> + Clone + 'static)
where
    M: Model,
    M::Call: Debug + 'static,
    M::Answer: Debug + 'static,
{
    let (yes, no, lost) = (Cell::new(0), Cell::new(0), Cell::new(0));
    let mut runner = TestRunner::new(Config::with_cases(4_000));
    let run = runner.run(&histories(calls), |operations| {
        let all: Vec<_> = operations.iter().collect();
        let answered = |it: &&OperationOf<M>| it.outcome.answer().is_some();
        let expected = any_order(model, &model.initial(), &all);
        let counter = if expected { &yes } else { &no };
        counter.set(counter.get() + 1);
        lost.set(lost.get() + u32::from(!all.iter().all(answered)));
        match judge(model, &operations) {
            Verdict::Linearizable { .. } => prop_assert!(expected),
            Verdict::Broken(offence) => {
                prop_assert!(!expected && offence.shortest);
                // What is told is an order of all that was answered before, and no longer prefix
                // is needed: with the last answer unknown there is an order.
                let until = all.iter().find(|it| it.id == offence.last).unwrap();
                let mut known: Vec<_> = all.clone();
                let at =
                    |it: &OperationOf<M>| (it.outcome.end().unwrap_or(Moment(u64::MAX)), it.id);
                known.retain(|it| answered(it) && at(it) < at(until));
                let told = known
                    .iter()
                    .filter(|it| offence.order.contains(&it.id))
                    .count();
                prop_assert_eq!(told, known.len());
            }
            Verdict::Undecided { .. } => prop_assert!(false, "a million steps did not do"),
        }
        Ok(())
    });
    run.unwrap();
    let counts = (yes.get(), no.get(), lost.get());
    assert!(
        counts.0 > 400 && counts.1 > 400 && counts.2 > 400,
        "{counts:?}"
    );
}

#[test]
fn the_search_agrees_with_all_permutations_of_a_register() {
    compare(&Register, register_calls());
}

#[test]
fn the_search_agrees_with_all_permutations_of_a_lock() {
    let [kept, lapsing] = [Leases::Kept, Leases::MayLapse].map(|leases| Lock { leases });
    compare(&kept, lock_calls());
    compare(&lapsing, lock_calls());
}

/// A run of clients against a register that is right: each operation takes effect at a drawn moment
/// between its beginning and its end, or long after when its reply is lost, or never.
fn generated(seed: u64, count: u64, lost_percent: u64) -> Vec<(String, Op)> {
    const CLIENTS: u64 = 8;
    const KEYS: u64 = 5;
    let draws = Draws::new(seed);
    let mut clocks = [0_u64; CLIENTS as usize];
    let mut planned = Vec::new();
    for id in 0..count {
        let mut draw = draws.draw(Purpose::Workload, 0, id);
        let mut next = |bound| {
            draw = draw.next();
            draw.below(bound)
        };
        let client = usize::try_from(id % CLIENTS).unwrap();
        let begin = clocks[client] + next(20);
        let point = begin + next(50);
        let end = point + next(50);
        clocks[client] = end + 1;
        let lost = next(100) < lost_percent;
        let takes_effect = !lost || next(2) == 0;
        let point = if lost { point + next(300) } else { point };
        let key = format!("k{}", next(KEYS));
        let kind = next(10);
        planned.push((
            point,
            id,
            client,
            (begin, end),
            key,
            kind,
            lost,
            takes_effect,
        ));
    }
    planned.sort();
    let mut kept: BTreeMap<String, (Option<String>, u64)> = BTreeMap::new();
    let mut version = 0;
    let mut history = Vec::new();
    for (_, id, client, (begin, end), key, kind, lost, takes_effect) in planned {
        let entry = kept.entry(key.clone()).or_default();
        let drawn = draws.draw(Purpose::Content, 0, id);
        let (call, answer, after) = drawn_step(id, kind, entry, version + 1, drawn);
        if takes_effect && let Some(after) = after {
            version += 1;
            *entry = after;
        }
        let mut one = op(id, begin, (!lost).then_some(end), call, Some(answer));
        one.client = ClientId(u32::try_from(client).unwrap());
        history.push((key, one));
    }
    history
}

type Kept = (Option<String>, u64);

/// A call, its right answer, and what it leaves behind where it changes something.
fn drawn_step(
    id: u64,
    kind: u64,
    (value, version): &Kept,
    next: u64,
    drawn: Draw,
) -> (RegisterCall, RegisterAnswer, Option<Kept>) {
    let stored = RegisterAnswer::Stored { version: next };
    let new = format!("v{id}");
    match kind {
        0..4 => {
            let answer = match value {
                Some(value) => RegisterAnswer::Value {
                    value: value.clone(),
                    version: *version,
                },
                None => RegisterAnswer::Absent,
            };
            (RegisterCall::Get, answer, None)
        }
        4..7 => {
            let call = put_when(&new, Condition::Always);
            (call, stored, Some((Some(new), next)))
        }
        7..9 => {
            // Mostly the version that is there.
            let asked = version.saturating_sub(drawn.below(4) / 3);
            let call = put_when(&new, Condition::Matches(asked));
            match value.is_some() && asked == *version {
                true => (call, stored, Some((Some(new), next))),
                false => (call, RegisterAnswer::Refused, None),
            }
        }
        _ => {
            let when = Condition::Always;
            let call = RegisterCall::Delete { when };
            match value {
                Some(_) => {
                    let answer = RegisterAnswer::Deleted { version: next };
                    (call, answer, Some((None, next)))
                }
                None => (call, RegisterAnswer::Absent, None),
            }
        }
    }
}

fn report(history: &[(String, Op)]) -> Report {
    let operations = history.iter().map(|(key, it)| (key.as_str(), it));
    check_by_key(&Register, operations, 20_000_000)
}

#[test]
fn long_right_histories_pass_in_few_steps() {
    for (seed, lost) in [(1, 0), (2, 1), (3, 5)] {
        let history = generated(seed, 10_000, lost);
        let report = report(&history);
        assert!(report.passed(), "seed {seed}: {report:?}");
        assert_eq!(report.keys.len(), 5);
        // A few steps for each operation, and more where replies were lost.
        let most = [0, 100_000, 400_000, 4_000_000][usize::try_from(seed).unwrap()];
        assert!(report.steps() < most, "seed {seed}: {}", report.steps());
    }
}

#[test]
fn long_histories_with_one_wrong_answer_are_red() {
    for seed in 0..12 {
        let mut history = generated(seed, 2_000, seed % 3);
        let (key, id) = spoil(&mut history, seed);
        let report = report(&history);
        let broken: Vec<_> = report.broken().collect();
        assert_eq!(broken.len(), 1, "seed {seed}: {report:?}");
        assert_eq!(broken[0].0, key);
        assert!(broken[0].1.prefix.contains(&OpId(id)), "seed {seed}");
    }
}

/// Makes one get show what another put had overwritten for sure before it began.
fn spoil(history: &mut [(String, Op)], seed: u64) -> (String, u64) {
    let start = history.len() / 4 + usize::try_from(seed).unwrap() * 31;
    for at in start..history.len() {
        let (key, read) = history[at].clone();
        let shown = matches!(read.outcome.answer(), Some(RegisterAnswer::Value { .. }));
        if !shown {
            continue;
        }
        let puts = history
            .iter()
            .filter(|(of, it)| *of == key && it.precedes(&read));
        let mut puts: Vec<_> = puts
            .filter_map(|(_, it)| match (&it.call, it.outcome.answer()) {
                (RegisterCall::Put { value, .. }, Some(RegisterAnswer::Stored { version })) => {
                    Some((*version, value.clone()))
                }
                _ => None,
            })
            .collect();
        puts.sort();
        let [.., (version, value), _] = &puts[..] else {
            continue;
        };
        let (value, version) = (value.clone(), *version);
        let end = read.outcome.end().unwrap();
        history[at].1.outcome = Outcome::Answered {
            end,
            answer: RegisterAnswer::Value { value, version },
        };
        return (key, read.id.0);
    }
    panic!("no get to spoil");
}

#[test]
fn a_way_that_keeps_a_lost_call_for_later_is_tried_too() {
    use LockAnswer::{Granted, Held, Released};
    let lock = Lock {
        leases: Leases::MayLapse,
    };
    let answered =
        |id, span: (u64, u64), call, answer| op(id, span.0, Some(span.1), call, Some(answer));
    // Put in between the second and the third, the lost call is missing before the last.
    let operations = [
        answered(1, (0, 1), LockCall::Acquire, Granted(3)),
        answered(2, (2, 6), LockCall::Release(3), Released),
        answered(3, (3, 6), LockCall::Acquire, Held),
        op(4, 3, None, LockCall::Acquire, None),
        answered(5, (7, 8), LockCall::Acquire, Granted(4)),
        answered(6, (9, 10), LockCall::Release(4), Released),
        answered(7, (11, 12), LockCall::Acquire, Held),
    ];
    let verdict = judge(&lock, &operations);
    assert!(
        matches!(verdict, Verdict::Linearizable { .. }),
        "{verdict:?}"
    );
}
