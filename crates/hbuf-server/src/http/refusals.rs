//! From the engine's refusals to problems. No `_` arm: a new refusal must choose its code.

use std::io::ErrorKind;

use hbuf_core::append::AppendRefused;
use hbuf_core::filter::LineError;
use hbuf_core::stream::StreamRefused;
use hbuf_manager::Refused;
use http::{HeaderName, HeaderValue};

use super::problem::{Code, Problem};
use crate::engine::{
    AppendError, CatalogError, ConsumerError, ConsumerLookupError, LookupError, StreamError,
};
use crate::manager::ProposeError;
use crate::read::{FilterError, ProofError, ReadError};

impl From<AppendError> for Box<Problem> {
    fn from(error: AppendError) -> Self {
        let text = sentence(&error);
        match error {
            AppendError::Refused(refused) => refused.into(),
            AppendError::KeyReused { first } => {
                Problem::new(Code::KeyReused, text).fact("seq", first.0)
            }
            AppendError::Overloaded { .. } => Problem::new(Code::Overloaded, text),
            AppendError::ReplyGone { .. } => Problem::new(Code::ReplyGone, text),
            AppendError::Read(error) => error.into(),
            AppendError::Stopping => Problem::new(Code::Stopping, text),
        }
    }
}

impl From<AppendRefused> for Box<Problem> {
    fn from(refused: AppendRefused) -> Self {
        let text = sentence(&refused);
        match refused {
            AppendRefused::NotOpen => Problem::new(Code::BufferOpening, text),
            AppendRefused::NotPrimary => Problem::new(Code::NotPrimary, text),
            AppendRefused::PrimaryChanged => Problem::new(Code::PrimaryChanged, text),
            AppendRefused::Closed => Problem::new(Code::BufferClosed, text),
            AppendRefused::IsMirror => Problem::new(Code::BufferIsMirror, text),
            AppendRefused::NotFollowed { .. } | AppendRefused::Mirrored { .. } => {
                Problem::new(Code::Unexpected, text)
            }
            AppendRefused::Paused => Problem::new(Code::BufferPaused, text),
            AppendRefused::Busy { .. } => Problem::new(Code::Overloaded, text),
            AppendRefused::EndDiffers { end, .. } => {
                Problem::new(Code::EndDiffers, text).fact("end", end.0)
            }
            AppendRefused::ProducerGap { expected, .. } => {
                Problem::new(Code::ProducerGap, text).fact("expected", expected)
            }
            AppendRefused::ProducerFenced { current, .. } => {
                Problem::new(Code::ProducerFenced, text).fact("epoch", current)
            }
            AppendRefused::ProducerOld { .. } => Problem::new(Code::ReplyGone, text),
            AppendRefused::BatchSize { .. } => Problem::new(Code::BatchInvalid, text),
            AppendRefused::SeqExhausted => Problem::new(Code::LogFull, text),
            AppendRefused::Stream(refused) => refused.into(),
            AppendRefused::DiskFull => Problem::new(Code::DiskFull, text),
            AppendRefused::DiskFailed => Problem::new(Code::DiskFailed, text),
            AppendRefused::CursorsDamaged { .. } => Problem::new(Code::LogDamaged, text),
            AppendRefused::Damaged { at } => Problem::new(Code::LogDamaged, text).fact("seq", at.0),
        }
    }
}

impl From<StreamRefused> for Box<Problem> {
    fn from(refused: StreamRefused) -> Self {
        let text = sentence(&refused);
        let header = |name: &'static str, value: u64| {
            (HeaderName::from_static(name), HeaderValue::from(value))
        };
        let with = |problem: Self, (name, value)| problem.header(name, value);
        match refused {
            StreamRefused::NotStream | StreamRefused::Expired => {
                Problem::new(Code::StreamNotFound, text)
            }
            StreamRefused::Occupied => Problem::new(Code::NameTaken, text),
            StreamRefused::IsStream => Problem::new(Code::BufferIsStream, text),
            StreamRefused::Differs => Problem::new(Code::StreamDiffers, text),
            StreamRefused::TypeDiffers { .. } => Problem::new(Code::StreamTypeDiffers, text),
            StreamRefused::SeqOld { .. } => Problem::new(Code::StreamSeqOld, text),
            StreamRefused::ProducerStale { current, .. } => with(
                Problem::new(Code::ProducerStale, text).fact("epoch", current),
                header("producer-epoch", current),
            ),
            StreamRefused::ProducerStart { .. } => Problem::new(Code::ProducerStart, text),
            StreamRefused::ProducerGap { expected, got } => {
                let problem = Problem::new(Code::ProducerGap, text).fact("expected", expected);
                let problem = with(problem, header("producer-expected-seq", expected));
                with(problem, header("producer-received-seq", got))
            }
        }
    }
}

impl From<StreamError> for Box<Problem> {
    fn from(error: StreamError) -> Self {
        let text = sentence(&error);
        match error {
            StreamError::NotFound => Problem::new(Code::StreamNotFound, text),
            StreamError::Changing => Problem::new(Code::BeingCreated, text),
            StreamError::Append(error) => error.into(),
            StreamError::Catalog(error) => error.into(),
            StreamError::Lookup(error) => error.into(),
        }
    }
}

impl From<ReadError> for Box<Problem> {
    fn from(error: ReadError) -> Self {
        let text = sentence(&error);
        match error {
            ReadError::BeforeFirst { first } => {
                Problem::new(Code::MessageDropped, text).fact("first", first.0)
            }
            ReadError::Damaged { seq, .. } => {
                Problem::new(Code::LogDamaged, text).fact("seq", seq.0)
            }
            ReadError::Io { .. } => Problem::new(Code::ReadFailed, text),
            ReadError::NoFilter { .. } => Problem::new(Code::FilterNotFound, text),
            ReadError::FilterDamaged { .. } => Problem::new(Code::FilterDamaged, text),
            ReadError::Closed => Problem::new(Code::BufferOpening, text),
            ReadError::Stopping => Problem::new(Code::Stopping, text),
        }
    }
}

impl From<FilterError> for Box<Problem> {
    fn from(error: FilterError) -> Self {
        let text = sentence(&error);
        match error {
            FilterError::Line(LineError { line, .. }) => {
                let text = format!("{text} Nothing was changed: mend the line and send it again.");
                Problem::new(Code::FilterInvalid, text).fact("line", line)
            }
            FilterError::DictionaryFull | FilterError::TooMany => {
                Problem::new(Code::LimitReached, text)
            }
            FilterError::Damaged { .. } => Problem::new(Code::FilterDamaged, text),
            FilterError::Busy => Problem::new(Code::FilterBusy, text),
            FilterError::Paused => Problem::new(Code::BufferPaused, text),
            FilterError::Read(error) => error.into(),
            FilterError::Io(error) if error.kind() == ErrorKind::StorageFull => {
                Problem::new(Code::DiskFull, text)
            }
            FilterError::Io(_) => Problem::new(Code::ReadFailed, text),
        }
    }
}

impl From<ProofError> for Box<Problem> {
    fn from(error: ProofError) -> Self {
        let text = sentence(&error);
        match error {
            ProofError::Beyond { commit, .. } => {
                Problem::new(Code::ProofInvalid, text).fact("commit", commit)
            }
            ProofError::Outside { .. } => Problem::new(Code::ProofInvalid, text),
            ProofError::Dropped { first } => {
                Problem::new(Code::MessageDropped, text).fact("first", first.0)
            }
            ProofError::Read(error) => error.into(),
        }
    }
}

impl From<LookupError> for Box<Problem> {
    fn from(error: LookupError) -> Self {
        let text = sentence(&error);
        match error {
            LookupError::NoTenant { .. } => Problem::new(Code::TenantNotFound, text),
            LookupError::NoBuffer { .. } => Problem::new(Code::BufferNotFound, text),
            LookupError::NoTopic { .. } => Problem::new(Code::TopicNotFound, text),
            LookupError::Changing { .. } => Problem::new(Code::BeingCreated, text),
            LookupError::SeveralBuffers { .. } => Problem::new(Code::SeveralBuffers, text),
            // Trying again brings nothing back.
            LookupError::Recover(error) if error.is_lasting() => {
                Problem::new(Code::LogDamaged, text)
            }
            LookupError::Recover(_) => Problem::new(Code::ReadFailed, text),
            LookupError::Refused(refused) => refused.into(),
            LookupError::Create(error) => error.into(),
        }
    }
}

impl From<ConsumerLookupError> for Box<Problem> {
    fn from(error: ConsumerLookupError) -> Self {
        CatalogError::from(error).into()
    }
}

impl From<ConsumerError> for Box<Problem> {
    fn from(error: ConsumerError) -> Self {
        let text = sentence(&error);
        match error {
            ConsumerError::Gone => Problem::new(Code::ConsumerNotFound, text),
            ConsumerError::NotPrimary(_) => Problem::new(Code::NotPrimary, text),
            ConsumerError::PrimaryChanged(_) => Problem::new(Code::PrimaryChanged, text),
            ConsumerError::Start(_) => Problem::new(Code::ConfigInvalid, text),
            ConsumerError::Damaged => Problem::new(Code::LogDamaged, text),
            ConsumerError::Unmoved { buffer, why } => {
                let why: Self = (*why).into();
                why.reworded(text).fact("buffer", buffer.as_str())
            }
            ConsumerError::MovedInPart { stayed, why } => {
                let stayed: Vec<&str> = stayed.iter().map(|name| name.as_str()).collect();
                let why: Self = (*why).into();
                why.reworded(text).fact("stayed", stayed)
            }
            ConsumerError::Passed(_) => Problem::new(Code::BufferPaused, text),
            ConsumerError::Paused => Problem::new(Code::BufferPaused, text),
            ConsumerError::Lookup(error) => error.into(),
            ConsumerError::Read(error) => error.into(),
            ConsumerError::Full => Problem::new(Code::DiskFull, text),
            ConsumerError::Failed => Problem::new(Code::DiskFailed, text),
            ConsumerError::Busy | ConsumerError::Unreadable { .. } => {
                Problem::new(Code::Overloaded, text)
            }
            ConsumerError::Stopping => Problem::new(Code::Stopping, text),
        }
    }
}

impl From<CatalogError> for Box<Problem> {
    fn from(error: CatalogError) -> Self {
        let text = sentence(&error);
        match error {
            CatalogError::Propose(error) => error.into(),
            CatalogError::Files(_) => Problem::new(Code::ReadFailed, text),
            CatalogError::Lookup(error) => (*error).into(),
            CatalogError::Consumer(error) => (*error).into(),
            CatalogError::NoOrigin { .. } => Problem::new(Code::NamedMissing, text),
            CatalogError::NoConsumer { .. } => Problem::new(Code::ConsumerNotFound, text),
            CatalogError::NotAllowed { .. } => Problem::new(Code::BufferNotFound, text),
            CatalogError::NotEnoughNodes { .. } => Problem::new(Code::ConfigInvalid, text),
        }
    }
}

impl From<ProposeError> for Box<Problem> {
    fn from(error: ProposeError) -> Self {
        let text = sentence(&error);
        match error {
            ProposeError::Refused(refused) => refused.into(),
            ProposeError::Full => Problem::new(Code::DiskFull, text),
            ProposeError::Failed { .. } => Problem::new(Code::DiskFailed, text),
            ProposeError::Stopping => Problem::new(Code::Stopping, text),
        }
    }
}

impl From<Refused> for Box<Problem> {
    fn from(refused: Refused) -> Self {
        let text = sentence(&refused);
        let code = match refused {
            Refused::NoSuchTenant { .. } => Code::TenantNotFound,
            Refused::NoSuchBuffer { .. } => Code::BufferNotFound,
            Refused::NoSuchBufferName { .. } => Code::NamedMissing,
            Refused::NoSuchTopic { .. } | Refused::NoSuchTopicId { .. } => Code::TopicNotFound,
            Refused::NoSuchConsumer { .. } | Refused::NoConsumerToConfigure { .. } => {
                Code::ConsumerNotFound
            }
            Refused::TenantExists { .. }
            | Refused::BufferExists { .. }
            | Refused::TopicExists { .. }
            | Refused::ConsumerExists { .. }
            | Refused::UuidTaken { .. } => Code::NameTaken,
            Refused::Config(_) | Refused::Copies { .. } => Code::ConfigInvalid,
            Refused::Consumer(_) => Code::ConfigInvalid,
            Refused::ConsumerStart => Code::StartFixed,
            Refused::NoDeadLetterBuffer { .. } => Code::NamedMissing,
            Refused::DeadLetterCycle { .. } => Code::DeadLetterCycle,
            Refused::TakesDeadLetters { .. } => Code::TakesDeadLetters,
            Refused::IsMirror { .. } => Code::BufferIsMirror,
            Refused::NamedAsStream { .. } => Code::BufferIsStream,
            Refused::MirrorCycle { .. } => Code::MirrorCycle,
            Refused::TopicSize { .. } | Refused::NamedTwice { .. } => Code::ConfigInvalid,
            Refused::Version { .. } => Code::VersionDiffers,
            Refused::TooManyBuffers | Refused::TooManyConsumers => Code::LimitReached,
            Refused::TooManyTopics { .. } => Code::LimitReached,
            Refused::NotConfirmed { .. } | Refused::NotDeleting { .. } => Code::BeingCreated,
            Refused::Paused { .. } => Code::BufferPaused,
            Refused::InTopics { .. } => Code::InTopics,
            Refused::LastTopic { .. } => Code::LastTopic,
            Refused::NotFounded
            | Refused::AlreadyFounded { .. }
            | Refused::ClusterVersion { .. }
            | Refused::ClusterVersionStep { .. }
            | Refused::NodeTooOld { .. }
            | Refused::NodeVersions { .. }
            | Refused::DiskTaken { .. }
            | Refused::DiskInUse { .. }
            | Refused::DiskCopied { .. }
            | Refused::NameInUse { .. }
            | Refused::NoLife { .. }
            | Refused::TooManyLives
            | Refused::TooManyNamed { .. }
            | Refused::NoSuchRegion { .. }
            | Refused::RegionExists { .. }
            | Refused::TooManyRegions
            | Refused::RegionInUse { .. }
            | Refused::InRegion { .. }
            | Refused::PlacedByRegion
            | Refused::OtherReservation { .. }
            | Refused::OtherGroup { .. }
            | Refused::TooManyNodes
            | Refused::NodeSuperseded { .. }
            | Refused::NoSuchNodeId { .. }
            | Refused::NodeHolds { .. }
            | Refused::NodeVotes { .. }
            | Refused::Alter(_)
            | Refused::Move(_)
            | Refused::HandOver(_)
            | Refused::Force(_)
            | Refused::NoSuchNode { .. }
            | Refused::Superseded { .. }
            | Refused::RefusedBefore { .. } => Code::Unexpected,
        };
        Problem::new(code, text)
    }
}

/// An error's text as a sentence: a capital letter and a full stop.
pub(super) fn sentence(error: &impl std::fmt::Display) -> String {
    let text = error.to_string();
    let mut letters = text.chars();
    let first = letters.next().map(|first| first.to_uppercase().to_string());
    let mut sentence = first.unwrap_or_default() + letters.as_str();
    if !sentence.ends_with('.') {
        sentence.push('.');
    }
    sentence
}

#[cfg(test)]
mod tests {
    use super::*;
    use hbuf_core::ids::Seq;

    #[test]
    fn a_refusal_carries_its_text_as_a_sentence_and_its_facts() {
        let refused = AppendRefused::ProducerGap {
            expected: 7,
            got: 9,
        };
        let problem: Box<Problem> = AppendError::Refused(refused).into();
        let document = problem.document();
        assert_eq!(document["expected"], 7);
        assert_eq!(document["status"], 409);
        assert_eq!(
            document["detail"],
            "Producer number 9 does not follow: expected 7."
        );
    }

    #[test]
    fn a_seek_that_some_buffers_missed_is_refused_as_the_first_was_and_names_them() {
        let name = |text: &str| hbuf_core::name::Name::parse(text).unwrap();
        let part = ConsumerError::MovedInPart {
            stayed: vec![name("a"), name("c")],
            why: Box::new(ConsumerError::Paused),
        };
        let problem: Box<Problem> = part.into();
        assert_eq!(problem.code, Code::BufferPaused);
        let document = problem.document();
        assert_eq!(document["stayed"], serde_json::json!(["a", "c"]));
        let detail = document["detail"].as_str().unwrap();
        assert!(detail.starts_with("The consumer was not moved in `a`, `c`:"));
    }

    #[test]
    fn what_another_primary_is_to_be_asked_has_a_problem_of_its_own() {
        use hbuf_core::buffer::ConsumerRefused as Refused;
        let elsewhere: [Box<Problem>; 2] = [
            AppendRefused::NotPrimary.into(),
            ConsumerError::from(Refused::NotPrimary).into(),
        ];
        for problem in elsewhere {
            assert_eq!(problem.document()["status"], 421);
            assert!(
                problem.document()["type"]
                    .as_str()
                    .unwrap()
                    .ends_with("not-primary")
            );
        }
        let changed: [Box<Problem>; 2] = [
            AppendRefused::PrimaryChanged.into(),
            ConsumerError::from(Refused::PrimaryChanged).into(),
        ];
        for problem in changed {
            assert_eq!(problem.code, Code::PrimaryChanged);
            assert_eq!(problem.document()["retry"], true);
            assert_eq!(problem.into_reply().status(), 503);
        }
    }

    #[test]
    fn a_buffer_between_two_openings_is_the_servers_state_and_worth_a_retry() {
        let refused: [Box<Problem>; 2] = [AppendRefused::NotOpen.into(), ReadError::Closed.into()];
        for problem in refused {
            let reply = problem.into_reply();
            assert_eq!(reply.status(), 503);
            assert_eq!(reply.headers()["retry-after"], "1");
        }
    }

    #[test]
    fn reading_what_was_dropped_says_where_to_read_on() {
        let problem: Box<Problem> = ReadError::BeforeFirst { first: Seq(8) }.into();
        let document = problem.document();
        assert_eq!(
            (&document["status"], &document["first"]),
            (&410.into(), &8.into())
        );
        assert!(document["detail"].as_str().unwrap().contains("after=7"));
    }
}
