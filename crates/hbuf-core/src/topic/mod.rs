//! Topics: where a message goes among a topic's buffers, and how they are read as one.
//!
//! ```text
//! slots.rs    which buffer each of the 4,096 slots belongs to, and how few move in a change
//! routing.rs  a batch split over the buffers: by key, by token, or to one that takes it
//! merge.rs    which buffer's message comes next
//! cursor.rs   how far a reader has come in each buffer
//! run.rs      head lines between the buffers' records in a raw read
//! ```
//! Must never: read a clock or draw a number; turn and time are arguments.

mod cursor;
mod merge;
mod routing;
mod run;
mod slots;

pub use cursor::{BufferPlace, CursorError, TopicCursor};
pub use merge::{Bound, Head, Merge, Order, Step};
pub use routing::{Aim, Part, key_of, split};
pub use run::RunHead;
pub use slots::{Slot, SlotTable};
