//! The client against a server that says what each test wants.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod calls;
mod records;
mod stub;
mod tail;
