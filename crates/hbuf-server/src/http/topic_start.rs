//! Where a read of a topic starts: at the beginning, at a time, or behind a cursor.

use hbuf_core::ids::{Micros, Seq};
use hbuf_core::topic::{CursorError, TopicCursor};

use super::call::shown;
use super::member::{Member, Reason};
use super::problem::{Code, Problem};
use crate::engine::Buffer;

/// The start of a read of a topic.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Start {
    /// What is kept of each buffer.
    Beginning,
    /// Messages of this time or later.
    Time(Micros),
    /// Behind a seq of the topic's only buffer.
    Seq(Seq),
    /// Behind what is committed now.
    End,
    /// Behind a cursor.
    Cursor(TopicCursor),
}

impl Start {
    /// Reads a cursor of a topic.
    pub(crate) fn cursor(text: &str, topic: u64) -> Result<Self, Box<Problem>> {
        match TopicCursor::decode(text, topic) {
            Ok(cursor) => Ok(Self::Cursor(cursor)),
            Err(error) => Err(invalid(text, &error)),
        }
    }

    /// Places all members at the start.
    pub(super) async fn place(&self, members: &mut [Member]) -> Result<(), Box<Problem>> {
        for member in members {
            match self {
                Self::Beginning => member.start_behind(Seq::ZERO),
                Self::Seq(seq) => member.start_behind(*seq),
                Self::End => {
                    let buffer = member.buffer.as_ref();
                    let commit = buffer.map_or(Seq::ZERO, |buffer| buffer.readable().commit());
                    member.start_behind(commit);
                }
                Self::Time(time) => {
                    let after = match &member.buffer {
                        Some(buffer) => buffer.readable().seq_at_time(*time).await?,
                        None => Seq::ZERO,
                    };
                    member.start_behind(after);
                }
                Self::Cursor(cursor) => behind_cursor(cursor, member)?,
            }
        }
        Ok(())
    }
}

/// A member that the cursor does not know came later: all of it is new.
fn behind_cursor(cursor: &TopicCursor, member: &mut Member) -> Result<(), Box<Problem>> {
    let place = cursor.places.iter().find(|place| place.is_of(&member.uuid));
    let Some(place) = place else {
        member.start_behind(Seq::ZERO);
        return Ok(());
    };
    if !place.is_in(&member.history) {
        // What it has seen may be gone and come again under other numbers.
        member.start_behind(Seq::ZERO);
        member.lost = Some(Reason::History);
        return Ok(());
    }
    let commit = member
        .buffer
        .as_ref()
        .map(|buffer| buffer.readable().commit());
    if let Some(commit) = commit
        && place.seq > commit
    {
        return Err(Problem::new(
            Code::CursorInvalid,
            format!(
                "The cursor stands behind message {} of the buffer `{}`, whose last one is {commit}: it is of \
                 another copy of the data. Start without a cursor.",
                place.seq, member.name
            ),
        ));
    }
    member.start_behind(place.seq);
    Ok(())
}

/// The place of a cursor in the one buffer that a topic has.
pub(super) fn place_in(text: &str, topic: u64, buffer: &Buffer) -> Result<Seq, Box<Problem>> {
    let cursor = TopicCursor::decode(text, topic).map_err(|error| invalid(text, &error))?;
    let place = cursor
        .places
        .iter()
        .find(|place| place.is_of(&buffer.uuid()));
    let Some(place) = place else {
        return Ok(Seq::ZERO);
    };
    let history = buffer.status().map(|status| status.history);
    if let Some(history) = history
        && !place.is_in(&history)
    {
        return Err(Problem::new(
            Code::HistoryDiffers,
            format!("The buffer's history is {history} now: messages that you know may be lost. Read it anew."),
        )
        .fact("history", history.to_string()));
    }
    Ok(place.seq)
}

fn invalid(text: &str, error: &CursorError) -> Box<Problem> {
    Problem::new(
        Code::CursorInvalid,
        format!("`{}` is no cursor of this topic: {error}.", shown(text)),
    )
}
