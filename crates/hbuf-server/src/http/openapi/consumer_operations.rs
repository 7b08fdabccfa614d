//! What the routes of consumers take, give and refuse: the same for those of buffers and of topics.

use super::Code;
use super::operation::{Gives, Media, Operation, asked, configure, json, plain};
use super::operations::{BODY, CATALOG, NO_CONTENT};

const CONSUMER: &[Code] = &[
    Code::TenantNotFound,
    Code::BufferNotFound,
    Code::TopicNotFound,
    Code::ConsumerNotFound,
    Code::FilterNotFound,
    Code::FilterDamaged,
    Code::BeingCreated,
    Code::BufferOpening,
    Code::NotPrimary,
    Code::PrimaryChanged,
    Code::BufferPaused,
    Code::ReadFailed,
    Code::LogDamaged,
    Code::Overloaded,
    Code::DiskFull,
    Code::DiskFailed,
];
const DEAD_LETTERS: &[Code] = &[
    Code::StartFixed,
    Code::DeadLetterCycle,
    Code::BufferIsMirror,
    Code::BufferIsStream,
    Code::NotAcceptable,
];
const CONSUMER_MADE: &[Gives] = &[
    json(200, "Configured", &[Media::Json("Consumer")]),
    Gives {
        status: 201,
        what: "Created",
        media: &[Media::Json("Consumer")],
        headers: &["location"],
    },
];
const CONSUMER_SHOWN: &[Gives] = &[json(
    200,
    "The consumer and where it stands",
    &[Media::Json("Consumer")],
)];
const CONSUMERS: &[Gives] = &[json(200, "A page", &[Media::Json("ConsumerList")])];
const HANDED: &[Gives] = &[Gives {
    status: 200,
    what: "The messages, in the accepted type, each with its lease; and what came of what was settled",
    media: &[
        Media::Json("Handed"),
        Media::Text("application/x-ndjson"),
        Media::Bytes("application/http"),
        Media::Text("text/event-stream"),
    ],
    headers: &[],
}];
const TAKEN: &[Gives] = &[
    Gives {
        status: 200,
        what: "One message, as its own reply",
        media: &[Media::Bytes("*/*")],
        headers: &[
            "x-hbuf-seq",
            "x-hbuf-id",
            "x-hbuf-buffer",
            "x-hbuf-time",
            "x-hbuf-epoch",
        ],
    },
    Gives {
        status: 204,
        what: "There is none",
        media: &[],
        headers: &[],
    },
];
const SETTLED: &[Gives] = &[json(
    200,
    "What came of each message",
    &[Media::Json("Settled")],
)];
const SETTINGS_OF_CONSUMER: &[Media] = &[Media::Json("ConsumerSettings")];
const ACKS: &[Media] = &[Media::Json("Acks")];
const SEEK: &[Media] = &[Media::Json("Seek")];
const PUT_CONSUMER: &[&[Code]] = &[CONSUMER, CATALOG, BODY, DEAD_LETTERS];
const USE_CONSUMER: &[&[Code]] = &[CONSUMER, BODY, DEAD_LETTERS];
const SEEK_CONSUMER: &[&[Code]] = &[CONSUMER, BODY, DEAD_LETTERS, &[Code::ConfigInvalid]];

const fn take(id: &'static str) -> Operation {
    asked(&["consumer", "wait"], plain(id, TAKEN, &[CONSUMER]))
}

const fn list(id: &'static str) -> Operation {
    let page = &["after-name", "limit-list"];
    asked(page, plain(id, CONSUMERS, &[CONSUMER]))
}

const fn put(id: &'static str) -> Operation {
    configure(id, SETTINGS_OF_CONSUMER, CONSUMER_MADE, PUT_CONSUMER)
}

const fn delete(id: &'static str) -> Operation {
    plain(id, &[NO_CONTENT], &[CONSUMER, CATALOG])
}

const fn next(id: &'static str) -> Operation {
    asked(
        &["limit", "wait"],
        configure(id, ACKS, HANDED, USE_CONSUMER),
    )
}

pub(super) static OPERATIONS: &[(&str, &str, Operation)] = &[
    ("GET", "/buffers/{buffer}/next", take("takeOfBuffer")),
    (
        "GET",
        "/buffers/{buffer}/consumers",
        list("listConsumersOfBuffer"),
    ),
    (
        "PUT",
        "/buffers/{buffer}/consumers/{consumer}",
        put("putConsumerOfBuffer"),
    ),
    (
        "GET",
        "/buffers/{buffer}/consumers/{consumer}",
        plain("describeConsumerOfBuffer", CONSUMER_SHOWN, &[CONSUMER]),
    ),
    (
        "DELETE",
        "/buffers/{buffer}/consumers/{consumer}",
        delete("deleteConsumerOfBuffer"),
    ),
    (
        "POST",
        "/buffers/{buffer}/consumers/{consumer}/next",
        next("nextOfBuffer"),
    ),
    (
        "POST",
        "/buffers/{buffer}/consumers/{consumer}/acks",
        configure("settleOfBuffer", ACKS, SETTLED, USE_CONSUMER),
    ),
    (
        "POST",
        "/buffers/{buffer}/consumers/{consumer}/seek",
        configure("seekOfBuffer", SEEK, CONSUMER_SHOWN, SEEK_CONSUMER),
    ),
    ("GET", "/topics/{topic}/next", take("takeOfTopic")),
    (
        "GET",
        "/topics/{topic}/consumers",
        list("listConsumersOfTopic"),
    ),
    (
        "PUT",
        "/topics/{topic}/consumers/{consumer}",
        put("putConsumerOfTopic"),
    ),
    (
        "GET",
        "/topics/{topic}/consumers/{consumer}",
        plain("describeConsumerOfTopic", CONSUMER_SHOWN, &[CONSUMER]),
    ),
    (
        "DELETE",
        "/topics/{topic}/consumers/{consumer}",
        delete("deleteConsumerOfTopic"),
    ),
    (
        "POST",
        "/topics/{topic}/consumers/{consumer}/next",
        next("nextOfTopic"),
    ),
    (
        "POST",
        "/topics/{topic}/consumers/{consumer}/acks",
        configure("settleOfTopic", ACKS, SETTLED, USE_CONSUMER),
    ),
    (
        "POST",
        "/topics/{topic}/consumers/{consumer}/seek",
        configure("seekOfTopic", SEEK, CONSUMER_SHOWN, SEEK_CONSUMER),
    ),
];
