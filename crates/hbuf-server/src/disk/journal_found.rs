//! The journal that an earlier life left: its entries by buffer, their bodies still in its files.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use hbuf_core::ids::{Seq, Uuid};
use hbuf_core::journal::{self, Span};
use hbuf_core::record::{JournalFile, Record};
use hbuf_core::recovery::FoundEntry;
use hbuf_core::segment::{self, End, OpenError, file_name};

use super::doubt::Cache;
use super::layout::at;
use super::recovery::numbered_files;
use super::side_by_side::side_by_side;
use super::source::FileSource;
use super::sync::{self, SyncPoint};

/// Bytes of a journal entry, still in its file.
#[derive(Clone, Copy, Debug)]
struct EntryAt {
    position: u64,
    file: JournalFile,
    journal: usize,
    offset: u64,
    len: usize,
    span: Option<Span>,
}

/// One file of it.
#[derive(Debug)]
struct FileFound {
    path: PathBuf,
    source: FileSource,
    /// Position of its last entry, 0 without one.
    last: u64,
    /// Whether a person must look at it.
    damaged: bool,
}

/// All entries of the journal, by buffer.
#[derive(Debug, Default)]
pub(crate) struct JournalFound {
    files: Vec<FileFound>,
    entries: BTreeMap<Uuid, Vec<EntryAt>>,
    /// What is damaged in it, for a person.
    pub(crate) damage: Vec<String>,
}

impl JournalFound {
    /// Walks the journal's files in order. A torn end is what a crash leaves; anything else is
    /// reported, and the file is kept.
    pub(crate) fn read(directory: &Path, cache: Cache) -> io::Result<Self> {
        let firsts = numbered_files(directory).map_err(at(directory))?;
        let files = Mutex::new(Vec::with_capacity(firsts.len()));
        // Each file is a log of its own, so they are read beside each other.
        side_by_side(firsts.len(), |number| {
            let path = directory.join(file_name(firsts[number]));
            let mut found = Self::default();
            found.read_file(path.clone(), cache).map_err(at(&path))?;
            let mut files = files.lock().unwrap_or_else(PoisonError::into_inner);
            files.push((number, found));
            Ok::<_, io::Error>(())
        })?;
        let mut files = files.into_inner().unwrap_or_default();
        files.sort_unstable_by_key(|(number, _)| *number);
        let mut found = Self::default();
        files.into_iter().for_each(|(_, file)| found.append(file));
        Ok(found)
    }

    /// Adds what a later file holds.
    fn append(&mut self, file: Self) {
        let before = self.files.len();
        self.files.extend(file.files);
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
        let source = FileSource::open(&path)?;
        // A clean stop leaves no journal, so these files outlived a crash or a failed disk.
        if cache == Cache::Doubted {
            source.drop_cache();
        }
        let journal = self.files.len();
        let entries = &mut self.entries;
        let mut last = 0;
        let wrong = wrong_with(&source, |offset, record| {
            last = record.line.seq.0;
            let Ok(entry) = journal::Entry::parse(record) else {
                return;
            };
            let at = EntryAt {
                position: last,
                file: entry.file,
                journal,
                offset: offset + u64::from(record.line.head_len),
                len: entry.body.len(),
                span: entry.span(),
            };
            entries.entry(entry.buffer).or_default().push(at);
        });
        let damaged = wrong.is_some();
        let told = wrong.map(|wrong| format!("{}: {wrong}", path.display()));
        self.damage.extend(told);
        self.files.push(FileFound {
            path,
            source,
            last,
            damaged,
        });
        Ok(())
    }

    /// The entries of one buffer in the order of their positions.
    pub(crate) fn entries_of(&self, buffer: Uuid) -> impl Iterator<Item = FoundEntry<'_>> {
        let entries = self.entries.get(&buffer).map_or(&[][..], Vec::as_slice);
        entries.iter().map(move |at| FoundEntry {
            position: at.position,
            buffer,
            file: at.file,
            span: at.span,
            source: &self.files[at.journal].source,
            offset: at.offset,
            len: at.len,
        })
    }

    /// The buffers that it has entries of.
    pub(crate) fn buffers(&self) -> Vec<Uuid> {
        self.entries.keys().copied().collect()
    }

    /// Position of the buffer's last entry.
    pub(crate) fn last_of(&self, buffer: Uuid) -> Option<u64> {
        self.entries.get(&buffer)?.last().map(|at| at.position)
    }

    /// Makes durable what was read: the process may have died before its own sync returned.
    ///
    /// A crash before leaves what nobody was told of. `false`: the journal is damaged, and nothing
    /// may rely on it longer than it must.
    pub(crate) fn sync(&self, directory: &Path) -> io::Result<bool> {
        for file in &self.files {
            sync::sync_data(file.source.file(), SyncPoint::JournalFound)?;
        }
        if !self.files.is_empty() {
            sync::sync_dir(directory, SyncPoint::JournalFoundEntry)?;
        }
        Ok(self.damage.is_empty())
    }

    /// The last position of each file, and its path, for the journal of this life to let go of.
    pub(crate) fn into_rolled(self) -> Vec<(u64, PathBuf)> {
        self.files
            .into_iter()
            .map(|file| (file.last, file.path))
            .collect()
    }

    /// Removes the files, once every buffer's mark has passed them.
    pub(crate) fn remove(&self, quarantine: &Path) -> io::Result<()> {
        for file in &self.files {
            if file.damaged {
                let name = file.path.file_name().expect("it has a name");
                fs::rename(&file.path, quarantine.join(name))?;
            } else {
                fs::remove_file(&file.path)?;
            }
        }
        Ok(())
    }
}

/// Walks one file; says what is wrong with it, for a person.
fn wrong_with(source: &FileSource, visit: impl FnMut(u64, &Record<'_>)) -> Option<String> {
    let position = match segment::open(source) {
        Ok((_, position)) => position,
        // Made and never synced: nothing in it was acknowledged.
        Err(OpenError::Unused) => return None,
        Err(error) => return Some(error.to_string()),
    };
    let walked = segment::walk(source, position, visit);
    match walked.and_then(|(_, stop)| segment::classify(source, &stop, Seq::ZERO)) {
        Ok(End::Clean | End::Torn { .. }) => None,
        Ok(End::Corrupt { seq, reason, .. }) => Some(format!("position {seq}: {reason}")),
        Err(error) => Some(error.to_string()),
    }
}
