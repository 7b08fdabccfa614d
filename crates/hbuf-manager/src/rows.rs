//! Snapshots as rows of text, in pieces, ended by their count and hash.

use alloc::string::{String, ToString};

use hbuf_core::ids::Hash;
use sha2::{Digest, Sha256};

use crate::catalog::Catalog;
use crate::lines::{FieldError, Fields, Layout, Writer};
use crate::state::State;

/// The version of the rows that are written. The first format had no sessions, and what is now an
/// assignment of its own stood in the row of its buffer; it is still read.
pub(crate) const FORMAT: u32 = 2;

/// Why a snapshot cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SnapshotError {
    /// A newer format.
    #[error(
        "the snapshot has format {format}, and this hbuf reads up to {FORMAT}; start a newer version"
    )]
    Format {
        /// Its format.
        format: u32,
    },
    /// A row that cannot be read.
    #[error("row {row} of the snapshot cannot be read: {why}")]
    Row {
        /// Its number, counting from 1.
        row: u64,
        /// What is wrong.
        why: FieldError,
    },
    /// A row of an unknown kind.
    #[error("row {row} of the snapshot is of the unknown kind `{kind}`")]
    Kind {
        /// Its number, counting from 1.
        row: u64,
        /// Its first word.
        kind: String,
    },
    /// The end is missing, or its count or hash is another.
    #[error("the snapshot is not whole: {what}")]
    NotWhole {
        /// What is missing.
        what: &'static str,
    },
    /// The rows contradict each other.
    #[error("the snapshot contradicts itself: {0}")]
    Broken(String),
}

/// Collects rows into pieces and hashes them.
pub struct Rows<P> {
    out: Writer,
    count: u64,
    hash: Sha256,
    piece_bytes: usize,
    put: P,
}

impl<E, P: FnMut(&[u8]) -> Result<(), E>> Rows<P> {
    pub(crate) fn new(piece_bytes: usize, put: P) -> Self {
        Self {
            out: Writer::new(Layout::Row),
            count: 0,
            hash: Sha256::new(),
            piece_bytes,
            put,
        }
    }

    pub(crate) fn row(&mut self, kind: &str, write: impl FnOnce(&mut Writer)) -> Result<(), E> {
        let start = self.out.text.len();
        self.out.text.push_str(kind);
        write(&mut self.out);
        self.out.text.push('\n');
        self.hash.update(&self.out.text.as_bytes()[start..]);
        self.count += 1;
        if self.out.text.len() < self.piece_bytes {
            return Ok(());
        }
        self.flush()
    }

    fn flush(&mut self) -> Result<(), E> {
        (self.put)(self.out.text.as_bytes())?;
        self.out.text.clear();
        Ok(())
    }

    pub(crate) fn finish(mut self) -> Result<Hash, E> {
        let hash = Hash(self.hash.finalize().into());
        self.out.text.push_str("end");
        self.out.field("rows", self.count);
        self.out.field("hash", hash);
        self.out.text.push('\n');
        (self.put)(self.out.text.as_bytes())?;
        Ok(hash)
    }
}

/// Reads rows piece by piece, and checks that they are whole.
#[derive(Clone, Debug, Default)]
struct RowReader {
    rows: u64,
    hash: Sha256,
    ended: bool,
    format: u32,
}

impl RowReader {
    /// Takes the next piece, which holds whole rows. `take` gets each row's kind and fields and the
    /// format of the first row, and says whether it knows the kind.
    fn push(
        &mut self,
        piece: &[u8],
        mut take: impl FnMut(&str, &mut Fields<'_>, u32) -> Result<bool, FieldError>,
    ) -> Result<(), SnapshotError> {
        let not_text = |_| SnapshotError::Row {
            row: self.rows + 1,
            why: FieldError::NotText,
        };
        let text = core::str::from_utf8(piece).map_err(not_text)?;
        for line in text.split_inclusive('\n') {
            if self.ended {
                return Err(SnapshotError::NotWhole {
                    what: "there is something behind its end",
                });
            }
            self.line(line, &mut take)?;
        }
        Ok(())
    }

    /// Refuses rows of which the last one is missing.
    fn check_ended(&self) -> Result<(), SnapshotError> {
        match self.ended {
            true => Ok(()),
            false => Err(SnapshotError::NotWhole {
                what: "its last row is missing",
            }),
        }
    }

    fn line(
        &mut self,
        line: &str,
        take: &mut impl FnMut(&str, &mut Fields<'_>, u32) -> Result<bool, FieldError>,
    ) -> Result<(), SnapshotError> {
        let row = self.rows + 1;
        let unreadable = |why| SnapshotError::Row { row, why };
        let text = line.strip_suffix('\n').unwrap_or(line);
        let (kind, rest) = text.split_once(' ').unwrap_or((text, ""));
        let mut fields = Fields::read_row(rest).map_err(unreadable)?;
        if kind == "end" {
            return self.end(&mut fields).map_err(unreadable)?;
        }
        if row == 1 {
            self.format = fields.parse("format").map_err(unreadable)?;
            if !(1..=FORMAT).contains(&self.format) {
                let format = self.format;
                return Err(SnapshotError::Format { format });
            }
        }
        if !take(kind, &mut fields, self.format).map_err(unreadable)? {
            return Err(SnapshotError::Kind {
                row,
                kind: kind.to_string(),
            });
        }
        fields.finish().map_err(unreadable)?;
        self.hash.update(line.as_bytes());
        self.rows = row;
        Ok(())
    }

    fn end(&mut self, fields: &mut Fields<'_>) -> Result<Result<(), SnapshotError>, FieldError> {
        let rows: u64 = fields.parse("rows")?;
        let hash = fields.with("hash", |value| Hash::parse_hex(value.as_bytes()))?;
        self.ended = true;
        let counted: [u8; 32] = core::mem::take(&mut self.hash).finalize().into();
        if rows != self.rows || hash.0 != counted {
            let what = "the hash at its end is another";
            return Ok(Err(SnapshotError::NotWhole { what }));
        }
        Ok(Ok(()))
    }
}

/// Reads a snapshot piece by piece.
#[derive(Debug, Default)]
pub struct SnapshotReader<S = Catalog> {
    state: S,
    rows: RowReader,
}

impl<S: State> SnapshotReader<S> {
    /// A reader before the first piece.
    #[must_use]
    pub fn new() -> Self {
        Self {
            state: S::default(),
            rows: RowReader::default(),
        }
    }

    /// Takes the next piece, which holds whole rows.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn push(&mut self, piece: &[u8]) -> Result<(), SnapshotError> {
        let Self { state, rows } = self;
        rows.push(piece, |kind, fields, format| {
            state.take_row(kind, fields, format)
        })
    }

    /// Whether the last row was read.
    #[must_use]
    pub const fn ended(&self) -> bool {
        self.rows.ended
    }

    /// The state, when the snapshot was whole and makes sense.
    ///
    /// # Errors
    /// What is missing, or contradicts itself.
    pub fn finish(mut self) -> Result<S, SnapshotError> {
        self.rows.check_ended()?;
        self.state.finish_rows()?;
        Ok(self.state)
    }
}
