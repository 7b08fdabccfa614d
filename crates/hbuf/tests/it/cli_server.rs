//! The commands of a client against a running server, and the commands that read files on what it
//! wrote.

use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::support::server::Server;

/// A server with data of its own, and the commands that go to it.
struct Bench {
    scratch: tempfile::TempDir,
    server: Server,
}

impl Bench {
    fn new() -> Self {
        let scratch = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
        let server = Server::start(&scratch.path().join("data"), &[]).unwrap();
        Self { scratch, server }
    }

    fn data(&self) -> PathBuf {
        self.scratch.path().join("data")
    }

    /// The directory of a buffer, by its link.
    fn buffer(&self, name: &str) -> String {
        self.data().join("names/-").join(name).display().to_string()
    }

    fn file(&self, name: &str, content: &[u8]) -> String {
        let path = self.scratch.path().join(name);
        fs::write(&path, content).unwrap();
        path.display().to_string()
    }

    fn run(&self, words: &[&str]) -> Output {
        self.run_with(words, b"")
    }

    fn run_with(&self, words: &[&str], stdin: &[u8]) -> Output {
        let mut child = self.command(words).spawn().unwrap();
        child.stdin.take().unwrap().write_all(stdin).unwrap();
        child.wait_with_output().unwrap()
    }

    fn command(&self, words: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_hbuf"));
        command
            .args(words)
            .env("HBUF_URL", format!("http://{}", self.server.address()))
            .env_remove("HBUF_TENANT")
            .current_dir(self.scratch.path())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        command
    }

    /// What a command prints that must succeed.
    fn say(&self, words: &[&str]) -> String {
        good(words, &self.run(words))
    }
}

fn good(words: &[&str], output: &Output) -> String {
    let complaint = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(0), "{words:?}: {complaint}");
    String::from_utf8(output.stdout.clone()).unwrap()
}

fn refused(output: &Output, code: i32, hint: &str) {
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(code), "{said}");
    assert!(said.contains(hint), "{hint} is not in: {said}");
}

fn lines_of_json(text: &str) -> Vec<Value> {
    text.lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

#[test]
fn lines_of_a_file_become_messages_and_come_back_byte_by_byte() {
    let bench = Bench::new();
    let mut content = Vec::new();
    for number in 0..2_500 {
        content.extend_from_slice(format!("line {number}\r\n").as_bytes());
    }
    content.extend_from_slice(b"\n\xff\x00binary\nthe last line has no end");
    let file = bench.file("log.txt", &content);
    let said = bench.say(&[
        "append", "demo", "--lines", &file, "--key", "a key", "--tag", "web7",
    ]);
    assert_eq!(
        said,
        "appended 2503 messages to demo: first seq 1, last seq 2503\n"
    );
    let read = bench.run(&["read", "demo"]);
    assert!(read.status.success());
    assert_eq!(read.stdout, [&content[..], b"\n"].concat());
    // The same bytes over HTTP and from the file.
    let raw = bench.run(&["read", "demo", "--format", "raw"]);
    let from_file = bench.run(&["cat", &bench.buffer("demo"), "--format", "raw"]);
    assert!(!raw.stdout.is_empty() && raw.stdout == from_file.stdout);
    let some = lines_of_json(&bench.say(&[
        "read", "demo", "--after", "2500", "--limit", "2", "--format", "ndjson",
    ]));
    assert_eq!(some.len(), 2);
    assert_eq!(
        (&some[0]["seq"], &some[0]["body"]),
        (&json!(2501), &json!(""))
    );
    assert_eq!(some[1]["body_base64"], "/wBiaW5hcnk=");
    let array: Value =
        serde_json::from_str(&bench.say(&["read", "demo", "--limit", "2", "--format", "json"]))
            .unwrap();
    assert_eq!(array[1]["body"], "line 1\r");
}

#[test]
fn standard_input_whole_files_and_a_text_are_messages() {
    let bench = Bench::new();
    let words = ["append", "demo", "--lines", "--json"];
    let said = good(&words, &bench.run_with(&words, b"one\ntwo\n"));
    let said: Value = serde_json::from_str(&said).unwrap();
    assert_eq!(
        (&said["messages"], &said["last_seq"]),
        (&json!(2), &json!(2))
    );
    let words = ["append", "demo"];
    good(&words, &bench.run_with(&words, b"three\nlines\nin one\n"));
    let (a, b) = (bench.file("a", b"file a"), bench.file("b", b""));
    bench.say(&[
        "append",
        "demo",
        &a,
        &b,
        "--header",
        "x-hbuf-meta-from: disk",
    ]);
    bench.say(&[
        "append",
        "demo",
        "-m",
        "- a text",
        "--content-type",
        "text/plain",
    ]);
    let read = lines_of_json(&bench.say(&["read", "demo", "--format", "ndjson"]));
    let bodies: Vec<_> = read
        .iter()
        .map(|message| message["body"].as_str().unwrap())
        .collect();
    assert_eq!(
        bodies,
        [
            "one",
            "two",
            "three\nlines\nin one\n",
            "file a",
            "",
            "- a text"
        ]
    );
    assert_eq!(read[3]["headers"]["x-hbuf-meta-from"], "disk");
    assert_eq!(read[5]["headers"]["content-type"], "text/plain");
    let nothing = bench.say(&["append", "demo", "--lines"]);
    assert_eq!(nothing, "nothing to append: the input is empty\n");
}

#[test]
fn the_same_producer_on_the_same_file_appends_nothing_twice() {
    let bench = Bench::new();
    let content: String = (0..250).map(|number| format!("{number}\n")).collect();
    let file = bench.file("log.txt", content.as_bytes());
    let half = bench.file(
        "half.txt",
        &content.as_bytes()[..content.find("100\n").unwrap()],
    );
    let words = [
        "append",
        "demo",
        "--lines",
        "--batch",
        "50",
        "--producer",
        "p1",
    ];
    let append = |file: &str| bench.run(&[&words[..], &[file]].concat());
    good(&words, &append(&half));
    let said = good(&words, &append(&file));
    assert_eq!(
        said,
        "appended 250 messages to demo: first seq 1, last seq 250 (100 were in already)\n"
    );
    assert_eq!(bench.say(&["read", "demo"]), content);
    // A batch that is another under the same number is noticed.
    let other = bench.file(
        "other.txt",
        &content.as_bytes()[..content.find("120\n").unwrap()],
    );
    refused(&append(&other), 2, "another --producer");
}

#[test]
fn a_guard_on_the_logs_end_holds() {
    let bench = Bench::new();
    bench.say(&["append", "demo", "-m", "one", "--if-last", "0"]);
    refused(
        &bench.run(&["append", "demo", "-m", "two", "--if-last", "0"]),
        2,
        "412",
    );
    bench.say(&["append", "demo", "-m", "two", "--if-last", "1"]);
    assert_eq!(bench.say(&["read", "demo"]), "one\ntwo\n");
}

#[test]
fn what_the_server_refuses_is_said_in_its_own_words() {
    let bench = Bench::new();
    refused(&bench.run(&["read", "nothing"]), 2, "404");
    refused(&bench.run(&["append", "..", "-m", "x"]), 2, "400");
    refused(
        &bench.run(&["append", "demo", "-m", "x", "--header", "broken"]),
        2,
        "NAME: VALUE",
    );
    refused(
        &bench.run(&["append", "demo", "no-such-file"]),
        2,
        "no-such-file",
    );
    refused(
        &bench.run(&["read", "x", "--url", "http://127.0.0.1:1"]),
        2,
        "hbuf serve",
    );
    refused(
        &bench.run(&["read", "x", "--url", "127.0.0.1:4283"]),
        2,
        "http://HOST:PORT",
    );
}

#[test]
fn a_tail_shows_the_last_messages_and_then_each_new_one() {
    let bench = Bench::new();
    let words = ["append", "demo", "--lines"];
    good(&words, &bench.run_with(&words, b"one\ntwo\nthree\n"));
    let poll = bench
        .command(&["tail", "demo", "--last", "2", "--limit", "4"])
        .spawn()
        .unwrap();
    let words = ["tail", "demo", "--from", "start", "--limit", "5", "--sse"];
    let events = bench.command(&words).spawn().unwrap();
    thread::sleep(Duration::from_millis(300));
    bench.say(&["append", "demo", "-m", "four"]);
    bench.say(&["append", "demo", "-m", "five"]);
    let said = good(&["tail"], &poll.wait_with_output().unwrap());
    assert_eq!(said, "two\nthree\nfour\nfive\n");
    let said = good(&words, &events.wait_with_output().unwrap());
    for body in ["one", "two", "three", "four", "five"] {
        assert!(said.contains(body), "{body} is not in {said}");
    }
}

#[test]
fn buffers_and_topics_are_made_shown_changed_and_deleted() {
    let bench = Bench::new();
    bench.say(&["buffers", "create", "orders"]);
    refused(
        &bench.run(&["buffers", "create", "orders"]),
        2,
        "exists already",
    );
    bench.say(&["append", "events", "--topic", "-m", "hello"]);
    let list = lines_of_json(&bench.say(&["buffers", "list", "--json"]));
    let names: Vec<_> = list
        .iter()
        .map(|buffer| buffer["name"].as_str().unwrap())
        .collect();
    assert_eq!(names, ["events", "orders"]);
    assert!(bench.say(&["topics", "list"]).starts_with("events"));
    let topic: Value =
        serde_json::from_str(&bench.say(&["topics", "describe", "events", "--json"])).unwrap();
    assert_eq!(topic["name"], "events");
    assert_eq!(bench.say(&["buffers", "state", "orders"]), "open\n");
    assert_eq!(
        bench.say(&["buffers", "state", "orders", "closed"]),
        "closed\n"
    );
    refused(&bench.run(&["append", "orders", "-m", "late"]), 2, "closed");
    bench.say(&["buffers", "delete", "orders"]);
    refused(&bench.run(&["buffers", "describe", "orders"]), 2, "404");
    refused(&bench.run(&["buffers", "delete", "events"]), 2, "409");
    bench.say(&["topics", "delete", "events", "--buffers", "delete"]);
    assert_eq!(bench.say(&["buffers", "list"]), "");
}

#[test]
fn a_topic_of_several_buffers_is_made_changed_and_appended_to() {
    let bench = Bench::new();
    for name in ["a", "b", "c"] {
        bench.say(&["buffers", "create", name]);
    }
    bench.say(&["topics", "create", "t", "--set", "buffers=[\"a\"]"]);
    bench.say(&["topics", "add", "t", "b", "c"]);
    bench.say(&["topics", "remove", "t", "a"]);
    let topic: Value =
        serde_json::from_str(&bench.say(&["topics", "describe", "t", "--json"])).unwrap();
    assert_eq!(
        (&topic["buffers"], &topic["version"]),
        (&json!(["b", "c"]), &json!(3))
    );
    refused(&bench.run(&["topics", "add", "t", "b"]), 2, "`b` is in");
    refused(
        &bench.run(&["topics", "remove", "t", "a"]),
        2,
        "`a` is not in",
    );
    let said = bench.say(&["append", "t", "--topic", "-m", "one", "--key", "k"]);
    assert!(
        said.starts_with("appended 1 message to t: in 1 of its buffers"),
        "{said}"
    );
    bench.say(&["append", "b", "-m", "two"]);
    bench.say(&["append", "c", "-m", "three"]);
    assert_eq!(bench.say(&["read", "t", "--topic"]), "one\ntwo\nthree\n");
    let words = ["tail", "t", "--topic", "--from", "start", "--limit", "3"];
    assert_eq!(bench.say(&words), "one\ntwo\nthree\n");
    bench.say(&["buffers", "state", "b", "closed"]);
    bench.say(&["buffers", "state", "c", "closed"]);
    refused(
        &bench.run(&["append", "t", "--topic", "-m", "late"]),
        2,
        "closed",
    );
}

#[test]
fn filters_are_stored_from_a_file_or_a_pipe_and_read_with() {
    let bench = Bench::new();
    for tag in ["a", "b", "c"] {
        let file = bench.file("body", tag.as_bytes());
        bench.say(&["append", "demo", &file, "--tag", tag, "--key", "k"]);
    }
    let file = bench.file("tags", b"a\nb\n");
    let said: Value =
        serde_json::from_str(&bench.say(&["filters", "put", "demo", "Some", &file])).unwrap();
    assert_eq!((&said["tags"], &said["bytes"]), (&json!(2), &json!(4)));
    assert_eq!(bench.say(&["read", "demo", "--filter", "some"]), "a\nb\n");
    assert_eq!(
        bench.say(&["read", "demo", "--filter", "some", "--tag", "b"]),
        "b\n"
    );
    assert_eq!(bench.say(&["read", "demo", "--latest"]), "c\n");
    let words = ["filters", "put", "demo", "other"];
    good(&words, &bench.run_with(&words, b"c\n"));
    let list = bench.say(&["filters", "list", "demo"]);
    assert!(
        list.starts_with("NAME ") && list.lines().count() == 3,
        "{list}"
    );
    assert_eq!(
        lines_of_json(&bench.say(&["filters", "list", "demo", "--json"])).len(),
        2
    );
    let refusal = bench.run_with(&["filters", "put", "demo", "some"], b"x\ny,z\n");
    refused(&refusal, 2, "Line 2");
    bench.say(&["filters", "delete", "demo", "some"]);
    refused(
        &bench.run(&["filters", "describe", "demo", "some"]),
        2,
        "no filter",
    );
}

#[test]
fn tenants_have_names_of_their_own() {
    let bench = Bench::new();
    bench.say(&["append", "demo", "-m", "default"]);
    bench.say(&["append", "demo", "-m", "coke", "--tenant", "coke"]);
    assert_eq!(bench.say(&["read", "demo", "--tenant", "coke"]), "coke\n");
    let listed = bench.say(&["ls", &bench.data().display().to_string()]);
    assert!(
        listed.contains("-/demo") && listed.contains("coke/demo"),
        "{listed}"
    );
}

#[test]
fn files_are_listed_searched_and_proven_without_the_server() {
    let bench = Bench::new();
    let words = ["append", "demo", "--lines", "--key", "k"];
    good(&words, &bench.run_with(&words, b"alpha\nbeta\ngamma\n"));
    bench.say(&["append", "other", "-m", "alpha"]);
    bench.server.http();
    let data = bench.data().display().to_string();
    let listed = lines_of_json(&bench.say(&["ls", &data, "--json"]));
    assert_eq!(listed.len(), 2);
    assert_eq!(
        (&listed[0]["name"], &listed[0]["last_seq"]),
        (&json!("demo"), &json!(3))
    );
    let found = lines_of_json(&bench.say(&["grep", "^al", &data, "--json"]));
    assert_eq!(found.len(), 2);
    assert_eq!(
        (&found[0]["buffer"], &found[0]["seq"]),
        (&json!("-/demo"), &json!(1))
    );
    assert_eq!(found[0]["key"], "k");
    assert_eq!(
        bench.say(&["grep", "-c", "a$", &bench.buffer("demo")]),
        "3\n"
    );
    assert_eq!(bench.run(&["grep", "delta", &data]).status.code(), Some(1));
    refused(&bench.run(&["grep", "(", &data]), 2, "regular expression");
    refused(
        &bench.run(&["cat", bench.scratch.path().to_str().unwrap()]),
        2,
        "no buffers",
    );
    let proof = bench.say(&["prove", &bench.buffer("demo"), "2"]);
    let file = bench.file("2.tlog-proof", proof.as_bytes());
    assert!(
        bench
            .say(&["prove", "--check", &file])
            .starts_with("valid: seq 2")
    );
    bench.say(&["append", "demo", "-m", "more"]);
    bench.say(&["prove", "--check", &file, &bench.buffer("demo")]);
    let wrong = bench.run(&["prove", "--check", &file, &bench.buffer("other")]);
    assert_ne!(wrong.status.code(), Some(0));
}

#[test]
fn verify_is_content_with_files_and_server_and_names_a_flipped_byte() {
    let bench = Bench::new();
    let words = ["append", "demo", "--lines"];
    good(&words, &bench.run_with(&words, b"alpha\nbeta\ngamma\n"));
    for body in ["delta", "epsilon"] {
        bench.say(&["append", "demo", "-m", body]);
    }
    let url = format!("http://{}", bench.server.address());
    let served = bench.say(&["verify", "--url", &url, "demo", "--json"]);
    let offline = bench.say(&["verify", &bench.buffer("demo"), "--json"]);
    let (served, offline) = (lines_of_json(&served), lines_of_json(&offline));
    assert_eq!(
        (&served[0]["intact"], &served[0]["size"]),
        (&json!(5), &json!(5))
    );
    assert_eq!(served[0]["root"], offline[0]["root"]);
    let all = bench.say(&["verify", &bench.data().display().to_string()]);
    assert!(
        all.contains("-/demo: intact") && all.contains("manager/global: intact"),
        "{all}"
    );
    let scratch = bench.scratch.path().to_owned();
    let buffer = fs::canonicalize(bench.buffer("demo")).unwrap();
    let Bench {
        scratch: _keep,
        server,
    } = bench;
    server.stop().unwrap();
    flip_and_verify(&scratch, &buffer);
}

#[test]
fn verify_of_a_server_is_content_with_a_buffer_that_retention_emptied() {
    let bench = Bench::new();
    let demo = "/buffers/demo";
    let mut http = bench.server.http();
    http.put_json(demo, r#"{"retention_seconds": 1}"#).unwrap();
    bench.say(&["append", "demo", "-m", "gone soon"]);
    let begun = Instant::now();
    while !http.get(demo).unwrap().text().contains("\"messages\":0") {
        assert!(
            begun.elapsed() < Duration::from_secs(60),
            "retention never comes"
        );
        thread::sleep(Duration::from_millis(100));
    }
    let url = format!("http://{}", bench.server.address());
    let served = bench.say(&["verify", "--url", &url, "demo", "--json"]);
    let served = &lines_of_json(&served)[0];
    assert_eq!(
        (&served["damage"], &served["unproven"]),
        (&json!([]), &json!(false))
    );
}

/// Flips one byte of each record on a copy.
fn flip_and_verify(scratch: &Path, buffer: &Path) {
    let copy = scratch.join("copy");
    fs::create_dir(&copy).unwrap();
    for entry in fs::read_dir(buffer).unwrap().map(Result::unwrap) {
        if entry.file_type().unwrap().is_file() {
            fs::copy(entry.path(), copy.join(entry.file_name())).unwrap();
        }
    }
    let segment = copy.join("00000000000000000001.hbuf");
    let good = fs::read(&segment).unwrap();
    for (index, body) in ["alpha", "beta", "gamma", "delta", "epsilon"]
        .iter()
        .enumerate()
    {
        let text = format!("\r\n\r\n{body}\r\n");
        let place = good
            .windows(text.len())
            .position(|window| window == text.as_bytes())
            .unwrap();
        let mut bad = good.clone();
        bad[place + 5] ^= 1;
        fs::write(&segment, bad).unwrap();
        let words = ["verify", copy.to_str().unwrap(), "--json"];
        let output = Command::new(env!("CARGO_BIN_EXE_hbuf"))
            .args(words)
            .output()
            .unwrap();
        assert_eq!(output.status.code(), Some(1));
        let said = lines_of_json(std::str::from_utf8(&output.stdout).unwrap());
        let damage = said[0]["damage"].as_array().unwrap();
        assert_eq!(damage.len(), 1, "{damage:?}");
        assert_eq!(damage[0]["seq"], json!(index + 1));
        assert!(damage[0]["reason"].as_str().unwrap().contains("CRC"));
    }
}

#[test]
fn a_start_that_fails_names_the_file_once_and_foreign_files_do_not_stop_it() {
    let scratch = tempfile::tempdir().unwrap();
    let data = scratch.path().join("data");
    Server::start(&data, &[]).unwrap().stop().unwrap();
    for part in [
        "journal",
        "pool",
        "buffers",
        "names",
        "quarantine",
        "manager/global",
    ] {
        fs::write(data.join(part).join("notes.txt"), b"a person's").unwrap();
        fs::create_dir(data.join(part).join("things")).unwrap();
    }
    Server::start(&data, &[]).unwrap().stop().unwrap();
    assert!(data.join("pool/notes.txt").exists());
    let journal = data.join("journal/00000000000000000001.hbuf");
    std::os::unix::fs::symlink("/nowhere", &journal).unwrap();
    let output = Server::start(&data, &[]).unwrap_err();
    let named = output.matches(&*journal.to_string_lossy()).count();
    assert_eq!(named, 1, "{output}");
    assert_eq!(output.matches("No such file").count(), 1, "{output}");
}
