use bytes::Bytes;
use http::header::{
    CACHE_CONTROL, CONTENT_DISPOSITION, CONTENT_SECURITY_POLICY, CONTENT_TYPE, LOCATION,
    REFERRER_POLICY, SET_COOKIE, X_CONTENT_TYPE_OPTIONS, X_FRAME_OPTIONS,
};
use http::{HeaderName, HeaderValue, Response, StatusCode};
use maud::Markup;

use crate::people::DeskError;
use crate::refusal::Refusal;
use crate::relay::ClientBody;

/// Nothing runs, loads, frames or is framed but what comes from here.
const POLICY: &str = "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self' data:; \
    connect-src 'self'; form-action 'self'; frame-ancestors 'none'; base-uri 'none'";

/// Why there is no page to show. The text is for people.
#[derive(Debug)]
pub(super) enum Fault {
    /// Somewhere else is what was meant.
    Elsewhere(String),
    /// The same once somebody signed in.
    SignInFirst,
    Told(StatusCode, String),
}

impl Fault {
    pub fn new(status: StatusCode, text: impl Into<String>) -> Self {
        Self::Told(status, text.into())
    }

    pub fn not_found() -> Self {
        Self::new(StatusCode::NOT_FOUND, "There is no such page.")
    }

    pub fn forbidden(text: impl Into<String>) -> Self {
        Self::new(StatusCode::FORBIDDEN, text)
    }
}

impl From<Refusal> for Fault {
    fn from(refusal: Refusal) -> Self {
        Self::Told(refusal.status, refusal.message.to_string())
    }
}

impl From<DeskError> for Fault {
    fn from(error: DeskError) -> Self {
        Refusal::from(error).into()
    }
}

impl From<ostia_core::StoreError> for Fault {
    fn from(error: ostia_core::StoreError) -> Self {
        Refusal::from(error).into()
    }
}

impl From<crate::identify::SignInError> for Fault {
    fn from(error: crate::identify::SignInError) -> Self {
        Refusal::from(error).into()
    }
}

/// A page.
pub(super) fn page(status: StatusCode, page: Markup) -> Response<ClientBody> {
    let mut response = Response::new(ClientBody::whole(page.into_string()));
    *response.status_mut() = status;
    let kind = HeaderValue::from_static("text/html; charset=utf-8");
    response.headers_mut().insert(CONTENT_TYPE, kind);
    guarded(response)
}

/// On to another page, with GET.
pub(super) fn redirect(to: &str) -> Response<ClientBody> {
    let mut response = Response::new(ClientBody::empty());
    *response.status_mut() = StatusCode::SEE_OTHER;
    // A path or an address that this process made; what cannot stand in a header leads home.
    let to = HeaderValue::from_str(to).unwrap_or(HeaderValue::from_static("/"));
    response.headers_mut().insert(LOCATION, to);
    guarded(response)
}

/// A file to save.
pub(super) fn csv(name: &str, text: String) -> Response<ClientBody> {
    let mut response = Response::new(ClientBody::whole(text));
    let kind = HeaderValue::from_static("text/csv; charset=utf-8");
    response.headers_mut().insert(CONTENT_TYPE, kind);
    let name = format!("attachment; filename=\"{name}\"");
    if let Ok(name) = HeaderValue::from_str(&name) {
        response.headers_mut().insert(CONTENT_DISPOSITION, name);
    }
    guarded(response)
}

/// What pages are made with. Its address holds its version, so it is kept for long.
pub(super) fn asset(kind: &'static str, bytes: &'static [u8]) -> Response<ClientBody> {
    let mut response = Response::new(ClientBody::whole(Bytes::from_static(bytes)));
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    let mut response = guarded(response);
    let kept = HeaderValue::from_static("public, max-age=31536000, immutable");
    response.headers_mut().insert(CACHE_CONTROL, kept);
    response
}

/// A cell of a table that a spreadsheet opens: what it would take for a formula is text.
pub(super) fn cell(text: &str) -> String {
    let is_formula = text.starts_with(['=', '+', '-', '@', '\t', '\r']);
    let text = match is_formula {
        true => format!("'{text}"),
        false => text.to_owned(),
    };
    match text.contains([',', '"', '\n', '\r']) {
        true => format!("\"{}\"", text.replace('"', "\"\"")),
        false => text,
    }
}

pub(super) fn with_cookie(
    mut response: Response<ClientBody>,
    cookie: &str,
) -> Response<ClientBody> {
    if let Ok(mut cookie) = HeaderValue::from_str(cookie) {
        cookie.set_sensitive(true);
        response.headers_mut().append(SET_COOKIE, cookie);
    }
    response
}

fn guarded(mut response: Response<ClientBody>) -> Response<ClientBody> {
    for (name, value) in [
        (CONTENT_SECURITY_POLICY, POLICY),
        (X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (X_FRAME_OPTIONS, "DENY"),
        // With `no-referrer` browsers would send `Origin: null` with our own forms.
        (REFERRER_POLICY, "same-origin"),
        (CACHE_CONTROL, "no-store"),
        (
            HeaderName::from_static("cross-origin-opener-policy"),
            "same-origin",
        ),
        (
            HeaderName::from_static("cross-origin-resource-policy"),
            "same-origin",
        ),
    ] {
        let value = HeaderValue::from_static(value);
        response.headers_mut().insert(name, value);
    }
    response
}

#[cfg(test)]
mod tests {
    use super::cell;

    #[test]
    fn cells_are_no_formulas() {
        for (text, shown) in [
            ("a", "a"),
            ("=1+1", "'=1+1"),
            ("+1", "'+1"),
            ("-1", "'-1"),
            ("@x", "'@x"),
            ("a,b", "\"a,b\""),
            ("=\"x\"", "\"'=\"\"x\"\"\""),
            ("a\nb", "\"a\nb\""),
        ] {
            assert_eq!(cell(text), shown);
        }
    }
}
