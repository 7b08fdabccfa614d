//! One process per data directory, and the directory's identity.

use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use hbuf_core::ids::Uuid;
use rustix::fs::FlockOperation;
use serde::{Deserialize, Serialize};

use super::doubt::{Cache, Watch};
use super::layout::Layout;
use super::sync::{self, SyncPoint};

/// The version of the directory's layout that this program writes and reads.
const FORMAT: u32 = 1;

/// Why the data directory cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum DirectoryError {
    /// Another process uses it.
    #[error("{} is in use by another hbuf process: stop that one or choose another --data", .0.display())]
    InUse(PathBuf),
    /// It was written by a newer or unknown version.
    #[error("{} has format {found}, this hbuf reads format {FORMAT}: use the hbuf that wrote it", path.display())]
    Format {
        /// The file that says so.
        path: PathBuf,
        /// The format found.
        found: u32,
    },
    /// Its description cannot be read.
    #[error("{} cannot be read ({reason}): restore it from a backup, or choose another --data", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// There is something else.
    #[error("{} is no directory: choose another --data", .0.display())]
    NoDirectory(PathBuf),
    /// The system refused.
    #[error("{}: {error}", path.display())]
    Io {
        /// The file or directory.
        path: PathBuf,
        /// What the system said.
        error: io::Error,
    },
}

/// `node.json`: who wrote this directory, and how often it was started.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct NodeFile {
    format: u32,
    disk: String,
    starts: u64,
}

/// The locked data directory. The lock goes with the process, however it ends.
#[derive(Debug)]
pub(crate) struct DataDirectory {
    pub(crate) layout: Layout,
    /// The identity of this disk.
    pub(crate) disk: Uuid,
    /// How often the directory was used, this time included.
    pub(crate) starts: u64,
    /// What its recovery may read.
    pub(crate) cache: Cache,
    _watch: Watch,
    _lock: File,
}

impl DataDirectory {
    /// Makes the directory if needed, locks it, checks its format and counts the start.
    pub(crate) fn open(root: &Path, new_disk: Uuid) -> Result<Self, DirectoryError> {
        let layout = Layout::new(root.to_path_buf());
        let at = |path: &Path| {
            let path = path.to_path_buf();
            move |error| DirectoryError::Io { path, error }
        };
        let parts = [
            layout.journal(),
            layout.pool(),
            layout.manager(),
            layout.quarantine(),
            layout.names(),
            layout.buffers(),
        ];
        if fs::metadata(root).is_ok_and(|found| !found.is_dir()) {
            return Err(DirectoryError::NoDirectory(root.to_owned()));
        }
        create_root(root).map_err(at(root))?;
        let lock = lock(root)?;
        for part in &parts {
            fs::create_dir_all(part).map_err(at(part))?;
        }
        let (watch, cache) = Watch::begin(root).map_err(at(root))?;
        let path = root.join("node.json");
        let (disk, before) = read_node_file(&path)?.unwrap_or((new_disk, 0));
        let starts = before + 1;
        // A crash before these leaves an empty directory, which the next start completes. The sync
        // of the root in the second one covers the directories that were made in it above.
        let manager = root.join("manager");
        sync::sync_dir(&manager, SyncPoint::Layout).map_err(at(&manager))?;
        write_node_file(root, disk, starts).map_err(at(&path))?;
        Ok(Self {
            layout,
            disk,
            starts,
            cache,
            _watch: watch,
            _lock: lock,
        })
    }
}

/// Makes the directory and those above it that are missing, and their names durable: a buffer is
/// as lost without its directory's name as without its data.
fn create_root(root: &Path) -> io::Result<()> {
    let root = std::path::absolute(root)?;
    let missing: Vec<&Path> = root.ancestors().take_while(|path| !path.exists()).collect();
    fs::create_dir_all(&root)?;
    // The last start may have made the directory and ended before this, so its own name is always
    // synced. A parent that may not be read was not made here.
    for made in missing.iter().copied().chain([root.as_path()]) {
        let Some(parent) = made.parent() else {
            continue;
        };
        match sync::sync_dir(parent, SyncPoint::RootEntry) {
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {}
            synced => synced?,
        }
    }
    Ok(())
}

fn lock(root: &Path) -> Result<File, DirectoryError> {
    let path = root.join("lock");
    let at = |error| DirectoryError::Io {
        path: path.clone(),
        error,
    };
    let file = File::options()
        .create(true)
        .truncate(false)
        .write(true)
        .open(&path)
        .map_err(at)?;
    match rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => Ok(file),
        Err(rustix::io::Errno::WOULDBLOCK) => Err(DirectoryError::InUse(root.to_path_buf())),
        Err(error) => Err(at(error.into())),
    }
}

/// Reads disk id and starts from `node.json`; `None` in a directory that has none.
fn read_node_file(path: &Path) -> Result<Option<(Uuid, u64)>, DirectoryError> {
    let text = match fs::read_to_string(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => {
            return Err(DirectoryError::Io {
                path: path.to_path_buf(),
                error,
            });
        }
        Ok(text) => text,
    };
    let unreadable = |reason: String| DirectoryError::Unreadable {
        path: path.to_path_buf(),
        reason,
    };
    let value = serde_json::from_str::<serde_json::Value>(&text)
        .map_err(|error| unreadable(error.to_string()))?;
    match value.get("format").and_then(serde_json::Value::as_u64) {
        Some(found) if found != u64::from(FORMAT) => {
            let found = u32::try_from(found).unwrap_or(u32::MAX);
            return Err(DirectoryError::Format {
                path: path.to_path_buf(),
                found,
            });
        }
        _ => {}
    }
    let node: NodeFile =
        serde_json::from_value(value).map_err(|error| unreadable(error.to_string()))?;
    let disk = Uuid::parse(&node.disk).ok_or_else(|| unreadable("disk is no uuid".into()))?;
    Ok(Some((disk, node.starts)))
}

/// A crash before the rename leaves `node.json` as it was; one after it leaves the new one whole.
fn write_node_file(root: &Path, disk: Uuid, starts: u64) -> io::Result<()> {
    let temporary = root.join("node.json.new");
    let mut file = File::create(&temporary)?;
    let node = NodeFile {
        format: FORMAT,
        disk: disk.to_string(),
        starts,
    };
    file.write_all(serde_json::to_string_pretty(&node)?.as_bytes())?;
    file.write_all(b"\n")?;
    sync::sync_all(&file, SyncPoint::Node)?;
    fs::rename(&temporary, root.join("node.json"))?;
    sync::sync_dir(root, SyncPoint::NodeEntry)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_in_use_is_refused_and_keeps_its_identity() {
        let dir = tempfile::tempdir().unwrap();
        let first = DataDirectory::open(dir.path(), Uuid([1; 16])).unwrap();
        assert_eq!(first.disk, Uuid([1; 16]));
        let second = DataDirectory::open(dir.path(), Uuid([2; 16]));
        assert!(matches!(second, Err(DirectoryError::InUse(_))));
        drop(first);
        let again = DataDirectory::open(dir.path(), Uuid([3; 16])).unwrap();
        assert_eq!((again.disk, again.starts), (Uuid([1; 16]), 2));
    }

    #[test]
    fn a_file_is_no_directory() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("file");
        fs::write(&file, "x").unwrap();
        let error = DataDirectory::open(&file, Uuid([1; 16])).unwrap_err();
        assert!(error.to_string().contains("is no directory"), "{error}");
    }

    #[test]
    fn a_newer_format_is_refused_with_both_versions() {
        let dir = tempfile::tempdir().unwrap();
        let node = r#"{"format": 9, "disk": "x", "more": true}"#;
        fs::write(dir.path().join("node.json"), node).unwrap();
        let error = DataDirectory::open(dir.path(), Uuid([1; 16])).unwrap_err();
        assert!(
            error
                .to_string()
                .contains("has format 9, this hbuf reads format 1"),
            "{error}"
        );
    }
}
