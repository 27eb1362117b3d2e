//! `responses`, and what is below it.
//!
//! A backend stores what it keeps for later requests under the one key it knows, so for all users together. A response
//! may be continued only by its maker (`previous_response_id`, checked after authorization). Conversations and items
//! that are referenced by id have no maker that the gateway knows, so they are refused.

use std::borrow::Cow;

use bytes::Bytes;
use serde::Deserialize;
use serde_json::json;
use serde_json::value::RawValue;

use super::event::{kind_of, names_usage, usages_in};
use super::facts::{CAPS, COMMON, LONGEST_NAME, OPTIONS, RequestFacts};
use super::openai::{self, fault_kind};
use super::{AnswerFacts, AnswerMembers, Answers, Dialect, Invalid, Progress, Seen, Service};
use crate::refusal::{AnswerFault, Refusal};
use crate::scan::{FieldKey, Fields, JsonKind, Keys, Spot};

#[derive(Debug)]
pub(super) struct Responses;

const INPUT: FieldKey = FieldKey::prompt("input").at(Spot::Items);
const PREVIOUS: FieldKey = FieldKey::new("previous_response_id");
const CONVERSATION: FieldKey = FieldKey::new("conversation");
const BACKGROUND: FieldKey = FieldKey::new("background");

static SERVICES: [Service; 3] = [
    Service::of_text("responses"),
    Service {
        is_url_tail: false,
        ..Service::of_text("responses/compact")
    },
    Service::new("responses/input_tokens", Answers::Object).without_model(),
];
/// A response that was made earlier.
pub(super) static STORED: Service = Service::new("responses/{id}", Answers::Object).without_model();
static KEYS: Keys = Keys::of(&[
    COMMON,
    OPTIONS,
    &CAPS,
    &[
        INPUT,
        PREVIOUS,
        CONVERSATION,
        BACKGROUND,
        FieldKey::counted("prompt").at(Spot::StoredPrompt),
        FieldKey::watched("container", Spot::Container),
    ],
]);

/// A response object, or the event that contains one.
#[derive(Deserialize)]
struct Identified<'a> {
    #[serde(default, borrow)]
    object: Option<Cow<'a, str>>,
    #[serde(default, borrow)]
    id: Option<Cow<'a, str>>,
    #[serde(default, borrow)]
    response: Option<&'a RawValue>,
    #[serde(default, borrow)]
    status: Option<Cow<'a, str>>,
}

/// What a response says of itself before it is final.
const UNFINISHED: [&str; 2] = ["queued", "in_progress"];

impl Dialect for Responses {
    fn services(&self) -> &'static [Service] {
        &SERVICES
    }

    fn keys(&self) -> &'static Keys {
        &KEYS
    }

    fn read(&self, fields: &Fields<'_>, facts: &mut RequestFacts) -> Result<(), Invalid> {
        facts.generates_one(fields)?;
        if let Some(previous) = fields.given(PREVIOUS) {
            let id = Some(previous)
                .filter(|previous| previous.length() <= LONGEST_NAME)
                .and_then(|previous| previous.as_str())
                .ok_or_else(|| Invalid::value(PREVIOUS, "expected a string"))?;
            facts.previous_response_id = Some(id.into());
        }
        if fields.given(CONVERSATION).is_some() {
            return Err(Invalid::value(
                CONVERSATION,
                "conversations are not served; send the items themselves in 'input'",
            ));
        }
        let background = fields.given(BACKGROUND);
        if background.is_some_and(|value| value.kind() != JsonKind::False) {
            return Err(Invalid::value(
                BACKGROUND,
                "responses in the background are not served; leave it out or set it to false",
            ));
        }
        if fields.refers_to_items {
            return Err(Invalid::value(
                INPUT,
                "references to stored items are not served; send the items themselves",
            ));
        }
        Ok(())
    }

    fn has_terminal_event(&self) -> bool {
        true
    }

    fn event(&self, data: &[u8], length: usize, progress: &mut Progress) -> Seen {
        if names_usage(data) {
            usages_in(data, progress);
        }
        match &*kind_of(data) {
            "response.created" => {
                progress.response_id = id_in_event(data);
                progress.only_begun = true;
                Seen::Forward
            }
            "response.queued" | "response.in_progress" => {
                progress.only_begun |= !progress.said;
                Seen::Forward
            }
            "response.completed" | "response.incomplete" | "response.done"
                if is_unfinished(data) =>
            {
                progress.only_begun = true;
                Seen::Forward
            }
            // The last is of servers that took the event's name from the Realtime API.
            "response.completed" | "response.incomplete" | "response.done" => {
                progress.end_with_answer()
            }
            "response.failed" | "response.cancelled" => {
                progress.fail(data);
                progress.end_with_answer()
            }
            "error" => {
                progress.fail(data);
                Seen::Forward
            }
            kind => {
                progress.only_begun = false;
                if kind.ends_with(".delta") {
                    progress.text(length);
                }
                Seen::Forward
            }
        }
    }

    /// A failed response has an `error` member too, which must not make it pass for an error object. A response that is
    /// queued or in progress is unfinished.
    fn answer(&self, answer: &AnswerMembers<'_>) -> AnswerFacts {
        let response_id = answer.id_of("response");
        let reading = AnswerFacts::of(answer);
        AnswerFacts {
            is_error: reading.is_error && response_id.is_none(),
            unfinished: answer.has_status(&UNFINISHED),
            response_id,
            ..reading
        }
    }

    fn text_member(&self) -> Option<&'static str> {
        Some("output")
    }

    fn refused_end(&self, refusal: &Refusal) -> Bytes {
        let error = &openai::refused(refusal)["error"];
        let event = json!({
            "type": "error", "code": error["code"], "message": error["message"], "param": error["param"],
            "sequence_number": 0, "error": error,
        });
        format!("event: error\ndata: {event}\n\n").into()
    }

    /// OpenAI's reference puts the members at the top level, but the API itself sends `error`, for which SDKs raise.
    fn broken_end(&self, fault: AnswerFault, events: u64) -> Bytes {
        let (kind, code, message) = (fault_kind(fault), fault.code(), fault.message());
        let error = json!({
            "type": "error", "code": code, "message": message, "param": null, "sequence_number": events,
            "error": {"type": kind, "code": code, "message": message, "param": null},
        });
        format!("event: error\ndata: {error}\n\n").into()
    }
}

fn response_in(event: &[u8]) -> Option<Identified<'_>> {
    let event = serde_json::from_slice::<Identified<'_>>(event).ok()?;
    serde_json::from_str(event.response?.get()).ok()
}

/// Whether the response in an event contradicts the event's name.
fn is_unfinished(event: &[u8]) -> bool {
    let status = response_in(event).and_then(|response| response.status);
    status.is_some_and(|status| {
        UNFINISHED
            .iter()
            .any(|word| status.eq_ignore_ascii_case(word))
    })
}

fn id_in_event(event: &[u8]) -> Option<Box<str>> {
    let response = response_in(event)?;
    let is_response = response.object.is_some_and(|object| object == "response");
    response.id.filter(|_| is_response).map(Into::into)
}
