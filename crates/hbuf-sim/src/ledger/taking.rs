//! What a look of a consumer takes.

use hbuf_core::consumer::Filter;

use crate::filters::Tags;
use crate::model::Labels;

/// What a look takes: the naive filter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Taking {
    pub(crate) filter: Filter,
    /// The tags of the stored filter, where one is named.
    stored: Option<Tags>,
}

impl Taking {
    pub(crate) const fn new(filter: Filter, stored: Option<Tags>) -> Self {
        Self { filter, stored }
    }

    /// Whether the stored filter takes a message with these tags.
    pub(crate) fn stored_takes<'t>(&self, mut tags: impl Iterator<Item = &'t [u8]>) -> bool {
        let stored = self.stored.as_ref();
        stored.is_none_or(|stored| tags.any(|tag| stored.contains(tag)))
    }

    pub(crate) fn takes(&self, labels: &Labels) -> bool {
        let filter = &self.filter;
        let key = filter.key.as_deref();
        let tagged = |tag: &[u8]| labels.tags.iter().any(|own| own[..] == *tag);
        key.is_none_or(|key| labels.key.as_deref() == Some(key))
            && (filter.tags.is_empty() || filter.tags.iter().any(|tag| tagged(tag)))
            && self.stored_takes(labels.tags.iter().map(Vec::as_slice))
    }
}
