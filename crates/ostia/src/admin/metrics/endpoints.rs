//! Metrics of endpoints.

use ostia_core::millis;

use super::family::{Family, FamilyKind, Read, endpoint};
use crate::fleet::{EndpointState, ModelState};

pub(in super::super) static ENDPOINTS: &[Family] = &[
    endpoint(
        FamilyKind::Gauge,
        "endpoint_in_flight",
        "Requests on the endpoint now",
        |state| state.in_flight().into(),
    ),
    endpoint(
        FamilyKind::Gauge,
        "endpoint_best_in_flight",
        "Requests at a time that the endpoint serves best; 0: not known yet",
        |state| state.best_point().known().unwrap_or_default().into(),
    ),
    endpoint(
        FamilyKind::Gauge,
        "endpoint_tells",
        "1 while the endpoint's engine says in its own metrics what it has to do",
        |state| state.best_point().is_reported().into(),
    ),
    endpoint(
        FamilyKind::Gauge,
        "endpoint_full",
        "1 while the endpoint has as many requests as it serves best, or its engine says that its KV cache is full",
        |state| state.best_point().is_full(state.in_flight()).into(),
    ),
    endpoint(
        FamilyKind::Gauge,
        "endpoint_failing",
        "1 while the endpoint's last five requests failed",
        |state| state.is_suspect().into(),
    ),
    endpoint(
        FamilyKind::Gauge,
        "endpoint_up",
        "1 while the endpoint answers: neither its last five requests nor its last connection failed",
        |state| (!state.is_suspect() && !state.is_unreachable()).into(),
    ),
    endpoint(
        FamilyKind::Gauge,
        "endpoint_ready",
        "1 while nothing says that the endpoint's model does not run: its cluster, its readiness URL, an operator who drains it",
        |state| {
            let may_run = |state| matches!(state, ModelState::Running | ModelState::Unknown);
            (may_run(state.model_state()) && may_run(state.readiness()) && !state.is_draining())
                .into()
        },
    ),
    Family {
        name: "endpoint_max_in_flight",
        kind: FamilyKind::Gauge,
        help: "Requests that the endpoint gets at a time; 0: no limit",
        read: Read::Deployment(|deployment| deployment.places().into()),
    },
    endpoint(
        FamilyKind::Gauge,
        "endpoint_unread_tokens",
        "Prompt tokens that the endpoint has still to read, as far as they are likely to be new to it",
        EndpointState::unread,
    ),
    endpoint(
        FamilyKind::Gauge,
        "endpoint_away_milliseconds",
        "Until the endpoint gets requests again, after it took none",
        |state| millis(state.returns_in().unwrap_or_default()),
    ),
    Family {
        name: "requests",
        kind: FamilyKind::Counter,
        help: "Requests that ended, by outcome; without an endpoint those that reached none, refusals above all",
        read: Read::Outcomes,
    },
    endpoint(
        FamilyKind::Counter,
        "prompt_tokens",
        "Prompt tokens",
        |state| state.tokens().0,
    ),
    endpoint(
        FamilyKind::Counter,
        "completion_tokens",
        "Completion tokens",
        |state| state.tokens().1,
    ),
    endpoint(
        FamilyKind::Counter,
        "request_duration_milliseconds",
        "Milliseconds of all requests together",
        EndpointState::duration_ms,
    ),
];
