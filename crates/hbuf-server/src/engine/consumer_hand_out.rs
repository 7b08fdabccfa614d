//! Handing messages out: of one buffer, or the earliest of a topic's buffers. Which message goes to
//! whom is the core's to say.

use std::borrow::Cow;
use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use hbuf_core::buffer::{ConsumerAnswer, ConsumerCall};
use hbuf_core::consumer::{Given, LeaseId, Settling, TopicPick, TopicTurn};
use hbuf_core::ids::{Seq, Uuid};
use hbuf_manager::ConsumerOwner;
use tokio::time::Instant;

use super::Engine;
use super::buffer::Buffer;
use super::consumer_asks::answered;
use super::consumer_calls::{ConsumerError, Handed, HandedMessage, NextRequest, Passed};
use super::consumer_catalog::ConsumerInfo;
use super::consumer_look::{look, read_kept};
use crate::read::{Bell, Readable};

/// How often a topic's consumer asks its buffers again while a worker waits: a message that comes
/// rings at once, one that another worker gives back does not.
const TOPIC_LOOK: Duration = Duration::from_millis(50);
/// So many buffers are asked that often; more of them more seldom, so that a worker costs no more.
const TOPIC_LOOK_BUFFERS: usize = 16;
/// The most seldom.
const TOPIC_LOOK_MAX: Duration = Duration::from_secs(1);
/// How often it is looked whether a topic of one buffer has more of them.
const TOPIC_OF_ONE_LOOK: Duration = Duration::from_secs(1);
/// Counts the requests, so that another buffer of a topic is asked first each time.
static NEXT_TURN: AtomicU64 = AtomicU64::new(0);

impl Engine {
    /// Hands out messages of a consumer.
    pub async fn next(
        &self,
        info: &ConsumerInfo,
        request: NextRequest,
    ) -> Result<Handed, ConsumerError> {
        self.use_consumer(info.uuid);
        let handed = self.next_of_members(info, request).await;
        // Whatever was in the way, it is the end of the consumer that a worker must know of.
        handed.map_err(|error| match self.refreshed(info) {
            Err(gone) => gone,
            Ok(_) => error,
        })
    }

    async fn next_of_members(
        &self,
        info: &ConsumerInfo,
        request: NextRequest,
    ) -> Result<Handed, ConsumerError> {
        loop {
            let info = &*self.refreshed(info)?;
            let [(uuid, _)] = &info.members[..] else {
                return self.next_of_topic(info, request).await;
            };
            // A topic may get further buffers while somebody waits for its only one.
            let slice = match info.owner {
                ConsumerOwner::Buffer(_) => request,
                ConsumerOwner::Topic(_) => request.cut_to(TOPIC_OF_ONE_LOOK),
            };
            let buffer = self.begun_member(info, *uuid).await?;
            let mut handed = Handed::default();
            let given = self.next_of(info, &buffer, slice).await?;
            self.read_given(info, &buffer, &given, &mut handed).await?;
            // Retention may have dropped all of it meanwhile: what is behind it comes.
            let dropped = !given.is_empty() && handed.messages.is_empty();
            let waits = request
                .wait_until
                .is_some_and(|until| Instant::now() < until);
            let goes_on = dropped || (given.is_empty() && waits);
            if !goes_on {
                return Ok(handed);
            }
        }
    }

    async fn next_of(
        &self,
        info: &ConsumerInfo,
        buffer: &Arc<Buffer>,
        request: NextRequest,
    ) -> Result<Vec<Given>, ConsumerError> {
        let call = ConsumerCall::Next {
            limit: request.limit,
            waits: request.wait_until.is_some(),
        };
        let _tailing = request.wait_until.map(|_| buffer.readable().tailing());
        let mut asked = buffer.ask_consumer(info.uuid, call);
        let answer = match request.wait_until {
            None => (&mut asked.answer).await,
            Some(until) => match tokio::time::timeout_at(until, &mut asked.answer).await {
                Ok(answer) => answer,
                Err(_) => {
                    asked.stop();
                    (&mut asked.answer).await
                }
            },
        };
        asked.waits = false;
        match answered(answer.map_err(|_| ConsumerError::Stopping)?) {
            Ok(ConsumerAnswer::Given(given)) => Ok(given),
            Err(ConsumerError::Unreadable { after }) => {
                Err(why_unreadable(info, buffer, after).await)
            }
            Err(error) => Err(error),
            Ok(_) => Ok(Vec::new()),
        }
    }

    /// Messages of all buffers of a topic, as the core picks them.
    async fn next_of_topic(
        &self,
        info: &ConsumerInfo,
        request: NextRequest,
    ) -> Result<Handed, ConsumerError> {
        let mut info = Cow::Borrowed(info);
        let mut waiting = match request.wait_until {
            Some(_) => self.bell_of(&info).await,
            None => Default::default(),
        };
        loop {
            if let Cow::Owned(changed) = self.refreshed(&info)? {
                info = Cow::Owned(changed);
                if request.wait_until.is_some() {
                    waiting = self.bell_of(&info).await;
                }
            }
            let info = &*info;
            let mut handed = Handed::default();
            let number = NEXT_TURN.fetch_add(1, Ordering::Relaxed);
            let (ack, members) = (info.config.ack, info.members.len());
            let mut turn = TopicTurn::new(ack, members, number, request.limit);
            let mut buffers: HashMap<usize, Arc<Buffer>> = HashMap::new();
            while let Some((member, limit)) = turn.ask() {
                let (uuid, name) = &info.members[member];
                match self.given_of(info, *uuid, limit).await {
                    Ok((buffer, given)) => {
                        turn.gave(member, given);
                        buffers.insert(member, buffer);
                    }
                    Err(ConsumerError::Stopping) => return Err(ConsumerError::Stopping),
                    Err(error) => handed.passed.push(Passed {
                        name: name.clone(),
                        why: error.to_string(),
                    }),
                }
            }
            let TopicPick {
                handed: found,
                back,
            } = turn.pick();
            for (member, given) in back {
                give_back(&buffers[&member], info.uuid, &[given]);
            }
            let of_buffer = |(member, given)| (Arc::clone(&buffers[&member]), given);
            let found: Vec<(Arc<Buffer>, Given)> = found.into_iter().map(of_buffer).collect();
            if !found.is_empty() {
                self.read_found(info, &found, &mut handed).await?;
                return Ok(handed);
            }
            if handed.passed.len() == info.members.len() {
                return Err(ConsumerError::Passed(handed.passed[0].why.clone()));
            }
            match request.wait_until {
                Some(until) if Instant::now() < until => {
                    let soon = Instant::now() + look_again_in(info.members.len());
                    let _ = tokio::time::timeout_at(until.min(soon), waiting.0.rung()).await;
                }
                _ => return Ok(handed),
            }
        }
    }

    /// A bell that rings when a buffer of a topic commits something, and the buffers, which stay
    /// open while they are held. One that cannot be opened is only asked now and then.
    async fn bell_of(&self, info: &ConsumerInfo) -> (Arc<Bell>, Vec<Arc<Readable>>) {
        let bell = Arc::<Bell>::default();
        let mut members = Vec::with_capacity(info.members.len());
        for (uuid, _) in &info.members {
            if let Ok(buffer) = self.open(*uuid).await {
                buffer.readable().hang(&bell);
                members.push(Arc::clone(buffer.readable()));
            }
        }
        (bell, members)
    }

    async fn given_of(
        &self,
        info: &ConsumerInfo,
        uuid: Uuid,
        limit: usize,
    ) -> Result<(Arc<Buffer>, Vec<Given>), ConsumerError> {
        let buffer = self.begun_member(info, uuid).await?;
        let request = NextRequest {
            limit,
            wait_until: None,
        };
        let given = self.next_of(info, &buffer, request).await?;
        Ok((buffer, given))
    }

    async fn read_found(
        &self,
        info: &ConsumerInfo,
        mut found: &[(Arc<Buffer>, Given)],
        handed: &mut Handed,
    ) -> Result<(), ConsumerError> {
        while let Some((buffer, _)) = found.first() {
            let same = found.iter().take_while(|(of, _)| Arc::ptr_eq(of, buffer));
            let given: Vec<Given> = same.map(|(_, given)| *given).collect();
            found = &found[given.len()..];
            self.read_given(info, buffer, &given, handed).await?;
        }
        Ok(())
    }

    /// Reads what was handed out; when that fails it goes back. What retention dropped meanwhile is
    /// left out: the state machine counts it as lost.
    async fn read_given(
        &self,
        info: &ConsumerInfo,
        buffer: &Arc<Buffer>,
        given: &[Given],
        handed: &mut Handed,
    ) -> Result<(), ConsumerError> {
        let guard = GiveBack {
            buffer,
            consumer: info.uuid,
            given,
            read: false,
        };
        let (given, records) = read_kept(buffer.readable(), info.uuid, given).await?;
        let mut guard = guard;
        guard.read = true;
        let name = info.members.iter().find(|(uuid, _)| *uuid == buffer.uuid());
        let name = &name.expect("it was asked because it is a member").1;
        handed.messages.extend(
            given
                .iter()
                .zip(records)
                .map(|(one, record)| HandedMessage {
                    buffer: buffer.uuid(),
                    name: name.clone(),
                    seq: one.seq,
                    lease: one.lease,
                    deliveries: one.deliveries,
                    record,
                }),
        );
        Ok(())
    }
}

/// A look behind `after` failed: looking again tells why.
async fn why_unreadable(info: &ConsumerInfo, buffer: &Arc<Buffer>, after: Seq) -> ConsumerError {
    let through = buffer.readable().commit();
    match look(buffer.readable(), &info.config, after, through, 1).await {
        Err(error) => error.into(),
        Ok(_) => ConsumerError::Unreadable { after },
    }
}

/// When a topic of so many buffers is asked again.
fn look_again_in(buffers: usize) -> Duration {
    let times = buffers.div_ceil(TOPIC_LOOK_BUFFERS).max(1);
    let times = u32::try_from(times).unwrap_or(u32::MAX);
    TOPIC_LOOK.saturating_mul(times).min(TOPIC_LOOK_MAX)
}

/// Gives messages back that could not be read, also when the caller went away meanwhile.
struct GiveBack<'a> {
    buffer: &'a Arc<Buffer>,
    consumer: Uuid,
    given: &'a [Given],
    read: bool,
}

impl Drop for GiveBack<'_> {
    fn drop(&mut self) {
        if !self.read {
            give_back(self.buffer, self.consumer, self.given);
        }
    }
}

fn give_back(buffer: &Buffer, consumer: Uuid, given: &[Given]) {
    if let Some(call) = returned(given) {
        buffer.tell_consumer(consumer, call);
    }
}

/// The call that gives messages back; nothing when they are done already.
pub(super) fn returned(given: &[Given]) -> Option<ConsumerCall> {
    let leased = given.iter();
    let leased = leased.filter_map(|one| Some((one.seq, one.lease?, Settling::Return)));
    let leased: Vec<(Seq, LeaseId, Settling)> = leased.collect();
    (!leased.is_empty()).then_some(ConsumerCall::Settle(leased))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wide_topic_is_asked_more_seldom_and_once_a_second_at_least() {
        let millis = |buffers| look_again_in(buffers).as_millis();
        assert_eq!(
            [0, 1, 16, 17, 64, 1_024].map(millis),
            [50, 50, 50, 100, 200, 1_000]
        );
    }
}
