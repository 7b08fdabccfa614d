//! hbuf itself, as a user starts it.

use std::fs::File;
use std::io::{BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, ensure};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::About;
use super::child::{Process, Scratch};
use super::http::{append_request, batch_request, exchange};
use crate::Settings;
use crate::build::first_line;
use crate::drive::on_this_thread;
use crate::frames::LINE_BYTES;
use crate::wire::{Connection, hex};

/// Name of the buffer that is measured.
pub(crate) const BUFFER: &str = "bench";
/// Messages of a batch that fills a buffer.
const FILL_BATCH: usize = 1_000;
/// Connections that make buffers at the same time.
const FILL_CONNECTIONS: usize = 64;

/// A running hbuf. Its data stays as long as its `Scratch`.
pub(crate) struct Hbuf {
    pub(crate) process: Process,
    pub(crate) about: About,
    /// The reply to an append, as on the wire.
    pub(crate) reply: Vec<u8>,
    data: Option<Scratch>,
}

impl Hbuf {
    /// Starts it on an empty directory, and appends one message.
    pub(crate) fn start(settings: &Settings) -> anyhow::Result<Self> {
        let data = Scratch::new(&settings.dir, "hbuf")?;
        let mut hbuf = Self::start_on(settings, data.path())?;
        hbuf.data = Some(data);
        Ok(hbuf)
    }

    /// Starts it on a directory that outlives it.
    pub(crate) fn start_on(settings: &Settings, place: &Path) -> anyhow::Result<Self> {
        let process = Self::spawn(settings, place)?;
        let request = append_request(process.address, BUFFER, "", &[b'x'; 256]);
        let reply = on_this_thread(raw_reply(process.address, &request))?;
        let text = String::from_utf8_lossy(&reply).to_ascii_lowercase();
        ensure!(
            text.starts_with("http/1.1 201"),
            "the first append was refused: {text}"
        );
        let ack = text.lines().find(|line| line.starts_with("x-hbuf-ack:"));
        let ack = ack.context("the reply to an append does not say which level it reached")?;
        ensure!(
            ack == "x-hbuf-ack: insync",
            "appends are acknowledged with {ack}"
        );
        let version = first_line(&settings.hbuf.to_string_lossy(), &["--version"]);
        let version = version.trim_start_matches("hbuf ").to_owned();
        let about = About {
            name: "hbuf",
            version,
            settings: vec![ack.to_owned()],
        };
        Ok(Self {
            process,
            about,
            reply,
            data: None,
        })
    }

    /// Only starts the process. `place` gets its data, and beside it what it says.
    pub(crate) fn spawn(settings: &Settings, place: &Path) -> anyhow::Result<Process> {
        let said = place.join("log");
        let log = File::options().create(true).append(true).open(&said)?;
        let mut command = Command::new(&settings.hbuf);
        command.arg("serve").arg("--data").arg(place.join("data"));
        command.args(["--listen", "127.0.0.1:0"]).stderr(log);
        Process::announced(&mut command).with_context(|| {
            let said = std::fs::read_to_string(&said).unwrap_or_default();
            format!("hbuf serve said: {}", said.trim())
        })
    }

    /// Appends until the measured buffer holds `count` messages.
    pub(crate) fn fill(&self, count: u64, body: &[u8]) -> anyhow::Result<()> {
        let address = self.process.address;
        on_this_thread(async {
            let mut connection = Connection::connect(address, 16 << 10).await?;
            // One message is there since the start.
            let mut left = usize::try_from(count)? - 1;
            while left > 0 {
                let batch = left.min(FILL_BATCH);
                let request = batch_request(address, BUFFER, batch, body);
                let reply = exchange(&mut connection, &request).await?;
                ensure!(
                    reply.status == 201,
                    "a batch was answered with status {}",
                    reply.status
                );
                left -= batch;
            }
            Ok(())
        })
    }

    /// Makes `count` buffers with a message each.
    pub(crate) fn make_buffers(&self, count: usize, body: &[u8]) -> anyhow::Result<()> {
        let address = self.process.address;
        let body = body.to_vec();
        on_this_thread(async {
            let mut tasks = tokio::task::JoinSet::new();
            for first in 0..FILL_CONNECTIONS {
                let body = body.clone();
                tasks.spawn(async move {
                    let mut connection = Connection::connect(address, 16 << 10).await?;
                    for n in (first..count).step_by(FILL_CONNECTIONS) {
                        let request = append_request(address, &buffer_name(n), "", &body);
                        let status = exchange(&mut connection, &request).await?.status;
                        ensure!(
                            status == 201,
                            "buffer {n} was answered with status {status}"
                        );
                    }
                    anyhow::Ok(())
                });
            }
            while let Some(done) = tasks.join_next().await {
                done??;
            }
            Ok(())
        })
    }

    /// The segment files of the measured buffer: a line each, with the bytes that hold records.
    pub(crate) fn segments(&self) -> anyhow::Result<String> {
        let data = self.data.as_ref().context("no data of its own")?;
        let mut found = Vec::new();
        walk(&data.path().join("data/buffers"), &mut found)?;
        found.sort();
        ensure!(
            !found.is_empty(),
            "no segment file below {}",
            data.path().display()
        );
        let mut list = String::new();
        for path in found {
            let bytes = bytes_of_records(&path)?;
            list.push_str(&format!("{bytes} {}\n", path.display()));
        }
        Ok(list)
    }
}

/// Name of buffer `n` of many.
pub(crate) fn buffer_name(n: usize) -> String {
    format!("many-{n:06}")
}

async fn raw_reply(address: std::net::SocketAddr, request: &[u8]) -> anyhow::Result<Vec<u8>> {
    let mut stream = TcpStream::connect(address).await?;
    // With `connection: close` the reply ends with the connection, so it is read as it is.
    let text = memchr::memmem::find(request, b"\r\n").context("no request line")?;
    stream.write_all(&request[..text]).await?;
    stream.write_all(b"\r\nconnection: close").await?;
    stream.write_all(&request[text..]).await?;
    let mut reply = Vec::new();
    stream.read_to_end(&mut reply).await?;
    Ok(reply)
}

fn walk(directory: &Path, found: &mut Vec<PathBuf>) -> anyhow::Result<()> {
    for entry in directory
        .read_dir()
        .with_context(|| format!("{}", directory.display()))?
    {
        let path = entry?.path();
        if path.is_dir() && path.file_name().is_some_and(|name| name != "cursors") {
            walk(&path, found)?;
        } else if path
            .extension()
            .is_some_and(|extension| extension == "hbuf")
        {
            found.push(path);
        }
    }
    Ok(())
}

/// Segments are written ahead of their records: counts up to the end of the last record.
fn bytes_of_records(path: &Path) -> anyhow::Result<u64> {
    let mut file = BufReader::with_capacity(1 << 20, File::open(path)?);
    let mut line = [0; LINE_BYTES];
    let mut bytes = 0;
    while file.read_exact(&mut line).is_ok() && line.starts_with(b"POST /") {
        let lengths = hex(&line[88..96]).zip(hex(&line[99..107]));
        let (head, body) = lengths.with_context(|| format!("{} at {bytes}", path.display()))?;
        let record = head + body + 2;
        bytes += record;
        file.seek_relative(i64::try_from(record - LINE_BYTES as u64)?)?;
    }
    Ok(bytes)
}
