//! A stream in the file of the tables, so that its definition need not be searched in the log.
//!
//! ```text
//! stream-type <content type>
//! stream-life lasting | ttl <seconds> | until <µs>
//! stream-defined <first> <rest> <time µs> <epoch of the log>
//! stream-tail <seq> <time of the last record, µs>
//! stream-closed <first> <rest> <time µs> <epoch of the log>      when it is closed
//! stream-seq <the last Stream-Seq>                               when there was one
//! ```

use alloc::boxed::Box;
use alloc::string::String;
use alloc::sync::Arc;
use core::fmt::Write as _;

use super::{Definition, Life, Stream};
use crate::dedupe::{Earlier, table};
use crate::ids::{Micros, Seq};

impl Stream {
    pub(crate) fn save(&self, text: &mut String) {
        writeln!(text, "stream-type {}", self.definition.content_type()).expect("strings take all");
        match self.definition.life {
            Life::Lasting => writeln!(text, "stream-life lasting"),
            Life::Idle { seconds } => writeln!(text, "stream-life ttl {seconds}"),
            Life::Until(moment) => writeln!(text, "stream-life until {}", moment.0),
        }
        .expect("strings take all");
        text.push_str("stream-defined");
        table::earlier_fields(text, &self.defined);
        writeln!(text, "stream-tail {} {}", self.tail, self.recorded.0).expect("strings take all");
        if let Some(closed) = &self.closed {
            text.push_str("stream-closed");
            table::earlier_fields(text, closed);
        }
        if let Some(seq) = &self.writer_seq {
            writeln!(text, "stream-seq {seq}").expect("strings take all");
        }
    }
}

/// The lines of a stream while they are read.
#[derive(Debug, Default)]
pub(crate) struct Saved {
    content_type: Option<Box<str>>,
    life: Option<Life>,
    defined: Option<Earlier>,
    tail: Option<(Seq, Micros)>,
    closed: Option<Earlier>,
    seq: Option<Box<str>>,
}

impl Saved {
    /// Takes in one line; `None` when it cannot be read or came before.
    pub(crate) fn line(&mut self, name: &str, rest: &str) -> Option<()> {
        let earlier = || table::decode_earlier(rest.split(' '));
        match name {
            "stream-type" => once(&mut self.content_type, rest.into()),
            "stream-life" => once(&mut self.life, life(rest)?),
            "stream-defined" => once(&mut self.defined, earlier()?),
            "stream-closed" => once(&mut self.closed, earlier()?),
            "stream-seq" => once(&mut self.seq, rest.into()),
            "stream-tail" => {
                let (tail, time) = rest.split_once(' ')?;
                let tail = Seq(tail.parse().ok()?);
                once(&mut self.tail, (tail, Micros(time.parse().ok()?)))
            }
            _ => None,
        }
    }

    /// The stream: `Ok(None)` when there was no line, `Err` when some are missing.
    pub(crate) fn finish(self) -> Result<Option<Stream>, ()> {
        let Some(content_type) = self.content_type else {
            let none = self.life.is_none() && self.defined.is_none() && self.tail.is_none();
            return if none { Ok(None) } else { Err(()) };
        };
        let definition = Definition::new(&content_type, self.life.ok_or(())?).ok_or(())?;
        let (tail, recorded) = self.tail.ok_or(())?;
        Ok(Some(Stream {
            definition: Arc::new(definition),
            defined: self.defined.ok_or(())?,
            tail,
            closed: self.closed,
            writer_seq: self.seq,
            recorded,
            used: recorded,
            gone: false,
            shown: None,
        }))
    }
}

fn life(text: &str) -> Option<Life> {
    match text.split_once(' ') {
        None if text == "lasting" => Some(Life::Lasting),
        Some(("ttl", seconds)) => Some(Life::Idle {
            seconds: seconds.parse().ok()?,
        }),
        Some(("until", moment)) => Some(Life::Until(Micros(moment.parse().ok()?))),
        _ => None,
    }
}

fn once<T>(place: &mut Option<T>, value: T) -> Option<()> {
    place.replace(value).is_none().then_some(())
}
