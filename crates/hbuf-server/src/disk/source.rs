//! A file as the core reads it.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt as _;
use std::path::Path;

use hbuf_core::segment::{ReadFailed, Source};

/// An open file of known length.
#[derive(Debug)]
pub(crate) struct FileSource {
    file: File,
    len: u64,
}

impl FileSource {
    pub(crate) fn open(path: &Path) -> io::Result<Self> {
        let file = File::open(path)?;
        let len = file.metadata()?.len();
        Ok(Self { file, len })
    }
}

impl FileSource {
    /// Its length in bytes.
    pub(crate) const fn bytes(&self) -> u64 {
        self.len
    }

    /// The file itself, to sync it.
    pub(crate) const fn file(&self) -> &File {
        &self.file
    }

    /// Lets go of what the page cache shows of the file, so that it is read from the disk: after a
    /// failed write the cache may show what the disk does not have. What the system has not tried
    /// to write yet stays, and the sync at the end of a recovery tries it.
    pub(crate) fn drop_cache(&self) {
        if let Err(error) = rustix::fs::fadvise(&self.file, 0, None, rustix::fs::Advice::DontNeed) {
            tracing::debug!(event = "fadvise_refused", %error);
        }
    }
}

impl Source for FileSource {
    fn len(&self) -> u64 {
        self.len
    }

    fn read_at(&self, offset: u64, buf: &mut [u8]) -> Result<(), ReadFailed> {
        let failed = |error: io::Error| ReadFailed {
            offset,
            reason: error.to_string(),
        };
        self.file.read_exact_at(buf, offset).map_err(failed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TMPFS_MAGIC: u64 = 0x0102_1994;

    /// Bytes that this process has had read from storage (proc(5), `io`). Asking the page cache
    /// itself would not do: a read that must not wait starts to read ahead, and where the disk is
    /// quick it finds what it asked for.
    fn read_from_storage() -> u64 {
        let io = std::fs::read_to_string("/proc/self/io").unwrap();
        let line = io
            .lines()
            .find_map(|line| line.strip_prefix("read_bytes: "));
        line.unwrap().parse().unwrap()
    }

    #[test]
    fn after_its_cache_was_dropped_a_file_is_read_from_the_disk() {
        let dir = tempfile::tempdir().unwrap();
        let magic = rustix::fs::statfs(dir.path()).unwrap().f_type;
        if magic.cast_unsigned() == TMPFS_MAGIC {
            // Nothing is behind its cache.
            return;
        }
        let path = dir.path().join("file");
        std::fs::write(&path, vec![7; 8192]).unwrap();
        File::open(&path).unwrap().sync_all().unwrap();
        let source = FileSource::open(&path).unwrap();
        let mut bytes = [0; 8192];
        let before = read_from_storage();
        source.read_at(0, &mut bytes).unwrap();
        assert_eq!(read_from_storage(), before, "it was just written");
        source.drop_cache();
        source.read_at(0, &mut bytes).unwrap();
        assert!(read_from_storage() >= before + 8192);
        assert_eq!(bytes, [7; 8192]);
    }
}
