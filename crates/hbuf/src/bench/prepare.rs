//! Before a run: is there a server, do the buffers exist, is there enough to read?

use std::sync::Arc;

use anyhow::{Context, bail, ensure};
use tokio::task::JoinSet;

use super::payload::{Shape, Target, Writer};
use super::plan::{Node, Plan};
use super::problem;
use super::transport::{Transport, Version};

const INPUT_BYTES: usize = 64 << 10;
/// Connections that make buffers at the same time.
const PARALLEL_MAX: usize = 64;

/// Asks each node whether it is ready.
pub(crate) async fn probe(plan: &Plan) -> anyhow::Result<()> {
    for node in &plan.nodes {
        let mut transport = connect(plan, node).await?;
        let host = &node.host;
        let request = format!("GET /readyz HTTP/1.1\r\nhost: {host}\r\naccept: */*\r\n\r\n");
        let url = &node.url;
        let reply = transport
            .send(request.as_bytes())
            .await
            .with_context(|| url.clone())?;
        let body = transport
            .body_text(problem::BYTES_MAX)
            .await
            .with_context(|| url.clone())?;
        let said = || problem::sentence(reply.status, &body);
        ensure!(
            reply.status != 404,
            "{url}: no hbuf there: GET /readyz is not found"
        );
        ensure!(reply.status == 200, "{url}: not ready: {}", said());
    }
    Ok(())
}

async fn connect(plan: &Plan, node: &Node) -> anyhow::Result<Transport> {
    let version = if plan.args.http2 {
        Version::Http2
    } else {
        Version::Http1
    };
    let connected = Transport::connect(version, node.address, INPUT_BYTES).await;
    connected.with_context(|| {
        format!(
            "no server at {}: start one with `hbuf serve`, or name another with --url",
            node.url
        )
    })
}

/// Makes every buffer hold a message, and `--fill` messages where asked; returns the last seqs.
///
/// A run that only reads appends nothing but the filling.
pub(crate) async fn buffers(
    plan: &Arc<Plan>,
    shape: &Arc<Shape>,
    fill: u64,
) -> anyhow::Result<Vec<u64>> {
    let mut last = vec![0; plan.args.buffers];
    if !plan.args.mix.appends() && fill == 0 {
        return Ok(last);
    }
    let parallel = PARALLEL_MAX.min(plan.args.buffers);
    let mut tasks = JoinSet::new();
    for task in 0..parallel {
        let (plan, shape) = (Arc::clone(plan), Arc::clone(shape));
        tasks.spawn(async move { fill_share(&plan, shape, task, parallel, fill).await });
    }
    while let Some(joined) = tasks.join_next().await {
        for (n, seq) in joined?? {
            last[n] = seq;
        }
    }
    Ok(last)
}

/// Fills every buffer whose number is `task` modulo `parallel`; returns numbers and last seqs.
async fn fill_share(
    plan: &Plan,
    shape: Arc<Shape>,
    task: usize,
    parallel: usize,
    fill: u64,
) -> anyhow::Result<Vec<(usize, u64)>> {
    let node = &plan.nodes[task % plan.nodes.len()];
    let mut transport = connect(plan, node).await?;
    let mut writer = Writer::new(shape, u64::MAX - task as u64);
    let mut last = Vec::new();
    for n in (task..plan.args.buffers).step_by(parallel) {
        let name = plan.buffer_name(n);
        let target = Target {
            node,
            buffer: &name,
        };
        let seq = fill_one(&mut transport, &mut writer, &target, fill).await;
        last.push((n, seq.with_context(|| format!("buffer {name}"))?));
    }
    Ok(last)
}

/// Appends to one buffer; returns its last seq.
async fn fill_one(
    transport: &mut Transport,
    writer: &mut Writer,
    target: &Target<'_>,
    fill: u64,
) -> anyhow::Result<u64> {
    let mut seq = 0;
    let mut written = 0;
    while written == 0 || written < fill {
        let request = if fill > 0 {
            writer.batch(target, 0)
        } else {
            writer.append(target, 0)
        };
        let reply = transport.send(request).await?;
        let body = transport.body_text(problem::BYTES_MAX).await?;
        if !matches!(reply.status, 200..=202) {
            bail!("{}", problem::sentence(reply.status, &body));
        }
        let Some(found) = reply.seq else {
            bail!("the reply to an append has no x-hbuf-seq")
        };
        seq = found;
        written += writer.messages;
    }
    Ok(seq)
}

/// Refuses to measure reads of nothing.
pub(crate) async fn readable(plan: &Plan, shape: &Arc<Shape>) -> anyhow::Result<()> {
    let node = &plan.nodes[0];
    let name = plan.buffer_name(0);
    let target = Target {
        node,
        buffer: &name,
    };
    let mut transport = connect(plan, node).await?;
    let mut writer = Writer::new(Arc::clone(shape), 0);
    let request = writer.get(&target, "/messages?after=0&limit=1", "application/http");
    let reply = transport.send(request).await?;
    let body = transport.body_text(problem::BYTES_MAX).await?;
    if reply.status != 200 && reply.status != 204 {
        bail!("buffer {name}: {}", problem::sentence(reply.status, &body));
    }
    ensure!(
        !body.is_empty(),
        "buffer {name} is empty: say --fill MESSAGES, or read another --buffer"
    );
    Ok(())
}
