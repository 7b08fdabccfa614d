//! Records that were looked at for a consumer and are not handed out yet: kept for a while, so that
//! they are not read twice.

use std::sync::Arc;

use bytes::Bytes;
use hbuf_core::ids::{Seq, Uuid};

use super::Readable;

/// Whose records, over all buffers of the process.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct LookedKey {
    pub(super) buffer: u64,
    pub(super) consumer: Uuid,
}

/// The records that one look has found.
#[derive(Clone, Debug, Default)]
pub(crate) struct Page {
    /// Ascending.
    records: Vec<(Seq, Bytes)>,
    bytes: usize,
}

/// What the last two looks have found: one looks ahead while the page before is handed out.
#[derive(Clone, Debug, Default)]
pub(crate) struct Looked {
    pages: [Arc<Page>; 2],
}

impl Page {
    /// Takes in a record behind those that are here.
    pub(crate) fn push(&mut self, seq: Seq, record: Bytes) {
        debug_assert!(self.records.last().is_none_or(|(last, _)| *last < seq));
        self.bytes += record.len() + size_of::<(Seq, Bytes)>();
        self.records.push((seq, record));
    }

    fn record(&self, seq: Seq) -> Option<&Bytes> {
        let at = self.records.binary_search_by_key(&seq, |(seq, _)| *seq);
        Some(&self.records[at.ok()?].1)
    }
}

impl Looked {
    /// The record of a message, if it is kept.
    pub(crate) fn record(&self, seq: Seq) -> Option<Bytes> {
        self.pages.iter().find_map(|page| page.record(seq)).cloned()
    }

    fn last(&self) -> Option<Seq> {
        self.pages[1].records.last().map(|(seq, _)| *seq)
    }
}

impl Readable {
    /// Keeps what was found for a consumer, beside what was found before.
    pub(crate) fn keep_looked(&self, consumer: Uuid, page: Page) {
        if page.records.is_empty() {
            return;
        }
        let key = self.looked_key(consumer);
        let mut kept = self.shared.looked();
        let [_, before] = kept.get(key).unwrap_or_default().pages;
        let bytes = before.bytes + page.bytes;
        let pages = [before, Arc::new(page)];
        kept.put(key, Looked { pages }, bytes);
    }

    /// What is kept for a consumer; nothing when there was no room.
    pub(crate) fn looked(&self, consumer: Uuid) -> Looked {
        let kept = self.shared.looked().get(self.looked_key(consumer));
        kept.unwrap_or_default()
    }

    /// Messages through `seq` were handed out: nothing is kept when that is the last one.
    pub(crate) fn handed_out(&self, consumer: Uuid, looked: &Looked, seq: Seq) {
        if looked.last() == Some(seq) {
            let key = self.looked_key(consumer);
            let mut kept = self.shared.looked();
            // Another look may have come meanwhile.
            if kept.get(key).is_some_and(|now| now.last() == Some(seq)) {
                kept.remove(key);
            }
        }
    }

    const fn looked_key(&self, consumer: Uuid) -> LookedKey {
        let buffer = self.number;
        LookedKey { buffer, consumer }
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing;
    use super::*;

    const CONSUMER: Uuid = Uuid([7; 16]);

    fn page(seqs: std::ops::RangeInclusive<u64>) -> Page {
        let mut page = Page::default();
        for seq in seqs {
            page.push(Seq(seq), Bytes::from(seq.to_string()));
        }
        page
    }

    #[test]
    fn two_looks_are_kept_until_the_last_message_is_handed_out() {
        let writer = testing::Writer::new(testing::WRITE_PLAIN);
        let readable = &writer.buffer;
        assert!(readable.looked(CONSUMER).record(Seq(1)).is_none());
        for seqs in [1..=2, 5..=7, 8..=9] {
            readable.keep_looked(CONSUMER, page(seqs));
        }
        readable.keep_looked(CONSUMER, Page::default());
        let looked = readable.looked(CONSUMER);
        let found = |seq| looked.record(Seq(seq));
        assert_eq!((found(2), found(4)), (None, None), "only two looks");
        assert_eq!(found(7).unwrap(), "7");
        readable.handed_out(CONSUMER, &looked, Seq(7));
        assert!(readable.looked(CONSUMER).record(Seq(7)).is_some());
        readable.keep_looked(CONSUMER, page(10..=10));
        readable.handed_out(CONSUMER, &looked, Seq(9));
        assert!(readable.looked(CONSUMER).record(Seq(9)).is_some());
        let looked = readable.looked(CONSUMER);
        readable.handed_out(CONSUMER, &looked, Seq(10));
        assert!(readable.looked(CONSUMER).record(Seq(9)).is_none());
    }

    #[test]
    fn what_another_opening_of_the_buffer_found_is_not_taken_for_its_own() {
        let writer = testing::Writer::new(testing::WRITE_PLAIN);
        let readable = &writer.buffer;
        readable.keep_looked(CONSUMER, page(1..=2));
        readable.close();
        assert!(readable.looked(CONSUMER).record(Seq(1)).is_none());
    }
}
