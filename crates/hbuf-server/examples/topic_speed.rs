//! What reading a topic as one stream costs beside reading one buffer: both hold the same messages,
//! both are read as lines of JSON over loopback, in turns of the same run.
//!
//! `cargo run --release -p hbuf-server --example topic_speed [messages] [body bytes] [buffers]`

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use bytes::Bytes;
use hbuf_core::buffer::Demands;
use hbuf_core::name::Name;
use hbuf_server::engine::{Append, Content, Engine, EngineSettings};
use hbuf_server::http::{HttpSettings, serve};

type Failed = Box<dyn std::error::Error>;

/// Messages of one request.
const LIMIT: usize = 10_000;
/// Messages of one append: the times of the topic's buffers alternate with it.
const BATCH: usize = 100;

fn main() -> Result<(), Failed> {
    let mut arguments = std::env::args().skip(1).map(|text| text.parse::<usize>());
    let messages = arguments.next().transpose()?.unwrap_or(400_000);
    let body = arguments.next().transpose()?.unwrap_or(256);
    let buffers = arguments.next().transpose()?.unwrap_or(16);
    let dir = tempfile::tempdir()?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()?;
    let settings = EngineSettings {
        data: dir.path().join("data"),
        ..EngineSettings::default()
    };
    let engine = runtime.block_on(Engine::start(settings))?;
    runtime.block_on(fill(&engine, messages, body, buffers))?;
    let listener = runtime.block_on(tokio::net::TcpListener::bind("127.0.0.1:0"))?;
    let address = listener.local_addr()?;
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let serving = serve(
        listener,
        engine.clone(),
        HttpSettings::default(),
        async move {
            // A dropped sender stops the server as well.
            let _ = stopped.await;
        },
    );
    let serving = runtime.spawn(serving);
    for (what, query) in [("as it comes", ""), ("with a tag that all have", "&tag=t")] {
        let (mut one, mut topic) = (Duration::MAX, Duration::MAX);
        for _ in 0..3 {
            one = one.min(read_buffer(address, messages, query)?);
            topic = topic.min(read_topic(address, messages, query)?);
        }
        let ratio = one.as_secs_f64() / topic.as_secs_f64();
        let rate = |took: Duration| messages as f64 / took.as_secs_f64();
        println!("{messages} messages of {body} bytes, lines of JSON, {what}:");
        println!(
            "  one buffer         {one:>10.1?}  {:>9.0} messages/s   1.00",
            rate(one)
        );
        println!(
            "  {buffers:>4} buffers as one {topic:>9.1?}  {:>9.0} messages/s   {ratio:.2}",
            rate(topic)
        );
    }
    drop(stop);
    runtime.block_on(async {
        serving.await?;
        engine.stop().await;
        Ok(())
    })
}

/// One buffer `one`, and a topic `topic` of several, with the same messages.
async fn fill(engine: &Engine, messages: usize, body: usize, buffers: usize) -> Result<(), Failed> {
    let tenant = Name::default_tenant();
    let names: Vec<Name> = (0..buffers)
        .map(|n| Name::parse(&format!("b{n}")))
        .collect::<Result<_, _>>()?;
    let one = engine
        .buffer_or_create(&tenant, "one", Demands::default())
        .await?;
    let mut many = Vec::new();
    for name in &names {
        many.push(
            engine
                .buffer_or_create(&tenant, name.as_str(), Demands::default())
                .await?,
        );
    }
    let topic = Name::parse("topic")?;
    engine
        .create_topic(&tenant, &topic, Some(names), None)
        .await?;
    let body = Bytes::from(vec![b'x'; body]);
    for (turn, start) in (0..messages).step_by(BATCH).enumerate() {
        let count = BATCH.min(messages - start);
        let lines = Bytes::from_static(b"x-hbuf-tag: t\r\n");
        let content = || Content::seal(lines.clone(), body.clone());
        for buffer in [&one, &many[turn % buffers]] {
            let append = Append {
                contents: (0..count).map(|_| content()).collect(),
                ..Append::default()
            };
            buffer.append(append).await?;
        }
    }
    Ok(())
}

fn read_buffer(address: SocketAddr, messages: usize, query: &str) -> Result<Duration, Failed> {
    let started = Instant::now();
    let mut reply = Vec::new();
    for after in (0..messages).step_by(LIMIT) {
        let target = format!("/buffers/one/messages?after={after}&limit={LIMIT}{query}");
        get(address, &target, &mut reply)?;
        check(&reply, LIMIT.min(messages - after), 0)?;
    }
    Ok(started.elapsed())
}

fn read_topic(address: SocketAddr, messages: usize, query: &str) -> Result<Duration, Failed> {
    let started = Instant::now();
    let (mut reply, mut cursor) = (Vec::new(), "0".to_owned());
    for start in (0..messages).step_by(LIMIT) {
        let target = format!("/topics/topic/messages?after={cursor}&limit={LIMIT}{query}");
        get(address, &target, &mut reply)?;
        check(&reply, LIMIT.min(messages - start), 1)?;
        let text = String::from_utf8_lossy(&reply[reply.len().saturating_sub(4_000)..]);
        let (_, rest) = text.rsplit_once("{\"cursor\":\"").ok_or("no cursor")?;
        cursor = rest.split('"').next().unwrap_or_default().to_owned();
    }
    Ok(started.elapsed())
}

/// Every message stands in a line, and so does what comes behind them.
fn check(reply: &[u8], messages: usize, behind: usize) -> Result<(), Failed> {
    let whole = |line: &&[u8]| line.starts_with(b"{") && line.ends_with(b"}");
    let lines = reply
        .split(|byte| *byte == b'\n')
        .filter(|line| line.starts_with(b"{"));
    // A line may be cut by the length of a chunk, so that it does not end as it begins.
    let (count, cut) = lines.fold((0, 0), |(count, cut), line| {
        (count + 1, cut + usize::from(!whole(&line)))
    });
    if count != messages + behind || cut > reply.len() / 1_000 {
        return Err(format!("{count} lines, {messages} messages were due").into());
    }
    Ok(())
}

fn get(address: SocketAddr, target: &str, reply: &mut Vec<u8>) -> Result<(), Failed> {
    reply.clear();
    let mut stream = TcpStream::connect(address)?;
    let head = format!(
        "GET {target} HTTP/1.1\r\nhost: localhost\r\naccept: application/x-ndjson\r\n\
         connection: close\r\n\r\n"
    );
    stream.write_all(head.as_bytes())?;
    stream.read_to_end(reply)?;
    if !reply.starts_with(b"HTTP/1.1 200") {
        return Err(String::from_utf8_lossy(reply).into_owned().into());
    }
    Ok(())
}
