//! How the table of operations is written.

use super::Code;

/// One operation.
pub(super) struct Operation {
    /// Its name in generated clients.
    pub(super) id: &'static str,
    /// Names of its query, as in `parameters.rs`.
    pub(super) query: &'static [&'static str],
    /// Request headers that it understands, as in `parameters.rs`.
    pub(super) headers: &'static [&'static str],
    /// Bodies that it takes.
    pub(super) takes: &'static [Media],
    pub(super) body_required: bool,
    /// Its good replies.
    pub(super) gives: &'static [Gives],
    /// Its refusals, in groups, besides `ALWAYS`.
    pub(super) refuses: &'static [&'static [Code]],
}

/// A body.
#[derive(Clone, Copy)]
pub(super) enum Media {
    /// `application/json` of this schema.
    Json(&'static str),
    /// Any bytes under this media type.
    Bytes(&'static str),
    /// Text under this media type.
    Text(&'static str),
}

/// A good reply.
pub(super) struct Gives {
    pub(super) status: u16,
    pub(super) what: &'static str,
    pub(super) media: &'static [Media],
    pub(super) headers: &'static [&'static str],
}

/// A good reply in JSON.
pub(super) const fn json(status: u16, what: &'static str, media: &'static [Media]) -> Gives {
    Gives {
        status,
        what,
        media,
        headers: &[],
    }
}

/// An operation without query, headers and body.
pub(super) const fn plain(
    id: &'static str,
    gives: &'static [Gives],
    refuses: &'static [&'static [Code]],
) -> Operation {
    Operation {
        id,
        query: &[],
        headers: &[],
        takes: &[],
        body_required: false,
        gives,
        refuses,
    }
}

/// An operation that takes a JSON object.
pub(super) const fn configure(
    id: &'static str,
    takes: &'static [Media],
    gives: &'static [Gives],
    refuses: &'static [&'static [Code]],
) -> Operation {
    Operation {
        takes,
        ..plain(id, gives, refuses)
    }
}

/// An operation with a query.
pub(super) const fn asked(query: &'static [&'static str], operation: Operation) -> Operation {
    Operation { query, ..operation }
}
