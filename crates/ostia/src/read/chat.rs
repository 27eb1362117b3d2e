//! `chat/completions`.

use super::Invalid;
use super::facts::{Facts, cap, described, times};
use super::scan::{Fields, Key};

pub(super) fn facts(fields: &Fields<'_>) -> Result<Facts, Invalid> {
    let facts = Facts::of(fields)?;
    let messages = fields
        .get(Key::Messages)
        .ok_or_else(|| Invalid::missing(Key::Messages))?;
    if !messages.shape().is_objects() {
        return Err(Invalid::value(
            Key::Messages,
            &format!(
                "expected a non-empty array of objects, but got {}",
                described(messages.shape())
            ),
        ));
    }
    Ok(facts.with_output_cap(output_cap(fields)))
}

/// `max_tokens` is the older name, and stands only where the newer one is absent.
fn output_cap(fields: &Fields<'_>) -> Option<u64> {
    let key = match fields.given(Key::MaxCompletionTokens) {
        Some(_) => Key::MaxCompletionTokens,
        None => Key::MaxTokens,
    };
    Some(cap(fields, key)?.saturating_mul(times(fields, Key::N)))
}
