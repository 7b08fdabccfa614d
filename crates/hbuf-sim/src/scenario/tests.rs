use proptest::prelude::*;

use super::*;
use crate::overrides::Override;
use crate::swarm::Opt;

fn error(text: &str) -> String {
    let parsed: Result<Scenario, ParseError> = format!("name x\n{text}\n").parse();
    parsed.unwrap_err().to_string()
}

#[test]
fn the_built_in_scenarios_are_what_they_are_called_and_are_read_as_they_are_shown() {
    for (name, text) in BUILT_IN {
        let scenario: Scenario = text.parse().unwrap();
        assert_eq!(scenario.name, name);
        assert!(
            !scenario.about.is_empty() && !scenario.teaches.is_empty(),
            "{name}"
        );
        assert!(!scenario.steps.is_empty(), "{name}");
        assert!(
            scenario.expects.contains(&Expectation::InvariantsHold),
            "{name}"
        );
        assert!(
            text.starts_with('#'),
            "{name} tells a reader what it is about"
        );
        assert_eq!(scenario.to_string().parse(), Ok(scenario.clone()));
        assert_eq!(built_in(name).map(|it| it.scenario), Some(scenario));
    }
    assert_eq!(built_in("none-such"), None);
}

#[test]
fn the_steps_of_a_built_in_scenario_end_within_its_first_phase() {
    for (name, text) in BUILT_IN {
        let scenario: Scenario = text.parse().unwrap();
        let safety = scenario.options.get(Opt::Safety);
        for step in &scenario.steps {
            let last = match step.when {
                When::At(at) => at,
                When::Every { until, .. } => until.unwrap_or(safety),
                When::After(_) | When::If(_) => 0,
            };
            assert!(last <= safety, "{name}: {step}");
        }
    }
}

/// Every kind of line; each is shown as it is written.
const LINES: &str = r#"name every-line
about What # can be said, "in quotes" too.
teaches Nothing.
bug ack-before-in-sync
nodes 5
delay-mean 2ms
drop 2000ppm
at 2s crash n1
at 2s kill primary of b1
at 2s stop replica of b1
at 3s start n1
at 3s start all
at 3s pause n1
at 3s pause c1 for 200ms
at 3s resume n1
at 3s reformat n2
at 3s clone n2 as n2x
at 3s snapshot n2 as old
at 3s restore n2 from old
at 3s version n2 previous
at 1s partition n1 | n2 n3 c1
at 1s partition n1 | n2 | n3
at 1s cut n1 -> n2
at 1s isolate primary of b1
at 4s heal
at 1s clog n1 -> n2 for 200ms
at 1s slow n1 -> n2 64KiB
at 1s reset n1 c1
at 1s net drop=2000ppm delay-mean=5ms
at 1s disk n3 sync-fails
at 1s disk n3 full
at 1s disk n3 room
at 1s disk n3 rots
at 1s disk n3 loses-unsynced
at 1s disk n3 tears
at 1s disk n3 fast
at 1s disk n3 slow 20ms
at 2s clock n1 jump +20s
at 2s clock n1 jump -1500us
at 2s clock n1 drift +200ppm
at 2s clock n1 drift -200ppm
at 2s move b1 to n2 n3 primary of b2
at 2s hand-over b1 to n2
at 2s drain n2
at 2s rebalance fewest-bytes
at 2s force b1 to n3
at 2s elect b1 accepting-loss
at 2s create b2 copies 3
at 2s topic t1 of b1 b2
at 2s state b1 paused
at 1s client c1 append b1 "text with \"quotes\" and \\ and \n" key=user-17 if-match=3
at 1s client c1 append b1 key="a b" batch=3 bytes=100
at 1s client c1 read b1 after=3 limit=10
at 1s client c1 tail b1 to=n2
at 1s client c1 lock b1 key=door retry=on lease=1s
at 1s client c1 append b1 token=door
at 1s client c1 next b1 limit=10 consumer=workers
at 1s client c1 ack b1 consumer=workers
every 10ms client c2 append b1 until 5s
every 10ms client c2 append b1 from 1s until 5s
every 500ms move b1 to n2 n3 from 1s
every 1s crash n1
when primary of b1 changes then heal
when primary of b1 = n2 then crash n2
when acked b1 >= 10 then crash n2
when event commit.advanced count >= 3 then crash n2
when node n2 is down then crash n1
after 500ms start n2
expect invariants hold
expect broken acked-never-lost
expect acked b1 >= 100
expect acked b1 <= 100 at 4s
expect every append answered
expect every append of c2 answered
expect unanswered append of c1 <= 3
expect unanswered tail = 0
expect primary of b1 != n1 at 4s
expect stored b1 "text" count = 1
expect event failover count = 1
expect refused n2x "who"
expect converged within 5s
expect copies of b1 agree
expect slowest append <= 500ms
expect node n1 is up
"#;

#[test]
fn every_kind_of_line_is_shown_as_it_is_read() {
    let scenario: Scenario = LINES.parse().unwrap();
    let shown = scenario.to_string();
    for (shown, written) in shown.lines().zip(LINES.lines()) {
        assert_eq!(shown, written);
    }
    assert_eq!(shown.lines().count(), LINES.lines().count());
    assert_eq!(shown.parse(), Ok(scenario.clone()));
}

#[test]
fn shorter_forms_mean_the_longer_ones() {
    let same = |short: &str, long: &str| {
        let read = |line: &str| format!("name x\n{line}").parse::<Scenario>().unwrap();
        assert_eq!(read(short), read(long), "{short}");
    };
    same("expect event failover", "expect event failover count >= 1");
    same(
        "expect event failover count 1",
        "expect event failover count = 1",
    );
    same("  at  1s   heal # and a comment", "at 1s heal");
    same("at 1000ms heal", "at 1s heal");
    same(
        "at 1s client c1 append b1 \"a # b\"",
        "at 1s client c1 append b1 \"a # b\"#c",
    );
}

#[test]
fn what_is_wrong_is_named_with_its_line_and_what_is_allowed() {
    let unknown = error("\n# comment\nat 1s crsh n1");
    assert!(unknown.starts_with("line 4: `crsh` cannot stand here; allowed: crash, kill, stop, "));
    let unknown = error("sometimes heal");
    assert!(unknown.starts_with(
        "line 2: `sometimes` cannot stand here; allowed: name, about, teaches, bug, at, after, every"
    ));
    assert!(unknown.contains(", nodes, copies, "));
    for (line, says) in WRONG {
        assert_eq!(error(line), format!("line 2: {says}"), "{line}");
    }
    let nameless = "nodes 3".parse::<Scenario>().unwrap_err();
    assert_eq!(nameless.word, "the end of the file");
    assert!(error("nodes 2").contains("copies=3 is more than nodes=2"));
}

proptest! {
    /// A line in which a word is another one, is missing or stands twice: it is read or refused,
    /// and what is read is read again as it is shown.
    #[test]
    fn no_change_of_a_line_does_any_harm(
        changes in prop::collection::vec(any::<[prop::sample::Index; 3]>(), 20),
        strange in "\\PC{0,8}",
    ) {
        let words: Vec<&str> = LINES.split_whitespace().chain([strange.as_str()]).collect();
        for [line, place, word] in changes {
            let lines: Vec<&str> = LINES.lines().collect();
            let mut line: Vec<&str> = line.get(&lines).split(' ').collect();
            let at = place.index(line.len());
            match word.index(3) {
                0 => line[at] = words[word.index(words.len())],
                1 => line.insert(at, line[at]),
                _ => _ = line.remove(at),
            }
            let line = line.join(" ");
            // What may follow another step does.
            if let Ok(scenario) = format!("name x\nat 0 heal\n{line}").parse::<Scenario>() {
                prop_assert_eq!(scenario.to_string().parse(), Ok(scenario));
            }
            let change = line.replacen("at ", "at=", 1);
            if let Ok(change) = change.parse::<Override>() {
                prop_assert_eq!(change.to_string().parse(), Ok(change));
            }
        }
    }
}

/// Lines, and what is said of them.
const WRONG: [(&str, &str); 27] = [
    (
        "at 1 heal",
        "`1` cannot stand here; allowed: a time like 20us, 500ms or 2s",
    ),
    (
        "at 1s heal n1",
        "`n1` cannot stand here; allowed: the end of the line",
    ),
    (
        "at 1s crash",
        "`the end of the line` cannot stand here; allowed: a node like n1, primary of b1, replica of b1",
    ),
    (
        "at 1s crash primary b1",
        "`b1` cannot stand here; allowed: of",
    ),
    (
        "at 1s partition n1 n2",
        "`the end of the line` cannot stand here; allowed: |",
    ),
    ("at 1s cut n1 n2", "`n2` cannot stand here; allowed: ->"),
    (
        "at 1s disk n1 sings",
        "`sings` cannot stand here; allowed: sync-fails, full, room, rots, loses-unsynced, tears, fast, slow",
    ),
    (
        "at 1s clock n1 jump 20s",
        "`20s` cannot stand here; allowed: + or - and a time like 20us, 500ms or 2s",
    ),
    (
        "at 1s clock n1 drift +600000ppm",
        "`+600000ppm` cannot stand here; allowed: at most 500000ppm",
    ),
    (
        "at 1s net",
        "`the end of the line` cannot stand here; allowed: delay-min=, delay-mean=, drop=, dup=, reset=, bandwidth=, capacity=",
    ),
    (
        "at 1s net crash=1s",
        "`crash=1s` cannot stand here; allowed: delay-min=, delay-mean=, drop=, dup=, reset=, bandwidth=, capacity=",
    ),
    (
        "at 1s net drop=2s",
        "`drop=2s` cannot stand here; allowed: parts of a million like 2000ppm, from off to 1000000ppm",
    ),
    (
        "at 1s client c1 sing b1",
        "`sing` cannot stand here; allowed: append, read, tail, get, delete, lock, unlock, read-topic, next, ack, nack",
    ),
    (
        "at 1s client c1 tail b1 key=1",
        "`key=1` cannot stand here; allowed: to=",
    ),
    (
        "at 1s client c1 append b1 batch=0",
        "`batch=0` cannot stand here; allowed: a number from 1 to 10000",
    ),
    (
        "at 1s client c1 append b1 retry=yes",
        "`retry=yes` cannot stand here; allowed: retry=on, retry=off",
    ),
    (
        "at 1s client c1 append b1 \"open",
        "`the end of the line` cannot stand here; allowed: a quote that ends the text",
    ),
    (
        "at 1s client c1 read b1 \"text\"",
        "`text` cannot stand here; allowed: the end of the line",
    ),
    (
        "at 1s create b1 copies 9",
        "`9` cannot stand here; allowed: a number from 1 to 8",
    ),
    (
        "after 1s heal",
        "`after` cannot stand here; allowed: after, behind another step",
    ),
    (
        "every 0 heal",
        "`0` cannot stand here; allowed: a time above 0",
    ),
    (
        "when primary of b1 changes heal",
        "`heal` cannot stand here; allowed: then",
    ),
    (
        "when it rains then heal",
        "`it` cannot stand here; allowed: primary, acked, stored, event, node",
    ),
    (
        "expect rain",
        "`rain` cannot stand here; allowed: invariants, broken, every, unanswered, refused, converged, copies, slowest, primary, acked, stored, event, node",
    ),
    (
        "expect acked b1 > 3",
        "`>` cannot stand here; allowed: >=, <=, =, !=",
    ),
    (
        "nodes many",
        "`many` cannot stand here; allowed: a number like 3, from 1 to 9",
    ),
    (
        "nodes",
        "`the end of the line` cannot stand here; allowed: a number like 3, from 1 to 9",
    ),
];
