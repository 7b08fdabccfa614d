//! Refusals of the server: RFC 9457 problems as a typed error.

use std::fmt;

use serde::Deserialize;
use serde_json::{Map, Value};

/// A refusal: what went wrong and what to do about it, in the server's own words.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Problem {
    /// The stable type of the problem; `about:blank` when the answer was no problem document.
    #[serde(rename = "type", default = "blank")]
    pub kind: String,
    /// A short summary of the type.
    #[serde(default)]
    pub title: String,
    /// The HTTP status.
    #[serde(default)]
    pub status: u16,
    /// What happened this time, and what to do.
    #[serde(default)]
    pub detail: String,
    /// Facts of this type of problem, such as the number that the server expected.
    #[serde(flatten)]
    pub facts: Map<String, Value>,
}

impl Problem {
    /// The last part of the type, by which a program tells problems apart: `not-found`,
    /// `seq-mismatch`.
    #[must_use]
    pub fn code(&self) -> &str {
        self.kind
            .rsplit(['/', '#', ':'])
            .next()
            .unwrap_or(&self.kind)
    }

    /// Reads a problem that came in the middle of a stream of events.
    pub(crate) fn from_event(data: &str) -> Self {
        Self::from_line(data.as_bytes())
    }

    /// Reads a problem that stands in a line for one message.
    pub(crate) fn from_line(line: &[u8]) -> Self {
        let status = serde_json::from_slice::<Self>(line).map_or(0, |problem| problem.status);
        let status = http::StatusCode::from_u16(status);
        Self::from_reply(
            status.unwrap_or(http::StatusCode::INTERNAL_SERVER_ERROR),
            line,
        )
    }

    /// Reads an answer's body; one that is no problem document becomes a problem without a type.
    pub(crate) fn from_reply(status: http::StatusCode, body: &[u8]) -> Self {
        if let Ok(mut problem) = serde_json::from_slice::<Self>(body) {
            problem.status = status.as_u16();
            if problem.title.is_empty() {
                problem.title = reason(status);
            }
            return problem;
        }
        let text = String::from_utf8_lossy(&body[..body.len().min(UNTYPED_DETAIL_BYTES_MAX)]);
        Self {
            kind: blank(),
            title: reason(status),
            status: status.as_u16(),
            detail: text.trim().to_owned(),
            facts: Map::new(),
        }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({}", self.title, self.status)?;
        if self.kind != "about:blank" {
            write!(f, ", {}", self.kind)?;
        }
        f.write_str(")")?;
        if !self.detail.is_empty() {
            write!(f, ": {}", self.detail)?;
        }
        Ok(())
    }
}

impl std::error::Error for Problem {}

/// How much of an answer that is no problem document is shown.
const UNTYPED_DETAIL_BYTES_MAX: usize = 400;

fn blank() -> String {
    "about:blank".to_owned()
}

fn reason(status: http::StatusCode) -> String {
    status
        .canonical_reason()
        .unwrap_or("unknown status")
        .to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::StatusCode;

    #[test]
    fn a_problem_document_keeps_type_detail_and_facts() {
        let body = br#"{"type":"/problems/producer-gap","title":"Producer number","status":409,"detail":"Send 7.","expected":7}"#;
        let problem = Problem::from_reply(StatusCode::CONFLICT, body);
        assert_eq!(problem.code(), "producer-gap");
        assert_eq!(problem.facts["expected"], 7);
        assert_eq!(
            problem.to_string(),
            "Producer number (409, /problems/producer-gap): Send 7."
        );
    }

    #[test]
    fn an_answer_of_another_program_becomes_a_problem_without_type() {
        let problem = Problem::from_reply(StatusCode::BAD_GATEWAY, b"<h1>proxy</h1>\n");
        assert_eq!(problem.kind, "about:blank");
        assert_eq!(problem.to_string(), "Bad Gateway (502): <h1>proxy</h1>");
    }
}
