//! Scenarios: stories of a cluster as readable text, and what must come out of them.
//!
//! ```text
//! name primary-dies
//! about The primary loses power under load; a replica takes over.
//! nodes 3
//! every 5ms client c1 append b1 until 3s
//! at 1s crash primary of b1
//! at 3s start n1
//! expect invariants hold
//! expect primary of b1 != n1 at 2800ms
//! ```
//!
//! A line is one of these; a `#` begins a comment, but not in the sentences of `about` and
//! `teaches`.
//!
//! | line | what it is |
//! |---|---|
//! | `name`, `about`, `teaches`, `bug` | what the scenario is, and what is done wrong on purpose |
//! | an option and its value: `nodes 3` | see [`crate::swarm::Opt`] |
//! | `at 2s ACTION` | once, at a time |
//! | `after 500ms ACTION` | so long after the line before took place |
//! | `every 10ms ACTION from 1s until 5s` | again and again |
//! | `when CONDITION then ACTION` | once, as soon as that is so; looked at behind every step |
//! | `expect …` | what must come out, when the run is over or `at` a time |
//!
//! The same actions are what a seed plans (`swarm/`) and what a hand changes (`overrides.rs`), so a
//! world performs one kind of thing.
//!
//! | question | file |
//! |---|---|
//! | what can happen | `action.rs`, read by `read_action.rs` |
//! | what can be waited for and expected | `expectation.rs` |
//! | lines and whole files | `file.rs` |
//! | whether every name is that of something | `source.rs` |
//! | words, and what is wrong with one | `words.rs` |

mod action;
mod expectation;
mod file;
mod read_action;
mod source;
#[cfg(test)]
mod tests;
mod words;

pub(crate) use action::time;
pub use action::{
    Action, Ask, DiskFault, EndRef, Field, NodeRef, Placement, StateWord, Verb, Version,
};
pub use expectation::{Compare, Condition, Expectation};
pub use file::{Scenario, Step, When};
pub(crate) use read_action::action as read_action;
pub use source::Source;
pub use words::ParseError;
pub(crate) use words::Words;

/// The scenarios that are built in: name and text, in the order in which to look at them.
pub const BUILT_IN: [(&str, &str); 10] = [
    (
        "hello-replica",
        include_str!("../../scenarios/hello-replica.scenario"),
    ),
    (
        "primary-dies",
        include_str!("../../scenarios/primary-dies.scenario"),
    ),
    (
        "race-two-writers",
        include_str!("../../scenarios/race-two-writers.scenario"),
    ),
    (
        "split-brain-one-way",
        include_str!("../../scenarios/split-brain-one-way.scenario"),
    ),
    (
        "dedupe-and-convoy",
        include_str!("../../scenarios/dedupe-and-convoy.scenario"),
    ),
    (
        "disk-lies",
        include_str!("../../scenarios/disk-lies.scenario"),
    ),
    (
        "cloned-vm",
        include_str!("../../scenarios/cloned-vm.scenario"),
    ),
    (
        "rebalance-under-fire",
        include_str!("../../scenarios/rebalance-under-fire.scenario"),
    ),
    (
        "topic-monotonic",
        include_str!("../../scenarios/topic-monotonic.scenario"),
    ),
    (
        "locks-pause-upgrade",
        include_str!("../../scenarios/locks-pause-upgrade.scenario"),
    ),
];

/// The built-in scenario of this name.
#[must_use]
pub fn built_in(name: &str) -> Option<Source> {
    let (_, text) = BUILT_IN.into_iter().find(|(it, _)| *it == name)?;
    Some(Source::read(text).expect("a test reads all of them"))
}
