//! What clients are told: they learn who leads, write down what came of it, and ask again.

use hbuf_core::append::{AckLevel, AppendRefused, Appended};
use hbuf_core::ids::{NodeId, Seq, Uuid};

use super::super::asks::Heard;
use super::super::message::{Answer, Ask, Message, Newest};
use super::super::{About, Due, World};
use super::{Pending, SHOWN_MAX, TRIES_MAX, Wanted};
use crate::history::{Level, Moment, Outcome, Shown, Stored};
use crate::kinds::Kind;
use crate::tracefile::EventId;

impl World {
    pub(in crate::nodes) fn client_takes(
        &mut self,
        cause: EventId,
        client: usize,
        message: &Message,
    ) {
        let Message::Answer { operation, answer } = message else {
            return;
        };
        let Some(pending) = self.clients[client].pending.remove(operation) else {
            return;
        };
        match answer {
            Answer::Appended(outcome, hint, history) => match &**outcome {
                Ok(appended) => {
                    self.appended(cause, client, &pending, appended, *history);
                    self.client_heard(cause, client, &pending, Heard::Stored(appended.first));
                    self.turn_after(cause, client, &pending);
                }
                Err(refused) => self.refused(cause, client, pending, refused, *hint),
            },
            Answer::Tail(shown) => self.tail_shown(cause, client, &pending, shown),
            Answer::Read(shown, newest) => {
                self.shown_to(cause, client, &pending, shown, newest.as_deref());
            }
            Answer::Page(page, hint) => {
                self.learn(client, pending.buffer, *hint);
                match page {
                    Some(page) => {
                        self.shown_by_filter(client, &pending, page);
                        self.turn_after(cause, client, &pending);
                    }
                    None => self.asks_elsewhere(cause, client, pending),
                }
            }
            Answer::Topic(Some(page)) => {
                self.topic_shown(cause, client, &pending, page);
                self.turn_after(cause, client, &pending);
            }
            Answer::Topic(None) => {
                self.learn(client, pending.buffer, None);
                self.asks_elsewhere(cause, client, pending);
            }
            Answer::Worked(worked, hint) => {
                self.work_done(client, &pending, worked, *hint);
                self.turn_after(cause, client, &pending);
            }
            Answer::NoTail(hint) => {
                self.learn(client, pending.buffer, *hint);
                let goes_on = pending.asked.is_some() && pending.to.is_none();
                if (pending.again || goes_on) && pending.tries < TRIES_MAX {
                    self.ask_again(cause, client, pending, false);
                    return;
                }
                self.history.reads[pending.place].outcome = Outcome::Failed {
                    end: Moment(self.t),
                };
                let why = "this node cannot say how far the buffer goes: ask its primary";
                self.client_heard(cause, client, &pending, Heard::Refused(why.to_owned()));
                self.turn_after(cause, client, &pending);
            }
        }
    }

    fn tail_shown(&mut self, cause: EventId, client: usize, pending: &Pending, shown: &Shown) {
        let read = &mut self.history.reads[pending.place];
        read.call.after = Seq(shown.through.0.saturating_sub(SHOWN_MAX));
        let (end, answer) = (Moment(self.t), shown.clone());
        let tail = answer.through;
        read.outcome = Outcome::Answered { end, answer };
        self.clients[client].ends.insert(pending.buffer, tail);
        let about = About {
            client: Some(client),
            buffer: Some(pending.buffer),
            seqs: Some((tail.0, tail.0)),
            ..About::default()
        };
        let event = self.event(&[cause], Kind::TailShown, &about);
        self.client_heard(event, client, pending, Heard::Shown);
        self.turn_after(event, client, pending);
    }

    /// Nobody could say: it asks again, unless it did so often enough.
    fn asks_elsewhere(&mut self, cause: EventId, client: usize, pending: Pending) {
        if pending.tries < TRIES_MAX {
            return self.ask_again(cause, client, pending, false);
        }
        let why = "no node could say what the buffers hold".to_owned();
        self.client_heard(cause, client, &pending, Heard::Refused(why));
        self.turn_after(cause, client, &pending);
    }

    /// What a read or a key's newest message came to.
    fn shown_to(
        &mut self,
        cause: EventId,
        client: usize,
        pending: &Pending,
        shown: &Shown,
        newest: Option<&Newest>,
    ) {
        let (end, answer) = (Moment(self.t), shown.clone());
        let through = answer.through;
        self.history.reads[pending.place].outcome = Outcome::Answered { end, answer };
        let about = About {
            client: Some(client),
            buffer: Some(pending.buffer),
            operation: Some(pending.operation),
            seqs: Some((through.0, through.0)),
            ..About::default()
        };
        let event = self.event(&[cause], Kind::ReadShown, &about);
        let heard = match pending.ask {
            Ask::Get { .. } => Heard::Newest(newest.cloned(), through),
            _ => Heard::Shown,
        };
        self.client_heard(event, client, pending, heard);
        self.turn_after(event, client, pending);
    }

    fn appended(
        &mut self,
        cause: EventId,
        client: usize,
        pending: &Pending,
        appended: &Appended,
        history: Uuid,
    ) {
        let buffer = pending.buffer;
        let level = match appended.level {
            AckLevel::InSync => Level::InSync,
            AckLevel::Local => Level::Local,
            AckLevel::None => Level::Framed,
        };
        let one = appended.first == appended.last;
        let ids = appended.id.filter(|_| one).into_iter().collect();
        self.history.appends[pending.place].outcome = Outcome::Answered {
            end: Moment(self.t),
            answer: Stored {
                level,
                first: appended.first,
                epoch: appended.epoch,
                history,
                ids,
            },
        };
        let this = &mut self.clients[client];
        this.ends.insert(buffer, appended.last);
        self.numbered(client, pending, |(epoch, number)| (epoch, number + 1));
        self.acked[buffer] += appended.last.0 - appended.first.0 + 1;
        let about = About {
            client: Some(client),
            buffer: Some(buffer),
            operation: Some(pending.operation),
            epoch: Some(appended.epoch.0),
            seqs: Some((appended.first.0, appended.last.0)),
            ..About::default()
        };
        let kind = match appended.replayed {
            true => Kind::AppendReplayed,
            false => Kind::AppendAcked,
        };
        self.event(&[cause], kind, &about);
    }

    /// The next number of a producer whose append this was.
    fn numbered(
        &mut self,
        client: usize,
        pending: &Pending,
        next: impl FnOnce((u64, u64)) -> (u64, u64),
    ) {
        if let Ask::Append { request, .. } = &pending.ask
            && let Some(producer) = &request.producer
            && pending.asked.is_none()
        {
            let then = next((producer.epoch, producer.number));
            self.clients[client].producers.insert(pending.buffer, then);
        }
    }

    fn refused(
        &mut self,
        cause: EventId,
        client: usize,
        pending: Pending,
        refused: &AppendRefused,
        hint: Option<NodeId>,
    ) {
        use AppendRefused as R;
        let note = self.words(refused);
        let about = About {
            client: Some(client),
            buffer: Some(pending.buffer),
            operation: Some(pending.operation),
            note: &note,
            ..About::default()
        };
        let event = self.event(&[cause], Kind::AppendRefused, &about);
        let end = Moment(self.t);
        // What a copy has may come to be committed, whatever its primary says of its own disk.
        let known = !matches!(refused, R::PrimaryChanged | R::DiskFailed) && !pending.doubtful;
        match refused {
            R::NotPrimary | R::NotOpen | R::PrimaryChanged | R::Busy { .. } | R::DiskFailed => {
                self.learn(client, pending.buffer, hint);
                // Elsewhere, or later: nothing was stored, or it can be told from a new one.
                let told_apart = known || pending.again || pending.ask.is_told_apart();
                let again = told_apart && pending.tries < TRIES_MAX;
                // Who asks nobody in particular goes to where it is told to go.
                let goes_on = match pending.asked {
                    None => self.clients[client].wild,
                    Some(_) => {
                        matches!(refused, R::NotPrimary | R::NotOpen) && pending.to.is_none()
                    }
                };
                if again && (goes_on || pending.again) {
                    let doubtful = !known;
                    self.ask_again(event, client, pending, doubtful);
                    return;
                }
            }
            // The one before is under way and was overtaken.
            R::ProducerGap { .. }
                if pending.asked.is_some() && pending.again && pending.tries < TRIES_MAX =>
            {
                let doubtful = pending.doubtful;
                self.ask_again(event, client, pending, doubtful);
                return;
            }
            R::EndDiffers { end, .. } => {
                self.clients[client].ends.insert(pending.buffer, *end);
            }
            _ => {}
        }
        // Its number is never used for something else: what is the same is told by it.
        self.numbered(client, &pending, |(epoch, _)| (epoch + 1, 0));
        if known {
            self.history.appends[pending.place].outcome = Outcome::Failed { end };
        }
        self.client_heard(event, client, &pending, Heard::Refused(refused.to_string()));
        self.turn_after(event, client, &pending);
    }

    pub(in crate::nodes) fn learn(&mut self, client: usize, buffer: usize, hint: Option<NodeId>) {
        match hint {
            Some(primary) => self.clients[client].primaries.insert(buffer, primary),
            None => self.clients[client].primaries.remove(&buffer),
        };
    }

    fn ask_again(&mut self, cause: EventId, client: usize, pending: Pending, doubtful: bool) {
        let (tries, again) = (pending.tries + 1, pending.again);
        let wanted = Wanted {
            buffer: pending.buffer,
            ask: pending.ask,
            to: None,
            again,
            place: Some(pending.place),
            doubtful,
            asked: pending.asked,
        };
        let after = 5_000 + 5_000 * u64::from(tries.min(20));
        let kind = wanted.ask.kind();
        let due = Due::Again {
            client,
            wanted: Box::new(wanted),
            tries,
        };
        let eid = self.reserve(cause, kind);
        self.due_as(cause, eid, self.t + after, due);
    }

    /// No answer came: whether it was stored is not known.
    pub(in crate::nodes) fn give_up(
        &mut self,
        cause: EventId,
        event: EventId,
        client: usize,
        operation: u64,
    ) {
        let Some(pending) = self.clients[client].pending.remove(&operation) else {
            return;
        };
        let about = About {
            client: Some(client),
            buffer: Some(pending.buffer),
            operation: Some(operation),
            ..About::default()
        };
        self.happens(event, &[cause], Kind::AppendUnknown, &about);
        self.clients[client].primaries.remove(&pending.buffer);
        if pending.again && pending.tries < TRIES_MAX {
            self.ask_again(event, client, pending, true);
            return;
        }
        // Nobody may use the number for something else.
        self.numbered(client, &pending, |(epoch, _)| (epoch + 1, 0));
        self.client_heard(event, client, &pending, Heard::Nothing);
        self.turn_after(event, client, &pending);
    }
}
