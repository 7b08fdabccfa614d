//! `hbuf append`: files and standard input into messages, in batches, each under a producer number,
//! so that a batch which is sent again after a broken connection is taken once.
//!
//! A reading thread cuts the input; the one task here sends. Between them is a bounded channel, so
//! a slow server slows the reading and nothing piles up.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::{self, BufRead, BufReader, IsTerminal as _, Read};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context as _, Result, anyhow, bail, ensure};
use clap::{Args, ValueEnum};
use hbuf_client::{
    Ack, AppendOptions, AppendReply, CallError, Client, IfMatch, Message, Producer, encode_batch,
};
use hbuf_core::limits;
use indicatif::{ProgressBar, ProgressStyle};
use serde_json::json;
use tokio::sync::mpsc;

use super::block_on;
use crate::args::LogArgs;
use crate::output::Out;

pub(crate) const EXAMPLES: &str = "Without --lines each file, or all of standard input, is one message.

Examples:
  hbuf append orders --message '{\"id\": 1}' --content-type application/json
  hbuf append syslog --lines /var/log/syslog
  tail -f access.log | hbuf append access --lines --tag web7
  hbuf append scans --key scan-17 scan.pdf
  hbuf append orders --lines --content-type application/cloudevents+json events.ndjson

If it fails halfway, it names a producer: the same command with --producer ID goes on without doubles.";

/// What to append, and where.
#[derive(Debug, Args)]
pub(crate) struct AppendArgs {
    #[command(flatten)]
    log: LogArgs,
    /// Files to append, in this order; none or `-` is standard input
    files: Vec<PathBuf>,
    /// Append this text instead of files
    #[arg(
        long,
        short,
        conflicts_with_all = ["files", "lines"],
        allow_hyphen_values = true,
        value_name = "TEXT"
    )]
    message: Option<String>,
    /// Every line is a message; its line feed is not part of it
    #[arg(long, short)]
    lines: bool,
    /// Key of every message
    #[arg(long)]
    key: Option<String>,
    /// Tag of every message; may be repeated
    #[arg(long = "tag", value_name = "TAG")]
    tags: Vec<String>,
    /// Header of every message; may be repeated
    #[arg(long = "header", value_name = "NAME: VALUE")]
    headers: Vec<String>,
    /// Content type of every message
    #[arg(long, value_name = "TYPE")]
    content_type: Option<String>,
    /// When the server answers
    #[arg(long, value_enum, default_value_t = AckName::Insync)]
    ack: AckName,
    /// Append only if the log ends at this seq (one batch only)
    #[arg(long, value_name = "SEQ")]
    if_last: Option<u64>,
    /// Messages per batch
    #[arg(long, default_value_t = 1_000, value_name = "COUNT",
          value_parser = clap::value_parser!(u64).range(1..=1_000))]
    batch: u64,
    /// Continue under this producer id: what it already appended is not appended again
    #[arg(long, value_name = "ID")]
    producer: Option<String>,
    /// No progress bar
    #[arg(long)]
    quiet: bool,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// When the server answers, as typed.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub(crate) enum AckName {
    /// On disk on every in-sync copy
    Insync,
    /// On the primary's disk
    Local,
    /// As soon as it has a seq
    None,
}

/// What one run appended.
#[derive(Debug, Default)]
struct Tally {
    messages: u64,
    batches: u64,
    replayed: u64,
    first: Option<u64>,
    last: Option<u64>,
    /// The buffers that a topic of several spread the messages over.
    buffers: BTreeSet<String>,
}

pub(crate) fn command(args: &AppendArgs) -> Result<ExitCode> {
    let client = args.log.server.client()?;
    let template = template(args)?;
    let bar = progress(args);
    let (pieces, input) = mpsc::channel(PIECES_MAX);
    let source = Source {
        files: args.files.clone(),
        lines: args.lines,
        message: args.message.clone(),
    };
    let reader_bar = bar.clone();
    // The thread ends with its input, or at the first send after this side has gone.
    let reader = std::thread::spawn(move || source.read(&pieces, &reader_bar));
    let mut sender = Sender::new(args, &client, template);
    let sent = block_on(sender.send_all(input));
    bar.finish_and_clear();
    sent?;
    let read = reader
        .join()
        .map_err(|_| anyhow!("the reading thread ended early"))?;
    sender.explain(read)?;
    report(args, &sender.tally)?;
    Ok(ExitCode::SUCCESS)
}

/// Pieces of input that may wait to be sent.
const PIECES_MAX: usize = 4_096;
/// A batch ends before it grows beyond this, unless one message alone does.
const BATCH_BYTES: usize = 8 << 20;

/// A message with everything but its body.
fn template(args: &AppendArgs) -> Result<Message> {
    let mut message = Message::default();
    if let Some(content_type) = &args.content_type {
        message = message.content_type(content_type)?;
    }
    if let Some(key) = &args.key {
        message = message.key(key);
    }
    for tag in &args.tags {
        message = message.tag(tag)?;
    }
    for header in &args.headers {
        let Some((name, value)) = header.split_once(':') else {
            bail!("`--header {header}` has no `:`; write --header 'NAME: VALUE'");
        };
        message = message.header(name, value)?;
    }
    Ok(message)
}

/// A bar for files of known size, when somebody looks.
fn progress(args: &AppendArgs) -> ProgressBar {
    let sizes = args
        .files
        .iter()
        .map(|path| path.metadata().ok().filter(|facts| facts.is_file()));
    let total: Option<u64> = sizes.map(|facts| facts.map(|facts| facts.len())).sum();
    match total {
        Some(total) if total > 0 && !args.quiet && io::stderr().is_terminal() => {
            let style = "{bar:30} {bytes}/{total_bytes} {bytes_per_sec} {eta}";
            let style = ProgressStyle::with_template(style).expect("the template is a constant");
            ProgressBar::new(total).with_style(style)
        }
        _ => ProgressBar::hidden(),
    }
}

/// Where the bodies come from.
#[derive(Debug)]
struct Source {
    files: Vec<PathBuf>,
    lines: bool,
    message: Option<String>,
}

impl Source {
    /// Cuts the input into bodies until it ends or nobody takes them.
    fn read(&self, pieces: &mpsc::Sender<Vec<u8>>, bar: &ProgressBar) -> Result<()> {
        if let Some(text) = &self.message {
            let _ = pieces.blocking_send(text.clone().into_bytes());
            return Ok(());
        }
        let stdin = [PathBuf::from("-")];
        let files = if self.files.is_empty() {
            &stdin[..]
        } else {
            &self.files
        };
        for path in files {
            if path == Path::new("-") {
                self.read_one(io::stdin().lock(), pieces, bar)
                    .context("cannot read standard input")?;
            } else {
                let file =
                    File::open(path).with_context(|| format!("cannot open {}", path.display()))?;
                self.read_one(BufReader::with_capacity(1 << 16, file), pieces, bar)
                    .with_context(|| format!("cannot read {}", path.display()))?;
            }
        }
        Ok(())
    }

    fn read_one(
        &self,
        mut input: impl BufRead,
        pieces: &mpsc::Sender<Vec<u8>>,
        bar: &ProgressBar,
    ) -> Result<()> {
        loop {
            let mut body = Vec::new();
            // One byte more than allowed, so that a body which is too long is noticed, not cut.
            let mut bounded = input.by_ref().take(limits::BODY_BYTES_MAX + 2);
            let read = if self.lines {
                bounded.read_until(b'\n', &mut body)?
            } else {
                bounded.read_to_end(&mut body)?
            };
            if self.lines && read == 0 {
                return Ok(());
            }
            if self.lines && body.last() == Some(&b'\n') {
                body.pop();
            }
            let long = body.len() as u64 > limits::BODY_BYTES_MAX;
            ensure!(
                !long,
                "a message is longer than {} MiB",
                limits::BODY_BYTES_MAX >> 20
            );
            bar.inc(read as u64);
            if pieces.blocking_send(body).is_err() || !self.lines {
                return Ok(());
            }
        }
    }
}

/// Sends batches one after the other; the next number is used only when the last one was answered.
struct Sender<'a> {
    args: &'a AppendArgs,
    client: &'a Client,
    template: Message,
    producer: Producer,
    tally: Tally,
    waiting: Option<Vec<u8>>,
}

impl<'a> Sender<'a> {
    fn new(args: &'a AppendArgs, client: &'a Client, template: Message) -> Self {
        let producer = match &args.producer {
            Some(id) => Producer::named(id.clone(), 0),
            None => Producer::unique(),
        };
        Self {
            args,
            client,
            template,
            producer,
            tally: Tally::default(),
            waiting: None,
        }
    }

    async fn send_all(&mut self, mut input: mpsc::Receiver<Vec<u8>>) -> Result<()> {
        loop {
            let batch = self.gather(&mut input).await;
            if batch.is_empty() {
                return Ok(());
            }
            let sent = self.send(&batch).await;
            self.explain(sent)?;
        }
    }

    /// The next batch. Full ones only, if files are read or a producer is named: then the same
    /// input is cut into the same batches again. From a pipe, whatever is there, so that `tail -f |
    /// hbuf append` does not wait.
    async fn gather(&mut self, input: &mut mpsc::Receiver<Vec<u8>>) -> Vec<Message> {
        let stdin =
            self.args.files.is_empty() || self.args.files.iter().any(|path| path == Path::new("-"));
        let eager = stdin && self.args.producer.is_none();
        let mut batch = Vec::new();
        let mut bytes = 0;
        while (batch.len() as u64) < self.args.batch {
            let body = match self.waiting.take() {
                Some(body) => Some(body),
                None if eager && !batch.is_empty() => input.try_recv().ok(),
                None => input.recv().await,
            };
            let Some(body) = body else { break };
            let message = self.template.clone().with_body(body);
            let length = message.encoded_len();
            if !batch.is_empty() && bytes + length > BATCH_BYTES {
                self.waiting = Some(message.into_body().into());
                break;
            }
            bytes += length;
            batch.push(message);
        }
        batch
    }

    async fn send(&mut self, batch: &[Message]) -> Result<()> {
        let first_only = self.tally.batches == 0;
        ensure!(
            first_only || self.args.if_last.is_none(),
            "--if-last guards one batch, and this input needs more; raise --batch or drop --if-last"
        );
        let options = AppendOptions {
            ack: match self.args.ack {
                AckName::Insync => Ack::Insync,
                AckName::Local => Ack::Local,
                AckName::None => Ack::None,
            },
            // A topic may have several buffers, and producer numbers count in one.
            producer: (!self.args.log.topic).then(|| self.producer.clone()),
            idempotency_key: self
                .args
                .log
                .topic
                .then(|| format!("{}-{}", self.producer.id(), self.producer.next())),
            if_match: self.args.if_last.map(|last_seq| IfMatch { last_seq }),
        };
        let (collection, name) = (self.args.log.collection(), &self.args.log.name);
        let reply = self
            .client
            .append_encoded(collection, name, encode_batch(batch), batch.len(), &options)
            .await?;
        self.count(batch.len() as u64, &reply)
    }

    fn count(&mut self, messages: u64, reply: &AppendReply) -> Result<()> {
        let held = match reply.placed.len() as u64 {
            0 => reply.last_seq - reply.seq + 1,
            placed => placed,
        };
        ensure!(
            held == messages,
            "batch {} holds {messages} messages now and held {held} when producer `{}` sent it first, \
             so the input is another; use another --producer",
            self.producer.next(),
            self.producer.id()
        );
        self.producer.advance();
        self.tally.batches += 1;
        self.tally.messages += messages;
        self.tally.replayed += if reply.replayed { messages } else { 0 };
        if reply.placed.is_empty() {
            self.tally.first.get_or_insert(reply.seq);
            self.tally.last = Some(reply.last_seq);
        }
        for placed in &reply.placed {
            self.tally.buffers.insert(placed.buffer.clone());
        }
        Ok(())
    }

    /// Adds to a failure what is safe already and how to go on.
    fn explain(&self, result: Result<()>) -> Result<()> {
        let Err(error) = result else { return Ok(()) };
        let unknown = error.downcast_ref::<CallError>().is_some_and(|error| {
            matches!(error, CallError::Broken { .. } | CallError::Timeout { .. })
        });
        if self.tally.batches == 0 && !unknown {
            return Err(error);
        }
        let safe = match self.tally.last {
            Some(last) => format!(
                "{} messages are in, the last with seq {last}",
                self.tally.messages
            ),
            None => "nothing was acknowledged".to_owned(),
        };
        let id = self.producer.id();
        Err(error.context(format!(
            "{safe}; the same command with `--producer {id}` on the same input goes on without doubles"
        )))
    }
}

fn report(args: &AppendArgs, tally: &Tally) -> Result<()> {
    let mut out = Out::new();
    if args.json {
        out.json(&json!({
            "name": args.log.name,
            "messages": tally.messages,
            "batches": tally.batches,
            "replayed": tally.replayed,
            "first_seq": tally.first,
            "last_seq": tally.last,
            "buffers": tally.buffers,
        }))?;
        return out.flush();
    }
    if tally.messages == 0 {
        out.line("nothing to append: the input is empty")?;
        return out.flush();
    }
    let plural = if tally.messages == 1 {
        "message"
    } else {
        "messages"
    };
    let replayed = match tally.replayed {
        0 => String::new(),
        count => format!(" ({count} were in already)"),
    };
    let place = match (tally.first, tally.last) {
        (Some(first), Some(last)) => format!("first seq {first}, last seq {last}"),
        _ => format!("in {} of its buffers", tally.buffers.len()),
    };
    out.line(&format!(
        "appended {} {plural} to {}: {place}{replayed}",
        tally.messages, args.log.name
    ))?;
    out.flush()
}
