//! What the pure crates must not be able to name, and what no shipped crate may know.

use super::{Text, source};

/// Paths of the standard library that reach outside.
const REACHES_OUT: &[&str] = &[
    "std::env",
    "std::fs",
    "std::io::stderr",
    "std::io::stdin",
    "std::io::stdout",
    "std::net",
    "std::process",
    "std::thread",
    "std::time::Instant",
    "std::time::SystemTime",
];
/// Crates that are free of I/O though they may use the standard library.
const PURE: &[&str] = &["crates/hbuf-manager/src", "crates/hbuf-sim/src"];
/// Crates that run in production: they must not know that a simulator exists.
const SHIPPED: &[&str] = &[
    "crates/hbuf-core/src",
    "crates/hbuf-manager/src",
    "crates/hbuf-server/src",
];
const CORE: &str = "crates/hbuf-core/src";

pub(crate) fn check(files: &[Text]) -> Vec<String> {
    let mut wrong = Vec::new();
    for file in files
        .iter()
        .filter(|file| file.is_rust() && !file.is_test())
    {
        let path = file.shown();
        let code = source::without_tests(&source::blank(&file.text));
        if path.starts_with(CORE) {
            wrong.extend(find(&path, &code, &["std::"], "the core is no_std"));
            let is_root = path == format!("{CORE}/lib.rs");
            if is_root && !file.text.contains("#![no_std]") {
                wrong.push(format!("{path}: `#![no_std]` is gone"));
            }
        }
        if PURE.iter().any(|root| path.starts_with(root)) {
            wrong.extend(find(&path, &code, REACHES_OUT, "this crate does no I/O"));
        }
        if SHIPPED.iter().any(|root| path.starts_with(root)) {
            // Feature names are string literals, so this reads the text as it is.
            let cfgs = file.text.lines().enumerate().filter(|(_, line)| {
                line.contains("cfg") && (line.contains("feature =") || line.contains("sim"))
            });
            wrong.extend(cfgs.map(|(at, _)| {
                format!("{path}:{}: no cfg for a feature or the simulator", at + 1)
            }));
        }
    }
    wrong
}

fn find(path: &str, code: &str, words: &[&str], reason: &str) -> Vec<String> {
    let mut wrong = Vec::new();
    for (at, line) in code.lines().enumerate() {
        for word in words.iter().filter(|word| line.contains(**word)) {
            wrong.push(format!("{path}:{}: `{word}`: {reason}", at + 1));
        }
    }
    wrong
}

#[cfg(test)]
mod tests {
    use super::*;

    fn findings(path: &str, text: &str) -> Vec<String> {
        check(&[Text {
            path: path.into(),
            text: text.to_owned(),
        }])
    }

    #[test]
    fn the_core_cannot_name_std_outside_its_tests() {
        let core = "crates/hbuf-core/src/a.rs";
        assert_eq!(findings(core, "use std::fs;\n").len(), 1);
        assert_eq!(
            findings(
                core,
                "// std::fs\n#[cfg(test)]\nmod tests { use std::fs; }\n"
            )
            .len(),
            0
        );
        assert_eq!(findings("crates/hbuf-core/src/lib.rs", "//! x\n").len(), 1);
        assert_eq!(
            findings("crates/hbuf-sim/src/a.rs", "use std::time::Instant;\n").len(),
            1
        );
    }

    #[test]
    fn no_shipped_crate_has_a_cfg_for_the_simulator() {
        let server = "crates/hbuf-server/src/a.rs";
        assert_eq!(
            findings(server, "#[cfg(feature = \"simulator\")]\n").len(),
            1
        );
        assert_eq!(findings(server, "#[cfg(sim)]\n").len(), 1);
        assert_eq!(findings(server, "#[cfg(target_os = \"linux\")]\n").len(), 0);
    }
}
