//! The words of a line, one after the other, and what is wrong with one.

use std::iter::Peekable;
use std::str::Chars;

use thiserror::Error;

use crate::swarm::Unit;

/// Why a text is no scenario, or no action.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("line {line}: `{word}` cannot stand here; allowed: {allowed}")]
pub struct ParseError {
    /// The number of the line, counting from 1.
    pub line: usize,
    /// The word that is not understood, or `the end of the line`.
    pub word: String,
    /// What can stand in its place.
    pub allowed: String,
}

/// A word of a line.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Word {
    text: String,
    /// It stood in quotes, so it is no keyword. `name="…"` is not quoted: its value is.
    quoted: bool,
}

/// The words of a line that are not read yet.
#[derive(Clone, Debug)]
pub(crate) struct Words {
    line: usize,
    words: Vec<Word>,
    at: usize,
}

const END: &str = "the end of the line";

impl Words {
    /// Takes a line apart. What follows a `#` outside of quotes is a comment.
    pub(crate) fn new(line: usize, text: &str) -> Result<Self, ParseError> {
        let mut words = Vec::new();
        let mut rest = text.chars().peekable();
        while let Some(next) = rest.peek() {
            match next {
                '#' => break,
                space if space.is_whitespace() => {
                    rest.next();
                }
                _ => {
                    let word = word(&mut rest).ok_or_else(|| ParseError {
                        line,
                        word: END.to_owned(),
                        allowed: "a quote that ends the text".to_owned(),
                    })?;
                    words.push(word);
                }
            }
        }
        Ok(Self { line, words, at: 0 })
    }

    pub(crate) const fn is_empty(&self) -> bool {
        self.at >= self.words.len()
    }

    /// The next word, which stays.
    pub(crate) fn peek(&self) -> Option<&str> {
        let word = self.words.get(self.at)?;
        (!word.quoted).then_some(word.text.as_str())
    }

    pub(crate) fn next_is_quoted(&self) -> bool {
        self.words.get(self.at).is_some_and(|word| word.quoted)
    }

    /// The next word, in quotes or not.
    pub(crate) fn take(&mut self, allowed: &str) -> Result<String, ParseError> {
        let word = self.words.get(self.at).map(|word| word.text.clone());
        let word = word.ok_or_else(|| self.wrong(allowed))?;
        self.at += 1;
        Ok(word)
    }

    /// Takes the next word if it is this one.
    pub(crate) fn takes(&mut self, word: &str) -> bool {
        let found = self.peek() == Some(word);
        self.at += usize::from(found);
        found
    }

    /// The next word must be this one.
    pub(crate) fn expect(&mut self, word: &str) -> Result<(), ParseError> {
        if self.takes(word) {
            Ok(())
        } else {
            Err(self.wrong(word))
        }
    }

    /// The next word must be one of these.
    pub(crate) fn one_of<'a, T>(
        &mut self,
        all: &'a [T],
        name: impl Fn(&T) -> &str,
    ) -> Result<&'a T, ParseError> {
        let next = self.peek();
        if let Some(found) = all.iter().find(|it| next == Some(name(it))) {
            self.at += 1;
            return Ok(found);
        }
        let names: Vec<&str> = all.iter().map(&name).collect();
        Err(self.wrong(&names.join(", ")))
    }

    /// A name: a letter, then letters, digits, `-`, `_` and `.`.
    pub(crate) fn name(&mut self, what: &str) -> Result<String, ParseError> {
        match self.peek() {
            Some(word) if is_name(word) => self.take(what),
            _ => Err(self.wrong(what)),
        }
    }

    /// A number with its unit.
    pub(crate) fn quantity(&mut self, unit: Unit) -> Result<u64, ParseError> {
        let number = self.peek().and_then(|word| unit.parse(word));
        let number = number.ok_or_else(|| self.wrong(unit.allowed()))?;
        self.at += 1;
        Ok(number)
    }

    /// A number with its unit and a sign.
    pub(crate) fn signed(&mut self, unit: Unit) -> Result<i64, ParseError> {
        let allowed = format!("+ or - and {}", unit.allowed());
        let number = self.peek().and_then(|word| {
            let positive = word.strip_prefix('+');
            let negative = word.strip_prefix('-');
            let number = unit.parse(positive.or(negative)?)?;
            let number = i64::try_from(number).ok()?;
            Some(if negative.is_some() { -number } else { number })
        });
        let number = number.ok_or_else(|| self.wrong(&allowed))?;
        self.at += 1;
        Ok(number)
    }

    /// Nothing may follow.
    pub(crate) fn end(&self) -> Result<(), ParseError> {
        if self.is_empty() {
            Ok(())
        } else {
            Err(self.wrong(END))
        }
    }

    /// The next word cannot stand here.
    pub(crate) fn wrong(&self, allowed: &str) -> ParseError {
        let word = self.words.get(self.at).map(|word| word.text.clone());
        ParseError {
            line: self.line,
            word: word.unwrap_or_else(|| END.to_owned()),
            allowed: allowed.to_owned(),
        }
    }

    /// The word before the next one was wrong.
    pub(crate) fn last_wrong(&self, allowed: &str) -> ParseError {
        let mut before = self.clone();
        before.at = self.at.saturating_sub(1);
        before.wrong(allowed)
    }
}

pub(super) fn is_name(word: &str) -> bool {
    let mut chars = word.chars();
    let first = chars.next().is_some_and(|it| it.is_ascii_alphabetic());
    first && chars.all(|it| it.is_ascii_alphanumeric() || "-_.".contains(it))
}

/// One word; `None` when a quote is open at the end.
fn word(rest: &mut Peekable<Chars<'_>>) -> Option<Word> {
    let (mut text, mut quoted) = (String::new(), false);
    while let Some(next) = rest.peek().copied() {
        if next == '"' {
            quoted |= text.is_empty();
            rest.next();
            in_quotes(rest, &mut text)?;
        } else if next.is_whitespace() || next == '#' {
            break;
        } else {
            text.push(next);
            rest.next();
        }
    }
    Some(Word { text, quoted })
}

fn in_quotes(rest: &mut Peekable<Chars<'_>>, text: &mut String) -> Option<()> {
    loop {
        match rest.next()? {
            '"' => return Some(()),
            '\\' => match rest.next()? {
                'n' => text.push('\n'),
                other => text.push(other),
            },
            other => text.push(other),
        }
    }
}
