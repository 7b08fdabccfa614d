//! The pages of the documentation that show what to type: README.md, docs/REDIS_STREAMS.md and
//! docs/RECIPES.md, each run as it stands.

use std::path::PathBuf;
use std::process::Command;

use crate::support::page::{Tools, run_page};

#[test]
fn the_commands_of_the_readme_do_what_it_shows() {
    run_page("README.md", &Tools::default());
}

#[test]
fn the_commands_for_users_of_redis_streams_do_what_the_page_shows() {
    run_page("docs/REDIS_STREAMS.md", &Tools::default());
}

#[test]
fn the_recipes_do_what_they_show() {
    run_page("docs/RECIPES.md", &packages());
}

/// The packages that the recipes use, in the versions of `conformance/cloudevents`; installed when
/// they are not there yet.
fn packages() -> Tools {
    let output = Command::new(env!("CARGO"))
        .args([
            "run",
            "--quiet",
            "--locked",
            "--package",
            "xtask",
            "--",
            "packages",
        ])
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    let complained = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}{complained}");
    let place = |name: &str| {
        let line = said.lines().find_map(|line| line.strip_prefix(name));
        PathBuf::from(line.unwrap_or_else(|| panic!("no {name}in {said}")))
    };
    Tools {
        programs: Some(place("python: ").join("bin")),
        node_modules: Some(place("node: ").join("node_modules")),
    }
}
