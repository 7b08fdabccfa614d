//! The bare disk: append and fdatasync into a file that was written before.

use std::fs::{File, OpenOptions};
use std::io::Write;
use std::os::unix::fs::FileExt;
use std::time::Instant;

use crate::Settings;
use crate::drive::{Run, finished};
use crate::servers::child::Scratch;
use crate::stats::Recorder;

/// Bytes of one append: a record of a 256 byte message.
pub(crate) const RECORD_BYTES: usize = 560;
const FILE_BYTES: usize = 64 << 20;

/// Measures one append and fdatasync after the other.
pub(crate) fn fdatasync(settings: &Settings) -> anyhow::Result<Run> {
    let data = Scratch::new(&settings.dir, "disk")?;
    let path = data.path().join("segment");
    let mut file = OpenOptions::new()
        .create(true)
        .truncate(true)
        .write(true)
        .open(&path)?;
    for _ in 0..FILE_BYTES >> 20 {
        file.write_all(&vec![0; 1 << 20])?;
    }
    file.sync_all()?;
    File::open(data.path())?.sync_all()?;
    let record = [b'r'; RECORD_BYTES];
    let mut recorder = Recorder::default();
    let start = Instant::now();
    let mut at = 0;
    loop {
        let from = Instant::now();
        let since = from - start;
        if since >= settings.warm + settings.measured {
            return Ok(finished(&recorder, settings.measured, None));
        }
        file.write_all_at(&record, at as u64)?;
        file.sync_data()?;
        if since >= settings.warm {
            recorder.success(from.elapsed(), 1, RECORD_BYTES as u64);
        }
        at = (at + RECORD_BYTES) % (FILE_BYTES - RECORD_BYTES);
    }
}
