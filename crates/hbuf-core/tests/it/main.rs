//! The format against readers that are not ours: other trees, another parser, the page that describes it.

mod oracles;
mod parsers;
mod vectors;
