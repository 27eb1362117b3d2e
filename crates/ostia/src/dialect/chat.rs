//! `chat/completions`.

use super::facts::{CAPS, CHOICES, COMMON, OPTIONS, RequestFacts, TRIES, described};
use super::{Dialect, Invalid, Service};
use crate::scan::{FieldKey, Fields, Keys, Spot};

#[derive(Debug)]
pub(super) struct Chat;

const MESSAGES: FieldKey = FieldKey::prompt("messages");

static SERVICES: [Service; 1] = [Service::of_text("chat/completions")];
static KEYS: Keys = Keys::of(&[
    COMMON,
    OPTIONS,
    &CAPS,
    &CHOICES,
    &TRIES,
    &[MESSAGES, FieldKey::watched("audio", Spot::Speech)],
]);

impl Dialect for Chat {
    fn services(&self) -> &'static [Service] {
        &SERVICES
    }

    fn keys(&self) -> &'static Keys {
        &KEYS
    }

    fn read(&self, fields: &Fields<'_>, facts: &mut RequestFacts) -> Result<(), Invalid> {
        let messages = fields
            .get(MESSAGES)
            .ok_or_else(|| Invalid::missing(MESSAGES))?;
        if !messages.shape().is_objects() {
            return Err(Invalid::value(
                MESSAGES,
                &format!(
                    "expected a non-empty array of objects, but got {}",
                    described(messages.shape())
                ),
            ));
        }
        facts.generates(fields, 1)
    }

    fn takes_stream_options(&self) -> bool {
        true
    }

    fn has_terminal_event(&self) -> bool {
        true
    }

    fn text_member(&self) -> Option<&'static str> {
        Some("choices")
    }
}
