//! Filters by tag and key: the dictionary of a buffer's tags, the terms of its segments, and what
//! of a segment a filter matches.
//!
//! ```text
//! siphash.rs     the keyed hash of a tag            labels.rs   key and tags of a record
//! dictionary.rs  tag -> number, in memory           blocks.rs   the same as a file
//! tag_text.rs    texts out of that file             tag_set.rs  a filter: numbers of tags
//! tag_slots.rs   its table: hash -> numbers         pieced.rs   the table's memory
//! recent.rs      the tags just met, without a read
//! postings.rs    term -> messages, one list         terms.rs    the same, a segment's file
//! open_terms.rs  the same of the open segment       latest.rs   the newest message of each key
//! bits.rs        a set of small numbers             tag_list.rs a list of tags as text
//! ```
//!
//! Everything but a list of tags is derived: it can be made again from the segments, so it is
//! checked when it is read and never repaired. A filter's answer is exact: a hash leads to a place,
//! and the bytes there decide.

mod bits;
mod blocks;
mod dictionary;
mod labels;
mod latest;
mod open_terms;
mod pieced;
mod postings;
mod recent;
mod siphash;
mod tag_list;
mod tag_set;
mod tag_slots;
mod tag_text;
mod terms;

pub use bits::Bits;
pub use blocks::{DictionaryError, Seed};
pub use dictionary::{Dictionary, Stamp, TagId};
pub use labels::{Labels, key_term, labels};
pub use latest::{LatestError, latest};
pub use open_terms::{OpenKeys, OpenTags};
pub use recent::Recent;
pub use tag_list::{
    BadLine, BadTag, LineError, TagLines, TagList, TagListError, TagListReader, TagListWriter,
};
pub use tag_set::{Plan, TagSet};
pub use terms::{TermKind, Terms, TermsError, TermsOf, encode_terms};
