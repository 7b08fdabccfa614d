//! Bytes of one file, held as pages so that holes and pre-written zeros cost nothing.

use std::collections::BTreeMap;

/// Size of a page, the unit of allocation.
pub(crate) const PAGE_BYTES: u64 = 4096;
/// Size of a sector, the unit that a disk writes whole.
pub(crate) const SECTOR_BYTES: u64 = 512;

#[derive(Clone, Debug)]
enum Page {
    Zero,
    Bytes(Box<[u8]>),
}

/// The bytes of a file. Absent pages are holes.
#[derive(Clone, Debug, Default)]
pub(crate) struct Pages {
    len: u64,
    pages: BTreeMap<u64, Page>,
}

impl Pages {
    pub(crate) fn len(&self) -> u64 {
        self.len
    }

    /// Pages that occupy space.
    pub(crate) fn allocated(&self) -> u64 {
        self.pages.len() as u64
    }

    /// How many pages of `offset..offset + len` are holes today.
    pub(crate) fn holes(&self, offset: u64, len: u64) -> u64 {
        if len == 0 {
            return 0;
        }
        let (first, last) = (offset / PAGE_BYTES, (offset + len - 1) / PAGE_BYTES);
        let held = self.pages.range(first..=last).count() as u64;
        last - first + 1 - held
    }

    /// Sets the length; what is beyond it is gone, what is new reads as zeros.
    pub(crate) fn set_len(&mut self, len: u64) {
        let first_gone = len.div_ceil(PAGE_BYTES);
        drop(self.pages.split_off(&first_gone));
        if let Some(Page::Bytes(bytes)) = self.pages.get_mut(&(len / PAGE_BYTES)) {
            bytes[(len % PAGE_BYTES) as usize..].fill(0);
        }
        self.len = len;
    }

    /// Grows the file over pages that may exist beyond its end already (reserved ones).
    pub(crate) fn grow(&mut self, len: u64) {
        self.len = self.len.max(len);
    }

    /// Allocates the range without changing what it reads as.
    pub(crate) fn reserve(&mut self, offset: u64, len: u64) {
        if len == 0 {
            return;
        }
        for page in offset / PAGE_BYTES..=(offset + len - 1) / PAGE_BYTES {
            self.pages.entry(page).or_insert(Page::Zero);
        }
    }

    /// Writes `data`, growing the file when it ends beyond its end.
    pub(crate) fn write(&mut self, offset: u64, data: &[u8]) {
        let mut at = offset;
        let mut rest = data;
        while !rest.is_empty() {
            let within = (at % PAGE_BYTES) as usize;
            let take = rest.len().min(PAGE_BYTES as usize - within);
            let (now, later) = rest.split_at(take);
            self.write_in_page(at / PAGE_BYTES, within, now);
            at += take as u64;
            rest = later;
        }
        self.len = self.len.max(at);
    }

    fn write_in_page(&mut self, page: u64, within: usize, data: &[u8]) {
        let held = self.pages.entry(page).or_insert(Page::Zero);
        if let Page::Zero = held {
            if data.iter().all(|byte| *byte == 0) {
                return;
            }
            *held = Page::Bytes(vec![0; PAGE_BYTES as usize].into_boxed_slice());
        }
        if let Page::Bytes(bytes) = held {
            bytes[within..within + data.len()].copy_from_slice(data);
        }
    }

    /// Reads up to `len` bytes; fewer at the end of the file.
    pub(crate) fn read(&self, offset: u64, len: u64) -> Vec<u8> {
        let end = self.len.min(offset.saturating_add(len));
        if offset >= end {
            return Vec::new();
        }
        let mut out = vec![0; (end - offset) as usize];
        for (page, held) in self
            .pages
            .range(offset / PAGE_BYTES..=(end - 1) / PAGE_BYTES)
        {
            let Page::Bytes(bytes) = held else { continue };
            let page_start = page * PAGE_BYTES;
            let from = page_start.max(offset);
            let to = (page_start + PAGE_BYTES).min(end);
            out[(from - offset) as usize..(to - offset) as usize]
                .copy_from_slice(&bytes[(from - page_start) as usize..(to - page_start) as usize]);
        }
        out
    }

    /// The bytes of whole sectors, zeros beyond the end.
    pub(crate) fn sectors(&self, first: u64, count: u64) -> Vec<u8> {
        let mut out = self.read(first * SECTOR_BYTES, count * SECTOR_BYTES);
        out.resize((count * SECTOR_BYTES) as usize, 0);
        out
    }

    /// Puts whole sectors without changing the length. The caller sets the length afterwards,
    /// which also clears what was put beyond it.
    pub(crate) fn put_sectors(&mut self, first: u64, data: &[u8]) {
        assert_eq!(data.len() as u64 % SECTOR_BYTES, 0, "whole sectors only");
        let len = self.len;
        self.write(first * SECTOR_BYTES, data);
        self.len = len;
    }

    /// Inverts one bit of a byte that exists.
    pub(crate) fn flip(&mut self, offset: u64, bit: u8) {
        let mut byte = self.read(offset, 1);
        assert_eq!(byte.len(), 1, "no byte at {offset}");
        byte[0] ^= 1 << bit;
        self.write(offset, &byte);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn holes_and_written_zeros_read_as_zeros_and_only_the_second_occupy_space() {
        let mut pages = Pages::default();
        pages.set_len(3 * PAGE_BYTES);
        assert_eq!(pages.allocated(), 0);
        pages.write(PAGE_BYTES, &[0; 10]);
        assert_eq!(pages.allocated(), 1);
        pages.write(2 * PAGE_BYTES - 2, b"abcd");
        assert_eq!(pages.read(2 * PAGE_BYTES - 3, 6), b"\0abcd\0");
        assert_eq!(pages.holes(0, 3 * PAGE_BYTES), 1);
    }

    #[test]
    fn bytes_cut_off_do_not_come_back_when_the_file_grows_again() {
        let mut pages = Pages::default();
        pages.write(0, &[7; 9000]);
        pages.set_len(100);
        pages.set_len(9000);
        assert_eq!(pages.read(98, 4), [7, 7, 0, 0]);
        assert!(pages.read(4096, 4904).iter().all(|byte| *byte == 0));
    }
}
