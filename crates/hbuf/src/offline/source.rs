//! A file as the core reads it.

use std::fs::File;
use std::os::unix::fs::FileExt as _;
use std::path::Path;
use std::time::{Duration, SystemTime};

use anyhow::{Context as _, Result};
use hbuf_core::segment::{ReadFailed, Source};

/// An open file and its length when it was opened.
#[derive(Debug)]
pub(super) struct FileSource {
    file: File,
    len: u64,
    modified: Option<SystemTime>,
}

impl FileSource {
    pub(super) fn open(path: &Path) -> Result<Self> {
        let file = File::open(path).with_context(|| format!("cannot open {}", path.display()))?;
        let facts = file
            .metadata()
            .with_context(|| format!("cannot open {}", path.display()))?;
        Ok(Self {
            file,
            len: facts.len(),
            modified: facts.modified().ok(),
        })
    }

    /// Whether somebody may be writing it now.
    pub(super) fn is_fresh(&self) -> bool {
        let age = self.modified.and_then(|modified| modified.elapsed().ok());
        age.is_none_or(|age| age < FRESH)
    }
}

/// A file that was not written for so long is not being appended to at this moment.
const FRESH: Duration = Duration::from_secs(10);

impl Source for FileSource {
    fn len(&self) -> u64 {
        self.len
    }

    fn read_at(&self, offset: u64, buf: &mut [u8]) -> Result<(), ReadFailed> {
        self.file
            .read_exact_at(buf, offset)
            .map_err(|error| ReadFailed {
                offset,
                reason: error.to_string(),
            })
    }
}
