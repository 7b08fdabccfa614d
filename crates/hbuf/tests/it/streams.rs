//! What was answered about streams holds after the binary was killed.

use std::path::PathBuf;

use crate::support::http::{Http, Reply};
use crate::support::server::Server;

/// A server that is killed and started again on the same data.
struct Bench {
    scratch: tempfile::TempDir,
    server: Server,
}

impl Bench {
    fn new() -> Self {
        let scratch = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
        let server = Server::start(&scratch.path().join("data"), &settings()).unwrap();
        Self { scratch, server }
    }

    fn data(&self) -> PathBuf {
        self.scratch.path().join("data")
    }

    fn kill_and_start(&mut self) {
        self.server.kill();
        self.server = Server::start(&self.data(), &settings()).unwrap();
    }

    fn call(&self, method: &str, path: &str, headers: &[(&str, &str)], body: &str) -> Reply {
        let mut http: Http = self.server.http();
        let path = format!("/v1/stream/{path}");
        http.send(method, &path, headers, body.as_bytes()).unwrap()
    }

    fn text(&self, path: &str) -> (String, bool) {
        let reply = self.call("GET", path, &[], "");
        assert_eq!(reply.status, 200, "{}", reply.text());
        (reply.text(), reply.header("stream-closed").is_some())
    }
}

fn settings() -> Vec<String> {
    ["--prewrite-bytes=65536", "--stream-wait-seconds=1"]
        .map(str::to_owned)
        .to_vec()
}

const TEXT: (&str, &str) = ("content-type", "text/plain");
const JSON: (&str, &str) = ("content-type", "application/json");
const CLOSE: (&str, &str) = ("stream-closed", "true");

fn producer<'a>(epoch: &'a str, seq: &'a str) -> [(&'a str, &'a str); 4] {
    [
        TEXT,
        ("producer-id", "p/1"),
        ("producer-epoch", epoch),
        ("producer-seq", seq),
    ]
}

#[test]
fn streams_survive_sigkill_with_their_content_closure_and_numbers() {
    let mut bench = Bench::new();
    let status = |reply: &Reply| (reply.status, reply.text());
    let ok = |code: u16| (code, String::new());
    assert_eq!(
        status(&bench.call("PUT", "a/Log", &[TEXT], "one ")),
        ok(201)
    );
    let last = bench.call("POST", "a/Log", &[TEXT, ("stream-seq", "07")], "two");
    assert_eq!(status(&last), ok(204));
    let life = ("stream-ttl", "3600");
    assert_eq!(
        status(&bench.call("PUT", "values", &[JSON, life], "[1]")),
        ok(201)
    );
    assert_eq!(
        status(&bench.call("POST", "values", &[JSON], "[[2], {\"b\": 3}]")),
        ok(204)
    );
    assert_eq!(status(&bench.call("PUT", "gone", &[TEXT], "z")), ok(201));
    assert_eq!(status(&bench.call("DELETE", "gone", &[], "")), ok(204));
    for _ in 0..2 {
        bench.kill_and_start();
        assert_eq!(bench.text("a/Log"), ("one two".to_owned(), false));
        let values = "[1,[2],{\"b\": 3}]".to_owned();
        assert_eq!(bench.text("values"), (values, false));
        assert_eq!(bench.call("GET", "gone", &[], "").status, 404);
        let old = bench.call("POST", "a/Log", &[TEXT, ("stream-seq", "07")], "x");
        assert_eq!(old.status, 409, "{}", old.text());
        let offset = last.header("stream-next-offset").unwrap();
        let rest = bench.call("GET", &format!("a/Log?offset={offset}"), &[], "");
        assert_eq!(status(&rest), ok(200));
        assert_eq!(status(&bench.call("PUT", "a/Log", &[TEXT], "")), ok(200));
        assert_eq!(bench.call("PUT", "a/Log", &[JSON], "").status, 409);
        assert_eq!(
            status(&bench.call("PUT", "values", &[JSON, life], "")),
            ok(200)
        );
        assert_eq!(bench.call("PUT", "values", &[JSON], "").status, 409);
    }
}

#[test]
fn a_closing_and_its_producer_are_known_after_sigkill() {
    let mut bench = Bench::new();
    assert_eq!(bench.call("PUT", "done", &[TEXT], "").status, 201);
    assert_eq!(
        bench.call("POST", "done", &producer("3", "0"), "x").status,
        200
    );
    let [kind, id, epoch, seq] = producer("3", "1");
    let closing = [kind, id, epoch, seq, CLOSE];
    assert_eq!(bench.call("POST", "done", &closing, "y").status, 200);
    for _ in 0..2 {
        bench.kill_and_start();
        assert_eq!(bench.text("done"), ("xy".to_owned(), true));
        let again = bench.call("POST", "done", &closing, "other");
        assert_eq!(
            (again.status, again.header("producer-seq")),
            (204, Some("1"))
        );
        let stale = bench.call("POST", "done", &producer("2", "0"), "x");
        assert_eq!(
            (stale.status, stale.header("producer-epoch")),
            (403, Some("3"))
        );
        let closed = bench.call("POST", "done", &[TEXT], "x");
        assert_eq!(
            (closed.status, closed.header("stream-closed")),
            (409, Some("true"))
        );
        let end = again.header("stream-next-offset");
        assert_eq!(closed.header("stream-next-offset"), end);
    }
}

#[test]
fn long_content_is_read_in_runs_that_end_at_the_same_places() {
    let bench = Bench::new();
    assert_eq!(bench.call("PUT", "long", &[JSON], "[]").status, 201);
    let values: Vec<String> = (0..4_500).map(|n| format!("\"{n:0100}\"")).collect();
    for _ in 0..3 {
        let body = format!("[{}]", values.join(","));
        assert_eq!(bench.call("POST", "long", &[JSON], &body).status, 204);
    }
    let first = bench.call("GET", "long", &[], "");
    assert_eq!(first.header("stream-up-to-date"), None);
    let next = first.header("stream-next-offset").unwrap().to_owned();
    let tag = first.header("etag").unwrap();
    assert_eq!(
        bench
            .call("GET", "long", &[("if-none-match", tag)], "")
            .status,
        304
    );
    let second = bench.call("GET", &format!("long?offset={next}"), &[], "");
    assert_eq!(second.header("stream-up-to-date"), Some("true"));
    let parse = |reply: &Reply| serde_json::from_slice::<Vec<String>>(&reply.body).unwrap();
    let (mut all, rest) = (parse(&first), parse(&second));
    assert_eq!((all.len(), rest.len()), (10_000, 3_500));
    all.extend(rest);
    let wanted = values
        .iter()
        .cycle()
        .take(13_500)
        .map(|text| text.trim_matches('"'));
    assert!(all.iter().map(String::as_str).eq(wanted));
}

#[test]
fn one_long_message_comes_back_whole_and_beside_the_buffers_own_reads() {
    let bench = Bench::new();
    let body = "0123456789abcdef".repeat(200_000);
    assert_eq!(bench.call("PUT", "large", &[TEXT], &body).status, 201);
    assert!(bench.text("large") == (body.clone(), false));
    let mut http = bench.server.http();
    let raw = http.get("/buffers/stream.large/messages").unwrap();
    let raw_text = raw.text();
    assert!(
        raw_text.starts_with("POST /00000000000000000002?"),
        "the definition is left out"
    );
    assert!(raw_text.ends_with("abcdef\r\n"));
    let all = http
        .get("/buffers/stream.large/messages?kinds=all")
        .unwrap();
    assert!(all.text().contains("x-hbuf-kind: stream\r\n"));
    let plain = http.post("/buffers/stream.large", b"x").unwrap();
    assert_eq!(plain.status, 409, "{}", plain.text());
    assert!(plain.text().contains("buffer-is-stream"));
}
