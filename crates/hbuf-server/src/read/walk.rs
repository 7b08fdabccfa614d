//! Opening a buffer's files, keeping their indexes, finding a record in them.
//!
//! Everything here blocks. A walk goes by request lines alone; each must hold the seq that is due,
//! so a damaged line is met where it stands and nothing behind it is taken for a record.

use std::fs::File;
use std::io;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex};

use hbuf_core::ids::Seq;
use hbuf_core::index::{Place, PushError, SegmentIndex};
use hbuf_core::limits::PIECE_BYTES;
use hbuf_core::record::{LINE_LEN, Line, State, decode};
use hbuf_core::segment::{FORMAT_WITHIN, check_format, file_name};
use hbuf_core::skim::{Skim, Skimmer, crc_holds, time_of};

use super::level_zero::{INDEX_SUFFIX, derived_name, write_derived};
use super::segments::View;
use super::shared::{FileKey, FileKind, lock};
use super::{ReadError, Readable};

impl Readable {
    /// The open segment file, from the cache or from the directory. It holds all that was committed
    /// before this call: what waited for it in memory is written first.
    pub(super) fn segment(&self, file: Seq) -> Result<Arc<File>, ReadError> {
        if self.behind.load(Ordering::Acquire)
            && let Some(write) = self.writer.get()
        {
            write().map_err(|source| ReadError::Io { file, source })?;
        }
        self.open(
            FileKey {
                buffer: self.number,
                file,
                kind: FileKind::Segment,
            },
            file_name(file),
        )
        .map_err(|source| self.open_failed(file, source))
    }

    /// Opens a file of the directory through the cache.
    pub(super) fn open(&self, key: FileKey, name: String) -> io::Result<Arc<File>> {
        if let Some(file) = self.shared.files().get(key) {
            return Ok(file);
        }
        let file = Arc::new(File::open(self.dir.join(name))?);
        self.shared.files().put(key, Arc::clone(&file), 1);
        // Dropped meanwhile: kept open, its bytes would stay on the disk.
        if self.is_dropped(key.file) {
            self.shared.files().remove(key);
        }
        Ok(file)
    }

    fn is_dropped(&self, file: Seq) -> bool {
        self.closed.load(Ordering::Acquire)
            || lock(&self.layout)
                .oldest()
                .is_none_or(|oldest| file < oldest)
    }

    /// Where the record of `seq` starts, `seq` being committed and in this file.
    pub(super) fn locate(&self, view: &View, file: &File, seq: Seq) -> Result<u64, ReadError> {
        assert!(view.file <= seq && seq <= view.last, "a seq of this file");
        if seq == view.file {
            return self.head_len(view, file);
        }
        let near = self.with_index(view, file, |index| {
            self.extend(view, file, index, seq.prev())?;
            Ok(index.at_or_before(seq))
        })?;
        Ok(self
            .walk(view, file, near, seq.prev(), NEAR_BYTES, |_, _| true)?
            .offset)
    }

    /// Calls `each` with every record from `place` through `last`, until it says no; answers the
    /// place behind. The bytes start with the record and hold at least its line. Reads `first_read`
    /// bytes at first, then whole pieces.
    pub(super) fn walk(
        &self,
        view: &View,
        file: &File,
        place: Place,
        last: Seq,
        first_read: usize,
        mut each: impl FnMut(&Skim, &[u8]) -> bool,
    ) -> Result<Place, ReadError> {
        let mut next = place;
        if next.seq > last {
            return Ok(next);
        }
        let mut memory = self.shared.spare();
        let (mut want, mut skimmer) = (first_read, Skimmer::default());
        while next.seq <= last {
            memory
                .fill(file, next.offset, want)
                .map_err(|source| ReadError::Io {
                    file: view.file,
                    source,
                })?;
            want = PIECE_BYTES;
            let bytes = memory.as_ref();
            let (mut at, start) = (0, next.seq);
            while next.seq <= last
                && let Some(record) = bytes.get(at..).and_then(|bytes| skimmer.skim(bytes))
            {
                if record.seq != next.seq {
                    return Err(self.not_due(view, next, record.seq));
                }
                if !each(&record, &bytes[at..]) {
                    return Ok(next);
                }
                let len = record.record_len();
                next = Place {
                    seq: next.seq.next(),
                    offset: next.offset + len,
                };
                at = at.saturating_add(usize::try_from(len).unwrap_or(usize::MAX));
            }
            if next.seq == start {
                return Err(self.no_record(view, next));
            }
        }
        Ok(next)
    }

    /// Uses the file's index, which covers as much as was walked so far.
    pub(super) fn with_index<T>(
        &self,
        view: &View,
        file: &File,
        work: impl FnOnce(&mut SegmentIndex) -> Result<T, ReadError>,
    ) -> Result<T, ReadError> {
        let key = FileKey {
            buffer: self.number,
            file: view.file,
            kind: FileKind::Segment,
        };
        let kept = self.shared.indexes().get(key);
        let index = match kept {
            Some(index) => index,
            None => self.load_index(key, view, file)?,
        };
        let mut index = lock(&index);
        let before = index.memory();
        let outcome = work(&mut index);
        let after = index.memory();
        drop(index);
        if after != before {
            self.shared.indexes().reweigh(key, after);
        }
        outcome
    }

    /// Brings the index through the record of `through`. When that was the last of a sealed
    /// segment, the index is written beside it.
    pub(super) fn extend(
        &self,
        view: &View,
        file: &File,
        index: &mut SegmentIndex,
        through: Seq,
    ) -> Result<(), ReadError> {
        let end = index.end();
        if end.seq > through {
            return Ok(());
        }
        let mut refused = None;
        self.walk(view, file, end, through, NEAR_BYTES, |record, bytes| {
            let time = || time_of(bytes).ok_or(NoIndex::Line);
            refused = index.push(record.record_len(), time).err();
            refused.is_none()
        })?;
        let seq = index.end().seq;
        match refused {
            None => {}
            Some(NoIndex::Line) => return Err(self.damaged(view, seq, NO_TIME)),
            Some(NoIndex::Push(error)) => {
                return Err(self.damaged(view, seq, &error.to_string()));
            }
        }
        if view.sealed && is_whole(view, index) {
            index.shrink();
            self.write_index(view, index);
        }
        Ok(())
    }

    /// Brings a sealed segment's index to its end and writes it.
    pub(super) fn keep_index(&self, file: Seq) -> Result<(), ReadError> {
        let view = self.view(file)?.filter(|view| view.sealed);
        let Some(view) = view.filter(|view| view.next_file == Some(view.last.next())) else {
            return Ok(());
        };
        let segment = self.segment(file)?;
        self.with_index(&view, &segment, |index| {
            // Readers of the segment brought it there while it was open.
            if is_whole(&view, index) {
                self.write_index(&view, index);
                return Ok(());
            }
            self.extend(&view, &segment, index, view.last)?;
            if is_whole(&view, index) {
                return Ok(());
            }
            let (bytes, end) = (view.bytes, index.end().offset);
            let what = format!("the file has {bytes} bytes, its records end at {end}");
            Err(self.damaged(&view, view.last, &what))
        })
    }

    /// Writes the index beside its segment; without it readers walk the segment again.
    fn write_index(&self, view: &View, index: &SegmentIndex) {
        let name = derived_name(view.file, INDEX_SUFFIX);
        if let Err(error) = write_derived(&self.dir, &name, &[&index.encode(self.log)]) {
            tracing::warn!(
                event = "index_not_written", dir = %self.dir.display(), file = view.file.0, %error,
                "readers will make the index again"
            );
        }
    }

    fn load_index(
        &self,
        key: FileKey,
        view: &View,
        file: &File,
    ) -> Result<Arc<Mutex<SegmentIndex>>, ReadError> {
        let index = match self.stored_index(view) {
            Some(index) => index,
            None => SegmentIndex::new(view.file, self.head_len(view, file)?),
        };
        let weight = index.memory();
        let index = Arc::new(Mutex::new(index));
        let mut indexes = self.shared.indexes();
        // Another reader may have been faster; two indexes of one file would be walked twice.
        if let Some(index) = indexes.get(key) {
            return Ok(index);
        }
        indexes.put(key, Arc::clone(&index), weight);
        Ok(index)
    }

    /// The index file of a sealed segment, when it is there, whole, and of this file.
    fn stored_index(&self, view: &View) -> Option<SegmentIndex> {
        if !view.sealed {
            return None;
        }
        let path = self.dir.join(derived_name(view.file, INDEX_SUFFIX));
        let bytes = std::fs::read(path).ok()?;
        match SegmentIndex::decode(&bytes, self.log) {
            Ok(index) if is_whole(view, &index) => Some(index),
            Ok(_) => None,
            Err(error) => {
                tracing::warn!(
                    event = "index_bad", dir = %self.dir.display(), file = view.file.0, %error,
                    "the index is made again from its segment"
                );
                None
            }
        }
    }

    /// Where the first record starts: behind the head line. Whoever enters a file at its start
    /// looks here, so the whole line is checked: its CRC costs less than the read.
    pub(super) fn head_len(&self, view: &View, file: &File) -> Result<u64, ReadError> {
        let mut bytes = [0; HEAD_GUESS_BYTES];
        let count = read_at(file, &mut bytes, 0).map_err(|source| ReadError::Io {
            file: view.file,
            source,
        })?;
        check_format(&bytes[..count])
            .map_err(|error| self.damaged(view, view.file, &error.to_string()))?;
        let damaged = |what: &str| self.damaged(view, view.file, what);
        let line = Line::parse(&bytes[..count.min(LINE_LEN)])
            .map_err(|error| damaged(&format!("head line: {error}")))?;
        if line.state != State::Head || line.seq != view.file {
            return Err(damaged("the file does not start with its head line"));
        }
        let len = line.record_len();
        let broken = match usize::try_from(len).ok().and_then(|len| bytes.get(..len)) {
            Some(head) => broken_head(head),
            None if len > HEAD_LINE_BYTES_MAX => Some("it claims more bytes than one has".into()),
            None => {
                let mut head = vec![0; usize::try_from(len).unwrap_or_default()];
                let count = read_at(file, &mut head, 0).map_err(|source| ReadError::Io {
                    file: view.file,
                    source,
                })?;
                broken_head(&head[..count])
            }
        };
        match broken {
            Some(why) => Err(damaged(&format!("head line: {why}"))),
            None => Ok(len),
        }
    }

    pub(super) fn damaged(&self, view: &View, seq: Seq, what: &str) -> ReadError {
        ReadError::Damaged {
            seq,
            file: view.file,
            what: what.to_owned(),
        }
    }

    pub(super) fn not_due(&self, view: &View, due: Place, found: Seq) -> ReadError {
        let what = format!("at offset {} stands message {found}", due.offset);
        ReadError::Damaged {
            seq: due.seq,
            file: view.file,
            what,
        }
    }

    /// The length of the record at its place, before memory is set aside for what a damaged line
    /// may say.
    pub(super) fn len_within(
        &self,
        view: &View,
        at: Place,
        record: &Skim,
    ) -> Result<usize, ReadError> {
        let len = record.record_len();
        match usize::try_from(len) {
            Ok(whole) if len <= view.bytes.saturating_sub(at.offset) => Ok(whole),
            _ => Err(self.damaged(view, at.seq, "its lengths go beyond what was written")),
        }
    }

    pub(super) fn no_record(&self, view: &View, due: Place) -> ReadError {
        let mut what = format!("no record starts at offset {}", due.offset);
        if let Some(next) = view.next_file.filter(|_| due.offset == view.bytes) {
            what = format!("the file ends before it, and the next one begins with {next}");
        }
        ReadError::Damaged {
            seq: due.seq,
            file: view.file,
            what,
        }
    }

    /// A file that is gone was dropped, or someone took it away.
    fn open_failed(&self, file: Seq, source: io::Error) -> ReadError {
        let first = self.first();
        let dropped = lock(&self.layout)
            .oldest()
            .is_none_or(|oldest| file < oldest);
        match source.kind() {
            io::ErrorKind::NotFound if dropped => ReadError::BeforeFirst { first },
            io::ErrorKind::NotFound => {
                let what = "the file is missing from the buffer's directory".to_owned();
                ReadError::Damaged {
                    seq: file.max(first),
                    file,
                    what,
                }
            }
            _ => ReadError::Io { file, source },
        }
    }
}

/// Fills `out` from `offset` on; fewer bytes than that only at the end of the file.
pub(super) fn read_at(file: &File, out: &mut [u8], offset: u64) -> io::Result<usize> {
    let mut read = 0;
    while read < out.len() {
        match rustix::io::pread(file, &mut out[read..], offset + read as u64) {
            Ok(0) => break,
            Ok(count) => read += count,
            Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(read)
}

/// What is wrong with a head line whose checksum does not hold.
fn broken_head(head: &[u8]) -> Option<String> {
    if crc_holds(head) {
        return None;
    }
    let why = decode(head).err().map(|error| error.to_string());
    Some(why.unwrap_or_else(|| "its checksum does not hold".into()))
}

/// Whether the index covers all of a sealed segment, and nothing else.
fn is_whole(view: &View, index: &SegmentIndex) -> bool {
    let Place { seq, offset } = index.end();
    index.first() == view.file && view.next_file == Some(seq) && offset == view.bytes
}

/// Why the index does not take a record.
enum NoIndex {
    Line,
    Push(PushError),
}

impl From<PushError> for NoIndex {
    fn from(error: PushError) -> Self {
        Self::Push(error)
    }
}

/// What is wrong with a line whose time cannot be read.
pub(super) const NO_TIME: &str = "its request line holds no time";

/// Most head lines are shorter. Not less than what [`check_format`] looks at.
const HEAD_GUESS_BYTES: usize = 4 << 10;
const _: () = assert!(HEAD_GUESS_BYTES >= FORMAT_WITHIN);

/// No head line is longer: frontier and epoch table are bounded.
pub(super) const HEAD_LINE_BYTES_MAX: u64 = 256 << 10;

/// Bytes of the first read of a walk to a near record: a stride of the index and a record.
pub(super) const NEAR_BYTES: usize = 20 << 10;
