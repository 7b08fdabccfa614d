use super::*;

fn gather(
    flags: &[(&'static str, &str)],
    environment: &[(&str, &str)],
    file: &str,
) -> Result<Settings> {
    let flags = flags
        .iter()
        .map(|(name, text)| (*name, (*text).to_owned()))
        .collect();
    let environment = environment
        .iter()
        .map(|(name, text)| ((*name).to_owned(), (*text).to_owned()));
    Settings::gather(&flags, environment, Some(("hbuf.toml", file)))
}

fn refusal(flags: &[(&'static str, &str)], environment: &[(&str, &str)], file: &str) -> String {
    format!("{:#}", gather(flags, environment, file).unwrap_err())
}

#[test]
fn a_flag_wins_over_the_environment_over_the_file_over_the_default() {
    let file = "prewrite_bytes = 8192\nidle_seconds = 2\ndrain_seconds = 3";
    let environment = [("HBUF_PREWRITE_BYTES", "16KiB"), ("HBUF_IDLE_SECONDS", "4")];
    let settings = gather(&[("prewrite_bytes", "32 KiB")], &environment, file).unwrap();
    let config = settings.config();
    assert_eq!(config.prewrite_bytes, 32 << 10);
    assert_eq!(config.idle_seconds, 4);
    assert_eq!(config.drain_seconds, 3);
    assert_eq!(config.checkpoint_seconds, 60);
    let printed = settings.print();
    for line in [
        "prewrite_bytes = 32768  # flag\n",
        "idle_seconds = 4  # environment\n",
        "drain_seconds = 3  # file\n",
        "checkpoint_seconds = 60  # default\n",
    ] {
        assert!(printed.contains(line), "{line} is not in {printed}");
    }
}

#[test]
fn what_is_printed_is_a_file_that_gives_the_same() {
    let flags = [
        ("direct_buffers_max", "18446744073709551615"),
        ("data", "a\"b"),
        ("allowed_hosts", "a, b"),
    ];
    let first = gather(&flags, &[("HBUF_LOG_FORMAT", "json")], "insecure = true").unwrap();
    let second = gather(&[], &[], &first.print()).unwrap();
    assert_eq!(first.config(), second.config());
    assert_eq!(second.config().direct_buffers_max, usize::MAX);
    assert_eq!(second.config().allowed_hosts, ["a", "b"]);
}

#[test]
fn an_unknown_key_is_refused_with_the_nearest_one() {
    assert_eq!(
        refusal(&[], &[], "prewrite_byte = 1"),
        "in hbuf.toml: no setting is called `prewrite_byte`; the nearest is `prewrite_bytes` \
         (`hbuf serve --print-config` shows all)"
    );
    let text = refusal(&[], &[("HBUF_LISTN", "x")], "");
    assert!(
        text.starts_with("environment variable HBUF_LISTN:") && text.contains("`listen`"),
        "{text}"
    );
}

#[test]
fn a_value_out_of_bounds_is_refused_where_it_stands() {
    assert_eq!(
        refusal(&[], &[], "prewrite_bytes = 1"),
        "in hbuf.toml: `1` does not fit `prewrite_bytes`: it takes bytes, 4 KiB to 1 GiB"
    );
    assert_eq!(
        refusal(&[("log_format", "xml")], &[], ""),
        "in --log-format: `xml` does not fit `log_format`: it takes text or json"
    );
    assert!(refusal(&[], &[], "data = 1.5").contains("cannot be float"));
    assert!(refusal(&[], &[], "listen = \"4283\"").contains("ADDRESS:PORT"));
}

#[test]
fn what_kubernetes_and_the_client_put_into_the_environment_is_left_alone() {
    let environment = [
        ("HBUF_SERVICE_HOST", "10.0.0.1"),
        ("HBUF_PORT", "tcp://10.0.0.1:4283"),
        ("HBUF_URL", "http://h"),
        ("PATH", "/bin"),
    ];
    assert_eq!(
        gather(&[], &environment, "").unwrap().config(),
        gather(&[], &[], "").unwrap().config()
    );
}

#[test]
fn every_default_fits_its_own_bounds() {
    for key in KEYS {
        if !key.default.is_empty() {
            key.check(key.default).unwrap();
        }
    }
}

#[test]
fn bytes_are_read_and_shown_with_units() {
    for (text, bytes) in [("1", 1), ("64KiB", 65_536), ("1 GiB", 1 << 30), ("7B", 7)] {
        assert_eq!(parse_bytes(text), Some(bytes), "{text}");
    }
    for text in ["", "KiB", "-1", "1.5MiB", "99999999999GiB"] {
        assert_eq!(parse_bytes(text), None, "{text}");
    }
    assert_eq!(show_bytes(3 << 20), "3 MiB");
    assert_eq!(show_bytes(0), "0 B");
}

#[test]
fn settings_in_the_operating_page_are_those_of_the_table() {
    const BEGIN: &str =
        "<!-- settings: written by `UPDATE_EXPECT=1 cargo nextest run -p hbuf settings` -->\n";
    const END: &str = "<!-- end of settings -->\n";
    let mut rows = String::from("\n| key | default | takes | what |\n|---|---|---|---|\n");
    for Key {
        name, default, doc, ..
    } in KEYS
    {
        let key = KEYS.iter().find(|key| key.name == *name).unwrap();
        let default = match key.form {
            Form::Bytes { .. } => show_bytes(default.parse().unwrap()),
            _ => (*default).to_owned(),
        };
        let default = if default.is_empty() {
            String::new()
        } else {
            format!("`{default}`")
        };
        let (flag, variable, bounds) = (key.flag(), key.variable(), key.bounds());
        rows.push_str(&format!(
            "| `{name}`, `--{flag}`, `{variable}` | {default} | {bounds} | {doc} |\n"
        ));
    }
    rows.push('\n');
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/OPERATING.md");
    let page = std::fs::read_to_string(&path).unwrap();
    let (before, rest) = page.split_once(BEGIN).unwrap();
    let (found, after) = rest.split_once(END).unwrap();
    if std::env::var_os("UPDATE_EXPECT").is_some() {
        std::fs::write(&path, format!("{before}{BEGIN}{rows}{END}{after}")).unwrap();
        return;
    }
    assert_eq!(found, rows, "run this test with UPDATE_EXPECT=1");
}

#[test]
fn every_event_has_a_line_in_the_operating_page() {
    let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let page = std::fs::read_to_string(root.join("docs/OPERATING.md")).unwrap();
    let mut left = vec![
        root.join("crates/hbuf-server/src"),
        root.join("crates/hbuf/src/commands"),
    ];
    let mut events = 0;
    while let Some(path) = left.pop() {
        if path.is_dir() {
            left.extend(
                std::fs::read_dir(path)
                    .unwrap()
                    .map(|entry| entry.unwrap().path()),
            );
            continue;
        }
        let source = std::fs::read_to_string(&path).unwrap_or_default();
        for rest in source.split("event = \"").skip(1) {
            let name = rest.split('"').next().unwrap();
            events += 1;
            let found = page.contains(&format!("`{name}`"));
            assert!(
                found,
                "docs/OPERATING.md has no line for the event `{name}`"
            );
        }
    }
    assert!(events > 10, "only {events} events were found");
}
