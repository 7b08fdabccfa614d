//! `hbuf verify --url`: everything that a server sends, against its checkpoint.
//!
//! A reply that breaks off says nothing of why: the seq that was due is then asked for by itself,
//! and the server's problem names the damage. Reading goes on behind it.

use std::path::PathBuf;

use anyhow::{Context as _, Result, bail};
use bytes::Bytes;
use hbuf_client::{CallError, Client, Collection, ReadOptions};
use hbuf_core::ids::{Hash, Seq, Uuid};
use hbuf_core::record::{Line, decode};
use hbuf_core::tree::{Checkpoint, Frontier};
use serde_json::Value;

use crate::offline::{Check, Damage, Kind};

/// Everything that a server sends of a buffer, up to the checkpoint that it gave before.
pub(super) async fn verify(
    client: &Client,
    name: &str,
    kept: Option<&Checkpoint>,
) -> Result<Check> {
    let described = client.describe(Collection::Buffers, name).await?;
    let number = |field: &str| described.get(field).and_then(Value::as_u64).map(Seq);
    let origin = PathBuf::from(client.url());
    let mut check = Check::default();
    let mut size = number("commit").context("the server tells no commit")?;
    let promised = match client.checkpoint(name).await {
        Ok(promised) => Some(promised),
        // What the root is made of is damaged; reading names it.
        Err(error) if damage_in(&error).is_some() => None,
        Err(error) => return Err(error.into()),
    };
    let log = promised.as_ref().map(|promised| promised.log.as_str());
    let log = log.or_else(|| described.get("log").and_then(Value::as_str));
    check.log = log.and_then(Uuid::parse);
    if check.log.is_none() {
        bail!("the server names no log of `{name}`, so ids cannot be checked");
    }
    if let Some(promised) = &promised {
        size = Seq(promised.size);
        check.expect(size.0, promised.root, "the server's checkpoint", &origin);
    }
    if let Some(kept) = kept {
        check.expect(kept.size, kept.root, "the checkpoint", &origin);
    }
    let due = number("first").context("the server tells no first seq")?;
    let mut download = Download {
        client,
        name,
        origin,
        check,
        due,
        size,
        offset: 0,
    };
    let root = promised.as_ref().map(|promised| promised.root);
    download.start_tree(root).await?;
    download.all().await?;
    download.end(number("damaged_at")).await?;
    if let Some(seq) = number("cursors_damaged_at") {
        eprintln!(
            "hbuf: the places of its consumers are damaged at record {seq} of the cursors log: run \
             `hbuf verify` on its files"
        );
    }
    download.check.finish();
    Ok(download.check)
}

/// A log on its way.
struct Download<'a> {
    client: &'a Client,
    name: &'a str,
    origin: PathBuf,
    check: Check,
    /// The next seq.
    due: Seq,
    /// The last seq.
    size: Seq,
    /// Bytes that came so far.
    offset: u64,
}

/// How a run of records ended.
enum Run {
    /// At the end of the log.
    Whole,
    /// Where a record is damaged, and this is what is wrong with it.
    Damaged(String),
    /// Without a word: something else came than was due, or the connection broke.
    Broken(anyhow::Error),
}

impl Download<'_> {
    /// Reads through the log's end, past damage.
    async fn all(&mut self) -> Result<()> {
        // Where the last run broke that brought nothing.
        let mut stuck = None;
        while self.due <= self.size {
            let begun = self.due;
            let reason = match self.run().await? {
                Run::Whole => return Ok(()),
                Run::Damaged(reason) => reason,
                Run::Broken(error) => match self.probe(self.due).await? {
                    Some(reason) => reason,
                    // It is sound by itself: once more from there, but not for ever.
                    None if self.due > begun || stuck != Some(self.due) => {
                        stuck = Some(self.due);
                        continue;
                    }
                    None => return Err(error),
                },
            };
            self.pass(reason).await?;
        }
        Ok(())
    }

    /// Takes records from the one due on, as long as they come and are good.
    async fn run(&mut self) -> Result<Run> {
        let mut stream = match self.open().await {
            Ok(stream) => stream,
            Err(error) => return or_damage(error).map(Run::Damaged),
        };
        loop {
            let bytes = match stream.next_bytes().await {
                Ok(Some(bytes)) => bytes,
                Ok(None) => return Ok(Run::Whole),
                Err(error) => return Ok(Run::Broken(error.into())),
            };
            let line = Line::parse(&bytes)?;
            if line.seq > self.size {
                return Ok(Run::Whole);
            }
            if line.seq != self.due {
                let (found, due) = (line.seq, self.due);
                let what = format!("the server sent seq {found} where {due} was due");
                return Ok(Run::Broken(anyhow::anyhow!(what)));
            }
            match decode(&bytes) {
                Ok(record) => self.check.record(&record, &self.origin, self.offset),
                Err(error) => return Ok(Run::Damaged(error.to_string())),
            }
            self.due = line.seq.next();
            self.offset += bytes.len() as u64;
        }
    }

    /// Notes damage at the record due and finds the next one that can be read: one by one at first,
    /// then in steps that double, for a segment that is gone may have held millions.
    async fn pass(&mut self, reason: String) -> Result<()> {
        let first = self.due;
        let (mut bad, mut step) = (first, 1);
        let good = loop {
            let next = Seq(bad.0.saturating_add(step));
            if next > self.size {
                break self.between(bad, self.size.next()).await?;
            }
            if self.probe(next).await?.is_none() {
                break self.between(bad, next).await?;
            }
            bad = next;
            if bad.0 - first.0 >= SINGLE_STEPS {
                step = step.saturating_mul(2);
            }
        };
        self.damaged(first, good.prev(), reason);
        self.due = good;
        Ok(())
    }

    /// The first seq that can be read, if all below it cannot: `bad` cannot, `good` can or ends the
    /// log.
    async fn between(&self, mut bad: Seq, mut good: Seq) -> Result<Seq> {
        while bad.next() < good {
            let middle = Seq(bad.0 + (good.0 - bad.0) / 2);
            if self.probe(middle).await?.is_none() {
                good = middle;
            } else {
                bad = middle;
            }
        }
        Ok(good)
    }

    /// What is wrong with a record, asked for by itself; `None` when it is sound.
    async fn probe(&self, seq: Seq) -> Result<Option<String>> {
        let bytes = match self.one(seq).await {
            Ok(bytes) => bytes,
            Err(error) => return or_damage(error).map(Some),
        };
        let Some(bytes) = bytes else {
            return Ok(Some("the server has it no more".to_owned()));
        };
        Ok(match decode(&bytes) {
            Ok(record) if record.line.seq == seq => None,
            Ok(record) => Some(format!("the server sent seq {}", record.line.seq)),
            Err(error) => Some(error.to_string()),
        })
    }

    async fn one(&self, seq: Seq) -> Result<Option<Bytes>, CallError> {
        let options = ReadOptions {
            all_kinds: true,
            ..ReadOptions::after(seq.prev().0).limit(1)
        };
        let read = self.client.read(Collection::Buffers, self.name, &options);
        read.await?.next_bytes().await
    }

    async fn open(&self) -> Result<hbuf_client::RecordStream, CallError> {
        let options = ReadOptions {
            all_kinds: true,
            ..ReadOptions::after(self.due.prev().0)
        };
        self.client
            .read(Collection::Buffers, self.name, &options)
            .await
    }

    /// The tree of everything before the first record. The inclusion proof of the last leaf of a
    /// tree is just that: the perfect subtrees that stand for all leaves before it, the smallest
    /// first.
    async fn start_tree(&mut self, root: Option<Hash>) -> Result<()> {
        let first = self.due;
        if first > self.size {
            self.check.emptied(self.size, root);
            return Ok(());
        }
        if first <= Seq::FIRST {
            self.check.start(None, Frontier::new());
            return Ok(());
        }
        let proof = match self
            .client
            .prove_inclusion(self.name, first.0, first.0)
            .await
        {
            Ok(proof) => proof,
            Err(error) => return or_damage(error).map(drop),
        };
        let nodes = proof.hashes.into_iter().rev().collect();
        let tree = Frontier::from_parts(first.prev().0, nodes);
        let tree = tree
            .with_context(|| format!("the server's proof of seq {first} has the wrong length"))?;
        self.check.start(None, tree);
        Ok(())
    }

    /// What the server knows to be damaged and nothing above has met: the end of the log, say.
    async fn end(&mut self, damaged_at: Option<Seq>) -> Result<()> {
        let Some(seq) = damaged_at else {
            return Ok(());
        };
        let known = |damage: &Damage| damage.seq <= seq && seq <= damage.last;
        if self.check.damage.iter().any(known) {
            return Ok(());
        }
        let reason = match self.probe(seq).await? {
            Some(reason) => reason,
            None if !self.check.damage.is_empty() => return Ok(()),
            None => "the server found damage; its /readyz and `hbuf verify` of its files say more"
                .to_owned(),
        };
        self.damaged(seq, seq, reason);
        Ok(())
    }

    fn damaged(&mut self, seq: Seq, last: Seq, reason: String) {
        self.check.damaged(Damage {
            kind: Kind::Damaged,
            file: self.origin.clone(),
            offset: self.offset,
            seq,
            last,
            reason,
        });
    }
}

/// The server's words for damage, or the error that it is.
fn or_damage(error: CallError) -> Result<String> {
    match damage_in(&error) {
        Some(words) => Ok(words),
        None => Err(error.into()),
    }
}

fn damage_in(error: &CallError) -> Option<String> {
    let problem = error.problem()?;
    (problem.code() == "log-damaged").then(|| problem.detail.trim_end_matches('.').to_owned())
}

/// So many records behind damage are asked for one by one.
const SINGLE_STEPS: u64 = 16;
