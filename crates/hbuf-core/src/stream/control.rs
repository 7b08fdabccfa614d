//! Records of kind `stream`: what happened to a stream besides its messages.
//!
//! ```text
//! stream: define                      stream: close          stream: use
//! content-type: text/plain
//! ttl-seconds: 3600                   (or `expires-at: <µs since 1970>`, or neither)
//! closed: true                        (or without this line)
//! ```
//! A record of kind `stream` is the first of its append; the messages behind it are part of what it
//! says. The lines stand in this order, each ended by a line feed.

use alloc::string::String;
use alloc::vec::Vec;
use core::fmt::Write as _;

use super::{Definition, Life};
use crate::ids::Micros;

/// What a record of kind `stream` says.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Control {
    /// The buffer is a stream from here on.
    Define {
        /// What it is.
        definition: Definition,
        /// The messages of this append are its only ones.
        closed: bool,
    },
    /// The messages of this append, if any, are the last ones.
    Close,
    /// Somebody used it.
    Use,
}

impl Control {
    /// The record's body.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut text = String::new();
        let word = match self {
            Self::Define { .. } => "define",
            Self::Close => "close",
            Self::Use => "use",
        };
        push(&mut text, "stream", &word);
        if let Self::Define { definition, closed } = self {
            push(&mut text, "content-type", &definition.content_type());
            match definition.life {
                Life::Lasting => {}
                Life::Idle { seconds } => push(&mut text, "ttl-seconds", &seconds),
                Life::Until(moment) => push(&mut text, "expires-at", &moment.0),
            }
            if *closed {
                push(&mut text, "closed", &true);
            }
        }
        text.into_bytes()
    }

    /// Reads a record's body; `None` when it was made otherwise.
    #[must_use]
    pub fn decode(body: &[u8]) -> Option<Self> {
        let text = core::str::from_utf8(body).ok()?;
        let control = Self::read(text)?;
        (control.encode() == body).then_some(control)
    }

    fn read(text: &str) -> Option<Self> {
        let mut lines = text.lines().map(|line| line.split_once(": "));
        match lines.next()?? {
            ("stream", "close") => return Some(Self::Close),
            ("stream", "use") => return Some(Self::Use),
            ("stream", "define") => {}
            _ => return None,
        }
        let (mut content_type, mut life, mut closed) = (None, Life::Lasting, false);
        for line in lines {
            match line? {
                ("content-type", text) => content_type = Some(text),
                ("ttl-seconds", text) => {
                    let seconds = text.parse().ok()?;
                    life = Life::Idle { seconds };
                }
                ("expires-at", text) => life = Life::Until(Micros(text.parse().ok()?)),
                ("closed", "true") => closed = true,
                _ => return None,
            }
        }
        let definition = Definition::new(content_type?, life)?;
        Some(Self::Define { definition, closed })
    }
}

fn push(text: &mut String, name: &str, value: &dyn core::fmt::Display) {
    writeln!(text, "{name}: {value}").expect("strings take all");
}
