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
