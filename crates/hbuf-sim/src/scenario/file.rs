//! A scenario and its text.

use std::fmt;
use std::str::FromStr;

use super::action::{Action, time};
use super::expectation::{Condition, Expectation, condition, expectation};
use super::read_action::action;
use super::words::{ParseError, Words};
use crate::swarm::{Opt, OptionError, Options, Unit};

/// When a step is taken.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[expect(
    missing_docs,
    reason = "fields are named for what they are; times are microseconds"
)]
pub enum When {
    /// At this time.
    At(u64),
    /// So long after the step of the line before was first taken.
    After(u64),
    /// Again and again: at `from`, and then every so often before `until`, or until the end of the
    /// first phase.
    Every {
        every: u64,
        from: u64,
        until: Option<u64>,
    },
    /// Once, as soon as this is so.
    If(Condition),
}

/// A line that makes something happen.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Step {
    /// When.
    pub when: When,
    /// What.
    pub action: Action,
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let action = &self.action;
        match &self.when {
            When::At(at) => write!(f, "at {} {action}", time(*at)),
            When::After(after) => write!(f, "after {} {action}", time(*after)),
            When::If(condition) => write!(f, "when {condition} then {action}"),
            When::Every { every, from, until } => {
                write!(f, "every {} {action}", time(*every))?;
                if *from > 0 {
                    write!(f, " from {}", time(*from))?;
                }
                until.map_or(Ok(()), |until| write!(f, " until {}", time(until)))
            }
        }
    }
}

/// A story of a cluster: what it is made of, what happens, and what must come out.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Scenario {
    /// Its name: letters, digits and `-`.
    pub name: String,
    /// What happens, in a sentence.
    pub about: String,
    /// What one learns from it, in a sentence.
    pub teaches: String,
    /// What is done wrong on purpose: the name of a bug switch.
    pub bug: Option<String>,
    /// Nodes, copies, clients, durations, the network.
    pub options: Options,
    /// What happens, in the order of the file.
    pub steps: Vec<Step>,
    /// What must come out.
    pub expects: Vec<Expectation>,
}

/// The text of the scenario, without the comments that it may have had.
impl fmt::Display for Scenario {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "name {}", self.name)?;
        for (key, text) in [("about", &self.about), ("teaches", &self.teaches)] {
            if !text.is_empty() {
                writeln!(f, "{key} {text}")?;
            }
        }
        if let Some(bug) = &self.bug {
            writeln!(f, "bug {bug}")?;
        }
        let calm = Options::default();
        for opt in Opt::all().filter(|opt| self.options.get(*opt) != calm.get(*opt)) {
            let value = opt.unit().show(self.options.get(opt));
            writeln!(f, "{} {value}", opt.name())?;
        }
        for step in &self.steps {
            writeln!(f, "{step}")?;
        }
        for expect in &self.expects {
            writeln!(f, "expect {expect}")?;
        }
        Ok(())
    }
}

/// Words that begin a line; the names of options do, too.
const LINES: [&str; 9] = [
    "name", "about", "teaches", "bug", "at", "after", "every", "when", "expect",
];

/// Where what a scenario says stands in its file, counting lines from 1.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Lines {
    /// Of each step.
    pub(super) steps: Vec<usize>,
    /// Of each expectation.
    pub(super) expects: Vec<usize>,
    /// Of what is done wrong on purpose.
    pub(super) bug: Option<usize>,
}

impl FromStr for Scenario {
    type Err = ParseError;

    fn from_str(text: &str) -> Result<Self, ParseError> {
        Self::with_lines(text).map(|(scenario, _)| scenario)
    }
}

impl Scenario {
    /// Reads a text, and says where what it says stands.
    pub(super) fn with_lines(text: &str) -> Result<(Self, Lines), ParseError> {
        let (mut scenario, mut lines) = (Self::default(), Lines::default());
        let mut last = 1;
        for (at, line) in text.lines().enumerate() {
            let mut words = Words::new(at + 1, line)?;
            if !words.is_empty() {
                last = at + 1;
                scenario.read_line(&mut words, line)?;
                lines.steps.resize(scenario.steps.len(), last);
                lines.expects.resize(scenario.expects.len(), last);
                if scenario.bug.is_some() {
                    lines.bug.get_or_insert(last);
                }
            }
        }
        let missing = |word: &str, allowed: String| ParseError {
            line: last,
            word: word.to_owned(),
            allowed,
        };
        if scenario.name.is_empty() {
            let allowed = "a line with the name of the scenario before".to_owned();
            return Err(missing("the end of the file", allowed));
        }
        scenario.options.check().map_err(|error| {
            let limit = match &error {
                OptionError::TooMany { limit, most, .. } => format!("at most {limit} {most}"),
                other => other.to_string(),
            };
            missing(&error.to_string(), limit)
        })?;
        Ok((scenario, lines))
    }

    fn read_line(&mut self, words: &mut Words, line: &str) -> Result<(), ParseError> {
        let first = words.peek().unwrap_or_default().to_owned();
        match first.as_str() {
            "about" => self.about = sentence(line, "about"),
            "teaches" => self.teaches = sentence(line, "teaches"),
            "name" => {
                words.expect("name")?;
                self.name = words.name("a name like primary-dies")?;
                words.end()?;
            }
            "bug" => {
                words.expect("bug")?;
                self.bug = Some(words.name("the name of a bug switch")?);
                words.end()?;
            }
            "at" | "after" | "every" | "when" => {
                let step = self.step(words)?;
                words.end()?;
                self.steps.push(step);
            }
            "expect" => {
                words.expect("expect")?;
                let expect = expectation(words)?;
                words.end()?;
                self.expects.push(expect);
            }
            name => {
                let names = Opt::all().map(Opt::name);
                let all: Vec<&str> = LINES.into_iter().chain(names).collect();
                let opt = Opt::named(name).ok_or_else(|| words.wrong(&all.join(", ")))?;
                words.expect(name)?;
                let allowed = opt.allowed();
                let value = words.take(&allowed)?;
                let value = opt.parse(&value).map_err(|_| words.last_wrong(&allowed))?;
                let option = format!("{name}={}", opt.unit().show(value));
                self.options.change(&option).expect("it was read just now");
                words.end()?;
            }
        }
        Ok(())
    }

    fn step(&self, words: &mut Words) -> Result<Step, ParseError> {
        let time = |words: &mut Words| words.quantity(Unit::Micros);
        match words.take("at")?.as_str() {
            "at" => {
                let when = When::At(time(words)?);
                let action = action(words)?;
                Ok(Step { when, action })
            }
            "after" => {
                if self.steps.is_empty() {
                    return Err(words.last_wrong("after, behind another step"));
                }
                let when = When::After(time(words)?);
                let action = action(words)?;
                Ok(Step { when, action })
            }
            "when" => {
                let when = When::If(condition(words)?);
                words.expect("then")?;
                let action = action(words)?;
                Ok(Step { when, action })
            }
            _ => {
                let every = time(words)?;
                if every == 0 {
                    return Err(words.last_wrong("a time above 0"));
                }
                let action = action(words)?;
                let from = match words.takes("from") {
                    true => time(words)?,
                    false => 0,
                };
                let until = match words.takes("until") {
                    true => Some(time(words)?),
                    false => None,
                };
                let when = When::Every { every, from, until };
                Ok(Step { when, action })
            }
        }
    }
}

/// What follows the first word, as it stands there.
fn sentence(line: &str, first: &str) -> String {
    let rest = line.trim().strip_prefix(first).unwrap_or_default();
    rest.trim().to_owned()
}
