//! Consumers: named, durable readers of a buffer, and what is handed to whom.

mod config;

pub use config::{AckMode, Config, ConfigError, Filter, Start};
