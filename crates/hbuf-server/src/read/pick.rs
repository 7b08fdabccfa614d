//! A read of some messages: those with a tag, those of a stored filter, those with a key, the
//! newest of each key. What is not wanted is not read, but for what stands close beside.

use std::fs::File;
use std::sync::Arc;

use bytes::Bytes;
use hbuf_core::filter::{Bits, TagSet, TermKind, Terms, TermsError, key_term, labels};
use hbuf_core::ids::Seq;
use hbuf_core::index::Place;
use hbuf_core::limits::PIECE_BYTES;
use hbuf_core::record::LINE_LEN;
use hbuf_core::segment::ReadFailed;
use hbuf_core::skim::{crc_holds, skim};

use super::book::Book;
use super::newest::Newest;
use super::segments::View;
use super::shared::{MatchedKey, PieceMemory, lock};
use super::stored_filter::StoredFilter;
use super::terms::{Blocks, TermsAt, is_settled, place_in};
use super::walk::{NEAR_BYTES, read_at};
use super::{ReadError, Readable};

/// Which messages are wanted; all that is set must hold.
#[derive(Default)]
pub(crate) struct Pick {
    /// Any of these tags; none is no condition. Whoever takes the messages compares the tags once
    /// more: a tag that a full dictionary did not take is only known to be none of the others.
    pub(crate) tags: Vec<Vec<u8>>,
    /// A stored filter.
    pub(crate) filter: Option<Arc<StoredFilter>>,
    /// This key, as it is stored.
    pub(crate) key: Option<Vec<u8>>,
    /// Only the newest of each key.
    pub(crate) newest: Option<Newest>,
    /// The tags as numbers, once they were looked up.
    pub(crate) tag_set: Option<Resolved>,
    /// What is wanted of the segment at hand.
    pub(crate) chosen: Option<Chosen>,
}

/// The tags as numbers of a book's dictionary when it had so many.
pub(crate) struct Resolved {
    book: u64,
    known: u32,
    set: Arc<TagSet>,
}

/// What is wanted of one segment.
pub(crate) struct Chosen {
    file: Seq,
    settled: bool,
    /// Places that were judged.
    end: u32,
    bits: Bits,
    /// Behind the last message that was taken, to go on from there.
    place: Option<Place>,
}

/// Messages that were wanted, back to back.
pub(crate) struct Picked {
    /// Their bytes.
    pub(crate) bytes: Bytes,
    /// The last seq that was looked at.
    pub(crate) last: Seq,
}

/// How much a read may take.
#[derive(Clone, Copy)]
pub(crate) struct Bounds {
    pub(crate) through: Seq,
    pub(crate) limit: u64,
    pub(crate) bytes: usize,
}

impl Pick {
    /// The tags as a set of numbers; `None` when there are none.
    fn resolved(&mut self, book: &Book) -> Result<Option<Arc<TagSet>>, ReadFailed> {
        if self.tags.is_empty() {
            return Ok(None);
        }
        let known = book.dictionary.len();
        let fresh = self.tag_set.as_ref();
        let fresh = fresh.filter(|set| set.book == book.number && set.known == known);
        if let Some(resolved) = fresh {
            return Ok(Some(Arc::clone(&resolved.set)));
        }
        let mut set = TagSet::default();
        for tag in &self.tags {
            book.find(tag)?.map(|id| set.insert(id));
        }
        let set = Arc::new(set);
        self.tag_set = Some(Resolved {
            book: book.number,
            known,
            set: Arc::clone(&set),
        });
        Ok(Some(set))
    }
}

/// What a settled segment is asked, and where.
struct Ready<'a> {
    tags: Option<Arc<TagSet>>,
    filter: Option<Arc<StoredFilter>>,
    key: Option<(u128, TermsAt<'a>)>,
    /// For tags and filter.
    terms: Option<TermsAt<'a>>,
}

impl Ready<'_> {
    fn select(&self, buffer: &Readable, view: &View) -> Result<Bits, TermsError> {
        let mut bits = Bits::full(place_in(view, view.last) + 1);
        if let Some((terms, blocks)) = &self.terms {
            if let Some(set) = &self.tags {
                bits.keep(&set.select(terms.terms(), blocks)?);
            }
            if let Some(filter) = &self.filter {
                bits.keep(&*buffer.matched(view, filter, terms.terms(), blocks)?);
            }
        }
        if let Some((term, (terms, blocks))) = &self.key {
            let mut found = Bits::default();
            terms.terms().probe(blocks, [*term], &mut found)?;
            bits.keep(&found);
        }
        Ok(bits)
    }
}

impl Readable {
    /// The wanted messages behind `after` within the bounds; at least one message is taken if any
    /// is wanted, however long it is. Gives the wish back, with what was found out for it.
    pub(crate) async fn pick(
        self: &Arc<Self>,
        mut pick: Pick,
        after: Seq,
        bounds: Bounds,
    ) -> Result<(Pick, Picked), ReadError> {
        self.blocking(move |buffer| {
            let picked = buffer.pick_files(&mut pick, after, bounds)?;
            Ok((pick, picked))
        })
        .await
    }

    fn pick_files(&self, pick: &mut Pick, after: Seq, bounds: Bounds) -> Result<Picked, ReadError> {
        let mut taking = Taking {
            out: Vec::new(),
            count: 0,
            next: after.next(),
            bounds,
            damaged: None,
        };
        let mut files = 0;
        while taking.next <= bounds.through && !taking.is_full() && files < FILES_MAX {
            files += 1;
            match self.pick_next(pick, &mut taking) {
                Ok(true) => {}
                Ok(false) => break,
                // It was met while looking for what is wanted: what stands before it was not
                // looked at yet.
                Err(ReadError::Damaged { seq, file, what }) if taking.ends_before(seq, file) => {
                    self.note(&ReadError::Damaged { seq, file, what });
                }
                // What was taken before the damage is good; the next read says why it ends there.
                Err(error) if taking.count > 0 => {
                    self.note(&error);
                    break;
                }
                Err(error) => return Err(error),
            }
        }
        Ok(Picked {
            bytes: taking.out.into(),
            last: taking.next.prev(),
        })
    }

    /// Takes from the file that holds the next message; false when nothing more is committed or
    /// fits.
    fn pick_next(&self, pick: &mut Pick, taking: &mut Taking) -> Result<bool, ReadError> {
        let Some(view) = self.view(taking.next)? else {
            return Ok(false);
        };
        let last = view.last.min(taking.bounds.through);
        let file = self.segment(view.file)?;
        let settled = is_settled(&view) && taking.damaged != Some(view.file);
        self.choose(pick, &view, &file, settled, (taking.next, last))?;
        let Pick { chosen, newest, .. } = pick;
        let chosen = chosen.as_mut().expect("it was just chosen");
        self.gather(&view, &file, chosen, newest.as_ref(), last, taking)
    }

    /// Finds out which messages of the file are wanted, from `next` through `last`: by its terms
    /// when it is settled, else by the heads of its messages.
    fn choose(
        &self,
        pick: &mut Pick,
        view: &View,
        file: &File,
        settled: bool,
        (next, last): (Seq, Seq),
    ) -> Result<(), ReadError> {
        let end = place_in(view, last) + 1;
        let chosen = pick.chosen.take().filter(|chosen| {
            chosen.file == view.file && (chosen.end >= end || (!chosen.settled && !settled))
        });
        let mut chosen = chosen.unwrap_or_else(|| Chosen {
            file: view.file,
            settled,
            // Of heads nothing before is looked at.
            end: if settled { 0 } else { place_in(view, next) },
            bits: Bits::default(),
            place: None,
        });
        if chosen.end < end {
            if settled {
                chosen.bits = self.choose_by_terms(pick, view)?;
                chosen.end = place_in(view, view.last) + 1;
            } else {
                self.choose_by_heads(pick, view, file, &mut chosen, end)?;
            }
        }
        pick.chosen = Some(chosen);
        Ok(())
    }

    /// What of a settled segment is wanted, by its terms; they are made again when they turn out to
    /// be bad.
    fn choose_by_terms(&self, pick: &mut Pick, view: &View) -> Result<Bits, ReadError> {
        let ready = self.with_book(|book| self.make_ready(pick, view, book))?;
        let bits = match ready.select(self, view) {
            Ok(bits) => bits,
            Err(error) => {
                self.remake_terms(view, &error)?;
                let ready = self.with_book(|book| self.make_ready(pick, view, book))?;
                ready
                    .select(self, view)
                    .map_err(|error| self.labels_failed(view.file, &error))?
            }
        };
        let mut bits = bits;
        if let Some(newest) = &pick.newest {
            newest.keep(view.file, &mut bits);
        }
        Ok(bits)
    }

    /// Finds the terms to ask and the tags to ask for. The terms first: making them may give
    /// numbers to tags.
    fn make_ready(
        &self,
        pick: &mut Pick,
        view: &View,
        book: &mut Book,
    ) -> Result<Ready<'_>, ReadError> {
        let (mut terms, mut tags) = (None, None);
        if !pick.tags.is_empty() || pick.filter.is_some() {
            self.renew_filter(&mut pick.filter, book)?;
            terms = Some(self.terms_of(view, TermKind::Tags, book)?);
            tags = pick
                .resolved(book)
                .map_err(|error| self.labels_failed(view.file, &error))?;
        }
        let key = match &pick.key {
            None => None,
            Some(key) => Some((key_term(key), self.terms_of(view, TermKind::Keys, book)?)),
        };
        Ok(Ready {
            tags,
            filter: pick.filter.clone(),
            key,
            terms,
        })
    }

    /// What a stored filter matches of a settled segment: found out once for all who ask.
    fn matched(
        &self,
        view: &View,
        filter: &StoredFilter,
        terms: &Terms,
        blocks: &Blocks<'_>,
    ) -> Result<Arc<Bits>, TermsError> {
        let key = MatchedKey {
            buffer: self.number,
            file: view.file,
            set: filter.number(),
        };
        if let Some(bits) = self.shared.matched().get(key) {
            return Ok(bits);
        }
        let bits = Arc::new(filter.set().select(terms, blocks)?);
        self.shared
            .matched()
            .put(key, Arc::clone(&bits), bits.memory());
        Ok(bits)
    }

    fn choose_by_heads(
        &self,
        pick: &mut Pick,
        view: &View,
        file: &File,
        chosen: &mut Chosen,
        end: u32,
    ) -> Result<(), ReadError> {
        self.with_book(|book| {
            self.renew_filter(&mut pick.filter, book)?;
            let open = book.open_labels(view.file, || self.head_len(view, file))?;
            let mut open = lock(&open);
            let through = Seq(view.file.0 + u64::from(end) - 1);
            self.walk_labels(view, file, through, &mut open, book)?;
            let tags = pick
                .resolved(book)
                .map_err(|error| self.labels_failed(view.file, &error))?;
            let filter = pick.filter.as_ref().map(|filter| filter.set());
            let from = chosen.end;
            let mut bits = Bits::new(end);
            bits.insert_run(from, end - from);
            for set in tags.iter().chain(filter) {
                let mut found = Bits::new(end);
                open.tags.select(set, from, end, &mut found);
                bits.keep(&found);
            }
            if let Some(key) = &pick.key {
                let mut found = Bits::new(end);
                let places = open.keys.places(key_term(key)).skip_while(|&at| at >= end);
                places.take_while(|&at| at >= from).for_each(|at| {
                    found.insert(at);
                });
                bits.keep(&found);
            }
            if let Some(newest) = &pick.newest {
                newest.keep(view.file, &mut bits);
            }
            bits.iter().for_each(|at| {
                chosen.bits.insert(at);
            });
            chosen.end = end;
            Ok(())
        })
    }

    /// Takes the chosen messages of a file, from the next one through `last`; false when no more
    /// fits.
    fn gather(
        &self,
        view: &View,
        file: &File,
        chosen: &mut Chosen,
        newest: Option<&Newest>,
        last: Seq,
        taking: &mut Taking,
    ) -> Result<bool, ReadError> {
        let mut window = Window::new(file, self.shared.spare());
        while let Some(place) = chosen.bits.next(place_in(view, taking.next)) {
            let seq = Seq(view.file.0 + u64::from(place));
            if seq > last {
                break;
            }
            // What follows closely is taken too, and no more than fits is of use.
            window.ahead = taking.room().clamp(NEAR_BYTES, PIECE_BYTES);
            let start = self.reach(view, file, chosen.place, seq, &mut window)?;
            let io = |source| ReadError::Io {
                file: view.file,
                source,
            };
            let line = window.at(start, LINE_LEN).map_err(io)?;
            let due = Place { seq, offset: start };
            let record = skim(line).ok_or_else(|| self.no_record(view, due))?;
            if record.seq != seq {
                return Err(self.not_due(view, due, record.seq));
            }
            let len = self.len_within(view, due, &record)?;
            if !taking.has_room(len) {
                chosen.place = Some(due);
                return Ok(false);
            }
            let before = taking.out.len();
            window.copy(start, len, &mut taking.out).map_err(io)?;
            let bytes = &taking.out[before..];
            let (whole, holds) = (bytes.len() == len, view.sealed || crc_holds(bytes));
            if !whole || !holds {
                // What was taken before is given without it.
                taking.out.truncate(before);
                return Err(match whole {
                    false => self.no_record(view, due),
                    true => self.damaged(view, seq, "its CRC is another"),
                });
            }
            if is_superseded(bytes, seq, newest) {
                taking.out.truncate(before);
            } else {
                taking.count += 1;
            }
            taking.next = seq.next();
            chosen.place = Some(Place {
                seq: seq.next(),
                offset: start + len as u64,
            });
            if taking.is_full() {
                return Ok(false);
            }
        }
        taking.next = last.next();
        Ok(true)
    }

    /// Where the message starts: on from the last one when it is near, else by the index.
    fn reach(
        &self,
        view: &View,
        file: &File,
        here: Option<Place>,
        seq: Seq,
        window: &mut Window<'_>,
    ) -> Result<u64, ReadError> {
        let mut place = match here.filter(|here| here.seq <= seq && seq.0 - here.seq.0 <= NEAR) {
            Some(place) => place,
            None => {
                let known = self.with_index(view, file, |index| {
                    self.extend(view, file, index, seq.prev())?;
                    Ok(index.at_or_before(seq))
                })?;
                here.filter(|here| here.seq <= seq && here.seq > known.seq)
                    .unwrap_or(known)
            }
        };
        while place.seq < seq {
            let line = window.at(place.offset, LINE_LEN);
            let line = line.map_err(|source| ReadError::Io {
                file: view.file,
                source,
            })?;
            let record = skim(line).ok_or_else(|| self.no_record(view, place))?;
            if record.seq != place.seq {
                return Err(self.not_due(view, place, record.seq));
            }
            place = Place {
                seq: place.seq.next(),
                offset: place.offset + record.record_len(),
            };
        }
        Ok(place.offset)
    }

    /// Reads the filter anew when the book's numbers are no longer those that it holds.
    fn renew_filter(
        &self,
        filter: &mut Option<Arc<StoredFilter>>,
        book: &mut Book,
    ) -> Result<(), ReadError> {
        if let Some(stored) = filter
            && !stored.fits(book)
        {
            *filter = Some(self.load_filter(stored.name(), book)?);
        }
        Ok(())
    }
}

/// Whether a later message of an open segment has the record's key.
fn is_superseded(record: &[u8], seq: Seq, newest: Option<&Newest>) -> bool {
    newest.is_some_and(|newest| {
        let key = labels(record).key;
        key.is_some_and(|key| newest.supersedes(seq, key_term(key)))
    })
}

/// A read under way.
struct Taking {
    out: Vec<u8>,
    count: u64,
    /// The next seq to look at.
    next: Seq,
    bounds: Bounds,
    /// A file that is damaged behind `bounds.through`: its terms cannot be made.
    damaged: Option<Seq>,
}

impl Taking {
    /// Narrows the read to what stands before damage that nobody came to yet; false when it is
    /// the next message that is damaged, or the read was narrowed already.
    fn ends_before(&mut self, seq: Seq, file: Seq) -> bool {
        if seq <= self.next || seq > self.bounds.through || self.damaged.is_some() {
            return false;
        }
        self.bounds.through = seq.prev();
        self.damaged = Some(file);
        true
    }

    const fn is_full(&self) -> bool {
        self.count >= self.bounds.limit || self.out.len() >= self.bounds.bytes
    }

    const fn room(&self) -> usize {
        self.bounds.bytes.saturating_sub(self.out.len())
    }

    const fn has_room(&self, len: usize) -> bool {
        self.count == 0 || len <= self.room()
    }
}

/// Some bytes of a file, read ahead where one read follows the other.
struct Window<'a> {
    file: &'a File,
    memory: PieceMemory,
    /// Where the window begins in the file.
    start: u64,
    /// Bytes to read at once where one read follows the other.
    ahead: usize,
}

impl<'a> Window<'a> {
    const fn new(file: &'a File, memory: PieceMemory) -> Self {
        Self {
            file,
            memory,
            start: 0,
            ahead: PIECE_BYTES,
        }
    }

    /// The bytes at `offset`: `len` of them, at most a piece, or as many as the file has.
    fn at(&mut self, offset: u64, len: usize) -> std::io::Result<&[u8]> {
        let at = offset.checked_sub(self.start).map(|at| at as usize);
        let held = self.memory.as_ref().len();
        let at = match at.filter(|at| at.saturating_add(len) <= held) {
            Some(at) => at,
            None => {
                let follows = at.is_some_and(|at| held > 0 && at <= held);
                let want = if follows { self.ahead } else { NEAR_BYTES };
                self.memory.fill(self.file, offset, want.max(len))?;
                self.start = offset;
                0
            }
        };
        let bytes = &self.memory.as_ref()[at..];
        Ok(bytes.get(..len).unwrap_or(bytes))
    }

    /// Appends the bytes at `offset`.
    fn copy(&mut self, offset: u64, len: usize, out: &mut Vec<u8>) -> std::io::Result<()> {
        if len <= PIECE_BYTES {
            out.extend_from_slice(self.at(offset, len)?);
            return Ok(());
        }
        let before = out.len();
        out.resize(before + len, 0);
        let count = read_at(self.file, &mut out[before..], offset)?;
        out.truncate(before + count);
        Ok(())
    }
}

/// Messages that are skipped one by one, rather than looked for.
const NEAR: u64 = 16;
/// Files that one call goes through, so that a reader who left is noticed before the next.
const FILES_MAX: u32 = 16;
