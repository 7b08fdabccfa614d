//! Holds what a scenario expects against what happened.

use super::asks::Came;
use super::{About, World};
use crate::kinds::Kind;
use crate::scenario::{Condition, Expectation, Scenario, Verb};
use crate::swarm::Unit;
use crate::tracefile::EventId;

/// Different refusals that are told when the one that was expected is not among them.
const REFUSALS_SHOWN_MAX: usize = 4;

/// What became of an expectation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verdict {
    /// The line of the file, counting from 1.
    pub line: usize,
    /// The expectation, as the file has it, without the word `expect`.
    pub expected: String,
    /// Whether it held.
    pub held: bool,
    /// What was found.
    pub found: String,
}

/// The expectations that have a time: their places, and when.
pub(super) fn timed(scenario: &Scenario) -> Vec<(usize, u64)> {
    let all = scenario.expects.iter().enumerate();
    let timed = all.filter_map(|(at, expect)| match expect {
        Expectation::Holds { at: Some(time), .. } => Some((at, *time)),
        _ => None,
    });
    timed.collect()
}

impl World {
    /// An expectation's time has come.
    pub(super) fn judge_timed(&mut self, cause: EventId, at: usize) {
        let Some(play) = &self.play else {
            return;
        };
        let source = std::sync::Arc::clone(&play.source);
        let (held, found) = self.found(&source.scenario.expects[at]);
        let verdict = Verdict {
            line: source.expect_lines[at],
            expected: source.scenario.expects[at].to_string(),
            held,
            found,
        };
        self.tell_verdict(cause, verdict);
    }

    /// The run is over: all that have no time.
    pub(super) fn judge_expectations(&mut self, cause: EventId) {
        let Some(play) = &self.play else {
            return;
        };
        let source = std::sync::Arc::clone(&play.source);
        for (at, expect) in source.scenario.expects.iter().enumerate() {
            let (line, expected) = (source.expect_lines[at], expect.to_string());
            let known = self.play.as_ref().is_some_and(|play| {
                let mut verdicts = play.verdicts.iter();
                verdicts.any(|it| it.line == line && it.expected == expected)
            });
            if known {
                continue;
            }
            let (held, found) = match expect {
                // The run ended before.
                Expectation::Holds { at: Some(_), .. } => {
                    (false, "the run ended before".to_owned())
                }
                expect => self.found(expect),
            };
            let verdict = Verdict {
                line,
                expected,
                held,
                found,
            };
            self.tell_verdict(cause, verdict);
        }
        if let Some(play) = &mut self.play {
            play.verdicts.sort_by_key(|verdict| verdict.line);
        }
    }

    fn tell_verdict(&mut self, cause: EventId, verdict: Verdict) {
        let kind = match verdict.held {
            true => Kind::ExpectationHeld,
            false => Kind::ExpectationFailed,
        };
        let note = format!("{}: {}", verdict.expected, verdict.found);
        let about = About {
            note: &note,
            ..About::default()
        };
        self.event(&[cause], kind, &about);
        if let Some(play) = &mut self.play {
            play.verdicts.push(verdict);
        }
    }

    /// Whether it holds now, and what is found.
    fn found(&mut self, expect: &Expectation) -> (bool, String) {
        match expect {
            Expectation::InvariantsHold => match &self.watch.broken {
                None => (true, "all hold".to_owned()),
                Some(broken) => (false, format!("{}: {}", broken.invariant, broken.what)),
            },
            Expectation::Broken(name) => match &self.watch.broken {
                None => (false, "no invariant is broken".to_owned()),
                Some(broken) => (
                    broken.invariant == name,
                    format!("{}: {}", broken.invariant, broken.what),
                ),
            },
            Expectation::Answered { verb, client } => {
                let (all, without) = self.asks_of(*verb, client.as_deref());
                let found = format!("{} of {all} answered", all - without);
                (without == 0 && all > 0, found)
            }
            Expectation::Unanswered {
                verb,
                client,
                compare,
                count,
            } => {
                let (all, without) = self.asks_of(*verb, client.as_deref());
                (
                    compare.holds(without, *count),
                    format!("{without} of {all}"),
                )
            }
            Expectation::Refused { who, text } => self.refused_with(who, text),
            Expectation::Converged { within } => self.converged(*within),
            Expectation::Agree { buffer } => self.copies_agree(buffer),
            Expectation::Slowest {
                verb,
                compare,
                time,
            } => {
                let slowest = self.slowest(*verb);
                let found = Unit::Micros.show(slowest).to_string();
                (compare.holds(slowest, *time), found)
            }
            Expectation::Holds { condition, .. } => {
                let found = self.condition_found(condition);
                (self.is_so(condition), found)
            }
        }
    }

    fn condition_found(&mut self, condition: &Condition) -> String {
        match condition {
            Condition::PrimaryChanges(buffer) | Condition::Primary { buffer, .. } => self
                .primary_of(buffer)
                .unwrap_or_else(|| "nobody".to_owned()),
            Condition::Acked { .. } | Condition::Stored { .. } | Condition::Event { .. } => {
                self.number_of(condition).to_string()
            }
            Condition::Node { node, .. } => match self.is_up(node) {
                true => "it is up".to_owned(),
                false => "it is down".to_owned(),
            },
        }
    }

    /// Requests of a kind, of one client or all; and how many of them have no answer.
    fn asks_of(&self, verb: Verb, client: Option<&str>) -> (u64, u64) {
        let (mut all, mut without) = (0, 0);
        for asked in self.asks.iter().filter(|asked| asked.verb == verb) {
            if client.is_some_and(|client| self.names.clients[asked.client] != client) {
                continue;
            }
            all += 1;
            let answered = matches!(asked.end, Some((_, Came::Done | Came::Refused(_))));
            without += u64::from(!answered);
        }
        (all, without)
    }

    fn slowest(&self, verb: Verb) -> u64 {
        let asks = self.asks.iter();
        let answered = asks.filter_map(|asked| match &asked.end {
            Some((end, Came::Done | Came::Refused(_))) if asked.verb == verb => {
                Some(end - asked.begun)
            }
            _ => None,
        });
        answered.max().unwrap_or(0)
    }

    fn refused_with(&self, who: &str, text: &str) -> (bool, String) {
        let client = self.names.clients.iter().position(|it| it == who);
        let refusals: Vec<&str> = match client {
            Some(client) => {
                let asks = self.asks.iter();
                let of = asks.filter(|asked| asked.client == client);
                let refused = of.filter_map(|asked| match &asked.end {
                    Some((_, Came::Refused(why))) => Some(why.as_str()),
                    _ => None,
                });
                refused.collect()
            }
            None => {
                let host = self.names.nodes.iter().position(|it| it == who);
                let all = host.and_then(|host| self.refusals.get(&host));
                all.into_iter().flatten().map(String::as_str).collect()
            }
        };
        if let Some(found) = refusals.iter().find(|why| why.contains(text)) {
            return (true, (*found).to_owned());
        }
        let mut different = refusals;
        different.sort_unstable();
        different.dedup();
        if different.is_empty() {
            return (false, "it was never refused".to_owned());
        }
        let shown: Vec<&str> = different.iter().take(REFUSALS_SHOWN_MAX).copied().collect();
        (false, shown.join("; "))
    }

    fn converged(&self, within: u64) -> (bool, String) {
        let rested = self.play.as_ref().and_then(|play| play.rested_at);
        match rested {
            Some(took) => {
                let found = format!("after {}", crate::scenario::time(took));
                (took <= within, found)
            }
            None => {
                let why = self.at_rest().err();
                let open = || "a request is under way".to_owned();
                (false, why.unwrap_or_else(open))
            }
        }
    }

    /// Whether all copies hold the same records.
    fn copies_agree(&mut self, buffer: &str) -> (bool, String) {
        let Some(at) = self.names.buffers.iter().position(|it| it == buffer) else {
            return (false, "there is no such buffer".to_owned());
        };
        let copies = self.newest(at).map(|it| it.copies.clone());
        let hosts = copies
            .into_iter()
            .flatten()
            .filter_map(|copy| self.hosts.iter().position(|host| host.id == copy));
        let hosts: Vec<usize> = hosts.collect();
        let mut logs = Vec::new();
        for host in hosts {
            let Some(log) = self.final_log(host, at) else {
                let node = &self.names.nodes[host];
                return (false, format!("{node} has no copy that runs"));
            };
            logs.push(log);
        }
        let ends: Vec<String> = logs
            .iter()
            .map(|log| {
                let last = log.records.last().map_or(0, |record| record.seq.0);
                format!("{} has {} to {last}", log.copy, log.first)
            })
            .collect();
        let same = logs.windows(2).all(|pair| {
            // What retention dropped at one of them is compared with nothing.
            let from = pair[0].first.max(pair[1].first);
            let one = pair[0].records.iter().filter(|it| it.seq >= from);
            one.eq(pair[1].records.iter().filter(|it| it.seq >= from))
        });
        (same && !logs.is_empty(), ends.join(", "))
    }
}
