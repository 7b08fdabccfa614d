//! `/v1/stream/{path}`: the Durable Streams protocol, over buffers.
//!
//! ```text
//! stream_call.rs    headers of requests         create.rs        PUT, DELETE
//! stream_append.rs  POST                        stream_read.rs   GET, HEAD; long polls
//! elements.rs       arrays of JSON taken apart  bodies.rs        messages without their heads
//! follow.rs         server-sent events          cursor.rs        what tells polls apart in caches
//! ```
//! These read and write what the protocol's headers say. Which append is new, repeated or refused,
//! what is closed and when a stream ends, is decided in `hbuf_core::stream`.

mod bodies;
mod create;
mod cursor;
mod elements;
mod follow;
mod stream_append;
mod stream_call;
mod stream_read;

pub(super) use create::{delete, put};
pub(super) use stream_append::post;
pub(super) use stream_read::get;
