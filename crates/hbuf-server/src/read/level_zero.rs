//! The tree's level 0 beside each sealed segment: the ids of its messages, so that a proof need not
//! read the messages again. Written when a proof first needs it; derived, checked when read,
//! replaceable.
//!
//! ```text
//! ids        32 bytes each, in order of seq: of the message first + i at 32 × i
//! checks     CRC32C of each 256 ids (the last of what is left), 4 bytes each
//! footer     "hbuf-ids" 8, version 4 = 1, CRC32C of checks and of the footer's rest 4,
//!            log uuid 16, first 8, count 8                                      (48 bytes)
//! ```
//!
//! Numbers are little-endian.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::Path;

use hbuf_core::ids::{Hash, Seq, Uuid};
use hbuf_core::index::Place;
use hbuf_core::limits::{HEAD_BYTES_MAX, PIECE_BYTES};
use hbuf_core::skim::id_of;

use super::segments::View;
use super::shared::{FileKey, FileKind};
use super::walk::read_at;
use super::{ReadError, Readable};

/// The names of the files that are derived from the segment of `first` and go when it goes.
#[must_use]
pub fn derived_files(first: Seq) -> [String; 4] {
    [INDEX_SUFFIX, IDS_SUFFIX, TAGS_SUFFIX, KEYS_SUFFIX].map(|suffix| derived_name(first, suffix))
}

/// Removes what is derived from the segment of `first`; that there is nothing is no error.
pub fn remove_derived_files(dir: &Path, first: Seq) -> io::Result<()> {
    for name in derived_files(first) {
        match fs::remove_file(dir.join(name)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            Ok(()) | Err(_) => {}
        }
    }
    Ok(())
}

impl Readable {
    /// The ids of the messages `from` through `through`, all committed, appended to `out`.
    pub(super) fn ids(
        &self,
        from: Seq,
        through: Seq,
        out: &mut Vec<Hash>,
    ) -> Result<(), ReadError> {
        let mut next = from;
        while next <= through {
            let Some(view) = self.view(next)? else {
                return Err(ReadError::BeforeFirst {
                    first: self.first(),
                });
            };
            let last = view.last.min(through);
            if view.sealed && view.next_file == Some(view.last.next()) {
                self.stored_ids(&view, next, last, out)?;
            } else {
                self.walk_ids(&view, next, last, out)?;
            }
            next = last.next();
        }
        Ok(())
    }

    /// Takes ids from the file beside a sealed segment, which is written when it is missing or bad.
    fn stored_ids(
        &self,
        view: &View,
        from: Seq,
        through: Seq,
        out: &mut Vec<Hash>,
    ) -> Result<(), ReadError> {
        let len = out.len();
        if self.take_stored(view, from, through, out).is_ok() {
            return Ok(());
        }
        out.truncate(len);
        let key = FileKey {
            buffer: self.number,
            file: view.file,
            kind: FileKind::Ids,
        };
        self.shared.files().remove(key);
        let mut ids = Vec::new();
        self.walk_ids(view, view.file, view.last, &mut ids)?;
        let parts = encode(self.log, view.file, &ids);
        let name = derived_name(view.file, IDS_SUFFIX);
        if let Err(error) = write_derived(&self.dir, &name, &[&parts]) {
            tracing::warn!(
                event = "ids_not_written", dir = %self.dir.display(), file = view.file.0, %error,
                "proofs read the messages again"
            );
        }
        let at =
            |seq: Seq| usize::try_from(seq.0 - view.file.0).expect("a segment's seqs fit 32 bits");
        out.extend_from_slice(&ids[at(from)..=at(through)]);
        Ok(())
    }

    fn take_stored(
        &self,
        view: &View,
        from: Seq,
        through: Seq,
        out: &mut Vec<Hash>,
    ) -> io::Result<()> {
        let key = FileKey {
            buffer: self.number,
            file: view.file,
            kind: FileKind::Ids,
        };
        let file = self.open(key, derived_name(view.file, IDS_SUFFIX))?;
        let count = view.last.0 - view.file.0 + 1;
        let checks = read_checks(&file, self.log, view.file, count)?;
        let (first, last) = (from.0 - view.file.0, through.0 - view.file.0);
        let blocks = first / BLOCK..=last / BLOCK;
        let (start, end) = (
            blocks.start() * BLOCK,
            ((blocks.end() + 1) * BLOCK).min(count),
        );
        let len = usize::try_from((end - start) * ID_BYTES).map_err(io::Error::other)?;
        let mut bytes = vec![0; len];
        if read_at(&file, &mut bytes, start * ID_BYTES)? != len {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        for (block, number) in bytes.chunks((BLOCK * ID_BYTES) as usize).zip(blocks) {
            let claimed = usize::try_from(number)
                .ok()
                .and_then(|number| checks.get(number));
            if claimed != Some(&crc32c::crc32c(block)) {
                return Err(io::Error::other("the checksum of a block of ids is wrong"));
            }
        }
        let (ids, _) = bytes.as_chunks::<{ ID_BYTES as usize }>();
        let skip = usize::try_from(first - start).map_err(io::Error::other)?;
        let take = usize::try_from(last - first + 1).map_err(io::Error::other)?;
        out.extend(ids[skip..skip + take].iter().map(|id| Hash(*id)));
        Ok(())
    }

    /// Reads ids from the messages themselves.
    fn walk_ids(
        &self,
        view: &View,
        from: Seq,
        through: Seq,
        out: &mut Vec<Hash>,
    ) -> Result<(), ReadError> {
        let file = self.segment(view.file)?;
        let mut place = Place {
            seq: from,
            offset: self.locate(view, &file, from)?,
        };
        let mut missing = false;
        while place.seq <= through {
            // A head that goes beyond what was read at once: the next walk starts with it.
            let (mut cut, start) = (false, place.seq);
            place = self.walk(view, &file, place, through, PIECE_BYTES, |record, bytes| {
                cut = bytes.len() < record.head_len as usize;
                let id = if cut {
                    None
                } else {
                    id_of(bytes, record.head_len)
                };
                missing = !cut && id.is_none();
                out.extend(id);
                id.is_some()
            })?;
            if missing || (cut && place.seq == start) {
                return Err(self.damaged(view, place.seq, "its head does not end with its id"));
            }
        }
        Ok(())
    }
}

/// The name of a file derived from the segment of `first`.
pub(super) fn derived_name(first: Seq, suffix: &str) -> String {
    format!("{:020}.{suffix}", first.0)
}

/// Writes a derived file under its name at once or not at all. Nothing is synced: after a crash its
/// checksum says whether it is whole, and if not it is made again.
pub(super) fn write_derived(dir: &Path, name: &str, parts: &[&[u8]]) -> io::Result<()> {
    let unfinished = dir.join(format!("{name}.tmp"));
    let mut file = File::create(&unfinished)?;
    let written = parts.iter().try_for_each(|part| file.write_all(part));
    let named = written.and_then(|()| fs::rename(&unfinished, dir.join(name)));
    if named.is_err() {
        fs::remove_file(&unfinished)?;
    }
    named
}

fn encode(log: Uuid, first: Seq, ids: &[Hash]) -> Vec<u8> {
    let mut out: Vec<u8> = ids.iter().flat_map(|id| id.0).collect();
    let checks: Vec<u8> = out
        .chunks((BLOCK * ID_BYTES) as usize)
        .flat_map(|block| crc32c::crc32c(block).to_le_bytes())
        .collect();
    let footer = footer(&checks, log, first, ids.len() as u64);
    out.extend_from_slice(&checks);
    out.extend_from_slice(&footer);
    out
}

fn footer(checks: &[u8], log: Uuid, first: Seq, count: u64) -> [u8; FOOTER_LEN] {
    let mut footer = [0; FOOTER_LEN];
    footer[..8].copy_from_slice(MAGIC);
    footer[8..12].copy_from_slice(&IDS_FORMAT.to_le_bytes());
    footer[16..32].copy_from_slice(&log.0);
    footer[32..40].copy_from_slice(&first.0.to_le_bytes());
    footer[40..].copy_from_slice(&count.to_le_bytes());
    let crc = crc32c::crc32c_append(crc32c::crc32c(checks), &footer);
    footer[12..16].copy_from_slice(&crc.to_le_bytes());
    footer
}

/// The CRCs of the file's blocks, if it is the file of these ids.
fn read_checks(file: &File, log: Uuid, first: Seq, count: u64) -> io::Result<Vec<u32>> {
    let checks_len = count.div_ceil(BLOCK) * 4;
    let len = usize::try_from(checks_len).map_err(io::Error::other)?;
    let mut bytes = vec![0; len + FOOTER_LEN];
    let read = read_at(file, &mut bytes, count * ID_BYTES)?;
    let (checks, footer_bytes) = bytes.split_at(len);
    let expected = footer(checks, log, first, count);
    let ends = file.metadata()?.len() == count * ID_BYTES + checks_len + FOOTER_LEN as u64;
    if read != bytes.len() || !ends || footer_bytes != expected {
        return Err(io::Error::other("not the ids of this segment"));
    }
    let (checks, _) = checks.as_chunks::<4>();
    Ok(checks
        .iter()
        .map(|check| u32::from_le_bytes(*check))
        .collect())
}

/// Suffix of the sparse index.
pub(super) const INDEX_SUFFIX: &str = "idx";
/// Suffix of the ids.
pub(super) const IDS_SUFFIX: &str = "ids";
/// Suffix of the tags.
pub(super) const TAGS_SUFFIX: &str = "tags";
/// Suffix of the keys.
pub(super) const KEYS_SUFFIX: &str = "keys";
/// The version of the ids file that this code writes and reads.
const IDS_FORMAT: u32 = 1;

const MAGIC: &[u8; 8] = b"hbuf-ids";
const FOOTER_LEN: usize = 48;
const ID_BYTES: u64 = 32;
/// Ids under one checksum.
const BLOCK: u64 = 256;

// A walk that reads whole pieces meets every head in full.
const _: () = assert!(HEAD_BYTES_MAX <= PIECE_BYTES as u64);
