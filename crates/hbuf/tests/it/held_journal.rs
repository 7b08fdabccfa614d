//! After the death of the process alone, the journal holds what no mark covers: a start goes on
//! with it, and the first checkpoint lets it go.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
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

fn find(parent: &Path, buffer: &str) -> PathBuf {
    let described = parent.read_dir().unwrap().flat_map(|fan| {
        let fan = fan.unwrap().path();
        fan.read_dir().unwrap().map(|entry| entry.unwrap().path())
    });
    let name = format!("\"name\":\"{buffer}\"");
    let mut described = described.filter(|path| {
        let text = fs::read_to_string(path.join("buffer.json")).unwrap();
        text.replace(' ', "").contains(&name)
    });
    described.next().unwrap()
}

/// Takes a buffer's directory away as it was before any append: only the journal has the messages.
fn take_away(directory: &Path, to: &Path) {
    fs::rename(directory, to).unwrap();
    for entry in to.read_dir().unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|it| it == "hbuf") {
            fs::remove_file(path).unwrap();
        }
    }
}

#[test]
fn a_missing_directory_stops_no_start_and_what_the_journal_held_of_it_is_kept() {
    let scratch = tempfile::tempdir().unwrap();
    let data = scratch.path();
    let mut server = start(data);
    append(&server, 1);
    append(&server, 2);
    server.kill();
    let directory = find(&data.join("buffers"), "b");
    let taken = scratch.path().join("taken");
    take_away(&directory, &taken);

    let server = start(data);
    let refused = server.http().get("/buffers/b/messages?after=0").unwrap();
    let text = String::from_utf8_lossy(&refused.body).into_owned();
    assert_eq!(refused.status, 500, "{text}");
    assert!(
        text.contains("log-damaged") && text.contains("restore it"),
        "{text}"
    );
    let other = server.http().post("/buffers/a", b"body 3").unwrap();
    assert_eq!((other.status, other.number("x-hbuf-seq")), (201, Some(3)));
    let uuid = directory.file_name().unwrap();
    let kept = data.join("quarantine").join(uuid);
    assert!(kept.is_dir());
    server.stop().unwrap();

    fs::rename(&taken, &directory).unwrap();
    fs::rename(&kept, directory.join("unapplied")).unwrap();
    let server = start(data);
    let read = read_all(&mut server.http(), "b").unwrap().unwrap();
    let bodies: Vec<Vec<u8>> = read.into_iter().map(|message| message.body).collect();
    assert_eq!(bodies, [b"body 1", b"body 2"]);
    assert!(!directory.join("unapplied").exists());
}

#[test]
fn what_is_kept_of_a_missing_directory_stays_when_it_is_missing_again() {
    let scratch = tempfile::tempdir().unwrap();
    let data = scratch.path();
    let taken = scratch.path().join("taken");
    let kept = |uuid: &Path| {
        let files = data.join("quarantine").join(uuid).read_dir();
        files.map_or(0, Iterator::count)
    };
    for life in 1..=2 {
        let mut server = start(data);
        let reply = server.http().post("/buffers/b", b"one").unwrap();
        assert_eq!(reply.status, 201);
        server.kill();
        let directory = find(&data.join("buffers"), "b");
        take_away(&directory, &taken);
        start(data).stop().unwrap();
        assert_eq!(kept(Path::new(directory.file_name().unwrap())), life);
        fs::rename(&taken, &directory).unwrap();
    }
}
