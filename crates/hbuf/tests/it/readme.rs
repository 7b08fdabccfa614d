//! Runs the commands of README.md and docs/REDIS_STREAMS.md as they stand there, in order, in a
//! directory of their own for each page.
//!
//! Every `$ ` line of a `console` block is a command; the lines below it, up to the next one, are
//! what it prints. `…` in a line stands for anything, a line of `…` alone for any lines. A command
//! that ends with `# exit N` must fail so. `serve` and `tail` go on in the background, as in
//! another terminal. `cargo run --release --` is the binary under test, and the port is a free one.

use std::fs;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// What README.md calls the binary before it is installed.
const CARGO_RUN: &str = "cargo run --release --";
/// The address that the pages show.
const ADDRESS: &str = "127.0.0.1:4283";
/// How long a background command may take to print what the page shows.
const BACKGROUND_MAX: Duration = Duration::from_secs(15);

#[derive(Debug, Default, Eq, PartialEq)]
struct Step {
    line: usize,
    command: String,
    output: Vec<String>,
}

#[test]
fn the_commands_of_the_readme_do_what_it_shows() {
    run_page("README.md");
}

#[test]
fn the_commands_for_users_of_redis_streams_do_what_the_page_shows() {
    run_page("docs/REDIS_STREAMS.md");
}

fn run_page(page: &'static str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../..")
        .join(page);
    let steps = steps(&fs::read_to_string(path).unwrap());
    assert!(steps.len() >= 5, "{page} has only {} commands", steps.len());
    let mut terminal = Terminal::new(page);
    for step in &steps {
        terminal.run(step);
    }
    terminal.check_background();
}

/// The commands of all `console` blocks.
fn steps(text: &str) -> Vec<Step> {
    let mut steps: Vec<Step> = Vec::new();
    let mut inside = false;
    for (index, line) in text.lines().enumerate() {
        if let Some(kind) = line.strip_prefix("```") {
            inside = !inside && kind == "console";
        } else if !inside {
        } else if let Some(command) = line.strip_prefix("$ ") {
            steps.push(Step {
                line: index + 1,
                command: command.to_owned(),
                output: Vec::new(),
            });
        } else if let Some(step) = steps.last_mut() {
            match step.command.strip_suffix('\\') {
                // A command that goes on in the next line.
                Some(first) if step.output.is_empty() => {
                    step.command = format!("{first}{}", line.trim_start());
                }
                _ => step.output.push(line.to_owned()),
            }
        }
    }
    steps
}

struct Terminal {
    page: &'static str,
    scratch: tempfile::TempDir,
    address: String,
    background: Vec<(Child, PathBuf, Step)>,
}

impl Terminal {
    fn new(page: &'static str) -> Self {
        let scratch = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
        let bin = scratch.path().join("bin");
        fs::create_dir(&bin).unwrap();
        std::os::unix::fs::symlink(env!("CARGO_BIN_EXE_hbuf"), bin.join("hbuf")).unwrap();
        // The port may be taken again until the server binds it; then the test fails and says so.
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        Self {
            page,
            scratch,
            address,
            background: Vec::new(),
        }
    }

    fn run(&mut self, step: &Step) {
        let goes_on = ["serve", "tail"].iter().any(|name| {
            let words: Vec<&str> = step.command.split_whitespace().collect();
            words
                .windows(2)
                .any(|pair| matches!(pair[0], "hbuf" | "--") && pair[1] == *name)
        });
        if goes_on {
            self.start(step)
        } else {
            self.run_to_end(step)
        }
    }

    fn command(&self, step: &Step) -> Command {
        let path = std::env::var("PATH").unwrap_or_default();
        let bin = self.scratch.path().join("bin");
        let line = step
            .command
            .replace(CARGO_RUN, "hbuf")
            .replace(ADDRESS, &self.address);
        let mut command = Command::new("bash");
        command
            .args(["-c", &line])
            .current_dir(self.scratch.path())
            .env("PATH", format!("{}:{path}", bin.display()))
            .env("HBUF_LISTEN", &self.address)
            .env("HBUF_URL", format!("http://{}", self.address))
            .stdin(Stdio::null());
        command
    }

    fn run_to_end(&mut self, step: &Step) {
        let output = self.command(step).output().unwrap();
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        let complained = String::from_utf8_lossy(&output.stderr);
        let expected = step
            .command
            .rsplit_once("# exit ")
            .map_or(0, |(_, code)| code.trim().parse().unwrap());
        let shown = format!(
            "{}:{}: $ {}\n{said}{complained}\nbackground:\n{}",
            self.page,
            step.line,
            step.command,
            self.background_output()
        );
        assert_eq!(output.status.code(), Some(expected), "{shown}");
        let said = said.replace(&self.address, ADDRESS);
        assert!(
            matches(&step.output, &said),
            "{shown}\nexpected:\n{}",
            step.output.join("\n")
        );
    }

    /// Starts a command that goes on; a server must listen before the next command comes.
    fn start(&mut self, step: &Step) {
        let log = self
            .scratch
            .path()
            .join(format!("background-{}", self.background.len()));
        let file = fs::File::create(&log).unwrap();
        let child = self
            .command(step)
            .stdout(file.try_clone().unwrap())
            .stderr(file)
            .spawn()
            .unwrap();
        let copy = Step {
            line: step.line,
            command: step.command.clone(),
            output: step.output.clone(),
        };
        self.background.push((child, log.clone(), copy));
        if step.command.contains("serve") {
            let begun = Instant::now();
            while !fs::read_to_string(&log).unwrap().contains("listening on") {
                assert!(
                    begun.elapsed() < BACKGROUND_MAX,
                    "{}",
                    self.background_output()
                );
                std::thread::sleep(Duration::from_millis(20));
            }
        }
    }

    fn background_output(&self) -> String {
        let logs = self
            .background
            .iter()
            .map(|(_, log, _)| fs::read_to_string(log));
        logs.map(Result::unwrap_or_default)
            .collect::<Vec<_>>()
            .join("\n--\n")
    }

    /// What went on in the background has printed by now what the page shows of it.
    fn check_background(&self) {
        for (_, log, step) in &self.background {
            let begun = Instant::now();
            loop {
                let said = fs::read_to_string(log)
                    .unwrap()
                    .replace(&self.address, ADDRESS);
                if matches(&step.output, &said) {
                    break;
                }
                let shown = format!("{}:{}: $ {}\n{said}", self.page, step.line, step.command);
                assert!(begun.elapsed() < BACKGROUND_MAX, "{shown}");
                std::thread::sleep(Duration::from_millis(50));
            }
        }
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        for (child, ..) in &mut self.background {
            child.kill().ok();
            child.wait().ok();
        }
    }
}

/// Whether the output is what the page shows. An empty expectation accepts everything.
fn matches(expected: &[String], said: &str) -> bool {
    let lines: Vec<&str> = said.lines().collect();
    expected.is_empty() || lines_match(expected, &lines)
}

fn lines_match(expected: &[String], lines: &[&str]) -> bool {
    match expected.split_first() {
        None => lines.is_empty(),
        Some((first, rest)) if first.trim() == "…" => {
            (0..=lines.len()).any(|skip| lines_match(rest, &lines[skip..]))
        }
        Some((first, rest)) => lines.split_first().is_some_and(|(line, others)| {
            line_matches(first.trim_end(), line.trim_end()) && lines_match(rest, others)
        }),
    }
}

fn line_matches(expected: &str, line: &str) -> bool {
    let Some((head, tail)) = expected.split_once('…') else {
        return expected == line;
    };
    let Some(rest) = line.strip_prefix(head) else {
        return false;
    };
    (0..=rest.len())
        .filter(|at| rest.is_char_boundary(*at))
        .any(|at| line_matches(tail, &rest[at..]))
}

#[test]
fn only_console_blocks_hold_commands_and_wildcards_stand_for_anything() {
    let text = "```sh\n$ no\n```\n```console\n$ a \\\n    b\none …\n…\nlast\n$ c\n```\n$ no\n";
    let found = steps(text);
    let commands: Vec<&str> = found.iter().map(|step| step.command.as_str()).collect();
    assert_eq!(commands, ["a b", "c"]);
    assert!(matches(&found[0].output, "one 1\nx\ny\nlast\n"));
    assert!(matches(&found[0].output, "one 2\nlast\n"));
    assert!(!matches(&found[0].output, "one 1\nlast\nmore\n"));
    assert!(matches(&found[1].output, "anything"));
}
