//! Gets what is missing, through the ordinary package managers.

use std::path::Path;

use anyhow::{Result, bail};

use crate::shell;

/// A cargo subcommand, installed when it is missing.
pub(crate) fn cargo_tool(subcommand: &str, package: &str) -> Result<()> {
    if shell::succeeds(&mut shell::command("cargo", &[subcommand, "--version"])) {
        return Ok(());
    }
    eprintln!("{package} is missing; it is built once (about a minute and a half on two cores)");
    // An unoptimised build takes half as long and is fast enough for what it does here.
    let install = ["install", "--locked", "--debug", package];
    shell::run(&mut shell::command("cargo", &install))
}

/// A program of the system, installed from Debian when it is missing.
pub(crate) fn debian_program(program: &str, package: &str) -> Result<()> {
    if shell::succeeds(&mut shell::command(
        "sh",
        &["-c", &format!("command -v {program}")],
    )) {
        return Ok(());
    }
    eprintln!("{program} is missing; installing {package}");
    shell::run(&mut shell::command("apt-get", &["update", "-qq"]))?;
    shell::run(&mut shell::command(
        "apt-get",
        &["install", "-y", "-qq", package],
    ))
}

/// Python's environments, which Debian packs apart.
pub(crate) fn python_environments() -> Result<()> {
    debian_program("python3", "python3")?;
    if shell::succeeds(&mut shell::command("python3", &["-c", "import ensurepip"])) {
        return Ok(());
    }
    shell::run(&mut shell::command("apt-get", &["update", "-qq"]))?;
    let install = ["install", "-y", "-qq", "python3-venv"];
    shell::run(&mut shell::command("apt-get", &install))
}

/// The device behind which the tests put a file system that loses power.
pub(crate) fn fuse_device() -> Result<()> {
    let device = Path::new("/dev/fuse");
    if device.exists() {
        return Ok(());
    }
    // The mount itself is a plain mount(2) of root: no fusermount is needed.
    shell::succeeds(&mut shell::command("modprobe", &["fuse"]));
    if !device.exists() {
        shell::succeeds(&mut shell::command(
            "mknod",
            &["/dev/fuse", "c", "10", "229"],
        ));
    }
    if !device.exists() {
        bail!("no /dev/fuse: the power-loss tests need the kernel's fuse module and root");
    }
    Ok(())
}
