//! HTTP/2 in clear text, on the same port.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use hbuf_client::{AppendOptions, Client, Collection, Message, ReadOptions};

use hbuf_server::http::HttpSettings;

use crate::server::Server;

#[test]
fn the_same_routes_speak_http2() {
    let server = Server::start();
    let url = format!("http://{}", server.address);
    let client = Client::builder(&url).http2(true).build().unwrap();
    server.runtime().block_on(async {
        for number in 0..100 {
            let message = Message::new(format!("m{number}"));
            let reply = client
                .append(
                    Collection::Buffers,
                    "b",
                    &message,
                    &AppendOptions::default(),
                )
                .await
                .unwrap();
            assert_eq!(reply.seq, number + 1);
        }
        let mut lines = client
            .read_json(Collection::Buffers, "b", &ReadOptions::after(90))
            .await
            .unwrap();
        let mut count = 0;
        while let Some(line) = lines.next().await.unwrap() {
            count += 1;
            assert_eq!(line["seq"], 90 + count);
        }
        assert_eq!(count, 10);
        let refused = client
            .describe(Collection::Buffers, "nowhere")
            .await
            .unwrap_err();
        assert_eq!(refused.problem().unwrap().code(), "buffer-not-found");
        let mut tail = client
            .tail(Collection::Buffers, "b", &ReadOptions::after(99))
            .unwrap();
        assert_eq!(tail.next().await.unwrap().id, "100");
    });
}

#[test]
fn many_streams_of_one_connection_append_at_once() {
    let server = Server::start();
    let url = format!("http://{}", server.address);
    let client = Client::builder(&url).http2(true).build().unwrap();
    server.runtime().block_on(async {
        let appends: Vec<_> = (0..500)
            .map(|number| {
                let client = client.clone();
                tokio::spawn(async move {
                    let message = Message::new(format!("m{number}"));
                    client
                        .append(Collection::Topics, "t", &message, &AppendOptions::default())
                        .await
                })
            })
            .collect();
        let mut seqs = Vec::new();
        for append in appends {
            seqs.push(append.await.unwrap().unwrap().seq);
        }
        seqs.sort_unstable();
        assert_eq!(seqs, (1..=500).collect::<Vec<u64>>());
    });
}

#[test]
fn a_refusal_reaches_whoever_is_still_sending_and_the_rest_is_taken() {
    let server = Server::with(HttpSettings {
        body_bytes_max: 1 << 20,
        ..HttpSettings::default()
    });
    let url = format!("http://{}", server.address);
    let client = Client::builder(&url).http2(true).build().unwrap();
    server.runtime().block_on(async {
        for _ in 0..5 {
            let message = Message::new(vec![b'x'; 16 << 20]);
            let options = AppendOptions::default();
            let refused = client
                .append(Collection::Buffers, "b", &message, &options)
                .await
                .unwrap_err();
            let problem = refused.problem().unwrap_or_else(|| panic!("{refused}"));
            assert_eq!(problem.code(), "body-too-large");
        }
    });
}

/// How long a connection of these tests may be idle.
const IDLE: Duration = Duration::from_millis(400);

fn idle_soon() -> Server {
    Server::with(HttpSettings {
        head_timeout: IDLE,
        ..HttpSettings::default()
    })
}

/// Takes frames of a connection without streams until its end: their types, and when it came. Pings
/// are sent and answered when `pings`.
fn idle_connection(server: &Server, pings: bool) -> (Vec<u8>, Duration) {
    let start = Instant::now();
    let mut stream = TcpStream::connect(server.address).unwrap();
    let timeout = Some(Duration::from_secs(20));
    stream.set_read_timeout(timeout).unwrap();
    let ping = [&[0, 0, 8, PING, 0, 0, 0, 0, 0][..], &[7; 8]].concat();
    let settings = [0, 0, 0, SETTINGS, 0, 0, 0, 0, 0];
    stream
        .write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")
        .unwrap();
    stream.write_all(&settings).unwrap();
    if pings {
        stream.write_all(&ping).unwrap();
    }
    let mut types = Vec::new();
    loop {
        let mut head = [0; 9];
        // A reset is an end as well.
        if stream.read_exact(&mut head).is_err() {
            return (types, start.elapsed());
        }
        types.push(head[3]);
        let mut payload = vec![0; usize::from(head[1]) << 8 | usize::from(head[2])];
        stream.read_exact(&mut payload).unwrap();
        if pings && head[3] == PING {
            let is_answer = head[4] & ACK != 0;
            head[4] = ACK;
            let answer = [&head[..], &payload].concat();
            std::thread::sleep(Duration::from_millis(20));
            // The connection may be closed by now.
            let _ = stream.write_all(if is_answer { &ping } else { &answer });
        }
    }
}

const SETTINGS: u8 = 4;
const PING: u8 = 6;
const GOAWAY: u8 = 7;
const ACK: u8 = 1;

#[test]
fn an_idle_connection_is_told_and_closed_pings_or_not() {
    let server = idle_soon();
    for pings in [true, false] {
        let (types, time) = idle_connection(&server, pings);
        assert!(types.contains(&GOAWAY), "{types:?}");
        assert_eq!(types.iter().filter(|&&it| it == PING).count() > 3, pings);
        assert!(
            (IDLE..Duration::from_secs(15)).contains(&time),
            "pings {pings}: {time:?}"
        );
    }
}

#[test]
fn a_stream_that_is_open_keeps_its_connection_and_a_closed_one_is_replaced() {
    let server = idle_soon();
    let url = format!("http://{}", server.address);
    let client = Client::builder(&url).http2(true).build().unwrap();
    server.runtime().block_on(async {
        let (message, options) = (Message::new("m"), AppendOptions::default());
        for seq in 1..=2 {
            let append = client.append(Collection::Buffers, "b", &message, &options);
            assert_eq!(append.await.unwrap().seq, seq);
            tokio::time::sleep(2 * IDLE).await;
        }
        let mut tail = client
            .tail(Collection::Buffers, "b", &ReadOptions::after(1))
            .unwrap();
        assert_eq!(tail.next().await.unwrap().id, "2");
        tokio::time::sleep(3 * IDLE).await;
        let other = Client::builder(&url).build().unwrap();
        let append = other.append(Collection::Buffers, "b", &message, &options);
        assert_eq!(append.await.unwrap().seq, 3);
        assert_eq!(tail.next().await.unwrap().id, "3");
    });
}
