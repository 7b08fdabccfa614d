//! The power goes at a seeded moment; everything that was acknowledged must be there afterwards.
//!
//! Each seed runs a few rounds on the same data: start on the lossy file system, work, lose power,
//! write out what survived, start on that, compare with what the clients were told. Recovery itself
//! runs on the lossy file system in the next round, so its own syncs are tried as well. In some
//! rounds the process ends before the power does: its next life then builds on what the page cache
//! holds and the disk does not.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use crate::power::draw::Draws;
use crate::power::model::{Class, Cut, Model};
use crate::power::mount::Mounted;
use crate::support::ledger::Ledger;
use crate::support::server::{HANGS, Server};
use crate::support::settings::CommitPath;
use crate::support::workload::{self, Flight, Plan};
use crate::support::{check, derived, settings};

/// Power losses of one seed, one after the other on the same data.
const ROUNDS: u64 = 3;
/// The longest that a round works before the power goes anyway.
const WORK_MAX: Duration = Duration::from_millis(1500);
/// Clients may still get replies for this long after the cut: none of them may be a success.
const AFTERMATH: Duration = Duration::from_millis(30);
/// Disks that a run under lies may leave, of which one after the other is started on.
const LIES: u64 = 8;

#[test]
fn nothing_acknowledged_is_lost_with_the_commit_path_left_to_the_server() {
    sweep("left_to_the_server", CommitPath::Auto);
}

#[test]
fn nothing_acknowledged_is_lost_when_every_commit_writes_the_segments() {
    sweep("writes_the_segments", CommitPath::Direct);
}

#[test]
fn nothing_acknowledged_is_lost_when_every_commit_goes_through_the_journal() {
    sweep("through_the_journal", CommitPath::Journal);
}

/// The short form of `cargo xtask mutate-sync`, which leaves out one sync at a time: whoever lies
/// about all of a kind is noticed at once, or these tests prove nothing.
#[test]
fn a_disk_that_only_says_that_it_synced_is_noticed() {
    for class in [Class::Sync, Class::SyncDir] {
        for path in CommitPath::ALL {
            let noticed = settings::seeds(3).find_map(|seed| {
                let scratch = Scratch::new(seed);
                let mut run = Run {
                    forgets: Some(class),
                    ..Run::new(seed, path)
                };
                (0..ROUNDS).find_map(|round| run.round(round, &scratch).err())
            });
            let noticed = noticed.unwrap_or_default();
            let not_of_the_tests = !noticed.contains("cannot mount");
            let said = noticed.lines().find(|line| !line.trim().is_empty());
            println!("{class:?}, {path:?}: {}", said.unwrap_or("never noticed"));
            assert!(
                said.is_some() && not_of_the_tests,
                "{class:?}, {path:?}: {noticed}"
            );
        }
    }
}

/// A disk that lied about each sync since it was new, of files or of directories, may hold any part
/// of what was written. What is lost is lost; but a start runs, or ends and says why not.
#[test]
fn a_start_on_what_a_disk_left_that_always_lied_runs_or_says_why_not() {
    let mut said = BTreeMap::new();
    for class in [Class::Sync, Class::SyncDir] {
        for path in CommitPath::ALL {
            for seed in settings::seeds(1) {
                if let Err(why) = starts_after_lies(seed, class, path, &mut said) {
                    panic!("seed {seed}, {class:?}, {path:?}: {why}");
                }
            }
        }
    }
    println!("starts after lies: {said:?}");
}

fn starts_after_lies(
    seed: u64,
    class: Class,
    path: CommitPath,
    said: &mut BTreeMap<String, usize>,
) -> Result<(), String> {
    let scratch = Scratch::new(seed);
    let mut run = Run {
        forgets_from_start: Some(class),
        ..Run::new(seed, path)
    };
    let at = scratch.mount(0);
    let mut model = Model::default();
    model.cut_after_now(run.cut(0));
    let mounted = Mounted::new(model, &at, Duration::ZERO).map_err(broken)?;
    run.work(0, &at, &mounted)?;
    let model = mounted.unmount().map_err(broken)?;
    let mut model = model.lock().map_err(|_| "the file system panicked")?;
    for draw in 0..LIES {
        // Nearly all that is left of the other half ends at the first file that is read.
        if draw == LIES / 2 {
            for file in [
                "data/node.json",
                "data/manager/global/00000000000000000001.hbuf",
            ] {
                model.keep(Path::new(file));
            }
        }
        let after = scratch.disk(draw);
        let survived = model.surviving(Draws::new(draw));
        survived.write_to(&after).map_err(|e| e.to_string())?;
        let how = match Server::start(&after.join("data"), &run.settings) {
            Ok(server) => server.stop().map(|()| "runs".to_owned())?,
            Err(why) if why.contains(HANGS) || !why.contains("hbuf: ") => return Err(why),
            Err(_) => "says why not".to_owned(),
        };
        *said.entry(how).or_default() += 1;
        fs::remove_dir_all(&after).map_err(|e| e.to_string())?;
    }
    Ok(())
}

/// The process of the first start ends at each of its operations in turn; the next life builds on
/// what it left in the page cache.
#[test]
fn a_first_start_that_ended_anywhere_is_completed_by_the_next() {
    let mut left_out = 0;
    for (class, most) in [(Class::Sync, 12), (Class::SyncDir, 16), (Class::Name, 24)] {
        for number in 1..=most {
            let scratch = Scratch::new(number);
            match ended_start(class, number, &scratch) {
                Ok(times) => left_out += times,
                Err(why) => panic!(
                    "seed {number}, {class:?}: {why}\nfiles: {}",
                    scratch.keep().display()
                ),
            }
        }
    }
    println!("power loss, first start: left_out: {left_out}");
}

fn ended_start(class: Class, number: u64, scratch: &Scratch) -> Result<u64, String> {
    let settings = CommitPath::Auto.settings();
    let at = scratch.mount(0);
    let mounted = Mounted::new(Model::default(), &at, Duration::ZERO).map_err(broken)?;
    let cut = Cut {
        class,
        number,
        later: 0,
    };
    mounted.model().cut_after_now(cut);
    drop(Server::start(&at.join("data"), &settings));
    mounted.model().resume();
    let server = Server::start(&at.join("data"), &settings)?;
    let reply = server.http().post("/buffers/b", b"kept");
    let reply = reply.map_err(|error| error.to_string())?;
    if reply.status != 201 {
        return Err(reply.text());
    }
    mounted.model().cut_now();
    drop(server);
    let model = mounted.unmount().map_err(broken)?;
    let mut model = model.lock().map_err(|_| "the file system panicked")?;
    model.lose_unsynced();
    let after = scratch.disk(1);
    let survived = model.surviving(Draws::new(number));
    survived.write_to(&after).map_err(|e| e.to_string())?;
    let server = Server::start(&after.join("data"), &settings)?;
    let records = check::read_all(&mut server.http(), "b")?.unwrap_or_default();
    match records.as_slice() {
        [record] if record.body == b"kept" => Ok(model.counts().left_out),
        _ => Err(format!("{} messages are left of 1", records.len())),
    }
}

/// What `cargo xtask mutate-sync` does not take for a noticed sync.
fn broken(error: std::io::Error) -> String {
    format!("cannot mount, or unmount: {error}")
}

fn sweep(name: &str, path: CommitPath) {
    let mut total = Totals::default();
    for seed in settings::seeds(4) {
        let scratch = Scratch::new(seed);
        let mut run = Run::new(seed, path);
        for round in 0..ROUNDS {
            if let Err(why) = run.round(round, &scratch) {
                let kept = scratch.keep();
                panic!(
                    "seed {seed}, round {round}: {why}\nreplay: TEST_SEED={seed} \
                     TEST_SEEDS=1 cargo nextest run -p hbuf {name}\nfiles: {}",
                    kept.display()
                );
            }
        }
        total.add(&run.totals);
    }
    println!("power loss, {name}: {total:?}");
}

/// What the seeds amounted to, so that a run that tried nothing is seen.
#[derive(Debug, Default)]
struct Totals {
    cuts_in_work: u64,
    cuts_in_start: u64,
    cuts_after_time: u64,
    told: usize,
    /// Lines that were told of streams, and messages that the mirror held.
    streamed: usize,
    mirrored: usize,
    /// Messages whose acks were answered.
    acked: usize,
    writes: u64,
    syncs: u64,
    dir_syncs: u64,
    names: u64,
    second_lives: u64,
    /// Syncs that a changed server left out.
    left_out: u64,
}

impl Totals {
    fn add(&mut self, other: &Self) {
        self.cuts_in_work += other.cuts_in_work;
        self.cuts_in_start += other.cuts_in_start;
        self.cuts_after_time += other.cuts_after_time;
        self.told += other.told;
        self.streamed += other.streamed;
        self.mirrored += other.mirrored;
        self.acked += other.acked;
        self.writes += other.writes;
        self.syncs += other.syncs;
        self.dir_syncs += other.dir_syncs;
        self.names += other.names;
        self.second_lives += other.second_lives;
        self.left_out += other.left_out;
    }
}

struct Run {
    draws: Draws,
    settings: Vec<String>,
    ledger: Ledger,
    totals: Totals,
    /// Syncs of this class are left out by the disk, once there is something to lose.
    forgets: Option<Class>,
    /// The same from the first byte on.
    forgets_from_start: Option<Class>,
}

impl Run {
    fn new(seed: u64, path: CommitPath) -> Self {
        Self {
            draws: Draws::new(seed),
            settings: path.settings(),
            ledger: Ledger::default(),
            totals: Totals::default(),
            forgets: None,
            forgets_from_start: None,
        }
    }

    fn round(&mut self, round: u64, scratch: &Scratch) -> Result<(), String> {
        let before = scratch.disk(round);
        let mut model = if round == 0 {
            Model::default()
        } else {
            Model::load(&before).map_err(|error| error.to_string())?
        };
        model.cut_after_now(self.cut(round));
        let sync_time = [0, 300, 2_000][self.draws.below(3, "sync time", 0, round) as usize];
        let at = scratch.mount(round);
        let mounted = Mounted::new(model, &at, Duration::from_micros(sync_time)).map_err(broken)?;
        self.work(round, &at, &mounted)?;
        let model = mounted.unmount().map_err(broken)?;
        let after = scratch.disk(round + 1);
        let mut model = model.lock().map_err(|_| "the file system panicked")?;
        self.count(&model);
        match self.draws.below(8, "lose", 0, round) {
            0..=3 if settings::leaves_out() => model.lose_left_out(),
            4 => model.lose_unsynced(),
            _ if self.forgets.is_some() => model.lose_unsynced(),
            _ => {}
        }
        model
            .surviving(self.round_draws(round))
            .write_to(&after)
            .map_err(|e| e.to_string())?;
        self.check(round, &after)
    }

    fn round_draws(&self, round: u64) -> Draws {
        Draws::new(self.draws.at("survival", 0, round))
    }

    /// The moment of the cut. Rare operations are counted by themselves, else none of them would
    /// ever be hit.
    fn cut(&self, round: u64) -> Cut {
        let below = |bound, purpose| self.draws.below(bound, purpose, 0, round);
        if settings::leaves_out() && below(4, "left out") > 0 {
            return Cut {
                class: Class::LeftOut,
                number: 1 + below(128 >> below(8, "halvings"), "number"),
                later: below(400 >> below(9, "halvings later"), "later"),
            };
        }
        let most = self.busy(round).then_some((Class::Any, 4_000));
        self.any_cut(most, "", round)
    }

    /// A moment of any class, or of the given one.
    fn any_cut(&self, given: Option<(Class, u64)>, of: &str, round: u64) -> Cut {
        let below = |bound, what: &str| self.draws.below(bound, &format!("{what}{of}"), 0, round);
        let drawn = match below(8, "class") {
            0..=2 => (Class::Any, 1_600),
            3 => (Class::Write, 500),
            4 => (Class::Sync, 400),
            5 => (Class::SyncDir, 200),
            6 => (Class::Name, 500),
            _ => (Class::Resize, 100),
        };
        let (class, most) = given.unwrap_or(drawn);
        // Early moments are as interesting as late ones: halve the range by a draw.
        Cut {
            class,
            number: 1 + below(most >> below(5, "halvings"), "number"),
            later: 0,
        }
    }

    fn busy(&self, round: u64) -> bool {
        let percent = if settings::leaves_out() { 30 } else { 15 };
        self.draws.chance(percent, "busy", 0, round)
    }

    /// Runs the clients until the power goes. In some rounds the process ends once before that,
    /// and another one starts on what it left in the page cache.
    fn work(&mut self, round: u64, at: &Path, mounted: &Mounted) -> Result<(), String> {
        match self.draws.below(10, "first life", 0, round) {
            0 => {
                let end = 1 + self.draws.below(600, "end of first life", 0, round);
                if !self.live(round * 2, at, mounted, Some(end))? {
                    return Ok(());
                }
                self.totals.second_lives += 1;
            }
            // SIGKILL exactly there: as with the power, no operation after it has any effect.
            1..=3 => {
                mounted.model().resume();
                let kill = self.any_cut(None, " of kill", round);
                mounted.model().cut_after_now(kill);
                self.live(round * 2, at, mounted, None)?;
                mounted.model().resume();
                mounted.model().cut_after_now(self.cut(round));
                self.totals.second_lives += 1;
            }
            _ => {}
        }
        self.live(round * 2 + 1, at, mounted, None)?;
        Ok(())
    }

    /// One life of the server on a mounted disk: until the cut, or an orderly end after so many
    /// operations. True when the cut is still to come.
    fn live(
        &mut self,
        life: u64,
        at: &Path,
        mounted: &Mounted,
        operations: Option<u64>,
    ) -> Result<bool, String> {
        let round = life / 2;
        if let Some(class) = self.forgets_from_start {
            mounted.model().forget(class);
        }
        let mut server = match Server::start(&at.join("data"), &self.settings) {
            Ok(server) => server,
            Err(said) if mounted.model().is_cut() && !said.contains(HANGS) => {
                self.totals.cuts_in_start += 1;
                return Ok(false);
            }
            Err(output) => return Err(format!("the server did not start:\n{output}")),
        };
        self.see_all(&server, mounted)?;
        // From here on: a start on nothing would only show that there is nothing.
        if let Some(class) = self.forgets {
            mounted.model().forget(class);
        }
        let stop = Arc::new(AtomicBool::new(false));
        let plan = Plan {
            address: server.address(),
            draws: self.draws,
            client: 0,
            round: life,
            stop: Arc::clone(&stop),
            flight: Arc::new(Flight::default()),
            busy: self.busy(round),
        };
        let clients = workload::start(&plan);
        self.wait(round, mounted, operations);
        let cut = mounted.model().is_cut();
        if !cut && operations.is_none() {
            self.totals.cuts_after_time += 1;
            mounted.model().cut_now();
        }
        self.totals.cuts_in_work += u64::from(cut);
        // Whoever starts a node again has made room for it.
        mounted.model().leave_space(None);
        std::thread::sleep(AFTERMATH);
        stop.store(true, Ordering::Relaxed);
        let ended = if operations.is_some() {
            server.stop()
        } else {
            server.kill();
            Ok(())
        };
        workload::finish(clients, &mut self.ledger);
        let cut = mounted.model().is_cut();
        ended.or_else(|why| if cut { Ok(()) } else { Err(why) })?;
        Ok(!cut)
    }

    /// Reads what a start found before anything is added to it: whoever saw it may rely on it.
    fn see_all(&mut self, server: &Server, mounted: &Mounted) -> Result<(), String> {
        let mut seen = self.ledger.clone();
        let go_on = || !mounted.model().is_cut();
        let wrong = check::check_server_while(server, &mut seen, &go_on);
        if mounted.model().is_cut() {
            return Ok(());
        }
        if !wrong.is_empty() {
            return Err(format!("at a start:\n  {}", wrong.join("\n  ")));
        }
        self.ledger = seen;
        Ok(())
    }

    /// Waits for the cut, for the end of the first life or of the time.
    fn wait(&self, round: u64, mounted: &Mounted, operations: Option<u64>) {
        let end = operations.map(|number| mounted.model().operations() + number);
        let begun = Instant::now();
        let mut limits = self.space(round).into_iter().flatten().peekable();
        while !mounted.model().is_cut() && begun.elapsed() < WORK_MAX {
            if end.is_some_and(|end| mounted.model().operations() >= end) {
                break;
            }
            std::thread::sleep(Duration::from_millis(2));
            while let Some((_, left)) = limits.next_if(|(at, _)| begun.elapsed() >= *at) {
                mounted.model().leave_space(left);
            }
        }
    }

    /// In some rounds the disk is full for a while: when, and how many bytes are left from then on.
    fn space(&self, round: u64) -> Option<[(Duration, Option<u64>); 2]> {
        let from = Duration::from_millis(self.draws.below(300, "full from", 0, round));
        let to = from + Duration::from_millis(200 + self.draws.below(600, "full to", 0, round));
        let bytes = self.draws.below(64, "full bytes", 0, round) << 12;
        let full = self.draws.chance(25, "full", 0, round);
        full.then_some([(from, Some(bytes)), (to, None)])
    }

    fn count(&mut self, model: &Model) {
        let counts = model.counts();
        self.totals.writes += counts.writes;
        self.totals.syncs += counts.syncs;
        self.totals.dir_syncs += counts.dir_syncs;
        self.totals.names += counts.names;
        self.totals.left_out += counts.left_out;
        self.totals.told += self.ledger.told_count();
        let streams = self.ledger.streams.values();
        self.totals.streamed += streams.map(|stream| stream.told.len()).sum::<usize>();
        self.totals.mirrored += self.ledger.mirrored.len();
        let consumers = self.ledger.consumers.values();
        self.totals.acked += consumers
            .map(|consumer| consumer.acked.len())
            .sum::<usize>();
    }

    /// Starts on a copy of what survived and compares.
    fn check(&mut self, round: u64, disk: &Path) -> Result<(), String> {
        let data = disk.join("data");
        let server = Server::start(&data, &self.settings)
            .map_err(|output| format!("the server does not start after the loss:\n{output}"))?;
        let mut wrong = check::check_server(&server, &mut self.ledger);
        wrong.extend(check::check_keys(&server, &self.ledger));
        wrong.extend(check::check_appends(&server, &mut self.ledger, round));
        wrong.extend(derived::check_mirror(
            &mut server.http(),
            &mut self.ledger,
            true,
        ));
        wrong.extend(check::check_directories(&data, &self.ledger));
        let output = server.output();
        if let Err(why) = server.stop() {
            wrong.push(format!("SIGTERM after the loss: {why}"));
        }
        wrong.extend(check::check_verify(&data));
        if wrong.is_empty() {
            return Ok(());
        }
        wrong.truncate(12);
        Err(format!("\n  {}\nserver:\n{output}", wrong.join("\n  ")))
    }
}

/// The directories of one seed; removed unless something failed.
struct Scratch {
    root: tempfile::TempDir,
}

impl Scratch {
    /// In memory where that can be had: what survived needs no real disk to be read, and the syncs
    /// of a clean stop take most of a round there.
    fn new(seed: u64) -> Self {
        let mut builder = tempfile::Builder::new();
        let prefix = format!("hbuf-power-loss-{seed}-");
        let builder = builder.prefix(&prefix);
        let root = builder
            .tempdir_in("/dev/shm")
            .or_else(|_| builder.tempdir_in(env!("CARGO_TARGET_TMPDIR")))
            .expect("a directory for the test");
        Self { root }
    }

    /// The disk as it is before a round.
    fn disk(&self, round: u64) -> PathBuf {
        self.root.path().join(format!("disk-{round}"))
    }

    fn mount(&self, round: u64) -> PathBuf {
        let at = self.root.path().join(format!("mount-{round}"));
        fs::create_dir(&at).expect("a directory to mount on");
        at
    }

    /// Keeps the files for whoever looks into the failure, unless failures are what is wanted.
    fn keep(self) -> PathBuf {
        if std::env::var_os("TEST_DISCARD").is_some() {
            return PathBuf::from("discarded");
        }
        self.root.keep()
    }
}
