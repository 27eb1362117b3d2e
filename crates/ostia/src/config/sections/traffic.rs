use std::time::Duration;

use http::HeaderName;
use ostia_core::Secret;

use super::super::reader::{Reading, Section};
use super::super::units;
use crate::settings::{Routing, Upstream};

pub(super) fn read_routing(root: &Section<'_>, reading: &Reading<'_>) -> Routing {
    let section = root.section("routing", "How a deployment is chosen.");
    let list = section.list(
        "session_headers",
        &[
            "X-Session-ID",
            "X-ALCF-Session-ID",
            "x-claude-code-session-id",
            "session-id",
            "session_id",
            "x-session-affinity",
        ],
        "The first of these headers in a request identifies the caller's session: at most 128 visible ASCII characters. Its requests return to the endpoint that had the last one. Adapters see it, and `affinity_header` is derived from it; no backend gets it unchanged.",
    );
    let key = section.secret(
        "hmac_key",
        "The secret from which endpoints' `affinity_header` and `cache_salt` are derived, at least 32 bytes: `openssl rand -base64 48`. By default the value of the variable MINERVA_AFFINITY_HMAC_KEY.",
    );
    let affinity_memory = section.parse(
        "affinity_memory",
        (64 << 20, "\"64MiB\""),
        "a size",
        "Memory for the beginnings of prompts that each endpoint has seen, as keyed hashes; 32 bytes cover about 256 tokens. 0 remembers nothing.",
        units::size,
    );
    section.finish();
    let hmac_key = hmac_key(key, reading);
    let mut session_headers = Vec::new();
    for text in list {
        if let Ok(name) = HeaderName::from_bytes(text.value.as_bytes()) {
            session_headers.push(name);
            continue;
        }
        let shown = text.shown();
        let fault = format!("`routing.session_headers`: {shown} is not a valid header name");
        reading.report.fatal(text.at.place(), &fault);
    }
    Routing {
        session_headers,
        affinity_memory,
        hmac_key,
    }
}

/// A variable that is too short counts as absent: the endpoints that need it report that.
fn hmac_key(key: Secret<String>, reading: &Reading<'_>) -> Option<Secret<String>> {
    const KEY: &str = "routing.hmac_key";
    const LEAST: usize = 32;
    if !key.expose().is_empty() {
        if key.expose().len() < LEAST {
            reading.fatal(
                KEY,
                "is shorter than 32 bytes: make one with `openssl rand -base64 48`",
            );
        }
        return Some(key);
    }
    let variable = reading.environment.get("MINERVA_AFFINITY_HMAC_KEY")?.trim();
    (variable.len() >= LEAST).then(|| Secret::new(variable.to_owned()))
}

pub(super) fn read_upstream(root: &Section<'_>) -> Upstream {
    let section = root.section("upstream", "How backends are called.");
    let minutes = |minutes: u64| Duration::from_secs(minutes * 60);
    let upstream = Upstream {
        connect_timeout: section.duration_or_off(
            "connect_timeout",
            Duration::from_secs(5),
            "How long connecting to a backend may take, including TLS.",
        ),
        response_header_timeout: section.duration_or_off(
            "response_header_timeout",
            minutes(10),
            "How long the head of the answer may take; without streaming, that is nearly all of the work.",
        ),
        stream_idle_timeout: section.duration_or_off(
            "stream_idle_timeout",
            minutes(10),
            "The longest silence within an answer.",
        ),
        total_timeout: section.duration_or_off(
            "total_timeout",
            minutes(60),
            "How long the whole answer may take, however slowly the client reads it.",
        ),
        pool_idle_timeout: section.duration_or_off(
            "pool_idle_timeout",
            Duration::from_secs(4),
            "How long an idle connection is kept; less than the backend keeps it (uvicorn: 5 s).",
        ),
        send_headers_after: section.duration_or_off(
            "send_headers_after",
            Duration::from_secs(30),
            "If a stream has no head by then, because it waits in the queue or the backend reads a long prompt, the client gets 200 and comments, so that it does not give up. Later failures are error events.",
        ),
        keepalive_comment: section.duration_or_off(
            "keepalive_comment",
            Duration::from_secs(15),
            "After this much silence in a stream, the client gets a comment line.",
        ),
        retry_budget_percent: section.number(
            "retry_budget_percent",
            20,
            (0, 100),
            "Retries on another deployment, as a share of requests; 0 means none.",
        ),
    };
    section.finish();
    upstream
}
