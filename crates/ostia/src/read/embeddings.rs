//! `embeddings`.

use super::Invalid;
use super::facts::{Facts, prompts};
use super::scan::{Fields, Key};

pub(super) fn facts(fields: &Fields<'_>) -> Result<Facts, Invalid> {
    let facts = Facts::of(fields)?;
    if prompts(fields, Key::Input)?.is_none() && fields.given(Key::Messages).is_none() {
        return Err(Invalid::missing(Key::Input));
    }
    Ok(facts.with_output_cap(Some(0)))
}
