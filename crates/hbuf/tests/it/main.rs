//! Tests of the real binary.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on says where")]

mod cli_client;
mod cli_consumers;
mod cli_help;
mod cli_limits;
mod cli_scenario;
mod cli_server;
mod cli_sim;
mod cloud_events;
mod consumers;
mod damaged_beside;
mod damaged_log;
mod faults;
mod held_journal;
mod kill;
mod needed_syncs;
mod power;
mod power_loss;
mod readme;
mod rot;
mod streams;
mod support;
mod tails;
