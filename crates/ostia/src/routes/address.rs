use std::borrow::Cow;

use percent_encoding::percent_decode_str;

use super::pattern::{Captures, sound};
use crate::catalog::Scope;
use crate::dialect::Api;

/// An inference path, taken apart.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Address<'a> {
    pub scope: Scope<'a>,
    pub api: Api,
    /// The model, where the path names it; else the body does.
    pub model: Option<Cow<'a, str>>,
}

impl<'a> Address<'a> {
    /// Nothing of an API's name is decoded or normalised: one with an empty segment, `.`, `..` or `%` is none.
    pub(super) fn of(captures: &Captures<'a>) -> Option<Self> {
        captures.rest.split('/').all(sound).then(|| Self {
            scope: captures.scope(),
            api: Api::parse(captures.rest),
            model: captures.model.map(decoded),
        })
    }
}

/// A model's name in a path. What decodes to no text names no model, and is kept as it stands.
pub(super) fn decoded(name: &str) -> Cow<'_, str> {
    let decoded = percent_decode_str(name).decode_utf8();
    decoded.unwrap_or(name.into())
}
