//! What a scrape says about requests.

use std::cell::RefCell;

use ostia_testkit::backend::{FakeBackend, Script};
use ostia_testkit::client::{RawClient, Request};
use ostia_testkit::gate::Gate;
use ostia_testkit::gateway::{Endpoint, Site, TestGateway, gauges};
use ostia_testkit::patience::within;
use serde_json::json;

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

/// The value of one series.
fn value(metrics: &str, series: &str) -> Option<String> {
    let found = metrics.lines().find_map(|line| line.strip_prefix(series));
    found.map(|value| value.trim().to_owned())
}

/// Waits until a scrape shows this series with this value.
async fn until(gateway: &TestGateway, series: &str, wanted: &str) {
    let last = RefCell::new(String::new());
    let asking = async {
        loop {
            let metrics = gauges::scrape(gateway.admin_address()).await;
            if value(&metrics, series).as_deref() == Some(wanted) {
                return;
            }
            *last.borrow_mut() = metrics;
            tokio::task::yield_now().await;
        }
    };
    within(|| format!("{series} {wanted}\n{}", last.borrow()), asking).await;
}

#[tokio::test]
async fn a_scrape_says_who_waits_for_which_model_and_how_many_it_takes() {
    let backend = FakeBackend::start().await;
    let one_place = Endpoint::of("Org/m", &backend).config("max_in_flight", json!(1));
    let site = Site::new().endpoint(one_place);
    let gateway = TestGateway::start(site.settings("[limits]\nqueue_timeout = \"60s\"")).await;
    let gate = Gate::closed();
    backend.next(Script::completion().gate_head(&gate));
    let chat = gateway.chat("Org/m");
    let waiting = async {
        gate.reached(1).await;
        gateway.call(&chat).await
    };
    let looking = async {
        until(&gateway, "ostia_model_waiting{model=\"Org/m\"}", "1").await;
        let metrics = gauges::scrape(gateway.admin_address()).await;
        let places = "ostia_endpoint_max_in_flight{endpoint=\"lab-vllm-orgm\"}";
        assert_eq!(value(&metrics, places).as_deref(), Some("1"), "{metrics}");
        gate.open();
    };
    let (first, second, ()) = tokio::join!(gateway.call(&chat), waiting, looking);
    assert_eq!((first.status(), second.status()), (200, 200));
    let metrics = gauges::at_rest(gateway.admin_address()).await;
    assert_eq!(gauges::sum(&metrics, "ostia_model_waiting"), None);
    gateway.finish(&[&backend]).await;
}

#[tokio::test]
async fn an_endpoint_is_up_while_it_answers_and_ready_while_it_may_be_used() {
    let backend = FakeBackend::start().await;
    let dead = Endpoint::new("dead", "http://127.0.0.1:1/v1");
    let gateway = TestGateway::start(Site::new().model("m", &backend).endpoint(dead)).await;
    assert_eq!(gateway.call(&gateway.chat("m")).await.status(), 200);
    // One failure may be anybody's; five in a row without an answer are the endpoint's.
    for _ in 0..5 {
        let answer = gateway.call(&gateway.chat("dead")).await;
        assert!(answer.status() >= 500, "{}", answer.text());
    }
    let metrics = gauges::at_rest(gateway.admin_address()).await;
    for (series, wanted) in [
        ("ostia_endpoint_up{endpoint=\"lab-vllm-m\"}", "1"),
        ("ostia_endpoint_up{endpoint=\"lab-vllm-dead\"}", "0"),
        ("ostia_endpoint_ready{endpoint=\"lab-vllm-m\"}", "1"),
        ("ostia_endpoint_max_in_flight{endpoint=\"lab-vllm-m\"}", "0"),
    ] {
        assert_eq!(value(&metrics, series).as_deref(), Some(wanted), "{series}");
    }
    let ready = "ostia_endpoint_ready{endpoint=\"lab-vllm-m\"}";
    for (what, wanted) in [("drain", "0"), ("undrain", "1")] {
        let (_, token) = ostia::admin::published(gateway.site().folder()).unwrap();
        let path = format!("/admin/endpoints/lab-vllm-m/{what}");
        let asking = Request::post(&path).bearer(token.expose());
        let mut client = RawClient::connect(gateway.admin_address()).await;
        assert_eq!(client.call(&asking).await.status(), 200);
        until(&gateway, ready, wanted).await;
    }
    gateway.finish(&[&backend]).await;
}
