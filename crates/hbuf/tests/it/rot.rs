//! A byte that changes by itself where only the journal says that it was acknowledged.

use std::fs;
use std::path::{Path, PathBuf};

use crate::support::check::read_all;
use crate::support::server::Server;

fn start(data: &Path, direct_buffers_max: u64) -> Server {
    let flag = format!("--direct-buffers-max={direct_buffers_max}");
    Server::start(data, &[flag]).unwrap()
}

fn append(server: &Server, bodies: std::ops::RangeInclusive<u64>) {
    let mut http = server.http();
    for body in bodies {
        let reply = http.post("/buffers/b", format!("body {body}").as_bytes());
        let reply = reply.unwrap();
        assert_eq!(
            (reply.status, reply.number("x-hbuf-seq")),
            (201, Some(body))
        );
    }
}

fn find(bytes: &[u8], text: &str) -> usize {
    let found = bytes
        .windows(text.len())
        .position(|at| at == text.as_bytes());
    found.unwrap_or_else(|| panic!("{text} is not in the segment"))
}

/// Changes a byte of the body of seq 5, and cuts off what the journal wrote behind it, as a loss of
/// power would.
pub(crate) fn rot(segment: &Path) {
    let mut bytes = fs::read(segment).unwrap();
    let at = find(&bytes, "body 5");
    bytes[at] ^= 1;
    assert_eq!(bytes[at], b'c');
    if let Some(end) = bytes[at..]
        .windows(26)
        .position(|at| at == b"POST /00000000000000000006")
    {
        bytes.truncate(at + end);
    }
    write(segment, &bytes);
}

/// Changes it back.
pub(crate) fn repair(segment: &Path) {
    let mut bytes = fs::read(segment).unwrap();
    let at = find(&bytes, "cody 5");
    bytes[at] ^= 1;
    write(segment, &bytes);
}

/// What a disk holds by itself is as durable as what was synced.
fn write(segment: &Path, bytes: &[u8]) {
    fs::write(segment, bytes).unwrap();
    fs::File::open(segment).unwrap().sync_all().unwrap();
}

#[test]
fn a_rotten_message_that_only_the_journal_proves_stays_damage_until_it_is_repaired() {
    let scratch = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let data = scratch.path().join("data");
    // The one life writes the segment, the next one the journal.
    for (bodies, direct_buffers_max) in [(1..=5, 100), (6..=8, 0)] {
        let mut server = start(&data, direct_buffers_max);
        append(&server, bodies);
        server.kill();
    }
    let directory: PathBuf = fs::canonicalize(data.join("names/-/b")).unwrap();
    let segment = directory.join("00000000000000000001.hbuf");
    rot(&segment);
    // The journal goes with the first start; what it proves stays.
    for _ in 0..3 {
        let server = start(&data, 100);
        let reply = server.http().post("/buffers/b", b"more").unwrap();
        assert!(reply.text().contains("damaged"), "{}", reply.text());
        server.stop().unwrap();
        assert!(directory.join("unapplied").is_dir());
    }
    repair(&segment);
    let server = start(&data, 100);
    let records = read_all(&mut server.http(), "b").unwrap().unwrap();
    let bodies: Vec<String> = records
        .iter()
        .map(|record| String::from_utf8_lossy(&record.body).into_owned())
        .collect();
    let expected: Vec<String> = (1..=8).map(|body| format!("body {body}")).collect();
    assert_eq!(bodies, expected);
    append(&server, 9..=9);
    assert!(!directory.join("unapplied").exists());
}
