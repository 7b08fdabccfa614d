//! A consumer stands where its answered acks put it, after a restart, a SIGKILL, and when its
//! buffer has left memory.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::support::http::Http;
use crate::support::server::Server;

const C: &str = "/buffers/a/consumers/c";
/// How long a buffer that nobody uses may stay in memory.
const EVICTED_WITHIN: Duration = Duration::from_secs(20);

/// A server that ends and is started again on the same data.
struct Bench {
    scratch: tempfile::TempDir,
    /// None only while it is started again.
    server: Option<Server>,
}

/// How a server ends, or a buffer leaves it.
#[derive(Clone, Copy, Debug)]
enum End {
    Kill,
    Stop,
    Evict,
}

impl Bench {
    /// Its buffer `a` has so many messages `1`, `2`, ….
    fn with_messages(count: u64) -> Self {
        let scratch = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
        let server = Server::start(&scratch.path().join("data"), &settings()).unwrap();
        let bench = Self {
            scratch,
            server: Some(server),
        };
        for n in 1..=count {
            let reply = bench.http().post("/buffers/a", n.to_string().as_bytes());
            assert_eq!(reply.unwrap().status, 201);
        }
        bench
    }

    fn data(&self) -> PathBuf {
        self.scratch.path().join("data")
    }

    fn http(&self) -> Http {
        self.server.as_ref().unwrap().http()
    }

    fn end(&mut self, how: End) {
        if matches!(how, End::Evict) {
            return self.wait_until_evicted();
        }
        let mut server = self.server.take().unwrap();
        match how {
            End::Kill => server.kill(),
            End::Stop | End::Evict => server.stop().unwrap(),
        }
        self.server = Some(Server::start(&self.data(), &settings()).unwrap());
    }

    fn wait_until_evicted(&self) {
        let begun = Instant::now();
        let mut http = self.http();
        loop {
            let metrics = http.get("/metrics").unwrap().text();
            if metrics.lines().any(|line| line == "hbuf_buffers_open 0") {
                return;
            }
            assert!(begun.elapsed() < EVICTED_WITHIN, "still in memory");
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    fn send(&self, method: &str, path: &str, body: &Value) -> (u16, Value) {
        let json = [("content-type", "application/json")];
        // Null is no body: `next` reads one as acks.
        let body = match body {
            Value::Null => String::new(),
            body => body.to_string(),
        };
        let reply = self.http().send(method, path, &json, body.as_bytes());
        let reply = reply.unwrap();
        (
            reply.status,
            serde_json::from_slice(&reply.body).unwrap_or_default(),
        )
    }

    /// Leases up to so many messages.
    fn next(&self, limit: u64) -> Vec<Value> {
        let path = format!("{C}/next?limit={limit}");
        let (status, reply) = self.send("POST", &path, &Value::Null);
        assert_eq!(status, 200, "{reply}");
        reply["messages"].as_array().unwrap().clone()
    }

    /// Settles messages as the list of this name says; what came of each.
    fn settle(&self, list: &str, messages: &[&Value]) -> Vec<String> {
        let (status, reply) = self.acks(list, messages);
        assert_eq!(status, 200, "{reply}");
        let results = reply[list].as_array().unwrap().iter();
        results
            .map(|item| item["result"].as_str().unwrap().to_owned())
            .collect()
    }

    fn acks(&self, list: &str, messages: &[&Value]) -> (u16, Value) {
        let item = |message: &&Value| json!({ "seq": message["seq"], "lease": message["lease"] });
        let items: Vec<Value> = messages.iter().map(item).collect();
        self.send("POST", &format!("{C}/acks"), &json!({ list: items }))
    }

    /// Cursor, commit and leases.
    fn place(&self) -> [u64; 3] {
        let (status, info) = self.send("GET", C, &Value::Null);
        assert_eq!(status, 200, "{info}");
        let member = &info["members"][0];
        ["cursor", "commit", "in_flight"].map(|name| member[name].as_u64().unwrap())
    }
}

fn settings() -> Vec<String> {
    ["--prewrite-bytes=65536", "--idle-seconds=1"]
        .map(str::to_owned)
        .to_vec()
}

fn seqs(messages: &[Value]) -> Vec<u64> {
    messages
        .iter()
        .map(|message| message["seq"].as_u64().unwrap())
        .collect()
}

/// Acks 1, 2 and 5 of 8, gives 3 back, leaves 4 leased; the rest was never handed out.
fn answered_acks_stay(how: End) {
    let mut bench = Bench::with_messages(8);
    let lease = json!({ "lease_ms": 600 });
    assert_eq!(bench.send("PUT", C, &lease).0, 201);
    let given = bench.next(5);
    let acks = bench.settle("ack", &[&given[4], &given[0], &given[1]]);
    assert_eq!(acks, ["acked"; 3]);
    assert_eq!(bench.settle("nack", &[&given[2]]), ["nacked"]);
    for round in 0..2 {
        bench.end(how);
        let [cursor, commit, in_flight] = bench.place();
        assert_eq!((cursor, commit, in_flight), (2, 8, 0), "{how:?} {round}");
        let again = bench.next(9);
        assert_eq!(seqs(&again), [3, 4, 6, 7, 8], "{how:?} {round}");
        assert!(
            again[0]["deliveries"].as_u64() >= Some(2 + round),
            "what was given back counts: {again:?}"
        );
        // A lease of the life before is nobody's.
        assert_eq!(bench.settle("ack", &[&given[3]]), ["lease-lost"]);
        assert_eq!(bench.settle("ack", &[&given[0]]), ["already-acked"]);
        assert_eq!(bench.settle("nack", &[&again[0]]), ["nacked"]);
    }
    bench.end(how);
    let rest = bench.next(9);
    let all: Vec<&Value> = rest.iter().collect();
    assert_eq!(bench.settle("ack", &all), ["acked"; 5]);
    bench.end(how);
    assert_eq!(bench.place(), [8, 8, 0]);
    assert!(bench.next(9).is_empty());
}

#[test]
fn answered_acks_stay_over_sigkill() {
    answered_acks_stay(End::Kill);
}

#[test]
fn answered_acks_stay_over_a_restart() {
    answered_acks_stay(End::Stop);
}

#[test]
fn answered_acks_stay_while_the_buffer_is_out_of_memory() {
    answered_acks_stay(End::Evict);
}

/// The newest file of the cursors log.
fn cursors_file(bench: &Bench) -> Vec<u8> {
    let dir = bench.data().join("names/-/a/cursors");
    let files = std::fs::read_dir(dir).unwrap();
    let newest = files.map(|file| file.unwrap().path()).max();
    std::fs::read(newest.unwrap()).unwrap()
}

#[test]
fn a_file_of_cursors_that_is_written_ahead_goes_on_behind_each_end() {
    let mut bench = Bench::with_messages(80);
    assert_eq!(bench.send("PUT", C, &json!({})).0, 201);
    for (round, how) in (1..).zip([End::Kill, End::Evict, End::Stop, End::Kill]) {
        // As often as it takes until the file counts as busy, since it is opened anew each time.
        for _ in 0..20 {
            let given = bench.next(1);
            assert_eq!(bench.settle("ack", &[&given[0]]), ["acked"]);
        }
        let before = cursors_file(&bench);
        assert!(before.ends_with(&[0; 32 << 10]), "{round}: no zeros");
        let data = before.iter().rposition(|&byte| byte != 0).unwrap();
        assert!(before[..=data].ends_with(b"\r\n"), "{round}");
        bench.end(how);
        assert_eq!(bench.place(), [20 * round, 80, 0], "{how:?}");
        let after = cursors_file(&bench);
        assert_eq!(after[..=data], before[..=data], "{how:?}");
    }
    assert!(bench.next(1).is_empty());
}

#[test]
fn a_paused_buffers_consumer_stands_still_over_each_end() {
    let mut bench = Bench::with_messages(3);
    assert_eq!(bench.send("PUT", C, &json!({})).0, 201);
    let given = bench.next(3);
    assert_eq!(bench.settle("ack", &[&given[0], &given[2]]), ["acked"; 2]);
    let state = |bench: &Bench, state: &str| {
        let (status, reply) = bench.send("PUT", "/buffers/a/state", &json!({ "state": state }));
        assert_eq!(status, 200, "{reply}");
    };
    state(&bench, "paused");
    for how in [End::Kill, End::Stop, End::Kill] {
        bench.end(how);
        assert_eq!(
            bench.send("POST", &format!("{C}/next"), &Value::Null).0,
            423
        );
        assert_eq!(bench.acks("ack", &[&given[1]]).0, 423);
        assert_eq!(bench.place(), [1, 3, 0], "{how:?}");
    }
    state(&bench, "open");
    let left = bench.next(9);
    assert_eq!(seqs(&left), [2]);
    assert_eq!(bench.settle("ack", &[&left[0]]), ["acked"]);
    assert_eq!(bench.place(), [3, 3, 0]);
}

#[test]
fn who_waits_for_a_consumer_that_is_deleted_is_told_so() {
    let bench = Bench::with_messages(1);
    assert_eq!(bench.send("PUT", C, &json!({ "start": "last" })).0, 201);
    let waited = std::thread::scope(|scope| {
        let path = format!("{C}/next?wait=60");
        let bench = &bench;
        let waiting = scope.spawn(move || bench.send("POST", &path, &Value::Null));
        // Should it not wait yet, it finds no consumer, which is the same answer.
        std::thread::sleep(Duration::from_millis(300));
        assert_eq!(bench.send("DELETE", C, &Value::Null).0, 204);
        waiting.join().unwrap()
    });
    assert_eq!(waited.0, 404, "{}", waited.1);
    assert!(
        waited.1["type"]
            .as_str()
            .unwrap()
            .ends_with("consumer-not-found"),
        "{}",
        waited.1
    );
}
