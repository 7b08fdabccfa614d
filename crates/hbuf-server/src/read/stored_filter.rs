//! Stored filters: sets of tags with a name, each a file of text in the buffer's directory.
//!
//! The file is the filter; its numbers in the dictionary are derived, when it is uploaded and when
//! it is first used after a start. A tag that no message has yet gets a number too, so a message
//! that comes with it later matches.

use std::fs::{self, File};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::FileExt as _;
use std::sync::Arc;

use hbuf_core::filter::{
    BadLine, LineError, Stamp, TagId, TagLines, TagList, TagListError, TagListReader,
    TagListWriter, TagSet,
};
use hbuf_core::ids::Seq;
use hbuf_core::input::BufferState;
use hbuf_core::limits::{DICTIONARY_TAGS_MAX, FILTERS_PER_BUFFER_MAX, PIECE_BYTES, TAG_BYTES_MAX};
use hbuf_core::name::Name;
use tokio::sync::watch;

use super::book::{Book, UNSAVED_BYTES_MAX};
use super::filter_names::Unfinished;
use super::{ReadError, Readable};
use crate::disk::sync::{self, SyncPoint};

/// Text, and number, of tags that are looked up together: the dictionary's file is read once for
/// them. What they take is allotted at once and kept for the next ones: each feed may run on
/// another thread, and memory that grew would stay with each thread in all its sizes.
const TOGETHER_BYTES: usize = 1 << 20;
const TOGETHER_TAGS: usize = 1 << 16;

/// A set of tags with a name.
pub(crate) struct StoredFilter {
    list: TagList,
    set: Arc<TagSet>,
    /// The dictionary whose numbers the set holds.
    stamp: Stamp,
    /// Unlike that of any other set of the process.
    number: u64,
}

impl StoredFilter {
    /// The name as it was given.
    pub(crate) fn name(&self) -> &str {
        std::str::from_utf8(&self.list.name).unwrap_or_default()
    }

    /// What its file says about it.
    pub(crate) const fn list(&self) -> &TagList {
        &self.list
    }

    pub(super) const fn set(&self) -> &Arc<TagSet> {
        &self.set
    }

    pub(super) const fn number(&self) -> u64 {
        self.number
    }

    pub(super) fn fits(&self, book: &Book) -> bool {
        book.dictionary.holds(&self.stamp)
    }

    pub(super) fn memory(&self) -> usize {
        size_of::<Self>() + self.set.memory()
    }
}

/// How the lines of an upload are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum FilterForm {
    /// A tag a line.
    Text,
    /// A JSON string a line.
    Json,
}

/// Why a filter was not stored, or not removed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum FilterError {
    /// A line is no tag.
    #[error(transparent)]
    Line(#[from] LineError),
    /// The dictionary has no room for its tags.
    #[error("the buffer has {DICTIONARY_TAGS_MAX} distinct tags, the most that can be told apart")]
    DictionaryFull,
    /// The buffer has no room for another.
    #[error("the buffer has {FILTERS_PER_BUFFER_MAX} filters: delete one that is not used")]
    TooMany,
    /// The same filter is being uploaded by someone else.
    #[error("the filter is being uploaded by another request: wait for its end")]
    Busy,
    /// The buffer is paused.
    #[error("the buffer is paused, so that its files stand still: set its state to open first")]
    Paused,
    /// Its file is not what was uploaded.
    #[error("the stored filter `{name}` is damaged ({what}): upload it again")]
    Damaged {
        /// As the file is named.
        name: String,
        /// What is wrong.
        what: TagListError,
    },
    /// The buffer cannot be read.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// The disk refused.
    #[error("the filter's file: {0}")]
    Io(#[from] io::Error),
}

/// An upload under way. Dropped before its end, it leaves nothing behind but numbers of tags.
pub(crate) struct FilterUpload {
    buffer: Arc<Readable>,
    name: String,
    form: FilterForm,
    lines: Option<TagLines>,
    /// The line at hand.
    line: u64,
    gathered: Gathered,
    writer: TagListWriter,
    /// Lines on their way into the file.
    out: Vec<u8>,
    unfinished: Unfinished,
    named: bool,
}

/// Tags on their way into a set.
struct Gathered {
    text: Vec<u8>,
    /// End in `text`, and line, of each.
    ends: Vec<(usize, u64)>,
    set: TagSet,
}

impl Gathered {
    fn new() -> Self {
        Self {
            text: Vec::with_capacity(TOGETHER_BYTES + TAG_BYTES_MAX),
            ends: Vec::with_capacity(TOGETHER_TAGS),
            set: TagSet::default(),
        }
    }

    fn is_much(&self) -> bool {
        self.text.len() >= TOGETHER_BYTES || self.ends.len() >= TOGETHER_TAGS
    }

    fn push(&mut self, tag: &[u8], line: u64) {
        self.text.extend_from_slice(tag);
        self.ends.push((self.text.len(), line));
    }

    /// Puts the tags into the set; `each` takes those that are new in it.
    fn settle(
        &mut self,
        book: &mut Book,
        mut each: impl FnMut(&[u8], u64) -> Result<(), FilterError>,
    ) -> Result<(), FilterError> {
        let mut tags = Vec::with_capacity(self.ends.len());
        let mut start = 0;
        for &(end, _) in &self.ends {
            tags.push(&self.text[start..end]);
            start = end;
        }
        book.dictionary
            .reserve_text(UNSAVED_BYTES_MAX + 2 * (TAG_BYTES_MAX + 1));
        let failed = |error: &dyn std::fmt::Display| io::Error::other(error.to_string());
        let found = book.find_all(&tags).map_err(|error| failed(&error))?;
        for ((tag, id), &(_, line)) in tags.iter().zip(found).zip(&self.ends) {
            let id = match id {
                Some(id) => id,
                None => book.intern_rare(tag).map_err(|error| failed(&error))?,
            };
            if id == TagId::OTHER {
                return Err(FilterError::DictionaryFull);
            }
            if self.set.insert(id) {
                each(tag, line)?;
            }
            if book.dictionary.unsaved() > UNSAVED_BYTES_MAX {
                book.save_so_far()?;
            }
        }
        self.text.clear();
        self.ends.clear();
        Ok(())
    }
}

impl FilterUpload {
    /// Begins an upload, unless the buffer is paused, as `state` says; blocks.
    pub(crate) fn begin(
        buffer: &Arc<Readable>,
        name: &Name,
        form: FilterForm,
        state: impl FnOnce() -> Option<BufferState>,
    ) -> Result<Self, FilterError> {
        let mut upload = Self {
            unfinished: buffer.start_upload(&name.fold(), state)?,
            buffer: Arc::clone(buffer),
            name: name.as_str().to_owned(),
            form,
            lines: Some(TagLines::default()),
            line: 0,
            gathered: Gathered::new(),
            writer: TagListWriter::default(),
            out: Vec::with_capacity(TOGETHER_BYTES + TOGETHER_TAGS + TAG_BYTES_MAX),
            named: false,
        };
        // Its place is kept; what it says is known at the end.
        let head = upload.writer.list(upload.name.as_bytes()).head();
        buffer.write_upload(&mut upload.unfinished, |file| file.write_all(&head))?;
        Ok(upload)
    }

    /// Turns true when the buffer is paused: the upload is over then.
    pub(crate) fn paused(&self) -> watch::Receiver<bool> {
        self.unfinished.paused.clone()
    }

    /// Takes in the next bytes of the body; blocks.
    pub(crate) fn feed(&mut self, bytes: &[u8]) -> Result<(), FilterError> {
        let mut lines = self.lines.take().unwrap_or_default();
        lines.feed(bytes, |line, text| self.take(line, text))?;
        self.lines = Some(lines);
        Ok(())
    }

    fn take(&mut self, line: u64, text: &[u8]) -> Result<(), FilterError> {
        let bad = |why| LineError { line, why };
        let parsed: String;
        let tag = match self.form {
            FilterForm::Text => text,
            FilterForm::Json => {
                parsed = serde_json::from_slice(text).map_err(|_| bad(BadLine::Json))?;
                parsed.trim_ascii().as_bytes()
            }
        };
        if tag.is_empty() {
            return Ok(());
        }
        TagListWriter::check(tag).map_err(bad)?;
        self.gathered.push(tag, line);
        self.line = line;
        if self.gathered.is_much() {
            self.settle()?;
        }
        Ok(())
    }

    fn settle(&mut self) -> Result<(), FilterError> {
        let Self {
            buffer,
            gathered,
            writer,
            out,
            unfinished,
            ..
        } = self;
        out.clear();
        buffer.with_book_for_filters(|book| {
            gathered.settle(book, |tag, line| {
                writer
                    .push(tag, out)
                    .map_err(|why| LineError { line, why }.into())
            })
        })?;
        buffer.write_upload(unfinished, |file| file.write_all(out))
    }

    /// The body has ended: stores the filter, unless the buffer was paused, as `state` says.
    /// Answers whether there was none of this name. Blocks.
    pub(crate) fn finish(
        mut self,
        state: impl FnOnce() -> Option<BufferState>,
    ) -> Result<(Arc<StoredFilter>, bool), FilterError> {
        let lines = self.lines.take().unwrap_or_default();
        lines.finish(|line, text| self.take(line, text))?;
        self.settle()?;
        let list = self.writer.list(self.name.as_bytes());
        let head = list.head();
        self.buffer
            .write_upload(&mut self.unfinished, |file| file.write_all_at(&head, 0))?;
        sync::sync_all(&self.unfinished.file, SyncPoint::FilterFile)?;
        let new = self.buffer.name_filter(&self.unfinished, state)?;
        self.named = true;
        let set = Arc::new(std::mem::take(&mut self.gathered.set));
        let number = self.buffer.shared.number();
        let stored = self
            .buffer
            .with_book_for_filters(|book| Ok(book.keep_filter(list, set, number)?))?;
        Ok((stored, new))
    }
}

impl Drop for FilterUpload {
    fn drop(&mut self) {
        if !self.named {
            // What stays is overwritten by the next upload of the name.
            drop(fs::remove_file(&self.unfinished.path));
        }
        self.buffer.forget_upload(&self.name.to_ascii_lowercase());
    }
}

impl Book {
    /// Keeps a filter whose numbers were just found out.
    fn keep_filter(
        &mut self,
        list: TagList,
        set: Arc<TagSet>,
        number: u64,
    ) -> io::Result<Arc<StoredFilter>> {
        self.save()?;
        let stamp = self.dictionary.stamp();
        let stored = Arc::new(StoredFilter {
            list,
            set,
            stamp,
            number,
        });
        let key = stored.name().to_ascii_lowercase();
        self.filters.insert(key, Arc::clone(&stored));
        Ok(stored)
    }
}

impl Readable {
    fn with_book_for_filters<T>(
        &self,
        work: impl FnOnce(&mut Book) -> Result<T, FilterError>,
    ) -> Result<T, FilterError> {
        let mut outcome = None;
        self.with_book(|book| {
            outcome = Some(work(book));
            Ok(())
        })?;
        outcome.expect("the work was done")
    }

    /// The filter of a name, ready to be used.
    pub(crate) async fn filter(
        self: &Arc<Self>,
        name: String,
    ) -> Result<Arc<StoredFilter>, ReadError> {
        self.blocking(move |buffer| buffer.with_book(|book| buffer.load_filter(&name, book)))
            .await
    }

    pub(super) fn load_filter(
        &self,
        name: &str,
        book: &mut Book,
    ) -> Result<Arc<StoredFilter>, ReadError> {
        let key = name.to_ascii_lowercase();
        if let Some(stored) = book.filters.get(&key).filter(|stored| stored.fits(book)) {
            return Ok(Arc::clone(stored));
        }
        match self.read_filter(&key, book) {
            Ok(stored) => Ok(stored),
            Err(FilterError::Read(error)) => Err(error),
            Err(FilterError::Damaged { name, what }) => {
                Err(ReadError::FilterDamaged { name, what })
            }
            Err(FilterError::Io(error)) if error.kind() == io::ErrorKind::NotFound => {
                Err(ReadError::NoFilter { name: name.into() })
            }
            Err(error) => {
                let text = format!("the filter `{name}`: {error}");
                Err(self.labels_failed(Seq::ZERO, &text))
            }
        }
    }

    /// Reads a filter's file, checks it, and finds its numbers.
    fn read_filter(&self, key: &str, book: &mut Book) -> Result<Arc<StoredFilter>, FilterError> {
        let mut gathered = Gathered::new();
        let list = self.check_file(key, |reader, bytes| {
            let fed = reader.feed(bytes, |line, tag| gathered.push(tag, line));
            if fed.is_ok() && gathered.is_much() {
                gathered.settle(book, |_, _| Ok(()))?;
            }
            Ok(fed)
        })?;
        gathered.settle(book, |_, _| Ok(()))?;
        Ok(book.keep_filter(list, Arc::new(gathered.set), self.shared.number())?)
    }

    /// Reads a filter's file to its end, and checks it; `feed` gives the bytes to the reader.
    fn check_file(
        &self,
        key: &str,
        mut feed: impl FnMut(&mut TagListReader, &[u8]) -> Fed,
    ) -> Result<TagList, FilterError> {
        let damaged = |what| FilterError::Damaged {
            name: key.to_owned(),
            what,
        };
        let mut file = self.filter_file(key)?;
        let (list, mut bytes) = read_head(&mut file, key)?.map_err(damaged)?;
        let mut reader = TagListReader::new(list);
        loop {
            feed(&mut reader, &bytes)?.map_err(damaged)?;
            bytes.resize(PIECE_BYTES, 0);
            let count = file.read(&mut bytes)?;
            bytes.truncate(count);
            if count == 0 {
                return reader.finish().map_err(damaged);
            }
        }
    }

    /// What the filters of the buffer say about themselves, by name, or which are damaged; blocks.
    ///
    /// At most `limit` of those behind `after`, and whether there are more.
    pub(crate) fn filter_lists(
        &self,
        after: Option<&str>,
        limit: usize,
    ) -> Result<(Vec<Listed>, bool), FilterError> {
        let names = self.filter_files()?;
        let mut behind = names
            .iter()
            .filter(|name| after.is_none_or(|after| name.as_str() > after));
        let mut lists = Vec::new();
        for key in behind.by_ref().take(limit) {
            match self.filter_list(key) {
                Ok(list) => lists.extend(list.map(Listed::Good)),
                Err(FilterError::Damaged { name, what }) => {
                    lists.push(Listed::Damaged { name, what });
                }
                Err(error) => return Err(error),
            }
        }
        Ok((lists, behind.next().is_some()))
    }

    /// What one filter says about itself; blocks. `None` when there is none.
    ///
    /// The first look of an opening reads the whole file: only then is it known to be good.
    pub(crate) fn filter_list(&self, name: &str) -> Result<Option<TagList>, FilterError> {
        let key = name.to_ascii_lowercase();
        let list = if self.is_checked(&key) {
            self.filter_head(&key)
        } else {
            self.check_file(&key, |reader, bytes| Ok(reader.feed(bytes, |_, _| {})))
        };
        match list {
            Ok(list) => {
                self.checked(key);
                Ok(Some(list))
            }
            Err(FilterError::Io(error)) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    fn filter_head(&self, key: &str) -> Result<TagList, FilterError> {
        let head = read_head(&mut self.filter_file(key)?, key)?;
        let (list, _) = head.map_err(|what| FilterError::Damaged {
            name: key.to_owned(),
            what,
        })?;
        Ok(list)
    }

    /// Removes a filter, unless the buffer is paused, as `state` says. Answers whether there was
    /// one. Reads under way go on with it. Blocks.
    pub(crate) fn remove_filter(
        &self,
        name: &str,
        state: impl FnOnce() -> Option<BufferState>,
    ) -> Result<bool, FilterError> {
        let key = name.to_ascii_lowercase();
        if !self.unname_filter(&key, state)? {
            return Ok(false);
        }
        self.with_book_for_filters(|book| {
            book.filters.remove(&key);
            Ok(true)
        })
    }
}

/// The lines are those of the file so far, or not; or something else went wrong with them.
type Fed = Result<Result<(), TagListError>, FilterError>;

/// A filter in a list of them.
#[derive(Clone, Debug)]
pub(crate) enum Listed {
    /// What it says about itself.
    Good(TagList),
    /// Its file is not what was uploaded.
    Damaged {
        /// As the file is named.
        name: String,
        /// What is wrong.
        what: TagListError,
    },
}

/// The first line of a filter's file, and what was read behind it.
fn read_head(file: &mut File, key: &str) -> io::Result<Result<(TagList, Vec<u8>), TagListError>> {
    let mut bytes = Vec::with_capacity(TagList::HEAD_BYTES_MAX);
    file.take(TagList::HEAD_BYTES_MAX as u64)
        .read_to_end(&mut bytes)?;
    Ok(TagList::parse_named(&bytes, key).map(|(list, len)| {
        bytes.drain(..len);
        (list, bytes)
    }))
}
