//! The headers that say how to append, not what.

use hbuf_core::append::AckLevel;
use hbuf_core::buffer::Demands;
use hbuf_core::ids::Seq;
use hbuf_core::limits::IDEMPOTENCY_KEY_BYTES_MAX;
use hbuf_core::record::Producer;
use http::header::{HeaderMap, HeaderName, IF_MATCH};

use crate::http::call::{parse_seq, shown, single};
use crate::http::problem::{Code, Problem};

/// What a client asks of an append.
#[derive(Debug, Default)]
pub(super) struct Controls {
    pub(super) ack: AckLevel,
    pub(super) if_match: Option<Seq>,
    pub(super) producer: Option<Producer>,
    pub(super) idempotency_key: Option<Vec<u8>>,
}

impl Controls {
    /// What the append demands of the log.
    pub(super) const fn demands(&self) -> Demands<'_> {
        Demands {
            if_match: self.if_match,
            producer: self.producer.as_ref(),
        }
    }

    pub(super) fn read(headers: &HeaderMap) -> Result<Self, Box<Problem>> {
        let mut controls = Self::default();
        if let Some(text) = single(headers, &ACK)? {
            controls.ack = AckLevel::parse(text).ok_or_else(|| {
                invalid(format!(
                    "`x-hbuf-ack: {}` is no level: send insync, local or none.",
                    shown(text)
                ))
            })?;
        }
        if let Some(text) = single(headers, &IF_MATCH)? {
            controls.if_match = Some(end(text).ok_or_else(|| {
                invalid(format!(
                    "`if-match: {}` is not the last seq of the log in quotes: send for example `if-match: \"42\"`.",
                    shown(text)
                ))
            })?);
        }
        if let Some(text) = single(headers, &PRODUCER)? {
            controls.producer = Some(Producer::parse(text.as_bytes()).ok_or_else(|| {
                invalid(format!(
                    "`x-hbuf-producer: {}` is not `<id>/<epoch>/<number>`: send for example `x-hbuf-producer: \
                     loader-1/0/7`.",
                    shown(text)
                ))
            })?);
        }
        if let Some(text) = single(headers, &IDEMPOTENCY_KEY)? {
            if text.is_empty() || text.len() > IDEMPOTENCY_KEY_BYTES_MAX {
                return Err(invalid(format!(
                    "`idempotency-key` has {} bytes: send 1 to {IDEMPOTENCY_KEY_BYTES_MAX}.",
                    text.len()
                )));
            }
            controls.idempotency_key = Some(text.as_bytes().to_vec());
        }
        if controls.producer.is_some() && controls.idempotency_key.is_some() {
            return Err(invalid(
                "`x-hbuf-producer` and `idempotency-key` both make a retry safe: send one of them."
                    .into(),
            ));
        }
        Ok(controls)
    }
}

fn end(text: &str) -> Option<Seq> {
    parse_seq(text.strip_prefix('"')?.strip_suffix('"')?)
}

fn invalid(detail: String) -> Box<Problem> {
    Problem::new(Code::HeaderInvalid, detail)
}

const ACK: HeaderName = HeaderName::from_static("x-hbuf-ack");
const PRODUCER: HeaderName = HeaderName::from_static("x-hbuf-producer");
const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderValue;

    fn read(headers: &[(&'static str, &'static str)]) -> Result<Controls, Box<Problem>> {
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.append(*name, HeaderValue::from_static(value));
        }
        Controls::read(&map)
    }

    #[test]
    fn controls_are_read() {
        let controls = read(&[("x-hbuf-ack", "local"), ("if-match", "\"42\"")]).unwrap();
        assert_eq!(controls.ack, AckLevel::Local);
        assert_eq!(controls.if_match, Some(Seq(42)));
        let controls = read(&[("x-hbuf-producer", "p/1/7")]).unwrap();
        assert_eq!(controls.producer.unwrap().number, 7);
        let controls = read(&[("idempotency-key", "\"k\"")]).unwrap();
        assert_eq!(controls.idempotency_key.unwrap(), b"\"k\"");
        assert_eq!(read(&[]).unwrap().ack, AckLevel::InSync);
    }

    #[test]
    fn controls_that_mean_nothing_are_refused() {
        for headers in [
            &[("x-hbuf-ack", "all")][..],
            &[("x-hbuf-ack", "local"), ("x-hbuf-ack", "local")],
            &[("if-match", "42")],
            &[("if-match", "*")],
            &[("if-match", "W/\"42\"")],
            &[("if-match", "\"-1\"")],
            &[("if-match", "\"9223372036854775809\"")],
            &[("x-hbuf-producer", "p/1")],
            &[("x-hbuf-producer", "p/18446744073709551616/1")],
            &[("x-hbuf-producer", "/1/1")],
            &[("idempotency-key", "")],
            &[("idempotency-key", "a"), ("x-hbuf-producer", "p/1/7")],
        ] {
            assert_eq!(
                read(headers).unwrap_err().code,
                Code::HeaderInvalid,
                "{headers:?}"
            );
        }
    }
}
