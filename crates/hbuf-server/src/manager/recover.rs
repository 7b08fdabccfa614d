//! Reading the manager's log at a start.
//!
//! The newest file says all: its snapshot, then its commands. A torn tail was never acknowledged
//! and is cut. Anything else that cannot be read refuses the start: a catalog with a hole in it
//! could give a name or an epoch away twice.

use std::fs::{self, OpenOptions};
use std::io;
use std::path::{Path, PathBuf};

use hbuf_core::ids::{Epoch, Micros, Seq};
use hbuf_core::record::{Line, RecordError, decode};
use hbuf_core::segment::{End, HeadError, LogKind, ScanStart, SegmentHead, Why, file_name, scan};
use hbuf_manager::{
    Catalog, Entry, EntryError, SnapshotError, SnapshotReader, State, decode_entry,
};

use super::log::{self, Log, LogOptions, UNFINISHED};
use crate::disk::sync::{self, SyncPoint};

/// Why the manager's log cannot be used. Nothing was changed, but for a cut of a torn tail.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The disk said no.
    #[error("cannot {doing} {}: {why}", path.display())]
    Io {
        /// The file or directory.
        path: PathBuf,
        /// What was tried.
        doing: &'static str,
        /// What the disk said.
        #[source]
        why: io::Error,
    },
    /// The head line cannot be read.
    #[error("{}: {why}", path.display())]
    Head {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        why: HeadError,
    },
    /// The file belongs to another log or stands at another place.
    #[error("{}: the head line is that of another file ({found}); put the right file back", path.display())]
    Misplaced {
        /// The file.
        path: PathBuf,
        /// What the head line says.
        found: String,
    },
    /// A piece of the snapshot cannot be read.
    #[error(
        "{}: the snapshot's record at byte {offset} is damaged ({why}); restore the file from a backup, or move it away to start from the one before it", path.display()
    )]
    SnapshotRecord {
        /// The file.
        path: PathBuf,
        /// Where the record starts.
        offset: u64,
        /// What is wrong.
        why: RecordError,
    },
    /// The snapshot does not make a catalog.
    #[error("{}: {why}", path.display())]
    Snapshot {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        why: SnapshotError,
    },
    /// Commands that were acknowledged are damaged.
    #[error(
        "{}: the command {seq} at byte {offset} is damaged ({reason}), and {witness} behind it was acknowledged; restore the file from a backup", path.display()
    )]
    Corrupt {
        /// The file.
        path: PathBuf,
        /// The first command that cannot be read.
        seq: Seq,
        /// Where it stands.
        offset: u64,
        /// What is wrong there.
        reason: Why,
        /// The command that proves that it was acknowledged.
        witness: Seq,
    },
    /// A command that this version of hbuf cannot apply.
    #[error("{}: {why}", path.display())]
    Entry {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        why: EntryError,
    },
}

/// Reads the log, or makes an empty one.
pub(super) fn recover(
    directory: &Path,
    options: LogOptions,
    now: Micros,
) -> Result<(Catalog, Log), OpenError> {
    let io = |doing, path: &Path| {
        let path = path.to_path_buf();
        move |why| OpenError::Io { path, doing, why }
    };
    remove_unfinished(directory).map_err(io("tidy", directory))?;
    let files = log::files(directory).map_err(io("list", directory))?;
    let Some(newest) = files.last() else {
        let catalog = Catalog::new();
        let log = log::create(directory, &catalog, now, options);
        return Ok((catalog, log.map_err(io("start a log in", directory))?));
    };
    let path = directory.join(file_name(*newest));
    let bytes = fs::read(&path).map_err(io("read", &path))?;
    let reader = Reader {
        path: &path,
        bytes: &bytes,
    };
    let base = reader.base(*newest)?;
    // The last life may have ended between the rename and its sync: no command may follow in a
    // file whose name can still be lost.
    sync::sync_dir(directory, SyncPoint::ManagerEntry).map_err(io("sync", directory))?;
    let (catalog, tail) = reader.commands(base.catalog, base.end, base.time)?;
    let file = OpenOptions::new().read(true).write(true).open(&path);
    let file = file.map_err(io("open", &path))?;
    if tail.end < bytes.len() as u64 {
        tracing::warn!(
            event = "manager_torn_tail_cut",
            cut = bytes.len() as u64 - tail.end
        );
        let cut = file.set_len(tail.end);
        cut.map_err(io("cut the torn tail of", &path))?;
    }
    // The last life may have ended before it synced what was found here. The next command says of
    // all before it that it is durable: written behind one that is lost, it would show damage.
    sync::sync_data(&file, SyncPoint::ManagerLog).map_err(io("sync", &path))?;
    let log = Log {
        directory: directory.to_path_buf(),
        options,
        file,
        base: base.end,
        end: tail.end,
        index: catalog.applied(),
        time: tail.time,
        roll_at: options.roll_bytes.max(base.end),
    };
    Ok((catalog, log))
}

/// Files without their name were not whole when the process ended.
fn remove_unfinished(directory: &Path) -> io::Result<()> {
    for entry in fs::read_dir(directory)? {
        let path = entry?.path();
        if path.to_string_lossy().ends_with(UNFINISHED) {
            fs::remove_file(&path)?;
        }
    }
    Ok(())
}

/// The newest file.
struct Reader<'a> {
    path: &'a Path,
    bytes: &'a [u8],
}

/// What stands before the commands.
struct Base {
    catalog: Catalog,
    end: u64,
    time: Micros,
}

/// Where the commands end.
struct Tail {
    end: u64,
    time: Micros,
}

impl Reader<'_> {
    fn base(&self, first: Seq) -> Result<Base, OpenError> {
        let head_bytes = self.record_at(0);
        let head = SegmentHead::decode(head_bytes).map_err(|why| OpenError::Head {
            path: self.path.to_path_buf(),
            why,
        })?;
        if head.kind != LogKind::Manager || head.first != first {
            let found = format!("{} from {}", head.kind.text(), head.first);
            return Err(OpenError::Misplaced {
                path: self.path.to_path_buf(),
                found,
            });
        }
        let end = head_bytes.len() as u64;
        if first == Seq::FIRST {
            return Ok(Base {
                catalog: Catalog::new(),
                end,
                time: head.time,
            });
        }
        let (catalog, end) = self.snapshot(end)?;
        if catalog.applied() + 1 != first.0 {
            let found = format!("snapshot of {}", catalog.applied());
            return Err(OpenError::Misplaced {
                path: self.path.to_path_buf(),
                found,
            });
        }
        Ok(Base {
            catalog,
            end,
            time: head.time,
        })
    }

    fn snapshot(&self, mut at: u64) -> Result<(Catalog, u64), OpenError> {
        let unreadable = |why| OpenError::Snapshot {
            path: self.path.to_path_buf(),
            why,
        };
        let mut reader = SnapshotReader::new();
        while !reader.ended() {
            let bytes = self.record_at(at);
            let damaged = |why| OpenError::SnapshotRecord {
                path: self.path.to_path_buf(),
                offset: at,
                why,
            };
            let record = decode(bytes).map_err(damaged)?;
            match decode_entry(&record).map_err(|why| self.entry(why))? {
                Entry::Snapshot(piece) => reader.push(piece).map_err(unreadable)?,
                Entry::Command(_) => break,
            }
            at += bytes.len() as u64;
        }
        Ok((reader.finish().map_err(unreadable)?, at))
    }

    /// The bytes of the record at an offset, as far as its line and the file go.
    fn record_at(&self, at: u64) -> &[u8] {
        let rest = usize::try_from(at)
            .ok()
            .and_then(|at| self.bytes.get(at..))
            .unwrap_or_default();
        let claimed = Line::parse(rest).map_or(0, |line| line.record_len());
        usize::try_from(claimed)
            .ok()
            .and_then(|length| rest.get(..length))
            .unwrap_or(rest)
    }

    fn commands(
        &self,
        mut catalog: Catalog,
        offset: u64,
        time: Micros,
    ) -> Result<(Catalog, Tail), OpenError> {
        let start = ScanStart {
            offset,
            next: Seq(catalog.applied() + 1),
            durable_mark: Seq(catalog.applied()),
            time,
            epoch: Epoch::default(),
            gaps: false,
        };
        let mut unknown = None;
        let scanned = scan(self.bytes, &start, |_, record| {
            if unknown.is_some() {
                return;
            }
            match decode_entry(record) {
                // A refusal is part of the log: it was answered as one.
                Ok(Entry::Command(command)) => drop(catalog.apply(record.line.seq.0, &command)),
                Ok(Entry::Snapshot(_)) => {
                    let index = record.line.seq.0;
                    unknown = Some(EntryError::Kind {
                        index,
                        kind: record.facts.kind.text(),
                    });
                }
                Err(why) => unknown = Some(why),
            }
        });
        let scanned = scanned.map_err(|why| OpenError::Io {
            path: self.path.to_path_buf(),
            doing: "read",
            why: io::Error::other(why.to_string()),
        })?;
        if let Some(why) = unknown {
            return Err(self.entry(why));
        }
        if let End::Corrupt {
            seq,
            offset,
            reason,
            witness,
        } = scanned.end
        {
            let path = self.path.to_path_buf();
            return Err(OpenError::Corrupt {
                path,
                seq,
                offset,
                reason,
                witness,
            });
        }
        Ok((
            catalog,
            Tail {
                end: scanned.position.offset,
                time: scanned.position.time,
            },
        ))
    }

    fn entry(&self, why: EntryError) -> OpenError {
        OpenError::Entry {
            path: self.path.to_path_buf(),
            why,
        }
    }
}
