//! Tests of the real binary.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on says where")]

mod cli_help;
mod cli_limits;
mod cli_server;
mod power;
mod support;
