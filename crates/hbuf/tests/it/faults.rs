//! Disks that fail without losing power: a sync that fails, a disk that is full.

use std::fs;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use crate::power::draw::Draws;
use crate::power::model::{Model, SyncFault};
use crate::power::mount::Mounted;
use crate::support::check;
use crate::support::http::{Http, Reply};
use crate::support::server::Server;
use crate::support::settings::CommitPath;

/// A server on a mounted model. The order of the fields is that of their ends: the directory goes
/// when nothing is mounted in it any more, else its removal would empty the mount instead.
struct Bench {
    server: Server,
    mounted: Mounted,
    scratch: tempfile::TempDir,
}

impl Bench {
    fn new(path: CommitPath) -> Self {
        let scratch = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
        let at = scratch.path().join("mount");
        fs::create_dir(&at).unwrap();
        let mounted = Mounted::new(Model::default(), &at, Duration::ZERO).unwrap();
        let server = Server::start(&at.join("data"), &path.settings()).unwrap();
        Self {
            scratch,
            mounted,
            server,
        }
    }

    fn append(&self, body: &str) -> Reply {
        self.server
            .http()
            .post("/buffers/b", body.as_bytes())
            .unwrap()
    }

    fn bodies(&self) -> Vec<String> {
        bodies(&self.server)
    }

    /// The journal's first file asked for one that is written ahead; its sync is not the one that a
    /// test wants to fail.
    fn wait_for_file_ahead(&self) {
        let pool = self.scratch.path().join("mount/data/pool");
        let begun = Instant::now();
        let is_ready = |entry: std::io::Result<fs::DirEntry>| {
            entry.is_ok_and(|entry| entry.path().extension().is_some_and(|end| end == "zero"))
        };
        while !fs::read_dir(&pool).unwrap().any(is_ready) {
            assert!(begun.elapsed() < Duration::from_secs(15), "no file ahead");
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// Kills the server, cuts the power and returns the directory that the disk holds.
    fn lose_power(mut self) -> (tempfile::TempDir, PathBuf) {
        self.server.kill();
        self.mounted.model().cut_now();
        let model = self.mounted.unmount().unwrap();
        let disk = self.scratch.path().join("disk");
        model
            .lock()
            .unwrap()
            .surviving(Draws::new(1))
            .write_to(&disk)
            .unwrap();
        (self.scratch, disk.join("data"))
    }
}

fn bodies(server: &Server) -> Vec<String> {
    let records = check::read_all(&mut server.http(), "b")
        .unwrap()
        .expect("the buffer exists");
    records
        .into_iter()
        .map(|record| String::from_utf8(record.body).unwrap())
        .collect()
}

fn assert_problem(reply: &Reply, status: u16) {
    assert_eq!(reply.status, status, "{}", reply.text());
    assert_eq!(
        reply.header("content-type"),
        Some("application/problem+json"),
        "{reply:?}"
    );
    assert!(reply.text().contains("\"type\""), "{}", reply.text());
}

fn check_failed_sync(fault: SyncFault, path: CommitPath) {
    let mut bench = Bench::new(path);
    for body in ["one", "two"] {
        assert_eq!(bench.append(body).status, 201);
    }
    if path == CommitPath::Journal {
        bench.wait_for_file_ahead();
    }
    bench.mounted.model().fail_next_sync(fault);
    assert_problem(&bench.append("lost"), 503);
    assert!(
        !bench.mounted.model().sync_fault_waits(),
        "the append was never synced"
    );
    assert_problem(&bench.append("after"), 503);
    assert_eq!(
        bench.bodies(),
        ["one", "two"],
        "what is durable stays readable"
    );
    assert!(
        bench.server.is_running(),
        "the process lives:\n{}",
        bench.server.output()
    );
    assert_eq!(bench.server.http().get("/healthz").unwrap().status, 200);

    let (_scratch, data) = bench.lose_power();
    let server = Server::start(&data, &[]).unwrap();
    let found = bodies(&server);
    assert_eq!(found[..2], ["one", "two"]);
    assert!(found[2..].iter().all(|body| body == "lost"), "{found:?}");
    let reply = server.http().post("/buffers/b", b"again").unwrap();
    assert_eq!(
        reply.status,
        201,
        "a restart takes the disk into use again: {}",
        reply.text()
    );
    server.stop().unwrap();
    assert_eq!(check::check_verify(&data), [""; 0]);
}

#[test]
fn a_failed_sync_whose_data_is_gone_ends_appends_and_keeps_reads() {
    check_failed_sync(SyncFault::Dropped, CommitPath::Direct);
    check_failed_sync(SyncFault::Dropped, CommitPath::Journal);
}

#[test]
fn a_failed_sync_is_never_retried_even_if_the_data_could_still_be_written() {
    check_failed_sync(SyncFault::Kept, CommitPath::Direct);
    check_failed_sync(SyncFault::Kept, CommitPath::Journal);
}

#[test]
fn a_full_disk_answers_507_stays_readable_and_works_again_when_space_returns() {
    let bench = Bench::new(CommitPath::Auto);
    assert_eq!(bench.append("first").status, 201);
    bench.mounted.model().leave_space(Some(1 << 20));
    let big = "x".repeat(50_000);
    let mut taken = 1;
    let refused = loop {
        let reply = bench.append(&format!("{taken} {big}"));
        if reply.status != 201 {
            break reply;
        }
        taken += 1;
        assert!(taken < 10_000, "the disk never got full");
    };
    assert_problem(&refused, 507);
    assert_eq!(bench.bodies().len(), taken, "a full disk stays readable");

    bench.mounted.model().leave_space(None);
    let begun = Instant::now();
    while bench.append("space").status != 201 {
        assert!(
            begun.elapsed() < Duration::from_secs(15),
            "appends did not come back"
        );
        std::thread::sleep(Duration::from_millis(50));
    }
    let live = bench.bodies();
    assert_eq!((live.len(), live[taken].as_str()), (taken + 1, "space"));
    let (_scratch, data) = bench.lose_power();
    let server = Server::start(&data, &[]).unwrap();
    assert_eq!(bodies(&server), live);
    server.stop().unwrap();
    assert_eq!(check::check_verify(&data), [""; 0]);
}

/// Appends and reads of one buffer until told to stop; returns what was refused.
fn hammer(mut http: Http, done: &AtomicBool) -> Vec<Reply> {
    let big = "x".repeat(50_000);
    let mut refused = Vec::new();
    while !done.load(Ordering::Relaxed) {
        let append = http.post("/buffers/b", big.as_bytes());
        let read = http.get("/buffers/b/messages?after=0&limit=1");
        let replies = [append, read].map(|reply| reply.expect("the server answers"));
        refused.extend(replies.into_iter().filter(|reply| !reply.is_success()));
    }
    refused
}

#[test]
fn around_a_full_disk_every_refusal_is_the_servers_state_and_says_when_to_try_again() {
    let bench = Bench::new(CommitPath::Auto);
    assert_eq!(bench.append("first").status, 201);
    let done = AtomicBool::new(false);
    let refused: Vec<Reply> = std::thread::scope(|scope| {
        let clients: Vec<_> = (0..4)
            .map(|_| scope.spawn(|| hammer(bench.server.http(), &done)))
            .collect();
        for _ in 0..4 {
            bench.mounted.model().leave_space(Some(1 << 20));
            std::thread::sleep(Duration::from_millis(250));
            bench.mounted.model().leave_space(None);
            std::thread::sleep(Duration::from_millis(250));
        }
        done.store(true, Ordering::Relaxed);
        clients
            .into_iter()
            .flat_map(|client| client.join().unwrap())
            .collect()
    });
    for reply in &refused {
        let waits = reply.number("retry-after").is_some();
        assert!(matches!(reply.status, 503 | 507) && waits, "{reply:?}");
    }
    assert!(refused.iter().any(|reply| reply.status == 507));
}

#[test]
fn a_buffer_whose_file_cannot_be_read_says_so_and_the_others_go_on() {
    let bench = Bench::new(CommitPath::Direct);
    assert_eq!(bench.append("one").status, 201);
    let mut http = bench.server.http();
    assert_eq!(http.post("/buffers/other", b"fine").unwrap().status, 201);
    fail_reads_of_buffer_b(&bench);
    let reply = http.get("/buffers/b/messages?after=0&limit=10");
    // A read that has begun cannot change its status: then it ends before its length.
    if let Ok(reply) = reply {
        assert!(reply.status >= 500, "{} {}", reply.status, reply.text());
    }
    let mut http = bench.server.http();
    assert_eq!(
        http.get("/buffers/other/messages?after=0").unwrap().status,
        200
    );
    assert_eq!(http.post("/buffers/other", b"still").unwrap().status, 201);
}

fn fail_reads_of_buffer_b(bench: &Bench) {
    let data = bench.scratch.path().join("mount/data");
    let link = data.join("names/-/b");
    let dir = fs::canonicalize(&link).expect("names link to buffers");
    let below = dir
        .strip_prefix(fs::canonicalize(data.join("..")).unwrap())
        .unwrap()
        .to_owned();
    for entry in fs::read_dir(&dir).unwrap() {
        let name = entry.unwrap().file_name();
        if name.to_string_lossy().ends_with(".hbuf") {
            let mut model = bench.mounted.model();
            let ino = model.resolve(&below.join(&name)).unwrap();
            model.fail_reads(ino, 0, u64::MAX >> 1);
        }
    }
}
