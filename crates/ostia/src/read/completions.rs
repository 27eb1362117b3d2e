//! `completions`.

use super::Invalid;
use super::facts::{Facts, cap, prompts, times};
use super::scan::{Fields, Key};

pub(super) fn facts(fields: &Fields<'_>) -> Result<Facts, Invalid> {
    let facts = Facts::of(fields)?;
    let prompts = prompts(fields, Key::Prompt)?;
    let embeds = fields.given(Key::PromptEmbeds).map(|value| value.shape());
    if prompts.is_none() && embeds.is_none() {
        return Err(Invalid::missing(Key::Prompt));
    }
    let embedded = embeds.map_or(0, |shape| shape.prompts().unwrap_or(1));
    let prompts = prompts.unwrap_or(0).saturating_add(embedded).max(1);
    Ok(facts.with_output_cap(output_cap(fields, prompts)))
}

/// Each prompt is answered `n` times, out of `best_of` tries that all cost.
fn output_cap(fields: &Fields<'_>, prompts: u64) -> Option<u64> {
    let tries = times(fields, Key::N).max(times(fields, Key::BestOf));
    let cap = cap(fields, Key::MaxTokens)?;
    Some(cap.saturating_mul(tries).saturating_mul(prompts))
}
