//! The settings of `hbuf serve`: one table of keys, from which the flags, the environment names,
//! the file's keys, `--print-config` and the reference in `docs/OPERATING.md` all come.
//!
//! Precedence: flag, then environment, then file, then default. A key that nobody knows is refused
//! wherever it stands, with the nearest key that exists.

use std::collections::BTreeMap;
use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;

use anyhow::{Context as _, Result, anyhow, bail, ensure};

use hbuf_core::limits;

/// One setting: its name in the file; `--its-name` and `HBUF_ITS_NAME` follow from it.
#[derive(Debug)]
pub(crate) struct Key {
    pub(crate) name: &'static str,
    pub(crate) form: Form,
    /// The default as it would be written in the environment.
    pub(crate) default: &'static str,
    pub(crate) doc: &'static str,
}

/// What a value looks like.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Form {
    Path,
    Address,
    /// A whole number within bounds, both included.
    Count {
        min: u64,
        max: u64,
    },
    /// The same, also written with a unit: `64MiB`.
    Bytes {
        min: u64,
        max: u64,
    },
    Flag,
    /// Any number of texts; in the environment and in a flag separated by commas.
    Texts,
    Choice(&'static [&'static str]),
    Text,
}

/// Where a value came from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Source {
    Default,
    File,
    Environment,
    Flag,
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Default => "default",
            Self::File => "file",
            Self::Environment => "environment",
            Self::Flag => "flag",
        })
    }
}

/// Everything that `serve` needs, checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Config {
    pub(crate) data: PathBuf,
    pub(crate) listen: SocketAddr,
    pub(crate) node: String,
    pub(crate) shards: usize,
    pub(crate) direct_buffers_max: usize,
    pub(crate) prewrite_bytes: u64,
    pub(crate) journal_bytes: u64,
    pub(crate) checkpoint_seconds: u64,
    pub(crate) idle_seconds: u64,
    pub(crate) retention_sweep_seconds: u64,
    pub(crate) body_bytes_max: u64,
    pub(crate) allowed_hosts: Vec<String>,
    pub(crate) cors_origins: Vec<String>,
    pub(crate) create_on_write: bool,
    pub(crate) insecure: bool,
    pub(crate) scrub_bytes_per_second: u64,
    pub(crate) stream_wait_seconds: u64,
    pub(crate) drain_seconds: u64,
    pub(crate) log: String,
    pub(crate) log_format: String,
}

/// Every key, in the order in which people meet them.
pub(crate) const KEYS: &[Key] = &[
    Key {
        name: "data",
        form: Form::Path,
        default: "./hbuf-data",
        doc: "Directory of the data; made when it is missing. One process at a time may use it",
    },
    Key {
        name: "listen",
        form: Form::Address,
        default: "127.0.0.1:4283",
        doc: "Address and port for HTTP/1.1 and HTTP/2; port 0 takes a free one",
    },
    Key {
        name: "insecure",
        form: Form::Flag,
        default: "false",
        doc: "Listen on an address that others can reach although there is neither TLS nor login",
    },
    Key {
        name: "allowed_hosts",
        form: Form::Texts,
        default: "",
        doc: "Names besides loopback that a request's `host` may carry, each as NAME or NAME:PORT",
    },
    Key {
        name: "cors_origins",
        form: Form::Texts,
        default: "",
        doc: "Origins of web pages that may call this server, such as https://app.example",
    },
    Key {
        name: "create_on_write",
        form: Form::Flag,
        default: "true",
        doc: "The first append to a name creates its buffer or topic",
    },
    Key {
        name: "body_bytes_max",
        form: Form::Bytes {
            min: 1,
            max: limits::BODY_BYTES_MAX,
        },
        default: "67108864",
        doc: "Longest body of one message",
    },
    Key {
        name: "prewrite_bytes",
        form: Form::Bytes {
            min: limits::SEGMENT_BYTES_MIN,
            max: limits::SEGMENT_BYTES_MAX,
        },
        default: "67108864",
        doc: "Length of the files that are written ahead, so that appends sync faster",
    },
    Key {
        name: "direct_buffers_max",
        form: Form::Count {
            min: 0,
            max: u64::MAX,
        },
        default: "4",
        doc: "A batch that touches more buffers than this goes through the journal: 0 is always, \
              18446744073709551615 never",
    },
    Key {
        name: "journal_bytes",
        form: Form::Bytes {
            min: 64 << 10,
            max: limits::UNMARKED_BYTES_MAX,
        },
        default: "268435456",
        doc: "Journaled bytes after which a checkpoint begins",
    },
    Key {
        name: "checkpoint_seconds",
        form: Form::Count {
            min: 1,
            max: 86_400,
        },
        default: "60",
        doc: "Longest time between two checkpoints of journaled buffers",
    },
    Key {
        name: "idle_seconds",
        form: Form::Count {
            min: 1,
            max: 86_400,
        },
        default: "300",
        doc: "A buffer that nobody uses for so long leaves memory and closes its files",
    },
    Key {
        name: "retention_sweep_seconds",
        form: Form::Count {
            min: 1,
            max: 86_400,
        },
        default: "10",
        doc: "Time between two looks for segments that retention may drop",
    },
    Key {
        name: "scrub_bytes_per_second",
        form: Form::Bytes {
            min: 0,
            max: 1 << 40,
        },
        default: "4194304",
        doc: "How fast sealed segments are read over and over and checked; 0 never reads them",
    },
    Key {
        name: "stream_wait_seconds",
        form: Form::Count {
            min: 1,
            max: limits::WAIT_SECONDS_MAX,
        },
        default: "20",
        doc: "How long a long poll of a Durable Stream waits",
    },
    Key {
        name: "drain_seconds",
        form: Form::Count { min: 0, max: 3_600 },
        default: "10",
        doc: "On SIGTERM or SIGINT, how long running requests may take to end",
    },
    Key {
        name: "node",
        form: Form::Text,
        default: "node",
        doc: "Name of this node",
    },
    Key {
        name: "shards",
        form: Form::Count { min: 0, max: 1_024 },
        default: "0",
        doc: "Threads that own buffers; 0 takes one a core",
    },
    Key {
        name: "log",
        form: Form::Text,
        default: "info",
        doc: "What is logged on stderr: error, warn, info, debug, trace, or a filter such as info,hyper=debug",
    },
    Key {
        name: "log_format",
        form: Form::Choice(&["text", "json"]),
        default: "text",
        doc: "Form of the log lines",
    },
];

/// Names in the environment that start with `HBUF_` and are no settings of the server.
const OTHER_ENVIRONMENT: &[&str] = &["HBUF_CONFIG", "HBUF_URL", "HBUF_TENANT"];
/// What Kubernetes puts into the environment of every pod beside a service called `hbuf`.
const FOREIGN_PREFIXES: &[&str] = &["HBUF_SERVICE_", "HBUF_PORT"];

impl Key {
    /// The flag, without its dashes.
    pub(crate) fn flag(&self) -> String {
        self.name.replace('_', "-")
    }

    /// The name in the environment.
    pub(crate) fn variable(&self) -> String {
        format!("HBUF_{}", self.name.to_ascii_uppercase())
    }

    /// What a value must look like, for people.
    pub(crate) fn bounds(&self) -> String {
        match self.form {
            Form::Path => "a path".to_owned(),
            Form::Address => "ADDRESS:PORT".to_owned(),
            Form::Count { min, max: u64::MAX } => format!("a number, {min} or more"),
            Form::Count { min, max } => format!("a number, {min} to {max}"),
            Form::Bytes { min, max } => {
                format!("bytes, {} to {}", show_bytes(min), show_bytes(max))
            }
            Form::Flag => "true or false".to_owned(),
            Form::Texts => "a list".to_owned(),
            Form::Choice(choices) => choices.join(" or "),
            Form::Text => "a text".to_owned(),
        }
    }

    fn check(&self, text: &str) -> Result<()> {
        let good = match self.form {
            Form::Path | Form::Text => !text.is_empty(),
            Form::Texts => true,
            Form::Address => text.parse::<SocketAddr>().is_ok(),
            Form::Flag => text.parse::<bool>().is_ok(),
            Form::Choice(choices) => choices.contains(&text),
            Form::Count { min, max } => text.parse().is_ok_and(|n: u64| min <= n && n <= max),
            Form::Bytes { min, max } => parse_bytes(text).is_some_and(|n| min <= n && n <= max),
        };
        ensure!(
            good,
            "`{text}` does not fit `{}`: it takes {}",
            self.name,
            self.bounds()
        );
        Ok(())
    }
}

/// Every setting with its value and where it came from, before they become a [`Config`].
#[derive(Clone, Debug)]
pub(crate) struct Settings {
    values: BTreeMap<&'static str, (String, Source)>,
}

impl Settings {
    /// Merges the four sources; each is checked by itself so that a message can name it.
    pub(crate) fn gather(
        flags: &BTreeMap<&'static str, String>,
        environment: impl IntoIterator<Item = (String, String)>,
        file: Option<(&str, &str)>,
    ) -> Result<Self> {
        let mut values = BTreeMap::new();
        for key in KEYS {
            values.insert(key.name, (key.default.to_owned(), Source::Default));
        }
        let mut settings = Self { values };
        if let Some((path, text)) = file {
            settings
                .add_file(text)
                .with_context(|| format!("in {path}"))?;
        }
        for (variable, text) in environment {
            settings.add_variable(&variable, &text)?;
        }
        for (name, text) in flags {
            let key = known(name)?;
            key.check(text)
                .with_context(|| format!("in --{}", key.flag()))?;
            settings
                .values
                .insert(key.name, (text.clone(), Source::Flag));
        }
        Ok(settings)
    }

    /// The settings as a file that would give the same, each with its source.
    pub(crate) fn print(&self) -> String {
        let mut out = String::new();
        for key in KEYS {
            let (text, source) = &self.values[key.name];
            out.push_str(&format!(
                "{} = {}  # {source}\n",
                key.name,
                toml_value(key, text)
            ));
        }
        out
    }

    /// The checked settings.
    pub(crate) fn config(&self) -> Config {
        Config {
            data: PathBuf::from(self.text("data")),
            listen: self.text("listen").parse().expect("checked as an address"),
            node: self.text("node").to_owned(),
            shards: self.size("shards"),
            direct_buffers_max: self.size("direct_buffers_max"),
            prewrite_bytes: self.number("prewrite_bytes"),
            journal_bytes: self.number("journal_bytes"),
            checkpoint_seconds: self.number("checkpoint_seconds"),
            idle_seconds: self.number("idle_seconds"),
            retention_sweep_seconds: self.number("retention_sweep_seconds"),
            body_bytes_max: self.number("body_bytes_max"),
            allowed_hosts: split_texts(self.text("allowed_hosts")),
            cors_origins: split_texts(self.text("cors_origins")),
            create_on_write: self.text("create_on_write") == "true",
            insecure: self.text("insecure") == "true",
            scrub_bytes_per_second: self.number("scrub_bytes_per_second"),
            stream_wait_seconds: self.number("stream_wait_seconds"),
            drain_seconds: self.number("drain_seconds"),
            log: self.text("log").to_owned(),
            log_format: self.text("log_format").to_owned(),
        }
    }

    fn add_file(&mut self, text: &str) -> Result<()> {
        let table: toml::Table = text.parse()?;
        for (name, value) in &table {
            let key = known(name)?;
            let text = file_text(value).ok_or_else(|| {
                anyhow!(
                    "`{name}` cannot be {}: it takes {}",
                    value.type_str(),
                    key.bounds()
                )
            })?;
            key.check(&text)?;
            self.values.insert(key.name, (text, Source::File));
        }
        Ok(())
    }

    fn add_variable(&mut self, variable: &str, text: &str) -> Result<()> {
        let Some(name) = variable.strip_prefix("HBUF_") else {
            return Ok(());
        };
        let foreign = FOREIGN_PREFIXES
            .iter()
            .any(|prefix| variable.starts_with(prefix));
        if foreign || OTHER_ENVIRONMENT.contains(&variable) {
            return Ok(());
        }
        let key = known(&name.to_ascii_lowercase())
            .with_context(|| format!("environment variable {variable}"))?;
        key.check(text)
            .with_context(|| format!("environment variable {variable}"))?;
        self.values
            .insert(key.name, (text.to_owned(), Source::Environment));
        Ok(())
    }

    fn text(&self, name: &str) -> &str {
        &self.values[name].0
    }

    fn number(&self, name: &str) -> u64 {
        parse_bytes(self.text(name)).expect("checked as a number")
    }

    fn size(&self, name: &str) -> usize {
        usize::try_from(self.number(name)).unwrap_or(usize::MAX)
    }
}

/// The key of this name, or an error that names the nearest one.
fn known(name: &str) -> Result<&'static Key> {
    if let Some(key) = KEYS.iter().find(|key| key.name == name) {
        return Ok(key);
    }
    let dashed = name.replace('-', "_");
    let nearest = KEYS
        .iter()
        .min_by_key(|key| edit_distance(&dashed, key.name))
        .expect("the table of keys is not empty");
    bail!(
        "no setting is called `{name}`; the nearest is `{}` (`hbuf serve --print-config` shows all)",
        nearest.name
    );
}

/// Levenshtein distance: how many letters differ, are missing or too many.
fn edit_distance(left: &str, right: &str) -> usize {
    let right: Vec<char> = right.chars().collect();
    let mut row: Vec<usize> = (0..=right.len()).collect();
    for (line, letter) in left.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = line + 1;
        for column in 0..right.len() {
            let above = row[column + 1];
            let change = diagonal + usize::from(letter != right[column]);
            row[column + 1] = change.min(above + 1).min(row[column] + 1);
            diagonal = above;
        }
    }
    row[right.len()]
}

/// A value of the file in the form that the environment would give.
fn file_text(value: &toml::Value) -> Option<String> {
    match value {
        toml::Value::String(text) => Some(text.clone()),
        toml::Value::Integer(number) => Some(number.to_string()),
        toml::Value::Boolean(flag) => Some(flag.to_string()),
        toml::Value::Array(texts) => {
            let texts: Option<Vec<&str>> = texts.iter().map(toml::Value::as_str).collect();
            texts.map(|texts| texts.join(","))
        }
        toml::Value::Float(_) | toml::Value::Datetime(_) | toml::Value::Table(_) => None,
    }
}

fn toml_value(key: &Key, text: &str) -> String {
    let quote = |text: &str| toml::Value::String(text.to_owned()).to_string();
    match key.form {
        Form::Flag => text.to_owned(),
        Form::Count { .. } | Form::Bytes { .. } => match parse_bytes(text) {
            // The file's numbers are signed, so larger ones stand as text.
            Some(number) if i64::try_from(number).is_ok() => number.to_string(),
            _ => quote(text),
        },
        Form::Texts => {
            let texts: Vec<String> = split_texts(text).iter().map(|text| quote(text)).collect();
            format!("[{}]", texts.join(", "))
        }
        Form::Path | Form::Address | Form::Choice(_) | Form::Text => quote(text),
    }
}

fn split_texts(text: &str) -> Vec<String> {
    text.split(',')
        .map(str::trim)
        .filter(|text| !text.is_empty())
        .map(str::to_owned)
        .collect()
}

const UNITS: &[(&str, u64)] = &[
    ("GiB", 1 << 30),
    ("MiB", 1 << 20),
    ("KiB", 1 << 10),
    ("B", 1),
];

/// A number of bytes: `65536`, `64KiB`, `64 KiB`.
fn parse_bytes(text: &str) -> Option<u64> {
    for (unit, size) in UNITS {
        if let Some(count) = text.strip_suffix(unit) {
            return count.trim_end().parse::<u64>().ok()?.checked_mul(*size);
        }
    }
    text.parse().ok()
}

/// The same number in the largest unit that divides it.
pub(crate) fn show_bytes(bytes: u64) -> String {
    let unit = UNITS
        .iter()
        .find(|(_, size)| bytes >= *size && bytes.is_multiple_of(*size));
    match unit {
        Some((name, size)) => format!("{} {name}", bytes / size),
        None => format!("{bytes} B"),
    }
}

#[cfg(test)]
mod tests;
