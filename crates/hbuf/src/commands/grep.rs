//! `hbuf grep PATTERN PATH…`: lines of bodies and headers, found on disk, without a server.
//!
//! Plain `grep` works on segments too; this walks by length, so that it knows which message a line
//! belongs to and never takes a line inside a body for a header.

use std::ops::ControlFlow;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context as _, Result};
use clap::Args;
use hbuf_core::ids::Seq;
use hbuf_core::record::{Kind, Record, State};
use regex::bytes::{Regex, RegexBuilder};
use serde_json::json;

use super::render::decode_key;
use crate::offline::{Found, find, walk};
use crate::output::Out;

pub(crate) const EXAMPLES: &str =
    "Prints seq, time, key and line. Exit code 0: found, 1: nothing found.

Examples:
  hbuf grep 'install .*libssl' hbuf-data/names/-/demo
  hbuf grep -F '[error]' hbuf-data --json
  hbuf grep --headers-only '^x-hbuf-tag: .*web7' hbuf-data
  grep -a 'libssl' hbuf-data/names/-/demo/*.hbuf";

/// What to look for, and where.
#[derive(Debug, Args)]
pub(crate) struct GrepArgs {
    /// A regular expression, matched against each line
    pattern: String,
    /// Data directories, buffers' directories (hbuf-data/names/-/NAME) or segment files
    #[arg(required = true)]
    paths: Vec<PathBuf>,
    /// The pattern is a plain text
    #[arg(long, short = 'F')]
    fixed_strings: bool,
    /// Upper and lower case are the same
    #[arg(long, short)]
    ignore_case: bool,
    /// Print only how many messages match
    #[arg(long, short)]
    count: bool,
    /// Look only into headers
    #[arg(long)]
    headers_only: bool,
    /// Look only into bodies
    #[arg(long, conflicts_with = "headers_only")]
    body_only: bool,
    /// Only messages behind this seq
    #[arg(long, default_value_t = 0, value_name = "SEQ")]
    after: u64,
    /// End after so many messages
    #[arg(long, value_name = "COUNT")]
    limit: Option<u64>,
    /// Print a line of JSON a match
    #[arg(long)]
    json: bool,
}

/// Where in a message a line stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Part {
    Header,
    Body,
}

pub(crate) fn command(args: &GrepArgs) -> Result<ExitCode> {
    let regex = pattern(args)?;
    let mut places = Vec::new();
    for path in &args.paths {
        places.extend(find(path)?);
    }
    let named = places.len() > 1;
    let mut out = Out::new();
    let mut matched = 0;
    let limit = args.limit.unwrap_or(u64::MAX);
    let mut damaged = false;
    for place in &places {
        let title = place.title();
        walk(place, Seq(args.after), place.durable(), &mut |found| {
            if matched >= limit {
                return Ok(ControlFlow::Break(()));
            }
            match found {
                Found::Head { .. } => {}
                Found::Damage(damage) => {
                    damaged = true;
                    eprintln!("hbuf: {damage}");
                }
                Found::Record { record, .. } if record.line.seq > Seq(args.after) => {
                    let lines = matches(args, &regex, record);
                    matched += u64::from(!lines.is_empty());
                    if !args.count {
                        for (part, line) in lines {
                            let title = if named { Some(title.as_str()) } else { None };
                            print(args, &mut out, title, record, part, &line)?;
                        }
                    }
                }
                Found::Record { .. } => {}
            }
            Ok(ControlFlow::Continue(()))
        })?;
    }
    if args.count {
        out.line(&matched.to_string())?;
    }
    out.flush()?;
    Ok(if matched == 0 || damaged {
        ExitCode::FAILURE
    } else {
        ExitCode::SUCCESS
    })
}

fn pattern(args: &GrepArgs) -> Result<Regex> {
    let text = if args.fixed_strings {
        regex::escape(&args.pattern)
    } else {
        args.pattern.clone()
    };
    // Bodies need not be UTF-8, and `^` and `$` are meant for lines.
    RegexBuilder::new(&text)
        .multi_line(true)
        .unicode(true)
        .case_insensitive(args.ignore_case)
        .build()
        .with_context(|| {
            format!(
                "`{}` is no regular expression; -F takes it as text",
                args.pattern
            )
        })
}

/// The lines of a message that match, headers first.
fn matches(args: &GrepArgs, regex: &Regex, record: &Record<'_>) -> Vec<(Part, Vec<u8>)> {
    let mut lines = Vec::new();
    if record.line.state == State::Gone || record.facts.kind != Kind::Data {
        return lines;
    }
    if !args.body_only {
        for (name, value) in record.headers() {
            let line = [name, b": ", value].concat();
            if regex.is_match(&line) {
                lines.push((Part::Header, line));
            }
        }
    }
    if !args.headers_only {
        let mut end = 0;
        for found in regex.find_iter(record.body) {
            if found.start() < end {
                continue;
            }
            let line = line_around(record.body, found.start());
            end = line.end + 1;
            lines.push((Part::Body, record.body[line].to_vec()));
        }
    }
    lines
}

/// The line that holds this place, without its end.
fn line_around(body: &[u8], place: usize) -> std::ops::Range<usize> {
    let start = memchr::memrchr(b'\n', &body[..place]).map_or(0, |before| before + 1);
    let end = memchr::memchr(b'\n', &body[place..]).map_or(body.len(), |behind| place + behind);
    let end = if end > start && body[end - 1] == b'\r' {
        end - 1
    } else {
        end
    };
    start..end
}

fn print(
    args: &GrepArgs,
    out: &mut Out,
    title: Option<&str>,
    record: &Record<'_>,
    part: Part,
    line: &[u8],
) -> Result<()> {
    let seq = record.line.seq.0;
    let time = record.line.time.to_string();
    let key = record
        .key()
        .map(|key| String::from_utf8_lossy(&decode_key(key)).into_owned());
    if args.json {
        let part = match part {
            Part::Header => "header",
            Part::Body => "body",
        };
        let line = String::from_utf8_lossy(line);
        return out.json(&json!({
            "buffer": title, "seq": seq, "time": time, "key": key, "in": part, "line": line,
        }));
    }
    let title = title.map(|title| format!("{title} ")).unwrap_or_default();
    out.foreign(format!("{title}{seq} {time} {} ", key.as_deref().unwrap_or("-")).as_bytes())?;
    out.foreign(line)?;
    out.line("")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::offline::fixture::Fixture;
    use clap::Parser as _;

    #[derive(clap::Parser)]
    struct Line {
        #[command(flatten)]
        args: GrepArgs,
    }

    /// Seq, part and line of everything that these words find in the five messages.
    fn found(words: &[&str]) -> Vec<(u64, &'static str, String)> {
        let fixture = Fixture::five();
        let words = ["grep"].iter().chain(words).copied().map(str::to_owned);
        let path = fixture.path().display().to_string();
        let args = Line::try_parse_from(words.chain([path])).unwrap().args;
        let regex = pattern(&args).unwrap();
        let mut lines = Vec::new();
        for place in find(fixture.path()).unwrap() {
            walk(&place, Seq::ZERO, Seq::ZERO, &mut |found| {
                if let Found::Record { record, .. } = found {
                    for (part, line) in matches(&args, &regex, record) {
                        let part = if part == Part::Body { "body" } else { "header" };
                        lines.push((record.line.seq.0, part, String::from_utf8(line).unwrap()));
                    }
                }
                Ok(ControlFlow::Continue(()))
            })
            .unwrap();
        }
        lines
    }

    #[test]
    fn lines_of_bodies_and_headers_are_found_with_their_seq() {
        let line = |seq, part, text: &str| (seq, part, text.to_owned());
        assert_eq!(
            found(&["^(sec|five).*line$"]),
            [
                line(1, "body", "second line"),
                line(5, "body", "five and the last line")
            ]
        );
        assert_eq!(found(&["gamma"]), [line(4, "header", "x-hbuf-key: gamma")]);
        assert_eq!(found(&["gamma", "--body-only"]), []);
        assert_eq!(found(&["-i", "FIRST"]), [line(1, "body", "first line")]);
        assert_eq!(found(&["-F", "t= HTTP/1.1"]).len(), 1);
        assert_eq!(found(&["--headers-only", "web7"]).len(), 5);
        // A header of the framing is no header of the message.
        assert_eq!(found(&["x-hbuf-salt|content-length"]), []);
    }

    #[test]
    fn the_line_around_a_place_ends_before_lf_and_crlf() {
        let body = b"one\r\ntwo\n\nthree";
        for (place, line) in [
            (0, "one"),
            (2, "one"),
            (5, "two"),
            (9, ""),
            (10, "three"),
            (15, "three"),
        ] {
            assert_eq!(
                &body[line_around(body, place)],
                line.as_bytes(),
                "at {place}"
            );
        }
    }
}
