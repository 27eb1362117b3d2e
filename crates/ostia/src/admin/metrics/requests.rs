//! Metrics of requests.

use super::family::{Family, FamilyKind, Read, series};

const MILLIS: u64 = 1_000;

const MICROS: u64 = 1_000_000;

pub(in super::super) static REQUESTS: &[Family] = &[
    series(
        "request_duration_seconds",
        "From a request's head to its end",
        |series| &series.duration,
        MILLIS,
    ),
    series(
        "time_to_first_token_seconds",
        "From a request's head to the first byte of its answer",
        |series| &series.first_token,
        MILLIS,
    ),
    series(
        "time_per_output_token_seconds",
        "Between two tokens of a stream",
        |series| &series.token_gap,
        MICROS,
    ),
    series(
        "queue_duration_seconds",
        "How long requests that were sent waited for their turn",
        |series| &series.queued,
        MILLIS,
    ),
    series(
        "request_prompt_tokens",
        "Prompt tokens of a request",
        |series| &series.prompt_tokens,
        1,
    ),
    series(
        "request_completion_tokens",
        "Completion tokens of a request",
        |series| &series.completion_tokens,
        1,
    ),
    Family {
        name: "gateway_duration_seconds",
        kind: FamilyKind::Histogram,
        help: "What the gateway itself took before a request was sent, from the end of its body, without its wait",
        read: Read::Distribution(|scrape| scrape.gateway.figures().own_time(), MICROS),
    },
    Family {
        name: "responses",
        kind: FamilyKind::Counter,
        help: "Requests that passed sign-in, by the HTTP status of their answer; 499: the client left before",
        read: Read::Statuses,
    },
    Family {
        name: "build_info",
        kind: FamilyKind::Gauge,
        help: "1, with the version of ostia",
        read: Read::Words(["version"], |_| vec![(env!("CARGO_PKG_VERSION"), 1)]),
    },
];
