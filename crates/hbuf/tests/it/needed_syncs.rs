//! The syncs that a busy disk seldom needs, each in the one story in which it does.
//!
//! The workload of `power_loss.rs` comes by these places too rarely, or goes on in a way that makes
//! durable after all what they sync. A story leads there and lets the power go; a server must then
//! be whole on each disk that may be left. `cargo xtask mutate-sync` tells the stories to a server
//! that leaves the sync out: they must end badly.

use std::fs;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

use serde_json::{Value, json};

use crate::power::stage::{Stage, expect, holds, not_there, tell, until};
use crate::rot;
use crate::support::check;
use crate::support::server::Server;

/// No checkpoint comes into a story that does not want it.
const NEVER: u64 = 3_600;
/// So long does a sync take under which appends are to queue.
const SLOW: Duration = Duration::from_millis(400);
/// By then an append has reached the queue of the pipeline.
const QUEUED: Duration = Duration::from_millis(60);
/// By then retention has looked at every open buffer.
const SWEPT: Duration = Duration::from_millis(1_500);
/// More than a page, and more than is left of a segment without room.
const LARGE: usize = 100_000;
/// What is appended until there is room.
const ROOM: &[u8] = b"there is room";
/// Messages whose acks are answered.
const ACKED: usize = 5;
/// The write of a start that registers it, behind two of `node.json`.
const REGISTERS: u64 = 3;
/// How often a story tries to be quicker than the server's look at the room on its disk.
const TRIES: usize = 12;

fn flags(direct_buffers_max: u64, checkpoint_seconds: u64) -> Vec<String> {
    let flags = [
        ("direct-buffers-max", direct_buffers_max),
        ("checkpoint-seconds", checkpoint_seconds),
        ("retention-sweep-seconds", 1),
        ("prewrite-bytes", 1 << 16),
    ];
    flags
        .map(|(name, value)| format!("--{name}={value}"))
        .to_vec()
}

/// Bodies of `len` bytes that begin with their number.
fn bodies(count: usize, len: usize) -> Vec<Vec<u8>> {
    let body = |number| {
        let mut body = format!("{number} ").into_bytes();
        body.resize(len, b'.');
        body
    };
    (1..=count).map(body).collect()
}

/// The segments of a buffer, oldest first.
fn segments(stage: &Stage, buffer: &str) -> Vec<PathBuf> {
    let directory = stage.data().join("names/-").join(buffer);
    let entries = fs::read_dir(directory).into_iter().flatten().flatten();
    let paths = entries.map(|entry| entry.path());
    let mut segments: Vec<_> = paths
        .filter(|path| path.extension().is_some_and(|end| end == "hbuf"))
        .collect();
    segments.sort();
    segments
}

/// A busy buffer's segment is written ahead. When it is sealed before it is full, its zeros are cut
/// off, and the mark then says that nobody need look at it again. Zeros that came back would take
/// room for as long as the segment is kept, and count as messages where retention counts bytes.
#[test]
fn the_zeros_of_a_sealed_segment_stay_cut_off() {
    tell("the_zeros_of_a_sealed_segment_stay_cut_off", || {
        let stage = Stage::new(&flags(u64::MAX, NEVER), None)?;
        stage.configure("/buffers/b", r#"{"segment_bytes": 307200}"#)?;
        let mut told = Vec::new();
        let mut append_until = |rolled: usize| {
            for body in bodies(2_000, 40) {
                if segments(&stage, "b").len() >= rolled {
                    return Ok(());
                }
                stage.append("b", &body)?;
                told.push(body);
            }
            Err(not_there("no roll"))
        };
        append_until(2)?;
        let ahead = fs::metadata(&segments(&stage, "b")[1]).map_err(not_there)?;
        if ahead.len() != 1 << 16 {
            return Err(not_there("the second segment was not written ahead"));
        }
        stage.configure("/buffers/b", r#"{"segment_bytes": 4096}"#)?;
        append_until(3)?;
        until("two marks", || stage.counter("hbuf_marks") >= 2)?;
        // More than stands behind the first segment, and less than with the zeros of the second.
        let keep = r#"{"segment_bytes": 4096, "retention_bytes": 30000}"#;
        stage.configure("/buffers/b", keep)?;
        stage.lose_power(&|data| {
            let server = Server::start(data, &flags(u64::MAX, NEVER))?;
            // Opened, so that retention looks at it.
            check::read_all(&mut server.http(), "b")?;
            thread::sleep(SWEPT);
            server.stop()?;
            holds(data, "b", &told)
        })
    });
}

/// Two messages that are refused in one commit, for the second has no room on the disk.
struct Refused {
    segment_bytes: u64,
    /// Length of the bodies of five messages before them.
    before: usize,
    /// Length of the one that is written whole, and of the one that takes its place.
    first: usize,
    /// Length of the one without room.
    second: usize,
    /// Bytes that are left for them.
    room: u64,
}

impl Refused {
    /// Tries until the server finds the disk full as it writes; what it takes before is `told`.
    fn send(&self, stage: &Stage, told: &mut Vec<Vec<u8>>) -> Result<(), String> {
        let first = vec![b'r'; self.first];
        for _ in 0..TRIES {
            match self.try_send(stage, &first)? {
                // The pipeline came by before the second was there.
                (201, 507) => told.push(first.clone()),
                (507, 507) if stage.server.output().contains("disk_full") => return Ok(()),
                // The server saw that there is no room before it wrote.
                (507, 507) => {}
                statuses => return Err(not_there(format!("{statuses:?}"))),
            }
            taken(stage, "other")?;
        }
        Err(not_there("no write found the disk full"))
    }

    /// The statuses of both.
    fn try_send(&self, stage: &Stage, first: &[u8]) -> Result<(u16, u16), String> {
        let model = || stage.mounted.model();
        let second = vec![b's'; self.second];
        let post = |body| {
            let reply = stage.http().post("/buffers/b", body);
            reply.map(|reply| reply.status).map_err(not_there)
        };
        let statuses = under_a_sync(stage, || {
            thread::scope(|scope| {
                // None at all at first: the mark of a roll must be missed.
                model().leave_space(Some(0));
                let first = scope.spawn(|| post(first));
                thread::sleep(QUEUED);
                let second = scope.spawn(|| post(&second));
                thread::sleep(QUEUED);
                model().leave_space(Some(self.room));
                let [first, second] = [first, second].map(|it| it.join().expect("it only asks"));
                Ok((first?, second?))
            })
        });
        model().leave_space(None);
        statuses
    }
}

/// Does something while the pipeline syncs, so that what is appended meanwhile is one commit.
fn under_a_sync<T>(stage: &Stage, work: impl FnOnce() -> Result<T, String>) -> Result<T, String> {
    let before = stage.mounted.model().counts().syncs;
    stage.mounted.slow_down(SLOW);
    let worked = thread::scope(|scope| {
        // Whether there is room for it is all the same.
        scope.spawn(|| stage.append("other", b"occupies the pipeline"));
        until("a sync", || stage.mounted.model().counts().syncs > before)?;
        work()
    });
    stage.mounted.slow_down(Duration::ZERO);
    worked
}

/// Appends to a buffer until the server has seen that there is room.
fn taken(stage: &Stage, buffer: &str) -> Result<(), String> {
    until("room", || stage.append(buffer, ROOM).is_ok())
}

/// A buffer that was paused and goes on has a mark after which recovery syncs nothing, so the cut
/// back must. Then a message is journaled in the place of the refused one.
fn refused_and_replaced(refused: &Refused) -> Result<u64, String> {
    let stage = Stage::new(&flags(1, NEVER), None)?;
    let json = format!(r#"{{"segment_bytes": {}}}"#, refused.segment_bytes);
    stage.configure("/buffers/b", &json)?;
    let mut told = bodies(5, refused.before);
    for body in &told {
        stage.append("b", body)?;
    }
    for buffer in ["other", "another"] {
        stage.append(buffer, b"first")?;
    }
    for state in ["paused", "open"] {
        stage.configure("/buffers/b/state", &format!(r#"{{"state": "{state}"}}"#))?;
    }
    refused.send(&stage, &mut told)?;
    taken(&stage, "another")?;
    // Opened again, before anything is appended.
    until("the buffer", || {
        let read = stage.http().get("/buffers/b/messages?after=0");
        read.is_ok_and(|reply| reply.status == 200)
    })?;
    let kept = vec![b'k'; refused.first];
    under_a_sync(&stage, || {
        thread::scope(|scope| {
            let also =
                scope.spawn(|| stage.append("another", b"makes the commit one of the journal"));
            stage.append("b", &kept)?;
            also.join().expect("it only asks")
        })
    })?;
    told.push(kept);
    stage.lose_power(&|data| holds(data, "b", &told))
}

#[test]
fn a_refused_message_does_not_come_back_in_the_place_of_another() {
    tell("a_refused_message_does_not_come_back", || {
        refused_and_replaced(&Refused {
            segment_bytes: 1 << 20,
            before: 40,
            first: 40,
            second: LARGE,
            room: 0,
        })
    });
}

#[test]
fn a_refused_segment_does_not_come_back_in_the_place_of_another() {
    tell("a_refused_segment_does_not_come_back", || {
        refused_and_replaced(&Refused {
            segment_bytes: 8 << 10,
            before: 1_000,
            first: 2_000,
            second: 5_000,
            room: 4 << 10,
        })
    });
}

/// A buffer that was cut back is opened again only when somebody asks for it; the journal may be
/// gone by then.
#[test]
fn what_a_cut_back_buffer_had_journaled_outlives_the_journal() {
    tell("what_a_cut_back_buffer_had_journaled", || {
        let stage = Stage::new(&flags(0, NEVER), None)?;
        let mut told = bodies(ACKED, 40);
        for body in &told {
            stage.append("b", body)?;
        }
        stage.configure("/buffers/b/consumers/c", "{}")?;
        ack_all(&stage)?;
        let journal = stage.journal_file()?;
        fill(&stage, &mut told)?;
        taken(&stage, "other")?;
        until("the end of the journal", || !journal.exists())?;
        stage.lose_power(&|data| {
            acked_is_not_handed_out(data)?;
            holds(data, "b", &told)
        })
    });
}

/// Lets a write to `b` find the disk full; what `b` takes before is `told`.
fn fill(stage: &Stage, told: &mut Vec<Vec<u8>>) -> Result<(), String> {
    let large = vec![b'x'; LARGE];
    for _ in 0..TRIES {
        stage.mounted.model().leave_space(Some(0));
        let refused = stage.http().post("/buffers/b", &large);
        stage.mounted.model().leave_space(None);
        expect(refused, 507)?;
        if stage.server.output().contains("disk_full") {
            return Ok(());
        }
        // The server saw that there is no room before it wrote.
        taken(stage, "b")?;
        told.push(ROOM.to_vec());
    }
    Err(not_there("no write found the disk full"))
}

fn ack_all(stage: &Stage) -> Result<(), String> {
    let leased = lease(&stage.server)?;
    let acks: Vec<_> = leased
        .iter()
        .map(|message| json!({"seq": message["seq"], "lease": message["lease"]}))
        .collect();
    let acks = json!({ "ack": acks }).to_string();
    let acked = stage
        .http()
        .post("/buffers/b/consumers/c/acks", acks.as_bytes());
    let acked = expect(acked, 200)?.text();
    match acked.matches("\"acked\"").count() {
        ACKED => Ok(()),
        _ => Err(not_there(acked)),
    }
}

fn lease(server: &Server) -> Result<Vec<Value>, String> {
    let reply = server
        .http()
        .post("/buffers/b/consumers/c/next?limit=100", b"");
    let reply = reply.map_err(not_there)?;
    let leased: Value = serde_json::from_slice(&reply.body).unwrap_or_default();
    Ok(leased["messages"].as_array().cloned().unwrap_or_default())
}

fn acked_is_not_handed_out(data: &Path) -> Result<(), String> {
    let server = Server::start(data, &[])?;
    let leased = lease(&server)?;
    server.stop()?;
    let again = leased
        .iter()
        .filter(|message| message["seq"].as_u64() <= Some(ACKED as u64));
    match again.count() {
        0 => Ok(()),
        again => Err(format!(
            "{again} messages were acked and are handed out again"
        )),
    }
}

/// Where a consumer begins may be known before there is a message. A checkpoint then finds no
/// segment to sync; the name of the directory of cursors is synced with that of the first mark.
#[test]
fn where_a_consumer_of_an_empty_buffer_begins_outlives_the_journal() {
    tell("where_a_consumer_of_an_empty_buffer_begins", || {
        let mut stage = Stage::new(&flags(0, NEVER), None)?;
        stage.configure("/buffers/b", "{}")?;
        stage.configure("/buffers/b/consumers/c", r#"{"start": "last"}"#)?;
        lease(&stage.server)?;
        let journal = stage.journal_file()?;
        stage.restart(&flags(0, NEVER), |_| ())?;
        until("the journal to go", || !journal.exists())?;
        stage.append("b", b"one")?;
        stage.lose_power(&|data| {
            let server = Server::start(data, &[])?;
            let given = lease(&server)?.len();
            server.stop()?;
            match given {
                1 => Ok(()),
                _ => Err(format!("{given} messages are handed out of 1")),
            }
        })
    });
}

/// The first mark is what lets retention remove a segment whose keys stand in the mark's tables.
#[test]
fn a_key_is_known_when_the_first_mark_has_let_its_segment_go() {
    tell("a_key_is_known_when_the_first_mark", || {
        let stage = Stage::new(&flags(0, NEVER), None)?;
        let small = r#"{"segment_bytes": 4096, "retention_count": 1}"#;
        stage.configure("/buffers/b", small)?;
        let mut count = 0;
        // One roll, and room for some more in the segment behind it.
        while stage.counter("hbuf_marks") == 0 && count < 100 {
            count += 1;
            append_keyed(&stage.server, count, None)?;
            stage
                .http()
                .get("/buffers/b/messages?after=0")
                .map_err(not_there)?;
        }
        let dropped = || stage.counter("hbuf_segments_dropped") > 0;
        until("a segment that goes", dropped)?;
        stage.lose_power(&|data| {
            let server = Server::start(data, &[])?;
            append_keyed(&server, 1, Some(1))?;
            server.stop()
        })
    });
}

/// Appends under the key of a number. With `seq`: it was appended before, and that is known.
fn append_keyed(server: &Server, number: u64, seq: Option<u64>) -> Result<(), String> {
    let key = format!("key-{number}");
    let reply = server.http().post_once("/buffers/b", &key, key.as_bytes());
    let reply = reply.map_err(not_there)?;
    match seq {
        None if reply.status == 201 => Ok(()),
        // It is known, and its message is gone.
        Some(_) if reply.status == 410 => Ok(()),
        Some(seq) if reply.number("x-hbuf-seq") == Some(seq) => Ok(()),
        _ => Err(format!("{key}: {} {}", reply.status, reply.text())),
    }
}

/// A server that may open few files closes those that it has written, and cannot sync them later.
#[test]
fn what_was_journaled_is_durable_before_its_file_may_be_closed() {
    tell("what_was_journaled_is_durable_before", || {
        let stage = Stage::new(&flags(0, 1), Some(4_100))?;
        let names: Vec<_> = (0..24).map(|number| format!("b{number}")).collect();
        for name in &names {
            stage.append(name, b"kept")?;
        }
        until("a mark of each", || {
            stage.counter("hbuf_marks") >= names.len() as u64
        })?;
        let journal = stage.data().join("journal");
        until("the end of the journal", || {
            fs::read_dir(&journal).is_ok_and(|mut files| files.next().is_none())
        })?;
        stage.lose_power(&|data| {
            let server = Server::start(data, &[])?;
            let mut http = server.http();
            for name in &names {
                let records = check::read_all(&mut http, name)?;
                if records.is_none_or(|records| records.len() != 1) {
                    return Err(format!("{name}: its message is lost"));
                }
            }
            server.stop()
        })
    });
}

/// What a damaged log cannot take of the journal is kept aside, and the journal goes.
#[test]
fn what_only_the_journal_proves_outlives_it() {
    tell("what_only_the_journal_proves_outlives_it", || {
        let mut stage = Stage::new(&flags(100, NEVER), None)?;
        let told: Vec<Vec<u8>> = (1..=8).map(|n| format!("body {n}").into_bytes()).collect();
        for body in &told[..5] {
            stage.append("b", body)?;
        }
        stage.restart(&flags(0, NEVER), |_| ())?;
        for body in &told[5..] {
            stage.append("b", body)?;
        }
        let journal = stage.journal_file()?;
        stage.restart(&flags(100, NEVER), |data| rot::rot(&first_segment(data)))?;
        until("the journal to go", || !journal.exists())?;
        stage.lose_power(&|data| {
            let server = Server::start(data, &flags(100, NEVER))?;
            let reply = server.http().post("/buffers/b", b"more");
            let reply = reply.map_err(|error| error.to_string())?;
            if !reply.text().contains("damaged") {
                return Err(format!(
                    "{} to a message behind those that are missing",
                    reply.status
                ));
            }
            server.stop()?;
            rot::repair(&first_segment(data));
            holds(data, "b", &told)
        })
    });
}

/// The links of `names` are for people and not made durable, so it is looked for.
fn first_segment(data: &Path) -> PathBuf {
    let children = |path: &Path| fs::read_dir(path).into_iter().flatten().flatten();
    let fans = children(&data.join("buffers")).map(|entry| entry.path());
    let mut directories = fans.flat_map(|fan| children(&fan));
    let directory = directories.next().expect("the story has one buffer");
    directory.path().join("00000000000000000001.hbuf")
}

/// What the file holds before the zeros that were written ahead.
fn written(path: &Path) -> Result<Vec<u8>, String> {
    let mut bytes = fs::read(path).map_err(not_there)?;
    let end = bytes.iter().rposition(|&byte| byte != 0);
    bytes.truncate(end.map_or(0, |end| end + 1));
    Ok(bytes)
}

/// A process dies before its sync of the journal returned. The next start finds in the page cache
/// what nobody was told of, shows it, and relies on the journal for it: the power goes before its
/// first checkpoint is through. `unsync` brings the file back to before that sync; the second entry
/// begins behind so many bytes.
fn shown_from_the_journal(
    unsync: fn(&Path, &[u8], usize) -> std::io::Result<()>,
) -> Result<u64, String> {
    let mut stage = Stage::new(&flags(0, NEVER), None)?;
    stage.append("b", b"one")?;
    let file = stage.journal_file()?;
    let first = written(&file)?.len();
    stage.append("b", b"two")?;
    let both = written(&file)?;
    stage.mounted.slow_down(SLOW);
    let mut unsynced = Ok(());
    stage.restart(&flags(0, NEVER), |_| unsynced = unsync(&file, &both, first))?;
    unsynced.map_err(not_there)?;
    let shown = check::read_all(&mut stage.http(), "b")?.unwrap_or_default();
    if shown.len() != 2 {
        return Err(not_there(format!("{} messages are shown", shown.len())));
    }
    let told = [b"one".to_vec(), b"two".to_vec()];
    stage.lose_power(&|data| holds(data, "b", &told))
}

#[test]
fn what_a_start_shows_of_the_journal_stays() {
    tell("what_a_start_shows_of_the_journal_stays", || {
        shown_from_the_journal(|path, both, first| {
            let file = fs::File::options().write(true).open(path)?;
            file.write_all_at(&vec![0; both.len() - first], first as u64)?;
            file.sync_all()?;
            file.write_all_at(&both[first..], first as u64)
        })
    });
}

#[test]
fn a_journal_file_that_a_start_relies_on_keeps_its_name() {
    tell(
        "a_journal_file_that_a_start_relies_on_keeps_its_name",
        || shown_from_the_journal(|path, _, _| unsync_name(path)),
    );
}

/// Whether a file of the directory, or below, holds these bytes.
fn hold(directory: &Path, wanted: &[u8]) -> bool {
    let entries = fs::read_dir(directory).into_iter().flatten().flatten();
    entries.map(|entry| entry.path()).any(|path| {
        let holds = |bytes: &[u8]| bytes.windows(wanted.len()).any(|at| at == wanted);
        hold(&path, wanted) || fs::read(&path).is_ok_and(|bytes| holds(&bytes))
    })
}

/// A buffer's directory is missing: what the journal holds of it is set aside, and then that goes.
#[test]
fn what_is_set_aside_of_a_missing_directory_stays() {
    const BODY: &[u8] = b"of a missing directory";
    tell("what_is_set_aside_of_a_missing_directory_stays", || {
        let mut stage = Stage::new(&flags(0, NEVER), None)?;
        stage.append("b", BODY)?;
        let journal = stage.journal_file()?;
        let named = stage.data().join("names/-/b");
        let directory = fs::canonicalize(named).map_err(not_there)?;
        let mut removed = Ok(());
        stage.restart(&flags(0, NEVER), |_| {
            removed = fs::remove_dir_all(directory)
        })?;
        removed.map_err(not_there)?;
        until("the journal to go", || !journal.exists())?;
        stage.lose_power(&|data| {
            let kept = ["quarantine", "journal"].map(|name| hold(&data.join(name), BODY));
            match kept.contains(&true) {
                true => Ok(()),
                false => Err("neither the journal nor quarantine/ has the message".to_owned()),
            }
        })
    });
}

/// A process dies before a name in a directory was synced. The next life finds a filter there and
/// shows it. `unsync` brings the disk back to before that sync.
fn shown_filter(unsync: fn(&Path) -> std::io::Result<()>) -> Result<u64, String> {
    const FILTER: &str = "/buffers/b/filters/f";
    let mut stage = Stage::new(&flags(100, NEVER), None)?;
    stage.append("b", b"one")?;
    // Now it has a mark after which recovery syncs nothing.
    for state in ["paused", "open"] {
        stage.configure("/buffers/b/state", &format!(r#"{{"state": "{state}"}}"#))?;
    }
    stage.upload(FILTER, b"tag")?;
    let named = stage.data().join("names/-/b");
    let directory = fs::canonicalize(named).map_err(not_there)?;
    let mut unsynced = Ok(());
    stage.restart(&flags(100, NEVER), |_| unsynced = unsync(&directory))?;
    unsynced.map_err(not_there)?;
    expect(stage.http().get(FILTER), 200)?;
    stage.lose_power(&|data| {
        let server = Server::start(data, &[])?;
        let found = server.http().get(FILTER).map_err(not_there)?;
        server.stop()?;
        match found.status {
            200 => Ok(()),
            status => Err(format!("{status} to a filter that was shown")),
        }
    })
}

/// Takes a name away as if it had never been synced.
fn unsync_name(path: &Path) -> std::io::Result<()> {
    let aside = path.with_extension("aside");
    fs::rename(path, &aside)?;
    fs::File::open(path.parent().expect("it is in a directory"))?.sync_all()?;
    fs::rename(&aside, path)
}

#[test]
fn a_filter_that_a_start_found_and_showed_stays() {
    tell("a_filter_that_a_start_found_and_showed_stays", || {
        shown_filter(|directory| unsync_name(&directory.join("filters/f.filter")))
    });
}

#[test]
fn a_directory_of_filters_that_a_start_found_stays() {
    tell("a_directory_of_filters_that_a_start_found_stays", || {
        shown_filter(|directory| unsync_name(&directory.join("filters")))
    });
}

/// Brings the end of a file back to before its sync.
fn unsync_end(path: &Path, all: &[u8], synced: usize) -> std::io::Result<()> {
    let file = fs::File::options().write(true).open(path)?;
    file.set_len(synced as u64)?;
    file.sync_all()?;
    file.write_all_at(&all[synced..], synced as u64)
}

/// The newest file of the manager's log.
fn manager_file(data: &Path) -> Result<PathBuf, String> {
    let entries = fs::read_dir(data.join("manager/global")).map_err(not_there)?;
    let paths = entries.flatten().map(|entry| entry.path());
    let newest = paths.filter(|path| path.is_file()).max();
    newest.ok_or_else(|| not_there("the manager has no log"))
}

/// A process dies before the sync of its commands returned, and the next start registers itself
/// behind them. That they come before says that they are durable: when the power goes in this start
/// and leaves the registration alone, nobody could tell it from damage.
#[test]
fn commands_that_a_start_found_are_durable_before_another_follows() {
    tell("commands_that_a_start_found_are_durable", || {
        let mut stage = Stage::new(&flags(100, NEVER), None)?;
        let manager = manager_file(stage.data())?;
        let synced = fs::read(&manager).map_err(not_there)?.len();
        // More than a sector of a disk has.
        for number in 0..8 {
            stage.configure(&format!("/buffers/b{number}"), "{}")?;
        }
        let all = fs::read(&manager).map_err(not_there)?;
        let mut unsynced = Ok(());
        stage.restart_into_the_cut(&flags(100, NEVER), REGISTERS, |_| {
            unsynced = unsync_end(&manager, &all, synced);
        })?;
        unsynced.map_err(not_there)?;
        if fs::read(&manager).map_err(not_there)?.len() <= all.len() {
            return Err(not_there("the start registered nothing"));
        }
        stage.lose_power(&|data| Server::start(data, &[])?.stop())
    });
}
