//! Whether the page cache may show what the disk does not have.
//!
//! Linux marks the pages of a failed write clean and goes on showing them, so the next life of the
//! process would take them for durable. Reading everything from the disk would be safe and slow,
//! and needless after nearly every crash. So a failed sync leaves a note in the data directory,
//! *not* synced: it lives as long as the page cache that it warns of, and a restart of the machine
//! ends both. A node that finds the note reads what no mark vouches for from the disk.
//!
//! A process that is killed between the failed call and the note leaves none: these are the
//! microseconds before anybody learns of the failure. One that is killed before it syncs at all
//! leaves the error in the kernel, and the syncs of the next recovery report it.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::layout::at;

/// The note's name in the data directory.
const NOTE: &str = "sync-failed";
const BOOT_ID: &str = "/proc/sys/kernel/random/boot_id";

/// Where a failed sync leaves its note: the data directories that this process uses.
static WATCHED: Mutex<Vec<PathBuf>> = Mutex::new(Vec::new());

/// What recovery may read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Cache {
    /// The page cache shows what was written.
    Trusted,
    /// A sync failed since the machine started.
    Doubted,
}

/// A data directory whose failed syncs are noted for as long as this lives.
#[derive(Debug)]
pub(crate) struct Watch {
    note: PathBuf,
}

impl Watch {
    /// Looks for a note in `root`, removes one of an earlier start of the machine, and watches from
    /// now on.
    pub(crate) fn begin(root: &Path) -> io::Result<(Self, Cache)> {
        let note = root.join(NOTE);
        let cache = judge(&note, boot_id().as_deref()).map_err(at(&note))?;
        if cache == Cache::Doubted {
            tracing::warn!(event = "page_cache_doubted", path = %note.display());
        }
        watched().push(note.clone());
        Ok((Self { note }, cache))
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        let mut watched = watched();
        if let Some(place) = watched.iter().position(|note| *note == self.note) {
            watched.swap_remove(place);
        }
    }
}

fn watched() -> MutexGuard<'static, Vec<PathBuf>> {
    WATCHED.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Leaves the note. A file system that takes no more names has to be mounted anew before a node can
/// start on it, and that ends its cache.
pub(super) fn note_failed_sync() {
    let boot = boot_id().unwrap_or_default();
    for note in watched().iter() {
        if let Err(error) = fs::write(note, &boot) {
            tracing::error!(event = "sync_failed_not_noted", path = %note.display(), %error);
        }
    }
}

/// A note without the start of the machine that it belongs to, or read on a system that does not
/// tell its own, counts.
fn judge(note: &Path, boot: Option<&str>) -> io::Result<Cache> {
    let noted = match fs::read_to_string(note) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Cache::Trusted),
        noted => noted?,
    };
    match boot {
        Some(boot) if !noted.is_empty() && noted != boot => {
            fs::remove_file(note)?;
            Ok(Cache::Trusted)
        }
        _ => Ok(Cache::Doubted),
    }
}

/// What tells one start of the machine from another (random(4)).
fn boot_id() -> Option<String> {
    fs::read_to_string(BOOT_ID).ok().filter(|id| !id.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failed_sync_is_remembered_until_the_machine_restarts() {
        let dir = tempfile::tempdir().unwrap();
        let (watch, cache) = Watch::begin(dir.path()).unwrap();
        assert_eq!(cache, Cache::Trusted);
        note_failed_sync();
        drop(watch);
        let (watch, cache) = Watch::begin(dir.path()).unwrap();
        assert_eq!(cache, Cache::Doubted, "the next life of the process");
        drop(watch);

        let note = dir.path().join(NOTE);
        assert_eq!(
            judge(&note, Some("another start\n")).unwrap(),
            Cache::Trusted
        );
        assert!(!note.exists(), "its cache is gone");
    }

    #[test]
    fn a_note_that_says_too_little_counts() {
        let dir = tempfile::tempdir().unwrap();
        let note = dir.path().join(NOTE);
        fs::write(&note, "a start\n").unwrap();
        assert_eq!(judge(&note, None).unwrap(), Cache::Doubted);
        fs::write(&note, "").unwrap();
        assert_eq!(judge(&note, Some("a start\n")).unwrap(), Cache::Doubted);
        assert!(note.exists());
    }

    #[test]
    fn what_is_no_longer_watched_gets_no_note() {
        let dir = tempfile::tempdir().unwrap();
        drop(Watch::begin(dir.path()).unwrap());
        note_failed_sync();
        assert!(!dir.path().join(NOTE).exists());
    }
}
