use http::HeaderName;

/// Headers of callers that no backend gets and no hook sees: the gateway's own, a caller's credentials, and caller's
/// request ids where only the gateway's may stand.
const NEVER_FORWARDED: [&str; 20] = [
    "x-client-request-id",
    "proxy-authenticate",
    "authorization",
    "proxy-authorization",
    "proxy-connection",
    "x-api-key",
    "api-key",
    "cookie",
    "host",
    "connection",
    "keep-alive",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "content-length",
    "content-encoding",
    "accept-encoding",
    "expect",
    "forwarded",
];

/// Headers that frame the message; the gateway writes them itself.
const OF_THE_MESSAGE: [&str; 11] = [
    "host",
    "connection",
    "content-length",
    "transfer-encoding",
    "te",
    "trailer",
    "upgrade",
    "expect",
    "keep-alive",
    "accept-encoding",
    "x-request-id",
];

/// Response headers that clients never get (contract), whoever sets them.
const NEVER_SHOWN: [&str; 4] = ["set-cookie", "server", "location", "content-encoding"];

/// Whether what an endpoint's backend gets under this name is none of a site's making.
pub fn is_set_by_the_gateway(name: &HeaderName) -> bool {
    const OWN: [&str; 3] = ["authorization", "content-type", "accept"];
    OF_THE_MESSAGE.contains(&name.as_str())
        || NEVER_FORWARDED.contains(&name.as_str())
        || OWN.contains(&name.as_str())
}

pub fn is_never_forwarded(name: &HeaderName) -> bool {
    NEVER_FORWARDED.contains(&name.as_str())
}

/// Whether hooks may set it for the backend.
pub(super) fn may_be_sent(name: &HeaderName) -> bool {
    !OF_THE_MESSAGE.contains(&name.as_str())
}

/// Whether hooks may set it for the client.
pub(super) fn may_be_shown(name: &HeaderName) -> bool {
    may_be_sent(name) && !NEVER_SHOWN.contains(&name.as_str())
}
