//! Reading a request's body: bounded in bytes, in time and, over all requests, in memory.
//!
//! A small body arrives in one frame, which is taken as it is, without a copy.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use hbuf_core::limits::{BODIES_BYTES_MAX, BODY_BYTES_UNCOUNTED, BODY_RATE_MIN};
use http::HeaderValue;
use http::header::CONNECTION;
use tokio::time::{Instant, timeout_at};

use super::problem::{Code, Problem};
use super::upload::Upload;

/// What bodies may take: memory over all requests, and time each.
#[derive(Clone, Debug)]
pub(crate) struct Budget {
    /// Bytes of large bodies that are held.
    held: Arc<AtomicU64>,
    patience: Duration,
}

impl Budget {
    pub(crate) fn new(patience: Duration) -> Self {
        Self {
            held: Arc::default(),
            patience,
        }
    }
}

/// A body, with its share of the budget.
#[derive(Debug)]
pub(crate) struct Collected {
    pub(crate) bytes: Bytes,
    _share: Share,
}

#[derive(Debug, Default)]
struct Share {
    budget: Option<Budget>,
    bytes: u64,
}

/// Reads a body of at most `bytes_max`.
pub(crate) async fn collect(
    mut body: Upload,
    bytes_max: u64,
    budget: &Budget,
) -> Result<Collected, Box<Problem>> {
    let claimed = body.claimed();
    if claimed.is_some_and(|claimed| claimed > bytes_max) {
        return Err(too_large(bytes_max));
    }
    let mut share = Share::default();
    share.grow(budget, claimed.unwrap_or(0))?;
    let more = Duration::from_secs(claimed.unwrap_or(bytes_max) / BODY_RATE_MIN);
    let deadline = Instant::now() + budget.patience + more;
    let mut whole = BytesMut::new();
    while let Some(piece) = next(&mut body, deadline).await? {
        if whole.is_empty() && body.is_at_its_end() {
            if piece.len() as u64 > bytes_max {
                return Err(too_large(bytes_max));
            }
            return Ok(Collected {
                bytes: piece,
                _share: share,
            });
        }
        if (whole.len() + piece.len()) as u64 > bytes_max {
            return Err(too_large(bytes_max));
        }
        if whole.is_empty() {
            // What is claimed is only a claim: the memory follows the bytes.
            let room = claimed.unwrap_or(0).min(CLAIM_TRUSTED_MAX);
            whole.reserve(usize::try_from(room).unwrap_or_default());
        }
        whole.extend_from_slice(&piece);
        share.grow(budget, whole.len() as u64)?;
    }
    Ok(Collected {
        bytes: whole.freeze(),
        _share: share,
    })
}

/// A body that is taken in as it comes, and never held as a whole.
#[derive(Debug)]
pub(crate) struct Pieces {
    body: Upload,
    bytes: u64,
    bytes_max: u64,
    deadline: Instant,
    _share: Share,
}

impl Pieces {
    pub(crate) fn new(body: Upload, bytes_max: u64, budget: &Budget) -> Result<Self, Box<Problem>> {
        let claimed = body.claimed();
        if claimed.is_some_and(|claimed| claimed > bytes_max) {
            return Err(too_large(bytes_max));
        }
        let mut share = Share::default();
        share.grow(budget, STREAM_BYTES)?;
        let more = Duration::from_secs(claimed.unwrap_or(bytes_max) / BODY_RATE_MIN);
        Ok(Self {
            body,
            bytes: 0,
            bytes_max,
            deadline: Instant::now() + budget.patience + more,
            _share: share,
        })
    }

    /// The next piece; `None` at the end.
    pub(crate) async fn next(&mut self) -> Result<Option<Bytes>, Box<Problem>> {
        let piece = next(&mut self.body, self.deadline).await?;
        self.bytes += piece.as_ref().map_or(0, |piece| piece.len() as u64);
        if self.bytes > self.bytes_max {
            return Err(too_large(self.bytes_max));
        }
        Ok(piece)
    }
}

/// What a stream counts for: what its reader holds of it at once.
const STREAM_BYTES: u64 = 32 << 20;

/// So much memory is reserved before the bytes are there.
const CLAIM_TRUSTED_MAX: u64 = 1 << 20;

async fn next(body: &mut Upload, deadline: Instant) -> Result<Option<Bytes>, Box<Problem>> {
    loop {
        let frame = timeout_at(deadline, body.frame()).await.map_err(|_| {
            Problem::new(
                Code::RequestSlow,
                "The body did not arrive in time: send it faster, or in smaller requests.",
            )
            .header(CONNECTION, CLOSE)
        })?;
        match frame {
            None => return Ok(None),
            Some(Ok(frame)) => {
                // Trailers say nothing that is known here.
                if let Ok(data) = frame.into_data() {
                    return Ok(Some(data));
                }
            }
            Some(Err(error)) => {
                return Err(Problem::new(
                    Code::BodyCut,
                    format!(
                        "The body cannot be read to its end ({error}): nothing was stored, send it again."
                    ),
                ));
            }
        }
    }
}

impl Share {
    /// Takes what a body of `bytes` needs; small ones need nothing.
    fn grow(&mut self, budget: &Budget, bytes: u64) -> Result<(), Box<Problem>> {
        if bytes <= BODY_BYTES_UNCOUNTED || bytes <= self.bytes {
            return Ok(());
        }
        let more = bytes - self.bytes;
        let before = budget.held.fetch_add(more, Ordering::Relaxed);
        self.bytes = bytes;
        self.budget = Some(budget.clone());
        if before + more > BODIES_BYTES_MAX {
            return Err(Problem::new(
                Code::Overloaded,
                "The bodies of other requests fill the memory set aside for them: try again shortly.",
            ));
        }
        Ok(())
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        if let Some(budget) = &self.budget {
            budget.held.fetch_sub(self.bytes, Ordering::Relaxed);
        }
    }
}

fn too_large(bytes_max: u64) -> Box<Problem> {
    Problem::new(
        Code::BodyTooLarge,
        format!("The body has more than {bytes_max} bytes, the most that is taken here: split it."),
    )
    .fact("max", bytes_max)
    .header(CONNECTION, CLOSE)
}

/// The rest of the body is not read, so nothing can follow it on this connection.
const CLOSE: HeaderValue = HeaderValue::from_static("close");

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_memory_of_large_bodies_is_bounded_and_given_back() {
        let budget = Budget::new(Duration::ZERO);
        let mut small = Share::default();
        small.grow(&budget, BODY_BYTES_UNCOUNTED).unwrap();
        assert_eq!(budget.held.load(Ordering::Relaxed), 0);
        let mut one = Share::default();
        one.grow(&budget, BODIES_BYTES_MAX - 1).unwrap();
        let mut two = Share::default();
        let refused = two.grow(&budget, BODY_BYTES_UNCOUNTED + 1).unwrap_err();
        assert_eq!(refused.code, Code::Overloaded);
        drop(two);
        one.grow(&budget, BODIES_BYTES_MAX).unwrap();
        drop(one);
        assert_eq!(budget.held.load(Ordering::Relaxed), 0);
    }
}
