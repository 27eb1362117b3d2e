use std::time::Duration;

use http::HeaderName;

use super::super::reader::{Reading, Section};
use crate::settings::{Routing, Upstream};

pub(super) fn read_routing(root: &Section<'_>, reading: &Reading<'_>) -> Routing {
    let section = root.section("routing", "How a deployment is chosen.");
    let list = section.list(
        "session_headers",
        &["X-Session-ID", "X-ALCF-Session-ID"],
        "The first that is sent names the caller's session, for adapters; at most 128 visible ASCII characters. Requests of one session are not kept on one backend yet.",
    );
    section.finish();
    let mut session_headers = Vec::new();
    for text in list {
        if let Ok(name) = HeaderName::from_bytes(text.value.as_bytes()) {
            session_headers.push(name);
            continue;
        }
        let shown = text.shown();
        let fault = format!("`routing.session_headers`: {shown} is no header name");
        reading.report.fatal(text.at.place(), &fault);
    }
    Routing { session_headers }
}

pub(super) fn read_upstream(root: &Section<'_>) -> Upstream {
    let section = root.section("upstream", "How backends are called.");
    let minutes = |minutes: u64| Duration::from_secs(minutes * 60);
    let upstream = Upstream {
        connect_timeout: section.duration_or_off(
            "connect_timeout",
            Duration::from_secs(5),
            "For the connection to a backend, TLS included.",
        ),
        response_header_timeout: section.duration_or_off(
            "response_header_timeout",
            minutes(10),
            "Until the head of the answer; for answers that are no stream that is nearly the whole work.",
        ),
        stream_idle_timeout: section.duration_or_off(
            "stream_idle_timeout",
            minutes(10),
            "The longest silence within an answer.",
        ),
        total_timeout: section.duration_or_off(
            "total_timeout",
            minutes(60),
            "For the whole answer, however slowly the client takes it.",
        ),
        pool_idle_timeout: section.duration_or_off(
            "pool_idle_timeout",
            Duration::from_secs(4),
            "How long an idle connection is kept; less than the backend keeps it (uvicorn: 5 s).",
        ),
        keepalive_comment: section.duration_or_off(
            "keepalive_comment",
            Duration::from_secs(15),
            "A comment line is sent to the client in a stream that was silent so long.",
        ),
        retry_budget_percent: section.number(
            "retry_budget_percent",
            20,
            (0, 100),
            "Retries on another deployment, as a share of requests; 0 is none.",
        ),
    };
    section.finish();
    upstream
}
