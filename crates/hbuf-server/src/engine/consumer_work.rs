//! What an operator changes of a consumer, and how it stands: seeks, where it begins and ends in
//! each buffer.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use hbuf_core::buffer::{ConsumerAnswer, ConsumerCall};
use hbuf_core::consumer::{Standing, Start};
use hbuf_core::ids::{Micros, Seq, Uuid};
use hbuf_core::name::Name;

use super::buffer::Buffer;
use super::consumer_asks::Asked;
use super::consumer_calls::{ConsumerError, ConsumerMember};
use super::consumer_catalog::ConsumerInfo;
use super::consumer_look::after;
use super::{Engine, lock};
use crate::clock;

/// When consumers were used last, for those that are deleted when nobody does.
pub(super) type Used = Mutex<HashMap<Uuid, Micros>>;

impl Engine {
    pub(super) fn standing(&self, buffer: &Buffer, consumer: Uuid) -> Option<Standing> {
        let host = self.inner.shards.host(buffer.shard());
        host.look(&buffer.uuid(), |buffer| buffer.consumer_standing(&consumer))?
    }

    /// How a consumer stands in each of its buffers.
    pub async fn consumer_status(&self, info: &ConsumerInfo) -> Vec<ConsumerMember> {
        let mut members = Vec::with_capacity(info.members.len());
        for (uuid, name) in &info.members {
            members.push(self.member_status(info, *uuid, name).await);
        }
        members
    }

    async fn member_status(&self, info: &ConsumerInfo, uuid: Uuid, name: &Name) -> ConsumerMember {
        let mut member = ConsumerMember {
            buffer: uuid,
            name: name.clone(),
            unavailable: None,
            cursor: Seq::ZERO,
            commit: Seq::ZERO,
            pending: 0,
            in_flight: 0,
            oldest_unacked: None,
            redelivered: 0,
            dead_lettered: 0,
            lost: 0,
        };
        let buffer = match self.open(uuid).await {
            Ok(buffer) => buffer,
            Err(error) => {
                member.unavailable = Some(error.to_string());
                return member;
            }
        };
        // A paused buffer takes no new consumer; it still tells of those that it has.
        let begun = self.begin_consumer(info, &buffer).await;
        member.commit = buffer.readable().commit();
        match self.standing(&buffer, info.uuid) {
            None => {
                let why = begun.err().map(|error| error.to_string());
                member.unavailable =
                    why.or_else(|| Some("the buffer is being opened again".into()));
            }
            Some(standing) => {
                member.cursor = standing.cursor;
                member.pending = standing.pending;
                member.in_flight = standing.in_flight;
                member.oldest_unacked = standing.oldest_unacked;
                member.redelivered = standing.counts.redelivered;
                member.dead_lettered = standing.counts.dead_lettered;
                member.lost = standing.counts.lost;
            }
        }
        member
    }

    /// Moves a consumer in all of its buffers, or in none when one of them cannot: its leases end.
    pub async fn seek(&self, info: &ConsumerInfo, start: Start) -> Result<(), ConsumerError> {
        start.check()?;
        self.use_consumer(info.uuid);
        let mut places = Vec::with_capacity(info.members.len());
        for (uuid, name) in &info.members {
            let place = self.place_to_seek(info, *uuid, start).await;
            places.push(place.map_err(|why| match why {
                ConsumerError::Gone | ConsumerError::Stopping => why,
                _ if info.members.len() == 1 => why,
                _ => ConsumerError::Unmoved {
                    buffer: name.clone(),
                    why: Box::new(why),
                },
            })?);
        }
        // All at once: the less time passes, the less can come in between.
        let asked: Vec<Asked> = places
            .iter()
            .map(|(buffer, after)| buffer.ask_consumer(info.uuid, ConsumerCall::Seek(*after)))
            .collect();
        let (mut stayed, mut why) = (Vec::new(), None);
        for ((_, name), asked) in info.members.iter().zip(asked) {
            if let Err(error) = asked.answered().await {
                stayed.push(name.clone());
                why.get_or_insert(error);
            }
        }
        moved(info.members.len(), stayed, why)
    }

    /// Where a consumer would begin in a buffer that can move it.
    async fn place_to_seek(
        &self,
        info: &ConsumerInfo,
        uuid: Uuid,
        start: Start,
    ) -> Result<(Arc<Buffer>, Seq), ConsumerError> {
        let buffer = self.begun_member(info, uuid).await?;
        let may = buffer.call_consumer(info.uuid, ConsumerCall::MaySeek);
        may.await?;
        let after = after(buffer.readable(), start).await?;
        Ok((buffer, after))
    }

    /// Makes a consumer's configuration hold in every buffer that it reads, as far as they can be
    /// opened; where one is new there, its beginning is on disk then.
    pub(super) async fn begin_everywhere(&self, info: &ConsumerInfo) -> Result<(), ConsumerError> {
        self.use_consumer(info.uuid);
        for (uuid, _) in &info.members {
            match self.begun_member(info, *uuid).await {
                Ok(_) => {}
                // It begins when the buffer can be used again.
                Err(error) if error.is_of_one_buffer() => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// A buffer of the consumer, open, where its configuration holds.
    pub(super) async fn begun_member(
        &self,
        info: &ConsumerInfo,
        uuid: Uuid,
    ) -> Result<Arc<Buffer>, ConsumerError> {
        let buffer = self.open(uuid).await?;
        self.begin_consumer(info, &buffer).await?;
        Ok(buffer)
    }

    /// Makes a consumer's configuration hold in a buffer; one that is new there begins there.
    pub(super) async fn begin_consumer(
        &self,
        info: &ConsumerInfo,
        buffer: &Arc<Buffer>,
    ) -> Result<(), ConsumerError> {
        if buffer.has_begun(info.uuid, info.version) {
            return Ok(());
        }
        let begin = |after| ConsumerCall::Begin {
            config: Box::new(info.config.clone()),
            version: info.version,
            after,
        };
        let answer = buffer.call_consumer(info.uuid, begin(None)).await?;
        if answer == ConsumerAnswer::NeedsStart {
            let after = after(buffer.readable(), info.config.start).await?;
            buffer.call_consumer(info.uuid, begin(Some(after))).await?;
        }
        buffer.begun(info.uuid, info.version);
        // Deleted meanwhile: it must not stay where the deletion did not find it.
        if self.consumer_now(info.uuid).is_err() {
            buffer.forget_begun(info.uuid);
            buffer.tell_consumer(info.uuid, ConsumerCall::Forget);
            return Err(ConsumerError::Gone);
        }
        Ok(())
    }

    /// The consumer was deleted: it is taken out of the buffers that are open. The others leave it
    /// out when they are opened.
    pub(super) async fn forget_consumer(&self, info: &ConsumerInfo) {
        lock(&self.inner.consumers_used).remove(&info.uuid);
        for (uuid, _) in &info.members {
            if let Some(buffer) = self.inner.open.get(*uuid) {
                buffer.forget_begun(info.uuid);
                let forgotten = buffer.call_consumer(info.uuid, ConsumerCall::Forget).await;
                drop(forgotten);
            }
        }
    }

    pub(super) fn use_consumer(&self, uuid: Uuid) {
        lock(&self.inner.consumers_used).insert(uuid, clock::now());
    }
}

/// What is said of a seek that was asked of so many buffers.
fn moved(
    buffers: usize,
    stayed: Vec<Name>,
    why: Option<ConsumerError>,
) -> Result<(), ConsumerError> {
    match why {
        None => Ok(()),
        Some(why) if buffers == 1 => Err(why),
        Some(why) => Err(ConsumerError::MovedInPart {
            stayed,
            why: Box::new(why),
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seek_that_some_buffers_missed_names_them() {
        let name = |text: &str| Name::parse(text).unwrap();
        assert!(moved(3, Vec::new(), None).is_ok());
        let alone = moved(1, vec![name("a")], Some(ConsumerError::Full));
        assert!(matches!(alone, Err(ConsumerError::Full)));
        let stayed = vec![name("a"), name("c")];
        let part = moved(3, stayed, Some(ConsumerError::Paused)).unwrap_err();
        assert_eq!(
            part.to_string(),
            "the consumer was not moved in `a`, `c`: the buffer is paused, so that its consumers \
             stand still: set its state to open first. In its other buffers it was: seek again"
        );
    }
}
