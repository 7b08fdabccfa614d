//! A scenario with the lines of its file, held against what there is: every name in it is one of
//! the registries, or of something that the scenario has.

use std::collections::BTreeSet;

use super::action::{Action, NodeRef, Verb};
use super::expectation::{Condition, Expectation};
use super::file::{Scenario, When};
use super::words::ParseError;
use crate::bugs::Bug;
use crate::history::Check;
use crate::kinds::Kind;
use crate::nodes::CLUSTER_INVARIANTS;
use crate::swarm::Opt;

/// A scenario as it stands in a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Source {
    /// What it says.
    pub scenario: Scenario,
    /// The number of the line of each step, counting from 1.
    pub step_lines: Vec<usize>,
    /// The number of the line of each expectation.
    pub expect_lines: Vec<usize>,
}

impl Source {
    /// Reads the text of a file, and holds every name against what there is.
    pub fn read(text: &str) -> Result<Self, ParseError> {
        let (scenario, lines) = Scenario::with_lines(text)?;
        let source = Self {
            scenario,
            step_lines: lines.steps,
            expect_lines: lines.expects,
        };
        source.check(lines.bug)?;
        Ok(source)
    }

    /// The kinds of invariants that a scenario may expect to be broken: those of running worlds,
    /// and those by which histories are judged.
    pub fn invariants() -> impl Iterator<Item = &'static str> + Clone {
        let running = CLUSTER_INVARIANTS.iter().map(|(name, _)| *name);
        running.chain(Check::ALL.iter().map(|check| check.name()))
    }

    fn check(&self, bug: Option<usize>) -> Result<(), ParseError> {
        let things = Things::of(&self.scenario);
        if let (Some(line), Some(bug)) = (bug, &self.scenario.bug) {
            one_of(line, bug, Bug::ALL.iter().map(|bug| bug.name()))?;
        }
        let safety = self.scenario.options.get(Opt::Safety);
        for (step, line) in self.scenario.steps.iter().zip(&self.step_lines) {
            let line = *line;
            let last = match &step.when {
                When::At(at) => *at,
                When::Every { from, until, .. } => until.unwrap_or(0).max(*from),
                When::After(_) => 0,
                When::If(condition) => {
                    things.condition(line, condition)?;
                    0
                }
            };
            if last > safety {
                return Err(ParseError {
                    line,
                    word: super::action::time(last),
                    allowed: format!(
                        "a time within the first phase, up to safety={}",
                        super::action::time(safety)
                    ),
                });
            }
            things.action(line, &step.action)?;
        }
        for (expect, line) in self.scenario.expects.iter().zip(&self.expect_lines) {
            things.expectation(*line, expect)?;
        }
        Ok(())
    }
}

/// One that has no file: its lines are those of its text.
impl From<Scenario> for Source {
    fn from(scenario: Scenario) -> Self {
        let text = scenario.to_string();
        let (_, lines) = Scenario::with_lines(&text).expect("what is shown can be read");
        Self {
            scenario,
            step_lines: lines.steps,
            expect_lines: lines.expects,
        }
    }
}

/// The names of all that a scenario has, or makes.
struct Things {
    nodes: BTreeSet<String>,
    clients: BTreeSet<String>,
    buffers: BTreeSet<String>,
    topics: BTreeSet<String>,
    snapshots: BTreeSet<String>,
}

impl Things {
    fn of(scenario: &Scenario) -> Self {
        let numbered = |letter: char, opt| {
            let numbers = 1..=scenario.options.get(opt);
            numbers.map(|number| format!("{letter}{number}")).collect()
        };
        let mut things = Self {
            nodes: numbered('n', Opt::Nodes),
            clients: numbered('c', Opt::Clients),
            buffers: numbered('b', Opt::Buffers),
            topics: BTreeSet::new(),
            snapshots: BTreeSet::new(),
        };
        for step in &scenario.steps {
            match &step.action {
                Action::Clone { name, .. } => things.nodes.insert(name.clone()),
                Action::Create { buffer, .. } => things.buffers.insert(buffer.clone()),
                Action::Topic { topic, .. } => things.topics.insert(topic.clone()),
                Action::Snapshot { name, .. } => things.snapshots.insert(name.clone()),
                _ => false,
            };
        }
        things
    }

    fn buffer(&self, line: usize, name: &str) -> Result<(), ParseError> {
        one_of(line, name, self.buffers.iter().map(String::as_str))
    }

    fn node(&self, line: usize, node: &NodeRef) -> Result<(), ParseError> {
        match node {
            NodeRef::Named(name) => one_of(line, name, self.nodes.iter().map(String::as_str)),
            NodeRef::PrimaryOf(buffer) | NodeRef::ReplicaOf(buffer) => self.buffer(line, buffer),
        }
    }

    /// A node or a client.
    fn end(&self, line: usize, end: &NodeRef) -> Result<(), ParseError> {
        match end {
            NodeRef::Named(name) => self.named_end(line, name),
            other => self.node(line, other),
        }
    }

    fn named_end(&self, line: usize, name: &str) -> Result<(), ParseError> {
        let all = self.nodes.iter().chain(&self.clients);
        one_of(line, name, all.map(String::as_str))
    }

    fn action(&self, line: usize, action: &Action) -> Result<(), ParseError> {
        let nodes = |all: &[NodeRef]| all.iter().try_for_each(|node| self.node(line, node));
        match action {
            Action::Crash(node)
            | Action::Kill(node)
            | Action::Stop(node)
            | Action::Start(node)
            | Action::Reformat(node)
            | Action::Clone { node, .. }
            | Action::Snapshot { node, .. }
            | Action::Version { node, .. }
            | Action::Disk { node, .. }
            | Action::SlowDisk { node, .. }
            | Action::Jump { node, .. }
            | Action::Drift { node, .. }
            | Action::Drain(node)
            | Action::Undrain(node) => self.node(line, node),
            Action::Restore { node, name } => {
                self.node(line, node)?;
                one_of(line, name, self.snapshots.iter().map(String::as_str))
            }
            Action::Pause { node: end, .. } | Action::Resume(end) | Action::Isolate(end) => {
                self.end(line, end)
            }
            Action::Partition(groups) => {
                let mut ends = groups.iter().flatten();
                ends.try_for_each(|end| self.end(line, end))
            }
            Action::Cut { from, to }
            | Action::Clog { from, to, .. }
            | Action::Slow { from, to, .. } => {
                self.end(line, from)?;
                self.end(line, to)
            }
            Action::Reset { one, other } => {
                self.end(line, one)?;
                self.end(line, other)
            }
            Action::Move { buffer, to } => {
                self.buffer(line, buffer)?;
                nodes(to)
            }
            Action::HandOver { buffer, to: node } | Action::Force { buffer, node } => {
                self.buffer(line, buffer)?;
                self.node(line, node)
            }
            Action::Topic { buffers, .. } => {
                let mut buffers = buffers.iter();
                buffers.try_for_each(|buffer| self.buffer(line, buffer))
            }
            Action::State { buffer, .. } | Action::Elect(buffer) => self.buffer(line, buffer),
            Action::Client(ask) => {
                one_of(line, &ask.client, self.clients.iter().map(String::as_str))?;
                match ask.verb {
                    Verb::ReadTopic => {
                        one_of(line, &ask.target, self.topics.iter().map(String::as_str))
                    }
                    _ => self.buffer(line, &ask.target),
                }
            }
            Action::StartAll
            | Action::Heal
            | Action::Raise
            | Action::Net(_)
            | Action::Rebalance(_)
            | Action::Create { .. } => Ok(()),
        }
    }

    fn condition(&self, line: usize, condition: &Condition) -> Result<(), ParseError> {
        match condition {
            Condition::PrimaryChanges(buffer)
            | Condition::Acked { buffer, .. }
            | Condition::Stored { buffer, .. } => self.buffer(line, buffer),
            Condition::Primary { buffer, node, .. } => {
                self.buffer(line, buffer)?;
                self.node(line, &NodeRef::named(node))
            }
            Condition::Event { kind, .. } => {
                one_of(line, kind, Kind::ALL.iter().map(|kind| kind.name()))
            }
            Condition::Node { node, .. } => self.node(line, node),
        }
    }

    fn expectation(&self, line: usize, expect: &Expectation) -> Result<(), ParseError> {
        match expect {
            Expectation::Broken(name) => one_of(line, name, Source::invariants()),
            Expectation::Answered {
                client: Some(client),
                ..
            }
            | Expectation::Unanswered {
                client: Some(client),
                ..
            } => one_of(line, client, self.clients.iter().map(String::as_str)),
            Expectation::Refused { who, .. } => self.named_end(line, who),
            Expectation::Agree { buffer } => self.buffer(line, buffer),
            Expectation::Holds { condition, .. } => self.condition(line, condition),
            Expectation::InvariantsHold
            | Expectation::Answered { client: None, .. }
            | Expectation::Unanswered { client: None, .. }
            | Expectation::Converged { .. }
            | Expectation::Slowest { .. } => Ok(()),
        }
    }
}

fn one_of<'a>(
    line: usize,
    word: &str,
    mut all: impl Iterator<Item = &'a str> + Clone,
) -> Result<(), ParseError> {
    if all.clone().any(|it| it == word) {
        return Ok(());
    }
    let names: Vec<&str> = all.by_ref().collect();
    let allowed = match names.is_empty() {
        true => "nothing: the scenario makes none".to_owned(),
        false => names.join(", "),
    };
    Err(ParseError {
        line,
        word: word.to_owned(),
        allowed,
    })
}
