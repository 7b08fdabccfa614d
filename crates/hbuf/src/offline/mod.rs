//! Data on disk, read without a server: where buffers are and what their segments hold.
//!
//! Must never write: a running server may own the same files. What it is just appending is a tail
//! that is not whole yet; `walk` looks twice before it calls such a tail torn.

mod check;
mod filter;
#[cfg(test)]
pub(crate) mod fixture;
mod place;
mod source;
mod walk;

pub(crate) use check::Check;
pub(crate) use filter::check_filter;
pub(crate) use place::{BufferPlace, find, find_own, own};
pub(crate) use walk::{Damage, Found, Kind, walk};
