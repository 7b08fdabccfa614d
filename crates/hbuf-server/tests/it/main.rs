//! HTTP from the outside: conversations in text files, and what only a raw socket can say.
#![expect(clippy::unwrap_used, reason = "helpers of tests fail as tests do")]

mod consumers_changed;
mod consuming;
mod conversation;
mod damage;
mod damage_for_consumers;
mod damage_in_streams;
mod filters;
mod following;
mod http2;
mod mirroring;
mod server;
mod settling_with_next;
mod sockets;
mod streams_among_buffers;
mod topic_consumers;
mod topic_reading;
