//! What a worker or an operator changes of a consumer, and how it stands: acks, seeks, where it
//! begins and ends in each buffer.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use hbuf_core::buffer::{ConsumerAnswer, ConsumerCall};
use hbuf_core::consumer::{Settled, Standing, Start};
use hbuf_core::ids::{Micros, Seq, Uuid};

use super::buffer::Buffer;
use super::consumer_asks::answered;
use super::consumer_calls::{ConsumerError, ConsumerMember, Settle};
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

    /// Says what becomes of messages that were handed out; an ack is on disk when it is answered.
    pub async fn settle(
        &self,
        info: &ConsumerInfo,
        items: Vec<Settle>,
    ) -> Result<Vec<Settled>, ConsumerError> {
        self.use_consumer(info.uuid);
        let mut of_buffer: Vec<(Uuid, Vec<usize>)> = Vec::new();
        for (at, item) in items.iter().enumerate() {
            match of_buffer.iter_mut().find(|(uuid, _)| *uuid == item.buffer) {
                Some((_, places)) => places.push(at),
                None => of_buffer.push((item.buffer, vec![at])),
            }
        }
        let mut asked = Vec::new();
        for (uuid, places) in of_buffer {
            let buffer = self.open(uuid).await?;
            self.begin_consumer(info, &buffer).await?;
            let call = places
                .iter()
                .map(|at| (items[*at].seq, items[*at].lease, items[*at].what));
            let call = ConsumerCall::Settle(call.collect());
            asked.push((places, buffer.ask_consumer(info.uuid, call)));
        }
        let mut results = vec![Settled::Unknown; items.len()];
        for (places, mut asked) in asked {
            let answer = (&mut asked.answer).await;
            let answer = answered(answer.map_err(|_| ConsumerError::Stopping)?)?;
            if let ConsumerAnswer::Settled(settled) = answer {
                for (at, one) in places.into_iter().zip(settled) {
                    results[at] = one;
                }
            }
        }
        Ok(results)
    }

    /// How a consumer stands in each of its buffers.
    pub async fn consumer_status(&self, info: &ConsumerInfo) -> Vec<ConsumerMember> {
        let mut members = Vec::with_capacity(info.members.len());
        for (uuid, name) in &info.members {
            members.push(self.member_status(info, *uuid, name).await);
        }
        members
    }

    async fn member_status(
        &self,
        info: &ConsumerInfo,
        uuid: Uuid,
        name: &hbuf_core::name::Name,
    ) -> ConsumerMember {
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

    /// Moves a consumer in all of its buffers: its leases end.
    pub async fn seek(&self, info: &ConsumerInfo, start: Start) -> Result<(), ConsumerError> {
        start.check()?;
        self.use_consumer(info.uuid);
        for (uuid, _) in &info.members {
            let buffer = self.open(*uuid).await?;
            self.begin_consumer(info, &buffer).await?;
            let after = after(buffer.readable(), start).await?;
            let call = ConsumerCall::Seek(after);
            buffer.call_consumer(info.uuid, call).await?;
        }
        Ok(())
    }

    /// Makes a consumer's configuration hold in every buffer that it reads, as far as they can be
    /// opened; where one is new there, its beginning is on disk then.
    pub(super) async fn begin_everywhere(&self, info: &ConsumerInfo) -> Result<(), ConsumerError> {
        self.use_consumer(info.uuid);
        for (uuid, _) in &info.members {
            let buffer = self.open(*uuid).await?;
            match self.begin_consumer(info, &buffer).await {
                // It begins when the buffer is open again.
                Ok(()) | Err(ConsumerError::Paused) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
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
