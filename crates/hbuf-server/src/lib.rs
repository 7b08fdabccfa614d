//! The tokio shell: HTTP, files and clocks around hbuf-core.

mod disk;
pub mod manager;
pub mod read;
