//! Every limit of `docs/LIMITS.md` that a client can meet, at the limit and one beyond it.

use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::time::{Duration, Instant};

use hbuf_client::{AppendOptions, CallError, Client, Collection, Message, Producer, ReadOptions};
use hbuf_core::limits;

use crate::support::server::Server;

struct Node {
    _scratch: tempfile::TempDir,
    server: Server,
    client: Client,
}

impl Node {
    fn new() -> Self {
        Self::with(&[])
    }

    fn with(settings: &[String]) -> Self {
        let scratch = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
        let server = Server::start(&scratch.path().join("data"), settings).unwrap();
        let client = Client::new(&format!("http://{}", server.address())).unwrap();
        Self {
            _scratch: scratch,
            server,
            client,
        }
    }

    /// Appends as a batch, where any header may be stored.
    async fn batch(&self, messages: &[Message]) -> Result<u64, u16> {
        let options = AppendOptions::default();
        let reply = self
            .client
            .append_batch(Collection::Buffers, "b", messages, &options)
            .await;
        status(reply.map(|reply| reply.last_seq))
    }

    async fn one(&self, message: &Message, options: &AppendOptions) -> Result<u64, u16> {
        let reply = self
            .client
            .append(Collection::Buffers, "b", message, options)
            .await;
        status(reply.map(|reply| reply.seq))
    }

    async fn read(&self, path: &str) -> Result<(), u16> {
        status(self.client.get_text(path).await.map(drop))
    }
}

fn status<T>(result: Result<T, CallError>) -> Result<T, u16> {
    result.map_err(|error| match error.problem() {
        Some(problem) => {
            assert_ne!(problem.kind, "about:blank", "{problem}");
            assert!(!problem.detail.is_empty(), "{problem}");
            problem.status
        }
        None => panic!("no refusal but {error}"),
    })
}

fn message() -> Message {
    Message::new("body")
}

#[tokio::test]
async fn a_body_of_64_mib_is_taken_and_one_byte_more_is_refused() {
    let node = Node::new();
    let longest = usize::try_from(limits::BODY_BYTES_MAX).unwrap();
    let options = AppendOptions::default();
    let body = vec![b'x'; longest];
    assert_eq!(node.one(&Message::new(body.clone()), &options).await, Ok(1));
    assert_eq!(node.batch(&[Message::new(body.clone())]).await, Ok(2));
    let mut stream = node
        .client
        .read(Collection::Buffers, "b", &ReadOptions::after(1))
        .await
        .unwrap();
    assert_eq!(stream.next().await.unwrap().unwrap().body(), body);
    let longer = Message::new(vec![b'x'; longest + 1]);
    assert_eq!(node.one(&longer, &options).await, Err(413));
    assert_eq!(node.batch(&[message(), longer]).await, Err(400));
    assert_eq!(
        node.batch(&[message()]).await,
        Ok(3),
        "nothing of the refused ones was stored"
    );
}

/// A batch of three messages that is exactly so long.
fn batch_of_bytes(bytes: usize) -> Vec<u8> {
    let head = |length: usize| {
        // Leading zeros are digits too, so every head is equally long.
        format!("POST / HTTP/1.1\r\nhost:\r\ncontent-length: {length:010}\r\n\r\n")
    };
    let bodies = bytes - 3 * head(0).len();
    let mut batch = Vec::with_capacity(bytes);
    for length in [bodies / 3, bodies / 3, bodies - 2 * (bodies / 3)] {
        batch.extend_from_slice(head(length).as_bytes());
        batch.resize(batch.len() + length, b'x');
    }
    assert_eq!(batch.len(), bytes);
    batch
}

#[test]
fn a_batch_of_128_mib_is_taken_and_one_byte_more_is_refused() {
    let scratch = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let server = Server::start(&scratch.path().join("data"), &[]).unwrap();
    let most = usize::try_from(limits::BATCH_BYTES_MAX).unwrap();
    let kind = "application/http; msgtype=request";
    let batch = batch_of_bytes(most);
    let headers = [("content-type", kind)];
    let taken = server
        .http()
        .send("POST", "/buffers/b", &headers, &batch)
        .unwrap();
    assert_eq!(taken.status, 201, "{}", taken.text());

    // Its length is refused before any of it is sent, so that it need not be sent.
    let mut stream = TcpStream::connect(server.address()).unwrap();
    let head = format!(
        "POST /buffers/b HTTP/1.1\r\nhost: localhost\r\ncontent-type: {kind}\r\n\
         content-length: {}\r\n\r\n",
        most + 1
    );
    stream.write_all(head.as_bytes()).unwrap();
    let mut reply = String::new();
    stream.read_to_string(&mut reply).unwrap();
    assert!(reply.starts_with("HTTP/1.1 413 "), "{reply}");
    assert!(reply.contains("application/problem+json"), "{reply}");
    assert!(reply.contains("split"), "it says what to do: {reply}");

    // A length that is not told is refused as soon as it is too long.
    let mut stream = TcpStream::connect(server.address()).unwrap();
    let head = format!(
        "POST /buffers/b HTTP/1.1\r\nhost: localhost\r\ncontent-type: {kind}\r\n\
         transfer-encoding: chunked\r\n\r\n{:x}\r\n",
        most + 1
    );
    let longer = batch_of_bytes(most + 1);
    stream.write_all(head.as_bytes()).unwrap();
    // The server may close before all of it is written.
    let _ = stream.write_all(&longer);
    let mut status = [0; 12];
    stream.read_exact(&mut status).unwrap();
    assert_eq!(status, *b"HTTP/1.1 413");

    let next = server.http().post("/buffers/b", b"next").unwrap();
    assert_eq!(
        next.number("x-hbuf-seq"),
        Some(4),
        "nothing of the refused ones was stored"
    );
}

#[tokio::test]
async fn header_lines_and_bytes_are_bounded() {
    let node = Node::new();
    let with_lines = |count: usize| {
        (0..count).fold(message(), |message, n| {
            message.header(&format!("h-{n}"), "v").unwrap()
        })
    };
    assert_eq!(
        node.batch(&[with_lines(limits::HEADER_LINES_MAX)]).await,
        Ok(1)
    );
    let refused = node
        .batch(&[with_lines(limits::HEADER_LINES_MAX + 1)])
        .await;
    assert!(matches!(refused, Err(400 | 431)), "{refused:?}");
    // Each line counts with its name, `: ` and CRLF.
    let longest = usize::try_from(limits::HEADERS_BYTES_MAX).unwrap();
    let with_bytes = |bytes: usize| message().header("h", &"v".repeat(bytes - 5)).unwrap();
    assert_eq!(node.batch(&[with_bytes(longest)]).await, Ok(2));
    let refused = node.batch(&[with_bytes(longest + 1)]).await;
    assert!(matches!(refused, Err(400 | 431)), "{refused:?}");
}

#[tokio::test]
async fn keys_and_tags_are_bounded() {
    let node = Node::new();
    let options = AppendOptions::default();
    let key = "k".repeat(limits::KEY_BYTES_MAX);
    assert_eq!(node.one(&message().key(&key), &options).await, Ok(1));
    assert_eq!(
        node.one(&message().key(&format!("{key}k")), &options).await,
        Err(400)
    );
    let tag = "t".repeat(limits::TAG_BYTES_MAX);
    assert_eq!(
        node.one(&message().tag(&tag).unwrap(), &options).await,
        Ok(2)
    );
    let longer = message().tag(&format!("{tag}t")).unwrap();
    assert_eq!(node.one(&longer, &options).await, Err(400));
    let with_tags = |count: usize| {
        (0..count).fold(message(), |message, n| {
            message.tag(&format!("t{n}")).unwrap()
        })
    };
    assert_eq!(
        node.one(&with_tags(limits::TAGS_MAX), &options).await,
        Ok(3)
    );
    assert_eq!(
        node.one(&with_tags(limits::TAGS_MAX + 1), &options).await,
        Err(400)
    );
}

#[tokio::test]
async fn a_batch_has_at_most_10_000_messages() {
    let node = Node::new();
    let most = limits::BATCH_MESSAGES_MAX;
    assert_eq!(node.batch(&vec![message(); most]).await, Ok(most as u64));
    assert_eq!(node.batch(&vec![message(); most + 1]).await, Err(400));
    assert_eq!(node.batch(&[message()]).await, Ok(most as u64 + 1));
}

#[tokio::test]
async fn names_have_at_most_200_bytes() {
    let node = Node::new();
    let longest = "n".repeat(limits::NAME_BYTES_MAX);
    let options = AppendOptions::default();
    let append = async |name: &str| {
        let reply = node
            .client
            .append(Collection::Buffers, name, &message(), &options)
            .await;
        status(reply.map(|reply| reply.seq))
    };
    assert_eq!(append(&longest).await, Ok(1));
    assert_eq!(append(&format!("{longest}n")).await, Err(400));
    for name in ["-", ".x", "_x", "x/y", "x y", "ü"] {
        assert_eq!(append(name).await, Err(400), "{name}");
    }
}

#[tokio::test]
async fn producer_ids_and_idempotency_keys_are_bounded() {
    let node = Node::new();
    let producer = |length: usize| AppendOptions {
        producer: Some(Producer::named("p".repeat(length), 0)),
        ..AppendOptions::default()
    };
    let longest = limits::PRODUCER_ID_BYTES_MAX;
    assert_eq!(node.one(&message(), &producer(longest)).await, Ok(1));
    assert_eq!(node.one(&message(), &producer(longest + 1)).await, Err(400));
    let key = |length: usize| AppendOptions {
        idempotency_key: Some("k".repeat(length)),
        ..AppendOptions::default()
    };
    let longest = limits::IDEMPOTENCY_KEY_BYTES_MAX;
    assert_eq!(node.one(&message(), &key(longest)).await, Ok(2));
    assert_eq!(node.one(&message(), &key(longest + 1)).await, Err(400));
}

#[tokio::test]
async fn what_a_read_may_ask_for_is_bounded() {
    let node = Node::new();
    assert_eq!(node.batch(&[message()]).await, Ok(1));
    let messages = "/buffers/b/messages";
    for query in [
        "limit=1",
        "limit=10000",
        "wait=60",
        "after=0",
        "after=1&limit=1",
    ] {
        assert_eq!(
            node.read(&format!("{messages}?{query}")).await,
            Ok(()),
            "{query}"
        );
    }
    for query in [
        "limit=0",
        "limit=10001",
        "limit=-1",
        "limit=x",
        "wait=61",
        "wait=-1",
        "after=-1",
        "after=18446744073709551616",
        "after=9223372036854775809",
        "from-time=noon",
    ] {
        assert_eq!(
            node.read(&format!("{messages}?{query}")).await,
            Err(400),
            "{query}"
        );
    }
    assert_eq!(node.read(&format!("{messages}/0")).await, Err(400));
    assert_eq!(node.read(&format!("{messages}/2")).await, Err(404));
    assert_eq!(
        node.read(&format!("{messages}/9223372036854775808")).await,
        Err(404)
    );
    assert_eq!(
        node.read(&format!("{messages}/9223372036854775809")).await,
        Err(400)
    );
}

#[tokio::test]
async fn hundreds_of_buffers_need_neither_as_many_open_files_nor_threads() {
    const BUFFERS: usize = 600;
    const AT_ONCE: usize = 50;
    let node = Node::with(&[
        "--idle-seconds=1".to_owned(),
        "--checkpoint-seconds=1".to_owned(),
    ]);
    for start in (0..BUFFERS).step_by(AT_ONCE) {
        let mut appends = tokio::task::JoinSet::new();
        for number in start..start + AT_ONCE {
            let client = node.client.clone();
            appends.spawn(async move {
                let options = AppendOptions::default();
                let name = format!("b{number}");
                client
                    .append(Collection::Buffers, &name, &message(), &options)
                    .await
                    .unwrap();
            });
        }
        appends.join_all().await;
    }
    let process = format!("/proc/{}", node.server.process());
    let count = |what: &str| fs::read_dir(format!("{process}/{what}")).unwrap().count();
    assert!(count("task") < 200, "{} threads", count("task"));
    let begun = Instant::now();
    while count("fd") > 100 {
        let waited = begun.elapsed() < Duration::from_secs(30);
        assert!(waited, "{} files are still open", count("fd"));
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    // A cold buffer opens again by itself.
    let options = AppendOptions::default();
    let reply = node
        .client
        .append(Collection::Buffers, "b7", &message(), &options)
        .await
        .unwrap();
    assert_eq!(reply.seq, 2);
}

/// The page names a test for each limit; a test that was renamed or taken away is noticed here.
#[test]
fn every_test_that_the_limits_page_names_exists() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let page = fs::read_to_string(root.join("docs/LIMITS.md")).unwrap();
    let mut sources = String::new();
    for crate_name in fs::read_dir(root.join("crates"))
        .unwrap()
        .map(Result::unwrap)
    {
        collect(&crate_name.path(), &mut sources);
    }
    let mut named = 0;
    for row in page.lines().filter(|line| line.starts_with("| ")) {
        for word in row
            .rsplit('|')
            .nth(1)
            .unwrap_or_default()
            .split('`')
            .skip(1)
            .step_by(2)
        {
            named += 1;
            let found = sources.contains(&format!("fn {word}("));
            assert!(found, "docs/LIMITS.md names `{word}`, which is no test");
        }
    }
    assert!(named >= 10, "only {named} limits name a test");
}

fn collect(dir: &Path, sources: &mut String) {
    for entry in fs::read_dir(dir).unwrap().map(Result::unwrap) {
        let path = entry.path();
        if path.is_dir() {
            collect(&path, sources);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            sources.push_str(&fs::read_to_string(&path).unwrap());
        }
    }
}

fn checkpoints(server: &Server) -> u64 {
    let text = server.http().get("/metrics").unwrap().text();
    let line = text
        .lines()
        .find_map(|line| line.strip_prefix("hbuf_checkpoints_total "));
    line.expect("the counter is there").parse().unwrap()
}

#[test]
fn a_checkpoint_is_forced_each_time_the_unmarked_data_comes_to_its_bound_and_not_before() {
    let scratch = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let data = scratch.path().join("data");
    let settings = [
        "--direct-buffers-max=0",
        "--journal-bytes=1MiB",
        "--checkpoint-seconds=86400",
    ];
    let settings = settings.map(str::to_owned);
    let mut server = Server::start(&data, &settings).unwrap();
    let body = vec![b'x'; 256 << 10];
    let mut appended = 0;
    let mut append = |server: &Server| {
        let reply = server.http().post("/buffers/b", &body).unwrap();
        assert_eq!(reply.status, 201, "{}", reply.text());
        appended += 1;
    };
    for round in 1..=3 {
        // Journal entries are a little longer than their records: three are within the bound.
        (0..3).for_each(|_| append(&server));
        assert_eq!(checkpoints(&server), round - 1, "within the bound");
        append(&server);
        let begun = Instant::now();
        while checkpoints(&server) < round {
            assert!(begun.elapsed() < Duration::from_secs(20), "no checkpoint");
            std::thread::sleep(Duration::from_millis(10));
        }
    }
    server.kill();
    let server = Server::start(&data, &settings).unwrap();
    let next = server.http().post("/buffers/b", b"next").unwrap();
    assert_eq!(next.number("x-hbuf-seq"), Some(appended + 1));
}
