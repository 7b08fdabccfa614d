//! From a time to a position: times never fall within a log, so this is a search.

use std::fs::File;
use std::sync::Arc;

use hbuf_core::ids::{Micros, Seq};
use hbuf_core::record::LINE_LEN;
use hbuf_core::skim::time_of;

use super::segments::View;
use super::shared::lock;
use super::walk::{NEAR_BYTES, NO_TIME, read_at};
use super::{ReadError, Readable};

impl Readable {
    /// The position `after` which everything is of `from` or later: the last seq with an earlier
    /// time. One before the first message that is left when all are of `from` or later.
    pub async fn seq_at_time(self: &Arc<Self>, from: Micros) -> Result<Seq, ReadError> {
        self.blocking(move |buffer| buffer.search(from)).await
    }

    fn search(&self, from: Micros) -> Result<Seq, ReadError> {
        let (views, first) = {
            let layout = lock(&self.layout);
            (layout.views().collect::<Vec<_>>(), layout.first())
        };
        // The files whose first message is earlier come first; the answer is in the last of them.
        let (mut low, mut high) = (0, views.len());
        while low < high {
            let middle = low + (high - low) / 2;
            let view = &views[middle];
            if self.first_time(view, &*self.segment(view.file)?)? < from {
                low = middle + 1;
            } else {
                high = middle;
            }
        }
        match low.checked_sub(1) {
            Some(at) => Ok(self.search_in(&views[at], from)?.max(first.prev())),
            None => Ok(first.prev()),
        }
    }

    /// The last seq of the file whose time is before `from`; its first message is.
    fn search_in(&self, view: &View, from: Micros) -> Result<Seq, ReadError> {
        let file = self.segment(view.file)?;
        let near = self.with_index(view, &file, |index| {
            self.extend(view, &file, index, view.last)?;
            Ok(index.before(from))
        })?;
        let mut no_time = false;
        let place = self.walk(
            view,
            &file,
            near,
            view.last,
            NEAR_BYTES,
            |_, bytes| match time_of(bytes) {
                Some(time) => time < from,
                None => {
                    no_time = true;
                    false
                }
            },
        )?;
        if no_time {
            return Err(self.damaged(view, place.seq, NO_TIME));
        }
        Ok(place.seq.prev())
    }

    /// The time of a file's first message.
    fn first_time(&self, view: &View, file: &File) -> Result<Micros, ReadError> {
        let mut line = [0; LINE_LEN];
        let offset = self.head_len(view, file)?;
        let count = read_at(file, &mut line, offset).map_err(|source| ReadError::Io {
            file: view.file,
            source,
        })?;
        time_of(&line[..count]).ok_or_else(|| self.damaged(view, view.file, NO_TIME))
    }
}
