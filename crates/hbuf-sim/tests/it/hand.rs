//! What a hand changes in a run of several nodes: nothing before it, and what follows from it.

use hbuf_core::rules::Rules;
use hbuf_sim::nodes::{
    At, ClusterOutcome, ClusterSetup, CopyRole, event_at, look, run_cluster, smaller,
};
use hbuf_sim::overrides::{Override, Overrides};
use hbuf_sim::tracefile::{Event, EventId, Show, TraceFile, explain, selected, story};

const SEED: u64 = 7;

/// A quiet run of three nodes, so that what changes is what was changed.
fn setup(options: &str, overrides: &[String]) -> ClusterSetup {
    let options = format!("workload=1 clients=2 safety=600ms liveness=1s {options}");
    let overrides = overrides
        .iter()
        .map(|text| text.parse::<Override>().unwrap());
    ClusterSetup {
        lines: true,
        overrides: Overrides::new(overrides),
        ..ClusterSetup::of(SEED, options.parse().unwrap())
    }
}

fn run(options: &str, overrides: &[String]) -> (ClusterOutcome, TraceFile) {
    let outcome = run_cluster(&setup(options, overrides));
    assert_eq!(outcome.broken, None);
    let trace = TraceFile::parse(&outcome.trace).unwrap();
    (outcome, trace)
}

fn changed(overrides: &[String]) -> TraceFile {
    let (outcome, trace) = run("", overrides);
    assert_eq!(outcome.unmet, []);
    trace
}

fn why_not(options: &str, overrides: &[String]) -> Vec<String> {
    let (outcome, _) = run(options, overrides);
    outcome.unmet.iter().map(ToString::to_string).collect()
}

fn note(event: &Event) -> &str {
    event
        .details
        .get("note")
        .and_then(|it| it.as_str())
        .unwrap_or("")
}

/// The event of this kind, and with this note if there is one, behind half a second.
fn one<'a>(trace: &'a TraceFile, kind: &str, said: &str) -> &'a Event {
    let fits =
        |it: &&Event| it.t > 450_000 && it.kind == kind && (said.is_empty() || note(it) == said);
    trace.events.iter().find(fits).unwrap()
}

/// How many events of both are the same, to the byte, from the first one on.
fn same_until(one: &TraceFile, other: &TraceFile) -> u64 {
    let both = one.events.iter().zip(&other.events);
    both.take_while(|(one, other)| one.to_line() == other.to_line())
        .count() as u64
}

#[test]
fn a_packet_that_is_dropped_never_arrives_and_nothing_before_it_changes() {
    let (before, plain) = run("", &[]);
    let packet = one(&plain, "packet.arrived", "append");
    let fork = changed(&[format!("at={} drop", packet.eid)]);
    assert_eq!(fork.place(packet.eid), None);
    assert_eq!(same_until(&plain, &fork), packet.n - 1);
    let lost = &fork.events[usize::try_from(packet.n).unwrap() - 1];
    assert_eq!((lost.kind.as_str(), note(lost)), ("packet.lost", "by hand"));
    assert_eq!(lost.refs, packet.refs);
    // What has nothing to do with it has the same id in both.
    let kept = plain
        .events
        .iter()
        .filter(|event| fork.place(event.eid).is_some());
    let kept = kept.count() as u64;
    assert!(kept * 2 > before.events, "{kept} of {}", before.events);
}

#[test]
fn what_is_delayed_comes_later_under_the_same_id() {
    let (_, plain) = run("", &[]);
    let packet = one(&plain, "packet.arrived", "ask");
    let fork = changed(&[format!("at={} delay 5ms", packet.eid)]);
    let later = &fork.events[fork.place(packet.eid).unwrap()];
    assert_eq!((later.t, &later.refs), (packet.t + 5_000, &packet.refs));
    assert_eq!(same_until(&plain, &fork), packet.n - 1);
}

#[test]
fn of_two_requests_either_can_come_first() {
    let (_, plain) = run("", &[]);
    let asks = plain
        .events
        .iter()
        .filter(|it| it.kind == "packet.arrived" && note(it) == "ask");
    let asks: Vec<&Event> = asks.collect();
    // Two that were under way together, and two of which the second was sent later.
    let sent = |event: &Event| plain.events[plain.place(event.causes[0]).unwrap()].t;
    for together in [true, false] {
        let pair = asks
            .windows(2)
            .find(|pair| (sent(pair[1]) < pair[0].t) == together);
        let [first, second] = pair.unwrap() else {
            unreachable!()
        };
        let fork = changed(&[format!("at={} before {}", second.eid, first.eid)]);
        let place = |event: &Event| fork.place(event.eid).unwrap();
        assert!(place(second) < place(first), "together: {together}");
        assert_eq!(same_until(&plain, &fork), first.n - 1);
    }
}

#[test]
fn a_turn_of_a_client_is_skipped_and_the_others_stay() {
    let (_, plain) = run("", &[]);
    let turn = one(&plain, "append.asked", "");
    let fork = changed(&[format!("at={} skip", turn.eid)]);
    assert_eq!(fork.place(turn.eid), None);
    let later = plain
        .events
        .iter()
        .filter(|it| it.n > turn.n && it.kind == "append.asked");
    let later: Vec<bool> = later.map(|it| fork.place(it.eid).is_some()).collect();
    let kept = later.iter().filter(|kept| **kept).count();
    assert!(kept * 10 >= later.len() * 9, "{kept} of {}", later.len());
}

#[test]
fn a_sync_is_made_to_fail() {
    let (_, plain) = run("", &[]);
    let sync = one(&plain, "disk.synced", "");
    let fork = changed(&[format!("at={} fail", sync.eid)]);
    let effects = fork.effects(sync.eid).iter();
    let kinds: Vec<&str> = effects.map(|at| fork.events[*at].kind.as_str()).collect();
    assert!(kinds.contains(&"disk.sync-failed"), "{kinds:?}");
}

#[test]
fn an_action_comes_right_before_an_event_also_one_that_nobody_planned() {
    let (_, plain) = run("", &[]);
    for kind in [
        "packet.arrived",
        "commit.advanced",
        "copy.took",
        "append.acked",
    ] {
        let event = one(&plain, kind, "");
        let fork = changed(&[format!("at={} crash n1", event.eid)]);
        let same = usize::try_from(same_until(&plain, &fork)).unwrap();
        let action = &fork.events[same];
        assert_eq!(
            (action.kind.as_str(), note(action)),
            ("action.taken", "crash n1")
        );
        assert_eq!(action.t, event.t);
        // Nothing but what happens in the same step is between.
        assert!(
            action.n <= event.n && plain.events[same].t == event.t,
            "{kind}"
        );
    }
}

#[test]
fn an_action_at_a_time_and_a_planned_fault_that_is_left_out() {
    let options = "crash=100ms down-last=20ms";
    let (_, plain) = run(options, &[]);
    let crashes = |trace: &TraceFile| {
        let crashes = trace.events.iter().filter(|it| it.kind == "node.crashed");
        crashes.count()
    };
    assert!(crashes(&plain) > 1);
    let (outcome, fork) = run(options, &["at=crash/0 skip".to_owned()]);
    assert_eq!(
        (outcome.unmet, crashes(&fork)),
        (vec![], crashes(&plain) - 1)
    );
    let fork = changed(&["at=500ms kill n2".to_owned()]);
    assert_eq!(crashes(&fork), 1);
    let crash = fork
        .events
        .iter()
        .find(|it| it.kind == "node.crashed")
        .unwrap();
    assert_eq!((crash.t, crash.node.as_deref()), (500_000, Some("n2")));
}

#[test]
fn the_ids_of_a_fork_can_be_changed_again() {
    let (_, plain) = run("", &[]);
    let first = format!("at={} drop", one(&plain, "packet.arrived", "append").eid);
    let fork = changed(std::slice::from_ref(&first));
    let new = fork
        .events
        .iter()
        .find(|it| plain.place(it.eid).is_none() && it.n > 2_000);
    let again = format!("at={} crash primary of b1", new.unwrap().eid);
    let twice = changed(&[first.clone(), again.clone()]);
    assert!(same_until(&fork, &twice) >= 1_990);
    assert_eq!(
        changed(&[again, first]).events,
        twice.events,
        "in any order"
    );
}

#[test]
fn what_changes_nothing_says_why_and_what_could_be_there() {
    let (_, plain) = run("", &[]);
    let took = one(&plain, "copy.took", "").eid;
    let sync = one(&plain, "disk.synced", "").eid;
    let begin = plain.events[0].eid;
    for (change, says) in [
        (
            "at=00000000000000aa drop".to_owned(),
            "no event 00000000000000aa comes in this run; allowed are the ids of a trace of the run \
             with the overrides before this one"
                .to_owned(),
        ),
        ("at=90s heal".to_owned(), "the run is over before; allowed: a time up to ".to_owned()),
        ("at=crash/0 skip".to_owned(), "the seed plans no crash".to_owned()),
        (
            format!("at={took} drop"),
            "copy.took happens together with others in one step; allowed here: an action, as in \
             `crash n1`, right before them"
                .to_owned(),
        ),
        (
            format!("at={sync} skip"),
            "this is the end of a sync; allowed here: fail, delay, before, an action".to_owned(),
        ),
        (
            format!("at={begin} crash n1"),
            "run.started begins the run: allowed is an action at a time, at=0".to_owned(),
        ),
    ] {
        let told = why_not("", std::slice::from_ref(&change));
        assert_eq!(told.len(), 1, "{told:?}");
        let expected = format!("override `{change}`: {says}");
        assert!(told[0].starts_with(&expected), "{}", told[0]);
    }
    let told = why_not("crash=100ms", &["at=crash/900 skip".to_owned()]);
    assert!(told[0].contains("as many as the seed plans"), "{told:?}");
}

#[test]
fn the_world_at_a_moment_is_what_the_run_was_then() {
    let (outcome, plain) = run("crash=100ms", &[]);
    let quiet = setup("crash=100ms", &[]);
    let commits = plain
        .events
        .iter()
        .filter(|it| it.kind == "commit.advanced");
    let last = commits.clone().next_back().unwrap();
    let view = look(&quiet, At::Number(last.n)).unwrap();
    assert_eq!((view.t, view.next), (last.t, Some(last.eid)));
    // Right before the step in which it happens.
    assert!(view.events < last.n && view.events + 20 > last.n);
    let (first, through) = last.seqs.unwrap();
    assert_eq!((view.buffers[0].committed + 1).min(through), first);
    let primary = view.buffers[0].copies.iter();
    let mut primary = primary.filter(|copy| copy.role == CopyRole::Primary);
    let primary = primary.next().unwrap();
    assert_eq!(Some(&primary.node), last.node.as_ref());
    assert_eq!(Some(primary.epoch), Some(view.buffers[0].epoch));
    // By its id, whole or not, it is the same moment.
    let id = last.eid.to_string();
    for text in [&id[..], &id[..9]] {
        let at = text.parse().unwrap();
        assert_eq!(look(&quiet, at).unwrap(), view);
        assert_eq!(event_at(&quiet, at).unwrap(), Some(last.eid));
    }
    // At a time: behind all that happened until then.
    let at = look(&quiet, At::Time(last.t)).unwrap();
    let until = plain.events.iter().filter(|it| it.t <= last.t).count() as u64;
    assert_eq!((at.events, at.next), (until, None));
    let missing = look(&quiet, At::Number(outcome.events + 1)).unwrap_err();
    let says = format!(
        "the run has no such event: it has {0}, n:1 to n:{0}",
        outcome.events
    );
    assert_eq!(missing.to_string(), says);
    let any = look(&quiet, At::Id(EventId(0), EventId(u64::MAX))).unwrap_err();
    assert!(any.to_string().ends_with("write more digits"), "{any}");
}

#[test]
fn what_is_under_way_at_a_moment_is_told_with_the_ids_that_it_will_have() {
    let (_, plain) = run("", &[]);
    let packet = one(&plain, "packet.arrived", "append");
    let view = look(&setup("", &[]), At::Number(packet.n)).unwrap();
    let next = view.planned.iter().find(|it| it.eid == packet.eid).unwrap();
    assert!(next.under_way && next.at == packet.t);
    assert!(next.what.starts_with(&packet.refs[0]), "{}", next.what);
    for planned in &view.planned {
        // Of a request that is answered in time, nobody waits longer.
        let comes = plain.place(planned.eid).is_some();
        assert!(
            comes || planned.what.contains("waits no longer"),
            "{}",
            planned.what
        );
    }
    let text = view.to_string();
    for says in [
        "right before",
        "n1    runs",
        "b1    epoch",
        "primary",
        "packets under way",
    ] {
        assert!(text.contains(says), "no {says} in {text}");
    }
    let json = view.to_json();
    assert_eq!(json["next"], packet.eid.to_string());
    assert_eq!(json["nodes"].as_array().unwrap().len(), 3);
}

#[test]
fn a_fork_is_looked_at_as_any_run_is() {
    let down = |overrides: &[String]| {
        let view = look(&setup("", overrides), At::Time(520_000)).unwrap();
        view.nodes.iter().filter(|node| !node.runs).count()
    };
    assert_eq!((down(&[]), down(&["at=500ms kill n2".to_owned()])), (0, 1));
}

#[test]
fn a_run_that_fails_is_made_smaller_and_its_texts_make_it_again() {
    let mut rules = Rules::correct();
    rules.appointed_keeps_its_log = false;
    let bent = |setup| ClusterSetup { rules, ..setup };
    let fails = |setup: &ClusterSetup| {
        let broken = run_cluster(setup).broken;
        broken.map(|broken| broken.invariant)
    };
    let quick = |seed: &u64| {
        let setup = bent(ClusterSetup::swarm(*seed));
        setup.faults.len() > 5 && fails(&setup) == Some("committed-never-cut")
    };
    let seed = (0..200).find(quick).unwrap();
    let small = smaller(&bent(ClusterSetup::swarm(seed)), 120).unwrap();
    assert_eq!(small.invariant, "committed-never-cut");
    let (before, now) = small.faults;
    assert!(
        now < before && now <= 4,
        "seed {seed}: {:?}",
        small.setup.overrides.texts()
    );
    assert!(small.runs <= 120);
    // What a person is told is the whole of it.
    let options = small.setup.options.in_short();
    let texts = small.setup.overrides.texts();
    println!("seed {seed}, {} tries: {options}: {texts:?}", small.runs);
    let again = ClusterSetup {
        overrides: Overrides::new(texts.iter().map(|it| it.parse().unwrap())),
        ..bent(ClusterSetup::of(seed, options.parse().unwrap()))
    };
    let outcome = run_cluster(&again);
    assert_eq!(outcome.broken.unwrap().what, small.what);
    assert_eq!(outcome.events, small.events.1);
}

#[test]
fn a_run_that_does_not_fail_is_not_made_smaller() {
    assert!(smaller(&setup("", &[]), 10).is_none());
}

#[test]
fn the_life_of_one_message_is_followed_through_all_nodes() {
    let (_, trace) = run("", &[]);
    let acked = one(&trace, "append.acked", "");
    let seq = acked.seqs.unwrap().0;
    let follow = Some(format!("msg:b1/{seq}"));
    let show = Show { follow };
    let events: Vec<&Event> = selected(&trace, &show)
        .into_iter()
        .map(|place| &trace.events[place])
        .collect();
    // From the request to the answer, with every packet between, and on every node.
    let asked = events[0];
    assert_eq!(
        (asked.kind.as_str(), &asked.refs),
        ("append.asked", &acked.refs)
    );
    let took = events.iter().filter(|it| it.kind == "copy.took").count();
    assert_eq!(took, 2, "of two replicas");
    for kind in [
        "append.framed",
        "disk.synced",
        "commit.advanced",
        "append.acked",
    ] {
        assert!(events.iter().any(|it| it.kind == kind), "no {kind}");
    }
    let story = story(&trace, &show);
    for says in [
        "packet.sent",
        "ask",
        "[from c",
        "[to n",
        "last seen of msg:b1/",
    ] {
        assert!(story.contains(says), "no {says} in {story}");
    }
    for lane in ["n1", "n2", "n3", acked.node.as_deref().unwrap()] {
        assert!(
            story.contains(&format!("  {lane:<4} ")),
            "no {lane} in {story}"
        );
    }
    let commit = events
        .iter()
        .find(|it| it.kind == "commit.advanced")
        .unwrap();
    let why = explain(&trace, trace.place(commit.eid).unwrap());
    assert!(
        why.contains("rule 3: a record is committed when the disks"),
        "{why}"
    );
    assert!(
        why.contains("append.asked") || why.contains("disk.synced"),
        "{why}"
    );
}
