//! The shell around the core's recovery: reads a buffer's directory, performs the repairs.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use hbuf_core::ids::{NodeId, Seq, Uuid};
use hbuf_core::input::{BufferConfig, BufferState};
use hbuf_core::mark::{self, Mark, MarkError, SLOT_LEN};
use hbuf_core::recovery::{Found, FoundFile, Recovered, Repair, recover};
use hbuf_core::replication::{Assignment, NodeEpoch};
use hbuf_core::rules::Rules;
use hbuf_core::segment::{LogKind, ReadFailed, file_name, first_of_name};

use super::doubt::Cache;
use super::journal_found::JournalFound;
use super::layout::Layout;
use super::source::FileSource;
use super::sync::{self, SyncPoint};
use super::unapplied;
use crate::read::remove_derived_files;

/// What the manager says about a buffer that is to be opened.
#[derive(Clone, Debug)]
pub(crate) struct Expected {
    pub(crate) buffer: Uuid,
    pub(crate) log: Uuid,
    pub(crate) node: NodeId,
    pub(crate) node_epoch: NodeEpoch,
    pub(crate) assignment: Arc<Assignment>,
    pub(crate) config: BufferConfig,
    pub(crate) state: BufferState,
}

/// Why a buffer cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum RecoverError {
    /// The directory is gone.
    #[error("{} is missing: restore it from a backup or a replica, or delete the buffer", .0.display())]
    Missing(PathBuf),
    /// The mark was written by a newer version.
    #[error("{}: {error}", path.display())]
    Mark {
        /// The mark.
        path: PathBuf,
        /// What is wrong.
        error: MarkError,
    },
    /// The disk did not give the bytes.
    #[error("{}: {error}", path.display())]
    Read {
        /// The buffer's directory.
        path: PathBuf,
        /// What is wrong.
        error: ReadFailed,
    },
    /// The system refused.
    #[error("{}: {error}", path.display())]
    Io {
        /// The buffer's directory.
        path: PathBuf,
        /// What the system said.
        error: io::Error,
    },
}

/// The first seqs of a directory's numbered files, in order.
pub(crate) fn numbered_files(directory: &Path) -> io::Result<Vec<Seq>> {
    let entries = match fs::read_dir(directory) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries?,
    };
    let mut firsts = Vec::new();
    for entry in entries {
        firsts.extend(entry?.file_name().to_str().and_then(first_of_name));
    }
    firsts.sort_unstable();
    Ok(firsts)
}

/// Reads both slots of a mark.
pub(crate) fn read_mark(path: &Path) -> Result<Option<Mark>, RecoverError> {
    let bytes = match fs::read(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => {
            return Err(RecoverError::Io {
                path: path.to_path_buf(),
                error,
            });
        }
        Ok(bytes) => bytes,
    };
    let mut slots = bytes;
    slots.resize(2 * SLOT_LEN, 0);
    let (a, b) = slots.split_at(SLOT_LEN);
    match mark::choose(a, b) {
        Ok(mark) => Ok(mark),
        // Recovery then walks from the oldest head: slower, and nothing is lost by it.
        Err(error @ MarkError::Damaged { .. }) => {
            tracing::warn!(event = "mark_damaged", path = %path.display(), %error);
            Ok(None)
        }
        Err(error) => Err(RecoverError::Mark {
            path: path.to_path_buf(),
            error,
        }),
    }
}

impl RecoverError {
    /// Whether only an operator can change it.
    pub(crate) const fn is_lasting(&self) -> bool {
        matches!(self, Self::Missing(_))
    }
}

/// What keeps the journal that a buffer is recovered with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum JournalStays {
    /// It is durable, and stays until a mark of this life covers what it holds.
    UntilMarked,
    /// It goes when the buffers are recovered.
    No,
}

/// Recovers one buffer and makes what was found durable, except what the journal answers for
/// ([`Recovered::in_journal`]) if that stays.
pub(crate) fn recover_buffer(
    layout: &Layout,
    expected: &Expected,
    (journal, stays): (&JournalFound, JournalStays),
    cache: Cache,
) -> Result<Recovered, RecoverError> {
    let directory = layout.buffer(expected.buffer);
    if !directory.is_dir() {
        return Err(RecoverError::Missing(directory));
    }
    let io_error = |error| RecoverError::Io {
        path: directory.clone(),
        error,
    };
    let mark = read_mark(&layout.mark(expected.buffer))?;
    let clean = mark.as_ref().is_some_and(|mark| mark.clean);
    let tables = mark
        .as_ref()
        .and_then(|mark| mark.table.as_deref())
        .and_then(|name| fs::read(directory.join(name)).ok());
    let segments = sources(&directory).map_err(io_error)?;
    let cursors = sources(&layout.log(expected.buffer, LogKind::Cursors)).map_err(io_error)?;
    let unapplied = unapplied::read(layout, expected.buffer, cache).map_err(io_error)?;
    let kept = unapplied.entries_of(expected.buffer);
    let mut entries: Vec<_> = kept.chain(journal.entries_of(expected.buffer)).collect();
    entries.sort_by_key(|entry| entry.position);
    let kept = unapplied.last_of(expected.buffer).is_some();
    let marked_file = mark.as_ref().map_or(Seq::ZERO, |mark| mark.file);
    if cache == Cache::Doubted {
        drop_unmarked_cache(&segments, mark.as_ref());
        cursors.iter().for_each(|(_, source)| source.drop_cache());
    }
    let durable = mark.as_ref().map_or(Seq::ZERO, |mark| mark.durable);
    let found = Found {
        buffer: expected.buffer,
        log: expected.log,
        node: expected.node,
        node_epoch: expected.node_epoch,
        assignment: Arc::clone(&expected.assignment),
        config: expected.config,
        state: expected.state,
        mark,
        segments: found_files(&segments),
        cursors: found_files(&cursors),
        journal: entries,
        // What was kept beside the log stands in no journal of this life.
        journal_stays: stays == JournalStays::UntilMarked && !kept,
        tables: tables.as_deref(),
    };
    let recovered = recover(&Rules::correct(), &found).map_err(|error| RecoverError::Read {
        path: directory.clone(),
        error,
    })?;
    // A mark says nothing of the cursors, nor of a file that was made behind it.
    let last = recovered.opening.segments.last();
    let untouched = clean
        && recovered.repairs.is_empty()
        && recovered.opening.end == durable
        && last.map_or(Seq::ZERO, |segment| segment.first) == marked_file
        && cursors.is_empty();
    if !untouched {
        repair(layout, expected.buffer, &recovered).map_err(io_error)?;
    }
    if kept || recovered.unapplied.is_some() {
        unapplied::settle(layout, &recovered).map_err(io_error)?;
    }
    Ok(recovered)
}

fn sources(directory: &Path) -> io::Result<Vec<(Seq, FileSource)>> {
    let open = |first| Ok((first, FileSource::open(&directory.join(file_name(first)))?));
    numbered_files(directory)?.into_iter().map(open).collect()
}

/// What no mark vouches for is read from the disk: it may have failed to get there. A clean stop,
/// and an eviction, leave nothing of the kind.
fn drop_unmarked_cache(segments: &[(Seq, FileSource)], mark: Option<&Mark>) {
    for (first, source) in segments {
        let marked = mark.is_some_and(|mark| {
            *first < mark.file || (*first == mark.file && source.bytes() <= mark.offset)
        });
        if !marked {
            source.drop_cache();
        }
    }
}

fn found_files(sources: &[(Seq, FileSource)]) -> Vec<FoundFile<'_>> {
    sources
        .iter()
        .map(|(first, source)| FoundFile {
            first: *first,
            source,
        })
        .collect()
}

/// Performs the repairs and syncs everything that a mark does not vouch for: after a crash of the
/// process alone, what was read from the page cache may not be on disk yet. Messages that the
/// journal answers for wait for the next checkpoint, and so does the name of the directory of
/// cursors: the checkpoint syncs the names beside it, with those of the segments or with that of
/// the first mark.
///
/// A crash in the middle leaves some repairs done; the next recovery comes to the same ones.
fn repair(layout: &Layout, buffer: Uuid, recovered: &Recovered) -> io::Result<()> {
    let (last, first): (Vec<_>, Vec<_>) = recovered
        .repairs
        .iter()
        .partition(|repair| recovered.comes_last(repair));
    for repair in first {
        perform(layout, buffer, repair)?;
    }
    let cursors = layout.log(buffer, LogKind::Cursors);
    if cursors.is_dir() {
        sync_log(&cursors, Seq::ZERO)?;
    }
    if !recovered.in_journal {
        sync_log(
            &layout.log(buffer, LogKind::Messages),
            recovered.opening.first,
        )?;
    }
    for repair in last {
        perform(layout, buffer, repair)?;
    }
    Ok(())
}

fn perform(layout: &Layout, buffer: Uuid, repair: &Repair) -> io::Result<()> {
    match repair {
        Repair::Write {
            log,
            file,
            offset,
            bytes,
        } => {
            fs::create_dir_all(layout.log(buffer, *log))?;
            let path = layout.file(buffer, *log, *file);
            let file = File::options()
                .write(true)
                .create(true)
                .truncate(false)
                .open(path)?;
            file.write_all_at(bytes, *offset)
        }
        Repair::Truncate { log, file, offset } => File::options()
            .write(true)
            .open(layout.file(buffer, *log, *file))?
            .set_len(*offset),
        Repair::Remove { log, file } => {
            let path = layout.file(buffer, *log, *file);
            drop(remove_derived_files(&layout.log(buffer, *log), *file));
            fs::remove_file(path)
        }
    }
}

/// Syncs a log's files and their directory.
fn sync_log(directory: &Path, from: Seq) -> io::Result<()> {
    for first in numbered_files(directory)? {
        if first.next() < from {
            continue;
        }
        let file = File::open(directory.join(file_name(first)))?;
        sync::sync_all(&file, SyncPoint::Recovery)?;
    }
    sync::sync_dir(directory, SyncPoint::RecoveryEntry)?;
    Ok(())
}
