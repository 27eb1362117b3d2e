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
    /// alone, and none that is reserved (`messages/batches`). None begins with `v1`: the base URL holds that already. Below
    /// `responses` and `messages` only listed names are APIs; the others are something that a backend stores.
    pub(super) fn of(captures: &Captures<'a>) -> Option<Self> {
        let mut segments = captures.rest.split('/');
        let is_sound = segments
            .clone()
            .all(|name| plain(name) && !RESERVED.contains(&name));
        let first = segments.next();
        let may_be_stored =
            matches!(first, Some("responses" | "messages")) && segments.next().is_some();
        let api = Api::parse(captures.rest);
        let is_api = !may_be_stored || api.is_listed();
        let names_api = is_sound && first != Some("v1") && is_api;
        names_api.then(|| Self {
            scope: captures.scope(),
            api,
            model: captures.model.map(decoded),
        })
    }

    /// The address of a response that a backend stores.
    pub(super) fn of_stored(captures: &Captures<'a>) -> Self {
        Self {
            scope: captures.scope(),
            api: Api::stored_response(),
            model: None,
        }
    }
}

/// A model's name in a path. If it does not decode to text, it matches no model and is kept as it is.
pub(super) fn decoded(name: &str) -> Cow<'_, str> {
    let decoded = percent_decode_str(name).decode_utf8();
    decoded.unwrap_or(name.into())
}
