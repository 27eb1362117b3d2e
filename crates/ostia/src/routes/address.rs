use std::borrow::Cow;

use percent_encoding::percent_decode_str;

use super::pattern::{Captures, plain};
use super::table::RESERVED;
use crate::catalog::Scope;
use crate::dialect::Api;

/// An inference path, parsed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Address<'a> {
    pub scope: Scope<'a>,
    pub api: Api,
    /// The model, if the path names it; otherwise the body does.
    pub model: Option<Cow<'a, str>>,
}

impl<'a> Address<'a> {
    /// An API's name is neither decoded nor normalised: its segments are letters, digits, `.`, `_` and `-`, and not dots
    /// alone, and none that is reserved (`messages/batches`). None begins with `v1`: the base URL holds that already.
    pub(super) fn of(captures: &Captures<'a>) -> Option<Self> {
        let mut segments = captures.rest.split('/');
        let names_api = segments
            .clone()
            .all(|name| plain(name) && !RESERVED.contains(&name))
            && segments.next() != Some("v1");
        names_api.then(|| Self {
            scope: captures.scope(),
            api: Api::parse(captures.rest),
            model: captures.model.map(decoded),
        })
    }
}

/// A model's name in a path. If it does not decode to text, it matches no model and is kept as it is.
pub(super) fn decoded(name: &str) -> Cow<'_, str> {
    let decoded = percent_decode_str(name).decode_utf8();
    decoded.unwrap_or(name.into())
}
