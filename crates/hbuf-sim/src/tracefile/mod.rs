//! Traces as files: what a run, or a live node, says of all that happened, one JSON line an event.
//!
//! ```text
//! {"hbuf-trace":1,"hbuf":"0.1.0","scenario":"primary-dies","seed":7,"bug":null,
//!  "overrides":[],"options":"…"}
//! {"n":17,"t":1203450,"eid":"9f3c…","cause":["71aa…"],"node":"n2","kind":"append.framed",
//!  "buf":"b1","epoch":4,"seq":[4,6],"refs":["req:c1/19"],"d":{"bytes":812}}
//!
//! (each of them on one line)
//! ```
//!
//! | question | file |
//! |---|---|
//! | how events get ids and become lines | `writer.rs` |
//! | what a line says | `line.rs` |
//! | how a file is read, what may be wrong with it | `reader.rs` |
//! | by what events can be followed | `refs.rs` |
//! | the story of a trace, in lanes; the short one | `story.rs`, `brief.rs` |
//! | why an event happened and what came of it | `explain.rs` |
//! | where two traces part | `compare.rs` |

mod brief;
mod compare;
mod explain;
mod line;
mod reader;
mod refs;
mod story;
#[cfg(test)]
mod tests;
mod writer;

pub use brief::brief;
pub use compare::{Difference, compare};
pub use explain::explain;
pub(crate) use line::seconds;
pub use line::{Event, FORMAT, Header};
pub use reader::{FindError, TraceError, TraceFile};
pub use story::{Show, selected, story};
pub use writer::{Detail, EventId, Facts, Ref, TraceWriter};
