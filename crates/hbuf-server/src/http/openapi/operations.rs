//! What each route takes, gives and refuses.

use hbuf_core::cloudevents::{BATCH_TYPE, EVENT_TYPE};

use super::operation::{Gives, Media, Operation, asked, configure, json, plain};
use super::{Code, consumer_operations, stream_operations};

/// The operation of a route; `None` when there is none, which a test forbids.
pub(super) fn operation(method: &str, pattern: &str) -> Option<&'static Operation> {
    OPERATIONS
        .iter()
        .chain(consumer_operations::OPERATIONS)
        .chain(stream_operations::OPERATIONS)
        .find(|(of, at, _)| *of == method && *at == pattern)
        .map(|(_, _, operation)| operation)
}

#[cfg(test)]
pub(super) fn count() -> usize {
    let apart = consumer_operations::OPERATIONS.len() + stream_operations::OPERATIONS.len();
    OPERATIONS.len() + apart
}

/// What any request may be refused for.
pub(super) const ALWAYS: &[Code] = &[
    Code::HeaderInvalid,
    Code::QueryInvalid,
    Code::NameInvalid,
    Code::RequestMalformed,
    Code::OriginRefused,
    Code::RouteNotFound,
    Code::MethodNotAllowed,
    Code::TargetTooLong,
    Code::HostRefused,
    Code::HeadTooLarge,
    Code::Connections,
    Code::Stopping,
];

/// Finding and opening a buffer.
const BUFFER: &[Code] = &[
    Code::TenantNotFound,
    Code::BufferNotFound,
    Code::BeingCreated,
    Code::BufferOpening,
    Code::ReadFailed,
    Code::LogDamaged,
    Code::Overloaded,
];
const TOPIC: &[Code] = &[Code::TopicNotFound, Code::SeveralBuffers];
const FILTER: &[Code] = &[Code::FilterNotFound, Code::FilterDamaged];
/// Taking a body.
pub(super) const BODY: &[Code] = &[
    Code::BodyInvalid,
    Code::ContentTypeUnsupported,
    Code::BodyCut,
    Code::RequestSlow,
    Code::BodyTooLarge,
];
/// Changing the catalog.
pub(super) const CATALOG: &[Code] = &[
    Code::TenantNotFound,
    Code::NameTaken,
    Code::NamedMissing,
    Code::MirrorCycle,
    Code::ConfigInvalid,
    Code::VersionDiffers,
    Code::LimitReached,
    Code::BeingCreated,
    Code::DiskFull,
    Code::DiskFailed,
    Code::Unexpected,
];
const APPEND: &[Code] = &[
    Code::BatchInvalid,
    Code::BufferClosed,
    Code::BufferPaused,
    Code::BufferIsStream,
    Code::BufferIsMirror,
    Code::NotPrimary,
    Code::PrimaryChanged,
    Code::SeveralBuffers,
    Code::ProducerGap,
    Code::ProducerFenced,
    Code::ReplyGone,
    Code::EndDiffers,
    Code::KeyReused,
    Code::LogFull,
];
const READ: &[Code] = &[
    Code::SeqInvalid,
    Code::NotAcceptable,
    Code::HistoryDiffers,
    Code::MessageDropped,
    Code::FilterNotFound,
    Code::FilterDamaged,
];
const PROOF: &[Code] = &[Code::SeqInvalid, Code::ProofInvalid, Code::MessageDropped];

const APPEND_QUERY: &[&str] = &["ids", "keep", "lines"];
const APPEND_HEADERS: &[&str] = &[
    "x-hbuf-ack",
    "if-match",
    "x-hbuf-producer",
    "idempotency-key",
    "x-hbuf-key",
    "x-hbuf-tag",
    "x-hbuf-deliver-at",
];
const MESSAGES: &[Media] = &[
    Media::Bytes("application/octet-stream"),
    Media::Bytes("text/plain"),
    Media::Bytes("application/http"),
    Media::Bytes("application/x-ndjson"),
    Media::Bytes(EVENT_TYPE),
    Media::Bytes(BATCH_TYPE),
];
const APPENDED_HEADERS: &[&str] = &[
    "location",
    "x-hbuf-seq",
    "x-hbuf-id",
    "x-hbuf-buffer",
    "x-hbuf-time",
    "x-hbuf-epoch",
    "x-hbuf-ack",
];
const APPENDED: &[Gives] = &[
    Gives {
        status: 200,
        what: "A repeated append: the reply of the first one",
        media: &[],
        headers: &["x-hbuf-seq"],
    },
    Gives {
        status: 201,
        what: "Appended; the reply to a batch has a body, #/components/schemas/BatchReply",
        media: &[],
        headers: APPENDED_HEADERS,
    },
    Gives {
        status: 202,
        what: "Appended, not yet as safe as it will be",
        media: &[],
        headers: APPENDED_HEADERS,
    },
];
const TOPIC_APPENDED: &[Gives] = &[
    Gives {
        status: 200,
        what: "A batch: a line of JSON for each message, in the order of the input; or a repeated append",
        media: &[],
        headers: &[],
    },
    Gives {
        status: 201,
        what: "Appended",
        media: &[],
        headers: APPENDED_HEADERS,
    },
    Gives {
        status: 202,
        what: "Appended, not yet as safe as it will be",
        media: &[],
        headers: APPENDED_HEADERS,
    },
];
const READ_QUERY: &[&str] = &[
    "after",
    "limit",
    "wait",
    "from-time",
    "tag",
    "filter",
    "key",
    "latest",
    "kinds",
];
const TOPIC_READ_QUERY: &[&str] = &[
    "after-cursor",
    "limit",
    "wait",
    "from-time",
    "tag",
    "filter",
    "key",
    "latest",
    "kinds",
    "order",
];
const READ_HEADERS: &[&str] = &["x-hbuf-history", "if-none-match"];
const RANGE: &[Gives] = &[
    Gives {
        status: 200,
        what: "The messages, in the accepted type; none is an empty reply. A batch of CloudEvents comes with x-hbuf-after, behind which to go on",
        media: &[
            Media::Bytes("application/http"),
            Media::Text("application/x-ndjson"),
            Media::Json("Messages"),
            Media::Text("text/plain"),
            Media::Text("text/event-stream"),
            Media::Bytes(BATCH_TYPE),
        ],
        headers: &["x-hbuf-commit", "x-hbuf-history"],
    },
    NOT_MODIFIED,
];
const TOPIC_RANGE: &[Gives] = &[
    Gives {
        status: 200,
        what: "The messages of all buffers, and behind them, or in x-hbuf-after, where to go on",
        media: &[
            Media::Bytes("application/http"),
            Media::Text("application/x-ndjson"),
            Media::Json("TopicMessages"),
            Media::Text("text/plain"),
            Media::Text("text/event-stream"),
            Media::Bytes(BATCH_TYPE),
        ],
        headers: &["x-hbuf-commit", "x-hbuf-history"],
    },
    NOT_MODIFIED,
];
const NOT_MODIFIED: Gives = Gives {
    status: 304,
    what: "Not modified",
    media: &[],
    headers: &["etag"],
};
pub(super) const NO_CONTENT: Gives = Gives {
    status: 204,
    what: "Done",
    media: &[],
    headers: &[],
};

const fn append(
    id: &'static str,
    gives: &'static [Gives],
    refuses: &'static [&'static [Code]],
) -> Operation {
    Operation {
        query: APPEND_QUERY,
        headers: APPEND_HEADERS,
        takes: MESSAGES,
        ..plain(id, gives, refuses)
    }
}

const fn read(id: &'static str, refuses: &'static [&'static [Code]]) -> Operation {
    Operation {
        query: READ_QUERY,
        headers: READ_HEADERS,
        ..plain(id, RANGE, refuses)
    }
}

static OPERATIONS: &[(&str, &str, Operation)] = &[
    (
        "POST",
        "/buffers/{buffer}",
        append("appendToBuffer", APPENDED, &[BUFFER, CATALOG, BODY, APPEND]),
    ),
    (
        "POST",
        "/topics/{topic}",
        append(
            "appendToTopic",
            TOPIC_APPENDED,
            &[TOPIC, BUFFER, CATALOG, BODY, APPEND],
        ),
    ),
    (
        "GET",
        "/buffers/{buffer}/messages",
        read("readBuffer", &[BUFFER, READ]),
    ),
    (
        "GET",
        "/topics/{topic}/messages",
        Operation {
            query: TOPIC_READ_QUERY,
            headers: READ_HEADERS,
            ..plain(
                "readTopic",
                TOPIC_RANGE,
                &[
                    TOPIC,
                    BUFFER,
                    READ,
                    &[
                        Code::CursorInvalid,
                        Code::TopicTooWide,
                        Code::SeveralBuffers,
                    ],
                ],
            )
        },
    ),
    (
        "GET",
        "/buffers/{buffer}/messages/{seq}",
        Operation {
            headers: &["if-none-match"],
            ..asked(
                &["id"],
                plain(
                    "readMessage",
                    &[
                        Gives {
                            status: 200,
                            what: "The message's body and headers; as application/cloudevents+json where that is accepted by name",
                            media: &[Media::Bytes("*/*")],
                            headers: &["x-hbuf-seq", "x-hbuf-id", "etag"],
                        },
                        NOT_MODIFIED,
                    ],
                    &[
                        BUFFER,
                        READ,
                        &[
                            Code::MessageNotFound,
                            Code::MessageErased,
                            Code::MessageReplaced,
                        ],
                    ],
                ),
            )
        },
    ),
    (
        "DELETE",
        "/buffers/{buffer}/messages/{seq}",
        plain(
            "eraseMessage",
            &[],
            &[BUFFER, &[Code::SeqInvalid, Code::NotSupported]],
        ),
    ),
    (
        "GET",
        "/buffers",
        asked(
            &["after-name", "limit-list"],
            plain(
                "listBuffers",
                &[json(200, "A page of buffers", &[Media::Json("BufferList")])],
                &[],
            ),
        ),
    ),
    (
        "PUT",
        "/buffers/{buffer}",
        configure(
            "putBuffer",
            &[Media::Json("BufferSettings")],
            &[
                json(200, "Configured", &[Media::Json("Buffer")]),
                Gives {
                    status: 201,
                    what: "Created",
                    media: &[Media::Json("Buffer")],
                    headers: &["location"],
                },
            ],
            &[
                BUFFER,
                CATALOG,
                BODY,
                &[Code::TakesDeadLetters, Code::BufferIsStream],
            ],
        ),
    ),
    (
        "GET",
        "/buffers/{buffer}",
        plain(
            "describeBuffer",
            &[json(200, "The buffer", &[Media::Json("Buffer")])],
            &[BUFFER],
        ),
    ),
    (
        "DELETE",
        "/buffers/{buffer}",
        asked(
            &["force"],
            plain(
                "deleteBuffer",
                &[NO_CONTENT],
                &[BUFFER, CATALOG, &[Code::InTopics, Code::BufferPaused]],
            ),
        ),
    ),
    (
        "GET",
        "/buffers/{buffer}/filters",
        asked(
            &["after-name", "limit-list"],
            plain(
                "listFilters",
                &[json(200, "A page of filters", &[Media::Json("FilterList")])],
                &[BUFFER],
            ),
        ),
    ),
    (
        "PUT",
        "/buffers/{buffer}/filters/{filter}",
        configure(
            "putFilter",
            &[
                Media::Bytes("text/plain"),
                Media::Bytes("application/x-ndjson"),
            ],
            &[
                json(200, "Replaced", &[Media::Json("Filter")]),
                json(201, "Stored", &[Media::Json("Filter")]),
            ],
            &[
                BUFFER,
                BODY,
                &[
                    Code::FilterInvalid,
                    Code::FilterBusy,
                    Code::BufferPaused,
                    Code::LimitReached,
                    Code::DiskFull,
                    Code::DiskFailed,
                ],
            ],
        ),
    ),
    (
        "GET",
        "/buffers/{buffer}/filters/{filter}",
        plain(
            "describeFilter",
            &[json(200, "The filter", &[Media::Json("Filter")])],
            &[BUFFER, FILTER],
        ),
    ),
    (
        "DELETE",
        "/buffers/{buffer}/filters/{filter}",
        plain(
            "deleteFilter",
            &[NO_CONTENT],
            &[
                BUFFER,
                FILTER,
                &[
                    Code::FilterBusy,
                    Code::BufferPaused,
                    Code::DiskFull,
                    Code::DiskFailed,
                ],
            ],
        ),
    ),
    (
        "GET",
        "/buffers/{buffer}/state",
        plain(
            "getState",
            &[json(200, "The state", &[Media::Json("State")])],
            &[BUFFER],
        ),
    ),
    (
        "PUT",
        "/buffers/{buffer}/state",
        Operation {
            body_required: true,
            ..configure(
                "putState",
                &[Media::Json("State")],
                &[json(200, "The new state", &[Media::Json("State")])],
                &[BUFFER, CATALOG, BODY],
            )
        },
    ),
    (
        "GET",
        "/buffers/{buffer}/checkpoint",
        plain(
            "checkpoint",
            &[json(
                200,
                "Size and root of the tree",
                &[Media::Json("Checkpoint"), Media::Text("text/plain")],
            )],
            &[BUFFER, PROOF, &[Code::NotAcceptable]],
        ),
    ),
    (
        "GET",
        "/buffers/{buffer}/proof/inclusion",
        asked(
            &["seq", "size"],
            plain(
                "proveInclusion",
                &[json(200, "The proof", &[Media::Json("InclusionProof")])],
                &[BUFFER, PROOF],
            ),
        ),
    ),
    (
        "GET",
        "/buffers/{buffer}/proof/consistency",
        asked(
            &["from", "to"],
            plain(
                "proveConsistency",
                &[json(200, "The proof", &[Media::Json("ConsistencyProof")])],
                &[BUFFER, PROOF],
            ),
        ),
    ),
    (
        "GET",
        "/topics",
        asked(
            &["after-name", "limit-list"],
            plain(
                "listTopics",
                &[json(200, "A page of topics", &[Media::Json("TopicList")])],
                &[],
            ),
        ),
    ),
    (
        "PUT",
        "/topics/{topic}",
        configure(
            "putTopic",
            &[Media::Json("TopicSettings")],
            &[
                json(200, "It was there already", &[Media::Json("Topic")]),
                Gives {
                    status: 201,
                    what: "Created",
                    media: &[Media::Json("Topic")],
                    headers: &["location"],
                },
            ],
            &[TOPIC, BUFFER, CATALOG, BODY],
        ),
    ),
    (
        "GET",
        "/topics/{topic}",
        plain(
            "describeTopic",
            &[json(200, "The topic", &[Media::Json("Topic")])],
            &[TOPIC, &[Code::TenantNotFound]],
        ),
    ),
    (
        "DELETE",
        "/topics/{topic}",
        asked(
            &["buffers"],
            plain(
                "deleteTopic",
                &[NO_CONTENT],
                &[
                    TOPIC,
                    BUFFER,
                    CATALOG,
                    &[Code::LastTopic, Code::BufferPaused],
                ],
            ),
        ),
    ),
    (
        "GET",
        "/healthz",
        plain(
            "alive",
            &[json(200, "The process lives", &[Media::Json("Alive")])],
            &[],
        ),
    ),
    (
        "GET",
        "/readyz",
        plain(
            "ready",
            &[json(200, "The node takes requests", &[Media::Json("Node")])],
            &[&[Code::NotReady]],
        ),
    ),
    (
        "PUT",
        "/readyz",
        Operation {
            body_required: true,
            ..configure(
                "drain",
                &[Media::Json("Wanted")],
                &[json(200, "How the node is now", &[Media::Json("Node")])],
                &[BODY],
            )
        },
    ),
    (
        "GET",
        "/metrics",
        plain(
            "metrics",
            &[json(
                200,
                "The metrics",
                &[Media::Text("application/openmetrics-text")],
            )],
            &[],
        ),
    ),
    (
        "GET",
        "/openapi.json",
        plain(
            "openapi",
            &[json(200, "This document", &[Media::Json("Document")])],
            &[],
        ),
    ),
    (
        "GET",
        "/",
        plain(
            "routes",
            &[json(
                200,
                "Every route",
                &[Media::Json("Routes"), Media::Text("text/plain")],
            )],
            &[&[Code::NotAcceptable]],
        ),
    ),
];
