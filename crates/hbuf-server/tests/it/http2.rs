//! HTTP/2 in clear text, on the same port.

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
