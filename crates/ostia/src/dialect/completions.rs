//! `completions`.

use super::facts::{
    CAPS, CHOICES, COMMON, OPTIONS, PROMPT, PROMPT_EMBEDS, RequestFacts, TRIES, prompts,
};
use super::{Dialect, Invalid, Service};
use crate::scan::{Fields, Keys};

#[derive(Debug)]
pub(super) struct Completions;

static SERVICES: [Service; 1] = [Service::of_text("completions")];
static KEYS: Keys = Keys::of(&[
    COMMON,
    OPTIONS,
    &CAPS,
    &CHOICES,
    &TRIES,
    &[PROMPT, PROMPT_EMBEDS],
]);

impl Dialect for Completions {
    fn services(&self) -> &'static [Service] {
        &SERVICES
    }

    fn keys(&self) -> &'static Keys {
        &KEYS
    }

    /// Each prompt gets `n` choices, picked from `best_of` tries, all of which cost tokens.
    fn read(&self, fields: &Fields<'_>, facts: &mut RequestFacts) -> Result<(), Invalid> {
        let prompts = prompts(fields, PROMPT)?;
        let embeds = fields.given(PROMPT_EMBEDS).map(|value| value.shape());
        if prompts.is_none() && embeds.is_none() {
            return Err(Invalid::missing(PROMPT));
        }
        let embedded = embeds.map_or(0, |shape| shape.prompts().unwrap_or(1));
        let prompts = prompts.unwrap_or(0).saturating_add(embedded).max(1);
        facts.generates(fields, prompts)
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
