//! What is appended: headers and a body, and their form inside a batch.

use bytes::Bytes;

/// One message to append.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Message {
    headers: Vec<(String, String)>,
    tags: Vec<String>,
    body: Bytes,
}

/// Why a message cannot be sent.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum MessageError {
    /// A header name that HTTP does not allow.
    #[error("`{name}` is no header name; use letters, digits and `-`")]
    HeaderName {
        /// What was given.
        name: String,
    },
    /// A header value that HTTP does not allow.
    #[error(
        "the value of `{name}` holds a line end or a control character; take it out or percent-encode it"
    )]
    HeaderValue {
        /// The header.
        name: String,
    },
    /// A tag that would read as two, or as none.
    #[error("tag `{tag}` is empty or holds a comma or a control character")]
    Tag {
        /// What was given.
        tag: String,
    },
}

impl Message {
    /// A message without headers.
    pub fn new(body: impl Into<Bytes>) -> Self {
        Self {
            headers: Vec::new(),
            tags: Vec::new(),
            body: body.into(),
        }
    }

    /// Adds a stored header.
    pub fn header(mut self, name: &str, value: &str) -> Result<Self, MessageError> {
        let name = name.trim().to_ascii_lowercase();
        if !is_token(&name) {
            return Err(MessageError::HeaderName { name });
        }
        let value = value.trim();
        if value.bytes().any(is_forbidden) {
            return Err(MessageError::HeaderValue { name });
        }
        self.headers.push((name, value.to_owned()));
        Ok(self)
    }

    /// Sets what kind of content the body is.
    pub fn content_type(self, value: &str) -> Result<Self, MessageError> {
        self.header("content-type", value)
    }

    /// Sets the key; whatever a header cannot hold is percent-encoded.
    #[must_use]
    pub fn key(mut self, key: &str) -> Self {
        self.headers.retain(|(name, _)| name != KEY);
        self.headers.push((KEY.to_owned(), encode_key(key)));
        self
    }

    /// Adds a tag.
    pub fn tag(mut self, tag: &str) -> Result<Self, MessageError> {
        let tag = tag.trim();
        if tag.is_empty() || tag.bytes().any(|byte| byte == b',' || is_forbidden(byte)) {
            return Err(MessageError::Tag {
                tag: tag.to_owned(),
            });
        }
        self.tags.push(tag.to_owned());
        Ok(self)
    }

    /// Replaces the body.
    #[must_use]
    pub fn with_body(mut self, body: impl Into<Bytes>) -> Self {
        self.body = body.into();
        self
    }

    /// Takes the body out.
    #[must_use]
    pub fn into_body(self) -> Bytes {
        self.body
    }

    /// The body.
    #[must_use]
    pub fn body(&self) -> &Bytes {
        &self.body
    }

    /// The headers as they are sent, tags joined into one line.
    pub fn headers(&self) -> impl Iterator<Item = (&str, String)> {
        let own = self
            .headers
            .iter()
            .map(|(name, value)| (name.as_str(), value.clone()));
        own.chain((!self.tags.is_empty()).then(|| (TAG, self.tags.join(", "))))
    }

    /// The bytes that the message takes in a batch.
    #[must_use]
    pub fn encoded_len(&self) -> usize {
        let headers: usize = self
            .headers()
            .map(|(name, value)| name.len() + value.len() + 4)
            .sum();
        let length = self
            .body
            .len()
            .checked_ilog10()
            .map_or(1, |digits| digits as usize + 1);
        INNER_START.len() + length + 2 + headers + 2 + self.body.len() + 2
    }

    fn encode(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(INNER_START.as_bytes());
        out.extend_from_slice(self.body.len().to_string().as_bytes());
        out.extend_from_slice(b"\r\n");
        for (name, value) in self.headers() {
            out.extend_from_slice(name.as_bytes());
            out.extend_from_slice(b": ");
            out.extend_from_slice(value.as_bytes());
            out.extend_from_slice(b"\r\n");
        }
        out.extend_from_slice(b"\r\n");
        out.extend_from_slice(&self.body);
        out.extend_from_slice(b"\r\n");
    }
}

/// The body of a batch append: one HTTP/1.1 request a message, each followed by CRLF as in a
/// segment.
#[must_use]
pub fn encode_batch(messages: &[Message]) -> Bytes {
    let mut out = Vec::with_capacity(messages.iter().map(Message::encoded_len).sum());
    for message in messages {
        message.encode(&mut out);
    }
    Bytes::from(out)
}

pub(crate) const KEY: &str = "x-hbuf-key";
pub(crate) const TAG: &str = "x-hbuf-tag";
const INNER_START: &str = "POST / HTTP/1.1\r\nhost:\r\ncontent-length: ";

fn encode_key(key: &str) -> String {
    let mut encoded = String::with_capacity(key.len());
    for byte in key.bytes() {
        if (0x21..=0x7e).contains(&byte) && byte != b'%' {
            encoded.push(char::from(byte));
        } else {
            encoded.push_str(&format!("%{byte:02X}"));
        }
    }
    encoded
}

fn is_token(name: &str) -> bool {
    !name.is_empty()
        && name
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte))
}

fn is_forbidden(byte: u8) -> bool {
    (byte < 0x20 && byte != b'\t') || byte == 0x7f
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_batch_is_a_run_of_requests_with_crlf_behind_each() {
        let one = Message::new("a\r\nb")
            .key("user 1%")
            .tag("web7")
            .unwrap()
            .tag("eu")
            .unwrap();
        let two = Message::new("")
            .header("Content-Type", "text/plain")
            .unwrap();
        let batch = encode_batch(&[one.clone(), two.clone()]);
        assert_eq!(
            std::str::from_utf8(&batch).unwrap(),
            "POST / HTTP/1.1\r\nhost:\r\ncontent-length: 4\r\nx-hbuf-key: user%201%25\r\n\
             x-hbuf-tag: web7, eu\r\n\r\na\r\nb\r\n\
             POST / HTTP/1.1\r\nhost:\r\ncontent-length: 0\r\ncontent-type: text/plain\r\n\r\n\r\n"
        );
        assert_eq!(batch.len(), one.encoded_len() + two.encoded_len());
    }

    #[test]
    fn what_would_break_the_framing_is_refused() {
        assert!(Message::new("").header("a b", "c").is_err());
        assert!(Message::new("").header("a", "b\r\nc: d").is_err());
        assert!(Message::new("").header("a", "b\0").is_err());
        assert!(Message::new("").tag("a,b").is_err());
        assert!(Message::new("").tag(" ").is_err());
    }

    #[test]
    fn a_second_key_replaces_the_first() {
        let message = Message::new("").key("a").key("b");
        assert_eq!(
            message.headers().collect::<Vec<_>>(),
            [("x-hbuf-key", "b".to_owned())]
        );
    }
}
