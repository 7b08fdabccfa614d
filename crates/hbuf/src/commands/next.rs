//! `hbuf next`, `hbuf ack`, `hbuf nack`: a worker's side of a consumer.

use std::process::ExitCode;

use anyhow::Result;
use clap::Args;
use hbuf_client::{Acks, HandedMessage, Leased, NextOptions, Outcome};
use hbuf_core::limits::{
    CONSUMER_ACKS_MAX, CONSUMER_DELAY_MS_MAX, READ_LIMIT_MAX, WAIT_SECONDS_MAX,
};
use serde_json::{Value, json};

use super::block_on;
use super::consumers::ConsumerArgs;
use super::render::to_json;
use crate::output::Out;

pub(crate) const EXAMPLES: &str = "A line begins with what `hbuf ack` and `hbuf nack` take, then a tab and the body; where nothing is
left to ack (--ack, or a consumer that acks on delivery) it is the body alone.

Examples:
  hbuf next orders billing
  hbuf next orders billing --limit 100 --wait 20 --ack
  hbuf next shop audit --topic --json";

pub(crate) const ACK_EXAMPLES: &str =
    "Exit code 1 says that a message was not acked: its lease is over, or its buffer takes nothing now.

Examples:
  hbuf ack orders billing orders/7/00000000000000ff";

pub(crate) const NACK_EXAMPLES: &str =
    "Exit code 1 says that a message was not given back: its lease is over, or its buffer takes
nothing now.

Examples:
  hbuf nack orders billing orders/7/00000000000000ff --delay-ms 5000";

/// Of which consumer, how many, and what becomes of them.
#[derive(Debug, Args)]
pub(crate) struct NextArgs {
    #[command(flatten)]
    which: ConsumerArgs,
    /// At most so many messages
    #[arg(long, default_value_t = 1, value_name = "COUNT",
          value_parser = clap::value_parser!(u64).range(1..=READ_LIMIT_MAX))]
    limit: u64,
    /// Wait so long for a message when there is none
    #[arg(long, default_value_t = 0, value_name = "SECONDS",
          value_parser = clap::value_parser!(u64).range(..=WAIT_SECONDS_MAX))]
    wait: u64,
    /// Ack the messages once they are printed
    #[arg(long)]
    ack: bool,
    /// Print JSON, one value a line
    #[arg(long)]
    json: bool,
}

/// Which messages of which consumer.
#[derive(Debug, Args)]
pub(crate) struct AckArgs {
    #[command(flatten)]
    which: ConsumerArgs,
    /// Messages, as `hbuf next` prints them
    #[arg(required = true, num_args = 1..=CONSUMER_ACKS_MAX, value_name = "BUFFER/SEQ/LEASE",
          value_parser = parse_leased)]
    messages: Vec<Leased>,
}

/// Which messages of which consumer, and when they come again.
#[derive(Debug, Args)]
pub(crate) struct NackArgs {
    #[command(flatten)]
    messages: AckArgs,
    /// Hand them out again after so many milliseconds
    #[arg(long, default_value_t = 0, value_name = "MS",
          value_parser = clap::value_parser!(u64).range(..=CONSUMER_DELAY_MS_MAX))]
    delay_ms: u64,
}

pub(crate) fn command(args: &NextArgs) -> Result<ExitCode> {
    let ConsumerArgs { log, consumer } = &args.which;
    let client = log.server.client()?;
    let options = NextOptions {
        limit: args.limit,
        wait_seconds: args.wait,
    };
    block_on(async {
        let handed = client
            .next(log.collection(), &log.name, consumer, options)
            .await?;
        for buffer in &handed.passed {
            eprintln!("hbuf: buffer `{buffer}` was passed: it is paused or unavailable");
        }
        let mut out = Out::new();
        for message in &handed.messages {
            show(message, args, &mut out)?;
        }
        // Acked is only what the reader of our output has.
        out.flush()?;
        if !args.ack {
            return Ok(ExitCode::SUCCESS);
        }
        let leased = handed.messages.iter().filter_map(HandedMessage::leased);
        let acks = Acks {
            ack: leased.collect(),
            ..Acks::default()
        };
        settle(&args.which, &acks).await
    })
}

pub(crate) fn ack(args: &AckArgs) -> Result<ExitCode> {
    let acks = Acks {
        ack: args.messages.clone(),
        ..Acks::default()
    };
    block_on(settle(&args.which, &acks))
}

pub(crate) fn nack(args: &NackArgs) -> Result<ExitCode> {
    let AckArgs { which, messages } = &args.messages;
    let messages = messages.iter().cloned();
    let acks = Acks {
        nack: messages.map(|leased| (leased, args.delay_ms)).collect(),
        ..Acks::default()
    };
    block_on(settle(which, &acks))
}

/// Settles messages, and names those that could not be.
async fn settle(which: &ConsumerArgs, acks: &Acks) -> Result<ExitCode> {
    if *acks == Acks::default() {
        return Ok(ExitCode::SUCCESS);
    }
    let ConsumerArgs { log, consumer } = which;
    let client = log.server.client()?;
    let settled = client
        .ack(log.collection(), &log.name, consumer, acks)
        .await?;
    let done = |outcome: &&Outcome| matches!(&*outcome.result, "acked" | "already-acked");
    let acked = settled.ack.iter().filter(|outcome| !done(outcome));
    let nacked = settled.nack.iter().filter(|it| it.result != "nacked");
    let mut code = ExitCode::SUCCESS;
    for Outcome {
        buffer,
        seq,
        result,
        reason,
    } in acked.chain(nacked)
    {
        let reason = reason.iter().map(|reason| format!(": {reason}"));
        let reason: String = reason.collect();
        eprintln!("hbuf: message {seq} of `{buffer}`: {result}{reason}");
        code = ExitCode::from(1);
    }
    Ok(code)
}

fn show(message: &HandedMessage, args: &NextArgs, out: &mut Out) -> Result<()> {
    let record = message.record.view();
    if args.json {
        let mut value = json!({
            "buffer": message.buffer,
            "lease": message.lease,
            "deliveries": message.deliveries,
        });
        let fields: Value = serde_json::from_str(&to_json(&record))?;
        for (name, field) in fields.as_object().into_iter().flatten() {
            value[name] = field.clone();
        }
        return out.json(&value);
    }
    if let Some(Leased { buffer, seq, lease }) = message.leased().filter(|_| !args.ack) {
        out.bytes(format!("{buffer}/{seq}/{lease}\t").as_bytes())?;
    }
    out.foreign(record.body)?;
    out.line("")
}

fn parse_leased(text: &str) -> Result<Leased, String> {
    let mut parts = text.split('/');
    let leased = match (parts.next(), parts.next(), parts.next(), parts.next()) {
        (Some(buffer), Some(seq), Some(lease), None) => seq.parse().ok().map(|seq| Leased {
            buffer: buffer.to_owned(),
            seq,
            lease: lease.to_owned(),
        }),
        _ => None,
    };
    leased.ok_or_else(|| "write BUFFER/SEQ/LEASE, as `hbuf next` prints it".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_is_named_by_its_buffer_seq_and_lease() {
        let leased = parse_leased("a-b/7/00ff").unwrap();
        assert_eq!(
            (&*leased.buffer, leased.seq, &*leased.lease),
            ("a-b", 7, "00ff")
        );
        for bad in ["", "a", "a/7", "a/x/00", "a/7/00/1"] {
            assert!(parse_leased(bad).is_err(), "{bad}");
        }
    }
}
