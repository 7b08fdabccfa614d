//! NATS JetStream with file storage, through a raw client of its text protocol.
//!
//! Version 2.9 has no setting that syncs before it acknowledges (its store syncs every two
//! minutes), so its figures are those of the page cache: beside the others for information only.

use std::io::{self, Read};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::process::Command;

use anyhow::{Context, bail, ensure};
use memchr::{memchr, memmem};

use super::About;
use super::child::{Process, Scratch};
use super::input::Input;
use crate::Settings;
use crate::build::find;
use crate::drive::{Work, fill, on_this_thread};
use crate::frames::{STAMP, STAMP_DIGITS};
use crate::paced::{Receive, Send1};
use crate::wire::{decimal, hex};

/// The subject of the few messages that a filter looks for.
pub(crate) const RARE: &str = "bench.rare";
/// Messages of one pull.
const PULL: u64 = 5_000;

/// A running NATS with its data.
pub(crate) struct Nats {
    pub(crate) process: Process,
    pub(crate) about: About,
    _data: Scratch,
}

impl Nats {
    /// Starts it, makes the stream, and reads its settings back.
    pub(crate) fn start(settings: &Settings) -> anyhow::Result<Self> {
        let program = find("nats-server").context("no nats-server")?;
        let data = Scratch::new(&settings.dir, "nats")?;
        let log = data.path().join("log");
        let dir = data.path();
        let process = Process::answering(|at| command_line(&program, at, dir), &log, greets)?;
        let about = on_this_thread(make_stream(process.address))?;
        Ok(Self {
            process,
            about,
            _data: data,
        })
    }

    /// Fills the stream with `count` messages.
    pub(crate) fn fill(&self, count: u64, body: &[u8]) -> anyhow::Result<()> {
        fill(Publishes::connect(self.process.address, 1_000, body), count)
    }

    /// The same, but every thousandth has the rare subject.
    pub(crate) fn fill_with_rare(&self, count: u64, body: &[u8]) -> anyhow::Result<()> {
        fill(Publishes::with_rare(self.process.address, body), count)
    }
}

fn command_line(program: &Path, address: SocketAddr, dir: &Path) -> Command {
    let mut nats = Command::new(program);
    nats.args(["-js", "-a", "127.0.0.1", "-p"]);
    nats.arg(address.port().to_string());
    nats.arg("-sd").arg(dir);
    nats
}

/// It speaks first.
fn greets(stream: &mut TcpStream) -> io::Result<bool> {
    let mut greeting = [0; 5];
    stream.read_exact(&mut greeting)?;
    Ok(&greeting == b"INFO ")
}

async fn make_stream(address: SocketAddr) -> anyhow::Result<About> {
    let mut client = Client::connect(address).await?;
    let version = json_text(&client.greeting, "version").unwrap_or_default();
    let stream =
        r#"{"name":"bench","subjects":["bench","bench.rare"],"storage":"file","num_replicas":1}"#;
    client
        .request("$JS.API.STREAM.CREATE.bench", stream)
        .await?;
    let info = client.request("$JS.API.STREAM.INFO.bench", "").await?;
    let storage = json_text(&info, "storage").unwrap_or_default();
    ensure!(storage == "file", "the stream is stored in {storage}");
    let settings = vec![
        format!("storage {storage}"),
        "no sync before the reply".to_owned(),
    ];
    Ok(About {
        name: "nats (no sync)",
        version,
        settings,
    })
}

/// The value of the first field of this name, good enough for the server's own compact JSON.
fn json_text(text: &str, name: &str) -> Option<String> {
    let value: serde_json::Value = serde_json::from_str(text).ok()?;
    let direct = value.get(name).or_else(|| value.get("config")?.get(name));
    Some(direct?.as_str()?.to_owned())
}

/// One connection, subscribed to an inbox of its own.
pub(crate) struct Client {
    input: Input,
    greeting: String,
    inbox: String,
}

/// What came on the inbox.
enum Arrived {
    /// A message; where its payload lies in the input.
    Message(usize, usize),
    /// A status without a payload, such as the end of a pull.
    Status,
}

impl Client {
    pub(crate) async fn connect(address: SocketAddr) -> anyhow::Result<Self> {
        let input = Input::connect(address, "NATS").await?;
        let inbox = format!("_INBOX.{}", input.stream.local_addr()?.port());
        let greeting = String::new();
        let mut client = Self {
            input,
            greeting,
            inbox,
        };
        let line = client.line().await?;
        let line = String::from_utf8_lossy(&client.input.bytes[line.0..line.1]).into_owned();
        let greeting = line.strip_prefix("INFO ").context("NATS does not greet")?;
        client.greeting = greeting.trim().to_owned();
        let hello = format!(
            "CONNECT {{\"verbose\":false,\"headers\":true,\"no_responders\":true}}\r\n\
             SUB {} 1\r\nPING\r\n",
            client.inbox
        );
        client.input.send(hello.as_bytes()).await?;
        let line = client.line().await?;
        ensure!(
            client.input.bytes[line.0..line.1].starts_with(b"PONG"),
            "NATS refused to connect"
        );
        Ok(client)
    }

    /// Asks the server's API.
    async fn request(&mut self, subject: &str, payload: &str) -> anyhow::Result<String> {
        let (inbox, length) = (&self.inbox, payload.len());
        let text = format!("PUB {subject} {inbox} {length}\r\n{payload}\r\n");
        self.input.send(text.as_bytes()).await?;
        let Arrived::Message(at, end) = self.arrived().await? else {
            bail!("NATS has nobody who answers {subject}");
        };
        let text = String::from_utf8_lossy(&self.input.bytes[at..end]).into_owned();
        ensure!(
            !text.contains("\"error\""),
            "NATS refused {subject}: {text}"
        );
        Ok(text)
    }

    /// The next message or status.
    async fn arrived(&mut self) -> anyhow::Result<Arrived> {
        loop {
            let (at, end) = self.line().await?;
            let line = &self.input.bytes[at..end];
            let is_status = match line {
                _ if line.starts_with(b"MSG ") => false,
                _ if line.starts_with(b"HMSG ") => true,
                _ if line.starts_with(b"PING") => {
                    self.input.send(b"PONG\r\n").await?;
                    continue;
                }
                _ if line.starts_with(b"-ERR") => {
                    bail!("NATS refused: {}", String::from_utf8_lossy(line))
                }
                _ => continue,
            };
            let digits = line.trim_ascii_end().rsplit(|&b| b == b' ').next();
            let length = digits
                .and_then(decimal)
                .context("a NATS message without a length")?;
            let length = usize::try_from(length)?;
            let input = &mut self.input;
            while input.rest().len() < length + 2 {
                input.fill().await?;
            }
            let at = input.start;
            input.start += length + 2;
            return Ok(if is_status {
                Arrived::Status
            } else {
                Arrived::Message(at, at + length)
            });
        }
    }

    async fn line(&mut self) -> anyhow::Result<(usize, usize)> {
        let input = &mut self.input;
        loop {
            if let Some(n) = memchr(b'\n', input.rest()) {
                let at = input.start;
                input.start += n + 1;
                return Ok((at, at + n));
            }
            input.fill().await?;
        }
    }

    fn publish(&self, subject: &str, body: &[u8]) -> Vec<u8> {
        let mut text = format!("PUB {subject} {} {}\r\n", self.inbox, body.len()).into_bytes();
        text.extend_from_slice(body);
        text.extend_from_slice(b"\r\n");
        text
    }

    async fn acks(&mut self, count: usize) -> anyhow::Result<()> {
        for _ in 0..count {
            let Arrived::Message(at, end) = self.arrived().await? else {
                bail!("NATS did not acknowledge");
            };
            let ack = &self.input.bytes[at..end];
            if memmem::find(ack, b"\"error\"").is_some() {
                bail!("NATS refused: {}", String::from_utf8_lossy(ack));
            }
        }
        Ok(())
    }
}

/// Publishes, one or many in flight, and awaits every acknowledgement.
pub(crate) struct Publishes {
    client: Client,
    request: Vec<u8>,
    count: usize,
    bytes: u64,
}

impl Publishes {
    pub(crate) async fn connect(
        address: SocketAddr,
        count: usize,
        body: &[u8],
    ) -> anyhow::Result<Self> {
        let client = Client::connect(address).await?;
        let request = client.publish("bench", body).repeat(count);
        Ok(Self {
            client,
            request,
            count,
            bytes: (count * body.len()) as u64,
        })
    }

    /// A thousand in flight, the last of them with the rare subject.
    async fn with_rare(address: SocketAddr, body: &[u8]) -> anyhow::Result<Self> {
        const COUNT: usize = 1_000;
        let mut this = Self::connect(address, COUNT - 1, body).await?;
        let rare = this.client.publish(RARE, body);
        this.request.extend_from_slice(&rare);
        this.count = COUNT;
        this.bytes += body.len() as u64;
        Ok(this)
    }
}

impl Work for Publishes {
    async fn once(&mut self) -> anyhow::Result<(u64, u64)> {
        self.client.input.send(&self.request).await?;
        self.client.acks(self.count).await?;
        Ok((self.count as u64, self.bytes))
    }
}

/// Pulls from the start to the end, again and again, each time with a new consumer.
pub(crate) struct Pulls {
    client: Client,
    next: String,
    left: u64,
    pulled: u64,
    expected: u64,
    /// The subject that is wanted; none is every message.
    filter: Option<&'static str>,
}

impl Pulls {
    /// Every pass must deliver `expected` messages.
    pub(crate) async fn connect(
        address: SocketAddr,
        expected: u64,
        filter: Option<&'static str>,
    ) -> anyhow::Result<Self> {
        let client = Client::connect(address).await?;
        Ok(Self {
            client,
            next: String::new(),
            left: 0,
            pulled: 0,
            expected,
            filter,
        })
    }

    async fn consumer(&mut self) -> anyhow::Result<()> {
        let filter = self
            .filter
            .map(|subject| format!(r#""filter_subject":"{subject}","#));
        let filter = filter.unwrap_or_default();
        let config = format!(
            r#"{{"stream_name":"bench","config":{{{filter}"deliver_policy":"all","ack_policy":"none","max_waiting":8,"inactive_threshold":60000000000}}}}"#
        );
        let made = self
            .client
            .request("$JS.API.CONSUMER.CREATE.bench", &config)
            .await?;
        // What it was made with is read back.
        let config: serde_json::Value = serde_json::from_str(&made)?;
        ensure!(
            config["config"]["filter_subject"].as_str() == self.filter,
            "NATS made another consumer: {made}"
        );
        let name = json_text(&made, "name").context("a consumer without a name")?;
        self.next = format!("$JS.API.CONSUMER.MSG.NEXT.bench.{name}");
        self.left = self.expected;
        Ok(())
    }
}

impl Work for Pulls {
    async fn once(&mut self) -> anyhow::Result<(u64, u64)> {
        if self.left == 0 && self.pulled == 0 {
            self.consumer().await?;
        }
        if self.pulled == 0 {
            let batch = PULL.min(self.left);
            let payload = format!("{{\"batch\":{batch}}}");
            let (next, inbox, length) = (&self.next, &self.client.inbox, payload.len());
            let text = format!("PUB {next} {inbox} {length}\r\n{payload}\r\n");
            self.client.input.send(text.as_bytes()).await?;
            self.pulled = batch;
            self.left -= batch;
        }
        let batch = self.pulled.min(1_000);
        let mut bytes = 0;
        for _ in 0..batch {
            match self.client.arrived().await? {
                Arrived::Message(at, end) => bytes += (end - at) as u64,
                Arrived::Status => bail!("a pull of NATS ended early"),
            }
        }
        self.pulled -= batch;
        Ok((batch, bytes))
    }
}

impl Send1 for Client {
    async fn send(&mut self, body: &[u8]) -> anyhow::Result<()> {
        let request = self.publish("bench", body);
        self.input.send(&request).await?;
        self.acks(1).await
    }
}

/// A tailing reader: a push consumer of new messages.
pub(crate) struct Tail(Client);

impl Tail {
    pub(crate) async fn connect(address: SocketAddr) -> anyhow::Result<Self> {
        let mut client = Client::connect(address).await?;
        let deliver = format!("deliver.{}", client.inbox);
        let config = format!(
            "{{\"stream_name\":\"bench\",\"config\":{{\"deliver_policy\":\"new\",\
             \"ack_policy\":\"none\",\"deliver_subject\":\"{deliver}\"}}}}"
        );
        let subscribe = format!("SUB {deliver} 2\r\n");
        client.input.send(subscribe.as_bytes()).await?;
        client
            .request("$JS.API.CONSUMER.CREATE.bench", &config)
            .await?;
        Ok(Self(client))
    }
}

impl Receive for Tail {
    async fn receive(&mut self, stamps: &mut Vec<u64>) -> anyhow::Result<()> {
        if let Arrived::Message(at, end) = self.0.arrived().await? {
            let body = &self.0.input.bytes[at..end];
            let digits = body.get(STAMP.len()..STAMP.len() + STAMP_DIGITS);
            stamps.extend(digits.and_then(hex));
        }
        Ok(())
    }
}
