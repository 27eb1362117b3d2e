use ostia_core::*;
use std::borrow::Cow;
pub(super) fn row(user: &str, tokens: u64) -> LedgerRow<'_> {
    let at = 1_795_435_200_000_000;
    LedgerRow {
        request_id: RequestId::at(at),
        client_request_id: Cow::Borrowed(""),
        started_at: at,
        finished_at: at,
        user_id: Cow::Borrowed(user),
        username: Cow::Owned(format!("{user}@lab.org")),
        name: Cow::Borrowed("Some One"),
        auth_service: Cow::Borrowed("api_key"),
        idp: Cow::Borrowed("lab.org"),
        domain: Cow::Borrowed("lab.org"),
        group_id: Cow::Borrowed(""),
        key_id: Cow::Borrowed("k1"),
        project: Cow::Borrowed(""),
        cluster: Cow::Borrowed("sophia"),
        framework: Cow::Borrowed("vllm"),
        model: Cow::Borrowed("m"),
        endpoint_slug: Cow::Borrowed("sophia-vllm-m"),
        api: Cow::Borrowed("chat/completions"),
        stream: true,
        http_status: 499,
        outcome: Outcome::Interrupted,
        phase: Phase::Connecting,
        error_code: Cow::Borrowed(""),
        usage: Usage {
            prompt_tokens: tokens,
            total_tokens: tokens,
            source: UsageSource::Estimated,
            ..Usage::default()
        },
        ttft_ms: None,
        duration_ms: 0,
        queue_ms: 0,
        request_bytes: 300,
        response_bytes: 0,
        upstream_status: 0,
        attempts: 0,
        origin_ip: Cow::Borrowed("192.0.2.7"),
        count: 1,
    }
}
