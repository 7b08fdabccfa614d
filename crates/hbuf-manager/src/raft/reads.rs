//! Reads that see everything committed before them, by a round of heartbeats (no clock is trusted).
//!
//! The library drops a read without a word when the leader has committed nothing in its term yet,
//! and when it stops to lead (P14). So each try has a name of its own, is made again after a while,
//! and is given up in the end.

use alloc::collections::BTreeMap;
use alloc::vec::Vec;

use super::effect::Effect;
use super::timeout::{ELECTION_TICKS_END, HEARTBEAT_TICKS};

/// Ticks after which a read is tried again.
const RETRY_TICKS: u64 = 2 * HEARTBEAT_TICKS as u64;
/// Ticks after which it is given up.
const GIVE_UP_TICKS: u64 = 2 * ELECTION_TICKS_END as u64;

/// Reads that wait.
#[derive(Clone, Debug, Default)]
pub(super) struct Reads {
    last_try: u64,
    /// By the number of the try.
    open: BTreeMap<u64, Read>,
    /// Proven, but the state is not there yet.
    proven: Vec<(u64, u64)>,
}

#[derive(Clone, Copy, Debug)]
struct Read {
    token: u64,
    age: u64,
}

impl Reads {
    pub(super) fn len(&self) -> usize {
        self.open.len() + self.proven.len()
    }

    /// Takes a read; returns the context of its first try.
    pub(super) fn start(&mut self, token: u64) -> Vec<u8> {
        self.try_again(Read { token, age: 0 })
    }

    fn try_again(&mut self, read: Read) -> Vec<u8> {
        self.last_try += 1;
        self.open.insert(self.last_try, read);
        self.last_try.to_be_bytes().to_vec()
    }

    /// The contexts to try now.
    pub(super) fn tick<S>(&mut self, effects: &mut Vec<Effect<S>>) -> Vec<Vec<u8>> {
        let mut due = Vec::new();
        for (number, read) in &mut self.open {
            read.age += 1;
            if read.age % RETRY_TICKS == 0 {
                due.push(*number);
            }
        }
        let mut contexts = Vec::new();
        for number in due {
            let read = self.open.remove(&number).expect("it was just there");
            if read.age >= GIVE_UP_TICKS {
                effects.push(Effect::ReadFailed { token: read.token });
            } else {
                contexts.push(self.try_again(read));
            }
        }
        contexts
    }

    /// The library proved a try. One that was tried again since is no longer known, and is ignored.
    pub(super) fn prove(&mut self, context: &[u8], index: u64) {
        let Ok(number) = <[u8; 8]>::try_from(context).map(u64::from_be_bytes) else {
            return;
        };
        if let Some(read) = self.open.remove(&number) {
            self.proven.push((read.token, index));
        }
    }

    /// Answers what the state can show.
    pub(super) fn answer<S>(&mut self, applied: u64, effects: &mut Vec<Effect<S>>) {
        self.proven.retain(|&(token, index)| {
            if index <= applied {
                effects.push(Effect::Read { token, index });
            }
            index > applied
        });
    }

    /// Leadership was lost: what is not proven never will be.
    pub(super) fn fail<S>(&mut self, effects: &mut Vec<Effect<S>>) {
        let open = core::mem::take(&mut self.open);
        effects.extend(
            open.values()
                .map(|read| Effect::ReadFailed { token: read.token }),
        );
    }
}
