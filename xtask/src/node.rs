//! The binary as a server of its own, on a scratch directory, and a plain way to speak to it: for
//! the long runs, which measure the release binary, and for checks from outside.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};

use crate::shell;

/// How long a start or a stop may take before a run is given up.
const PATIENCE: Duration = Duration::from_secs(600);

/// Where cargo puts what it builds.
pub(crate) fn target() -> PathBuf {
    let given = std::env::var_os("CARGO_TARGET_DIR").map(PathBuf::from);
    given.unwrap_or_else(|| shell::root().join("target"))
}

/// Builds the binary of the tests, which is there soon, and says where it is.
pub(crate) fn debug_binary() -> Result<PathBuf> {
    let build = ["build", "--quiet", "--package", "hbuf"];
    shell::run(&mut shell::command("cargo", &build))?;
    Ok(target().join("debug/hbuf"))
}

/// Builds the release binary and says where it is.
pub(crate) fn binary() -> Result<PathBuf> {
    let build = ["build", "--release", "--quiet", "--package", "hbuf"];
    shell::run(&mut shell::command("cargo", &build))?;
    Ok(target().join("release/hbuf"))
}

/// A directory below `target` that goes with everything in it.
pub(crate) struct Scratch(PathBuf);

impl Scratch {
    /// An empty one; what an earlier run left is removed.
    pub(crate) fn new(name: &str) -> Result<Self> {
        let path = shell::root().join("target").join(name);
        if path.exists() {
            fs::remove_dir_all(&path).with_context(|| path.display().to_string())?;
        }
        fs::create_dir_all(&path).with_context(|| path.display().to_string())?;
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

/// A running server; dropping it kills it.
pub(crate) struct Node {
    child: Child,
    address: String,
    /// Kept, so that the server can go on printing.
    _stdout: BufReader<ChildStdout>,
    /// From its start until `/readyz` said yes.
    pub(crate) ready_after: Duration,
}

impl Node {
    /// Starts it and waits until it is ready.
    pub(crate) fn start(binary: &Path, data: &Path, settings: &[String]) -> Result<Self> {
        let begun = Instant::now();
        let mut child = Command::new(binary)
            .args([
                "serve",
                "--listen",
                "127.0.0.1:0",
                "--log",
                "warn",
                "--data",
            ])
            .arg(data)
            .args(settings)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .with_context(|| format!("cannot run {}", binary.display()))?;
        let stdout = child.stdout.take().context("stdout was asked for")?;
        let mut stdout = BufReader::new(stdout);
        let mut line = String::new();
        stdout.read_line(&mut line)?;
        let address = line.trim().strip_prefix("listening on http://");
        let address = address
            .with_context(|| format!("the server printed `{}`", line.trim()))?
            .to_owned();
        let mut node = Self {
            child,
            address,
            _stdout: stdout,
            ready_after: Duration::ZERO,
        };
        while node.get("/readyz")?.status != 200 {
            ensure!(begun.elapsed() < PATIENCE, "the server is not ready");
            std::thread::sleep(Duration::from_millis(2));
        }
        node.ready_after = begun.elapsed();
        Ok(node)
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    pub(crate) fn connect(&self) -> Result<Http> {
        Http::connect(&self.address)
    }

    pub(crate) fn get(&self, path: &str) -> Result<Reply> {
        self.connect()?.send("GET", path, "", b"")
    }

    /// Makes a buffer with settings in JSON.
    pub(crate) fn make_buffer(&self, name: &str, settings: &str) -> Result<()> {
        let path = format!("/buffers/{name}");
        let reply = self.connect()?.send(
            "PUT",
            &path,
            "content-type: application/json\r\n",
            settings.as_bytes(),
        )?;
        ensure!(reply.status == 201, "{path}: {}", reply.text());
        Ok(())
    }

    /// SIGKILL.
    pub(crate) fn kill(mut self) -> Result<()> {
        self.child.kill()?;
        self.child.wait()?;
        Ok(())
    }

    /// SIGTERM, then waits for its end.
    pub(crate) fn stop(mut self) -> Result<()> {
        let id = self.child.id().to_string();
        shell::run(&mut shell::command("kill", &["-TERM", &id]))?;
        let begun = Instant::now();
        loop {
            if let Some(status) = self.child.try_wait()? {
                ensure!(status.success(), "the server ended with {status}");
                return Ok(());
            }
            ensure!(begun.elapsed() < PATIENCE, "the server does not stop");
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A reply, read to its end.
pub(crate) struct Reply {
    pub(crate) status: u16,
    pub(crate) body: Vec<u8>,
}

impl Reply {
    pub(crate) fn text(&self) -> String {
        format!("{} {}", self.status, String::from_utf8_lossy(&self.body))
    }
}

/// One connection, one request at a time.
pub(crate) struct Http(BufReader<TcpStream>);

impl Http {
    fn connect(address: &str) -> Result<Self> {
        let stream = TcpStream::connect(address).with_context(|| address.to_owned())?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        Ok(Self(BufReader::with_capacity(256 << 10, stream)))
    }

    /// Sends a request with further header lines, each with its CRLF.
    pub(crate) fn send(
        &mut self,
        method: &str,
        path: &str,
        headers: &str,
        body: &[u8],
    ) -> Result<Reply> {
        let length = body.len();
        let head = format!(
            "{method} {path} HTTP/1.1\r\nhost: localhost\r\n{headers}content-length: {length}\r\n\r\n"
        );
        self.0.get_mut().write_all(head.as_bytes())?;
        self.0.get_mut().write_all(body)?;
        self.reply()
    }

    /// Appends bodies as one batch: all or nothing.
    pub(crate) fn append(&mut self, buffer: &str, batch: &[u8]) -> Result<()> {
        let reply = self.send(
            "POST",
            &format!("/buffers/{buffer}"),
            "content-type: application/http; msgtype=request\r\n",
            batch,
        )?;
        ensure!(reply.status == 201, "an append: {}", reply.text());
        Ok(())
    }

    fn reply(&mut self) -> Result<Reply> {
        let line = self.line()?;
        let status = line.split(' ').nth(1).and_then(|code| code.parse().ok());
        let status = status.with_context(|| format!("no status in `{line}`"))?;
        let (mut length, mut chunked) = (0, false);
        loop {
            let line = self.line()?.to_ascii_lowercase();
            if line.is_empty() {
                break;
            }
            if let Some(text) = line.strip_prefix("content-length: ") {
                length = text.parse().context("content-length")?;
            }
            chunked |= line == "transfer-encoding: chunked";
        }
        let mut body = Vec::new();
        if chunked {
            while self.chunk(&mut body)? {}
        } else {
            self.bytes(length, &mut body)?;
        }
        Ok(Reply { status, body })
    }

    fn chunk(&mut self, body: &mut Vec<u8>) -> Result<bool> {
        let length = usize::from_str_radix(&self.line()?, 16).context("length of a chunk")?;
        self.bytes(length, body)?;
        ensure!(self.line()?.is_empty(), "a chunk has no end");
        Ok(length > 0)
    }

    fn bytes(&mut self, length: usize, body: &mut Vec<u8>) -> Result<()> {
        let at = body.len();
        body.resize(at + length, 0);
        Ok(self.0.read_exact(&mut body[at..])?)
    }

    fn line(&mut self) -> Result<String> {
        let mut line = String::new();
        if self.0.read_line(&mut line)? == 0 {
            bail!("the server closed the connection");
        }
        Ok(line.trim_end().to_owned())
    }
}

/// The bytes of all files below a directory.
pub(crate) fn bytes_below(directory: &Path) -> Result<u64> {
    let mut bytes = 0;
    for entry in fs::read_dir(directory).with_context(|| directory.display().to_string())? {
        let entry = entry?;
        let kind = entry.file_type()?;
        // Files go while this looks; what is gone has no bytes.
        bytes += match (kind.is_dir(), entry.metadata()) {
            (true, _) => bytes_below(&entry.path()).unwrap_or(0),
            (false, Ok(metadata)) => metadata.len(),
            (false, Err(_)) => 0,
        };
    }
    Ok(bytes)
}

/// A batch of messages whose bodies are numbers, 16 hexadecimal digits each.
pub(crate) fn batch_of(numbers: std::ops::Range<u64>) -> Vec<u8> {
    let mut batch = Vec::new();
    for number in numbers {
        let _ = write!(
            batch,
            "POST / HTTP/1.1\r\nhost:\r\ncontent-length: 16\r\n\r\n{number:016x}\r\n"
        );
    }
    batch
}
