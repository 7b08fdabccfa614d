//! What must exist before measuring: the release binary of hbuf, and the peers.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, bail, ensure};

/// The workspace that this crate stands in.
pub(crate) fn workspace() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// Builds hbuf as its users would, unless a binary is given.
pub(crate) fn hbuf(given: Option<PathBuf>) -> anyhow::Result<PathBuf> {
    if let Some(path) = given {
        let path = path
            .canonicalize()
            .with_context(|| format!("{}", path.display()))?;
        return Ok(path);
    }
    eprintln!("building hbuf (cargo build --release --bin hbuf)");
    build(&["--release"], "release")
}

/// The binary that the workspace's tests use: not fast, but there sooner.
#[cfg(test)]
pub(crate) fn debug_hbuf() -> anyhow::Result<PathBuf> {
    build(&["--quiet"], "debug")
}

fn build(more: &[&str], profile: &str) -> anyhow::Result<PathBuf> {
    let mut cargo = Command::new("cargo");
    cargo
        .args(["build", "--bin", "hbuf"])
        .args(more)
        .current_dir(workspace());
    // This process may run under cargo, which names a target directory to its children.
    cargo.env_remove("CARGO_TARGET_DIR");
    let status = cargo.status().context("cargo could not be started")?;
    ensure!(status.success(), "hbuf does not build");
    let built = workspace().join("target").join(profile).join("hbuf");
    built
        .canonicalize()
        .with_context(|| format!("cargo built no {}", built.display()))
}

/// Installs the peers that are missing.
pub(crate) fn peers() -> anyhow::Result<()> {
    for program in ["redis-server", "nats-server"] {
        if find(program).is_some() {
            continue;
        }
        eprintln!("installing {program} (apt-get install {program})");
        let status = Command::new("apt-get")
            .args(["install", "--yes", "--no-install-recommends", program])
            .env("DEBIAN_FRONTEND", "noninteractive")
            .stdout(std::process::Stdio::null())
            .status();
        let installed = matches!(status, Ok(status) if status.success());
        if !installed || find(program).is_none() {
            bail!(
                "{program} is missing and could not be installed: install it as root with \
                 `apt-get update && apt-get install {program}` and start again"
            );
        }
    }
    Ok(())
}

/// Finds a program where Debian puts servers, or in the path.
pub(crate) fn find(program: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let more = ["/usr/sbin", "/usr/local/sbin", "/sbin"].map(PathBuf::from);
    let found = std::env::split_paths(&path)
        .chain(more)
        .map(|dir| dir.join(program));
    found.into_iter().find(|path| path.is_file())
}

/// First line of what a command prints, or `unknown`.
pub(crate) fn first_line(program: &str, args: &[&str]) -> String {
    let output = Command::new(program)
        .args(args)
        .current_dir(workspace())
        .output();
    let text = output.map(|output| String::from_utf8_lossy(&output.stdout).into_owned());
    let line = text
        .unwrap_or_default()
        .lines()
        .next()
        .unwrap_or("")
        .trim()
        .to_owned();
    if line.is_empty() {
        "unknown".to_owned()
    } else {
        line
    }
}
