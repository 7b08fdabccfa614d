//! `hbuf verify`: is everything still there, and still what was appended?
//!
//! On disk: every checksum, every id, every head, and the tree of ids against each head, the mark
//! and, if given, a checkpoint kept elsewhere; of hbuf's own logs and of stored filters the
//! checksums. Over HTTP: all of the messages that a running server sends, against its checkpoint
//! (`served`).

use std::fs;
use std::io;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context as _, Result, ensure};
use clap::Args;
use hbuf_core::ids::Seq;
use hbuf_core::tree::{Checkpoint, Frontier};
use serde_json::{Value, json};

use super::block_on;
use crate::args::ServerArgs;
use crate::offline::{
    BufferPlace, Check, Damage, Found, Kind, check_filter, find, find_own, own, walk,
};
use crate::output::Out;

pub(crate) const EXAMPLES: &str = "Exit code 0: intact; 1: damage; 2: it could not be checked.

Examples:
  hbuf verify hbuf-data
  hbuf verify hbuf-data/names/-/demo --checkpoint kept-elsewhere.txt
  hbuf verify 00000000000000000001.hbuf --json
  hbuf verify --url http://127.0.0.1:4283 demo";

/// What to verify.
#[derive(Debug, Args)]
pub(crate) struct VerifyArgs {
    /// Data directories, buffers' directories or segment files; with --url names of buffers
    #[arg(required = true, value_name = "PATH|BUFFER")]
    what: Vec<PathBuf>,
    /// Ask this server instead of reading files
    #[arg(long, value_name = "URL")]
    url: Option<String>,
    /// The tenant that the names belong to
    #[arg(long, requires = "url")]
    tenant: Option<String>,
    /// A checkpoint kept from earlier, as text or JSON: the log must continue it
    #[arg(long, value_name = "FILE")]
    checkpoint: Option<PathBuf>,
    /// Print a line of JSON a buffer
    #[arg(long)]
    json: bool,
}

pub(crate) fn command(args: &VerifyArgs) -> Result<ExitCode> {
    let kept = args
        .checkpoint
        .as_deref()
        .map(read_checkpoint)
        .transpose()?;
    ensure!(
        kept.is_none() || args.what.len() == 1,
        "a checkpoint is of one buffer; name that buffer alone"
    );
    let mut out = Out::new();
    let mut damaged = false;
    for what in &args.what {
        let checks = match &args.url {
            Some(url) => vec![served(args, url, what, kept.as_ref())?],
            None => verify_path(what, kept.as_ref())?,
        };
        for (title, check) in &checks {
            damaged |= !check.damage.is_empty();
            report(&mut out, title, check, args.json)?;
        }
    }
    out.flush()?;
    Ok(if damaged {
        ExitCode::FAILURE
    } else {
        ExitCode::SUCCESS
    })
}

/// Reads a checkpoint as the server gives it: as text (C2SP), or as JSON.
fn read_checkpoint(path: &Path) -> Result<Checkpoint> {
    let text = fs::read_to_string(path)
        .with_context(|| format!("cannot read the checkpoint in {}", path.display()))?;
    let wrong = || format!("{} is no checkpoint", path.display());
    if !text.starts_with('{') {
        return Checkpoint::parse(&text).with_context(wrong);
    }
    let read: hbuf_client::Checkpoint = serde_json::from_str(&text).with_context(wrong)?;
    Ok(Checkpoint {
        origin: read.log,
        size: read.size,
        root: read.root,
    })
}

fn verify_path(path: &Path, kept: Option<&Checkpoint>) -> Result<Vec<(String, Check)>> {
    let places = find(path)?;
    ensure!(
        kept.is_none() || places.len() == 1,
        "a checkpoint is of one buffer, and {} holds {}; name the buffer's directory",
        path.display(),
        places.len()
    );
    let mut checks = Vec::with_capacity(places.len());
    for place in &places {
        let mut check = verify_place(place, kept)?;
        verify_filters(place, &mut check)?;
        checks.push((place.title(), check));
    }
    if kept.is_none() {
        for dir in find_own(path, &places)? {
            checks.extend(verify_own(&dir)?);
        }
    }
    Ok(checks)
}

/// One of hbuf's own logs. A running server begins files of it and removes those before: then what
/// there is now is looked at. `None` when its buffer was deleted meanwhile.
fn verify_own(dir: &Path) -> Result<Option<(String, Check)>> {
    let mut looks = 0;
    loop {
        let place = own(dir).and_then(|place| Ok((place.title(), verify_place(&place, None)?)));
        let gone = |error: &anyhow::Error| {
            let cause = error.downcast_ref::<io::Error>();
            cause.is_some_and(|cause| cause.kind() == io::ErrorKind::NotFound)
        };
        match place {
            Err(error) if gone(&error) && !dir.is_dir() => return Ok(None),
            Err(error) if gone(&error) && looks < OWN_LOOKS => looks += 1,
            checked => return checked.map(Some),
        }
    }
}

/// A file of such a log goes once in many thousand acks.
const OWN_LOOKS: u32 = 3;

/// The stored filters of a buffer: the only files beside the log that nothing can make again.
fn verify_filters(place: &BufferPlace, check: &mut Check) -> Result<()> {
    for file in place.filters()? {
        if let Some(error) = check_filter(&file)? {
            check.damaged(Damage {
                kind: Kind::Filter,
                file,
                offset: 0,
                seq: Seq::ZERO,
                last: Seq::ZERO,
                reason: error.to_string(),
            });
        }
    }
    Ok(())
}

/// Everything about one buffer on disk.
fn verify_place(place: &BufferPlace, kept: Option<&Checkpoint>) -> Result<Check> {
    let mut check = Check::default();
    if place.is_one_file() {
        check.part_only();
    }
    if place.is_internal() {
        check.without_tree();
    }
    let starts_log = place
        .segments
        .first()
        .is_some_and(|segment| segment.first == Some(Seq::FIRST));
    match &place.mark {
        Ok(Some(mark)) => {
            let file = place.dir.join("mark");
            check.expect(mark.durable.0, mark.frontier.root(), "the mark", &file);
            check.log = Some(mark.log);
        }
        Ok(None) => {}
        Err(reason) => check.damaged(Damage {
            kind: Kind::Mark,
            file: place.dir.join("mark"),
            offset: 0,
            seq: Seq::ZERO,
            last: Seq::ZERO,
            reason: reason.clone(),
        }),
    }
    if starts_log {
        check.start(None, Frontier::new());
    }
    if let Some(kept) = kept {
        check.expect(kept.size, kept.root, "the checkpoint", &place.dir);
    }
    walk(place, Seq::ZERO, place.durable(), &mut |found| {
        match found {
            Found::Head { head, file } => check.head(head, file),
            Found::Record {
                record,
                file,
                offset,
            } => check.record(record, file, offset),
            Found::Damage(damage) => check.damaged(damage),
        }
        Ok(ControlFlow::Continue(()))
    })?;
    check.finish();
    Ok(check)
}

fn served(
    args: &VerifyArgs,
    url: &str,
    what: &Path,
    kept: Option<&Checkpoint>,
) -> Result<(String, Check)> {
    let name = what.to_str().context("a buffer's name is UTF-8")?;
    let server = ServerArgs {
        url: url.to_owned(),
        tenant: args.tenant.clone(),
    };
    let client = server.client()?;
    let check = block_on(served::verify(&client, name, kept))?;
    Ok((name.to_owned(), check))
}

fn report(out: &mut Out, title: &str, check: &Check, json: bool) -> Result<()> {
    if json {
        return out.json(&to_json(title, check));
    }
    let (first, last) = (
        check.first.unwrap_or_default(),
        check.last.unwrap_or_default(),
    );
    let range = match check.first {
        Some(_) => format!("seq {first} to {last}"),
        None => "no messages".to_owned(),
    };
    let erased = match check.erased {
        0 => String::new(),
        count => format!(", {count} erased"),
    };
    let verdict = if check.damage.is_empty() {
        "intact"
    } else {
        "NOT INTACT"
    };
    out.line(&format!(
        "{title}: {verdict}: {range}, {} intact{erased}",
        check.intact
    ))?;
    for damage in &check.damage {
        out.line(&format!("  {damage}"))?;
    }
    if let Some(tree) = check.tree().filter(|tree| tree.size() > 0) {
        out.line(&format!("  root of {}: {}", tree.size(), tree.root()))?;
    }
    if check.unproven() {
        out.line(
            "  some records stand behind damage or without a head: their place is not proven",
        )?;
    }
    Ok(())
}

fn to_json(title: &str, check: &Check) -> Value {
    let damage: Vec<Value> = check.damage.iter().map(damage_json).collect();
    json!({
        "buffer": title,
        "log": check.log.map(|log| log.to_string()),
        "first_seq": check.first.map(|seq| seq.0),
        "last_seq": check.last.map(|seq| seq.0),
        "intact": check.intact,
        "erased": check.erased,
        "size": check.tree().map(Frontier::size),
        "root": check.tree().map(|tree| tree.root().to_string()),
        "unproven": check.unproven(),
        "damage": damage,
    })
}

fn damage_json(damage: &Damage) -> Value {
    json!({
        "kind": damage.kind.as_str(),
        "place": damage.kind.place(),
        "file": damage.file.display().to_string(),
        "offset": damage.offset,
        "seq": damage.seq.0,
        "last_seq": damage.last.0,
        "reason": damage.reason,
    })
}

mod served;
#[cfg(test)]
mod tests;
