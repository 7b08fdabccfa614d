//! Checks the file of a stored filter: it says itself what it must hold.

use std::fs::File;
use std::io::Read as _;
use std::path::Path;

use anyhow::{Context as _, Result};
use hbuf_core::filter::{TagList, TagListError, TagListReader};

/// What is wrong with a filter's file, if anything is.
pub(crate) fn check_filter(path: &Path) -> Result<Option<TagListError>> {
    let cannot = || format!("cannot read {}", path.display());
    let mut file = File::open(path).with_context(cannot)?;
    let mut piece = Vec::with_capacity(PIECE_BYTES);
    let mut take = |piece: &mut Vec<u8>| {
        piece.clear();
        let limited = (&mut file).take(PIECE_BYTES as u64).read_to_end(piece);
        limited.with_context(cannot)
    };
    take(&mut piece)?;
    let key = path.file_stem().and_then(|name| name.to_str());
    let (list, head) = match TagList::parse_named(&piece, key.unwrap_or_default()) {
        Ok(parsed) => parsed,
        Err(error) => return Ok(Some(error)),
    };
    piece.drain(..head);
    let mut reader = TagListReader::new(list);
    loop {
        if let Err(error) = reader.feed(&piece, |_, _| {}) {
            return Ok(Some(error));
        }
        if take(&mut piece)? == 0 {
            return Ok(reader.finish().err());
        }
    }
}

/// Bytes that are read at once; the first line is shorter.
const PIECE_BYTES: usize = 1 << 20;
const _: () = assert!(TagList::HEAD_BYTES_MAX < PIECE_BYTES);
