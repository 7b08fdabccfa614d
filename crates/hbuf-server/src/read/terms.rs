//! The tags and keys of a sealed segment: the files beside it, made when it is sealed or when they
//! are first needed.

use std::fs::File;
use std::sync::{Arc, Mutex};

use hbuf_core::filter::{
    Labels, Stamp, TermKind, Terms, TermsError, TermsOf, encode_terms, key_term, labels,
};
use hbuf_core::ids::Seq;
use hbuf_core::index::Place;
use hbuf_core::limits::PIECE_BYTES;
use hbuf_core::segment::{ReadFailed, Source};

use super::book::{Book, DICTIONARY_FILE, Open, UNSAVED_BYTES_MAX};
use super::level_zero::{KEYS_SUFFIX, TAGS_SUFFIX, derived_name, write_derived};
use super::segments::View;
use super::shared::{FileKey, FileKind, lock};
use super::walk::read_at;
use super::{ReadError, Readable};

/// Terms of a segment whose head and directory were read.
pub(super) struct SegmentTerms {
    terms: Terms,
    /// The whole file, when it could not be written, and the book whose numbers it holds.
    unwritten: Option<(Vec<u8>, u64)>,
}

/// The labels of messages whose tags are looked up together.
#[derive(Default)]
struct Met {
    /// The tags, back to back, and where each ends.
    text: Vec<u8>,
    ends: Vec<usize>,
    /// How many tags each message has, its key, and the length of its record.
    messages: Vec<(usize, Option<u128>, u64)>,
}

impl Met {
    const fn is_much(&self) -> bool {
        self.text.len() >= TOGETHER_BYTES || self.messages.len() >= TOGETHER_MESSAGES
    }

    fn message(&mut self, labels: &Labels<'_>, len: u64) {
        let before = self.ends.len();
        for tag in labels.tags() {
            self.text.extend_from_slice(tag);
            self.ends.push(self.text.len());
        }
        let tags = self.ends.len() - before;
        self.messages.push((tags, labels.key.map(key_term), len));
    }

    fn tags(&self) -> Vec<&[u8]> {
        let starts = std::iter::once(0).chain(self.ends.iter().copied());
        let both = starts.zip(&self.ends);
        both.map(|(start, &end)| &self.text[start..end]).collect()
    }
}

/// Tags that are looked up together: as many as wait for memory together, and no more than are
/// still near when they are used.
const TOGETHER_BYTES: usize = 64 << 10;
const TOGETHER_MESSAGES: usize = 4 << 10;

impl SegmentTerms {
    /// Bytes of memory that they take.
    fn memory(&self) -> usize {
        let unwritten = self.unwritten.as_ref();
        self.terms.memory() + unwritten.map_or(0, |(bytes, _)| bytes.capacity())
    }

    pub(super) const fn terms(&self) -> &Terms {
        &self.terms
    }

    fn bytes(&self) -> &[u8] {
        self.unwritten.as_ref().map_or(b"", |(bytes, _)| bytes)
    }

    /// Whether the book's numbers are those that are meant.
    fn fits(&self, book: &Book) -> bool {
        match &self.unwritten {
            Some((_, number)) => *number == book.number,
            None => self.terms.is_empty() || book.dictionary.holds(self.terms.stamp()),
        }
    }
}

/// The file of a segment's terms as the core reads it: beside the segment, opened for each read
/// through the cache of open files, or in memory.
pub(super) enum Blocks<'a> {
    Beside {
        buffer: &'a Readable,
        key: FileKey,
        len: u64,
    },
    InMemory(Arc<SegmentTerms>),
}

/// Terms, and where their blocks are.
pub(super) type TermsAt<'a> = (Arc<SegmentTerms>, Blocks<'a>);

impl Source for Blocks<'_> {
    fn len(&self) -> u64 {
        match self {
            Self::Beside { len, .. } => *len,
            Self::InMemory(terms) => terms.bytes().len() as u64,
        }
    }

    fn read_at(&self, offset: u64, buf: &mut [u8]) -> Result<(), ReadFailed> {
        let (buffer, key) = match self {
            Self::Beside { buffer, key, .. } => (buffer, *key),
            Self::InMemory(terms) => return terms.bytes().read_at(offset, buf),
        };
        let read = buffer
            .open(key, terms_name(key))
            .and_then(|file| read_at(&file, buf, offset));
        let reason = match read {
            Ok(count) if count == buf.len() => return Ok(()),
            Ok(_) => "the file ends".to_owned(),
            Err(error) => error.to_string(),
        };
        Err(ReadFailed { offset, reason })
    }
}

fn terms_name(key: FileKey) -> String {
    let tags = key.kind == FileKind::Tags;
    derived_name(key.file, if tags { TAGS_SUFFIX } else { KEYS_SUFFIX })
}

/// Whether all of a sealed segment is committed: only then its terms stand beside it.
pub(super) fn is_settled(view: &View) -> bool {
    view.sealed && view.next_file == Some(view.last.next())
}

impl Readable {
    /// Makes the terms of a settled segment again: they turned out to be bad.
    pub(super) fn remake_terms(&self, view: &View, error: &TermsError) -> Result<(), ReadError> {
        tracing::warn!(
            event = "terms_bad", dir = %self.dir.display(), file = view.file.0, %error,
            "tags and keys are made again from their segment"
        );
        self.with_book(|book| self.make_terms(view, TermKind::Tags, book).map(drop))
    }

    /// The terms of a settled segment, made when they are missing, and where their blocks are.
    pub(super) fn terms_of(
        &self,
        view: &View,
        kind: TermKind,
        book: &mut Book,
    ) -> Result<TermsAt<'_>, ReadError> {
        let terms = match self.known_terms(view, kind, book) {
            Some(terms) => terms,
            None => self.make_terms(view, kind, book)?,
        };
        let blocks = self.blocks(view.file, kind, &terms)?;
        Ok((terms, blocks))
    }

    fn blocks(
        &self,
        file: Seq,
        kind: TermKind,
        terms: &Arc<SegmentTerms>,
    ) -> Result<Blocks<'_>, ReadError> {
        if terms.unwritten.is_some() {
            return Ok(Blocks::InMemory(Arc::clone(terms)));
        }
        self.beside(file, kind)
            .map_err(|error| self.labels_failed(file, &error))
    }

    fn beside(&self, file: Seq, kind: TermKind) -> std::io::Result<Blocks<'_>> {
        let key = self.terms_key(file, kind);
        let len = self.open(key, terms_name(key))?.metadata()?.len();
        Ok(Blocks::Beside {
            buffer: self,
            key,
            len,
        })
    }

    /// The terms that were read, or stand in a good file.
    fn known_terms(&self, view: &View, kind: TermKind, book: &Book) -> Option<Arc<SegmentTerms>> {
        let key = self.terms_key(view.file, kind);
        let fits = |terms: &SegmentTerms| kind == TermKind::Keys || terms.fits(book);
        let kept = self.shared.terms().get(key);
        if let Some(terms) = kept.filter(|terms| fits(terms)) {
            return Some(terms);
        }
        let file = self.beside(view.file, kind).ok()?;
        let terms = match Terms::open(&file, kind, self.log) {
            Ok(terms) => SegmentTerms {
                terms,
                unwritten: None,
            },
            Err(error) => {
                tracing::warn!(
                    event = "terms_bad", dir = %self.dir.display(), file = view.file.0, %error,
                    "tags and keys are made again from their segment"
                );
                return None;
            }
        };
        let of_view = terms.terms.of() == of(view);
        (of_view && fits(&terms)).then(|| self.keep_terms(key, terms))
    }

    fn keep_terms(&self, key: FileKey, terms: SegmentTerms) -> Arc<SegmentTerms> {
        let terms = Arc::new(terms);
        let weight = terms.memory();
        self.shared.terms().put(key, Arc::clone(&terms), weight);
        terms
    }

    const fn terms_key(&self, file: Seq, kind: TermKind) -> FileKey {
        FileKey {
            buffer: self.number,
            file,
            kind: match kind {
                TermKind::Tags => FileKind::Tags,
                TermKind::Keys => FileKind::Keys,
            },
        }
    }

    pub(super) fn forget_terms(&self, file: Seq) {
        for kind in [TermKind::Tags, TermKind::Keys] {
            let key = self.terms_key(file, kind);
            self.shared.terms().remove(key);
            self.shared.files().remove(key);
        }
    }

    /// Makes the terms of a settled segment, both kinds, and writes them beside it.
    fn make_terms(
        &self,
        view: &View,
        kind: TermKind,
        book: &mut Book,
    ) -> Result<Arc<SegmentTerms>, ReadError> {
        let open = self.walked_whole(view, book)?;
        self.write_terms(view, kind, book, &lock(&open))
    }

    /// The labels of all messages of a settled segment.
    fn walked_whole(&self, view: &View, book: &mut Book) -> Result<Arc<Mutex<Open>>, ReadError> {
        let file = self.segment(view.file)?;
        let open = match book.take_open(view.file) {
            Some(open) => open,
            None => {
                let offset = self.head_len(view, &file)?;
                let start = Place {
                    seq: view.file,
                    offset,
                };
                Arc::new(Mutex::new(Open::new(start)))
            }
        };
        let walked = self.walk_labels(view, &file, view.last, &mut lock(&open), book);
        if walked.is_err() {
            // Whoever reads what stands before damage goes by what was walked.
            book.keep_open(view.file, &open);
        }
        walked.map(|()| open)
    }

    fn write_terms(
        &self,
        view: &View,
        wanted: TermKind,
        book: &mut Book,
        open: &Open,
    ) -> Result<Arc<SegmentTerms>, ReadError> {
        let of = of(view);
        let (mut tags, mut keys) = (open.tags.pairs(), open.keys.pairs());
        let saved = if tags.is_empty() { Ok(()) } else { book.save() };
        let stamp = book.dictionary.stamp();
        let tags = encode_terms(TermKind::Tags, self.log, of, stamp, &mut tags);
        let keys = encode_terms(TermKind::Keys, self.log, of, Stamp::default(), &mut keys);
        self.forget_terms(view.file);
        let tag_name = derived_name(view.file, TAGS_SUFFIX);
        let tags_written = saved.and_then(|()| write_derived(&self.dir, &tag_name, &[&tags]));
        let key_name = derived_name(view.file, KEYS_SUFFIX);
        let keys_written = write_derived(&self.dir, &key_name, &[&keys]);
        let mut made = None;
        for (kind, bytes, written) in [
            (TermKind::Tags, tags, tags_written),
            (TermKind::Keys, keys, keys_written),
        ] {
            if let Err(error) = &written {
                tracing::warn!(
                    event = "terms_not_written", dir = %self.dir.display(), file = view.file.0,
                    %error, "they stay in memory for a while, and are made again"
                );
            }
            if kind != wanted {
                continue;
            }
            let terms = Terms::open(&bytes, kind, self.log)
                .map_err(|error| self.labels_failed(view.file, &error))?;
            let unwritten = written.is_err().then_some((bytes, book.number));
            let terms = SegmentTerms { terms, unwritten };
            made = Some(self.keep_terms(self.terms_key(view.file, kind), terms));
        }
        Ok(made.expect("the wanted kind is one of both"))
    }

    /// Brings labels through the message `through`.
    pub(super) fn walk_labels(
        &self,
        view: &View,
        file: &File,
        through: Seq,
        open: &mut Open,
        book: &mut Book,
    ) -> Result<(), ReadError> {
        while open.next.seq <= through {
            // A head that goes beyond what was read at once: the next walk starts with it.
            let (mut cut, start) = (false, open.next);
            let Open { next, tags, keys } = open;
            let mut met = Met::default();
            let walked = self.walk(view, file, start, through, PIECE_BYTES, |record, bytes| {
                let Some(head) = bytes.get(..record.head_len as usize) else {
                    cut = true;
                    return false;
                };
                // One that is not taken now is met again.
                !met.is_much() && {
                    met.message(&labels(head), record.record_len());
                    true
                }
            });
            let ids = book.intern_all(&met.tags());
            let mut ids = ids
                .map_err(|error| self.labels_failed(view.file, &error))?
                .into_iter();
            for (count, key, len) in met.messages {
                tags.push(ids.by_ref().take(count));
                keys.push(key);
                next.seq = next.seq.next();
                next.offset += len;
            }
            walked?;
            if cut && open.next.seq == start.seq {
                return Err(self.damaged(view, start.seq, "its head is longer than any"));
            }
            if book.dictionary.unsaved() > UNSAVED_BYTES_MAX
                && let Err(error) = book.save_so_far()
            {
                tracing::warn!(
                    event = "dictionary_not_written", dir = %self.dir.display(), %error,
                    "new tags stay in memory"
                );
            }
        }
        Ok(())
    }

    /// Makes the terms of a segment that is sealed now, if any of its messages has a tag or a key;
    /// otherwise they are made when someone asks.
    pub(super) fn keep_terms_of(&self, file: Seq) -> Result<(), ReadError> {
        let view = self.view(file)?.filter(is_settled);
        let Some(view) = view else { return Ok(()) };
        if !self.has_labels(&view)? {
            return Ok(());
        }
        self.with_book(|book| {
            if self.known_terms(&view, TermKind::Tags, book).is_some()
                && self.known_terms(&view, TermKind::Keys, book).is_some()
            {
                return Ok(());
            }
            self.make_terms(&view, TermKind::Tags, book).map(drop)
        })
    }

    /// Removes the texts of all tags from what is derived, after a message was erased: the next
    /// read by tag makes numbers and terms anew, of what is left. The terms of the segments that
    /// the erasure rewrote go with them. Blocks.
    pub fn wipe_tags(&self) -> std::io::Result<()> {
        self.shared.books().remove(self.number);
        let mut names = vec![DICTIONARY_FILE.to_owned()];
        for view in lock(&self.layout).views().collect::<Vec<_>>() {
            self.forget_terms(view.file);
            names.push(derived_name(view.file, TAGS_SUFFIX));
            names.push(derived_name(view.file, KEYS_SUFFIX));
        }
        for name in names {
            match std::fs::remove_file(self.dir.join(name)) {
                Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error),
                Ok(()) | Err(_) => {}
            }
        }
        Ok(())
    }

    /// Whether a message of the segment has a tag or a key.
    fn has_labels(&self, view: &View) -> Result<bool, ReadError> {
        let file = self.segment(view.file)?;
        let start = Place {
            seq: view.file,
            offset: self.head_len(view, &file)?,
        };
        let mut found = false;
        self.walk(
            view,
            &file,
            start,
            view.last,
            PIECE_BYTES,
            |record, bytes| {
                let head = bytes.get(..record.head_len as usize).unwrap_or(bytes);
                found = !labels(head).is_empty();
                !found
            },
        )?;
        Ok(found)
    }
}

/// Names a settled segment in its terms.
const fn of(view: &View) -> TermsOf {
    TermsOf {
        first: view.file,
        // A record is longer than a byte, and a segment's offsets fit 32 bits.
        records: (view.last.0 + 1 - view.file.0) as u32,
        bytes: view.bytes,
    }
}

/// The place of a message in its segment.
pub(super) fn place_in(view: &View, seq: Seq) -> u32 {
    u32::try_from(seq.0.saturating_sub(view.file.0)).expect("a segment's messages fit 32 bits")
}
