//! `POST` to a topic: split over its buffers, each part all or nothing, a line a message in reply.

use hbuf_core::name::Name;
use hbuf_core::topic::Aim;

use super::appends::{Posted, Target, not_created, whole};
use super::replies::{LineOf, Place, split_reply};
use crate::engine::{Append, AppendReply, Begun, Buffer, Content, Routed, RoutedPart};
use crate::http::App;
use crate::http::call::{Reply, tenant_or_default};
use crate::http::problem::{Code, Problem};
use std::sync::Arc;

/// Appends to a topic.
pub(super) async fn append(app: &App, tenant: Option<&Name>, name: &str, what: Posted) -> Reply {
    let owner = tenant_or_default(tenant);
    let token = what.controls.idempotency_key.as_deref();
    let aim = |content: &Content| Aim::of(&content.lines, token);
    let aims: Vec<Aim> = what.contents.iter().map(aim).collect();
    let routed = app
        .engine
        .route(owner, name, &aims, what.controls.demands());
    let routed = routed.await;
    let mut routed = routed.map_err(|error| not_created(error, name, Target::Topic))?;
    if routed.buffers > 1 {
        refuse_what_needs_one(&what, &routed)?;
    }
    let alone = routed.buffers == 1 || what.single;
    if alone && let Some(part) = routed.parts.pop() {
        let buffer = app.engine.part_buffer(&part).await?;
        let place = Place {
            tenant: tenant.map(Name::as_str),
            buffer: part.name.as_str(),
        };
        return whole(&buffer, what, &place, Target::Topic).await;
    }
    split(app, routed, what).await
}

/// Producer numbers and the log's end are those of one buffer.
fn refuse_what_needs_one(what: &Posted, routed: &Routed) -> Result<(), Box<Problem>> {
    let header = match &what.controls {
        controls if controls.producer.is_some() => "x-hbuf-producer",
        controls if controls.if_match.is_some() => "if-match",
        _ => return Ok(()),
    };
    let instead = match header {
        "if-match" => "append to one of them by its own name",
        _ => "send idempotency-key, or append to one of them by its own name",
    };
    Err(Problem::new(
        Code::SeveralBuffers,
        format!(
            "`{header}` counts in one buffer, and this topic has {}: {instead}. Nothing was stored.",
            routed.buffers
        ),
    )
    .fact("buffers", routed.buffers))
}

/// A part that its buffer has, or why it has not.
type Sent = Result<(Arc<Buffer>, Begun), Box<Problem>>;

/// Hands all parts to their buffers, then waits for all of them: their syncs overlap.
async fn split(app: &App, routed: Routed, what: Posted) -> Reply {
    let asked = what.controls.ack;
    let mut contents: Vec<Option<Content>> = what.contents.into_iter().map(Some).collect();
    let mut lines: Vec<Option<LineOf>> = contents.iter().map(|_| None).collect();
    let mut sent: Vec<(RoutedPart, Sent)> = Vec::with_capacity(routed.parts.len());
    for part in routed.parts {
        let of_part = part.messages.iter();
        let append = Append {
            contents: of_part
                .filter_map(|message| contents[*message].take())
                .collect(),
            ack: asked,
            idempotency_key: what.controls.idempotency_key.clone(),
            ids: true,
            ..Append::default()
        };
        let begun = begin(app, &part, append).await;
        sent.push((part, begun));
    }
    for (part, begun) in sent {
        let done = match begun {
            Ok((buffer, begun)) => buffer.finish(begun).await.map_err(Into::into),
            Err(problem) => Err(problem),
        };
        fill(&part, done, &mut lines);
    }
    Ok(split_reply(lines.into_iter().flatten(), asked))
}

async fn begin(app: &App, part: &RoutedPart, append: Append) -> Sent {
    let buffer = app.engine.part_buffer(part).await?;
    let begun = buffer.begin(append)?;
    Ok((buffer, begun))
}

/// The lines of a part's messages, each at its place in the input.
fn fill(part: &RoutedPart, done: Result<AppendReply, Box<Problem>>, lines: &mut [Option<LineOf>]) {
    let done = done.map(Arc::new).map_err(Arc::from);
    for (index, message) in part.messages.iter().enumerate() {
        lines[*message] = Some(LineOf {
            buffer: part.name.clone(),
            index,
            done: done.clone(),
        });
    }
}
