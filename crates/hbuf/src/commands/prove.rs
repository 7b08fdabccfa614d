//! `hbuf prove`: that one message is in the tree of a log, as a file that anybody can check later.

use std::fs;
use std::io::Read as _;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context as _, Result, bail, ensure};
use clap::Args;
use hbuf_core::ids::{Hash, Seq, Uuid};
use hbuf_core::record::Record;
use hbuf_core::tree::{Checkpoint, Frontier, ProofFile, Prover, leaf_hash};
use serde_json::json;

use crate::offline::{BufferPlace, Found, find, walk};
use crate::output::Out;

pub(crate) const EXAMPLES: &str =
    "The proof is a C2SP tlog-proof; its `extra` line holds the leaf, \
so the file can be checked by itself.

Examples:
  hbuf prove hbuf-data/names/-/demo 17 > 17.tlog-proof
  hbuf prove --check 17.tlog-proof
  hbuf prove --check 17.tlog-proof hbuf-data/names/-/demo";

/// What to prove, or which proof to check.
#[derive(Debug, Args)]
pub(crate) struct ProveArgs {
    /// A buffer's directory (hbuf-data/names/-/NAME) or a segment file
    #[arg(required_unless_present = "check")]
    path: Option<PathBuf>,
    /// The message
    #[arg(required_unless_present = "check", conflicts_with = "check")]
    seq: Option<u64>,
    /// Size of the tree, if not that of the whole log
    #[arg(long, value_name = "COUNT", conflicts_with = "check")]
    size: Option<u64>,
    /// Check this proof (`-` is standard input), by itself or against the data in PATH
    #[arg(long, value_name = "FILE")]
    check: Option<PathBuf>,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

pub(crate) fn command(args: &ProveArgs) -> Result<ExitCode> {
    match (&args.check, &args.path, args.seq) {
        (Some(file), path, _) => check(args, file, path.as_deref()),
        (None, Some(path), Some(seq)) => {
            let (log, proof) = prove(&one_buffer(path)?, Seq(seq), args.size)?;
            print(args, log, &proof)?;
            Ok(ExitCode::SUCCESS)
        }
        (None, _, _) => bail!("name a buffer's directory and a seq, or a proof with --check"),
    }
}

fn one_buffer(path: &Path) -> Result<BufferPlace> {
    let mut places = find(path)?;
    ensure!(
        places.len() == 1,
        "{} holds {} buffers; name the directory of one, such as {}/names/-/NAME",
        path.display(),
        places.len(),
        path.display()
    );
    places.pop().context("one buffer was counted")
}

/// Walks once for the size and the leaf, and once for the hashes: memory stays small whatever the
/// log's length.
fn prove(place: &BufferPlace, seq: Seq, size: Option<u64>) -> Result<(Uuid, ProofFile)> {
    let size = match size {
        Some(size) => size,
        None => place.last_seq()?.0,
    };
    ensure!(
        seq >= Seq::FIRST && seq.0 <= size,
        "seq {seq} is not in the tree of {size} messages; seqs go from 1 to {size}"
    );
    let mut prover: Option<Prover> = None;
    let mut log = None;
    let mut leaf = None;
    let mut roots = None;
    follow(place, size, &mut |step| {
        match step {
            Step::Begin(base, uuid) if prover.is_none() => {
                ensure!(
                    base.size() < seq.0,
                    "seq {seq} was dropped by retention; the log begins with seq {}",
                    base.size() + 1
                );
                let mut fresh = Prover::new(base.clone());
                fresh.want_inclusion(seq.0 - 1, size);
                log = Some(uuid);
                prover = Some(fresh);
            }
            Step::Begin(..) => {}
            Step::Leaf(record, id) => {
                if let (Some(prover), Some(log)) = (&mut prover, log) {
                    prover.push(id);
                    if record.line.seq == seq {
                        leaf = record.leaf_parts(log);
                    }
                    if prover.frontier().size() == size {
                        roots = Some(prover.frontier().root());
                    }
                }
            }
        }
        Ok(())
    })?;
    let (prover, log) = prover.zip(log).context("the log holds no segment")?;
    let root = roots.with_context(|| format!("the log holds fewer than {size} messages"))?;
    let leaf = leaf.with_context(|| format!("seq {seq} is not in the log"))?;
    let hashes = prover
        .inclusion(seq.0 - 1, size)
        .context("leaves for the proof are missing")?;
    let checkpoint = Checkpoint {
        origin: log.to_string(),
        size,
        root,
    };
    let extra = leaf.encode().to_vec();
    let proof = ProofFile {
        index: seq.0 - 1,
        extra,
        hashes,
        checkpoint,
        signatures: String::new(),
    };
    ensure!(
        proof.verify(&leaf.id()),
        "the content of seq {seq} does not give its id: run `hbuf verify {}`",
        place.dir.display()
    );
    Ok((log, proof))
}

/// What a proof is made from.
enum Step<'a> {
    /// A segment begins, with the tree before it.
    Begin(&'a Frontier, Uuid),
    /// A leaf.
    Leaf(&'a Record<'a>, Hash),
}

/// Walks the leaves up to `size`. Damage ends it: a proof over guessed ids would prove nothing.
fn follow(
    place: &BufferPlace,
    size: u64,
    take: &mut dyn FnMut(Step<'_>) -> Result<()>,
) -> Result<()> {
    walk(place, Seq::ZERO, place.durable(), &mut |found| {
        match found {
            Found::Head { head, .. } => take(Step::Begin(&head.frontier, head.log))?,
            Found::Record { record, .. } => {
                if record.line.seq.0 > size {
                    return Ok(ControlFlow::Break(()));
                }
                let id = record.id().context("the log has no ids, so no proofs")?;
                take(Step::Leaf(record, id))?;
            }
            Found::Damage(damage) if damage.kind.is_tail() => {}
            Found::Damage(damage) => bail!("{damage}; nothing can be proven across damage"),
        }
        Ok(ControlFlow::Continue(()))
    })
}

fn print(args: &ProveArgs, log: Uuid, proof: &ProofFile) -> Result<()> {
    let mut out = Out::new();
    if args.json {
        let hashes: Vec<String> = proof.hashes.iter().map(Hash::to_string).collect();
        out.json(&json!({
            "log": log.to_string(),
            "seq": proof.index + 1,
            "id": leaf_hash(&proof.extra).to_string(),
            "size": proof.checkpoint.size,
            "root": proof.checkpoint.root.to_string(),
            "hashes": hashes,
        }))?;
    } else {
        let mut text = Vec::new();
        proof.encode(&mut text);
        out.bytes(&text)?;
    }
    out.flush()
}

/// Checks a proof by itself, and against the log if there is one.
fn check(args: &ProveArgs, file: &Path, path: Option<&Path>) -> Result<ExitCode> {
    let text = if file == Path::new("-") {
        let mut text = String::new();
        std::io::stdin().read_to_string(&mut text).map(|_| text)
    } else {
        fs::read_to_string(file)
    };
    let text = text.with_context(|| format!("cannot read the proof in {}", file.display()))?;
    let proof =
        ProofFile::parse(&text).with_context(|| format!("{} is no tlog-proof", file.display()))?;
    let leaf = leaf_hash(&proof.extra);
    let wrong = wrong_with(&proof, path)?;
    let mut out = Out::new();
    let (seq, size) = (proof.index + 1, proof.checkpoint.size);
    if args.json {
        out.json(&json!({
            "valid": wrong.is_none(), "seq": seq, "size": size, "id": leaf.to_string(),
            "root": proof.checkpoint.root.to_string(), "reason": wrong,
        }))?;
    } else if let Some(reason) = &wrong {
        out.line(&format!("NOT valid: {reason}"))?;
    } else {
        out.line(&format!(
            "valid: seq {seq} is in {} at {size} messages, id {leaf}",
            proof.checkpoint.origin
        ))?;
    }
    out.flush()?;
    Ok(if wrong.is_none() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

/// Why a proof is not valid, or nothing.
fn wrong_with(proof: &ProofFile, path: Option<&Path>) -> Result<Option<String>> {
    let leaf = leaf_hash(&proof.extra);
    if !proof.verify(&leaf) {
        return Ok(Some(
            "the hashes do not lead from the leaf to the root".to_owned(),
        ));
    }
    let Some(path) = path else { return Ok(None) };
    let size = proof.checkpoint.size;
    let (_, own) = prove(&one_buffer(path)?, Seq(proof.index + 1), Some(size))?;
    Ok(if own.checkpoint.root != proof.checkpoint.root {
        Some(format!("the log's root at {size} messages is another"))
    } else if leaf_hash(&own.extra) != leaf {
        Some("the log holds another message at this place".to_owned())
    } else {
        None
    })
}

#[cfg(test)]
mod tests;
