//! Turns the arguments into a checked plan: what to send, how much, how fast, where to.

use std::net::{SocketAddr, ToSocketAddrs};
use std::str::FromStr;
use std::time::Duration;

use anyhow::{Context, bail, ensure};
use serde::Serialize;

use super::BenchArgs;
use super::frames::{STAMP, STAMP_DIGITS};

/// One kind of request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Op {
    Append,
    Batch,
    Ndjson,
    Read,
    ReadNdjson,
    /// From sending a message to its arrival at a tailing reader; not part of a mix.
    Tail,
}

impl Op {
    /// All of them, in the order of the table; the index of each is its discriminant.
    pub(crate) const ALL: [Self; 6] = [
        Self::Append,
        Self::Batch,
        Self::Ndjson,
        Self::Read,
        Self::ReadNdjson,
        Self::Tail,
    ];

    /// As in `--mix` and in the table.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Append => "append",
            Self::Batch => "batch",
            Self::Ndjson => "ndjson",
            Self::Read => "read",
            Self::ReadNdjson => "read-ndjson",
            Self::Tail => "tail",
        }
    }
}

/// Which share each kind of request has.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Mix(Vec<(Op, u32)>);

impl Mix {
    /// The op for a number drawn evenly from all of `u64`.
    pub(crate) fn pick(&self, drawn: u64) -> Op {
        let total: u64 = self.0.iter().map(|&(_, weight)| u64::from(weight)).sum();
        let mut left = drawn % total;
        for &(op, weight) in &self.0 {
            if left < u64::from(weight) {
                return op;
            }
            left -= u64::from(weight);
        }
        self.0[0].0
    }

    /// True if `op` has a share.
    pub(crate) fn has(&self, op: Op) -> bool {
        self.0.iter().any(|&(one, _)| one == op)
    }

    /// True if it appends anything.
    pub(crate) fn appends(&self) -> bool {
        [Op::Append, Op::Batch, Op::Ndjson]
            .into_iter()
            .any(|op| self.has(op))
    }

    /// True if it reads anything.
    pub(crate) fn reads(&self) -> bool {
        self.has(Op::Read) || self.has(Op::ReadNdjson)
    }

    /// The only op, if there is but one.
    pub(crate) fn single(&self) -> Option<Op> {
        if let [(op, _)] = self.0[..] {
            Some(op)
        } else {
            None
        }
    }
}

impl FromStr for Mix {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let mut shares = Vec::new();
        for part in text.split(',') {
            let (name, weight) = part.split_once('=').unwrap_or((part, "1"));
            let op = Op::ALL
                .into_iter()
                .find(|op| op.name() == name.trim() && *op != Op::Tail);
            let Some(op) = op else {
                return Err(format!(
                    "no operation `{name}`; there are append, batch, ndjson, read, read-ndjson \
                     (for tailing readers use --tails)"
                ));
            };
            let weight: u32 = weight
                .trim()
                .parse()
                .map_err(|_| format!("no weight: `{weight}`"))?;
            if shares.iter().any(|&(one, _)| one == op) {
                return Err(format!("`{name}` is there twice"));
            }
            if weight > 0 {
                shares.push((op, weight));
            }
        }
        if shares.is_empty() {
            return Err("every weight is 0; at least one operation must have a share".to_owned());
        }
        Ok(Self(shares))
    }
}

/// Sizes of bodies: drawn evenly from `min..=max`.
#[derive(Clone, Copy, Debug, Serialize)]
pub(crate) struct Sizes {
    pub(crate) min: usize,
    pub(crate) max: usize,
}

impl FromStr for Sizes {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let number = |digits: &str| {
            let n: Result<usize, _> = digits.trim().parse();
            n.map_err(|_| format!("`{digits}` is no number of bytes; write 256 or 100-4000"))
        };
        let (min, max) = text.split_once('-').unwrap_or((text, text));
        let (min, max) = (number(min)?, number(max)?);
        if min > max {
            return Err(format!(
                "{min} is above {max}; write the smaller size first"
            ));
        }
        if max as u64 > hbuf_core::limits::BODY_BYTES_MAX {
            return Err(format!(
                "a body has at most {} bytes",
                hbuf_core::limits::BODY_BYTES_MAX
            ));
        }
        Ok(Self { min, max })
    }
}

/// How keys are drawn.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum KeyDraw {
    /// Each key as often as any other.
    Uniform,
    /// Key n with weight 1 / n^s.
    Zipf(f64),
}

impl FromStr for KeyDraw {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (name, exponent) = text.split_once('=').unwrap_or((text, "0.99"));
        match (name, exponent.parse::<f64>()) {
            ("uniform", _) => Ok(Self::Uniform),
            ("zipf", Ok(s)) if s > 0.0 && s.is_finite() => Ok(Self::Zipf(s)),
            ("zipf", _) => Err(format!("`{exponent}` is no exponent above 0")),
            _ => Err(format!(
                "no distribution `{name}`; there are uniform, zipf, zipf=EXPONENT"
            )),
        }
    }
}

/// One node to talk to.
#[derive(Clone, Debug)]
pub(crate) struct Node {
    /// As given.
    pub(crate) url: String,
    /// For the `host` header.
    pub(crate) host: String,
    /// Path in front of every route, such as `/tenants/coke`.
    pub(crate) base: String,
    pub(crate) address: SocketAddr,
}

impl Node {
    fn parse(url: &str) -> anyhow::Result<Self> {
        if url.starts_with("https://") {
            bail!("{url}: the load generator speaks plain HTTP only; give an http:// address");
        }
        let Some(rest) = url.strip_prefix("http://") else {
            bail!("{url}: not a URL; write it as http://127.0.0.1:4283");
        };
        let (host, base) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
        ensure!(
            !base.contains(['?', '#', ' ']),
            "{url}: give no query, only a host and a path"
        );
        let with_port = if host
            .rsplit(':')
            .next()
            .is_some_and(|port| port.parse::<u16>().is_ok())
        {
            host.to_owned()
        } else {
            format!("{host}:80")
        };
        let resolved = with_port.to_socket_addrs();
        let mut addresses = resolved.with_context(|| format!("{url}: unknown host"))?;
        let address = addresses
            .next()
            .with_context(|| format!("{url}: no address"))?;
        let base = base.trim_end_matches('/').to_owned();
        Ok(Self {
            url: url.to_owned(),
            host: host.to_owned(),
            base,
            address,
        })
    }
}

/// A checked set of arguments.
pub(crate) struct Plan {
    pub(crate) args: BenchArgs,
    pub(crate) nodes: Vec<Node>,
    pub(crate) warm: Duration,
    pub(crate) measured: Duration,
    pub(crate) timeout: Duration,
    pub(crate) threads: usize,
}

impl Plan {
    /// Checks the arguments against each other.
    pub(crate) fn new(args: BenchArgs) -> anyhow::Result<Self> {
        let nodes = args
            .url
            .iter()
            .map(|url| Node::parse(url))
            .collect::<anyhow::Result<_>>()?;
        if args.tails > 0 {
            let least = STAMP.len() + STAMP_DIGITS;
            ensure!(
                args.mix.appends(),
                "--tails wait for messages, but --mix appends none"
            );
            ensure!(
                args.size.min >= least,
                "with --tails a body has at least {least} bytes"
            );
        }
        let whole_batch = args.batch as u64 * (args.size.max as u64 + 1_024);
        ensure!(
            whole_batch <= hbuf_core::limits::BATCH_BYTES_MAX,
            "a batch of {} messages of {} bytes is over the limit of {} bytes; lower --batch or --size",
            args.batch,
            args.size.max,
            hbuf_core::limits::BATCH_BYTES_MAX
        );
        if args.mix.reads() && !args.mix.appends() {
            ensure!(
                args.buffers <= 1 || args.fill > 0,
                "many buffers to read: say --fill"
            );
        }
        let seconds = |name: &str, value: f64| {
            let checked = Duration::try_from_secs_f64(value);
            checked.with_context(|| format!("--{name} {value}: not a number of seconds"))
        };
        let threads = args.threads.clamp(1, args.connections + args.tails);
        Ok(Self {
            warm: seconds("warm", args.warm)?,
            measured: seconds("seconds", args.seconds)?,
            timeout: seconds("timeout", args.timeout)?,
            nodes,
            threads,
            args,
        })
    }

    /// Name of buffer `n`.
    pub(crate) fn buffer_name(&self, n: usize) -> String {
        if self.args.buffers == 1 {
            return self.args.buffer.clone();
        }
        format!("{}-{n:06}", self.args.buffer)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mix(text: &str) -> Mix {
        text.parse().unwrap()
    }

    #[test]
    fn a_mix_is_drawn_by_weight() {
        let mix = mix("append=3,read=1");
        let drawn: Vec<Op> = (0..8).map(|n| mix.pick(n)).collect();
        assert_eq!(drawn.iter().filter(|&&op| op == Op::Append).count(), 6);
        assert!(mix.appends() && mix.reads() && mix.single().is_none());
    }

    #[test]
    fn a_wrong_mix_is_refused_with_the_choices() {
        let refused = "fetch=1".parse::<Mix>().unwrap_err();
        assert!(refused.contains("read-ndjson"), "{refused}");
        assert!("append=0".parse::<Mix>().is_err());
        assert!("append,append".parse::<Mix>().is_err());
        assert!("append=x".parse::<Mix>().is_err());
    }

    #[test]
    fn sizes_and_keys_are_parsed_or_refused() {
        let sizes: Sizes = "100-4000".parse().unwrap();
        assert_eq!((sizes.min, sizes.max), (100, 4000));
        assert!("9-1".parse::<Sizes>().is_err());
        assert!("1k".parse::<Sizes>().is_err());
        assert!("99999999999".parse::<Sizes>().is_err());
        assert_eq!("zipf=1.2".parse(), Ok(KeyDraw::Zipf(1.2)));
        assert!("zipf=-1".parse::<KeyDraw>().is_err());
        assert!("normal".parse::<KeyDraw>().is_err());
    }

    #[test]
    fn a_url_keeps_its_path_and_needs_plain_http() {
        let node = Node::parse("http://127.0.0.1:4283/tenants/coke/").unwrap();
        assert_eq!(
            (node.host.as_str(), node.base.as_str()),
            ("127.0.0.1:4283", "/tenants/coke")
        );
        assert_eq!(Node::parse("http://127.0.0.1").unwrap().address.port(), 80);
        assert!(
            Node::parse("https://127.0.0.1")
                .unwrap_err()
                .to_string()
                .contains("plain HTTP")
        );
        assert!(Node::parse("127.0.0.1:4283").is_err());
    }
}
