//! What a scenario waits for, and what it says must come out.

use std::fmt;

use super::action::{NodeRef, Verb, quoted, time, words};
use super::read_action::node;
use super::words::{ParseError, Words};
use crate::swarm::Unit;

words! {
    /// How two numbers compare.
    Compare {
        /// At least.
        AtLeast = ">=",
        /// At most.
        AtMost = "<=",
        /// The same.
        Same = "=",
        /// Not the same.
        Other = "!=",
    }
}

impl Compare {
    /// Whether `one` stands in this relation to `two`.
    #[must_use]
    pub const fn holds(self, one: u64, two: u64) -> bool {
        match self {
            Self::AtLeast => one >= two,
            Self::AtMost => one <= two,
            Self::Same => one == two,
            Self::Other => one != two,
        }
    }
}

/// Something that is so or not, at a time.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[expect(missing_docs, reason = "fields are named for what they are")]
pub enum Condition {
    /// A buffer has got another primary than it had when this was first looked at.
    PrimaryChanges(String),
    /// Who is primary; without one, nobody is.
    Primary {
        buffer: String,
        is: bool,
        node: String,
    },
    /// Messages of a buffer that were acknowledged.
    Acked {
        buffer: String,
        compare: Compare,
        count: u64,
    },
    /// Messages with this body in the committed log of a buffer.
    Stored {
        buffer: String,
        text: String,
        compare: Compare,
        count: u64,
    },
    /// Events of a kind so far, by its name in the registry.
    Event {
        kind: String,
        compare: Compare,
        count: u64,
    },
    /// Whether a node runs.
    Node { node: NodeRef, up: bool },
}

impl fmt::Display for Condition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::PrimaryChanges(buffer) => write!(f, "primary of {buffer} changes"),
            Self::Primary { buffer, is, node } => {
                let sign = if *is { "=" } else { "!=" };
                write!(f, "primary of {buffer} {sign} {node}")
            }
            Self::Acked {
                buffer,
                compare,
                count,
            } => {
                write!(f, "acked {buffer} {compare} {count}")
            }
            Self::Stored {
                buffer,
                text,
                compare,
                count,
            } => {
                write!(
                    f,
                    "stored {buffer} {} count {compare} {count}",
                    quoted(text)
                )
            }
            Self::Event {
                kind,
                compare,
                count,
            } => {
                write!(f, "event {kind} count {compare} {count}")
            }
            Self::Node { node, up } => {
                write!(f, "node {node} is {}", if *up { "up" } else { "down" })
            }
        }
    }
}

const CONDITIONS: [&str; 5] = ["primary", "acked", "stored", "event", "node"];

/// Reads a condition; what follows it is left.
pub(crate) fn condition(words: &mut Words) -> Result<Condition, ParseError> {
    const BUFFER: &str = "a buffer like b1";
    match *words.one_of(&CONDITIONS, |it| it)? {
        "primary" => {
            words.expect("of")?;
            let buffer = words.name(BUFFER)?;
            match *words.one_of(&["changes", "=", "!="], |it| it)? {
                "changes" => Ok(Condition::PrimaryChanges(buffer)),
                sign => Ok(Condition::Primary {
                    buffer,
                    is: sign == "=",
                    node: words.name("a node like n1")?,
                }),
            }
        }
        "acked" => {
            let buffer = words.name(BUFFER)?;
            let compare = *words.one_of(Compare::ALL, |it| it.name())?;
            let count = words.quantity(Unit::Count)?;
            Ok(Condition::Acked {
                buffer,
                compare,
                count,
            })
        }
        "stored" => {
            let buffer = words.name(BUFFER)?;
            if !words.next_is_quoted() {
                return Err(words.wrong("a text in quotes"));
            }
            let text = words.take("a text in quotes")?;
            let (compare, count) = counted(words)?;
            Ok(Condition::Stored {
                buffer,
                text,
                compare,
                count,
            })
        }
        "event" => {
            let kind = words.name("the name of an event")?;
            let (compare, count) = counted(words)?;
            Ok(Condition::Event {
                kind,
                compare,
                count,
            })
        }
        _ => {
            let node = node(words)?;
            words.expect("is")?;
            let up = *words.one_of(&["up", "down"], |it| it)? == "up";
            Ok(Condition::Node { node, up })
        }
    }
}

/// `count >= 3`; `count 3` is `count = 3`; nothing is `count >= 1`.
fn counted(words: &mut Words) -> Result<(Compare, u64), ParseError> {
    if !words.takes("count") {
        return Ok((Compare::AtLeast, 1));
    }
    let compare = Compare::ALL.iter().find(|it| words.takes(it.name()));
    let count = words.quantity(Unit::Count)?;
    Ok((compare.copied().unwrap_or(Compare::Same), count))
}

/// What must come out.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[expect(
    missing_docs,
    reason = "fields are named for what they are; times are microseconds"
)]
pub enum Expectation {
    /// No invariant is broken.
    InvariantsHold,
    /// This invariant is broken: the scenario does something wrong on purpose.
    Broken(String),
    /// Every request of this kind, of one client or of all, has an answer, good or bad, when the
    /// run is over.
    Answered { verb: Verb, client: Option<String> },
    /// Requests of this kind without an answer: nobody told the client what came of them.
    Unanswered {
        verb: Verb,
        client: Option<String>,
        compare: Compare,
        count: u64,
    },
    /// Somebody was refused, with these words in what it was told.
    Refused { who: String, text: String },
    /// So long after the last step all copies are in sync and equal, and nothing is under way.
    Converged { within: u64 },
    /// All copies of a buffer hold the same when the run is over.
    Agree { buffer: String },
    /// The slowest answer of this kind; without one it took no time.
    Slowest {
        verb: Verb,
        compare: Compare,
        time: u64,
    },
    /// A condition, at a time or when the run is over.
    Holds {
        condition: Condition,
        at: Option<u64>,
    },
}

impl fmt::Display for Expectation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::InvariantsHold => f.write_str("invariants hold"),
            Self::Broken(invariant) => write!(f, "broken {invariant}"),
            Self::Answered { verb, client } => write!(f, "every {verb}{} answered", of(client)),
            Self::Unanswered {
                verb,
                client,
                compare,
                count,
            } => write!(f, "unanswered {verb}{} {compare} {count}", of(client)),
            Self::Refused { who, text } => write!(f, "refused {who} {}", quoted(text)),
            Self::Converged { within } => write!(f, "converged within {}", time(*within)),
            Self::Agree { buffer } => write!(f, "copies of {buffer} agree"),
            Self::Slowest {
                verb,
                compare,
                time: micros,
            } => {
                write!(f, "slowest {verb} {compare} {}", time(*micros))
            }
            Self::Holds {
                condition,
                at: None,
            } => write!(f, "{condition}"),
            Self::Holds {
                condition,
                at: Some(at),
            } => write!(f, "{condition} at {}", time(*at)),
        }
    }
}

fn of(client: &Option<String>) -> String {
    client
        .as_ref()
        .map_or_else(String::new, |client| format!(" of {client}"))
}

/// `of c1`, or nothing.
fn of_client(words: &mut Words) -> Result<Option<String>, ParseError> {
    match words.takes("of") {
        true => Ok(Some(words.name("a client like c1")?)),
        false => Ok(None),
    }
}

const EXPECTATIONS: [&str; 8] = [
    "invariants",
    "broken",
    "every",
    "unanswered",
    "refused",
    "converged",
    "copies",
    "slowest",
];

/// Reads an expectation, without the word `expect`.
pub(crate) fn expectation(words: &mut Words) -> Result<Expectation, ParseError> {
    let Some(first) = EXPECTATIONS.iter().find(|it| words.takes(it)) else {
        let condition = condition(words).map_err(with_expectations)?;
        let at = match words.takes("at") {
            true => Some(words.quantity(Unit::Micros)?),
            false => None,
        };
        return Ok(Expectation::Holds { condition, at });
    };
    match *first {
        "invariants" => words.expect("hold").map(|()| Expectation::InvariantsHold),
        "broken" => Ok(Expectation::Broken(words.name("the name of an invariant")?)),
        "every" => {
            let verb = *words.one_of(Verb::ALL, |it| it.name())?;
            let client = of_client(words)?;
            words.expect("answered")?;
            Ok(Expectation::Answered { verb, client })
        }
        "unanswered" => {
            let verb = *words.one_of(Verb::ALL, |it| it.name())?;
            let client = of_client(words)?;
            let compare = *words.one_of(Compare::ALL, |it| it.name())?;
            let count = words.quantity(Unit::Count)?;
            Ok(Expectation::Unanswered {
                verb,
                client,
                compare,
                count,
            })
        }
        "refused" => {
            let who = words.name("a node or a client")?;
            if !words.next_is_quoted() {
                return Err(words.wrong("a text in quotes"));
            }
            let text = words.take("a text in quotes")?;
            Ok(Expectation::Refused { who, text })
        }
        "converged" => {
            words.expect("within")?;
            let within = words.quantity(Unit::Micros)?;
            Ok(Expectation::Converged { within })
        }
        "copies" => {
            words.expect("of")?;
            let buffer = words.name("a buffer like b1")?;
            words
                .expect("agree")
                .map(|()| Expectation::Agree { buffer })
        }
        _ => {
            let verb = *words.one_of(Verb::ALL, |it| it.name())?;
            let compare = *words.one_of(Compare::ALL, |it| it.name())?;
            let time = words.quantity(Unit::Micros)?;
            Ok(Expectation::Slowest {
                verb,
                compare,
                time,
            })
        }
    }
}

/// Where a condition can stand, so can the other expectations.
fn with_expectations(error: ParseError) -> ParseError {
    if !error.allowed.starts_with(&CONDITIONS.join(", ")) {
        return error;
    }
    ParseError {
        allowed: format!("{}, {}", EXPECTATIONS.join(", "), error.allowed),
        ..error
    }
}
