//! Messages as lines of JSON: the form that a read gives is the form that an append takes.

use bytes::Bytes;
use hbuf_core::content::{Source, stored_lines};
use hbuf_core::limits::{BATCH_MESSAGES_MAX, BODY_BYTES_MAX};
use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::Value;

use super::json::{encode_key, from_base64};
use super::object::Object;
use super::problem::{Code, Problem};

/// How the lines of a request are to be taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Lines {
    /// Each is an object that describes a message.
    Messages,
    /// Each is a body.
    Bodies,
}

/// The stored header lines and the body of one message.
pub(crate) type Parsed = (Bytes, Bytes);

/// A line, as the reference describes it. What a read adds is passed over, so that what was read
/// can be appended elsewhere as it is.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Line {
    body: Option<Value>,
    body_base64: Option<String>,
    key: Option<String>,
    key_base64: Option<String>,
    #[serde(default)]
    tags: Vec<String>,
    #[serde(default)]
    headers: serde_json::Map<String, Value>,
    content_type: Option<String>,
    erased: Option<bool>,
    kind: Option<String>,
    #[serde(rename = "buffer")]
    _buffer: Option<IgnoredAny>,
    cursor: Option<IgnoredAny>,
    #[serde(rename = "gaps")]
    _gaps: Option<IgnoredAny>,
    #[serde(rename = "seq")]
    _seq: Option<IgnoredAny>,
    #[serde(rename = "id")]
    _id: Option<IgnoredAny>,
    #[serde(rename = "time")]
    _time: Option<IgnoredAny>,
    #[serde(rename = "epoch")]
    _epoch: Option<IgnoredAny>,
}

/// Takes a batch of lines apart. All or nothing: the first bad line refuses the whole.
pub(crate) fn parse(body: &Bytes, lines: Lines) -> Result<Vec<Parsed>, Box<Problem>> {
    let mut messages = Vec::new();
    let given = body
        .split(|&byte| byte == b'\n')
        .map(|line| line.trim_ascii());
    for line in given.filter(|line| !line.is_empty()) {
        let index = messages.len();
        if index == BATCH_MESSAGES_MAX {
            let most = format!("more than {BATCH_MESSAGES_MAX} messages: send several batches");
            return Err(refused(index, &most));
        }
        let parsed = match lines {
            Lines::Messages => message(line),
            Lines::Bodies => plain(line, body).map(Some),
        };
        messages.extend(parsed.map_err(|why| refused(index, &why))?);
    }
    if messages.is_empty() {
        return Err(refused(0, "the batch is empty: send at least one line"));
    }
    Ok(messages)
}

/// The refusal of a batch for one of its messages.
pub(super) fn refused(index: usize, why: &str) -> Box<Problem> {
    Problem::new(
        Code::BatchInvalid,
        format!("message {index} of the batch (counting from 0): {why}. Nothing was stored."),
    )
    .fact("index", index)
}

/// A line that is a body.
fn plain(line: &[u8], whole: &Bytes) -> Result<Parsed, String> {
    serde_json::from_slice::<IgnoredAny>(line).map_err(|error| format!("no JSON, {error}"))?;
    check_length(line)?;
    let lines = Bytes::from_static(b"content-type: application/json\r\n");
    Ok((lines, whole.slice_ref(line)))
}

/// A message; nothing when the line is where a read of a topic ended.
fn message(text: &[u8]) -> Result<Option<Parsed>, String> {
    let Object(line): Object<Line> = serde_json::from_slice(text).map_err(|error| {
        format!(
            "{error}; a line is an object with `body` or `body_base64`, and `key`, `tags`, `headers`, \
             `content_type` where wanted; ?lines=bodies takes each line as a body"
        )
    })?;
    if line.cursor.is_some() {
        return Ok(None);
    }
    if line.erased == Some(true) {
        return Err("the message was erased and has no content left: leave the line out".into());
    }
    if line.kind.as_deref().is_some_and(|kind| kind != "data") {
        return Err("a record of the server's own cannot be appended: leave the line out".into());
    }
    let mut headers = headers(&line)?;
    let body = match (line.body, line.body_base64) {
        (Some(_), Some(_)) => return Err("`body` and `body_base64` are both there".into()),
        (None, None) => return Err("neither `body` nor `body_base64` is there".into()),
        (Some(Value::String(text)), None) => Bytes::from(text),
        (Some(value), None) => {
            if !headers.iter().any(|(name, _)| name == "content-type") {
                headers.push(("content-type".into(), b"application/json".to_vec()));
            }
            Bytes::from(value.to_string())
        }
        (None, Some(text)) => {
            let bytes = from_base64(&text);
            Bytes::from(bytes.ok_or("`body_base64` is not base64 with padding")?)
        }
    };
    check_length(&body)?;
    let mut lines = Vec::new();
    let pairs = headers
        .iter()
        .map(|(name, value)| (name.as_str(), value.as_slice()));
    stored_lines(pairs, Source::Inner, &mut lines).map_err(|error| error.to_string())?;
    Ok(Some((Bytes::from(lines), body)))
}

fn headers(line: &Line) -> Result<Vec<(String, Vec<u8>)>, String> {
    let mut headers = Vec::new();
    for (name, value) in &line.headers {
        let Value::String(value) = value else {
            return Err(format!("the header `{name}` is not a string"));
        };
        let name = name.to_ascii_lowercase();
        if matches!(
            name.as_str(),
            "x-hbuf-key" | "x-hbuf-tag" | "content-length" | "transfer-encoding"
        ) {
            return Err(format!(
                "`{name}` does not belong into `headers`: use `key`, `tags`, `body`"
            ));
        }
        headers.push((name, value.clone().into_bytes()));
    }
    if let Some(content_type) = &line.content_type {
        headers.push(("content-type".into(), content_type.clone().into_bytes()));
    }
    match (&line.key, &line.key_base64) {
        (Some(_), Some(_)) => return Err("`key` and `key_base64` are both there".into()),
        (Some(key), None) => headers.push(("x-hbuf-key".into(), encode_key(key.as_bytes()))),
        (None, Some(text)) => {
            let key = from_base64(text).ok_or("`key_base64` is not base64 with padding")?;
            headers.push(("x-hbuf-key".into(), encode_key(&key)));
        }
        (None, None) => {}
    }
    if let Some(tag) = line
        .tags
        .iter()
        .find(|tag| tag.contains(',') || tag.trim().is_empty())
    {
        return Err(format!("the tag {tag:?} is empty or holds a comma"));
    }
    if !line.tags.is_empty() {
        headers.push(("x-hbuf-tag".into(), line.tags.join(", ").into_bytes()));
    }
    Ok(headers)
}

fn check_length(body: &[u8]) -> Result<(), String> {
    if body.len() as u64 > BODY_BYTES_MAX {
        return Err(format!(
            "the body has more than {BODY_BYTES_MAX} bytes: split the message"
        ));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &'static str, lines: &str, body: &str) {
        let parsed = parse(&Bytes::from_static(text.as_bytes()), Lines::Messages).unwrap();
        assert_eq!(parsed.len(), 1, "{text}");
        assert_eq!(
            parsed[0],
            (Bytes::from(lines.to_owned()), Bytes::from(body.to_owned())),
            "{text}"
        );
    }

    fn refusal(text: &'static str, lines: Lines) -> String {
        let problem = parse(&Bytes::from_static(text.as_bytes()), lines).unwrap_err();
        assert_eq!(problem.code, Code::BatchInvalid);
        problem.document()["detail"].as_str().unwrap().to_owned()
    }

    #[test]
    fn a_line_becomes_a_message() {
        check(r#"{"body":"hello"}"#, "", "hello");
        check(r#"{"body_base64":"aGk="}"#, "", "hi");
        check(
            r#"{"body":{"a":[1]}}"#,
            "content-type: application/json\r\n",
            r#"{"a":[1]}"#,
        );
        check(
            r#"{"body":"x","key":"user 1%","tags":["a","b"],"content_type":"text/plain","headers":{"X-Own":"1"}}"#,
            "x-hbuf-key: user%201%25\r\nx-hbuf-tag: a, b\r\ncontent-type: text/plain\r\nx-own: 1\r\n",
            "x",
        );
        check(
            r#"{"seq":7,"time":"t","epoch":1,"id":"00","body":"again","headers":{"content-type":"a/b"}}"#,
            "content-type: a/b\r\n",
            "again",
        );
    }

    #[test]
    fn a_line_may_be_a_body() {
        let body = Bytes::from_static(b"{\"level\":\"info\"}\r\n\n[1]\n");
        let parsed = parse(&body, Lines::Bodies).unwrap();
        assert_eq!(parsed[0].1, "{\"level\":\"info\"}");
        assert_eq!(
            parsed[1],
            (
                Bytes::from_static(b"content-type: application/json\r\n"),
                Bytes::from_static(b"[1]")
            )
        );
        assert!(refusal("{}\nno", Lines::Bodies).contains("message 1 "));
    }

    #[test]
    fn one_bad_line_refuses_the_whole_and_is_named() {
        for (text, part) in [
            ("{\"body\":\"a\"}\n{\"level\":\"info\"}", "message 1 "),
            ("{}", "neither"),
            ("\n \n", "empty"),
            (r#"{"body":"a","body_base64":""}"#, "both"),
            (r#"{"body_base64":"a"}"#, "base64"),
            (r#"{"body":"a","tags":["a,b"]}"#, "comma"),
            (r#"{"body":"a","headers":{"a b":"c"}}"#, "not a header name"),
            (
                r#"{"body":"a","headers":{"a":"b\r\nc: d"}}"#,
                "control character",
            ),
            (r#"{"body":"a","headers":{"a":1}}"#, "not a string"),
            (r#"{"body":"a","headers":{"x-hbuf-kind":"erase"}}"#, "erase"),
            (
                r#"{"body":"a","content_type":"a","headers":{"content-type":"b"}}"#,
                "twice",
            ),
            (r#"{"erased":true}"#, "erased"),
            (r#"{"body":"a","key":""}"#, "empty"),
            ("nonsense", "object"),
        ] {
            let detail = refusal(text, Lines::Messages);
            assert!(detail.contains(part), "{text}: {detail}");
        }
    }
}
