//! What every stream of server-sent events says besides its messages.

use bytes::Bytes;

use super::problem::Problem;

/// Says at once that the connection works, and how soon to come back when it breaks.
pub(super) const HELLO: Bytes = Bytes::from_static(b"retry: 1000\n\n");
/// A comment that keeps the connection through a silence.
pub(super) const STILL_HERE: Bytes = Bytes::from_static(b": still here\n\n");

/// The event before the end of a stream that cannot go on.
pub(super) fn problem_event(problem: &Problem) -> Bytes {
    format!("event: problem\ndata: {}\n\n", problem.document()).into()
}
