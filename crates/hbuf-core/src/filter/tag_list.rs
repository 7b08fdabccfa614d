//! A list of tags as text, one a line: what a client uploads, and the file that a filter is.
//!
//! ```text
//! hbuf-filter 1 tags=0000000002 bytes=0000000000000012 sha256=<64 hex> name=<name>
//! web7
//! eu-west-1
//! ```
//!
//! `bytes` and `sha256` are those of the lines behind the first. Line ends are LF. Each tag stands
//! there once, in the order of its first coming.

use alloc::vec::Vec;

use sha2::{Digest as _, Sha256};

use crate::content::token::is_value;
use crate::digits::read_hash;
use crate::ids::Hash;
use crate::limits::{FILTER_LINE_BYTES_MAX, FILTER_TAGS_MAX, NAME_BYTES_MAX, TAG_BYTES_MAX};

/// Why a line is no tag.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
pub enum BadLine {
    /// Too many bytes.
    #[error("the tag has more than {TAG_BYTES_MAX} bytes")]
    Long,
    /// Tags are separated by commas where a message names them.
    #[error("a tag holds no comma: write one tag a line")]
    Comma,
    /// A control character.
    #[error("the tag holds a control character")]
    Control,
    /// More tags than a filter may have.
    #[error("a filter has at most {FILTER_TAGS_MAX} tags")]
    Many,
    /// Not a JSON string, where lines are JSON.
    #[error("the line is no JSON string")]
    Json,
}

/// Why no message can have a tag.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
pub enum BadTag {
    /// Nothing.
    #[error("is empty: leave it out")]
    Empty,
    /// Too many bytes.
    #[error("has more than {TAG_BYTES_MAX} bytes, which no tag has")]
    Long,
    /// Tags are separated by commas where a message names them.
    #[error("holds a comma, which separates tags: name each tag by itself")]
    Comma,
}

impl BadTag {
    /// Checks tags that settings name, in order. The number of the first bad one counts from 1.
    pub fn find<T: AsRef<[u8]>>(tags: &[T]) -> Option<(usize, Self)> {
        let bad = |tag: &[u8]| match tag.len() {
            0 => Some(Self::Empty),
            _ if tag.contains(&b',') => Some(Self::Comma),
            bytes => (bytes > TAG_BYTES_MAX).then_some(Self::Long),
        };
        let mut tags = tags.iter().enumerate();
        tags.find_map(|(at, tag)| bad(tag.as_ref()).map(|why| (at + 1, why)))
    }
}

/// A line that is no tag; nothing of the list is taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
#[error("line {line}: {why}")]
pub struct LineError {
    /// Its number, from 1.
    pub line: u64,
    /// What is wrong with it.
    pub why: BadLine,
}

/// Splits a stream into its lines.
#[derive(Clone, Debug, Default)]
pub struct TagLines {
    part: Vec<u8>,
    line: u64,
}

impl TagLines {
    /// Takes in the next bytes and hands out each line that ends in them, without white space at
    /// its ends, and its number; blank ones are passed over.
    pub fn feed<E: From<LineError>>(
        &mut self,
        mut bytes: &[u8],
        mut each: impl FnMut(u64, &[u8]) -> Result<(), E>,
    ) -> Result<(), E> {
        while let Some(end) = memchr::memchr(b'\n', bytes) {
            let (line, rest) = (&bytes[..end], &bytes[end + 1..]);
            bytes = rest;
            self.line += 1;
            if self.part.is_empty() {
                self.hand_out(line, &mut each)?;
            } else {
                self.extend(line)?;
                let part = core::mem::take(&mut self.part);
                self.hand_out(&part, &mut each)?;
            }
        }
        self.line += 1;
        self.extend(bytes)?;
        self.line -= 1;
        Ok(())
    }

    /// Hands out the last line, which has no end.
    pub fn finish<E: From<LineError>>(
        mut self,
        mut each: impl FnMut(u64, &[u8]) -> Result<(), E>,
    ) -> Result<(), E> {
        self.line += 1;
        let part = core::mem::take(&mut self.part);
        self.hand_out(&part, &mut each)
    }

    fn extend(&mut self, bytes: &[u8]) -> Result<(), LineError> {
        if self.part.len() + bytes.len() > FILTER_LINE_BYTES_MAX {
            return Err(self.error(BadLine::Long));
        }
        self.part.extend_from_slice(bytes);
        Ok(())
    }

    fn hand_out<E: From<LineError>>(
        &self,
        line: &[u8],
        each: &mut impl FnMut(u64, &[u8]) -> Result<(), E>,
    ) -> Result<(), E> {
        if line.len() > FILTER_LINE_BYTES_MAX {
            return Err(self.error(BadLine::Long).into());
        }
        match line.trim_ascii() {
            b"" => Ok(()),
            line => each(self.line, line),
        }
    }

    const fn error(&self, why: BadLine) -> LineError {
        LineError {
            line: self.line,
            why,
        }
    }
}

/// What a filter's file says about itself in its first line.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct TagList {
    /// The filter's name, as it was given.
    pub name: Vec<u8>,
    /// How many tags it has.
    pub tags: u32,
    /// Bytes of the lines behind the first.
    pub bytes: u64,
    /// Their SHA-256.
    pub sha256: Hash,
}

/// Why bytes are no filter's file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
pub enum TagListError {
    /// The first line is another.
    #[error("the file does not start with the line of a filter")]
    Form,
    /// The lines are not those that the first one is about.
    #[error("the tags are not those of the file's first line")]
    Differs,
    /// The first line names another filter than the file's name does.
    #[error("the first line names another filter than the file")]
    Name,
}

impl TagList {
    /// Longest first line, its end included.
    pub const HEAD_BYTES_MAX: usize = HEAD_LEN + NAME_BYTES_MAX;

    /// The first line of the file; as long for any numbers.
    #[must_use]
    pub fn head(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(HEAD_LEN + self.name.len());
        out.extend_from_slice(MAGIC);
        out.extend_from_slice(alloc::format!("{:010}", self.tags).as_bytes());
        out.extend_from_slice(BYTES);
        out.extend_from_slice(alloc::format!("{:016}", self.bytes).as_bytes());
        out.extend_from_slice(SHA256);
        out.extend_from_slice(&self.sha256.hex());
        out.extend_from_slice(NAME);
        out.extend_from_slice(&self.name);
        out.push(b'\n');
        out
    }

    /// Reads the first line at the start of `bytes`; answers its length too.
    pub fn parse(bytes: &[u8]) -> Result<(Self, usize), TagListError> {
        let end = memchr::memchr(b'\n', bytes).ok_or(TagListError::Form)?;
        let read = || {
            let rest = bytes[..end].strip_prefix(MAGIC)?;
            let (tags, rest) = rest.split_at_checked(10)?;
            let (bytes, rest) = rest.strip_prefix(BYTES)?.split_at_checked(16)?;
            let (sha256, rest) = rest.strip_prefix(SHA256)?.split_at_checked(64)?;
            let name = rest.strip_prefix(NAME)?;
            Some(Self {
                name: name.to_vec(),
                tags: u32::try_from(decimal(tags)?).ok()?,
                bytes: decimal(bytes)?,
                sha256: read_hash(sha256)?,
            })
        };
        Ok((read().ok_or(TagListError::Form)?, end + 1))
    }

    /// The same of the file that stands under `key`, the filter's name in lower case.
    pub fn parse_named(bytes: &[u8], key: &str) -> Result<(Self, usize), TagListError> {
        let (list, len) = Self::parse(bytes)?;
        if list.name.to_ascii_lowercase() == key.as_bytes() {
            Ok((list, len))
        } else {
            Err(TagListError::Name)
        }
    }
}

/// Checks the lines of a filter's file against its first one.
#[derive(Clone, Debug)]
pub struct TagListReader {
    list: TagList,
    lines: TagLines,
    read: TagListWriter,
    out: Vec<u8>,
}

impl TagListReader {
    /// Behind the first line, which is this.
    #[must_use]
    pub fn new(list: TagList) -> Self {
        Self {
            list,
            lines: TagLines::default(),
            read: TagListWriter::default(),
            out: Vec::new(),
        }
    }

    /// Takes in the next bytes and hands out the tags that end in them, with their lines' numbers
    /// behind the first.
    pub fn feed(
        &mut self,
        bytes: &[u8],
        mut each: impl FnMut(u64, &[u8]),
    ) -> Result<(), TagListError> {
        let (read, out) = (&mut self.read, &mut self.out);
        let fed = self.lines.feed(bytes, |line, tag| {
            each(line, tag);
            read.push(tag, out).map_err(|why| LineError { line, why })
        });
        self.out.clear();
        fed.map_err(|_| TagListError::Differs)
    }

    /// The file has ended: whether it is the one that its first line is about.
    pub fn finish(self) -> Result<TagList, TagListError> {
        // Each line of such a file has an end, so what is left is none of it.
        let rest = |line, _: &[u8]| {
            let why = BadLine::Many;
            Err(LineError { line, why })
        };
        self.lines.finish(rest).map_err(|_| TagListError::Differs)?;
        self.read.agrees(&self.list)?;
        Ok(self.list)
    }
}

/// Checks tags and writes their lines.
#[derive(Clone, Debug, Default)]
pub struct TagListWriter {
    hash: Sha256,
    tags: u32,
    bytes: u64,
}

impl TagListWriter {
    /// Whether a line, without white space at its ends, is a tag.
    pub fn check(line: &[u8]) -> Result<(), BadLine> {
        if line.len() > TAG_BYTES_MAX {
            Err(BadLine::Long)
        } else if line.contains(&b',') {
            Err(BadLine::Comma)
        } else if !is_value(line) || line.contains(&b'\t') {
            Err(BadLine::Control)
        } else {
            Ok(())
        }
    }

    /// Appends the line of a tag that is not in the list yet.
    pub fn push(&mut self, tag: &[u8], out: &mut Vec<u8>) -> Result<(), BadLine> {
        if self.tags == FILTER_TAGS_MAX {
            return Err(BadLine::Many);
        }
        self.tags += 1;
        self.bytes += tag.len() as u64 + 1;
        let start = out.len();
        out.extend_from_slice(tag);
        out.push(b'\n');
        self.hash.update(&out[start..]);
        Ok(())
    }

    /// How many tags were written.
    #[must_use]
    pub const fn tags(&self) -> u32 {
        self.tags
    }

    /// What the first line is to say.
    #[must_use]
    pub fn list(&self, name: &[u8]) -> TagList {
        TagList {
            name: name.to_vec(),
            tags: self.tags,
            bytes: self.bytes,
            sha256: Hash(self.hash.clone().finalize().into()),
        }
    }

    /// Whether the lines written are those of a list.
    pub fn agrees(&self, list: &TagList) -> Result<(), TagListError> {
        if self.list(&list.name) == *list {
            Ok(())
        } else {
            Err(TagListError::Differs)
        }
    }
}

fn decimal(digits: &[u8]) -> Option<u64> {
    let text = core::str::from_utf8(digits).ok()?;
    text.bytes()
        .all(|digit| digit.is_ascii_digit())
        .then(|| text.parse().ok())?
}

const MAGIC: &[u8] = b"hbuf-filter 1 tags=";
const BYTES: &[u8] = b" bytes=";
const SHA256: &[u8] = b" sha256=";
const NAME: &[u8] = b" name=";
const HEAD_LEN: usize = MAGIC.len() + 10 + BYTES.len() + 16 + SHA256.len() + 64 + NAME.len() + 1;

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::string::String;
    use alloc::vec;
    use proptest::prelude::*;

    type Lines = Result<Vec<(u64, Vec<u8>)>, LineError>;

    fn lines(text: &[u8], cut: usize) -> Lines {
        let (mut lines, mut out) = (TagLines::default(), Vec::new());
        let mut each = |line: u64, tag: &[u8]| {
            out.push((line, tag.to_vec()));
            Ok::<_, LineError>(())
        };
        for piece in text.chunks(cut) {
            lines.feed(piece, &mut each)?;
        }
        lines.finish(&mut each)?;
        Ok(out)
    }

    proptest! {
        #[test]
        fn a_stream_has_the_same_lines_however_it_is_cut(text in "[ab\r\n ]{0,60}", cut in 1_usize..9) {
            let expected: Vec<(u64, Vec<u8>)> = text
                .split('\n')
                .enumerate()
                .map(|(at, line)| (at as u64 + 1, line.trim().as_bytes().to_vec()))
                .filter(|(_, line)| !line.is_empty())
                .collect();
            prop_assert_eq!(lines(text.as_bytes(), cut), Ok(expected));
        }

        #[test]
        fn a_first_line_reads_back(tags: u32, bytes in 0..=9_999_999_999_999_999_u64, name in "[a-z]{1,9}") {
            let sha256 = Hash([9; 32]);
            let list = TagList { name: name.into_bytes(), tags, bytes, sha256 };
            let head = list.head();
            prop_assert_eq!(TagList::parse(&head), Ok((list, head.len())));
            prop_assert_eq!(TagList::parse(&head[1..]), Err(TagListError::Form));
            prop_assert_eq!(TagList::parse(&head[..head.len() - 1]), Err(TagListError::Form));
        }
    }

    #[test]
    fn a_line_that_is_too_long_is_named_before_it_is_held() {
        for cut in [1, 700, 100_000] {
            let mut text = b"a\nb\n".to_vec();
            text.extend_from_slice(&vec![b'x'; FILTER_LINE_BYTES_MAX + 1]);
            let why = BadLine::Long;
            assert_eq!(
                lines(&text, cut),
                Err(LineError { line: 3, why }),
                "cut {cut}"
            );
            text.push(b'\n');
            assert_eq!(
                lines(&text, cut),
                Err(LineError { line: 3, why }),
                "cut {cut}"
            );
        }
    }

    #[test]
    fn a_file_in_which_any_byte_changed_is_no_filter() {
        let (mut writer, mut lines) = (TagListWriter::default(), Vec::new());
        for tag in ["web7", "eu-west-1"] {
            writer.push(tag.as_bytes(), &mut lines).unwrap();
        }
        let mut good = writer.list(b"Some").head();
        good.extend_from_slice(&lines);
        let read = |file: &[u8]| {
            let (list, len) = TagList::parse_named(file, "some")?;
            let (mut reader, mut tags) = (TagListReader::new(list), Vec::new());
            for piece in file[len..].chunks(3) {
                reader.feed(piece, |_, tag| tags.push(tag.to_vec()))?;
            }
            reader.finish().map(|_| tags)
        };
        let tags = vec![b"web7".to_vec(), b"eu-west-1".to_vec()];
        assert_eq!(read(&good), Ok(tags));
        for at in 0..good.len() {
            let mut bad = good.clone();
            // Not the case of a letter: the name has no other check, nor does it need one.
            bad[at] ^= 1;
            assert!(read(&bad).is_err(), "byte {at}");
            assert!(read(&good[..at]).is_err(), "cut at {at}");
        }
        good.push(b'x');
        assert_eq!(read(&good), Err(TagListError::Differs));
        assert_eq!(
            TagList::parse_named(&good, "other"),
            Err(TagListError::Name)
        );
    }

    #[test]
    fn what_no_message_can_have_is_no_tag() {
        let long = vec![b'x'; TAG_BYTES_MAX];
        assert_eq!(TagListWriter::check(&long), Ok(()));
        assert_eq!(
            TagListWriter::check(&[&long[..], b"x"].concat()),
            Err(BadLine::Long)
        );
        assert_eq!(TagListWriter::check(b"a,b"), Err(BadLine::Comma));
        assert_eq!(TagListWriter::check(b"a\tb"), Err(BadLine::Control));
        assert_eq!(TagListWriter::check(b"a\0b"), Err(BadLine::Control));
        assert_eq!(TagListWriter::check("ü b".as_bytes()), Ok(()));
    }

    #[test]
    fn a_list_is_checked_against_its_first_line() {
        let (mut writer, mut out) = (TagListWriter::default(), Vec::new());
        writer.push(b"web7", &mut out).unwrap();
        writer.push(b"eu-west-1", &mut out).unwrap();
        assert_eq!(out, b"web7\neu-west-1\n");
        let list = writer.list(b"vip");
        assert_eq!((list.tags, list.bytes), (2, 15));
        let text = String::from_utf8(list.head()).unwrap();
        assert_eq!(
            text,
            "hbuf-filter 1 tags=0000000002 bytes=0000000000000015 sha256=\
             a2d4f85817a34b4d728ea83e551902e96a6ef958baf32ca9b8820bce0c93e5ed name=vip\n"
        );
        assert_eq!(writer.agrees(&list), Ok(()));
        writer.push(b"more", &mut out).unwrap();
        assert_eq!(writer.agrees(&list), Err(TagListError::Differs));
    }

    #[test]
    fn a_list_has_at_most_five_million_tags() {
        let mut writer = TagListWriter {
            tags: FILTER_TAGS_MAX - 1,
            ..TagListWriter::default()
        };
        let mut out = Vec::new();
        assert_eq!(writer.push(b"a", &mut out), Ok(()));
        assert_eq!(writer.push(b"b", &mut out), Err(BadLine::Many));
        assert_eq!(writer.tags(), FILTER_TAGS_MAX);
    }
}
