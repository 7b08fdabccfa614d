//! The `name: value` lines in the bodies of heads and marks: fixed names in a fixed order, so that
//! a person reads them with `head` and a program in one pass.

use alloc::vec::Vec;

use crate::digits::{push_decimal, read_decimal_plain, read_uuid, write_hash};
use crate::ids::{Epoch, Hash, Seq, Uuid};
use crate::limits::EPOCHS_MAX;
use crate::tree::Frontier;

/// A line is missing, out of place, or does not hold what its name says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
#[error("`{name}` is missing, out of place or unreadable")]
pub struct FieldError {
    /// The field that was due.
    pub name: &'static str,
}

/// Appends one line.
pub(crate) fn push_field(name: &str, out: &mut Vec<u8>, value: impl FnOnce(&mut Vec<u8>)) {
    out.extend_from_slice(name.as_bytes());
    out.extend_from_slice(b": ");
    value(out);
    out.push(b'\n');
}

/// Appends a tree's size and nodes.
pub(crate) fn push_frontier(frontier: &Frontier, out: &mut Vec<u8>) {
    push_field("size", out, |out| push_decimal(frontier.size(), out));
    for node in frontier.nodes() {
        push_field("node", out, |out| {
            let mut digits = [0; 64];
            write_hash(node, &mut digits);
            out.extend_from_slice(&digits);
        });
    }
}

/// Reads what [`push_frontier`] wrote.
pub(crate) fn read_frontier(fields: &mut Fields<'_>) -> Result<Frontier, FieldError> {
    let size = fields.number("size")?;
    let mut nodes = Vec::new();
    while let Some(value) = fields.optional("node") {
        nodes.push(Hash::parse_hex(value).ok_or(FieldError { name: "node" })?);
    }
    Frontier::from_parts(size, nodes).ok_or(FieldError { name: "node" })
}

/// Appends the epoch table: each epoch with its first seq.
pub(crate) fn push_epochs(epochs: &[(Epoch, Seq)], out: &mut Vec<u8>) {
    for (epoch, first) in epochs {
        push_field("epoch", out, |out| {
            push_decimal(u64::from(epoch.0), out);
            out.push(b' ');
            push_decimal(first.0, out);
        });
    }
}

/// Reads what [`push_epochs`] wrote: rising epochs, seqs that never fall.
pub(crate) fn read_epochs(fields: &mut Fields<'_>) -> Result<Vec<(Epoch, Seq)>, FieldError> {
    let error = FieldError { name: "epoch" };
    let mut epochs: Vec<(Epoch, Seq)> = Vec::new();
    while let Some(value) = fields.optional("epoch") {
        let space = value.iter().position(|&byte| byte == b' ').ok_or(error)?;
        let epoch = read_decimal_plain(&value[..space]).and_then(|epoch| epoch.try_into().ok());
        let first = read_decimal_plain(&value[space + 1..]);
        let entry = (Epoch(epoch.ok_or(error)?), Seq(first.ok_or(error)?));
        let rises = epochs
            .last()
            .is_none_or(|last| last.0 < entry.0 && last.1 <= entry.1);
        if !rises || epochs.len() == EPOCHS_MAX {
            return Err(error);
        }
        epochs.push(entry);
    }
    Ok(epochs)
}

/// Shortens an epoch table to `count` entries by merging the oldest: the first keeps its number and
/// takes over the records of those behind it. A reconciliation that asks about one of the merged
/// epochs hears of an older one and so compares more records, never fewer.
pub(crate) fn merge_epochs(epochs: &[(Epoch, Seq)], count: usize) -> Vec<(Epoch, Seq)> {
    let mut merged = Vec::with_capacity(count.min(epochs.len()));
    if epochs.len() <= count || count == 0 {
        merged.extend_from_slice(&epochs[..epochs.len().min(count)]);
        return merged;
    }
    merged.push(epochs[0]);
    merged.extend_from_slice(&epochs[epochs.len() - (count - 1)..]);
    merged
}

/// Reads the lines one by one.
pub(crate) struct Fields<'a> {
    rest: &'a [u8],
}

impl<'a> Fields<'a> {
    pub(crate) const fn new(body: &'a [u8]) -> Self {
        Self { rest: body }
    }

    /// The value of the next line, which must have this name.
    pub(crate) fn value(&mut self, name: &'static str) -> Result<&'a [u8], FieldError> {
        self.optional(name).ok_or(FieldError { name })
    }

    /// The value of the next line if it has this name.
    pub(crate) fn optional(&mut self, name: &str) -> Option<&'a [u8]> {
        let rest = self
            .rest
            .strip_prefix(name.as_bytes())?
            .strip_prefix(b": ")?;
        let end = memchr::memchr(b'\n', rest)?;
        self.rest = &rest[end + 1..];
        Some(&rest[..end])
    }

    pub(crate) fn number(&mut self, name: &'static str) -> Result<u64, FieldError> {
        read_decimal_plain(self.value(name)?).ok_or(FieldError { name })
    }

    pub(crate) fn uuid(&mut self, name: &'static str) -> Result<Uuid, FieldError> {
        read_uuid(self.value(name)?).ok_or(FieldError { name })
    }

    /// Nothing may follow.
    pub(crate) fn end(&self) -> Result<(), FieldError> {
        if self.rest.is_empty() {
            Ok(())
        } else {
            Err(FieldError { name: "the end" })
        }
    }
}
