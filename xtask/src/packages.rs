//! Packages of npm and PyPI, in the versions that `conformance` has, installed below the target
//! directory once and again when those versions change.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::Result;

use crate::node::target;
use crate::{shell, tools};

/// Where the packages stand that `docs/RECIPES.md` and the round trips of CloudEvents use.
const EVENTS: &str = "conformance/cloudevents";

/// The packages for CloudEvents and for recipes.
pub(crate) struct EventPackages {
    /// Holds `node_modules`.
    pub(crate) node: PathBuf,
    /// An environment of Python.
    pub(crate) python: PathBuf,
}

/// Installs what the recipes and the round trips of CloudEvents use.
pub(crate) fn for_events() -> Result<EventPackages> {
    let packages = EventPackages {
        node: target().join("conformance/cloudevents-node"),
        python: target().join("conformance/cloudevents-python"),
    };
    npm(EVENTS, &packages.node)?;
    let flags = ["--require-hashes", "--only-binary", ":all:"];
    python(EVENTS, &packages.python, &flags)?;
    Ok(packages)
}

/// Installs the packages of `package-lock.json` in `source` into `place`.
pub(crate) fn npm(source: &str, place: &Path) -> Result<()> {
    tools::debian_program("npm", "npm")?;
    fs::create_dir_all(place)?;
    let source = shell::root().join(source);
    for name in ["package.json", "package-lock.json"] {
        fs::copy(source.join(name), place.join(name))?;
    }
    let lock = fs::read(source.join("package-lock.json"))?;
    let stamp = place.join("installed-lock.json");
    if fs::read(&stamp).is_ok_and(|installed| installed == lock) {
        return Ok(());
    }
    let ci = ["ci", "--no-audit", "--no-fund", "--loglevel=error"];
    shell::run(shell::command("npm", &ci).current_dir(place))?;
    fs::write(stamp, lock)?;
    Ok(())
}

/// Installs the packages of `requirements.txt` in `source` into an environment of their own.
pub(crate) fn python(source: &str, place: &Path, flags: &[&str]) -> Result<()> {
    let list = format!("{source}/requirements.txt");
    let wanted = fs::read(shell::root().join(&list))?;
    let stamp = place.join("installed.txt");
    if fs::read(&stamp).is_ok_and(|installed| installed == wanted) {
        return Ok(());
    }
    tools::python_environments()?;
    let at = place.display().to_string();
    shell::run(&mut shell::command(
        "python3",
        &["-m", "venv", "--clear", &at],
    ))?;
    let pip = place.join("bin/pip").display().to_string();
    let install = ["install", "--quiet", "--disable-pip-version-check"];
    let arguments = [&install[..], flags, &["-r", &list]].concat();
    shell::run(&mut shell::command(&pip, &arguments))?;
    fs::write(stamp, wanted)?;
    Ok(())
}
