//! The manager's log on disk: append, roll.
//!
//! ```text
//! manager/global/00000000000000000001.hbuf     head line, commands 1, 2, …
//! manager/global/00000000000000004711.hbuf     head line, snapshot of 1–4710, commands 4711, …
//! ```
//!
//! Only the newest file is read and written; the one before it is kept in case a person needs it.
//! A file gets its name when it is whole, so a file with a name always has its head and snapshot.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};

use hbuf_core::ids::{Epoch, Micros, Seq, Uuid};
use hbuf_core::limits::{MANAGER_LOG_BYTES_MAX, SNAPSHOT_CHUNK_BYTES};
use hbuf_core::segment::{FORMAT, LogKind, SegmentHead, file_name, first_of_name};
use hbuf_core::tree::Frontier;
use hbuf_manager::{Catalog, Command, Place, State, encode_command, encode_snapshot};

use crate::disk::sync::{self, SyncPoint};

/// The term of a log that has one voter and no elections.
const TERM: Epoch = Epoch(1);
/// The suffix of files that are not whole yet.
pub(super) const UNFINISHED: &str = ".tmp";
/// So many bytes of commands take longer to apply at the next start than a snapshot takes to write.
const SNAPSHOT_AT_STOP_BYTES: u64 = 1 << 20;

/// What can be set about the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LogOptions {
    /// The log is replaced by a snapshot when its commands have so many bytes, and as many as the
    /// last snapshot: so that writing snapshots never costs more than writing commands.
    pub roll_bytes: u64,
}

impl Default for LogOptions {
    fn default() -> Self {
        Self {
            roll_bytes: MANAGER_LOG_BYTES_MAX,
        }
    }
}

/// Why nothing was appended.
#[derive(Debug)]
pub(super) enum LogError {
    /// No room; the log is as it was.
    Full,
    /// The disk failed; what the log holds is known only after reading it anew.
    Failed(io::Error),
}

/// The open log.
#[derive(Debug)]
pub(super) struct Log {
    pub(super) directory: PathBuf,
    pub(super) options: LogOptions,
    pub(super) file: File,
    /// Bytes of head and snapshot.
    pub(super) base: u64,
    /// Where the next record goes.
    pub(super) end: u64,
    /// Index of the last command.
    pub(super) index: u64,
    /// Time of the last record.
    pub(super) time: Micros,
    /// Length of the commands from which on a roll is tried.
    pub(super) roll_at: u64,
}

impl Log {
    /// Puts commands behind each other on disk with one sync.
    pub(super) fn append(&mut self, commands: &[Command], now: Micros) -> Result<(), LogError> {
        self.time = self.time.max(now);
        let mut bytes = Vec::new();
        for (distance, command) in (1..).zip(commands) {
            let index = self.index + u64::from(distance);
            let place = Place {
                index,
                term: TERM,
                time: self.time,
                distance,
            };
            encode_command(&place, command, &mut bytes);
        }
        // A crash from here to the sync leaves any part of these bytes, in any order. Nobody was
        // told that they are kept, and each record's distance says so: recovery cuts at the first
        // bad one.
        if let Err(error) = self.file.write_all_at(&bytes, self.end) {
            return Err(self.take_back(error));
        }
        sync::sync_data(&self.file, SyncPoint::ManagerLog).map_err(LogError::Failed)?;
        self.end += bytes.len() as u64;
        self.index += commands.len() as u64;
        Ok(())
    }

    /// Removes what a failed write left. A crash before that leaves a torn tail, as any append
    /// does.
    pub(super) fn take_back(&self, error: io::Error) -> LogError {
        match self.file.set_len(self.end) {
            Ok(()) if is_full(&error) => LogError::Full,
            _ => LogError::Failed(error),
        }
    }

    /// Whether the commands are long enough to be replaced by a snapshot.
    pub(super) fn wants_roll(&self) -> bool {
        self.end - self.base >= self.roll_at
    }

    /// Whether the next start would be quicker with a snapshot.
    pub(super) fn worth_a_snapshot(&self) -> bool {
        self.end - self.base >= SNAPSHOT_AT_STOP_BYTES.max(self.base)
    }

    /// Goes on in a new file that starts with a snapshot.
    pub(super) fn roll(&mut self, catalog: &Catalog, now: Micros) -> Result<(), LogError> {
        assert_eq!(
            catalog.applied(),
            self.index,
            "the snapshot holds what the log holds"
        );
        let before = self.end - self.base;
        self.roll_at = before + self.options.roll_bytes;
        let time = self.time.max(now);
        let new = create(&self.directory, catalog, time, self.options);
        *self = new.map_err(|error| {
            if is_full(&error) {
                LogError::Full
            } else {
                LogError::Failed(error)
            }
        })?;
        remove_old(&self.directory);
        Ok(())
    }
}

/// Makes the file whose first command follows the catalog's last one, and leaves it open.
pub(super) fn create(
    directory: &Path,
    catalog: &Catalog,
    time: Micros,
    options: LogOptions,
) -> io::Result<Log> {
    let first = Seq(catalog.applied() + 1);
    let name = directory.join(file_name(first));
    let unfinished = name.with_extension(format!("hbuf{UNFINISHED}"));
    // A crash while this is written leaves a file without its name: the next start removes it.
    let written = write_base(&unfinished, catalog, first, time);
    let (file, base) = written.inspect_err(|_| drop(fs::remove_file(&unfinished)))?;
    sync::sync_all(&file, SyncPoint::ManagerFile)?;
    // A crash around here leaves the old name or the new one, or both files; either log is whole,
    // and nothing was appended to the new one.
    fs::rename(&unfinished, &name)?;
    // Commands go to the new file only when its name cannot be lost any more.
    sync::sync_dir(directory, SyncPoint::ManagerEntry)?;
    Ok(Log {
        directory: directory.to_path_buf(),
        options,
        file,
        base,
        end: base,
        index: catalog.applied(),
        time,
        roll_at: options.roll_bytes.max(base),
    })
}

/// Writes head line and snapshot; returns the file and its length.
fn write_base(path: &Path, catalog: &Catalog, first: Seq, time: Micros) -> io::Result<(File, u64)> {
    let mut file = OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(true)
        .open(path)?;
    let mut bytes = Vec::new();
    head(first, time).encode(&mut bytes);
    file.write_all(&bytes)?;
    let mut base = bytes.len() as u64;
    if catalog.applied() > 0 {
        let place = Place {
            index: catalog.applied(),
            term: TERM,
            time,
            distance: 0,
        };
        catalog.encode(SNAPSHOT_CHUNK_BYTES, |piece| {
            bytes.clear();
            encode_snapshot(&place, piece, &mut bytes);
            base += bytes.len() as u64;
            file.write_all(&bytes)
        })?;
    }
    Ok((file, base))
}

fn head(first: Seq, time: Micros) -> SegmentHead {
    SegmentHead {
        format: FORMAT,
        kind: LogKind::Manager,
        // The group of all regions has no uuid of its own: there is one in every cluster.
        buffer: Uuid::default(),
        log: Uuid::default(),
        history: Uuid::default(),
        first,
        time,
        epoch: TERM,
        frontier: Frontier::default(),
        epochs: vec![(TERM, Seq::FIRST)],
        compacted: None,
    }
}

/// First indexes of the log's files, in order.
pub(super) fn files(directory: &Path) -> io::Result<Vec<Seq>> {
    let mut firsts = Vec::new();
    for entry in fs::read_dir(directory)? {
        firsts.extend(entry?.file_name().to_str().and_then(first_of_name));
    }
    firsts.sort_unstable();
    Ok(firsts)
}

/// Removes all files but the newest two. A crash, or a failure, leaves more of them: the next roll
/// removes those too, and until then they only take room.
fn remove_old(directory: &Path) {
    let removed = files(directory).and_then(|files| {
        let old = files.iter().rev().skip(2);
        old.map(|first| directory.join(file_name(*first)))
            .try_for_each(fs::remove_file)
    });
    if let Err(error) = removed {
        tracing::warn!(event = "manager_old_log_stays", %error);
    }
}

fn is_full(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded
    )
}
