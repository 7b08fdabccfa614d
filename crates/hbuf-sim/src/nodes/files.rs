//! The files of one log on one node: where each record stands, what is sent of them to a copy, and
//! how a copy appends what came.

use std::collections::BTreeMap;

use hbuf_core::ids::{Micros, Seq};
use hbuf_core::record::{Line, State, decode};
use hbuf_core::segment::LogKind;

use crate::disk::{Directory, Disk, DiskError, Name};

/// One of the two logs of a buffer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct LogId {
    pub(super) buffer: usize,
    pub(super) log: LogKind,
}

impl LogId {
    pub(super) const fn name(self, file: Seq) -> Name {
        match self.log {
            LogKind::Cursors => Name::Cursors(self.buffer, file),
            _ => Name::Segment(self.buffer, file),
        }
    }

    pub(super) const fn directory(self) -> Directory {
        match self.log {
            LogKind::Cursors => Directory::Cursors(self.buffer),
            _ => Directory::Buffer(self.buffer),
        }
    }

    /// Its files, in order.
    pub(super) fn names(self, disk: &Disk) -> Vec<Name> {
        disk.names(self.name(Seq::ZERO), self.name(Seq::MAX))
            .collect()
    }
}

/// Where a record stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Place {
    file: Seq,
    at: usize,
    len: usize,
    /// Epoch and checksum.
    identity: (u32, u32),
}

/// The places of a log's records.
#[derive(Clone, Debug)]
pub(super) struct LogFiles {
    id: LogId,
    records: BTreeMap<Seq, Place>,
    /// First seq of the last file, and how long that is.
    end: Option<(Seq, usize)>,
    /// Something else than records stands in a file.
    unreadable: bool,
}

impl LogFiles {
    /// Those of a log as its files are, through `last`.
    pub(super) fn of(id: LogId, disk: &Disk, last: Seq) -> Self {
        let mut files = Self {
            id,
            records: BTreeMap::new(),
            end: None,
            unreadable: false,
        };
        for name in id.names(disk) {
            let (Name::Segment(_, file) | Name::Cursors(_, file)) = name else {
                continue;
            };
            let bytes = disk.read(name).map_or(&[][..], Vec::as_slice);
            let mut at = 0;
            while let Ok(line) = Line::parse(bytes.get(at..).unwrap_or_default()) {
                let len = usize::try_from(line.record_len()).unwrap_or(usize::MAX);
                let beyond = line.state != State::Head && line.seq > last;
                if at.saturating_add(len) > bytes.len() || beyond {
                    break;
                }
                files.note_one(file, at, &line);
                at += len;
            }
            let rest = bytes.get(at..).unwrap_or_default();
            files.unreadable |= last == Seq::MAX && rest.iter().any(|byte| *byte != 0);
            files.end = Some((file, at));
        }
        files
    }

    /// The last record's seq.
    pub(super) fn last(&self) -> Seq {
        self.records
            .last_key_value()
            .map_or(Seq::ZERO, |(seq, _)| *seq)
    }

    /// The file in which it ends.
    pub(super) fn last_name(&self) -> Option<Name> {
        self.end.map(|(file, _)| self.id.name(file))
    }

    /// The files that hold records behind `after`.
    pub(super) fn names_from(&self, after: Seq) -> Vec<Name> {
        let mut files: Vec<Seq> = self
            .records
            .range(after.next()..)
            .map(|(_, place)| place.file)
            .collect();
        files.dedup();
        files.into_iter().map(|file| self.id.name(file)).collect()
    }

    /// What a record is, apart from where it stands: its epoch and checksum.
    pub(super) fn identity(&self, seq: Seq) -> Option<(u32, u32)> {
        self.records.get(&seq).map(|place| place.identity)
    }

    /// What comes next stands here, whatever can be read of what is before.
    pub(super) fn ends_at(&mut self, file: Seq, offset: u64) {
        let offset = usize::try_from(offset).expect("files are short");
        self.end = Some((file, offset));
    }

    /// The files before this one are gone.
    pub(super) fn dropped(&mut self, keep_from: Seq) {
        self.records.retain(|_, place| place.file >= keep_from);
    }

    /// Records of a new file come next, whatever is between.
    pub(super) fn jump(&mut self) {
        self.end = None;
    }

    fn note_one(&mut self, file: Seq, at: usize, line: &Line) {
        if line.state != State::Head {
            let len = usize::try_from(line.record_len()).expect("records are short");
            let identity = (line.epoch.0, line.crc);
            let place = Place {
                file,
                at,
                len,
                identity,
            };
            self.records.insert(line.seq, place);
        }
    }

    /// Writes bytes that begin with a head line or a record.
    pub(super) fn write(
        &mut self,
        disk: &mut Disk,
        file: Seq,
        offset: u64,
        bytes: &[u8],
    ) -> Result<(), DiskError> {
        disk.write(self.id.name(file), offset, bytes)?;
        let start = usize::try_from(offset).expect("files are short");
        let mut at = 0;
        while let Ok(line) = Line::parse(&bytes[at..]) {
            self.note_one(file, start + at, &line);
            at += usize::try_from(line.record_len()).expect("records are short");
        }
        self.end = Some((file, start + bytes.len()));
        Ok(())
    }

    /// The records behind `after` through `through`, each file's head line before its first; fewer
    /// when they are not all there.
    pub(super) fn stream(&self, disk: &Disk, after: Seq, through: Seq) -> Vec<u8> {
        let mut out = Vec::new();
        if through <= after {
            return out;
        }
        for (seq, place) in self.records.range(after.next()..=through) {
            let Some(bytes) = disk.read(self.id.name(place.file)) else {
                break;
            };
            let from = if *seq == place.file { 0 } else { place.at };
            match bytes.get(from..place.at + place.len) {
                Some(record) => out.extend_from_slice(record),
                None => break,
            }
        }
        out
    }

    /// The file of a record, where it stands in it and how long it is.
    pub(super) fn place(&self, seq: Seq) -> Option<(Name, u64, u64)> {
        let place = self.records.get(&seq)?;
        Some((self.id.name(place.file), place.at as u64, place.len as u64))
    }

    /// The time of a record.
    pub(super) fn time(&self, disk: &Disk, seq: Seq) -> Option<Micros> {
        let place = self.records.get(&seq)?;
        let bytes = disk.read(self.id.name(place.file))?;
        Some(Line::parse(bytes.get(place.at..)?).ok()?.time)
    }

    /// Through where the last record shows that the log was committed.
    pub(super) fn vouched(&self, disk: &Disk) -> Seq {
        let last = self.records.last_key_value().map(|(_, place)| place);
        let line = last.and_then(|place| {
            let bytes = disk.read(self.id.name(place.file))?;
            Line::parse(bytes.get(place.at..)?).ok()
        });
        line.map_or(Seq::ZERO, |line| line.known_commit())
    }

    /// Whether every record of the log is as it was framed.
    pub(super) fn is_sound(&self, disk: &Disk) -> bool {
        let mut all = self.records.keys();
        all.all(|seq| self.is_sound_at(disk, *seq)) && !self.unreadable
    }

    /// Whether a record is there, and as it was framed.
    pub(super) fn is_sound_at(&self, disk: &Disk, seq: Seq) -> bool {
        let record = self.records.get(&seq).and_then(|place| {
            let bytes = disk.read(self.id.name(place.file))?;
            bytes.get(place.at..place.at + place.len)
        });
        record.is_some_and(|record| decode(record).is_ok())
    }

    /// Appends those of a stream's records that are behind `after` and through `through`. What is
    /// no sound record ends it.
    pub(super) fn append(
        &mut self,
        disk: &mut Disk,
        stream: &[u8],
        span: (Seq, Seq),
    ) -> Result<(), DiskError> {
        for (seq, head, record) in records_within(stream, span) {
            match head {
                Some(head) => {
                    self.write(disk, seq, 0, &[head, record].concat())?;
                }
                None => {
                    // A log begins with a head line; with a bent rule, something else comes.
                    let Some((file, end)) = self.end else {
                        continue;
                    };
                    self.write(disk, file, end as u64, record)?;
                }
            }
        }
        Ok(())
    }

    /// Puts those of a stream's records into the file of before the first one that begins at
    /// `file`, which is made anew with the first of them.
    pub(super) fn fill(
        &mut self,
        disk: &mut Disk,
        stream: &[u8],
        file: Seq,
        span: (Seq, Seq),
    ) -> Result<(), DiskError> {
        let end = self.end;
        if span.0.next() == file {
            disk.remove(self.id.name(file));
        }
        for (_, head, record) in records_within(stream, span) {
            let name = self.id.name(file);
            let at = disk.read(name).map_or(0, Vec::len) as u64;
            let head = head.filter(|_| at == 0).unwrap_or_default();
            self.write(disk, file, at, &[head, record].concat())?;
        }
        self.end = end;
        Ok(())
    }

    /// Cuts the log back to `to`; the names that changed. Of a log that begins behind `to` the head
    /// line stays.
    pub(super) fn cut(&mut self, disk: &mut Disk, to: Seq) -> Vec<Name> {
        let gone: Vec<Place> = self.records.range(to.next()..).map(|(_, it)| *it).collect();
        self.records.retain(|seq, _| *seq <= to);
        let kept = self.records.last_key_value().map(|(_, place)| *place);
        let last = kept.map_or_else(|| to.next(), |place| place.file);
        let (mut changed, mut end) = (Vec::new(), None);
        for name in self.id.names(disk) {
            let (Name::Segment(_, file) | Name::Cursors(_, file)) = name else {
                continue;
            };
            let first = gone.iter().find(|place| place.file == file);
            match first {
                Some(first) if file == last => disk.set_len(name, first.at as u64),
                Some(_) => disk.remove(name),
                None if file > to && file != last => disk.remove(name),
                None => {}
            }
            if file == last {
                end = disk.read(name).map(|bytes| (file, bytes.len()));
            }
            if first.is_some() || file > to {
                changed.push(name);
            }
        }
        self.end = kept.map(|place| (place.file, place.at + place.len)).or(end);
        changed
    }

    /// Nothing of the log is left; the names that changed.
    pub(super) fn clear(&mut self, disk: &mut Disk) -> Vec<Name> {
        let names = self.id.names(disk);
        names.iter().for_each(|name| disk.remove(*name));
        self.records.clear();
        (self.end, self.unreadable) = (None, false);
        names
    }
}

/// The sound records of a stream that are behind `after` and through `through`, with the head lines
/// that stand before them.
fn records_within(
    stream: &[u8],
    (after, through): (Seq, Seq),
) -> impl Iterator<Item = (Seq, Option<&[u8]>, &[u8])> {
    let (mut at, mut head) = (0, None);
    core::iter::from_fn(move || {
        while let Ok(line) = Line::parse(&stream[at..]) {
            let len = usize::try_from(line.record_len()).expect("records are short");
            let bytes = stream.get(at..at + len)?;
            at += len;
            if line.state == State::Head {
                head = Some(bytes);
                continue;
            }
            let head = head.take();
            if line.seq > after && line.seq <= through && decode(bytes).is_ok() {
                return Some((line.seq, head, bytes));
            }
        }
        None
    })
}

/// Whether a stream holds sound records through `through`, and nothing else.
pub(super) fn is_whole(stream: &[u8], through: Seq) -> bool {
    let (mut at, mut last) = (0, Seq::ZERO);
    while at < stream.len() {
        let Ok(line) = Line::parse(&stream[at..]) else {
            return false;
        };
        let len = usize::try_from(line.record_len()).unwrap_or(usize::MAX);
        let record = stream.get(at..at.saturating_add(len));
        if record.is_none_or(|record| decode(record).is_err()) {
            return false;
        }
        at += len;
        if line.state != State::Head {
            last = line.seq;
        }
    }
    last == through
}
