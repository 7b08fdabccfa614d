//! The help of every command, compared with `docs/CLI.md`, which is made of it.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use crate::support::server::hbuf;

const INTRODUCTION: &str = "# The command line

The help of every command, as `hbuf COMMAND --help` prints it.
`UPDATE_EXPECT=1 cargo nextest run -p hbuf help` writes this page anew.
";

#[test]
fn the_help_of_every_command_is_in_the_reference() {
    let mut page = String::from(INTRODUCTION);
    let mut examples = 0;
    add(&mut page, &mut examples, &[]);
    assert!(examples >= 10, "only {examples} commands show examples");
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/CLI.md");
    if std::env::var_os("UPDATE_EXPECT").is_some() {
        fs::write(&path, &page).unwrap();
    }
    let found = fs::read_to_string(&path).unwrap_or_default();
    let differs = page
        .lines()
        .zip(found.lines())
        .position(|(new, old)| new != old);
    let shorter = found.lines().count().min(page.lines().count());
    let line = differs.unwrap_or(shorter) + 1;
    assert!(
        found == page,
        "docs/CLI.md differs from the help in line {line}; UPDATE_EXPECT=1 writes it anew"
    );
}

#[test]
fn completions_of_every_shell_know_every_command() {
    for shell in ["bash", "elvish", "fish", "powershell", "zsh"] {
        let output = hbuf(&["completions", shell]);
        let text = String::from_utf8(output.stdout).unwrap();
        for command in commands(&help(&[])) {
            assert!(
                text.contains(&command),
                "{shell} does not complete `{command}`"
            );
        }
    }
}

#[test]
fn a_wrong_command_line_is_refused_with_code_2_and_a_hint() {
    for (words, hint) in [
        (&["sevre"][..], "serve"),
        (&["append"], "<NAME>"),
        (&["append", "x", "--bach", "3"], "--batch"),
        (&["read", "x", "--format", "xml"], "ndjson"),
        (&["verify"], "PATH|BUFFER"),
        (&["tail", "x", "--from", "end"], "seq"),
    ] {
        let output = hbuf(words);
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(2), "{words:?}: {said}");
        assert!(
            said.contains(hint),
            "{words:?} does not mention {hint}: {said}"
        );
    }
}

/// Adds a command's help, then that of the commands under it.
fn add(page: &mut String, examples: &mut usize, path: &[&str]) {
    let text = help(path);
    *examples += usize::from(text.contains("Examples:"));
    let title = ["hbuf"]
        .iter()
        .chain(path)
        .copied()
        .collect::<Vec<_>>()
        .join(" ");
    write!(page, "\n## {title}\n\n```text\n{}\n```\n", text.trim_end()).unwrap();
    for command in commands(&text) {
        let mut deeper = path.to_vec();
        deeper.push(&command);
        add(page, examples, &deeper);
    }
}

fn help(path: &[&str]) -> String {
    let words: Vec<&str> = path.iter().copied().chain(["--help"]).collect();
    let output = hbuf(&words);
    assert!(output.status.success(), "{words:?}");
    let text = String::from_utf8(output.stdout).unwrap();
    // The blank lines between a flag's help and its values come with spaces.
    text.lines()
        .map(|line| format!("{}\n", line.trim_end()))
        .collect()
}

/// The commands that a help lists, but for `help` itself.
fn commands(help: &str) -> Vec<String> {
    let listed = help.lines().skip_while(|line| *line != "Commands:").skip(1);
    listed
        .take_while(|line| !line.is_empty())
        .filter(|line| line.starts_with("  ") && !line.starts_with("   "))
        .filter_map(|line| line.split_whitespace().next())
        .filter(|command| *command != "help")
        .map(str::to_owned)
        .collect()
}
