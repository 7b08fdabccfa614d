//! The binary under test as a process.

use std::io::{BufRead, BufReader, Read};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::sync::mpsc::{self, Receiver};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use super::http::Http;

/// How long a start may take, recovery included.
const START_MAX: Duration = Duration::from_secs(30);
/// What is said of a start that took longer: whatever a disk holds, a start ends.
pub(crate) const HANGS: &str = "it neither listens nor ends";
/// How long a stop may take.
const STOP_MAX: Duration = Duration::from_secs(20);
/// What the server prints before its address.
const LISTENING: &str = "listening on http://";

/// A running server. Dropping it kills it.
#[derive(Debug)]
pub(crate) struct Server {
    child: Child,
    address: SocketAddr,
    output: Arc<Mutex<String>>,
}

impl Server {
    /// Starts `hbuf serve` on a directory; the error is what it printed before it ended.
    pub(crate) fn start(data: &Path, settings: &[String]) -> Result<Self, String> {
        Self::spawn(binary(), data, settings)
    }

    /// The same with a limit on its open files.
    pub(crate) fn start_with_few_files(
        data: &Path,
        settings: &[String],
        open_files_max: u64,
    ) -> Result<Self, String> {
        let limited = format!("ulimit -n {open_files_max} && exec \"$0\" \"$@\"");
        let mut shell = Command::new("sh");
        shell.args(["-c", &limited, env!("CARGO_BIN_EXE_hbuf")]);
        Self::spawn(without_settings(shell), data, settings)
    }

    fn spawn(mut command: Command, data: &Path, settings: &[String]) -> Result<Self, String> {
        let mut child = command
            .args(["serve", "--listen", "127.0.0.1:0", "--data"])
            .arg(data)
            .args(settings)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .map_err(|error| format!("cannot run the binary: {error}"))?;
        let output = Arc::new(Mutex::new(String::new()));
        let lines = follow(child.stdout.take(), &output);
        // Nobody waits for lines of stderr; they are kept for the message of a failure.
        drop(follow(child.stderr.take(), &output));
        match wait_for_address(&lines) {
            Some(address) => Ok(Self {
                child,
                address,
                output,
            }),
            None => {
                // Its end closes the pipe a little before it can be waited for.
                std::thread::sleep(Duration::from_millis(50));
                let hangs = matches!(child.try_wait(), Ok(None));
                child.kill().ok();
                child.wait().ok();
                let said = text(&output);
                Err(if hangs {
                    format!("{HANGS}: {said}")
                } else {
                    said
                })
            }
        }
    }

    pub(crate) fn http(&self) -> Http {
        Http::new(self.address)
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// The process, for a look into `/proc`.
    pub(crate) fn process(&self) -> u32 {
        self.child.id()
    }

    /// What it has printed so far.
    pub(crate) fn output(&self) -> String {
        text(&self.output)
    }

    pub(crate) fn is_running(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(None))
    }

    /// SIGKILL, then waits until it is gone.
    pub(crate) fn kill(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }

    /// SIGTERM; the error says why it did not end well.
    pub(crate) fn stop(mut self) -> Result<(), String> {
        let sent = Command::new("kill")
            .args(["-TERM", &self.child.id().to_string()])
            .status();
        sent.map_err(|error| format!("cannot send SIGTERM: {error}"))?;
        let begun = Instant::now();
        while begun.elapsed() < STOP_MAX {
            match self.child.try_wait() {
                Ok(Some(status)) if status.success() => return Ok(()),
                Ok(Some(status)) => return Err(format!("{status}\n{}", self.output())),
                Ok(None) => std::thread::sleep(Duration::from_millis(5)),
                Err(error) => return Err(error.to_string()),
            }
        }
        Err(format!(
            "still running {STOP_MAX:?} after SIGTERM\n{}",
            self.output()
        ))
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.kill();
    }
}

/// Runs a command of the binary to its end.
pub(crate) fn hbuf(arguments: &[&str]) -> Output {
    binary()
        .args(arguments)
        .stdin(Stdio::null())
        .output()
        .expect("the binary was built with the tests")
}

/// The binary, without settings from the environment of whoever runs the tests.
fn binary() -> Command {
    without_settings(Command::new(env!("CARGO_BIN_EXE_hbuf")))
}

fn without_settings(mut command: Command) -> Command {
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("HBUF_") {
            command.env_remove(name);
        }
    }
    command
}

fn follow(pipe: Option<impl Read + Send + 'static>, all: &Arc<Mutex<String>>) -> Receiver<String> {
    let (sender, receiver) = mpsc::channel();
    let all = Arc::clone(all);
    let pipe = pipe.expect("the pipe was asked for");
    std::thread::spawn(move || {
        for line in BufReader::new(pipe).lines().map_while(Result::ok) {
            all.lock()
                .unwrap_or_else(PoisonError::into_inner)
                .push_str(&format!("{line}\n"));
            // The receiver is gone once the address is known; the reading must go on.
            sender.send(line).ok();
        }
    });
    receiver
}

fn wait_for_address(lines: &Receiver<String>) -> Option<SocketAddr> {
    let begun = Instant::now();
    while let Some(left) = START_MAX.checked_sub(begun.elapsed()) {
        let line = lines.recv_timeout(left).ok()?;
        if let Some((_, address)) = line.split_once(LISTENING) {
            let end = address.find(|c: char| !c.is_ascii_digit() && c != '.' && c != ':');
            return address[..end.unwrap_or(address.len())].parse().ok();
        }
    }
    None
}

fn text(output: &Arc<Mutex<String>>) -> String {
    // The last lines may still be on their way through the pipe.
    std::thread::sleep(Duration::from_millis(50));
    output
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
        .clone()
}
