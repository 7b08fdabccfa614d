//! What a person sees of damage beside the messages, in the places of consumers and in stored
//! filters, when the messages themselves are good.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::support::altered::{change, find};
use crate::support::http::Reply;
use crate::support::server::{Server, hbuf};

/// How many messages the buffer has.
const MESSAGES: u64 = 8;

/// A data directory with one buffer, `b`, of which a consumer, `c`, acked the first messages, and
/// with a stored filter, `F`.
struct Bench {
    scratch: TempDir,
}

impl Bench {
    fn new() -> Self {
        let scratch = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
        let bench = Self { scratch };
        let server = bench.serve();
        for number in 1..=MESSAGES {
            let body = format!("body {number}");
            let headers = [("x-hbuf-tag", "web7")];
            let reply = server
                .http()
                .send("POST", "/buffers/b", &headers, body.as_bytes());
            assert_eq!(reply.unwrap().status, 201);
        }
        put(&server, "/buffers/b/consumers/c", "{}");
        for seq in 1..=3 {
            acks(&server, seq);
        }
        put_filter(&server, 201);
        server.stop().unwrap();
        bench
    }

    fn data(&self) -> PathBuf {
        self.scratch.path().join("data")
    }

    fn serve(&self) -> Server {
        self.serve_with(&[])
    }

    fn serve_with(&self, flags: &[String]) -> Server {
        Server::start(&self.data(), flags).unwrap()
    }

    fn directory(&self) -> PathBuf {
        fs::canonicalize(self.data().join("names/-/b")).unwrap()
    }

    fn cursors(&self) -> PathBuf {
        self.directory().join("cursors/00000000000000000001.hbuf")
    }

    fn filter(&self) -> PathBuf {
        self.directory().join("filters/f.filter")
    }

    /// Both the data directory and the buffer's are verified.
    fn verify(&self, says: &dyn Fn(Option<i32>, &str)) {
        for path in [self.data(), self.directory()] {
            let output = hbuf(&["verify", &path.display().to_string()]);
            says(
                output.status.code(),
                &String::from_utf8_lossy(&output.stdout),
            );
        }
    }

    fn is_intact(&self) {
        self.verify(&|code, said| assert_eq!(code, Some(0), "{said}"));
    }

    fn is_damaged(&self, file: &Path) {
        let ending = file.strip_prefix(self.directory()).unwrap();
        self.verify(&|code, said| {
            assert_eq!(code, Some(1), "{said}");
            assert!(said.contains(&ending.display().to_string()), "{said}");
        });
    }
}

fn put(server: &Server, path: &str, body: &str) {
    let reply = server.http().put_json(path, body).unwrap();
    assert!(reply.is_success(), "{path}: {}", reply.text());
}

fn put_filter(server: &Server, status: u16) {
    let path = "/buffers/b/filters/F";
    let reply = server.http().put_text(path, "web7\neu\n").unwrap();
    assert_eq!(reply.status, status, "{}", reply.text());
}

fn acks(server: &Server, seq: u64) {
    let path = "/buffers/b/consumers/c";
    let reply = server.http().post(&format!("{path}/next"), b"").unwrap();
    let given: Value = serde_json::from_slice(&reply.body).unwrap();
    let message = &given["messages"][0];
    assert_eq!(message["seq"], seq, "{given}");
    let ack = json!({ "ack": [{ "seq": message["seq"], "lease": message["lease"] }] });
    let json = [("content-type", "application/json")];
    let path = format!("{path}/acks");
    let ack = ack.to_string();
    let reply = server.http().send("POST", &path, &json, ack.as_bytes());
    let reply = reply.unwrap();
    assert!(reply.is_success(), "{}", reply.text());
}

/// A reply of this status with a problem of this type that is not to be tried again and that tells
/// nothing of the server's files.
fn problem(bench: &Bench, reply: &Reply, (status, kind): (u16, &str)) -> String {
    let text = reply.text();
    assert_eq!(reply.status, status, "{text}");
    let problem: Value = serde_json::from_slice(&reply.body).unwrap();
    assert_eq!(
        problem["type"],
        format!("urn:hbuf:problem:{kind}"),
        "{text}"
    );
    assert_eq!(problem["retry"], false, "{text}");
    let scratch = bench.scratch.path().display().to_string();
    assert!(!text.contains(&scratch), "{text}");
    problem["detail"].as_str().unwrap().to_owned()
}

/// Verify names the file wherever it is altered, and is content when it is as it was.
fn verify_names(file: impl Fn(&Bench) -> PathBuf, places: &[&str]) {
    let bench = Bench::new();
    bench.is_intact();
    let file = file(&bench);
    let good = fs::read(&file).unwrap();
    for text in places {
        change(&file, |bytes| {
            let at = find(bytes, text);
            bytes[at] ^= 1;
        });
        bench.is_damaged(&file);
        fs::write(&file, &good).unwrap();
    }
    bench.is_intact();
}

#[test]
fn verify_names_a_damaged_file_of_the_cursors_log() {
    let places = ["x-hbuf-format: 1", "whole: true", "through: 1\n"];
    verify_names(Bench::cursors, &places);
}

#[test]
fn verify_names_a_damaged_stored_filter() {
    let places = ["hbuf-filter", "tags=", "sha256=", "F\n", "eu\n"];
    verify_names(Bench::filter, &places);
}

#[test]
fn a_damaged_stored_filter_is_told_until_it_is_uploaded_again_or_deleted() {
    for mend in ["PUT", "DELETE"] {
        let bench = Bench::new();
        change(&bench.filter(), |bytes| {
            let at = find(bytes, "sha256=") + "sha256=".len();
            bytes[at] = if bytes[at] == b'0' { b'1' } else { b'0' };
        });
        let server = bench.serve();
        let mut http = server.http();
        put(
            &server,
            "/buffers/b/consumers/filtered",
            r#"{"filter": "F"}"#,
        );
        let damaged = (500, "filter-damaged");
        let reads = [
            "/buffers/b/filters/F",
            "/buffers/b/messages?filter=F",
            "/buffers/b/messages?filter=F&after=8&wait=30",
        ];
        for path in reads {
            let detail = problem(&bench, &http.get(path).unwrap(), damaged);
            assert!(detail.contains("upload it again"), "{path}: {detail}");
        }
        let next = "/buffers/b/consumers/filtered/next";
        for path in [next.to_owned(), format!("{next}?wait=30")] {
            problem(&bench, &http.post(&path, b"").unwrap(), damaged);
        }
        let list = http.get("/buffers/b/filters").unwrap();
        let list: Value = serde_json::from_slice(&list.body).unwrap();
        let listed = &list["filters"][0];
        assert_eq!(listed["name"], "f");
        assert!(listed["damaged"].is_string() && listed["sha256"].is_null());
        // Who does not ask for it is not concerned.
        assert!(
            http.get("/buffers/b/messages?tag=web7")
                .unwrap()
                .is_success()
        );
        if mend == "PUT" {
            put_filter(&server, 200);
            assert!(http.get(reads[0]).unwrap().is_success());
            assert!(http.get(reads[1]).unwrap().text().contains("body 1"));
            assert!(http.post(next, b"").unwrap().text().contains("body 1"));
        } else {
            assert_eq!(http.delete("/buffers/b/filters/F").unwrap().status, 204);
            problem(
                &bench,
                &http.get(reads[1]).unwrap(),
                (404, "filter-not-found"),
            );
        }
        server.stop().unwrap();
        bench.is_intact();
    }
}

fn described(server: &Server) -> Value {
    let reply = server.http().get("/buffers/b").unwrap();
    serde_json::from_slice(&reply.body).unwrap()
}

/// Its messages can be read, also in a topic; appends and consumers stand still and say why.
fn only_the_cursors_log_is_damaged(server: &Server) {
    let mut http = server.http();
    let shown = described(server);
    assert_eq!(shown["damaged_at"], Value::Null, "{shown}");
    assert!(shown["cursors_damaged_at"].is_u64(), "{shown}");
    let read = http.get("/buffers/b/messages").unwrap();
    assert!(read.is_success() && read.text().contains("body 8"));
    let read = http.get("/topics/t/messages").unwrap();
    assert!(read.is_success() && read.text().contains("body 8"));
    assert!(!read.text().contains("damaged"), "{}", read.text());
    let append = http.post("/buffers/b", b"more").unwrap();
    assert_eq!(append.status, 500);
    let why = append.text();
    assert!(
        why.contains("places of the buffer's consumers") && why.contains("hbuf verify"),
        "{why}"
    );
    let next = http.post("/buffers/b/consumers/c/next", b"").unwrap();
    assert!(next.text().contains("log-damaged"), "{}", next.text());
    let ready = http.get("/readyz").unwrap().text();
    assert!(
        ready.contains("cursors log") && ready.contains("messages are good"),
        "{ready}"
    );
}

/// A cursors log is damaged that has one ack more than its copy; with `killed`, one more stands in
/// the journal alone. Then it is mended.
fn mended(
    direct_buffers_max: u32,
    killed: bool,
    mend: impl FnOnce(&Bench, &[u8]),
) -> (Bench, Server) {
    let flags = [format!("--direct-buffers-max={direct_buffers_max}")];
    let bench = Bench::new();
    let server = bench.serve_with(&flags);
    put(&server, "/topics/t", r#"{"buffers": ["b"]}"#);
    server.stop().unwrap();
    let copy = fs::read(bench.cursors()).unwrap();
    let server = bench.serve_with(&flags);
    acks(&server, 4);
    server.stop().unwrap();
    if killed {
        let mut server = bench.serve_with(&flags);
        acks(&server, 5);
        server.kill();
    }
    change(&bench.cursors(), |bytes| {
        let at = find(bytes, "through: 1\n");
        bytes[at] ^= 1;
    });
    let server = bench.serve_with(&flags);
    only_the_cursors_log_is_damaged(&server);
    server.stop().unwrap();
    mend(&bench, &copy);
    let server = bench.serve_with(&flags);
    (bench, server)
}

fn goes_on(bench: &Bench, server: Server, next: u64) {
    let shown = described(&server);
    assert_eq!(shown["cursors_damaged_at"], Value::Null, "{shown}");
    acks(&server, next);
    let append = server.http().post("/buffers/b", b"more").unwrap();
    assert_eq!(append.status, 201, "{}", append.text());
    server.stop().unwrap();
    bench.is_intact();
}

#[test]
fn a_damaged_cursors_log_is_told_apart_and_mended_by_a_copy_of_it() {
    for direct in [1_000, 0] {
        let (bench, server) = mended(direct, false, |bench, copy| {
            fs::write(bench.cursors(), copy).unwrap();
        });
        // What was acked behind the copy comes again, what was acked before does not.
        goes_on(&bench, server, 4);
    }
}

#[test]
fn a_copy_that_lacks_what_the_journal_follows_is_mended_without_that() {
    let (bench, server) = mended(0, true, |bench, copy| {
        fs::write(bench.cursors(), copy).unwrap();
    });
    only_the_cursors_log_is_damaged(&server);
    server.stop().unwrap();
    fs::remove_dir_all(bench.directory().join("unapplied")).unwrap();
    let server = bench.serve();
    goes_on(&bench, server, 4);
}

#[test]
fn without_a_copy_the_consumers_begin_anew() {
    let (bench, server) = mended(0, true, |bench, _| {
        for name in ["cursors", "unapplied"] {
            fs::remove_dir_all(bench.directory().join(name)).unwrap();
        }
    });
    goes_on(&bench, server, 1);
}
