//! What is known of one buffer's tags and keys while someone filters it: the dictionary with its
//! file, the labels of segments that are still open, the stored filters.
//!
//! Invariant: what refers to numbers of tags on disk is written after the dictionary's block that
//! gives them. Nothing is synced: a dictionary that lost its end no longer holds the stamps of what
//! it lost, and what names them is made again.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex};

use hbuf_core::filter::{Dictionary, OpenKeys, OpenTags, Recent, Seed, TagId};
use hbuf_core::ids::{Seq, Uuid};
use hbuf_core::index::Place;
use hbuf_core::limits::TAG_TEXT_HELD_MAX;
use hbuf_core::segment::{ReadFailed, Source};

use super::shared::lock;
use super::stored_filter::StoredFilter;
use super::{ReadError, Readable};

/// The file of the dictionary, in the buffer's directory.
pub(super) const DICTIONARY_FILE: &str = "tags.dict";
/// Unsaved text of the dictionary at which it is saved, however much is still to come.
pub(super) const UNSAVED_BYTES_MAX: usize = 1 << 20;
/// A read of more is not for one tag.
const SINGLE_BYTES: usize = 4 << 10;
/// Segments that are open at once: one, and for a moment the one before.
const OPENS_MAX: usize = 2;

/// The book of one buffer.
pub(super) struct Book {
    path: PathBuf,
    pub(super) dictionary: Dictionary,
    text: Text,
    recent: Recent,
    /// Unlike that of any other book of the process.
    pub(super) number: u64,
    opens: BTreeMap<Seq, Arc<Mutex<Open>>>,
    pub(super) filters: BTreeMap<String, Arc<StoredFilter>>,
}

/// The labels of a segment's messages, as far as they were walked.
pub(super) struct Open {
    /// Where the next message starts.
    pub(super) next: Place,
    pub(super) tags: OpenTags,
    pub(super) keys: OpenKeys,
}

impl Open {
    /// Of the segment whose first message stands at `place`.
    pub(super) fn new(place: Place) -> Self {
        Self {
            next: place,
            tags: OpenTags::default(),
            keys: OpenKeys::default(),
        }
    }
}

/// The saved text of the dictionary.
#[derive(Default)]
struct Text {
    file: Option<File>,
    /// The start of the file in memory, once looking things up there one by one has cost as much.
    held: Vec<u8>,
    /// Bytes that were read from the file for one tag each, since it was last thought about.
    read: Cell<u64>,
}

impl Source for Text {
    fn len(&self) -> u64 {
        let len = self.file.as_ref().and_then(|file| file.metadata().ok());
        len.map_or(0, |data| data.len())
    }

    fn read_at(&self, offset: u64, buf: &mut [u8]) -> Result<(), ReadFailed> {
        // Those that go over the file in its order are not helped by a copy.
        let single = if buf.len() <= SINGLE_BYTES {
            buf.len()
        } else {
            0
        };
        self.read.set(self.read.get() + single as u64);
        let read = match &self.file {
            Some(file) => file.read_exact_at(buf, offset),
            None => Err(io::ErrorKind::NotFound.into()),
        };
        read.map_err(|error| ReadFailed {
            offset,
            reason: error.to_string(),
        })
    }
}

impl Book {
    /// The book of the buffer in `dir`. A dictionary that is missing or bad is begun anew; then all
    /// that names the old one is made again.
    fn open(dir: &Path, log: Uuid, number: u64) -> Result<Self, getrandom::Error> {
        let path = dir.join(DICTIONARY_FILE);
        let file = OpenOptions::new().read(true).write(true).open(&path).ok();
        let text = Text {
            file,
            ..Text::default()
        };
        let opened = match Dictionary::open(&text, log) {
            Ok(dictionary) if text.cut(dictionary.saved_len()).is_ok() => Some(dictionary),
            Ok(_) => None,
            Err(error) => {
                if text.file.is_some() {
                    tracing::warn!(
                        event = "dictionary_bad", dir = %dir.display(), %error,
                        "the dictionary of tags is made again from the segments"
                    );
                }
                None
            }
        };
        let (dictionary, text) = match opened {
            Some(dictionary) => (dictionary, text),
            None => (Dictionary::new(log, Seed(random()?)), Text::default()),
        };
        Ok(Self {
            path,
            dictionary,
            text,
            recent: Recent::new(random()?),
            number,
            opens: BTreeMap::new(),
            filters: BTreeMap::new(),
        })
    }

    /// The number of a tag, which gets one if it has none.
    pub(super) fn intern(&mut self, tag: &[u8]) -> Result<TagId, ReadFailed> {
        if let Some(id) = self.recent.get(tag) {
            return Ok(id);
        }
        let id = self.dictionary.intern(tag, &self.text)?;
        self.recent.put(tag, id);
        Ok(id)
    }

    /// The numbers of many tags in their order, as [`Self::intern`] gives them.
    pub(super) fn intern_all(&mut self, tags: &[&[u8]]) -> Result<Vec<TagId>, ReadFailed> {
        if self.text.held.is_empty() {
            let ids = tags.iter().map(|tag| self.intern(tag)).collect();
            self.text.hold_when_worth_it(self.dictionary.saved_len());
            return ids;
        }
        let found = self
            .dictionary
            .find_held(tags, &self.text.held, &self.text)?;
        let each = tags.iter().zip(found);
        each.map(|(tag, id)| id.map_or_else(|| self.intern_rare(tag), Ok))
            .collect()
    }

    /// The number of a tag, if it has one; that of all others when the dictionary is full.
    pub(super) fn find(&self, tag: &[u8]) -> Result<Option<TagId>, ReadFailed> {
        let full = self.dictionary.is_full().then_some(TagId::OTHER);
        Ok(self.dictionary.find(tag, &self.text)?.or(full))
    }

    /// The numbers of many tags, those that have one.
    pub(super) fn find_all(&self, tags: &[&[u8]]) -> Result<Vec<Option<TagId>>, ReadFailed> {
        self.dictionary.find_all(tags, &self.text)
    }

    /// The number of a tag that is not among those met last, or only once.
    pub(super) fn intern_rare(&mut self, tag: &[u8]) -> Result<TagId, ReadFailed> {
        self.dictionary.intern(tag, &self.text)
    }

    /// Writes what the dictionary's file does not have, and gives back the memory for it. A crash
    /// leaves a block that is cut off when the file is opened again.
    pub(super) fn save(&mut self) -> io::Result<()> {
        self.save_so_far()?;
        self.dictionary.shrink();
        Ok(())
    }

    /// The same while more is to come, which takes the place of what is written.
    pub(super) fn save_so_far(&mut self) -> io::Result<()> {
        let Some((offset, part)) = self.dictionary.unsaved_part() else {
            return Ok(());
        };
        if self.text.file.is_none() {
            let mut options = OpenOptions::new();
            let options = options.read(true).write(true).create(true).truncate(true);
            self.text.file = Some(options.open(&self.path)?);
        }
        let file = self.text.file.as_ref().expect("it was just opened");
        if file.metadata()?.len() != offset {
            return Err(io::Error::other("another opening writes the dictionary"));
        }
        if let Err(error) = file.write_all_at(&part, offset) {
            file.set_len(offset)?;
            return Err(error);
        }
        self.dictionary.saved();
        self.text.hold_more(offset, &part);
        Ok(())
    }

    /// The labels of the open segment `file`, whose first message stands at `start`.
    pub(super) fn open_labels(
        &mut self,
        file: Seq,
        start: impl FnOnce() -> Result<u64, ReadError>,
    ) -> Result<Arc<Mutex<Open>>, ReadError> {
        if let Some(open) = self.opens.get(&file) {
            return Ok(Arc::clone(open));
        }
        let offset = start()?;
        let open = Open::new(Place { seq: file, offset });
        let open = Arc::new(Mutex::new(open));
        self.keep_open(file, &open);
        Ok(open)
    }

    /// Keeps labels as far as they were walked, for those of an older segment.
    pub(super) fn keep_open(&mut self, file: Seq, open: &Arc<Mutex<Open>>) {
        self.opens.insert(file, Arc::clone(open));
        while self.opens.len() > OPENS_MAX {
            self.opens.pop_first();
        }
    }

    /// The labels of a segment that is sealed now, as far as they were walked while it was open.
    pub(super) fn take_open(&mut self, file: Seq) -> Option<Arc<Mutex<Open>>> {
        self.opens.remove(&file)
    }

    /// Bytes of memory that it takes.
    fn memory(&self) -> usize {
        let open = |open: &Arc<Mutex<Open>>| {
            let open = lock(open);
            open.tags.memory() + open.keys.memory()
        };
        let filter = |filter: &Arc<StoredFilter>| filter.memory();
        size_of::<Self>()
            + self.dictionary.memory()
            + self.text.held.capacity()
            + self.recent.memory()
            + self.opens.values().map(open).sum::<usize>()
            + self.filters.values().map(filter).sum::<usize>()
    }
}

impl Text {
    /// Cuts off what stands behind the last good block.
    fn cut(&self, len: u64) -> io::Result<()> {
        match &self.file {
            Some(file) if file.metadata()?.len() != len => file.set_len(len),
            Some(_) | None => Ok(()),
        }
    }

    /// Reads the file whole when as much was read from it bit by bit: who looks up so many tags
    /// that are not those met last goes on to, and each look costs a system call.
    fn hold_when_worth_it(&mut self, len: u64) {
        let fits = usize::try_from(len).ok();
        let fits = fits.filter(|&len| len > 0 && len <= TAG_TEXT_HELD_MAX);
        let (Some(fits), true) = (fits, self.read.get() >= len) else {
            return;
        };
        self.read.set(0);
        let mut held = vec![0; fits];
        // What cannot be read now is told to whoever needs it.
        if self.read_at(0, &mut held).is_ok() {
            self.held = held;
        }
    }

    /// Goes on with what was just saved.
    fn hold_more(&mut self, offset: u64, part: &[u8]) {
        let len = self.held.len();
        if len == 0 || len as u64 != offset {
            return;
        }
        if len + part.len() > TAG_TEXT_HELD_MAX {
            self.held = Vec::new();
            return;
        }
        self.held.reserve_exact(part.len());
        self.held.extend_from_slice(part);
    }
}

impl Readable {
    /// Works with the buffer's book, which is read first when nobody has.
    pub(super) fn with_book<T>(
        &self,
        work: impl FnOnce(&mut Book) -> Result<T, ReadError>,
    ) -> Result<T, ReadError> {
        let key = self.number;
        let kept = self.shared.books().get(key);
        let book = match kept {
            Some(book) => book,
            None => self.load_book()?,
        };
        let mut book = lock(&book);
        let outcome = work(&mut book);
        let weight = book.memory();
        drop(book);
        self.shared.books().reweigh(key, weight);
        outcome
    }

    /// Reads the book; readers that come meanwhile wait for it, as two would write one file.
    fn load_book(&self) -> Result<Arc<Mutex<Book>>, ReadError> {
        let _turn = lock(&self.opening_book);
        if let Some(book) = self.shared.books().get(self.number) {
            return Ok(book);
        }
        if self.closed.load(Ordering::Acquire) {
            return Err(ReadError::Closed);
        }
        let book = Book::open(&self.dir, self.log, self.shared.number())
            .map_err(|error| self.labels_failed(Seq::ZERO, &error))?;
        let weight = book.memory();
        let book = Arc::new(Mutex::new(book));
        self.shared
            .books()
            .put(self.number, Arc::clone(&book), weight);
        Ok(book)
    }

    /// The disk did not give, or take, what filters need.
    pub(super) fn labels_failed(&self, file: Seq, error: &dyn std::fmt::Display) -> ReadError {
        let text = format!("tags and keys of {}: {error}", self.dir.display());
        ReadError::Io {
            file,
            source: io::Error::other(text),
        }
    }
}

fn random<const N: usize>() -> Result<[u8; N], getrandom::Error> {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes)?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    const TAGS: usize = 300;

    fn tags(from: usize) -> Vec<Vec<u8>> {
        let tag = |n| format!("tag-{n}").into_bytes();
        (from..from + TAGS).map(tag).collect()
    }

    fn intern(book: &mut Book, tags: &[Vec<u8>]) -> Vec<u32> {
        let tags: Vec<&[u8]> = tags.iter().map(Vec::as_slice).collect();
        let ids = book.intern_all(&tags).unwrap();
        ids.into_iter().map(|id| id.0).collect()
    }

    #[test]
    fn texts_that_are_looked_up_one_by_one_are_held_and_mean_the_same() {
        let dir = tempfile::tempdir().unwrap();
        let mut book = Book::open(dir.path(), Uuid([1; 16]), 1).unwrap();
        let first: Vec<u32> = (0..TAGS as u32).collect();
        assert_eq!(intern(&mut book, &tags(0)), first);
        book.save().unwrap();
        assert!(book.text.held.is_empty(), "nothing was read yet");
        drop(book);

        let mut book = Book::open(dir.path(), Uuid([1; 16]), 2).unwrap();
        assert_eq!(intern(&mut book, &tags(0)), first);
        let saved = usize::try_from(book.dictionary.saved_len()).unwrap();
        assert_eq!(book.text.held.len(), saved);
        assert_eq!(intern(&mut book, &tags(0)), first);
        // New ones get numbers, and are held with the others once they are saved; then nothing is
        // kept for the text of more.
        let memory = book.dictionary.memory();
        let more: Vec<u32> = (TAGS as u32..2 * TAGS as u32).collect();
        assert_eq!(intern(&mut book, &tags(TAGS)), more);
        book.dictionary.reserve_text(UNSAVED_BYTES_MAX);
        book.save_so_far().unwrap();
        assert!(book.dictionary.memory() > memory + UNSAVED_BYTES_MAX);
        book.save().unwrap();
        assert!(book.dictionary.memory() < memory + 20 * TAGS);
        assert_eq!(book.text.held.len() as u64, book.dictionary.saved_len());
        assert_eq!(intern(&mut book, &tags(TAGS)), more);
        assert!(book.memory() > book.text.held.len());
    }

    #[test]
    fn a_tag_that_comes_twice_at_once_gets_one_number() {
        let dir = tempfile::tempdir().unwrap();
        let mut book = Book::open(dir.path(), Uuid([1; 16]), 1).unwrap();
        book.text.held = vec![0];
        let twice = [b"one".to_vec(), b"two".to_vec(), b"one".to_vec()];
        assert_eq!(intern(&mut book, &twice), [0, 1, 0]);
    }

    #[test]
    fn texts_beyond_the_bound_are_not_held() {
        let mut text = Text {
            held: vec![0; TAG_TEXT_HELD_MAX],
            ..Text::default()
        };
        text.hold_more(TAG_TEXT_HELD_MAX as u64, b"x");
        assert!(text.held.is_empty());
        text.read.set(u64::MAX);
        text.hold_when_worth_it(TAG_TEXT_HELD_MAX as u64 + 1);
        assert!(text.held.is_empty());
    }
}
