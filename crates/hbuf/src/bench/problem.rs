//! Reads the server's problems (RFC 9457), for counting and for saying what went wrong.

use serde::Deserialize;

/// Longest problem that is kept.
pub(crate) const BYTES_MAX: usize = 64 << 10;

#[derive(Default, Deserialize)]
#[serde(default)]
struct Problem {
    r#type: String,
    title: String,
    detail: String,
}

fn parse(body: &[u8]) -> Problem {
    serde_json::from_slice(body).unwrap_or_default()
}

/// What a refusal is counted as: status and problem type.
pub(crate) fn kind(status: u16, body: &[u8]) -> String {
    let problem = parse(body);
    if problem.r#type.is_empty() {
        return format!("{status} without a problem type");
    }
    format!("{status} {}", problem.r#type)
}

/// A refusal as a sentence.
pub(crate) fn sentence(status: u16, body: &[u8]) -> String {
    let problem = parse(body);
    if problem.r#type.is_empty() {
        let text = String::from_utf8_lossy(&body[..body.len().min(200)]);
        return format!("the server answered {status}: {}", text.trim());
    }
    let Problem {
        r#type,
        title,
        detail,
    } = problem;
    let said = if detail.is_empty() { title } else { detail };
    format!("the server answered {status} ({type}): {said}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_problem_is_counted_by_its_type_and_said_by_its_detail() {
        let body = br#"{"type":"/problems/disk-full","title":"Disk full","detail":"Free space."}"#;
        assert_eq!(kind(507, body), "507 /problems/disk-full");
        let said = sentence(507, body);
        assert_eq!(
            said,
            "the server answered 507 (/problems/disk-full): Free space."
        );
    }

    #[test]
    fn anything_else_is_counted_by_its_status() {
        assert_eq!(kind(502, b"<html>"), "502 without a problem type");
        assert_eq!(
            sentence(502, b"bad gateway\n"),
            "the server answered 502: bad gateway"
        );
    }
}
