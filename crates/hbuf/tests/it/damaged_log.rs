//! What a person sees of a log that was damaged while no server ran.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;
use tempfile::TempDir;

use crate::support::altered::{change, find};
use crate::support::server::{Server, hbuf};

/// A data directory with one buffer, `b`, whose segments hold three messages each, or all.
struct Damaged {
    scratch: TempDir,
}

/// How many messages the buffer has.
const MESSAGES: u64 = 8;

impl Damaged {
    /// The server stops well, so that the mark covers everything.
    fn with_segments_of(segment_bytes: u64) -> Self {
        let scratch = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
        let damaged = Self { scratch };
        let server = damaged.serve();
        let mut http = server.http();
        let config = format!("{{\"segment_bytes\": {segment_bytes}}}");
        assert!(http.put_json("/buffers/b", &config).unwrap().is_success());
        for number in 1..=MESSAGES {
            let body = format!("{}body {number}", "x".repeat(1_000));
            let reply = http.post("/buffers/b", body.as_bytes()).unwrap();
            assert_eq!(reply.number("x-hbuf-seq"), Some(number));
        }
        server.stop().unwrap();
        damaged
    }

    fn serve(&self) -> Server {
        Server::start(&self.scratch.path().join("data"), &[]).unwrap()
    }

    fn directory(&self) -> PathBuf {
        fs::canonicalize(self.scratch.path().join("data/names/-/b")).unwrap()
    }

    /// The first seqs of the segments.
    fn firsts(&self) -> Vec<u64> {
        let names = fs::read_dir(self.directory()).unwrap();
        let names = names.map(|entry| entry.unwrap().file_name().into_string().unwrap());
        let mut firsts: Vec<u64> = names
            .filter_map(|name| name.strip_suffix(".hbuf")?.parse().ok())
            .collect();
        firsts.sort_unstable();
        firsts
    }

    fn segment(&self, first: u64) -> PathBuf {
        self.directory().join(format!("{first:020}.hbuf"))
    }
}

/// Another byte in the head line, by which it is none any more at any time of day: sealed segments
/// are trusted where their lines can be read.
fn bad_head(path: &Path) {
    change(path, |bytes| bytes[0] ^= 1);
}

fn newer_format(path: &Path) {
    change(path, |bytes| {
        let at = find(bytes, "x-hbuf-format: 1\r\n");
        bytes[at + 15] = b'9';
    });
}

fn missing(path: &Path) {
    fs::remove_file(path).unwrap();
}

/// The problem that a read gets.
fn problem(server: &Server, target: &str) -> Value {
    let reply = server.http().get(target).unwrap();
    assert_eq!(reply.status, 500, "{target}: {}", reply.text());
    let problem: Value = serde_json::from_slice(&reply.body).unwrap();
    assert_eq!(problem["type"], "urn:hbuf:problem:log-damaged", "{problem}");
    problem
}

fn description(server: &Server) -> Value {
    let reply = server.http().get("/buffers/b").unwrap();
    serde_json::from_slice(&reply.body).unwrap()
}

fn readiness(server: &Server) -> String {
    server.http().get("/readyz").unwrap().text()
}

#[test]
fn a_first_segment_that_cannot_be_used_is_damaged_and_not_dropped() {
    let cases = [
        (bad_head as fn(&Path), "head line"),
        (newer_format, "use a newer hbuf"),
        (missing, "missing"),
    ];
    for (damage, says) in cases {
        for segment_bytes in [1 << 20, 4 << 10] {
            let damaged = Damaged::with_segments_of(segment_bytes);
            damage(&damaged.segment(1));
            let server = damaged.serve();
            let single = segment_bytes > 4 << 10;
            let problem = problem(&server, "/buffers/b/messages");
            assert_eq!(problem["seq"], 1);
            let detail = problem["detail"].as_str().unwrap();
            assert!(detail.contains(says), "{detail}");
            assert_eq!(
                description(&server)["damaged_at"],
                1,
                "{says} {segment_bytes}"
            );
            assert!(readiness(&server).contains("damaged"));
            if single {
                assert_eq!(self::problem(&server, "/buffers/b/messages/2")["seq"], 2);
                let reply = server.http().post("/buffers/b", b"more").unwrap();
                assert!(
                    reply.text().contains("damaged at seq 1"),
                    "{}",
                    reply.text()
                );
            }
        }
    }
}

#[test]
fn a_newest_segment_that_cannot_be_used_is_named_itself() {
    for (damage, says) in [
        (bad_head as fn(&Path), "no good head line"),
        (newer_format, "use a newer hbuf"),
        (missing, "missing"),
    ] {
        let damaged = Damaged::with_segments_of(4 << 10);
        let newest = *damaged.firsts().last().unwrap();
        assert!(newest > 1);
        damage(&damaged.segment(newest));
        let server = damaged.serve();
        assert_eq!(
            server.http().get("/buffers/b/messages/1").unwrap().status,
            200
        );
        let problem = problem(
            &server,
            &format!("/buffers/b/messages?after={}", newest - 1),
        );
        assert_eq!(problem["seq"], newest);
        let detail = problem["detail"].as_str().unwrap();
        assert!(detail.contains(&format!("{newest:020}.hbuf")), "{detail}");
        assert!(detail.contains(says), "{detail}");
        assert_eq!(description(&server)["damaged_at"], newest);
    }
}

#[test]
fn a_missing_segment_in_the_middle_is_said_once_a_read_met_it() {
    let damaged = Damaged::with_segments_of(4 << 10);
    let firsts = damaged.firsts();
    assert!(firsts.len() > 2, "{firsts:?}");
    missing(&damaged.segment(firsts[1]));
    let server = damaged.serve();
    let problem = problem(
        &server,
        &format!("/buffers/b/messages?after={}", firsts[1] - 1),
    );
    assert_eq!(problem["seq"], firsts[1]);
    let detail = problem["detail"].as_str().unwrap();
    let says = format!("the next one begins with {}", firsts[2]);
    assert!(detail.contains(&says), "{detail}");
    assert_eq!(description(&server)["damaged_at"], firsts[1]);
    assert!(readiness(&server).contains(&says), "{}", readiness(&server));
    let behind = format!("/buffers/b/messages/{}", firsts[2]);
    assert_eq!(server.http().get(&behind).unwrap().status, 200);
}

#[test]
fn the_end_of_a_damaged_log_is_no_end_to_wait_at() {
    let damaged = Damaged::with_segments_of(1 << 20);
    // Without the mark the start reads everything, and stops at the damage.
    missing(&damaged.directory().join("mark"));
    change(&damaged.segment(1), |bytes| {
        let at = find(bytes, "body 3");
        bytes[at] ^= 1;
    });
    let server = damaged.serve();
    let described = description(&server);
    assert_eq!(
        (&described["commit"], &described["damaged_at"]),
        (&2.into(), &3.into())
    );
    for target in ["?after=2", "?after=end", "?after=2&wait=5", "/3", "/7"] {
        assert_eq!(
            problem(&server, &format!("/buffers/b/messages{target}"))["seq"],
            3
        );
    }
    let sound = server.http().get("/buffers/b/messages").unwrap();
    assert!(sound.text().contains("body 2") && !sound.text().contains("body 4"));
    let events = server.http().send(
        "GET",
        "/buffers/b/messages",
        &[("accept", "text/event-stream")],
        b"",
    );
    // A stream that cannot go on says why, and ends.
    let events = events.unwrap().text();
    let (sound, problem) = events.split_once("event: problem\n").unwrap();
    assert!(
        sound.contains("body 2") && problem.contains("log-damaged"),
        "{events}"
    );
}

#[test]
fn a_streams_readers_are_told_of_the_damage_that_ends_it() {
    let damaged = Damaged::with_segments_of(1 << 20);
    let server = damaged.serve();
    let text = [("content-type", "text/plain")];
    let send = |server: &Server, method, body: &str| {
        let reply = server
            .http()
            .send(method, "/v1/stream/s", &text, body.as_bytes());
        assert!(reply.unwrap().is_success());
    };
    send(&server, "PUT", "");
    for number in 1..=3 {
        send(&server, "POST", &format!("message {number}"));
    }
    server.stop().unwrap();
    let named = damaged.scratch.path().join("data/names/-/stream.s");
    let directory = fs::canonicalize(named).unwrap();
    missing(&directory.join("mark"));
    change(&directory.join("00000000000000000001.hbuf"), |bytes| {
        let at = find(bytes, "message 2");
        bytes[at] ^= 1;
    });
    let server = damaged.serve();
    let sound = server.http().get("/v1/stream/s").unwrap();
    assert_eq!((sound.status, sound.text().as_str()), (200, "message 1"));
    for live in ["", "&live=long-poll", "&live=sse"] {
        let target = format!("/v1/stream/s?offset=now{live}");
        assert_eq!(problem(&server, &target)["seq"], 3);
    }
    let followed = server.http().get("/v1/stream/s?offset=-1&live=sse");
    let events = followed.unwrap().text();
    let (sound, problem) = events.split_once("event: problem\n").unwrap();
    assert!(sound.contains("data:message 1\n"), "{events}");
    assert!(
        problem.contains("log-damaged") && problem.ends_with("\n\n"),
        "{events}"
    );
}

#[test]
fn a_topic_gives_what_is_sound_before_damage_and_names_the_gap() {
    let damaged = Damaged::with_segments_of(4 << 10);
    bad_body(&damaged, 2);
    let server = damaged.serve();
    let mut http = server.http();
    assert!(http.put_json("/buffers/c", "{}").unwrap().is_success());
    let topic = http
        .put_json("/topics/t", "{\"buffers\": [\"b\", \"c\"]}")
        .unwrap();
    assert!(topic.is_success(), "{}", topic.text());
    let accept = [("accept", "application/x-ndjson")];
    let lines = http
        .send("GET", "/topics/t/messages", &accept, b"")
        .unwrap()
        .text();
    assert!(
        lines.contains("body 1") && !lines.contains("body 2"),
        "{lines}"
    );
    assert!(lines.contains("damaged"), "{lines}");
}

/// The exit code of `hbuf verify`, and the first damaged place that it names.
fn verify(arguments: &[&str]) -> (Option<i32>, Value) {
    let output = hbuf(&[&["verify", "--json"], arguments].concat());
    let said = String::from_utf8(output.stdout).unwrap();
    let complaint = String::from_utf8_lossy(&output.stderr);
    let line = said.lines().next().unwrap_or_else(|| panic!("{complaint}"));
    let check: Value = serde_json::from_str(line).unwrap();
    (output.status.code(), check["damage"][0].clone())
}

/// Both ways of verifying name the same seq.
fn check_verify(segment_bytes: u64, damage: impl FnOnce(&Damaged) -> u64, says: &str) {
    let damaged = Damaged::with_segments_of(segment_bytes);
    let seq = damage(&damaged);
    let offline = verify(&[&damaged.directory().display().to_string()]);
    assert_eq!(
        (offline.0, &offline.1["seq"]),
        (Some(1), &seq.into()),
        "{}",
        offline.1
    );
    let server = damaged.serve();
    let url = format!("http://{}", server.address());
    let served = verify(&["--url", &url, "b"]);
    assert_eq!(
        (served.0, &served.1["seq"]),
        (Some(1), &seq.into()),
        "{}",
        served.1
    );
    let reason = served.1["reason"].as_str().unwrap();
    assert!(reason.contains(says), "{reason}");
}

/// Another byte in the body of a message of the first segment.
fn bad_body(damaged: &Damaged, seq: u64) -> u64 {
    change(&damaged.segment(1), |bytes| {
        let at = find(bytes, &format!("body {seq}"));
        bytes[at] ^= 1;
    });
    seq
}

#[test]
fn verify_of_a_server_names_a_bad_body_in_an_open_and_in_a_sealed_segment() {
    check_verify(1 << 20, |damaged| bad_body(damaged, 3), "CRC");
    check_verify(4 << 10, |damaged| bad_body(damaged, 2), "CRC");
}

#[test]
fn verify_of_a_server_names_a_bad_record_line() {
    for segment_bytes in [1 << 20, 4 << 10] {
        for byte in [10, 30, 100, 110] {
            let line = |damaged: &Damaged| {
                change(&damaged.segment(1), |bytes| {
                    let at = find(bytes, "POST /00000000000000000002");
                    bytes[at + byte] ^= 1;
                });
                2
            };
            check_verify(segment_bytes, line, "");
        }
    }
}

#[test]
fn verify_of_a_server_names_the_head_line_of_any_segment() {
    let head_of = |which: fn(&[u64]) -> u64| {
        move |damaged: &Damaged| {
            let first = which(&damaged.firsts());
            bad_head(&damaged.segment(first));
            first
        }
    };
    check_verify(1 << 20, head_of(|firsts| firsts[0]), "head line");
    let each: [fn(&[u64]) -> u64; 3] = [
        |firsts: &[u64]| firsts[0],
        |firsts: &[u64]| firsts[1],
        |firsts: &[u64]| firsts[firsts.len() - 1],
    ];
    for which in each {
        check_verify(4 << 10, head_of(which), "head line");
    }
}

#[test]
fn verify_of_a_server_names_an_end_that_is_cut_off() {
    let cut = |damaged: &Damaged| {
        change(&damaged.segment(1), |bytes| {
            bytes.truncate(find(bytes, "POST /00000000000000000006"));
        });
        6
    };
    check_verify(1 << 20, cut, "");
    // Without a mark, a start that reads everything finds the damage and the log ends there.
    let rotten = |damaged: &Damaged| {
        missing(&damaged.directory().join("mark"));
        bad_body(damaged, 3)
    };
    check_verify(1 << 20, rotten, "shows that it was committed");
}

#[test]
fn verify_of_a_server_names_missing_segments() {
    let each: [fn(&[u64]) -> u64; 2] = [
        |firsts: &[u64]| firsts[1],
        |firsts: &[u64]| firsts[firsts.len() - 1],
    ];
    for which in each {
        let gone = |damaged: &Damaged| {
            let first = which(&damaged.firsts());
            missing(&damaged.segment(first));
            first
        };
        check_verify(4 << 10, gone, "");
    }
}
