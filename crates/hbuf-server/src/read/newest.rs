//! Which messages are the newest of their key, as of the commit that a read saw at its start.
//!
//! Over the sealed segments this is worked out once, from their terms, and kept; what the open
//! segments hold is asked message by message.

use std::sync::{Arc, Mutex};

use hbuf_core::filter::{Bits, TermKind, Terms, latest};
use hbuf_core::ids::Seq;

use super::book::{Book, Open};
use super::segments::View;
use super::shared::{NewestKey, lock};
use super::terms::{Blocks, is_settled, place_in};
use super::{ReadError, Readable};

/// Tells the newest messages of their keys from those that later ones supersede.
pub(crate) struct Newest {
    /// The commit that is meant: what comes behind it is new to the reader anyway.
    through: Seq,
    sealed: Arc<SealedNewest>,
    opens: Vec<(View, Arc<Mutex<Open>>)>,
}

/// The messages of sealed segments that no later one in a sealed segment supersedes.
pub(super) struct SealedNewest {
    /// First seq of each segment, and its messages by their places.
    segments: Vec<(Seq, Bits)>,
}

impl SealedNewest {
    fn memory(&self) -> usize {
        self.segments.iter().map(|(_, bits)| bits.memory()).sum()
    }
}

impl Newest {
    /// Keeps of a sealed segment's messages those that no sealed segment supersedes.
    pub(super) fn keep(&self, file: Seq, bits: &mut Bits) {
        let segments = &self.sealed.segments;
        if let Ok(at) = segments.binary_search_by_key(&file, |segment| segment.0) {
            bits.keep(&segments[at].1);
        }
    }

    /// Whether the message is superseded by one of an open segment.
    pub(super) fn supersedes(&self, seq: Seq, key: u128) -> bool {
        if seq > self.through {
            return false;
        }
        self.opens.iter().any(|(view, open)| {
            let from = if seq < view.file {
                0
            } else {
                place_in(view, seq) + 1
            };
            let end = place_in(view, self.through.min(view.last)) + 1;
            self.through >= view.file && lock(open).keys.occurs(key, from, end)
        })
    }
}

impl Readable {
    /// What is the newest of its key as of now.
    pub(crate) async fn newest(self: &Arc<Self>) -> Result<Newest, ReadError> {
        self.blocking(Self::find_newest).await
    }

    fn find_newest(&self) -> Result<Newest, ReadError> {
        let views: Vec<View> = lock(&self.layout).views().collect();
        let through = views.last().map_or(Seq::ZERO, |view| view.last);
        let settled = views.iter().take_while(|view| is_settled(view)).count();
        let (sealed, others) = views.split_at(settled);
        self.with_book(|book| {
            let sealed = self.sealed_newest(sealed, book)?;
            let mut opens = Vec::with_capacity(others.len());
            for view in others {
                let file = self.segment(view.file)?;
                let open = book.open_labels(view.file, || self.head_len(view, &file))?;
                self.walk_labels(view, &file, view.last, &mut lock(&open), book)?;
                opens.push((*view, open));
            }
            Ok(Newest {
                through,
                sealed,
                opens,
            })
        })
    }

    fn sealed_newest(
        &self,
        views: &[View],
        book: &mut Book,
    ) -> Result<Arc<SealedNewest>, ReadError> {
        let (Some(first), Some(last)) = (views.first(), views.last()) else {
            let segments = Vec::new();
            return Ok(Arc::new(SealedNewest { segments }));
        };
        let key = NewestKey {
            buffer: self.number,
            first: first.file,
            last: last.file,
        };
        if let Some(newest) = self.shared.newest().get(key) {
            return Ok(newest);
        }
        let mut sources = Vec::with_capacity(views.len());
        for view in views {
            sources.push(self.terms_of(view, TermKind::Keys, book)?);
        }
        let borrowed: Vec<(&Terms, &Blocks<'_>)> = sources
            .iter()
            .map(|(terms, blocks)| (terms.terms(), blocks))
            .collect();
        let bits = latest(&borrowed).map_err(|error| {
            // The next read makes it again.
            self.forget_terms(views[error.at].file);
            self.labels_failed(views[error.at].file, &error)
        })?;
        let segments = views.iter().map(|view| view.file).zip(bits).collect();
        let newest = Arc::new(SealedNewest { segments });
        let weight = newest.memory();
        self.shared.newest().put(key, Arc::clone(&newest), weight);
        Ok(newest)
    }
}
