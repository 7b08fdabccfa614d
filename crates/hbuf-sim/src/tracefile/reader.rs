//! Reads a trace, and finds events in it.

use std::collections::BTreeMap;

use serde_json::{Map, Value};
use thiserror::Error;

use super::{Event, EventId, FORMAT, Header};

/// Why a file cannot be read as a trace.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum TraceError {
    /// The first line is something else.
    #[error("this is no trace of hbuf: line 1 is not a header with the field \"hbuf-trace\"")]
    NotATrace,
    /// Another version of the format.
    #[error("a trace of format {got}; this version of hbuf reads format {FORMAT}")]
    OtherFormat {
        /// What the header says.
        got: Value,
    },
    /// A line is not what it should be.
    #[error("line {line}: {what}")]
    Line {
        /// Its number, counting from 1.
        line: usize,
        /// What is wrong with it.
        what: String,
    },
}

/// Why an event is not found.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum FindError {
    /// Not the form of an event.
    #[error("`{0}` names no event: write the first digits of its id, or n: and its number")]
    Form(String),
    /// There is none.
    #[error("the trace has no event `{0}`")]
    Missing(String),
    /// More than one id begins so.
    #[error("{count} events have an id that begins with `{begin}`: write more digits")]
    Many {
        /// The digits.
        begin: String,
        /// How many.
        count: usize,
    },
}

/// A trace that was read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TraceFile {
    /// What the run was.
    pub header: Header,
    /// What happened, in the order of the file.
    pub events: Vec<Event>,
    places: BTreeMap<EventId, usize>,
    effects: BTreeMap<EventId, Vec<usize>>,
}

impl TraceFile {
    /// Reads the text of a file.
    pub fn parse(text: &str) -> Result<Self, TraceError> {
        let mut lines = text.lines().enumerate();
        let first = lines.next().map_or("", |(_, line)| line);
        let mut trace = Self {
            header: header(first)?,
            ..Self::default()
        };
        for (at, text) in lines {
            let wrong = |what| TraceError::Line { line: at + 1, what };
            let event = event(text).map_err(wrong)?;
            trace.add(event).map_err(wrong)?;
        }
        Ok(trace)
    }

    fn add(&mut self, event: Event) -> Result<(), String> {
        let place = self.events.len();
        if let Some(before) = self.events.last()
            && before.n >= event.n
        {
            return Err(format!(
                "event {} stands behind event {}",
                event.n, before.n
            ));
        }
        if self.places.insert(event.eid, place).is_some() {
            return Err(format!("the id {} stands on two lines", event.eid));
        }
        for cause in &event.causes {
            self.effects.entry(*cause).or_default().push(place);
        }
        self.events.push(event);
        Ok(())
    }

    /// The place of an event in [`TraceFile::events`].
    #[must_use]
    pub fn place(&self, eid: EventId) -> Option<usize> {
        self.places.get(&eid).copied()
    }

    /// The places of the events that name this one as a cause.
    #[must_use]
    pub fn effects(&self, eid: EventId) -> &[usize] {
        self.effects.get(&eid).map_or(&[], Vec::as_slice)
    }

    /// The place of the event that a person means: by the first digits of its id, or by `n:17`.
    pub fn find(&self, wanted: &str) -> Result<usize, FindError> {
        if let Some(number) = wanted.strip_prefix("n:") {
            let n: u64 = number
                .parse()
                .map_err(|_| FindError::Form(wanted.to_owned()))?;
            let found = self.events.binary_search_by_key(&n, |event| event.n);
            return found.map_err(|_| FindError::Missing(wanted.to_owned()));
        }
        let hex = wanted.bytes().all(|byte| byte.is_ascii_hexdigit());
        if wanted.is_empty() || wanted.len() > 16 || !hex {
            return Err(FindError::Form(wanted.to_owned()));
        }
        let low = parse_padded(wanted, '0');
        let high = parse_padded(wanted, 'f');
        let mut found = self.places.range(low..=high).map(|(_, place)| *place);
        match (found.next(), found.count()) {
            (None, _) => Err(FindError::Missing(wanted.to_owned())),
            (Some(place), 0) => Ok(place),
            (Some(_), more) => Err(FindError::Many {
                begin: wanted.to_owned(),
                count: more + 1,
            }),
        }
    }
}

/// The id that begins with these digits and goes on with `fill`.
fn parse_padded(digits: &str, fill: char) -> EventId {
    let mut text = digits.to_owned();
    while text.len() < 16 {
        text.push(fill);
    }
    EventId::parse(&text).expect("16 hex digits are an id")
}

fn header(line: &str) -> Result<Header, TraceError> {
    let Ok(Value::Object(fields)) = serde_json::from_str::<Value>(line) else {
        return Err(TraceError::NotATrace);
    };
    match fields.get("hbuf-trace") {
        None => return Err(TraceError::NotATrace),
        Some(format) if format.as_u64() != Some(FORMAT) => {
            return Err(TraceError::OtherFormat {
                got: format.clone(),
            });
        }
        Some(_) => {}
    }
    read_header(&fields).map_err(|what| TraceError::Line { line: 1, what })
}

fn read_header(fields: &Map<String, Value>) -> Result<Header, String> {
    let overrides = fields.get("overrides").and_then(Value::as_array);
    let overrides = overrides.ok_or("the header has no list \"overrides\"")?;
    Ok(Header {
        hbuf: text(fields, "hbuf")?,
        scenario: text(fields, "scenario")?,
        seed: number(fields, "seed")?,
        bug: optional_text(fields, "bug")?,
        overrides: overrides.iter().map(a_text).collect::<Result<_, _>>()?,
        options: text(fields, "options")?,
    })
}

fn event(line: &str) -> Result<Event, String> {
    let value: Value = serde_json::from_str(line).map_err(|error| format!("no JSON: {error}"))?;
    let Value::Object(fields) = value else {
        return Err("no JSON object".to_owned());
    };
    let list = |name: &str| match fields.get(name) {
        None => Ok(Vec::new()),
        Some(Value::Array(values)) => values.iter().map(a_text).collect::<Result<Vec<_>, _>>(),
        Some(_) => Err(format!("\"{name}\" is no list")),
    };
    let eid = text(&fields, "eid")?;
    let causes = list("cause")?;
    let details = match fields.get("d") {
        None => Map::new(),
        Some(Value::Object(details)) => details.clone(),
        Some(_) => return Err("\"d\" is no object".to_owned()),
    };
    let epoch = fields.get("epoch").map(|epoch| {
        let epoch = epoch.as_u64().and_then(|epoch| u32::try_from(epoch).ok());
        epoch.ok_or("\"epoch\" is no number below 2^32")
    });
    Ok(Event {
        n: number(&fields, "n")?,
        t: number(&fields, "t")?,
        eid: an_id(&eid)?,
        causes: causes
            .iter()
            .map(|it| an_id(it))
            .collect::<Result<_, _>>()?,
        node: optional_text(&fields, "node")?,
        kind: text(&fields, "kind")?,
        buffer: optional_text(&fields, "buf")?,
        epoch: epoch.transpose()?,
        seqs: fields.get("seq").map(seqs).transpose()?,
        refs: list("refs")?,
        details,
    })
}

fn seqs(value: &Value) -> Result<(u64, u64), String> {
    let pair = value.as_array().map(Vec::as_slice);
    let pair = match pair {
        Some([first, last]) => first.as_u64().zip(last.as_u64()),
        _ => None,
    };
    pair.ok_or_else(|| "\"seq\" is no pair of numbers".to_owned())
}

fn an_id(text: &str) -> Result<EventId, String> {
    EventId::parse(text).ok_or_else(|| format!("`{text}` is no id of 16 hex digits"))
}

fn a_text(value: &Value) -> Result<String, String> {
    let text = value.as_str().map(str::to_owned);
    text.ok_or_else(|| format!("{value} is no text"))
}

fn text(fields: &Map<String, Value>, name: &str) -> Result<String, String> {
    let value = fields.get(name).and_then(Value::as_str);
    let text = value.map(str::to_owned);
    text.ok_or_else(|| format!("no text \"{name}\""))
}

fn optional_text(fields: &Map<String, Value>, name: &str) -> Result<Option<String>, String> {
    match fields.get(name) {
        None | Some(Value::Null) => Ok(None),
        Some(_) => text(fields, name).map(Some),
    }
}

fn number(fields: &Map<String, Value>, name: &str) -> Result<u64, String> {
    let value = fields.get(name).and_then(Value::as_u64);
    value.ok_or_else(|| format!("no number \"{name}\""))
}
