//! `messages` and `messages/count_tokens`, Anthropic's.

use super::facts::{Facts, cap};
use super::scan::{Fields, Key};
use super::{Api, Invalid};

pub(super) fn facts(fields: &Fields<'_>, api: &Api) -> Result<Facts, Invalid> {
    let output_cap = match api {
        Api::MessagesCountTokens => Some(0),
        _ => cap(fields, Key::MaxTokens),
    };
    Ok(Facts::of(fields)?.with_output_cap(output_cap))
}
