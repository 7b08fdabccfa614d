//! The engine without HTTP: appends per second of single messages and of batches, to see what the
//! rest costs. `cargo run --release -p hbuf-server --example append_speed [directory]`

use std::time::{Duration, Instant};

use bytes::Bytes;
use hbuf_core::buffer::Demands;
use hbuf_core::name::Name;
use hbuf_server::engine::{Append, Content, Engine, EngineSettings};

#[tokio::main]
async fn main() {
    let data = std::env::args()
        .nth(1)
        .map_or_else(|| std::env::temp_dir().join("append-speed"), Into::into);
    let _ = std::fs::remove_dir_all(&data);
    let engine = Engine::start(EngineSettings {
        data,
        ..EngineSettings::default()
    })
    .await
    .expect("it starts");
    for (tasks, batch, buffers) in [(1, 1, 1), (64, 1, 1), (64, 1, 5_000), (4, 1_000, 1)] {
        let rate = measure(&engine, tasks, batch, buffers).await;
        println!("{tasks} tasks, {batch} a batch, {buffers} buffers: {rate:.0} messages/s");
    }
    engine.stop().await;
}

async fn measure(engine: &Engine, tasks: usize, batch: usize, buffers: usize) -> f64 {
    let tenant = Name::default_tenant();
    let mut open = Vec::new();
    for n in 0..buffers {
        let name = format!("b{batch}-{buffers}-{n}");
        open.push(
            engine
                .buffer_or_create(&tenant, &name, Demands::default())
                .await
                .expect("it is made"),
        );
    }
    let body = Bytes::from(vec![b'x'; 256]);
    let start = Instant::now();
    let end = start + Duration::from_secs(3);
    let mut running = Vec::new();
    for task in 0..tasks {
        let (open, body) = (open.clone(), body.clone());
        running.push(tokio::spawn(async move {
            let (mut count, mut next) = (0, task);
            while Instant::now() < end {
                let contents = (0..batch)
                    .map(|_| Content::seal(Bytes::new(), body.clone()))
                    .collect();
                let append = Append {
                    contents,
                    ..Append::default()
                };
                open[next % open.len()]
                    .append(append)
                    .await
                    .expect("it is appended");
                count += batch;
                next += 7;
            }
            count
        }));
    }
    let mut count = 0;
    for task in running {
        count += task.await.expect("no task fails");
    }
    count as f64 / start.elapsed().as_secs_f64()
}
