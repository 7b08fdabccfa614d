//! Runs the fuzz targets of `fuzz/`, which is a workspace of its own.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

use crate::shell;

/// Builds every target and runs each for `seconds`. A crash leaves its input in `fuzz/artifacts`.
pub(crate) fn run(seconds: u64) -> Result<()> {
    let fuzz = shell::root().join("fuzz");
    shell::run(shell::command("cargo", &["build", "--release", "--bins"]).current_dir(&fuzz))?;
    let targets = targets(&fuzz)?;
    if targets.is_empty() {
        bail!("no targets in fuzz/Cargo.toml");
    }
    for target in &targets {
        run_target(&fuzz, target, seconds)?;
    }
    println!(
        "fuzz: {} targets, {seconds} s each, no crash",
        targets.len()
    );
    Ok(())
}

/// The names of the `[[bin]]` tables.
fn targets(fuzz: &Path) -> Result<Vec<String>> {
    let manifest = fuzz.join("Cargo.toml");
    let text = fs::read_to_string(&manifest).with_context(|| manifest.display().to_string())?;
    Ok(bin_names(&text))
}

fn bin_names(manifest: &str) -> Vec<String> {
    let mut names = Vec::new();
    let mut in_bin = false;
    for line in manifest.lines() {
        if line.starts_with('[') {
            in_bin = line.trim() == "[[bin]]";
        }
        if let Some(value) = line.strip_prefix("name = ")
            && in_bin
        {
            names.push(value.trim().trim_matches('"').to_owned());
        }
    }
    names
}

fn run_target(fuzz: &Path, target: &str, seconds: u64) -> Result<()> {
    let corpus = fuzz.join("corpus").join(target);
    let artifacts = fuzz.join("artifacts").join(target);
    for directory in [&corpus, &artifacts] {
        fs::create_dir_all(directory).with_context(|| directory.display().to_string())?;
    }
    let binary: PathBuf = fuzz.join("target/release").join(target);
    let mut command = shell::command(&binary.to_string_lossy(), &[]);
    command
        .arg(&corpus)
        .args(["-verbosity=0", "-print_final_stats=1", "-timeout=10"])
        .arg(format!("-max_total_time={seconds}"))
        .arg(format!("-artifact_prefix={}/", artifacts.display()));
    let seeds = fuzz.join("seeds").join(target);
    if seeds.is_dir() {
        command.arg(seeds);
    }
    let output = command
        .output()
        .with_context(|| format!("cannot run {}", binary.display()))?;
    let said = String::from_utf8_lossy(&output.stderr);
    if !output.status.success() {
        bail!(
            "{said}\n{target}: {}; its input is in {}",
            output.status,
            artifacts.display()
        );
    }
    let stat = |name: &str| {
        said.lines()
            .find_map(|line| line.strip_prefix(name)?.split(' ').next_back())
    };
    let runs = stat("stat::number_of_executed_units:").unwrap_or("?");
    let new = stat("stat::new_units_added:").unwrap_or("?");
    println!("fuzz: {target}: {runs} runs in {seconds} s, {new} new inputs kept");
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_names_of_bin_tables_are_targets() {
        let manifest = "[package]\nname = \"fuzz\"\n[[bin]]\nname = \"record\"\npath = \"r.rs\"\n";
        assert_eq!(bin_names(manifest), ["record"]);
    }
}
