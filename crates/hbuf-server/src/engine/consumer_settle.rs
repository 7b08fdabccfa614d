//! What becomes of messages that were handed out: acks, nacks, extended leases, and messages that
//! reach no worker.

use std::sync::Arc;

use hbuf_core::buffer::{ConsumerAnswer, ConsumerCall};
use hbuf_core::consumer::{Settled, Settling};
use hbuf_core::ids::Uuid;

use super::Engine;
use super::consumer_asks::Asked;
use super::consumer_calls::{ConsumerError, Handed, Settle, SettleResult};
use super::consumer_catalog::ConsumerInfo;

impl Engine {
    /// Says what becomes of messages that were handed out; an ack is on disk when it is answered.
    /// What is asked of the consumer from now on comes behind it.
    pub async fn settle(&self, info: &ConsumerInfo, items: &[Settle]) -> BeingSettled {
        self.use_consumer(info.uuid);
        let mut of_buffer: Vec<(Uuid, Vec<usize>)> = Vec::new();
        for (at, item) in items.iter().enumerate() {
            match of_buffer.iter_mut().find(|(uuid, _)| *uuid == item.buffer) {
                Some((_, places)) => places.push(at),
                None => of_buffer.push((item.buffer, vec![at])),
            }
        }
        let mut asked = Vec::with_capacity(of_buffer.len());
        for (uuid, places) in of_buffer {
            let call = places
                .iter()
                .map(|at| (items[*at].seq, items[*at].lease, items[*at].what));
            let call = ConsumerCall::Settle(call.collect());
            asked.push((places, self.ask_member(info, uuid, call).await));
        }
        BeingSettled {
            count: items.len(),
            asked,
        }
    }

    /// Gives messages back that were handed out and reach nobody: they come again at once.
    pub async fn give_back(&self, info: &ConsumerInfo, handed: &Handed) {
        let leased = handed.messages.iter();
        let items = leased.filter_map(|one| {
            Some(Settle {
                buffer: one.buffer,
                seq: one.seq,
                lease: one.lease?,
                what: Settling::Return,
            })
        });
        let items: Vec<Settle> = items.collect();
        // Where it cannot be taken back, its lease lapses.
        drop(self.settle(info, &items).await);
    }

    async fn ask_member(
        &self,
        info: &ConsumerInfo,
        uuid: Uuid,
        call: ConsumerCall,
    ) -> Result<Asked, ConsumerError> {
        let buffer = self.begun_member(info, uuid).await?;
        Ok(buffer.ask_consumer(info.uuid, call))
    }
}

/// Messages that are being settled: their buffers were told.
pub struct BeingSettled {
    count: usize,
    /// For each buffer the places of its items, and what it was asked.
    asked: Vec<(Vec<usize>, Result<Asked, ConsumerError>)>,
}

impl BeingSettled {
    /// What came of each. A buffer that cannot take its part hides nothing of what the others did:
    /// the error is the answer only when none took any.
    pub async fn results(self) -> Result<Vec<SettleResult>, ConsumerError> {
        let mut results = vec![Ok(Settled::Unknown); self.count];
        let (mut taken, mut refused) = (self.asked.is_empty(), None);
        for (places, asked) in self.asked {
            match settled(asked).await {
                Ok(settled) => {
                    taken = true;
                    for (at, one) in places.into_iter().zip(settled) {
                        results[at] = Ok(one);
                    }
                }
                // These are not of one buffer.
                Err(error @ (ConsumerError::Gone | ConsumerError::Stopping)) => return Err(error),
                Err(error) => {
                    let error = Arc::new(error);
                    for at in places {
                        results[at] = Err(Arc::clone(&error));
                    }
                    refused.get_or_insert(error);
                }
            }
        }
        match refused {
            Some(error) if !taken => {
                drop(results);
                Err(Arc::into_inner(error).expect("the results that shared it are gone"))
            }
            _ => Ok(results),
        }
    }
}

async fn settled(asked: Result<Asked, ConsumerError>) -> Result<Vec<Settled>, ConsumerError> {
    match asked?.answered().await? {
        ConsumerAnswer::Settled(settled) => Ok(settled),
        _ => Ok(Vec::new()),
    }
}
