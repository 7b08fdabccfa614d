use proptest::prelude::*;

use super::*;
use crate::kinds::Kind;

/// A write that is appended on one node, then heartbeats, a crash, and an ack that waits for two.
fn small() -> String {
    let header = Header::new("hello-replica", 7, None, "nodes=3".to_owned());
    let mut trace = TraceWriter::writing(&header);
    let node = |node| Facts {
        node: Some(node),
        ..Facts::default()
    };
    let root = trace.event(0, &[], Kind::RunStarted, &Facts::default());
    let request = [Ref::Numbered("req", "c1", 1)];
    let asked = Facts {
        buffer: Some("b1"),
        refs: &request,
        ..node("c1")
    };
    let asked = trace.event(1_000, &[root], Kind::AppendAsked, &asked);
    let message = [request[0], Ref::Numbered("msg", "b1", 4)];
    let details = [
        ("bytes", Detail::Number(812)),
        ("note", Detail::Text("a \"b\"")),
    ];
    let framed = Facts {
        buffer: Some("b1"),
        epoch: Some(2),
        seqs: Some((4, 6)),
        refs: &message,
        details: &details,
        ..node("n1")
    };
    let framed = trace.event(1_540, &[asked], Kind::AppendFramed, &framed);
    for beat in 0..4 {
        let sent = trace.event(2_000 + beat * 100, &[root], Kind::RetentionRan, &node("n1"));
        trace.event(
            2_050 + beat * 100,
            &[sent],
            Kind::CheckpointAsked,
            &node("n2"),
        );
    }
    trace.event(2_500, &[root], Kind::NodeCrashed, &node("n2"));
    let synced = trace.event(2_600, &[framed], Kind::BatchSynced, &node("n1"));
    let other = trace.event(2_700, &[framed], Kind::BatchSynced, &node("n3"));
    let acked = Facts {
        buffer: Some("b1"),
        seqs: Some((4, 4)),
        refs: &request,
        ..node("c1")
    };
    trace.event(3_000, &[other, synced], Kind::AppendAcked, &acked);
    trace.take_lines()
}

fn read(text: &str) -> TraceFile {
    TraceFile::parse(text).unwrap()
}

#[test]
fn what_is_written_is_read_again() {
    let text = small();
    let trace = read(&text);
    assert_eq!(
        trace.header,
        Header::new("hello-replica", 7, None, "nodes=3".to_owned())
    );
    assert_eq!(trace.events.len(), 15);
    let framed = &trace.events[2];
    assert_eq!((framed.n, framed.t, framed.epoch), (3, 1_540, Some(2)));
    assert_eq!(framed.seqs, Some((4, 6)));
    assert_eq!(framed.refs, ["req:c1/1", "msg:b1/4"]);
    assert_eq!(framed.details["bytes"], 812);
    assert_eq!(framed.details["note"], "a \"b\"");
    assert_eq!(trace.events[14].causes.len(), 2);
    let lines: Vec<String> = trace.events.iter().map(Event::to_line).collect();
    let written: Vec<&str> = text.lines().skip(1).collect();
    assert_eq!(lines, written);
    assert_eq!(trace.header.to_string(), text.lines().next().unwrap());
}

#[test]
fn the_lines_are_these() {
    let text = small();
    let lines: Vec<&str> = text.lines().take(3).collect();
    assert_eq!(
        lines,
        [
            concat!(
                r#"{"hbuf-trace":1,"hbuf":""#,
                env!("CARGO_PKG_VERSION"),
                r#"","scenario":"hello-replica","seed":7,"bug":null,"overrides":[],"#,
                r#""options":"nodes=3"}"#
            ),
            r#"{"n":1,"t":0,"eid":"eb413c5fbb50aa5c","cause":[],"kind":"run.started"}"#,
            concat!(
                r#"{"n":2,"t":1000,"eid":"539478e6932b95ae","cause":["eb413c5fbb50aa5c"],"node":"c1","#,
                r#""kind":"append.asked","buf":"b1","refs":["req:c1/1"]}"#
            ),
        ]
    );
}

#[test]
fn a_file_that_cannot_be_read_says_which_line_is_wrong_and_why() {
    let good = small();
    let header = good.lines().next().unwrap();
    let event = good.lines().nth(1).unwrap();
    let error = |text: &str| TraceFile::parse(text).unwrap_err().to_string();
    let with = |line: &str| error(&format!("{header}\n{line}\n"));
    let not_a_trace = error("");
    assert!(
        not_a_trace.starts_with("this is no trace of hbuf"),
        "{not_a_trace}"
    );
    assert_eq!(error("hello\n"), not_a_trace);
    assert_eq!(error(event), not_a_trace);
    let newer = header.replace(":1,\"hbuf\"", ":2,\"hbuf\"");
    assert_eq!(
        error(&newer),
        "a trace of format 2; this version of hbuf reads format 1"
    );
    let seedless = header.replace("\"seed\":7,", "");
    assert_eq!(error(&seedless), "line 1: no number \"seed\"");
    assert!(with("{\"n\":1,").starts_with("line 2: no JSON: "));
    assert_eq!(with("[1]"), "line 2: no JSON object");
    assert_eq!(
        with(&event.replace("\"t\":0", "\"t\":-1")),
        "line 2: no number \"t\""
    );
    assert_eq!(
        with(&format!("{event}\n{event}")),
        "line 3: event 1 stands behind event 1"
    );
    let again = event.replace("\"n\":1", "\"n\":9");
    assert!(with(&format!("{event}\n{again}")).ends_with("stands on two lines"));
    for (with_what, says) in [
        ("\"cause\":[\"7\"]", "line 2: `7` is no id of 16 hex digits"),
        ("\"cause\":7", "line 2: \"cause\" is no list"),
        (
            "\"cause\":[],\"seq\":[1]",
            "line 2: \"seq\" is no pair of numbers",
        ),
        (
            "\"cause\":[],\"epoch\":-1",
            "line 2: \"epoch\" is no number below 2^32",
        ),
        ("\"cause\":[],\"d\":1", "line 2: \"d\" is no object"),
        ("\"cause\":[],\"node\":1", "line 2: no text \"node\""),
    ] {
        assert_eq!(with(&event.replace("\"cause\":[]", with_what)), says);
    }
}

#[test]
fn events_are_found_by_number_and_by_the_first_digits_of_their_id() {
    let trace = read(&small());
    let id = trace.events[3].eid.to_string();
    assert_eq!(trace.find("n:4"), Ok(3));
    assert_eq!(trace.find(&id), Ok(3));
    assert_eq!(trace.find(&id[..8]), Ok(3));
    assert_eq!(
        trace.find("n:99"),
        Err(FindError::Missing("n:99".to_owned()))
    );
    let form = Err(FindError::Form("xyz".to_owned()));
    assert_eq!(trace.find("xyz"), form);
    let digits: Vec<String> = (0..16).map(|digit| format!("{digit:x}")).collect();
    let many = digits.iter().filter_map(|digit| match trace.find(digit) {
        Err(FindError::Many { count, .. }) => Some(count),
        _ => None,
    });
    assert!(many.sum::<usize>() >= 2);
}

#[test]
fn the_story_has_lanes_arrows_and_folded_repetitions() {
    let trace = read(&small());
    let told = story(&trace, &Show::default());
    let told = told.replace(env!("CARGO_PKG_VERSION"), "VERSION");
    assert_eq!(told, STORY, "\n{told}");
}

#[test]
fn a_folded_line_names_a_few_events_and_counts_the_others() {
    let header = Header::new("fold", 1, None, String::new());
    let mut trace = TraceWriter::writing(&header);
    for t in 0..30 {
        let names = ["a", "b", "c", "d", "e", "f", "g", "h", "i", "j"];
        let facts = Facts {
            node: Some("n1"),
            buffer: Some(names[usize::try_from(t).unwrap() % 10]),
            ..Facts::default()
        };
        trace.event(t, &[], Kind::RollAsked, &facts);
    }
    // The last one is there only once, so it stands alone.
    trace.event(30, &[], Kind::CheckpointAsked, &Facts::default());
    let told = story(&read(&trace.take_lines()), &Show::default());
    let lines: Vec<&str> = told.lines().skip(2).collect();
    assert!(
        lines[0].contains("until 0.000029: 3 x roll.asked a (n1), "),
        "{told}"
    );
    assert!(
        lines[0].ends_with("3 x roll.asked f (n1), 12 others"),
        "{told}"
    );
    assert!(lines[1].contains("checkpoint.asked"), "{told}");
}

#[test]
fn following_a_ref_keeps_its_events_and_what_leads_from_one_to_the_next() {
    let trace = read(&small());
    let show = |wanted: &str| Show {
        follow: Some(wanted.to_owned()),
    };
    assert_eq!(selected(&trace, &show("req:c1/1")), [1, 2, 12, 13, 14]);
    // A message's life begins with the request for it, and ends with the answer.
    assert_eq!(selected(&trace, &show("msg:b1/4")), [1, 2, 12, 13, 14]);
    let nothing = story(&trace, &show("msg:b1/9"));
    let says = "no event has the ref msg:b1/9; there are msg:b1/4, req:c1/1, and msg:b1/17, ";
    assert!(nothing.contains(says), "{nothing}");
    assert!(story(&trace, &show("req:c1/1")).ends_with("5 of 15 events\n"));
}

#[test]
fn an_event_is_explained_by_its_causes_and_its_effects() {
    let trace = read(&small());
    let explained = explain(&trace, 14);
    assert_eq!(explained, EXPLAINED, "\n{explained}");
    let framed = explain(&trace, 2);
    assert!(
        framed.contains("what came of it, 2 at once and 3 in all:"),
        "{framed}"
    );
    assert!(explain(&trace, 0).contains("why: nothing brought it about, a root\n"));
}

#[test]
fn two_traces_are_compared_by_what_happened_in_both() {
    let text = small();
    let one = read(&text);
    assert_eq!(compare(&one, &one), None);
    // Without the crash, and with a later ack, under another seed.
    let crash = one.events[11].eid.to_string();
    let other: String = text
        .lines()
        .filter(|line| !line.contains(&format!("\"eid\":\"{crash}\"")))
        .map(|line| format!("{line}\n"))
        .collect();
    let other = other
        .replace("\"t\":3000", "\"t\":3100")
        .replace("\"seed\":7", "\"seed\":8");
    let found = compare(&one, &read(&other)).unwrap();
    assert_eq!((found.common, found.only, found.changed), (11, [1, 0], 1));
    assert_eq!(found.header, [("seed", "7".to_owned(), "8".to_owned())]);
    let words = found.to_string();
    assert!(
        words.starts_with("seed: 7 | 8\nthe first 11 events are the same; then\n  A  0.002500")
    );
    assert!(words.ends_with("1 events only in A, 0 only in B, 1 in both but not alike"));
    let shorter: Vec<&str> = text.lines().take(5).collect();
    let found = compare(&one, &read(&shorter.join("\n"))).unwrap();
    assert!(found.to_string().contains("  B  ends\n"));
}

const STORY: &str = include_str!("golden/story.txt");
const EXPLAINED: &str = include_str!("golden/explained.txt");

proptest! {
    /// A file that was cut or changed is read or refused, and what is read can be told.
    #[test]
    fn no_damage_does_any_harm(
        at in any::<prop::sample::Index>(),
        byte in any::<u8>(),
        cut in any::<bool>(),
    ) {
        let mut bytes = small().into_bytes();
        let at = at.index(bytes.len());
        if cut {
            bytes.truncate(at);
        } else {
            bytes[at] = byte;
        }
        let text = String::from_utf8_lossy(&bytes);
        if let Ok(trace) = TraceFile::parse(&text) {
            let told = story(&trace, &Show::default());
            prop_assert!(told.ends_with("events\n"));
            for place in 0..trace.events.len() {
                prop_assert!(explain(&trace, place).starts_with("event "));
            }
            prop_assert_eq!(compare(&trace, &trace), None);
        }
    }
}
