//! The account of a consumer in a buffer that another primary leads from now on.

use hbuf_core::ids::Seq;

use super::{Done, Ledger};

impl Ledger {
    /// The account in an epoch that begins now. It follows from the one of the epoch before; any
    /// of those before may have left records which that one never saw.
    pub(crate) fn heir(earlier: &[&Self]) -> Option<Self> {
        let (last, others) = earlier.split_last()?;
        let mut heir = (*last).clone();
        let moving = others.iter().filter(|other| !other.before.is_empty());
        heir.before.extend(moving.map(|other| (*other).clone()));
        heir.reopened();
        for other in others {
            for look in &other.looks {
                if !heir.looks.contains(look) {
                    heir.looks.push(look.clone());
                }
            }
            for (seq, fate) in &other.fates {
                let own = heir.fates.entry(*seq).or_default();
                if fate.done != Done::No && own.done == Done::No {
                    own.done = Done::Perhaps;
                }
            }
            heir.lost_max = heir.lost_max.max(other.lost_max);
        }
        Some(heir)
    }

    /// An ack of a message was answered in an earlier epoch: it holds in this one too.
    pub(crate) fn acked_before(&mut self, seq: Seq) {
        let fate = self.fates.entry(seq).or_default();
        if fate.done == Done::Perhaps {
            fate.done = Done::Surely;
        }
    }
}
