//! The long forms of the tests that break things.

use anyhow::Result;

use crate::shell;

/// The power-loss tests with many seeds.
pub(crate) fn power_loss(seeds: u64, first: u64) -> Result<()> {
    let arguments = [
        "test",
        "--package",
        "hbuf",
        "--test",
        "it",
        "power_loss",
        "--",
        "--nocapture",
    ];
    let mut command = shell::command("cargo", &arguments);
    command
        .env("TEST_SEEDS", seeds.to_string())
        .env("TEST_SEED", first.to_string());
    shell::run(&mut command)
}

/// The SIGKILL test with many rounds.
pub(crate) fn kill(rounds: u64) -> Result<()> {
    let arguments = [
        "test",
        "--package",
        "hbuf",
        "--test",
        "it",
        "kill::",
        "--",
        "--nocapture",
    ];
    let mut command = shell::command("cargo", &arguments);
    shell::run(command.env("TEST_ROUNDS", rounds.to_string()))
}
