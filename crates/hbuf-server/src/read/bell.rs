//! One waiter for many buffers: whoever reads several at once is woken by the first that moves.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Weak};

use tokio::sync::Notify;

use super::Readable;
use super::shared::lock;

/// Rings when one of the buffers that it hangs at has committed something, or was closed.
#[derive(Debug, Default)]
pub(crate) struct Bell {
    rung: AtomicBool,
    waiter: Notify,
}

impl Bell {
    fn ring(&self) {
        if !self.rung.swap(true, Ordering::AcqRel) {
            self.waiter.notify_one();
        }
    }

    /// Waits until it has rung since the last answer. A call that is dropped loses nothing.
    pub(crate) async fn rung(&self) {
        while !self.rung.load(Ordering::Acquire) {
            self.waiter.notified().await;
        }
        self.rung.store(false, Ordering::Release);
    }
}

impl Readable {
    /// Hangs a bell here; it rings for every commit that is not seen by a look at the commit behind
    /// this call. It falls off when its owner drops it.
    pub(crate) fn hang(&self, bell: &Arc<Bell>) {
        lock(&self.bells).push(Arc::downgrade(bell));
    }

    /// Rings what hangs here.
    pub(super) fn ring(&self) {
        let mut bells = lock(&self.bells);
        if bells.is_empty() {
            return;
        }
        bells.retain(|bell| match Weak::upgrade(bell) {
            Some(bell) => {
                bell.ring();
                true
            }
            None => false,
        });
        if bells.is_empty() {
            bells.shrink_to_fit();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_bell_rings_once_for_all_that_happened_since() {
        let bell = Bell::default();
        bell.ring();
        bell.ring();
        bell.rung().await;
        let again = tokio::time::timeout(std::time::Duration::ZERO, bell.rung()).await;
        assert!(again.is_err(), "nothing happened since");
        bell.ring();
        bell.rung().await;
    }
}
