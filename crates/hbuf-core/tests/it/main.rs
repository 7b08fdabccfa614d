//! The format against readers that are not ours: other trees, another parser, the page that
//! describes it.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod oracles;
mod parsers;
mod vectors;
