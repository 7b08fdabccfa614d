//! The body of a request as it arrives.
//!
//! Over HTTP/2 a reply before the end of the body makes the server reset the stream, and clients
//! (curl 7.88 is one) report that instead of the reply. So whatever is not read of a body is taken
//! and thrown away for a while, as `socket.rs` does for HTTP/1.1.

use std::time::Duration;

use hbuf_core::limits::LINGER_SECONDS_MAX;
use http::Version;
use http_body_util::BodyExt;
use hyper::body::{Body as _, Bytes, Frame, Incoming};
use tokio::runtime::Handle;
use tokio::time::timeout;

/// A body that may be dropped before its end.
#[derive(Debug)]
pub(crate) struct Upload {
    /// Always there until it is dropped.
    body: Option<Incoming>,
    lingers: bool,
}

impl Upload {
    pub(crate) fn new(body: Incoming, version: Version) -> Self {
        Self {
            body: Some(body),
            lingers: version == Version::HTTP_2,
        }
    }

    /// The next frame; `None` at the end.
    pub(crate) async fn frame(&mut self) -> Option<Result<Frame<Bytes>, hyper::Error>> {
        self.body.as_mut()?.frame().await
    }

    /// How many bytes are to come, if the head says so.
    pub(crate) fn claimed(&self) -> Option<u64> {
        self.body.as_ref()?.size_hint().exact()
    }

    /// Whether nothing is to come.
    pub(crate) fn is_at_its_end(&self) -> bool {
        self.body.as_ref().is_none_or(Incoming::is_end_stream)
    }
}

impl Drop for Upload {
    fn drop(&mut self) {
        if !self.lingers || self.is_at_its_end() {
            return;
        }
        let (Some(mut body), Ok(runtime)) = (self.body.take(), Handle::try_current()) else {
            return;
        };
        // Bounded in memory by the window of the stream, and in number by the open streams.
        runtime.spawn(async move {
            let rest = async { while let Some(Ok(_)) = body.frame().await {} };
            let _ = timeout(Duration::from_secs(LINGER_SECONDS_MAX), rest).await;
        });
    }
}
