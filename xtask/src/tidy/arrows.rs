//! Crates depend on each other only along the arrows of `docs/ARCHITECTURE.md`.

use std::path::Path;

use anyhow::Result;

use crate::shell;

/// Each crate of the workspace and the others that it may use.
const ARROWS: &[(&str, &[&str])] = &[
    (
        "hbuf",
        &["hbuf-client", "hbuf-core", "hbuf-server", "hbuf-sim"],
    ),
    ("hbuf-client", &["hbuf-core"]),
    ("hbuf-core", &[]),
    ("hbuf-manager", &["hbuf-core"]),
    ("hbuf-server", &["hbuf-core", "hbuf-manager"]),
    ("hbuf-sim", &["hbuf-core", "hbuf-manager"]),
    ("xtask", &[]),
];

/// Not looked into: raft draws election timeouts from a generator of its own, and the manager sets
/// them anew after every call. Only the manager may use it.
const NOT_INTO: &str = "raft";
/// Packages that a crate may not use, directly or through others, with the reason.
const BANS: &[(&str, &[&str], &str)] = &[
    (
        "hbuf-core",
        &["tokio", "rustix", "libc", "rand", "getrandom", "raft"],
        "the core does no I/O",
    ),
    (
        "hbuf-manager",
        &["tokio", "rustix", "rand", "getrandom"],
        "the manager does no I/O",
    ),
    (
        "hbuf-sim",
        &["tokio", "rustix", "getrandom"],
        "a world is a function of its seed",
    ),
];

pub(crate) fn check(root: &Path) -> Result<Vec<String>> {
    let mut wrong = Vec::new();
    for (package, allowed) in ARROWS {
        let direct = tree(root, package, &["--depth", "1"])?;
        let ours = direct
            .iter()
            .filter(|name| ARROWS.iter().any(|(known, _)| known == *name));
        wrong.extend(
            ours.filter(|name| name != package && !allowed.contains(&name.as_str()))
                .map(|name| {
                    format!("{package} depends on {name}; docs/ARCHITECTURE.md has no such arrow")
                }),
        );
    }
    for (package, banned, reason) in BANS {
        let pruned = ["--prune", NOT_INTO];
        let uses_raft = !banned.contains(&NOT_INTO);
        let all = tree(root, package, if uses_raft { &pruned } else { &[] })?;
        wrong.extend(
            banned
                .iter()
                .filter(|name| all.iter().any(|found| found == *name))
                .map(|name| format!("{package} reaches {name}: {reason}")),
        );
    }
    wrong.extend(unlisted(root)?);
    Ok(wrong)
}

/// The names of the packages in a dependency tree, without those of tests and builds.
fn tree(root: &Path, package: &str, more: &[&str]) -> Result<Vec<String>> {
    let mut arguments = vec![
        "tree", "--edges", "normal", "--prefix", "none", "--format", "{p}",
    ];
    arguments.extend(["--package", package]);
    arguments.extend(more);
    let text = shell::output(shell::command("cargo", &arguments).current_dir(root))?;
    Ok(names(&text))
}

fn names(text: &str) -> Vec<String> {
    text.lines()
        .filter_map(|line| line.split(' ').next())
        .map(str::to_owned)
        .collect()
}

/// A crate that the table does not know has no permission at all.
fn unlisted(root: &Path) -> Result<Vec<String>> {
    let mut wrong = Vec::new();
    for entry in std::fs::read_dir(root.join("crates"))? {
        let name = entry?.file_name().to_string_lossy().into_owned();
        if !ARROWS.iter().any(|(known, _)| *known == name) {
            wrong.push(format!(
                "crates/{name} is not in the table of xtask/src/tidy/arrows.rs"
            ));
        }
    }
    Ok(wrong)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tree_is_read_name_by_name() {
        let text = "hbuf-core v0.1.0 (/x/crates/hbuf-core)\nsha2 v0.11.1\n\n";
        assert_eq!(names(text)[..2], ["hbuf-core", "sha2"]);
    }

    #[test]
    fn the_core_is_at_the_end_of_every_arrow() {
        let core = ARROWS
            .iter()
            .find(|(name, _)| *name == "hbuf-core")
            .unwrap();
        assert!(core.1.is_empty());
        for (package, allowed) in ARROWS {
            assert!(
                !allowed.contains(&"hbuf") && !allowed.contains(&"xtask"),
                "{package}"
            );
        }
    }
}
