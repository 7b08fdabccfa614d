//! CloudEvents through the binary by the packages of npm and PyPI: what either writes in any mode,
//! both read in every mode, and again after a SIGKILL.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

use anyhow::{Result, ensure};

use crate::node::{Node, debug_binary, target};
use crate::packages::{self, EventPackages};
use crate::shell;

const SOURCE: &str = "conformance/cloudevents";
/// Who writes and reads.
const LANGUAGES: [&str; 2] = ["python", "javascript"];
/// Modes in which events are written, and in which they are read.
const MODES: usize = 3;

/// Runs all round trips; returns a line that says how many there were.
pub(crate) fn run() -> Result<Vec<String>> {
    let begun = Instant::now();
    let packages = packages::for_events()?;
    let scripts = copy_scripts(&packages)?;
    let cases = cases(&scripts)?;
    let binary = debug_binary()?;
    let data = target().join("conformance/cloudevents-data");
    if data.exists() {
        fs::remove_dir_all(&data)?;
    }
    let server = Node::start(&binary, &data, &[])?;
    for language in LANGUAGES {
        shell::run(&mut script(
            &packages,
            &scripts,
            language,
            &server,
            &["write"],
        ))?;
    }
    let first = check(&packages, &scripts, &server)?;
    server.kill()?;
    let server = Node::start(&binary, &data, &[])?;
    let again = check(&packages, &scripts, &server)?;
    server.kill()?;
    fs::remove_dir_all(&data)?;
    let expected = cases * MODES * MODES * LANGUAGES.len() * LANGUAGES.len();
    ensure!(
        first == expected && again == expected,
        "{first} and {again} events were read, {expected} are expected"
    );
    let line = format!(
        "CloudEvents: {first} events read by the packages of npm and PyPI as they were written, \
         {again} again after SIGKILL; {:.1} s",
        begun.elapsed().as_secs_f64()
    );
    println!("{line}");
    Ok(vec![line])
}

/// The packages of npm are found from where a script stands.
fn copy_scripts(packages: &EventPackages) -> Result<PathBuf> {
    for name in ["cases.json", "round_trip.mjs", "round_trip.py"] {
        let from = shell::root().join(SOURCE).join(name);
        fs::copy(from, packages.node.join(name))?;
    }
    Ok(packages.node.clone())
}

fn cases(scripts: &Path) -> Result<usize> {
    let cases: Vec<serde_json::Value> =
        serde_json::from_slice(&fs::read(scripts.join("cases.json"))?)?;
    ensure!(cases.len() >= 8, "only {} cases", cases.len());
    Ok(cases.len())
}

/// Each language reads what each wrote; returns how many events that were.
fn check(packages: &EventPackages, scripts: &Path, server: &Node) -> Result<usize> {
    let mut count = 0;
    for reader in LANGUAGES {
        for writer in LANGUAGES {
            let task = ["check", writer];
            let said = shell::output(&mut script(packages, scripts, reader, server, &task))?;
            print!("{said}");
            let mut words = said.split_whitespace();
            count += words.find_map(|word| word.parse().ok()).unwrap_or(0);
        }
    }
    Ok(count)
}

fn script(
    packages: &EventPackages,
    scripts: &Path,
    language: &str,
    server: &Node,
    task: &[&str],
) -> Command {
    let (program, name) = if language == "python" {
        let python = packages.python.join("bin/python");
        (python.display().to_string(), "round_trip.py")
    } else {
        ("node".to_owned(), "round_trip.mjs")
    };
    let mut command = shell::command(&program, &[name]);
    command
        .args(task)
        .current_dir(scripts)
        .env("HBUF_URL", server.url());
    command
}
