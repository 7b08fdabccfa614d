//! After the death of the process alone, the journal holds what no mark covers: a start goes on
//! with it, and the first checkpoint lets it go.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use crate::support::check::read_all;
use crate::support::server::Server;

/// Far longer than a checkpoint of some buffers takes.
const PATIENCE: Duration = Duration::from_secs(60);

fn start(data: &Path) -> Server {
    let flags = ["--direct-buffers-max=0", "--checkpoint-seconds=86400"];
    Server::start(data, &flags.map(String::from)).unwrap()
}

fn append(server: &Server, seq: u64) {
    let mut http = server.http();
    for buffer in ["a", "b", "c"] {
        let body = format!("body {seq}");
        let reply = http.post(&format!("/buffers/{buffer}"), body.as_bytes());
        let reply = reply.unwrap();
        assert_eq!((reply.status, reply.number("x-hbuf-seq")), (201, Some(seq)));
    }
}

fn holds(server: &Server, last: u64) {
    for buffer in ["a", "b", "c"] {
        let read = read_all(&mut server.http(), buffer).unwrap();
        let expected: Vec<Vec<u8>> = (1..=last)
            .map(|seq| format!("body {seq}").into_bytes())
            .collect();
        let bodies: Vec<Vec<u8>> = read
            .into_iter()
            .flatten()
            .map(|message| message.body)
            .collect();
        assert_eq!(bodies, expected, "{buffer}");
    }
}

fn journal(data: &Path) -> BTreeSet<String> {
    let entries = fs::read_dir(data.join("journal")).unwrap();
    entries
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect()
}

#[test]
fn lives_that_end_at_once_leave_their_journals_to_the_next_until_a_checkpoint() {
    let scratch = tempfile::tempdir().unwrap();
    let data = scratch.path();
    let mut seq = 0;
    for _ in 0..4 {
        let mut server = start(data);
        holds(&server, seq);
        seq += 1;
        append(&server, seq);
        server.kill();
    }
    let left = journal(data);
    assert!(!left.is_empty());
    let server = start(data);
    holds(&server, seq);
    // Nothing but what the earlier lives left asks for a checkpoint here.
    let begun = Instant::now();
    while !journal(data).is_disjoint(&left) {
        assert!(
            begun.elapsed() < PATIENCE,
            "{:?} is still there",
            journal(data)
        );
        std::thread::sleep(Duration::from_millis(10));
    }
    append(&server, seq + 1);
    server.stop().unwrap();
    assert_eq!(journal(data), BTreeSet::new());
    let server = start(data);
    holds(&server, seq + 1);
}
