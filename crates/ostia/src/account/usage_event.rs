use ostia_core::LedgerRow;

/// The ledger's columns as one event: what log pipelines read instead of the database. A column without a value
/// (`ttft_ms`) is left out.
pub(super) fn emit(row: &LedgerRow<'_>) {
    let mut request_id = [0; 36];
    tracing::info!(
        target: "ostia::usage",
        request_id = row.request_id.encode(&mut request_id),
        client_request_id = &*row.client_request_id,
        started_at = row.started_at,
        finished_at = row.finished_at,
        user_id = &*row.user_id,
        username = &*row.username,
        auth_service = &*row.auth_service,
        idp = &*row.idp,
        domain = &*row.domain,
        group_id = &*row.group_id,
        key_id = &*row.key_id,
        project = &*row.project,
        cluster = &*row.cluster,
        framework = &*row.framework,
        model = &*row.model,
        endpoint_slug = &*row.endpoint_slug,
        api = &*row.api,
        stream = row.stream,
        http_status = row.http_status,
        outcome = row.outcome.as_str(),
        phase = row.phase.as_str(),
        error_code = &*row.error_code,
        prompt_tokens = row.usage.prompt_tokens,
        completion_tokens = row.usage.completion_tokens,
        total_tokens = row.usage.total_tokens,
        cached_tokens = row.usage.cached_tokens,
        reasoning_tokens = row.usage.reasoning_tokens,
        usage_source = row.usage.source.as_str(),
        ttft_ms = row.ttft_ms,
        duration_ms = row.duration_ms,
        queue_ms = row.queue_ms,
        request_bytes = row.request_bytes,
        response_bytes = row.response_bytes,
        upstream_status = row.upstream_status,
        attempts = row.attempts,
        origin_ip = &*row.origin_ip,
        count = row.count,
        "usage"
    );
}

#[cfg(test)]
mod tests {
    use std::io;
    use std::sync::{Arc, Mutex};

    use super::super::tests::row;
    use super::emit;

    #[derive(Clone, Default)]
    struct Sink(Arc<Mutex<Vec<u8>>>);

    impl io::Write for Sink {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn the_event_has_the_ledger_s_columns() {
        let sink = Sink::default();
        let writer = sink.clone();
        let subscriber = tracing_subscriber::fmt()
            .json()
            .flatten_event(true)
            .with_writer(move || writer.clone())
            .finish();
        let mut row = row("ann", 7);
        row.ttft_ms = Some(12);
        tracing::subscriber::with_default(subscriber, || emit(&row));

        let bytes = sink.0.lock().unwrap().clone();
        let event: serde_json::Value = serde_json::from_slice(&bytes).unwrap();
        let event = event.as_object().unwrap();
        assert_eq!(event["target"], "ostia::usage");
        assert_eq!(event["message"], "usage");
        assert_eq!(event["request_id"], row.request_id.to_string());
        assert_eq!(event["total_tokens"], 7);
        assert_eq!(event["stream"], true);
        assert_eq!(event["ttft_ms"], 12);
        let columns = "request_id, client_request_id, started_at, finished_at, user_id, username, auth_service, idp, \
             domain, group_id, key_id, project, cluster, framework, model, endpoint_slug, api, stream, http_status, \
             outcome, phase, error_code, prompt_tokens, completion_tokens, total_tokens, cached_tokens, \
             reasoning_tokens, usage_source, ttft_ms, duration_ms, queue_ms, request_bytes, response_bytes, \
             upstream_status, attempts, origin_ip, count";
        for column in columns.split(", ") {
            assert!(event.contains_key(column), "{column}");
        }
    }
}
