//! What the lines of a trace say: the header, and an event.

use std::fmt;

use serde_json::{Map, Value, json};

use super::EventId;

/// The version of the format, in the header's first field.
pub const FORMAT: u64 = 1;

/// The first line: all that a run is a function of.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Header {
    /// Version of the program that made the trace.
    pub hbuf: String,
    /// The scenario's name, or what else made the run.
    pub scenario: String,
    /// The seed.
    pub seed: u64,
    /// What was done wrong on purpose.
    pub bug: Option<String>,
    /// What was changed by hand, in the form of the command line.
    pub overrides: Vec<String>,
    /// The options of the run, in one line.
    pub options: String,
}

impl Header {
    /// A header of this version of the program, without overrides.
    #[must_use]
    pub fn new(scenario: &str, seed: u64, bug: Option<&str>, options: String) -> Self {
        Self {
            hbuf: env!("CARGO_PKG_VERSION").to_owned(),
            scenario: scenario.to_owned(),
            seed,
            bug: bug.map(str::to_owned),
            overrides: Vec::new(),
            options,
        }
    }
}

/// The line, without its end.
impl fmt::Display for Header {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Field by field, so that the version of the format comes first.
        write!(f, r#"{{"hbuf-trace":{FORMAT}"#)?;
        let fields = [
            ("hbuf", json!(self.hbuf)),
            ("scenario", json!(self.scenario)),
            ("seed", json!(self.seed)),
            ("bug", json!(self.bug)),
            ("overrides", json!(self.overrides)),
            ("options", json!(self.options)),
        ];
        for (name, value) in fields {
            write!(f, r#","{name}":{value}"#)?;
        }
        f.write_str("}")
    }
}

/// An event as a trace has it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Event {
    /// Its number, counting from 1 and rising; gaps where a live node took samples.
    pub n: u64,
    /// When, in microseconds since the run began, or since 1970 on a live node.
    pub t: u64,
    /// Its id.
    pub eid: EventId,
    /// The events that it follows from, the one that brought it about first.
    pub causes: Vec<EventId>,
    /// Where: a node or a client.
    pub node: Option<String>,
    /// The name of its kind.
    pub kind: String,
    /// The buffer.
    pub buffer: Option<String>,
    /// The epoch.
    pub epoch: Option<u32>,
    /// First and last seq.
    pub seqs: Option<(u64, u64)>,
    /// What it can be followed by.
    pub refs: Vec<String>,
    /// Everything else.
    pub details: Map<String, Value>,
}

impl Event {
    /// The line, without its end. Details stand in the order of their names.
    #[must_use]
    pub fn to_line(&self) -> String {
        let causes: Vec<String> = self.causes.iter().map(EventId::to_string).collect();
        let mut line = format!(
            r#"{{"n":{},"t":{},"eid":"{}","cause":{}"#,
            self.n,
            self.t,
            self.eid,
            json!(causes)
        );
        let details = (!self.details.is_empty()).then(|| json!(self.details));
        let fields = [
            ("node", self.node.as_ref().map(|node| json!(node))),
            ("kind", Some(json!(self.kind))),
            ("buf", self.buffer.as_ref().map(|buffer| json!(buffer))),
            ("epoch", self.epoch.map(|epoch| json!(epoch))),
            ("seq", self.seqs.map(|(first, last)| json!([first, last]))),
            ("refs", (!self.refs.is_empty()).then(|| json!(self.refs))),
            ("d", details),
        ];
        for (name, value) in fields {
            if let Some(value) = value {
                line += &format!(r#","{name}":{value}"#);
            }
        }
        line.push('}');
        line
    }

    /// Where it happened, or `run` for what concerns the whole run.
    #[must_use]
    pub fn lane(&self) -> &str {
        self.node.as_deref().unwrap_or("run")
    }

    /// What it is about, in a few words: `b1 4-6, epoch 2, bytes 812`.
    #[must_use]
    pub fn subject(&self) -> String {
        let mut parts = Vec::new();
        let seqs = self.seqs.map(|(first, last)| match first == last {
            true => format!("{first}"),
            false => format!("{first}-{last}"),
        });
        match (&self.buffer, seqs) {
            (Some(buffer), Some(seqs)) => parts.push(format!("{buffer} {seqs}")),
            (Some(buffer), None) => parts.push(buffer.clone()),
            (None, Some(seqs)) => parts.push(seqs),
            (None, None) => {}
        }
        parts.extend(self.epoch.map(|epoch| format!("epoch {epoch}")));
        for (name, value) in &self.details {
            parts.push(match (name.as_str(), value) {
                ("note", Value::String(note)) => note.clone(),
                (name, Value::String(text)) => format!("{name} {text}"),
                (name, value) => format!("{name} {value}"),
            });
        }
        parts.join(", ")
    }
}

/// Microseconds as seconds with all their digits: `1.203450`.
pub(crate) fn seconds(micros: u64) -> String {
    format!("{}.{:06}", micros / 1_000_000, micros % 1_000_000)
}
