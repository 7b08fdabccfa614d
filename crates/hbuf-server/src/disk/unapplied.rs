//! What a damaged buffer's log could not take of the journal, beside the log: the proof that
//! something is missing, and messages that a repair brings back. The journal itself goes.

use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use hbuf_core::ids::{Seq, Uuid};
use hbuf_core::recovery::Recovered;
use hbuf_core::segment::{file_name, open};

use super::doubt::Cache;
use super::journal_found::JournalFound;
use super::layout::{Layout, at};
use super::recovery::numbered_files;
use super::sync::{self, SyncPoint};

/// The name under which the file is written until it is durable.
const UNFINISHED: &str = "new";

/// The entries that an earlier recovery kept. If they are damaged too, nobody can say any more what
/// is missing, and the buffer stays shut.
pub(crate) fn read(layout: &Layout, buffer: Uuid, cache: Cache) -> io::Result<JournalFound> {
    let found = JournalFound::read(&layout.unapplied(buffer), cache)?;
    match found.damage.first() {
        Some(damage) => Err(io::Error::new(io::ErrorKind::InvalidData, damage.clone())),
        None => Ok(found),
    }
}

/// Keeps what a recovery could not apply, or removes what it no longer needs. Called when the
/// repairs are durable, and before the journal goes.
///
/// A crash before the last sync leaves the journal, from which the next recovery comes to the same.
pub(crate) fn settle(layout: &Layout, recovered: &Recovered) -> io::Result<()> {
    let buffer = recovered.opening.buffer;
    let directory = layout.unapplied(buffer);
    let Some(bytes) = &recovered.unapplied else {
        return match fs::remove_dir_all(&directory) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(at(&directory)(error)),
            // Not synced: what comes back is in the log already.
            _ => Ok(()),
        };
    };
    let first = write(&directory, bytes)?;
    // It says all that earlier ones said.
    for other in numbered_files(&directory)? {
        if other != first {
            fs::remove_file(directory.join(file_name(other)))?;
        }
    }
    sync::sync_dir(&directory, SyncPoint::UnappliedEntry)?;
    sync::sync_dir(&layout.buffer(buffer), SyncPoint::UnappliedDirectory)
}

/// Keeps the entries of a buffer whose directory is missing, and says where. Put beside the log
/// when the directory is brought back, they are applied. What was kept before stays beside them.
///
/// A crash before the last sync leaves the journal, as above.
pub(crate) fn set_aside(layout: &Layout, buffer: Uuid, bytes: &[u8]) -> io::Result<PathBuf> {
    let quarantine = layout.quarantine();
    let directory = quarantine.join(buffer.to_string());
    write(&directory, bytes)?;
    sync::sync_dir(&directory, SyncPoint::UnappliedEntry)?;
    sync::sync_dir(&quarantine, SyncPoint::UnappliedDirectory)?;
    Ok(directory)
}

/// Writes a file with these entries, whose name is not synced here; gives its first position.
fn write(directory: &Path, bytes: &[u8]) -> io::Result<Seq> {
    fs::create_dir_all(directory)?;
    // A life before may have given it its name without making that durable.
    let (head, _) = open(bytes).map_err(io::Error::other)?;
    let path = directory.join(file_name(head.first));
    if !fs::read(&path).is_ok_and(|found| found == bytes) {
        let unfinished = directory.join(UNFINISHED);
        let mut file = File::create(&unfinished)?;
        file.write_all(bytes)?;
        sync::sync_all(&file, SyncPoint::Unapplied)?;
        fs::rename(&unfinished, &path)?;
    }
    Ok(head.first)
}
