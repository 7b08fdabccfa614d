//! A request on its way to its handler: the names in its path, its query, its headers.

use std::borrow::Cow;
use std::sync::{Arc, LazyLock};

use bytes::Bytes;
use hbuf_core::ids::Seq;
use hbuf_core::name::Name;
use http::header::{CONTENT_ENCODING, IF_NONE_MATCH};
use http::request::Parts;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Response};
use serde::de::DeserializeOwned;

use super::App;
use super::body::Body;
use super::collect::{Pieces, collect};
use super::file_ranges::FileRanges;
use super::object::Object;
use super::problem::{Code, Problem};
use super::upload::Upload;

/// What a handler gives.
pub(crate) type Reply = Result<Response<Body>, Box<Problem>>;

/// A request with its path taken apart.
pub(crate) struct Call {
    pub(crate) app: Arc<App>,
    pub(crate) parts: Parts,
    pub(crate) body: Upload,
    /// The names that stand in the braces of the route's pattern, in order.
    pub(crate) params: Params,
    /// The tenant, when the path names one.
    pub(crate) tenant: Option<Name>,
    /// Where ranges of files may be put on the connection; none in HTTP/2.
    pub(crate) ranges: Option<FileRanges>,
}

/// At most two names stand in a pattern.
#[derive(Debug, Default)]
pub(crate) struct Params(pub(crate) [Box<str>; 2]);

static DEFAULT_TENANT: LazyLock<Name> = LazyLock::new(Name::default_tenant);

impl Call {
    /// The tenant of the request.
    pub(crate) fn tenant(&self) -> &Name {
        tenant_or_default(self.tenant.as_ref())
    }

    /// The first name of the path, unchecked: looking up a name that is none finds nothing.
    pub(crate) fn name(&self) -> &str {
        &self.params.0[0]
    }

    /// The first name of the path, checked, for whoever creates it.
    pub(crate) fn new_name(&self) -> Result<Name, Box<Problem>> {
        parse_name(self.name())
    }

    /// The second name of the path, unchecked.
    pub(crate) fn second_name(&self) -> &str {
        &self.params.0[1]
    }

    /// The seq that is the second name of the path.
    pub(crate) fn seq(&self) -> Result<Seq, Box<Problem>> {
        match parse_seq(&self.params.0[1]) {
            Some(seq) if seq > Seq::ZERO => Ok(seq),
            _ => Err(Problem::new(
                Code::SeqInvalid,
                format!(
                    "`{}` is not the number of a message: write 1 or more, in decimal digits, at most {}.",
                    shown(&self.params.0[1]),
                    Seq::MAX
                ),
            )),
        }
    }

    /// Whether only the head of the reply is wanted.
    pub(crate) fn is_head(&self) -> bool {
        self.parts.method == Method::HEAD
    }

    pub(crate) fn headers(&self) -> &HeaderMap {
        &self.parts.headers
    }

    /// The query, of which only these names are understood.
    pub(crate) fn query(&self, known: &[&str]) -> Result<Query<'_>, Box<Problem>> {
        Query::parse(self.parts.uri.query().unwrap_or_default(), known)
    }

    /// The whole body, at most `bytes_max` of it, which is read as it is.
    pub(crate) async fn bytes(self, bytes_max: u64) -> Result<Bytes, Box<Problem>> {
        uncoded(self.headers())?;
        collect(self.body, bytes_max, &self.app.budget)
            .await
            .map(|collected| collected.bytes)
    }

    /// The body in pieces as they come, at most `bytes_max` of it, which are read as they are.
    pub(crate) fn into_pieces(self, bytes_max: u64) -> Result<Pieces, Box<Problem>> {
        uncoded(self.headers())?;
        Pieces::new(self.body, bytes_max, &self.app.budget)
    }

    /// The body, an object of JSON; nothing reads as `empty`.
    pub(crate) async fn json<T: DeserializeOwned>(
        self,
        empty: &'static str,
    ) -> Result<T, Box<Problem>> {
        let bytes = self.bytes(SETTINGS_BYTES_MAX).await?;
        let text = if bytes.trim_ascii().is_empty() {
            empty.as_bytes()
        } else {
            &bytes[..]
        };
        let invalid = |what: String| {
            let detail = format!("The body is not the JSON that is expected here: {what}.");
            Problem::new(Code::BodyInvalid, detail)
        };
        let Object(read) =
            serde_json::from_slice(text).map_err(|error| invalid(error.to_string()))?;
        Ok(read)
    }
}

/// Whether a body is said to stand for other bytes than its own.
pub(crate) fn is_coded(headers: &HeaderMap) -> bool {
    let mut codings = headers.get_all(CONTENT_ENCODING).iter();
    codings.any(|coding| !coding.as_bytes().eq_ignore_ascii_case(b"identity"))
}

fn uncoded(headers: &HeaderMap) -> Result<(), Box<Problem>> {
    if is_coded(headers) {
        return Err(Problem::new(
            Code::ContentTypeUnsupported,
            "The body is taken without `content-encoding`: send it as it is. Nothing was changed.",
        ));
    }
    Ok(())
}

/// Whether the client knows this representation already (`if-none-match`), by the weak comparison.
pub(crate) fn etag_is_known(headers: &HeaderMap, tag: &HeaderValue) -> bool {
    let strip = |tag: &str| tag.trim().trim_start_matches("W/").to_owned();
    let tag = strip(tag.to_str().unwrap_or_default());
    headers
        .get_all(IF_NONE_MATCH)
        .iter()
        .filter_map(|known| known.to_str().ok())
        .flat_map(|known| known.split(','))
        .any(|one| one.trim() == "*" || strip(one) == tag)
}

/// The tenant that a path names, or the default one.
pub(crate) fn tenant_or_default(tenant: Option<&Name>) -> &Name {
    tenant.unwrap_or(&DEFAULT_TENANT)
}

/// Longest body of a request that configures something: a topic's names, each of the longest, with
/// room around them.
const SETTINGS_BYTES_MAX: u64 = 256 << 10;

/// Checks a name.
pub(crate) fn parse_name(text: &str) -> Result<Name, Box<Problem>> {
    Name::parse(text).map_err(|error| {
        Problem::new(
            Code::NameInvalid,
            format!("`{}` is no name: {error}.", shown(text)),
        )
    })
}

/// Reads a seq: decimal digits, no sign, no leading zeros needed, at most [`Seq::MAX`].
pub(crate) fn parse_seq(text: &str) -> Option<Seq> {
    if text.is_empty() || !text.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    text.parse().ok().map(Seq).filter(|&seq| seq <= Seq::MAX)
}

/// The one value of a header that may come once.
pub(crate) fn single<'a>(
    headers: &'a HeaderMap,
    name: &HeaderName,
) -> Result<Option<&'a str>, Box<Problem>> {
    let mut values = headers.get_all(name).iter();
    let Some(value) = values.next() else {
        return Ok(None);
    };
    if values.next().is_some() {
        return Err(Problem::new(
            Code::HeaderInvalid,
            format!("`{name}` came twice: send it once."),
        ));
    }
    let text = value.to_str().map_err(|_| {
        Problem::new(
            Code::HeaderInvalid,
            format!("`{name}` holds other bytes than visible ASCII."),
        )
    })?;
    Ok(Some(text.trim()))
}

/// Names and values of a query, percent-decoded.
#[derive(Debug)]
pub(crate) struct Query<'a>(Vec<(Cow<'a, str>, Cow<'a, str>)>);

impl<'a> Query<'a> {
    fn parse(text: &'a str, known: &[&str]) -> Result<Self, Box<Problem>> {
        let mut pairs = Vec::new();
        for part in text.split('&').filter(|part| !part.is_empty()) {
            let (name, value) = part.split_once('=').unwrap_or((part, ""));
            let (name, value) = (decode(name, true), decode(value, true));
            let (Some(name), Some(value)) = (name, value) else {
                return Err(Problem::new(
                    Code::QueryInvalid,
                    format!("`{}` is not percent-encoded UTF-8.", shown(part)),
                ));
            };
            if !known.contains(&name.as_ref()) {
                return Err(unknown(&name, known));
            }
            if name != "tag" && pairs.iter().any(|(other, _)| *other == name) {
                return Err(Problem::new(
                    Code::QueryInvalid,
                    format!("`{name}` stands twice in the query: give it once."),
                ));
            }
            pairs.push((name, value));
        }
        Ok(Self(pairs))
    }

    /// The value of a name that is there.
    pub(crate) fn get(&self, name: &str) -> Option<&str> {
        self.all(name).next()
    }

    /// All values of a name.
    pub(crate) fn all(&self, name: &str) -> impl Iterator<Item = &str> {
        self.0
            .iter()
            .filter(move |(found, _)| found == name)
            .map(|(_, value)| value.as_ref())
    }

    /// A seq.
    pub(crate) fn seq(&self, name: &str) -> Result<Option<Seq>, Box<Problem>> {
        let Some(text) = self.get(name) else {
            return Ok(None);
        };
        parse_seq(text).map(Some).ok_or_else(|| {
            Problem::new(
                Code::SeqInvalid,
                format!(
                    "`{name}={}` is no seq: write decimal digits, 0 to {}.",
                    shown(text),
                    Seq::MAX
                ),
            )
        })
    }

    /// A number within bounds.
    pub(crate) fn number(
        &self,
        name: &str,
        min: u64,
        max: u64,
    ) -> Result<Option<u64>, Box<Problem>> {
        let Some(text) = self.get(name) else {
            return Ok(None);
        };
        let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        let number = text
            .parse()
            .ok()
            .filter(|n| digits && (min..=max).contains(n));
        number.map(Some).ok_or_else(|| {
            Problem::new(
                Code::QueryInvalid,
                format!(
                    "`{name}={}` is out of range: give {min} to {max}.",
                    shown(text)
                ),
            )
        })
    }

    /// A name that is there or `=true`, or absent or `=false`.
    pub(crate) fn flag(&self, name: &str) -> Result<bool, Box<Problem>> {
        match self.get(name) {
            None | Some("false" | "0") => Ok(false),
            Some("" | "true" | "1") => Ok(true),
            Some(text) => Err(Problem::new(
                Code::QueryInvalid,
                format!("`{name}={}` is neither true nor false.", shown(text)),
            )),
        }
    }
}

fn unknown(name: &str, known: &[&str]) -> Box<Problem> {
    let takes = if known.is_empty() {
        "this path takes no query".to_owned()
    } else {
        format!("this path takes {}", known.join(", "))
    };
    Problem::new(
        Code::QueryInvalid,
        format!("`{}` is not understood in the query: {takes}.", shown(name)),
    )
}

/// Undoes percent-encoding; `None` when it is broken or no UTF-8. In a query `+` is a space.
pub(crate) fn decode(text: &str, plus: bool) -> Option<Cow<'_, str>> {
    if !text
        .bytes()
        .any(|byte| byte == b'%' || (plus && byte == b'+'))
    {
        return Some(Cow::Borrowed(text));
    }
    let mut out = Vec::with_capacity(text.len());
    let mut bytes = text.bytes();
    while let Some(byte) = bytes.next() {
        out.push(match byte {
            b'%' => {
                let (high, low) = (bytes.next()?, bytes.next()?);
                (hex(high)? << 4) | hex(low)?
            }
            b'+' if plus => b' ',
            byte => byte,
        });
    }
    String::from_utf8(out).ok().map(Cow::Owned)
}

const fn hex(digit: u8) -> Option<u8> {
    match digit {
        b'0'..=b'9' => Some(digit - b'0'),
        b'a'..=b'f' => Some(digit - b'a' + 10),
        b'A'..=b'F' => Some(digit - b'A' + 10),
        _ => None,
    }
}

/// A text of the client in a sentence: short, without control characters.
pub(crate) fn shown(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).take(100).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percent_encoding_is_undone_and_broken_one_refused() {
        assert_eq!(decode("a%20b+c", true).unwrap(), "a b c");
        assert_eq!(decode("a%2Fb+c", false).unwrap(), "a/b+c");
        for broken in ["%", "%2", "%zz", "%ff"] {
            assert_eq!(decode(broken, true), None, "{broken}");
        }
    }

    #[test]
    fn seqs_are_decimal_digits_within_range() {
        assert_eq!(parse_seq("0"), Some(Seq(0)));
        assert_eq!(parse_seq("00000000000000000042"), Some(Seq(42)));
        assert_eq!(parse_seq("9223372036854775808"), Some(Seq::MAX));
        for text in [
            "",
            "-1",
            "+1",
            "1.0",
            " 1",
            "9223372036854775809",
            "99999999999999999999999",
            "x",
        ] {
            assert_eq!(parse_seq(text), None, "{text}");
        }
    }

    #[test]
    fn a_query_takes_known_names_once() {
        let known = ["after", "tag"];
        let query = Query::parse("tag=a&tag=b%2C&after=7&", &known).unwrap();
        assert_eq!(query.all("tag").collect::<Vec<_>>(), ["a", "b,"]);
        assert_eq!(query.seq("after").unwrap(), Some(Seq(7)));
        assert!(Query::parse("after=1&after=2", &known).is_err());
        assert!(Query::parse("offset=1", &known).is_err());
        assert!(Query::parse("after=%f", &known).is_err());
        let query = Query::parse("after=-1", &known).unwrap();
        assert!(query.seq("after").is_err());
        assert!(query.number("after", 0, 9).is_err());
        assert!(query.flag("after").is_err());
        assert_eq!(query.number("tag", 0, 9).unwrap(), None);
    }
}
