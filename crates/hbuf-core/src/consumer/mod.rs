//! Consumers: named, durable readers of a buffer, and what is handed to whom.

mod candidate;
mod config;
mod item;
mod letter;
mod load;
mod machine;
#[cfg(test)]
mod machine_tests;
mod place;
mod topic_turn;

pub use candidate::Candidate;
pub use config::{AckMode, Config, ConfigError, Filter, Start};
pub use letter::Letter;
pub use load::Load;
pub use machine::{Consumer, Counts, Given, GivenUp, LeaseId, Settled, Settling, Standing, Wish};
pub use place::{Delta, Progress, fold};
pub use topic_turn::{TopicPick, TopicTurn};
