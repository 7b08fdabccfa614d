//! Runs the commands of a page of the documentation as they stand there, in order, in a directory
//! of their own.
//!
//! Every `$ ` line of a `console` block is a command; the lines below it, up to the next one, are
//! what it prints. `…` in a line stands for anything, a line of `…` alone for any lines. A command
//! that ends with `# exit N` must fail so. `serve` and `tail` go on in the background, as in
//! another terminal, and so does what ends with ` &`. A block whose kind is followed by a name is a
//! file. `cargo run --release --` is the binary under test, and the port is a free one.

use std::fs;
use std::net::TcpListener;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process_group};

/// What README.md calls the binary before it is installed.
const CARGO_RUN: &str = "cargo run --release --";
/// The address that the pages show.
const ADDRESS: &str = "127.0.0.1:4283";
/// How long a background command may take to print what the page shows.
const BACKGROUND_MAX: Duration = Duration::from_secs(15);

#[derive(Clone, Debug, Default, Eq, PartialEq)]
struct Step {
    line: usize,
    command: String,
    /// What a command prints, or what is in a file.
    output: Vec<String>,
    /// It is no command but a file with this name.
    file: Option<String>,
}

/// Runs a page of the repository, with these programs first in the path.
pub(crate) fn run_page(page: &'static str, tools: &Tools) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../..")
        .join(page);
    let steps = steps(&fs::read_to_string(path).unwrap());
    assert!(steps.len() >= 5, "{page} has only {} commands", steps.len());
    let mut terminal = Terminal::new(page, tools);
    for step in &steps {
        match &step.file {
            Some(name) => terminal.write(name, step),
            None => terminal.run(step),
        }
    }
    terminal.check_background();
}

/// What the commands of a page need besides the system's programs.
#[derive(Debug, Default)]
pub(crate) struct Tools {
    /// A directory with programs.
    pub(crate) programs: Option<PathBuf>,
    /// The directory that is to be `node_modules`.
    pub(crate) node_modules: Option<PathBuf>,
}

/// The commands of all `console` blocks, and the files that other blocks name.
fn steps(text: &str) -> Vec<Step> {
    let mut steps: Vec<Step> = Vec::new();
    let (mut open, mut inside, mut in_file) = (false, false, false);
    for (index, line) in text.lines().enumerate() {
        if let Some(kind) = line.strip_prefix("```") {
            open = !open;
            inside = open && kind == "console";
            in_file = false;
            if open && let Some((_, name)) = kind.split_once(' ') {
                (inside, in_file) = (true, true);
                steps.push(Step {
                    line: index + 1,
                    file: Some(name.to_owned()),
                    ..Step::default()
                });
            }
        } else if !inside {
        } else if in_file {
            let file = steps.last_mut().expect("a file was begun");
            file.output.push(line.to_owned());
        } else if let Some(command) = line.strip_prefix("$ ") {
            steps.push(Step {
                line: index + 1,
                command: command.to_owned(),
                ..Step::default()
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
    programs: Option<PathBuf>,
    background: Vec<(Child, PathBuf, Step)>,
}

impl Terminal {
    fn new(page: &'static str, tools: &Tools) -> Self {
        let scratch = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
        let bin = scratch.path().join("bin");
        fs::create_dir(&bin).unwrap();
        std::os::unix::fs::symlink(env!("CARGO_BIN_EXE_hbuf"), bin.join("hbuf")).unwrap();
        if let Some(modules) = &tools.node_modules {
            std::os::unix::fs::symlink(modules, scratch.path().join("node_modules")).unwrap();
        }
        // The port may be taken again until the server binds it; then the test fails and says so.
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        Self {
            page,
            scratch,
            address,
            programs: tools.programs.clone(),
            background: Vec::new(),
        }
    }

    /// Writes a file of the page, with the address of this run.
    fn write(&self, name: &str, step: &Step) {
        let text = step.output.join("\n") + "\n";
        let path = self.scratch.path().join(name);
        fs::write(path, text.replace(ADDRESS, &self.address)).unwrap();
    }

    fn run(&mut self, step: &Step) {
        if let Some(command) = step.command.strip_suffix(" &") {
            let step = Step {
                command: command.to_owned(),
                ..step.clone()
            };
            return self.start(&step);
        }
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
        let own = [Some(self.scratch.path().join("bin")), self.programs.clone()];
        let own = own
            .iter()
            .flatten()
            .map(|bin| format!("{}:", bin.display()));
        let path = own.collect::<String>() + &path;
        let line = step
            .command
            .replace(CARGO_RUN, "hbuf")
            .replace(ADDRESS, &self.address);
        let mut command = Command::new("bash");
        command
            .args(["-c", &line])
            .current_dir(self.scratch.path())
            .env("PATH", path)
            // Whatever it starts ends with it.
            .process_group(0)
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
        self.background.push((child, log.clone(), step.clone()));
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
            let group = i32::try_from(child.id()).ok().and_then(Pid::from_raw);
            if let Some(group) = group {
                kill_process_group(group, Signal::KILL).ok();
            }
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
fn blocks_hold_commands_or_files_and_wildcards_stand_for_anything() {
    let text = "```sh\n$ no\n```\n```python a.py\n$ x\n\ny\n```\n```console\n$ a \\\n    b\none …\n…\nlast\n$ c\n```\n$ no\n";
    let found = steps(text);
    let commands: Vec<&str> = found.iter().map(|step| step.command.as_str()).collect();
    assert_eq!(commands, ["", "a b", "c"]);
    assert_eq!(found[0].file.as_deref(), Some("a.py"));
    assert_eq!(found[0].output, ["$ x", "", "y"]);
    let found = &found[1..];
    assert!(matches(&found[0].output, "one 1\nx\ny\nlast\n"));
    assert!(matches(&found[0].output, "one 2\nlast\n"));
    assert!(!matches(&found[0].output, "one 1\nlast\nmore\n"));
    assert!(matches(&found[1].output, "anything"));
}
