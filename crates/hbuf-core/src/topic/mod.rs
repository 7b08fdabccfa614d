//! Topics: where a message goes among a topic's buffers.
//!
//! ```text
//! slots.rs    which buffer each of the 4,096 slots belongs to, and how few move in a change
//! routing.rs  a batch split over the buffers: by key, by token, or to one that takes it
//! ```
//! Must never: read a clock or draw a number; turn and time are arguments.

mod routing;
mod slots;

pub use routing::{Aim, Part, key_of, split};
pub use slots::{Slot, SlotTable};
