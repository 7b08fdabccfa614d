//! A client of hbuf's HTTP API, used by the command line, the load generator and the tests.
//!
//! ```no_run
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! use hbuf_client::{AppendOptions, Client, Collection, Message, ReadOptions};
//!
//! let client = Client::new("http://127.0.0.1:4283")?;
//! let reply = client.append(Collection::Buffers, "demo", &Message::new("hello"), &AppendOptions::default()).await?;
//! println!("message {} is on disk", reply.seq);
//!
//! let mut records = client.read(Collection::Buffers, "demo", &ReadOptions::default()).await?;
//! while let Some(record) = records.next().await? {
//!     println!("{}: {} bytes", record.seq(), record.body().len());
//! }
//! # Ok(())
//! # }
//! ```
//!
//! - `client`: where the server is, and the one door through which every call goes;
//! - `transport`: the only file that knows how bytes reach the server, and so the place for TLS;
//! - `retry`: what may be sent twice, how often and when;
//! - `message`, `append`: what is appended, and how a retry stays safe;
//! - `read`, `records`, `tail`: lines of JSON, raw records, server-sent events;
//! - `consumers`, `handed`: workers that share a log, and the messages that they take;
//! - `catalog`: buffers and topics; `proof`: checkpoints and proofs; `problem`: refusals.
//!
//! Architecture invariant: every call is a call of the public HTTP API; nothing private exists.

mod append;
mod catalog;
mod client;
mod consumers;
mod filters;
mod handed;
mod message;
mod problem;
mod proof;
mod read;
mod records;
mod retry;
mod tail;
mod transport;

pub use append::{Ack, AppendOptions, AppendReply, IfMatch, Placed, Producer};
pub use catalog::{Collection, State, TopicBuffers};
pub use client::{CallError, Client, ClientBuilder, ClientError};
pub use consumers::{Acked, Acks, Leased, Outcome, Start};
pub use handed::{Handed, HandedMessage, NextOptions};
pub use message::{Message, MessageError, encode_batch};
pub use problem::Problem;
pub use proof::{Checkpoint, ConsistencyProof, InclusionProof};
pub use read::{JsonLines, ReadOptions, SingleMessage};
pub use records::{Record, RecordStream};
pub use retry::RetryPolicy;
pub use tail::{Event, Tail};
