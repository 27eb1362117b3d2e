//! `responses`.

use super::Invalid;
use super::facts::{Facts, cap};
use super::scan::{Fields, Key};

pub(super) fn facts(fields: &Fields<'_>) -> Result<Facts, Invalid> {
    let mut facts = Facts::of(fields)?.with_output_cap(cap(fields, Key::MaxOutputTokens));
    if let Some(previous) = fields.given(Key::PreviousResponseId) {
        let id = previous
            .as_str()
            .ok_or_else(|| Invalid::value(Key::PreviousResponseId, "expected a string"))?;
        facts.previous_response_id = Some(id.into());
    }
    Ok(facts)
}
