//! The shell around the core's recovery: reads a buffer's directory, performs the repairs.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::fs::{self, File};
use std::io;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use hbuf_core::ids::{Epoch, NodeId, Seq, Uuid};
use hbuf_core::input::{BufferConfig, BufferState};
use hbuf_core::journal;
use hbuf_core::mark::{self, Mark, MarkError, SLOT_LEN};
use hbuf_core::record::JournalFile;
use hbuf_core::recovery::{Found, FoundEntry, FoundFile, Recovered, Repair, recover};
use hbuf_core::rules::Rules;
use hbuf_core::segment::{self, End, LogKind, OpenError, ReadFailed, file_name, first_of_name};

use super::doubt::Cache;
use super::layout::{Layout, at};
use super::source::FileSource;
use super::sync::{self, SyncPoint};
use super::unapplied;
use crate::read::remove_derived_files;

/// What the manager says about a buffer that is to be opened.
#[derive(Clone, Debug)]
pub(crate) struct Expected {
    pub(crate) buffer: Uuid,
    pub(crate) log: Uuid,
    pub(crate) history: Uuid,
    pub(crate) node: NodeId,
    pub(crate) epoch: Epoch,
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

/// Bytes of a journal entry, still in its file.
#[derive(Clone, Copy, Debug)]
pub(crate) struct EntryAt {
    position: u64,
    file: JournalFile,
    journal: usize,
    offset: u64,
    len: usize,
}

/// Threads that read the journal's files at start.
const READERS: usize = 4;

/// All entries of the journal, by buffer.
#[derive(Debug, Default)]
pub(crate) struct JournalFound {
    paths: Vec<PathBuf>,
    pub(crate) entries: BTreeMap<Uuid, Vec<EntryAt>>,
    /// What is damaged in it, for a person.
    pub(crate) damage: Vec<String>,
}

impl JournalFound {
    /// Walks the journal's files in order. A torn end is what a crash leaves; anything else is
    /// reported, and the file is kept.
    pub(crate) fn read(directory: &Path, cache: Cache) -> io::Result<Self> {
        let firsts = numbered_files(directory).map_err(at(directory))?;
        let next = AtomicUsize::new(0);
        // Each file is a log of its own, so they are read beside each other.
        let reader = || -> io::Result<Vec<(usize, Self)>> {
            let mut read = Vec::new();
            loop {
                let number = next.fetch_add(1, Ordering::Relaxed);
                let Some(first) = firsts.get(number) else {
                    return Ok(read);
                };
                let mut found = Self::default();
                let path = directory.join(file_name(*first));
                found.read_file(path.clone(), cache).map_err(at(&path))?;
                read.push((number, found));
            }
        };
        let mut files = thread::scope(|scope| {
            let readers: Vec<_> = (0..READERS).map(|_| scope.spawn(reader)).collect();
            let mut files = Vec::new();
            for reader in readers {
                match reader.join() {
                    Ok(read) => files.extend(read?),
                    Err(panic) => std::panic::resume_unwind(panic),
                }
            }
            Ok::<_, io::Error>(files)
        })?;
        files.sort_unstable_by_key(|(number, _)| *number);
        let mut found = Self::default();
        files.into_iter().for_each(|(_, file)| found.append(file));
        Ok(found)
    }

    /// Adds what a later file holds.
    fn append(&mut self, file: Self) {
        let before = self.paths.len();
        self.paths.extend(file.paths);
        self.damage.extend(file.damage);
        for (buffer, entries) in file.entries {
            let later = entries.into_iter().map(|at| EntryAt {
                journal: before + at.journal,
                ..at
            });
            self.entries.entry(buffer).or_default().extend(later);
        }
    }

    fn read_file(&mut self, path: PathBuf, cache: Cache) -> io::Result<()> {
        let journal = self.paths.len();
        let source = FileSource::open(&path)?;
        // A clean stop leaves no journal, so these files outlived a crash or a failed disk.
        if cache == Cache::Doubted {
            source.drop_cache();
        }
        let (_, position) = match segment::open(&source) {
            Ok(opened) => opened,
            // Made and never synced: nothing in it was acknowledged.
            Err(OpenError::Unused) => {
                self.paths.push(path);
                return Ok(());
            }
            Err(error) => {
                self.damage.push(format!("{}: {error}", path.display()));
                self.paths.push(path);
                return Ok(());
            }
        };
        let entries = &mut self.entries;
        let walked = segment::walk(&source, position, |offset, record| {
            let Ok(entry) = journal::Entry::parse(record) else {
                return;
            };
            let at = EntryAt {
                position: record.line.seq.0,
                file: entry.file,
                journal,
                offset: offset + u64::from(record.line.head_len),
                len: entry.body.len(),
            };
            entries.entry(entry.buffer).or_default().push(at);
        });
        let judged = walked.and_then(|(_, stop)| segment::classify(&source, &stop, Seq::ZERO));
        match judged {
            Ok(End::Clean | End::Torn { .. }) => {}
            Ok(End::Corrupt { seq, reason, .. }) => {
                self.damage
                    .push(format!("{}: position {seq}: {reason}", path.display()));
            }
            Err(error) => self.damage.push(format!("{}: {error}", path.display())),
        }
        self.paths.push(path);
        Ok(())
    }

    /// The entries of one buffer with their bytes.
    pub(super) fn bytes_of(&self, buffer: Uuid) -> io::Result<Vec<(EntryAt, Vec<u8>)>> {
        let Some(entries) = self.entries.get(&buffer) else {
            return Ok(Vec::new());
        };
        let mut open: BTreeMap<usize, File> = BTreeMap::new();
        let mut bytes = Vec::with_capacity(entries.len());
        for at in entries {
            let file = match open.entry(at.journal) {
                Entry::Vacant(vacant) => vacant.insert(File::open(&self.paths[at.journal])?),
                Entry::Occupied(occupied) => occupied.into_mut(),
            };
            let mut body = vec![0; at.len];
            file.read_exact_at(&mut body, at.offset)?;
            bytes.push((*at, body));
        }
        Ok(bytes)
    }

    /// The files, once every buffer's mark has passed them.
    pub(crate) fn remove(&self, quarantine: &Path) -> io::Result<()> {
        for path in &self.paths {
            let text = path.display().to_string();
            if self.damage.iter().any(|damage| damage.starts_with(&text)) {
                let name = path.file_name().expect("it has a name");
                fs::rename(path, quarantine.join(name))?;
            } else {
                fs::remove_file(path)?;
            }
        }
        Ok(())
    }
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

/// Recovers one buffer and makes what was found durable.
pub(crate) fn recover_buffer(
    layout: &Layout,
    expected: &Expected,
    journal: &JournalFound,
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
    let mut entries = unapplied::read(layout, expected.buffer, cache).map_err(io_error)?;
    let kept = !entries.is_empty();
    entries.extend(journal.bytes_of(expected.buffer).map_err(io_error)?);
    entries.sort_by_key(|(at, _)| at.position);
    let marked_file = mark.as_ref().map_or(Seq::ZERO, |mark| mark.file);
    if cache == Cache::Doubted {
        drop_unmarked_cache(&segments, mark.as_ref());
        cursors.iter().for_each(|(_, source)| source.drop_cache());
    }
    let durable = mark.as_ref().map_or(Seq::ZERO, |mark| mark.durable);
    let found = Found {
        buffer: expected.buffer,
        log: expected.log,
        history: expected.history,
        node: expected.node,
        epoch: expected.epoch,
        config: expected.config,
        state: expected.state,
        mark,
        segments: found_files(&segments),
        cursors: found_files(&cursors),
        journal: entries
            .iter()
            .map(|(at, bytes)| found_entry(expected.buffer, at, bytes))
            .collect(),
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

fn found_entry<'a>(buffer: Uuid, at: &EntryAt, bytes: &'a [u8]) -> FoundEntry<'a> {
    FoundEntry {
        position: at.position,
        buffer,
        file: at.file,
        bytes,
    }
}

/// Performs the repairs and syncs everything that a mark does not vouch for: after a crash of the
/// process alone, what was read from the page cache may not be on disk yet.
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
    sync_log(
        &layout.log(buffer, LogKind::Messages),
        recovered.opening.first,
    )?;
    let cursors = layout.log(buffer, LogKind::Cursors);
    if cursors.is_dir() {
        sync_log(&cursors, Seq::ZERO)?;
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
