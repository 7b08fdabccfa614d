//! Which of the types that a route serves the client wants most (RFC 9110 §12.5.1).

use http::HeaderMap;
use http::header::ACCEPT;

use super::problem::{Code, Problem};

/// Picks the offered type that the client prefers; among equals the first offered. Without an
/// `accept` header the first one. Each offer is `type/subtype` in lower case.
pub(crate) fn choose<T: Copy>(
    headers: &HeaderMap,
    offers: &[(&'static str, T)],
) -> Result<T, Box<Problem>> {
    if !headers.contains_key(ACCEPT) {
        return Ok(offers[0].1);
    }
    let mut ranges = Vec::new();
    for value in headers.get_all(ACCEPT) {
        let text = value.to_str().map_err(|_| unreadable())?;
        for range in text
            .split(',')
            .map(str::trim)
            .filter(|range| !range.is_empty())
        {
            ranges.push(parse(range).ok_or_else(unreadable)?);
        }
    }
    if ranges.is_empty() {
        return Ok(offers[0].1);
    }
    let mut best: Option<(u16, T)> = None;
    for &(offer, chosen) in offers {
        let quality = quality(&ranges, offer);
        if quality > 0 && best.is_none_or(|(most, _)| quality > most) {
            best = Some((quality, chosen));
        }
    }
    best.map(|(_, chosen)| chosen).ok_or_else(|| {
        let types: Vec<&str> = offers.iter().map(|(offer, _)| *offer).collect();
        Problem::new(
            Code::NotAcceptable,
            format!("Accept one of: {}.", types.join(", ")),
        )
        .fact("types", types)
    })
}

/// Whether the client names `offer` itself, and wants `other` no more. What cannot be read names
/// nothing.
pub(crate) fn prefers(headers: &HeaderMap, offer: &str, other: &str) -> bool {
    let texts = headers
        .get_all(ACCEPT)
        .iter()
        .filter_map(|value| value.to_str().ok());
    let ranges: Vec<Range<'_>> = texts
        .flat_map(|text| text.split(','))
        .filter_map(|range| parse(range.trim()))
        .collect();
    let named = |range: &&Range<'_>| range.kind.eq_ignore_ascii_case(offer);
    let wanted = ranges.iter().find(named).map_or(0, |range| range.quality);
    let other = other.split(';').next().unwrap_or_default().trim();
    wanted > 0 && wanted >= quality(&ranges, other)
}

struct Range<'a> {
    kind: &'a str,
    quality: u16,
}

fn parse(range: &str) -> Option<Range<'_>> {
    let mut parts = range.split(';').map(str::trim);
    let kind = parts.next().filter(|kind| kind.contains('/'))?;
    let mut quality = 1000;
    for parameter in parts {
        if let Some(text) = parameter
            .strip_prefix("q=")
            .or_else(|| parameter.strip_prefix("Q="))
        {
            quality = parse_quality(text)?;
        }
    }
    Some(Range { kind, quality })
}

/// `0`, `1`, `0.5`, `0.333` in thousandths.
fn parse_quality(text: &str) -> Option<u16> {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    let digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    if !digits(fraction) || fraction.len() > 3 {
        return None;
    }
    let thousandths: u16 = format!("{fraction:0<3}").parse().ok()?;
    match whole {
        "0" => Some(thousandths),
        "1" if thousandths == 0 => Some(1000),
        _ => None,
    }
}

/// The quality of the most specific range that covers the offer.
fn quality(ranges: &[Range<'_>], offer: &str) -> u16 {
    let (main, _) = offer.split_once('/').unwrap_or((offer, ""));
    let mut best = (0, 0);
    for range in ranges {
        let specific = if range.kind.eq_ignore_ascii_case(offer) {
            3
        } else if range
            .kind
            .strip_suffix("/*")
            .is_some_and(|kind| kind.eq_ignore_ascii_case(main))
        {
            2
        } else if range.kind == "*/*" {
            1
        } else {
            0
        };
        if specific > best.0 {
            best = (specific, range.quality);
        }
    }
    best.1
}

fn unreadable() -> Box<Problem> {
    Problem::new(
        Code::HeaderInvalid,
        "The `accept` header is not a list of media types; send for example `accept: application/json`.",
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderValue;

    fn check(accept: &'static str, expected: Result<&str, u16>) {
        let mut headers = HeaderMap::new();
        headers.insert(ACCEPT, HeaderValue::from_static(accept));
        let offers = [
            ("application/http", "raw"),
            ("application/json", "json"),
            ("text/event-stream", "sse"),
            ("text/html", "text"),
        ];
        let chosen = choose(&headers, &offers).map_err(|p| p.code.row().status.as_u16());
        assert_eq!(chosen, expected, "{accept}");
    }

    #[test]
    fn the_most_wanted_type_wins_and_ties_go_to_the_first_offered() {
        check("*/*", Ok("raw"));
        check("", Ok("raw"));
        check("application/json", Ok("json"));
        check("Application/JSON; charset=utf-8", Ok("json"));
        check("text/*", Ok("sse"));
        check("application/json;q=0.5, text/event-stream", Ok("sse"));
        check("application/http;q=0, */*;q=0.1", Ok("json"));
        check(
            "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8",
            Ok("text"),
        );
    }

    #[test]
    fn a_type_is_preferred_only_where_it_is_named() {
        let check = |accept: &'static str, expected: bool| {
            let mut headers = HeaderMap::new();
            headers.insert(ACCEPT, HeaderValue::from_static(accept));
            let preferred = prefers(&headers, "application/json", "text/plain; charset=utf-8");
            assert_eq!(preferred, expected, "{accept}");
        };
        check("application/json", true);
        check("Application/JSON;q=0.1", true);
        check("text/plain, application/json", true);
        check("*/*;q=0.5, application/json;q=0.6", true);
        check("*/*, application/json;q=0.6", false);
        check("text/plain;q=0.5, application/json;q=0.4", false);
        check("application/json;q=0", false);
        check("*/*", false);
        check("application/*", false);
        check("json", false);
        assert!(!prefers(
            &HeaderMap::new(),
            "application/json",
            "text/plain"
        ));
    }

    #[test]
    fn what_nobody_serves_is_406_and_what_is_no_list_is_400() {
        check("image/png", Err(406));
        check("*/*;q=0", Err(406));
        check("json", Err(400));
        check("*/*;q=1.5", Err(400));
        check("*/*;q=0.1234", Err(400));
    }
}
