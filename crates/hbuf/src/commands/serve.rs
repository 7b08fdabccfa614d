//! `hbuf serve`: gathers the settings, starts the server, says where it listens, stops it when
//! asked.
//!
//! The flags are made from the table in `config`, so a setting is written down once.

use std::collections::BTreeMap;
use std::fs;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use clap::{Arg, ArgAction, ArgMatches, Command};
use hbuf_core::commit_path::Choice;
use hbuf_server::engine::{Engine, EngineSettings};
use hbuf_server::http::HttpSettings;
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};

use crate::config::{Config, Form, KEYS, Key, Settings, show_bytes};
use crate::output::Out;

pub(crate) const EXAMPLES: &str = "Examples:
  hbuf serve
  hbuf serve --data /var/lib/hbuf --listen 127.0.0.1:4283
  hbuf serve --config hbuf.toml --print-config
  HBUF_PREWRITE_BYTES=16MiB hbuf serve

A flag wins over the environment, that over the file, that over the default.";

/// What was typed behind `hbuf serve`.
#[derive(Clone, Debug, Default)]
pub(crate) struct ServeArgs {
    config: Option<PathBuf>,
    print_config: bool,
    flags: BTreeMap<&'static str, String>,
}

pub(crate) fn command(args: &ServeArgs) -> Result<ExitCode> {
    let settings = gather(args)?;
    if args.print_config {
        let mut out = Out::new();
        out.bytes(settings.print().as_bytes())?;
        out.flush()?;
        return Ok(ExitCode::SUCCESS);
    }
    let config = settings.config();
    refuse_exposure(&config)?;
    start_log(&config)?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()?;
    runtime.block_on(run(&config))?;
    Ok(ExitCode::SUCCESS)
}

async fn run(config: &Config) -> Result<()> {
    let stop = stop_signal()?;
    // The port first: whoever starts a second server on it learns that before any file is touched.
    let listener = TcpListener::bind(config.listen)
        .await
        .with_context(|| format!("cannot listen on {}", config.listen))?;
    let engine = Engine::start(engine_settings(config)).await?;
    announce(listener.local_addr()?);
    hbuf_server::http::serve(listener, engine.clone(), http_settings(config), stop).await;
    engine.stop().await;
    Ok(())
}

fn engine_settings(config: &Config) -> EngineSettings {
    EngineSettings {
        data: config.data.clone(),
        node: config.node.clone(),
        shards: config.shards,
        choice: Choice {
            direct_files_max: config.direct_buffers_max,
            ..Choice::default()
        },
        journal_bytes: config.journal_bytes,
        checkpoint_seconds: config.checkpoint_seconds,
        idle_seconds: config.idle_seconds,
        retention_seconds: config.retention_sweep_seconds,
        prewrite_bytes: config.prewrite_bytes,
        create_on_write: config.create_on_write,
        scrub_bytes_per_second: config.scrub_bytes_per_second,
    }
}

fn http_settings(config: &Config) -> HttpSettings {
    HttpSettings {
        allowed_hosts: config.allowed_hosts.clone(),
        cors_origins: config.cors_origins.clone(),
        body_bytes_max: config.body_bytes_max,
        drain: Duration::from_secs(config.drain_seconds),
        stream_wait: Duration::from_secs(config.stream_wait_seconds),
        ..HttpSettings::default()
    }
}

fn gather(args: &ServeArgs) -> Result<Settings> {
    let named = args
        .config
        .clone()
        .or_else(|| std::env::var_os("HBUF_CONFIG").map(PathBuf::from));
    let file = match &named {
        Some(path) => {
            let text = fs::read_to_string(path)
                .with_context(|| format!("cannot read the settings in {}", path.display()))?;
            Some((path.display().to_string(), text))
        }
        None => None,
    };
    // A variable that is not UTF-8 cannot be one of ours.
    let environment = std::env::vars_os()
        .filter_map(|(name, text)| Some((name.into_string().ok()?, text.into_string().ok()?)));
    let file = file
        .as_ref()
        .map(|(path, text)| (path.as_str(), text.as_str()));
    Settings::gather(&args.flags, environment, file)
}

/// Without TLS and without credentials, only this machine may reach the server.
fn refuse_exposure(config: &Config) -> Result<()> {
    ensure!(
        config.insecure || config.listen.ip().is_loopback(),
        "{} can be reached from other machines, and anybody who reaches it may read and write everything; \
         listen on 127.0.0.1 behind a proxy that checks who calls, or say --insecure",
        config.listen
    );
    Ok(())
}

fn start_log(config: &Config) -> Result<()> {
    let filter = tracing_subscriber::EnvFilter::try_new(&config.log).with_context(|| {
        format!(
            "`{}` is no log filter; write info or info,hyper=debug",
            config.log
        )
    })?;
    let builder = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr);
    let started = match config.log_format.as_str() {
        "json" => builder.json().try_init(),
        _ => {
            let color = std::io::IsTerminal::is_terminal(&std::io::stderr());
            builder.with_ansi(color).try_init()
        }
    };
    started.map_err(|error| anyhow::anyhow!("cannot start the log: {error}"))
}

/// Prints where the server listens and what to try. The first line is for programs and stays as it
/// is.
fn announce(address: SocketAddr) {
    let url = format!("http://{address}");
    let mut out = Out::new();
    let text = format!(
        "listening on {url}\n\n\
         Try, in another terminal:\n  \
         curl {url}/topics/foo -d bar\n  \
         curl {url}/topics/foo/messages\n  \
         curl -N -H 'accept: text/event-stream' {url}/topics/foo/messages\n  \
         curl {url}/\n"
    );
    // Nobody may be reading: a server without a terminal goes on all the same.
    let _ = out.bytes(text.as_bytes()).and_then(|()| out.flush());
}

/// Ends at the first SIGTERM or SIGINT. The second one ends the process, for whoever cannot wait.
fn stop_signal() -> Result<impl Future<Output = ()>> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    Ok(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        tracing::info!(
            event = "stop_asked",
            "stopping; a second signal stops at once"
        );
        tokio::spawn(async move {
            tokio::select! {
                _ = terminate.recv() => {}
                _ = interrupt.recv() => {}
            }
            std::process::exit(130);
        });
    })
}

impl clap::Args for ServeArgs {
    fn augment_args(command: Command) -> Command {
        let command = command
            .arg(
                Arg::new("config")
                    .long("config")
                    .value_name("FILE")
                    .value_parser(clap::value_parser!(PathBuf))
                    .help("Settings in TOML, such as hbuf.toml [env: HBUF_CONFIG]"),
            )
            .arg(
                Arg::new("print_config")
                    .long("print-config")
                    .action(ArgAction::SetTrue)
                    .help("Print every setting with its value and its source, and stop"),
            );
        KEYS.iter()
            .fold(command, |command, key| command.arg(flag(key)))
    }

    fn augment_args_for_update(command: Command) -> Command {
        Self::augment_args(command)
    }
}

impl clap::FromArgMatches for ServeArgs {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, clap::Error> {
        let mut args = Self::default();
        args.update_from_arg_matches(matches)?;
        Ok(args)
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
        self.config = matches.get_one::<PathBuf>("config").cloned();
        self.print_config = matches.get_flag("print_config");
        for key in KEYS {
            if let Some(texts) = matches.get_many::<String>(key.name) {
                let texts: Vec<&str> = texts.map(String::as_str).collect();
                self.flags.insert(key.name, texts.join(","));
            }
        }
        Ok(())
    }
}

fn flag(key: &'static Key) -> Arg {
    let default = match key.form {
        Form::Bytes { .. } => key
            .default
            .parse()
            .map_or_else(|_| key.default.to_owned(), show_bytes),
        _ => key.default.to_owned(),
    };
    let default = if default.is_empty() {
        String::new()
    } else {
        format!("; default {default}")
    };
    let help = format!(
        "{} ({}{default}) [env: {}]",
        key.doc,
        key.bounds(),
        key.variable()
    );
    let arg = Arg::new(key.name).long(key.flag()).help(help);
    match key.form {
        Form::Flag => arg
            .value_name("BOOL")
            .num_args(0..=1)
            .require_equals(true)
            .default_missing_value("true"),
        Form::Texts => arg.value_name("TEXT").action(ArgAction::Append),
        Form::Path => arg.value_name("PATH"),
        Form::Address => arg.value_name("ADDRESS"),
        Form::Count { .. } => arg.value_name("NUMBER"),
        Form::Bytes { .. } => arg.value_name("BYTES"),
        Form::Choice(_) | Form::Text => arg.value_name("TEXT"),
    }
}
