//! What the routes of streams take, give and refuse.

use super::Code;
use super::operation::{Gives, Media, Operation, asked, plain};
use super::operations::{BODY, CATALOG, NO_CONTENT};

const STREAM: &[Code] = &[
    Code::TenantNotFound,
    Code::StreamNotFound,
    Code::BufferIsStream,
    Code::BeingCreated,
    Code::BufferOpening,
    Code::ReadFailed,
    Code::LogDamaged,
    Code::Overloaded,
    Code::NotSupported,
];
const STREAM_WRITE: &[Code] = &[
    Code::ProducerStart,
    Code::ProducerStale,
    Code::ProducerGap,
    Code::StreamClosed,
    Code::StreamDiffers,
    Code::StreamTypeDiffers,
    Code::StreamSeqOld,
    Code::BufferClosed,
    Code::BufferPaused,
    Code::NotPrimary,
    Code::PrimaryChanged,
    Code::ReplyGone,
    Code::LogFull,
];
const STREAM_HEADERS: &[&str] = &[
    "stream-closed",
    "producer-id",
    "producer-epoch",
    "producer-seq",
];
const STREAM_BODY: &[Media] = &[Media::Bytes("application/octet-stream")];

pub(super) static OPERATIONS: &[(&str, &str, Operation)] = &[
    (
        "POST",
        "/v1/stream/{path}",
        Operation {
            headers: STREAM_HEADERS,
            takes: STREAM_BODY,
            ..plain(
                "appendToStream",
                &[
                    Gives {
                        status: 200,
                        what: "Appended, of a producer",
                        media: &[],
                        headers: &["stream-next-offset"],
                    },
                    Gives {
                        status: 204,
                        what: "Appended, or repeated",
                        media: &[],
                        headers: &["stream-next-offset"],
                    },
                ],
                &[STREAM, STREAM_WRITE, BODY, CATALOG],
            )
        },
    ),
    (
        "GET",
        "/v1/stream/{path}",
        asked(
            &["offset", "live"],
            plain(
                "readStream",
                &[
                    Gives {
                        status: 200,
                        what: "The messages behind the offset",
                        media: &[Media::Bytes("*/*")],
                        headers: &["stream-next-offset"],
                    },
                    Gives {
                        status: 204,
                        what: "Nothing came while waiting",
                        media: &[],
                        headers: &["stream-next-offset"],
                    },
                    Gives {
                        status: 304,
                        what: "Not modified",
                        media: &[],
                        headers: &[],
                    },
                ],
                &[STREAM, &[Code::OffsetInvalid, Code::MessageDropped]],
            ),
        ),
    ),
    (
        "PUT",
        "/v1/stream/{path}",
        Operation {
            headers: &["stream-ttl", "stream-closed"],
            takes: STREAM_BODY,
            ..plain(
                "putStream",
                &[
                    Gives {
                        status: 200,
                        what: "It was there already",
                        media: &[],
                        headers: &["stream-next-offset"],
                    },
                    Gives {
                        status: 201,
                        what: "Created",
                        media: &[],
                        headers: &["location", "stream-next-offset"],
                    },
                ],
                &[STREAM, STREAM_WRITE, BODY, CATALOG],
            )
        },
    ),
    (
        "DELETE",
        "/v1/stream/{path}",
        plain(
            "deleteStream",
            &[NO_CONTENT],
            &[STREAM, CATALOG, &[Code::BufferPaused, Code::InTopics]],
        ),
    ),
];
