//! A server on a disk whose power goes at a chosen place of a story, and the disks that may be left
//! then.

use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use super::draw::Draws;
use super::model::{Class, Cut, Loss, Model};
use super::mount::Mounted;
use crate::support::http::{Http, Reply};
use crate::support::server::Server;
use crate::support::{check, settings};

/// The longest that anything in a story is waited for.
const WAIT_MAX: Duration = Duration::from_secs(20);
/// How `cargo xtask mutate-sync` knows a story that ended before its point: it proves nothing.
const NOT_THERE: &str = "the story did not get there";

/// A running server on the lossy file system. The order of the fields is that of their ends.
pub(crate) struct Stage {
    pub(crate) server: Server,
    pub(crate) mounted: Mounted,
    data: PathBuf,
    scratch: tempfile::TempDir,
}

/// Tells a story as often as seeds are asked for; a story draws nothing.
pub(crate) fn tell(name: &str, story: fn() -> Result<u64, String>) {
    let mut left_out = 0;
    for seed in settings::seeds(1) {
        match story() {
            Ok(times) => left_out += times,
            Err(why) => panic!("seed {seed}, {why}"),
        }
    }
    println!("power loss, {name}: left_out: {left_out}");
}

impl Stage {
    /// Starts a server on an empty disk, with so many open files if that is said.
    pub(crate) fn new(flags: &[String], open_files_max: Option<u64>) -> Result<Self, String> {
        let mut builder = tempfile::Builder::new();
        let builder = builder.prefix("hbuf-power-story-");
        let scratch = builder
            .tempdir_in("/dev/shm")
            .or_else(|_| builder.tempdir_in(env!("CARGO_TARGET_TMPDIR")))
            .map_err(not_there)?;
        let at = scratch.path().join("mount");
        std::fs::create_dir(&at).map_err(not_there)?;
        let mounted = Mounted::new(Model::default(), &at, Duration::ZERO).map_err(not_there)?;
        let data = at.join("data");
        let server = match open_files_max {
            None => Server::start(&data, flags),
            Some(most) => Server::start_with_few_files(&data, flags, most),
        };
        Ok(Self {
            server: server.map_err(not_there)?,
            mounted,
            data,
            scratch,
        })
    }

    /// The data directory as the server sees it.
    pub(crate) fn data(&self) -> &Path {
        &self.data
    }

    pub(crate) fn http(&self) -> Http {
        self.server.http()
    }

    /// SIGKILL, and another life on the same page cache.
    pub(crate) fn restart(
        &mut self,
        flags: &[String],
        between: impl FnOnce(&Path),
    ) -> Result<(), String> {
        self.server.kill();
        between(&self.data);
        self.server = Server::start(&self.data, flags).map_err(not_there)?;
        Ok(())
    }

    /// SIGKILL, and the power goes before the next life is through its start: at this write of it.
    pub(crate) fn restart_into_the_cut(
        &mut self,
        flags: &[String],
        write: u64,
        between: impl FnOnce(&Path),
    ) -> Result<(), String> {
        self.server.kill();
        between(&self.data);
        self.mounted.model().cut_after_now(Cut {
            class: Class::Write,
            number: write,
            later: 0,
        });
        let started = Server::start(&self.data, flags);
        // The story may look at what is there, until the power goes.
        self.mounted.model().resume();
        match started {
            Ok(_) => Err(not_there("the start did not come to a write")),
            Err(_) => Ok(()),
        }
    }

    /// Appends one message, which must be taken.
    pub(crate) fn append(&self, buffer: &str, body: &[u8]) -> Result<(), String> {
        let reply = self.http().post(&format!("/buffers/{buffer}"), body);
        expect(reply, 201).map(drop)
    }

    /// Sets what a buffer is to be like.
    pub(crate) fn configure(&self, path: &str, json: &str) -> Result<(), String> {
        let reply = self.http().put_json(path, json).map_err(not_there)?;
        match reply.is_success() {
            true => Ok(()),
            false => Err(not_there(format!("{path}: {}", reply.text()))),
        }
    }

    /// Stores a filter of tags, one a line.
    pub(crate) fn upload(&self, path: &str, tags: &[u8]) -> Result<(), String> {
        let reply = self.http().send("PUT", path, &[], tags);
        expect(reply, 201).map(drop)
    }

    /// A counter of the server.
    pub(crate) fn counter(&self, name: &str) -> u64 {
        let reply = self.http().send("GET", "/metrics", &[], b"");
        let text = reply.map(|reply| reply.text()).unwrap_or_default();
        let mut lines = text.lines().filter(|line| line.starts_with(name));
        let value = lines.find_map(|line| line.rsplit(' ').next()?.parse().ok());
        value.unwrap_or_default()
    }

    /// The file that the journal writes, which must be the only one.
    pub(crate) fn journal_file(&self) -> Result<PathBuf, String> {
        let entries = std::fs::read_dir(self.data.join("journal")).map_err(not_there)?;
        let mut paths = entries.flatten().map(|entry| entry.path());
        match (paths.next(), paths.next()) {
            (Some(path), None) => Ok(path),
            found => Err(not_there(format!("the journal has {found:?}"))),
        }
    }

    /// Cuts the power and looks at each disk that may be left. Returns how many syncs a changed
    /// server has left out.
    pub(crate) fn lose_power(
        self,
        check: &(dyn Fn(&Path) -> Result<(), String> + Sync),
    ) -> Result<u64, String> {
        let Self {
            mut server,
            mounted,
            scratch,
            ..
        } = self;
        mounted.model().cut_now();
        server.kill();
        let model = mounted.unmount().map_err(not_there)?;
        let model = model.lock().map_err(|_| "the file system panicked")?;
        let model: &Model = &model;
        let look = |loss| {
            let disk = scratch.path().join(format!("{loss:?}"));
            let mut left = model.clone();
            left.lose(loss);
            let survived = left.surviving(Draws::new(0));
            survived.write_to(&disk).map_err(not_there)?;
            check(&disk.join("data")).map_err(|why| format!("without {loss:?}: {why}"))
        };
        thread::scope(|scope| {
            let looks = Loss::ALL.map(|loss| scope.spawn(move || look(loss)));
            looks
                .into_iter()
                .try_for_each(|look| look.join().expect("it returns what is wrong"))
        })?;
        Ok(model.counts().left_out)
    }
}

/// An error of the story itself.
pub(crate) fn not_there(why: impl std::fmt::Display) -> String {
    format!("{NOT_THERE}: {why}")
}

/// The reply, if it has this status.
pub(crate) fn expect(reply: std::io::Result<Reply>, status: u16) -> Result<Reply, String> {
    let reply = reply.map_err(not_there)?;
    if reply.status != status {
        return Err(not_there(format!("{} {}", reply.status, reply.text())));
    }
    Ok(reply)
}

/// Waits until something is so.
pub(crate) fn until(what: &str, mut is_so: impl FnMut() -> bool) -> Result<(), String> {
    let begun = Instant::now();
    while !is_so() {
        if begun.elapsed() > WAIT_MAX {
            return Err(not_there(what));
        }
        thread::sleep(Duration::from_millis(5));
    }
    Ok(())
}

/// Whether a server on `data` has these messages and no others, goes on with the next seq, and
/// leaves what `hbuf verify` is content with.
pub(crate) fn holds(data: &Path, buffer: &str, bodies: &[Vec<u8>]) -> Result<(), String> {
    let server = Server::start(data, &[])?;
    let mut http = server.http();
    let records = check::read_all(&mut http, buffer)?.unwrap_or_default();
    let differs = (0..bodies.len().max(records.len()))
        .find(|&at| records.get(at).map(|record| &record.body) != bodies.get(at));
    if let Some(at) = differs {
        let count = records.len();
        return Err(format!(
            "{buffer}: {count} messages of {}, and seq {} is another",
            bodies.len(),
            at + 1
        ));
    }
    let reply = http.post(&format!("/buffers/{buffer}"), b"after the loss");
    let reply = reply.map_err(|error| error.to_string())?;
    if reply.number("x-hbuf-seq") != Some(bodies.len() as u64 + 1) {
        return Err(format!("{buffer}: the next append got {}", reply.text()));
    }
    server.stop()?;
    match check::check_verify(data).first() {
        None => Ok(()),
        Some(why) => Err(why.clone()),
    }
}
