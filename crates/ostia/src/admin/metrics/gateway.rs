//! Metrics of the process and what it depends on.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::family::{Family, FamilyKind, Read, one, words};

pub(in super::super) static GATEWAY: &[Family] = &[
    words(
        "sign_ins_failed",
        "Requests whose sender could not sign in, by reason",
        "reason",
        |scrape| scrape.gateway.live().identify.failures().collect(),
    ),
    words(
        "errors",
        "Requests that were answered with an error, by its code",
        "code",
        |scrape| scrape.gateway.errors().all(),
    ),
    words(
        "denials",
        "Requests for what is there but not for their sender",
        "what",
        |scrape| scrape.gateway.denials().counts().collect(),
    ),
    words(
        "key_changes",
        "Changes of API keys, as seen in the database",
        "kind",
        |scrape| scrape.gateway.key_watch().counts().collect(),
    ),
    one(
        FamilyKind::Gauge,
        "connections",
        "Open client connections",
        |scrape| scrape.public.open() as u64,
    ),
    one(
        FamilyKind::Gauge,
        "backend_connections",
        "Open connections to backends",
        |scrape| scrape.gateway.live().backends.stats().open as u64,
    ),
    one(
        FamilyKind::Gauge,
        "backend_connections_idle",
        "Connections to backends that serve no request",
        |scrape| scrape.gateway.live().backends.stats().idle as u64,
    ),
    one(
        FamilyKind::Gauge,
        "backend_connections_in_use",
        "Requests that hold a connection to a backend, or a stream on one",
        |scrape| scrape.gateway.live().backends.stats().in_use as u64,
    ),
    one(
        FamilyKind::Counter,
        "backend_connections_opened",
        "Connections opened to backends",
        |scrape| scrape.gateway.live().backends.stats().opened_total,
    ),
    one(
        FamilyKind::Gauge,
        "request_body_bytes",
        "Bytes of request bodies in flight",
        |scrape| scrape.gateway.body_budget().used(),
    ),
    one(
        FamilyKind::Gauge,
        "ledger_open_receipts",
        "Requests that are written down and not over",
        |scrape| scrape.gateway.ledger().stats().open_receipts as u64,
    ),
    one(
        FamilyKind::Gauge,
        "ledger_pending_bytes",
        "Journal bytes that the store does not have yet",
        |scrape| scrape.gateway.ledger().stats().pending_bytes,
    ),
    one(
        FamilyKind::Gauge,
        "ledger_waiting_bytes",
        "Bytes in memory that the journal's disk does not have yet",
        |scrape| scrape.gateway.ledger().stats().waiting_bytes as u64,
    ),
    one(
        FamilyKind::Counter,
        "ledger_unreadable_bytes",
        "Bytes of damaged journal files whose rows are missing",
        |scrape| scrape.gateway.ledger().stats().unreadable_bytes,
    ),
    one(
        FamilyKind::Gauge,
        "catalog_generation",
        "The number of the reading of the files that is served",
        |scrape| scrape.gateway.live().generation,
    ),
    words(
        "reloads",
        "Readings of the files after the start, by what came of them",
        "result",
        |scrape| scrape.gateway.reloads().counts().to_vec(),
    ),
    one(
        FamilyKind::Gauge,
        "waiting",
        "Requests that wait for their turn",
        |scrape| scrape.gateway.admitter().waiting() as u64,
    ),
    Family {
        name: "model_waiting",
        kind: FamilyKind::Gauge,
        help: "Requests that wait for their turn, by the model that they wait for",
        read: Read::Models(|scrape| {
            let mut models = BTreeMap::<Arc<str>, u64>::new();
            for waits in scrape.gateway.admitter().waits() {
                *models.entry(waits.model).or_default() += 1;
            }
            models
        }),
    },
    one(
        FamilyKind::Gauge,
        "store_up",
        "0 while the database does not take rows",
        |scrape| (!scrape.gateway.ledger().stats().store_down).into(),
    ),
    one(
        FamilyKind::Gauge,
        "journal_up",
        "0 while the journal has no room, or its disk does not answer: requests are refused",
        |scrape| (!scrape.gateway.ledger().stats().journal_down).into(),
    ),
    Family {
        name: "identity_provider_up",
        kind: FamilyKind::Gauge,
        help: "0 while an identity provider is not called because it failed",
        read: Read::Words(["provider"], |scrape| {
            let health = scrape.gateway.live().identify.health();
            health
                .into_iter()
                .map(|one| (one.provider, one.is_up.into()))
                .collect()
        }),
    },
    words(
        "identity_provider_failures",
        "Calls that an identity provider did not answer properly",
        "provider",
        |scrape| {
            let health = scrape.gateway.live().identify.health();
            health
                .into_iter()
                .map(|one| (one.provider, one.failures))
                .collect()
        },
    ),
    one(
        FamilyKind::Gauge,
        "limiter_degraded",
        "1 while limits are shared and held in this process alone, as their server does not answer",
        |scrape| scrape.gateway.admitter().is_degraded().into(),
    ),
    one(
        FamilyKind::Gauge,
        "limiter_replicas",
        "Replicas that share their limits, as they were seen last",
        |scrape| scrape.gateway.admitter().replicas(),
    ),
    words(
        "background_panics",
        "Panics of background work, which then starts again",
        "task",
        |scrape| {
            let reports = scrape.gateway.duties().report().into_iter();
            reports.map(|duty| (duty.name, duty.panics)).collect()
        },
    ),
    one(
        FamilyKind::Counter,
        "connections_refused",
        "Connections refused for their number",
        |scrape| scrape.public.refused(),
    ),
    words(
        "http2_connections_abused",
        "HTTP/2 connections closed because their client abused the protocol",
        "abuse",
        |scrape| scrape.public.abused().collect(),
    ),
    one(
        FamilyKind::Counter,
        "access_events_untold",
        "Requests of unknown callers that the access log only counted",
        |scrape| scrape.public.untold(),
    ),
    one(
        FamilyKind::Counter,
        "log_lines_lost",
        "Log lines dropped because standard error was not read",
        |_| crate::telemetry::log::lost_lines(),
    ),
    one(
        FamilyKind::Counter,
        "ledger_refused",
        "Requests refused because the journal was full or its disk did not answer",
        |scrape| scrape.gateway.ledger().stats().refused_started,
    ),
    one(
        FamilyKind::Counter,
        "ledger_lost_rejections",
        "Rows of refused requests that found no room",
        |scrape| scrape.gateway.ledger().stats().lost_rejected,
    ),
    one(
        FamilyKind::Counter,
        "ledger_folded_rejections",
        "Refused requests that share a row with others",
        |scrape| scrape.gateway.ledger().stats().folded,
    ),
];
