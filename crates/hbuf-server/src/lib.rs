//! The tokio shell: HTTP, files and clocks around hbuf-core.

mod clock;
mod disk;
pub mod engine;
pub mod http;
pub mod manager;
pub mod metrics;
pub mod read;
