//! The values of a body of JSON: each is a message, as the very bytes that came.

use std::fmt;

use bytes::Bytes;
use hbuf_core::limits::STREAM_MESSAGES_MAX;
use serde::de::{Deserialize, Deserializer, Error, SeqAccess, Visitor};
use serde_json::value::RawValue;

use crate::http::problem::{Code, Problem};

/// Takes one level of an array apart; any other value is one message. Only bodies of an empty array
/// have none.
pub(super) fn split(body: &Bytes) -> Result<Vec<Bytes>, Box<Problem>> {
    let trimmed = body.trim_ascii();
    let values = if trimmed.first() == Some(&b'[') {
        serde_json::from_slice::<Values<'_>>(trimmed).map(|values| values.0)
    } else {
        serde_json::from_slice::<&RawValue>(trimmed).map(|value| vec![value])
    };
    let values = values.map_err(|error| {
        Problem::new(
            Code::BodyInvalid,
            format!(
                "The stream takes JSON, and the body is none that it can take: {error}. Nothing was stored."
            ),
        )
    })?;
    let message = |value: &RawValue| body.slice_ref(value.get().as_bytes());
    Ok(values.into_iter().map(message).collect())
}

/// The elements of an array, at most as many as one append may have.
struct Values<'a>(Vec<&'a RawValue>);

impl<'de: 'a, 'a> Deserialize<'de> for Values<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Elements;

        impl<'de> Visitor<'de> for Elements {
            type Value = Vec<&'de RawValue>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an array")
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut array: A) -> Result<Self::Value, A::Error> {
                let mut values = Vec::new();
                while let Some(value) = array.next_element()? {
                    if values.len() == STREAM_MESSAGES_MAX {
                        return Err(A::Error::custom(format!(
                            "the array has more than {STREAM_MESSAGES_MAX} elements, send several requests"
                        )));
                    }
                    values.push(value);
                }
                Ok(values)
            }
        }

        deserializer.deserialize_seq(Elements).map(Self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(body: &str) -> Result<Vec<String>, Code> {
        let values = split(&Bytes::from(body.to_owned())).map_err(|problem| problem.code)?;
        let text = |value: &Bytes| String::from_utf8(value.to_vec()).unwrap();
        Ok(values.iter().map(text).collect())
    }

    #[test]
    fn one_level_of_an_array_is_taken_apart_and_every_value_stays_as_it_came() {
        let check =
            |body: &str, expected: &[&str]| assert_eq!(texts(body).unwrap(), expected, "{body}");
        check("{\"a\": 1.50}", &["{\"a\": 1.50}"]);
        check(
            " [1, [2,3], \"x\", null ]\n",
            &["1", "[2,3]", "\"x\"", "null"],
        );
        check("[[1,2]]", &["[1,2]"]);
        check("[]", &[]);
        check("12345678901234567890123", &["12345678901234567890123"]);
    }

    #[test]
    fn what_is_no_json_is_refused() {
        for body in ["", " ", "{", "[1,]", "[1] 2", "{\"a\":\"\u{1}\"}", "nul"] {
            assert_eq!(texts(body), Err(Code::BodyInvalid), "{body}");
        }
        assert!(split(&Bytes::from_static(b"\"\xff\"")).is_err());
    }

    #[test]
    fn an_array_has_a_bound() {
        let array = |count: usize| format!("[{}]", vec!["1"; count].join(","));
        assert_eq!(
            texts(&array(STREAM_MESSAGES_MAX)).unwrap().len(),
            STREAM_MESSAGES_MAX
        );
        assert_eq!(
            texts(&array(STREAM_MESSAGES_MAX + 1)),
            Err(Code::BodyInvalid)
        );
    }
}
