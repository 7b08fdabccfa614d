//! One server process with a directory of its own; both go when it is dropped.

use std::fs;
use std::io::{self, BufRead, BufReader};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use anyhow::{Context, bail, ensure};
use rustix::process::{Pid, Signal, kill_process};

/// How long a server may take to start or to stop.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);
/// Addresses that a server is given in turn when it ends before it answers.
const ADDRESSES_TRIED: u32 = 3;
/// Ticks of `/proc/<pid>/stat` in a second, fixed on Linux.
const TICKS_PER_S: u64 = 100;

/// A directory that is removed with everything in it.
pub(crate) struct Scratch(PathBuf);

impl Scratch {
    /// Makes a new one below `parent`.
    pub(crate) fn new(parent: &Path, name: &str) -> anyhow::Result<Self> {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let path = parent.join(format!("{name}-{}-{number}", std::process::id()));
        fs::create_dir_all(&path).with_context(|| format!("{}", path.display()))?;
        Ok(Self(path))
    }

    pub(crate) fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// Removes what an interrupted measurement left: directories whose process is gone.
pub(crate) fn remove_leftovers(parent: &Path) -> anyhow::Result<()> {
    for entry in parent.read_dir()? {
        let path = entry?.path();
        let name = path
            .file_name()
            .map(|name| name.to_string_lossy().into_owned());
        let pid = name.as_deref().and_then(|name| name.rsplit('-').nth(1));
        let pid = pid.and_then(|pid| pid.parse::<u32>().ok());
        if pid.is_some_and(|pid| !Path::new(&format!("/proc/{pid}")).exists()) {
            fs::remove_dir_all(&path).with_context(|| path.display().to_string())?;
        }
    }
    Ok(())
}

/// See the module.
pub(crate) struct Process {
    child: Child,
    pub(crate) address: SocketAddr,
    /// Time of `exec`.
    pub(crate) started: Instant,
    /// From then until it listened.
    pub(crate) listened_after_ms: f64,
}

impl Process {
    /// Starts a server that prints `listening on http://ADDRESS` as its first line.
    pub(crate) fn announced(command: &mut Command) -> anyhow::Result<Self> {
        let name = command.get_program().to_string_lossy().into_owned();
        let started = Instant::now();
        let spawned = command.stdout(Stdio::piped()).stdin(Stdio::null()).spawn();
        let mut child = spawned.with_context(|| format!("{name} could not be started"))?;
        let stdout = child.stdout.take().context("no standard output")?;
        let (send, first_line) = mpsc::channel();
        // Reads on after the first line, so that the server never waits for a full pipe.
        std::thread::spawn(move || {
            for line in BufReader::new(stdout).lines().map_while(Result::ok) {
                let _ = send.send(line);
            }
        });
        let address = ([127, 0, 0, 1], 0).into();
        let mut this = Self {
            child,
            address,
            started,
            listened_after_ms: 0.0,
        };
        let Ok(line) = first_line.recv_timeout(PATIENCE) else {
            let status = this.child.try_wait();
            bail!("{name} printed no line to say where it listens ({status:?})");
        };
        let address = line
            .split_once("listening on http://")
            .map(|(_, rest)| rest.trim());
        let address = address.and_then(|text| text.split([' ', '/']).next()?.parse().ok());
        this.listened_after_ms = started.elapsed().as_secs_f64() * 1e3;
        this.address = address.with_context(|| format!("{name} printed: {line}"))?;
        Ok(this)
    }

    /// Starts a server that `command` tells to listen on an address, and waits until it answers
    /// there.
    ///
    /// That a connection is accepted says little: the kernel accepts for a server that is still
    /// starting, or that is about to give up. `greets` asks it something that only it answers.
    /// What the server printed is kept in `log` and told if it ends.
    pub(crate) fn answering(
        command: impl Fn(SocketAddr) -> Command,
        log: &Path,
        greets: impl Fn(&mut TcpStream) -> io::Result<bool>,
    ) -> anyhow::Result<Self> {
        for _ in 1..ADDRESSES_TRIED {
            if let Some(found) = Self::answering_at(free_address()?, &command, log, &greets)? {
                return Ok(found);
            }
        }
        Self::answering_at(free_address()?, &command, log, &greets)?.with_context(|| {
            let said = fs::read_to_string(log).unwrap_or_default();
            format!("the server ended {ADDRESSES_TRIED} times before it answered; it said:\n{said}")
        })
    }

    /// Nothing if the server ended: somebody may have taken the port since it was seen free.
    fn answering_at(
        address: SocketAddr,
        command: impl Fn(SocketAddr) -> Command,
        log: &Path,
        greets: impl Fn(&mut TcpStream) -> io::Result<bool>,
    ) -> anyhow::Result<Option<Self>> {
        let mut command = command(address);
        let name = command.get_program().to_string_lossy().into_owned();
        let output = fs::File::create(log)?;
        command.stdin(Stdio::null()).stdout(output.try_clone()?);
        let started = Instant::now();
        let spawned = command.stderr(output).spawn();
        let mut this = Self {
            child: spawned.with_context(|| format!("{name} could not be started"))?,
            address,
            started,
            listened_after_ms: 0.0,
        };
        while !answers(address, &greets) {
            if this.child.try_wait()?.is_some() {
                return Ok(None);
            }
            ensure!(
                started.elapsed() < PATIENCE,
                "{name} does not answer on {address}"
            );
            std::thread::sleep(Duration::from_micros(500));
        }
        this.listened_after_ms = started.elapsed().as_secs_f64() * 1e3;
        Ok(Some(this))
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Resident memory, in bytes.
    pub(crate) fn resident_bytes(&self) -> anyhow::Result<u64> {
        let status = fs::read_to_string(format!("/proc/{}/status", self.pid()))?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        let kib = line
            .and_then(|line| line.trim().strip_suffix(" kB"))
            .context("no VmRSS")?;
        Ok(kib.trim().parse::<u64>()? * 1024)
    }

    /// Asks the server to stop, and waits for it.
    pub(crate) fn stop(mut self) -> anyhow::Result<()> {
        let pid = i32::try_from(self.pid())?;
        kill_process(Pid::from_raw(pid).context("no process id")?, Signal::TERM)?;
        let asked = Instant::now();
        while self.child.try_wait()?.is_none() {
            ensure!(asked.elapsed() < PATIENCE, "process {pid} does not stop");
            std::thread::sleep(Duration::from_millis(2));
        }
        Ok(())
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// User and system time of a process so far.
pub(crate) fn cpu_time(pid: u32) -> Option<Duration> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name, in parentheses, may hold spaces; `utime` and `stime` are fields 14 and 15.
    let mut fields = stat.rsplit_once(')')?.1.split_whitespace().skip(11);
    let ticks = fields.next()?.parse::<u64>().ok()? + fields.next()?.parse::<u64>().ok()?;
    Some(Duration::from_millis(ticks * 1000 / TICKS_PER_S))
}

/// Whether the server behind `address` says what it should; a broken connection says no.
fn answers(address: SocketAddr, greets: impl Fn(&mut TcpStream) -> io::Result<bool>) -> bool {
    let asked = TcpStream::connect(address).and_then(|mut stream| {
        stream.set_read_timeout(Some(PATIENCE))?;
        greets(&mut stream)
    });
    asked.unwrap_or(false)
}

/// A port of the loopback that nobody uses now.
fn free_address() -> anyhow::Result<SocketAddr> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_that_ends_is_told_with_what_it_said() {
        let scratch = Scratch::new(&std::env::temp_dir(), "ends").unwrap();
        let log = scratch.path().join("log");
        let ends = |_| {
            let mut command = Command::new("sh");
            command.args(["-c", "echo no memory; exit 3"]);
            command
        };
        let error = Process::answering(ends, &log, |_| Ok(true)).err().unwrap();
        assert!(error.to_string().contains("no memory"), "{error}");
    }

    #[test]
    fn only_what_a_dead_process_left_is_removed() {
        let parent = Scratch::new(&std::env::temp_dir(), "leftovers").unwrap();
        let ours = Scratch::new(parent.path(), "hbuf").unwrap();
        let dead = parent.path().join("hbuf-4294967295-0");
        let other = parent.path().join("notes");
        fs::create_dir(&dead).unwrap();
        fs::create_dir(&other).unwrap();
        remove_leftovers(parent.path()).unwrap();
        assert!(ours.path().exists() && other.exists() && !dead.exists());
    }
}
