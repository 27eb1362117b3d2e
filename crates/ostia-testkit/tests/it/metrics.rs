//! What a scrape says about requests.

use ostia_testkit::backend::{FakeBackend, Script};
use ostia_testkit::gateway::{Site, TestGateway, gauges};

#[tokio::test]
async fn requests_are_counted_by_model_and_outcome_in_base_units() {
    let backend = FakeBackend::start().await;
    let gateway = TestGateway::start(Site::new().model("Org/m", &backend)).await;
    backend.otherwise(Script::completion().prompt_tokens(11, 4));
    for _ in 0..3 {
        assert_eq!(
            gateway.call(&gateway.chat_stream("Org/m")).await.status(),
            200
        );
    }
    assert_eq!(gateway.call(&gateway.chat("absent")).await.status(), 404);
    let metrics = gauges::at_rest(gateway.admin_address()).await;
    let answered = "{model=\"Org/m\",cluster=\"lab\",api=\"chat/completions\",outcome=\"ok\"}";
    let sample = |name: &str, labels: &str| {
        let line = format!("ostia_{name}{labels} ");
        let found = metrics.lines().find_map(|text| text.strip_prefix(&*line));
        found
            .unwrap_or_else(|| panic!("no {line} in {metrics}"))
            .to_owned()
    };
    for name in [
        "request_duration_seconds",
        "time_to_first_token_seconds",
        "time_per_output_token_seconds",
        "queue_duration_seconds",
    ] {
        assert_eq!(sample(&format!("{name}_count"), answered), "3", "{name}");
        let sum: f64 = sample(&format!("{name}_sum"), answered).parse().unwrap();
        assert!((0.0..60.0).contains(&sum), "{name} in seconds: {sum}");
    }
    assert_eq!(sample("request_prompt_tokens_sum", answered), "33.0");
    assert_eq!(sample("request_completion_tokens_count", answered), "3");
    let refused = "{model=\"\",cluster=\"\",api=\"chat/completions\",outcome=\"rejected\"}";
    assert_eq!(sample("request_duration_seconds_count", refused), "1");
    assert_eq!(sample("responses_total", "{status=\"200\"}"), "3");
    assert_eq!(sample("responses_total", "{status=\"404\"}"), "1");
    assert_eq!(sample("gateway_duration_seconds_count", ""), "3");
    for process in [
        "process_cpu_seconds_total ",
        "process_resident_memory_bytes ",
        "process_open_fds ",
        "process_max_fds ",
    ] {
        assert!(
            metrics.lines().any(|line| line.starts_with(process)),
            "{process}"
        );
    }
    assert!(!metrics.contains("tester"), "no user is named");
    gateway.finish(&[&backend]).await;
}

/// The names of models come from files, but many people write those.
#[tokio::test]
async fn labels_are_escaped() {
    let backend = FakeBackend::start().await;
    let model = "a\"b\\c";
    let gateway = TestGateway::start(Site::new().model(model, &backend)).await;
    assert_eq!(gateway.call(&gateway.chat(model)).await.status(), 200);
    let metrics = gauges::at_rest(gateway.admin_address()).await;
    let label = r#"model="a\"b\\c","#;
    assert!(metrics.contains(label), "{metrics}");
    gateway.finish(&[&backend]).await;
}
