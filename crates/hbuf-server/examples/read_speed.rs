//! What reading a buffer costs beside reading its files: prints ratios measured in the same run.
//!
//! `cargo run --release -p hbuf-server --example read_speed [messages] [body bytes]`

use std::fs::File;
use std::io::{self, BufWriter, Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use hbuf_core::commitment::{Leaf, PLAIN_FACTS, commitment};
use hbuf_core::ids::{Epoch, Micros, Seq, Uuid};
use hbuf_core::limits::SEGMENT_BYTES_DEFAULT;
use hbuf_core::record::{Facts, Frame, Proof, ProofKind, encode, head_len};
use hbuf_core::segment::{FORMAT, LogKind, SegmentHead, file_name};
use hbuf_core::tree::Frontier;
use hbuf_server::read::{ReadShared, Readable, SegmentAt};
use tokio::io::AsyncWriteExt;
use tokio::runtime::Runtime;

type Failed = Box<dyn std::error::Error>;

fn main() -> Result<(), Failed> {
    let mut arguments = std::env::args().skip(1).map(|text| text.parse::<u64>());
    let messages = arguments.next().transpose()?.unwrap_or(1_000_000);
    let body = arguments.next().transpose()?.unwrap_or(256);
    let dir = tempfile::tempdir()?;
    let segments = write(dir.path(), messages, usize::try_from(body)?)?;
    let bytes: u64 = segments.iter().map(|segment| segment.bytes).sum();
    println!(
        "{messages} messages of {body} bytes, {} segments, {bytes} bytes",
        segments.len()
    );

    let open = || {
        let (dir, commit) = (dir.path().to_owned(), Seq(messages));
        Readable::new(&ReadShared::new(), dir, LOG, Seq::FIRST, commit, &segments)
    };
    let buffer = open();
    for pair in segments.windows(2) {
        buffer.sealed(pair[0].first, pair[0].bytes);
    }
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()?;
    let plain = best(|| read_plainly(dir.path(), &segments))?;
    println!("plain read of the files          {plain:>12.1?}   1.00");
    let show = |what: &str, took: Duration| {
        let ratio = plain.as_secs_f64() / took.as_secs_f64();
        println!("{what:<32} {took:>12.1?}   {ratio:.2}");
    };
    show(
        "stream",
        best(|| runtime.block_on(stream(&buffer, messages)))?,
    );
    show("walk of every line", best(|| walk(&open()))?);
    show(
        "pages of 1,000",
        best(|| runtime.block_on(pages(&buffer, messages, 1_000)))?,
    );
    over_sockets(&runtime, dir.path(), &segments, &buffer)?;
    let some = 20_000.min(messages);
    let single = best(|| runtime.block_on(pages(&buffer, some, 1)))?;
    println!(
        "one message a read               {:>12.1?}   each",
        single / u32::try_from(some)?
    );
    prove(&runtime, &open(), messages)?;
    prove(&runtime, &open(), messages)
}

/// Sends everything to a client over loopback: the files as a bare server would send them, and the
/// stream.
fn over_sockets(
    runtime: &Runtime,
    dir: &Path,
    segments: &[SegmentAt],
    buffer: &Arc<Readable>,
) -> Result<(), Failed> {
    let (mut plain, mut stream) = (
        (Duration::MAX, Duration::MAX),
        (Duration::MAX, Duration::MAX),
    );
    // In turns, so that both meet the same neighbours.
    for _ in 0..5 {
        let paths = segments
            .iter()
            .map(|segment| dir.join(file_name(segment.first)));
        plain = plain.min(sent(runtime, send_files(paths.collect()))?);
        stream = stream.min(sent(runtime, send_stream(Arc::clone(buffer)))?);
    }
    let ratio = plain.0.as_secs_f64() / stream.0.as_secs_f64();
    println!(
        "files over a socket              {:>12.1?}   1.00  cpu {:.1?}",
        plain.0, plain.1
    );
    println!(
        "stream over a socket             {:>12.1?}   {ratio:.2}  cpu {:.1?}",
        stream.0, stream.1
    );
    Ok(())
}

/// A sender's work, once its client is there.
type Sending = Pin<Box<dyn Future<Output = io::Result<()>> + Send>>;

/// Time until a client has everything, and processor time of both ends.
fn sent(
    runtime: &Runtime,
    send: impl FnOnce(tokio::net::TcpStream) -> Sending + Send + 'static,
) -> Result<(Duration, Duration), Failed> {
    let listener = runtime.block_on(tokio::net::TcpListener::bind("127.0.0.1:0"))?;
    let address = listener.local_addr()?;
    let (started, cpu) = (Instant::now(), cpu()?);
    let sending = runtime.spawn(async move { send(listener.accept().await?.0).await });
    let mut client = TcpStream::connect(address)?;
    let mut piece = vec![0; 256 << 10];
    while client.read(&mut piece)? > 0 {}
    runtime.block_on(sending)??;
    Ok((started.elapsed(), self::cpu()? - cpu))
}

fn send_stream(buffer: Arc<Readable>) -> impl FnOnce(tokio::net::TcpStream) -> Sending {
    move |mut socket| {
        Box::pin(async move {
            let mut pieces = buffer.stream(Seq::ZERO, Seq::MAX);
            while let Some(piece) = pieces.next().await {
                socket
                    .write_all(&piece.map_err(io::Error::other)?.bytes)
                    .await?;
            }
            Ok(())
        })
    }
}

fn send_files(paths: Vec<PathBuf>) -> impl FnOnce(tokio::net::TcpStream) -> Sending {
    move |mut socket| {
        Box::pin(async move {
            let (send, mut receive) = tokio::sync::mpsc::channel(4);
            tokio::task::spawn_blocking(move || -> io::Result<()> {
                for path in paths {
                    let mut file = File::open(path)?;
                    loop {
                        let mut piece = Vec::with_capacity(256 << 10);
                        if (&mut file).take(256 << 10).read_to_end(&mut piece)? == 0 {
                            break;
                        }
                        if send.blocking_send(piece).is_err() {
                            return Ok(());
                        }
                    }
                }
                Ok(())
            });
            while let Some(piece) = receive.recv().await {
                socket.write_all(&piece).await?;
            }
            Ok(())
        })
    }
}

/// Processor time of this process so far, from its ticks of 10 ms.
fn cpu() -> Result<Duration, Failed> {
    let text = std::fs::read_to_string("/proc/self/stat")?;
    let fields = text
        .rsplit(") ")
        .next()
        .unwrap_or_default()
        .split(' ')
        .skip(11)
        .take(2);
    let ticks = fields.map(str::parse::<u64>).sum::<Result<u64, _>>()?;
    Ok(Duration::from_millis(ticks * 10))
}

fn prove(runtime: &Runtime, buffer: &Arc<Readable>, size: u64) -> Result<(), Failed> {
    for at in [size / 3, size / 3, size / 2] {
        let started = Instant::now();
        runtime.block_on(buffer.inclusion(Seq(at.max(1)), size))?;
        println!(
            "inclusion of {at:<9} in {size:<9} {:>10.1?}",
            started.elapsed()
        );
    }
    Ok(())
}

/// The shortest of five runs.
fn best(mut run: impl FnMut() -> Result<(), Failed>) -> Result<Duration, Failed> {
    let mut shortest = Duration::MAX;
    for _ in 0..5 {
        let started = Instant::now();
        run()?;
        shortest = shortest.min(started.elapsed());
    }
    Ok(shortest)
}

fn read_plainly(dir: &Path, segments: &[SegmentAt]) -> Result<(), Failed> {
    let mut piece = vec![0; 256 << 10];
    for segment in segments {
        let mut file = File::open(dir.join(file_name(segment.first)))?;
        while file.read(&mut piece)? > 0 {}
    }
    Ok(())
}

async fn stream(buffer: &Arc<Readable>, messages: u64) -> Result<(), Failed> {
    let mut pieces = buffer.stream(Seq::ZERO, Seq(messages));
    let mut last = Seq::ZERO;
    while let Some(piece) = pieces.next().await {
        last = piece?.last;
    }
    assert_eq!(last, Seq(messages));
    Ok(())
}

async fn pages(buffer: &Arc<Readable>, messages: u64, limit: u64) -> Result<(), Failed> {
    let mut after = Seq::ZERO;
    while after.0 < messages {
        after = buffer.read(after, limit, 1 << 20).await?.last;
    }
    Ok(())
}

/// Makes every index anew.
fn walk(buffer: &Readable) -> Result<(), Failed> {
    let files: Vec<_> = std::fs::read_dir(buffer.dir())?.collect::<Result<_, _>>()?;
    for file in files
        .iter()
        .filter(|file| file.path().extension().is_some_and(|e| e == "idx"))
    {
        std::fs::remove_file(file.path())?;
    }
    for file in files
        .iter()
        .filter(|file| file.path().extension().is_some_and(|e| e == "hbuf"))
    {
        let first = file
            .path()
            .file_stem()
            .and_then(|stem| stem.to_str()?.parse().ok());
        buffer.sealed(Seq(first.unwrap_or_default()), file.metadata()?.len());
    }
    Ok(())
}

fn write(dir: &Path, messages: u64, body: usize) -> Result<Vec<SegmentAt>, Failed> {
    let (mut frontier, mut segments) = (Frontier::new(), Vec::<SegmentAt>::new());
    let mut file = BufWriter::new(tempfile::tempfile()?);
    let body: Vec<u8> = (0..body).map(|at| b'a' + (at % 26) as u8).collect();
    let mut bytes = Vec::new();
    for seq in 1..=messages {
        if segments
            .last()
            .is_none_or(|segment| segment.bytes >= SEGMENT_BYTES_DEFAULT)
        {
            file.flush()?;
            file = BufWriter::new(File::create(dir.join(file_name(Seq(seq))))?);
            segments.push(SegmentAt {
                first: Seq(seq),
                bytes: 0,
            });
            head(Seq(seq), &frontier).encode(&mut bytes);
        }
        let leaf = leaf(seq, &body);
        let proof = Proof::Salted {
            salt: [7; 32],
            id: leaf.id(),
        };
        frontier.push(leaf.id());
        encode(
            &Frame {
                seq: leaf.seq,
                time: leaf.time,
                epoch: Epoch(1),
                distance: 1,
                rest: 0,
                facts: &Facts::default(),
                lines: LINES,
                proof,
                body: &body,
            },
            &mut bytes,
        );
        file.write_all(&bytes)?;
        if let Some(segment) = segments.last_mut() {
            segment.bytes += bytes.len() as u64;
        }
        bytes.clear();
    }
    file.flush()?;
    Ok(segments)
}

fn leaf(seq: u64, body: &[u8]) -> Leaf {
    Leaf {
        log: LOG,
        seq: Seq(seq),
        time: Micros(1_700_000_000_000_000 + seq),
        head_len: head_len(
            &Facts::default(),
            LINES.len(),
            body.len(),
            ProofKind::Salted,
        ),
        body_len: body.len() as u64,
        facts: PLAIN_FACTS,
        commitment: commitment(&[7; 32], LINES, body),
    }
}

fn head(first: Seq, frontier: &Frontier) -> SegmentHead {
    SegmentHead {
        format: FORMAT,
        kind: LogKind::Messages,
        buffer: LOG,
        log: LOG,
        history: LOG,
        first,
        time: Micros(1_700_000_000_000_000),
        epoch: Epoch(1),
        frontier: frontier.clone(),
        epochs: vec![(Epoch(1), Seq::FIRST)],
        compacted: None,
    }
}

const LOG: Uuid = Uuid([0x4c; 16]);
const LINES: &[u8] = b"x-hbuf-key: user-1717\r\ncontent-type: application/json\r\n";
