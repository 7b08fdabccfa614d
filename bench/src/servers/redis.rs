//! Redis Streams, durable: `appendonly yes`, `appendfsync always`.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::process::Command;

use anyhow::{Context, ensure};

use super::About;
use super::child::{Process, Scratch};
use super::resp::{Client, command};
use crate::Settings;
use crate::build::find;
use crate::drive::{Work, fill, on_this_thread};
use crate::frames::{STAMP, STAMP_DIGITS};
use crate::paced::{Receive, Send1};
use crate::wire::hex;

/// Name of the stream that is measured.
pub(crate) const STREAM: &[u8] = b"bench";

/// A running Redis with its data.
pub(crate) struct Redis {
    pub(crate) process: Process,
    pub(crate) about: About,
    _data: Scratch,
}

impl Redis {
    /// Starts it, and reads its settings back.
    pub(crate) fn start(settings: &Settings) -> anyhow::Result<Self> {
        let program = find("redis-server").context("no redis-server")?;
        let data = Scratch::new(&settings.dir, "redis")?;
        let log = data.path().join("log");
        let dir = data.path();
        let process = Process::answering(|at| command_line(&program, at, dir), &log, answers_ping)?;
        let about = on_this_thread(about(process.address))?;
        Ok(Self {
            process,
            about,
            _data: data,
        })
    }

    /// Fills the stream with `count` messages.
    pub(crate) fn fill(&self, count: u64, body: &[u8]) -> anyhow::Result<()> {
        fill(Adds::connect(self.process.address, 1_000, body), count)
    }
}

fn command_line(program: &Path, address: SocketAddr, dir: &Path) -> Command {
    let mut redis = Command::new(program);
    redis.args(["--bind", "127.0.0.1", "--port"]);
    redis.arg(address.port().to_string());
    redis.arg("--dir").arg(dir);
    redis.args(["--appendonly", "yes", "--appendfsync", "always"]);
    // In Redis' favour: no rewriting of its log in the middle of a run.
    redis.args(["--save", "", "--auto-aof-rewrite-percentage", "0"]);
    redis.args(["--maxclients", "10000"]);
    redis
}

fn answers_ping(stream: &mut TcpStream) -> io::Result<bool> {
    stream.write_all(b"PING\r\n")?;
    let mut answer = [0; 7];
    stream.read_exact(&mut answer)?;
    Ok(&answer == b"+PONG\r\n")
}

async fn about(address: SocketAddr) -> anyhow::Result<About> {
    let mut client = Client::connect(address).await?;
    let info = client.ask(&["INFO", "server"]).await?.concat();
    let version = info
        .lines()
        .find_map(|line| line.strip_prefix("redis_version:"));
    let mut about = About {
        name: "redis",
        version: version.unwrap_or("unknown").trim().to_owned(),
        settings: Vec::new(),
    };
    let wanted = [("appendonly", "yes"), ("appendfsync", "always")];
    for (name, value) in wanted {
        let found = client.ask(&["CONFIG", "GET", name]).await?;
        ensure!(
            found == [name, value],
            "Redis runs with {found:?}, not with {name} {value}"
        );
        about.settings.push(format!("{name} {value}"));
    }
    let found = client
        .ask(&["CONFIG", "GET", "auto-aof-rewrite-percentage"])
        .await?;
    about.settings.push(found.join(" "));
    Ok(about)
}

/// XADD: one, or a pipeline of many.
pub(crate) struct Adds {
    client: Client,
    request: Vec<u8>,
    count: usize,
    bytes: u64,
}

impl Adds {
    pub(crate) async fn connect(
        address: SocketAddr,
        count: usize,
        body: &[u8],
    ) -> anyhow::Result<Self> {
        let client = Client::connect(address).await?;
        let request = command(&[b"XADD", STREAM, b"*", b"b", body]).repeat(count);
        Ok(Self {
            client,
            request,
            count,
            bytes: (count * body.len()) as u64,
        })
    }
}

impl Work for Adds {
    async fn once(&mut self) -> anyhow::Result<(u64, u64)> {
        self.client.send(&self.request).await?;
        self.client.replies(self.count).await?;
        Ok((self.count as u64, self.bytes))
    }
}

/// XREAD COUNT 1000 from the start to the end, again and again.
pub(crate) struct Reads {
    client: Client,
    last: Vec<u8>,
    read: u64,
    expected: u64,
}

impl Reads {
    pub(crate) async fn connect(address: SocketAddr, expected: u64) -> anyhow::Result<Self> {
        let client = Client::connect(address).await?;
        Ok(Self {
            client,
            last: b"0".to_vec(),
            read: 0,
            expected,
        })
    }
}

impl Work for Reads {
    async fn once(&mut self) -> anyhow::Result<(u64, u64)> {
        let request = command(&[
            b"XREAD",
            b"COUNT",
            b"1000",
            b"STREAMS",
            STREAM,
            self.last.as_slice(),
        ]);
        self.client.send(&request).await?;
        let mut bytes = 0;
        let messages = self
            .client
            .entries(&mut self.last, |value| bytes += value.len() as u64)
            .await?;
        self.read += messages;
        if messages == 0 {
            let (read, expected) = (self.read, self.expected);
            ensure!(
                read == expected,
                "XREAD ended after {read} of {expected} messages"
            );
            self.read = 0;
            self.last = b"0".to_vec();
        }
        Ok((messages, bytes))
    }
}

impl Send1 for Client {
    async fn send(&mut self, body: &[u8]) -> anyhow::Result<()> {
        let request = command(&[b"XADD", STREAM, b"*", b"b", body]);
        Self::send(self, &request).await?;
        self.replies(1).await
    }
}

/// XREAD BLOCK: a tailing reader.
pub(crate) struct Tail {
    client: Client,
    last: Vec<u8>,
}

impl Tail {
    pub(crate) async fn connect(address: SocketAddr) -> anyhow::Result<Self> {
        Ok(Self {
            client: Client::connect(address).await?,
            last: b"0".to_vec(),
        })
    }
}

impl Receive for Tail {
    async fn receive(&mut self, stamps: &mut Vec<u64>) -> anyhow::Result<()> {
        let last = self.last.as_slice();
        let request = command(&[
            b"XREAD", b"COUNT", b"1000", b"BLOCK", b"0", b"STREAMS", STREAM, last,
        ]);
        self.client.send(&request).await?;
        self.client
            .entries(&mut self.last, |value| {
                let digits = value.get(STAMP.len()..STAMP.len() + STAMP_DIGITS);
                stamps.extend(digits.and_then(hex));
            })
            .await?;
        Ok(())
    }
}
