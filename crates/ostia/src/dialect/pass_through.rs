//! Every other API: a model, whether to stream, what counts as prompt, and nothing else. The body is passed on
//! unchanged.

use super::facts::{CAPS, CHOICES, COMMON, OPTIONS, PROMPT, PROMPT_EMBEDS, RequestFacts, TRIES};
use super::{Answers, Dialect, Invalid, Service};
use crate::scan::{FieldKey, Fields, Keys, Spot};

#[derive(Debug)]
pub(super) struct PassThrough;

static SERVICES: [Service; 10] = [
    Service::new("rerank", Answers::Json),
    Service::new("score", Answers::Json),
    Service::new("tokenize", Answers::Json).without_model(),
    Service::new("detokenize", Answers::Json).without_model(),
    Service::new("audio/speech", Answers::Media),
    Service::new("audio/transcriptions", Answers::Media),
    Service::new("audio/translations", Answers::Media),
    Service::new("images/generations", Answers::Media),
    Service {
        is_url_tail: false,
        ..Service::new("images/edits", Answers::Media)
    },
    Service {
        is_url_tail: false,
        ..Service::new("images/variations", Answers::Media)
    },
];
static UNLISTED: Service = Service::new("", Answers::Json);
static UNLISTED_MEDIA: Service = Service::new("", Answers::Media);
static KEYS: Keys = Keys::of(&[
    COMMON,
    OPTIONS,
    &CAPS,
    &CHOICES,
    &TRIES,
    &[
        FieldKey::prompt("messages"),
        FieldKey::prompt("input"),
        PROMPT,
        PROMPT_EMBEDS,
        FieldKey::watched("mask", Spot::Source),
        FieldKey::watched("url", Spot::Url),
        FieldKey::watched("voice", Spot::Voice),
        FieldKey::watched("container", Spot::Container),
    ],
]);

/// What is assumed of an API that only a cluster's entry lists.
pub(super) fn unlisted(name: &str) -> &'static Service {
    let is_media = name.starts_with("audio/") || name.starts_with("images/");
    if is_media { &UNLISTED_MEDIA } else { &UNLISTED }
}

impl Dialect for PassThrough {
    fn services(&self) -> &'static [Service] {
        &SERVICES
    }

    fn keys(&self) -> &'static Keys {
        &KEYS
    }

    fn read(&self, _fields: &Fields<'_>, _facts: &mut RequestFacts) -> Result<(), Invalid> {
        Ok(())
    }
}
