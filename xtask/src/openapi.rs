//! Holds the running server against its own description, with a tool that others wrote: on new
//! data, and again after a SIGKILL on what is left of it.
//!
//! `conformance/openapi` has the tool's version, its configuration, and what a schema cannot say.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Instant;

use anyhow::{Context, Result};

use crate::node::{Node, debug_binary, target};
use crate::{packages, shell};

const SOURCE: &str = "conformance/openapi";
/// Operations that are left out, by name: one would put the server out of service, and one is not
/// there yet and says so.
const LEFT_OUT: [&str; 2] = ["drain", "eraseMessage"];

/// What of the tool runs where each run must be the same as the last one: following the links
/// between operations takes what replies say into the next request, and they say times and new ids.
pub(crate) const SAME_EACH_TIME: &str = "examples,coverage,fuzzing";
/// All of it.
pub(crate) const EVERYTHING: &str = "examples,coverage,fuzzing,stateful";

/// One run of the tool.
#[derive(Clone, Copy)]
struct Run {
    phases: &'static str,
    examples: u64,
    seed: u64,
}

/// Runs these phases with so many examples an operation, from this seed on; returns what to print.
pub(crate) fn run(phases: &'static str, examples: u64, seed: u64) -> Result<Vec<String>> {
    let begun = Instant::now();
    let tool = install()?;
    let data = target().join("conformance/openapi-data");
    if data.exists() {
        fs::remove_dir_all(&data)?;
    }
    let binary = debug_binary()?;
    let first = Run {
        phases,
        examples,
        seed,
    };
    check(&tool, &binary, &data, first).context("on new data")?;
    let again = Run {
        examples: examples.div_ceil(4),
        seed: seed + 1,
        ..first
    };
    check(&tool, &binary, &data, again).context("after SIGKILL, on the same data")?;
    fs::remove_dir_all(&data)?;
    let line = format!(
        "OpenAPI: {examples} examples an operation found nothing, nor did a quarter of them after SIGKILL; {:.1} s",
        begun.elapsed().as_secs_f64()
    );
    println!("{line}");
    Ok(vec![line])
}

/// Installs the tool in an environment of its own below the target directory.
fn install() -> Result<PathBuf> {
    let place = target().join("conformance/openapi");
    packages::python(SOURCE, &place, &[])?;
    Ok(place.join("bin/schemathesis"))
}

fn check(tool: &Path, binary: &Path, data: &Path, run: Run) -> Result<()> {
    let server = Node::start(binary, data, &["--stream-wait-seconds=1".to_owned()])?;
    let (examples, seed) = (run.examples.to_string(), run.seed.to_string());
    let document = format!("{}/openapi.json", server.url());
    let mut arguments = vec![
        "--config-file",
        "schemathesis.toml",
        "run",
        &document,
        "--phases",
        run.phases,
        // A path of a stream has hardly a wrong form.
        "--suppress-health-check",
        "filter_too_much",
        "--checks",
        "all",
        "--max-examples",
        &examples,
        "--seed",
        &seed,
        "--generation-database",
        "none",
    ];
    for name in LEFT_OUT {
        arguments.extend(["--exclude-operation-id", name]);
    }
    let mut command = shell::command(&tool.display().to_string(), &arguments);
    // The hooks stand beside the configuration.
    command
        .current_dir(shell::root().join(SOURCE))
        .env("PYTHONPATH", ".")
        .env("PYTHONDONTWRITEBYTECODE", "1");
    shell::run(&mut command)?;
    server.kill()
}
