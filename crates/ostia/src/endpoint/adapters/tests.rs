use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderMap, Method};
use http_body_util::Full;
use ostia_core::{BoxFuture, Clock, Identity, SystemClock};
use parking_lot::Mutex;
use serde_json::{Value, json};

use super::*;
use crate::cluster::tests::catalog;
use crate::endpoint::{AskError, Question, Reply};
use crate::fleet::ModelState;
use crate::read::{Api, Budget, ReadLimits, read};
use crate::script::Program;

/// Answers every question, and remembers it.
#[derive(Default)]
struct Page(Mutex<Vec<Question>>);

impl Ask for Page {
    fn ask(&self, question: Question) -> BoxFuture<'_, Result<Reply, AskError>> {
        self.0.lock().push(question);
        let body = Bytes::from_static(br#"{"live": true}"#);
        let status = http::StatusCode::OK;
        Box::pin(async move { Ok(Reply { status, body }) })
    }
}

async fn call(body: &Value) -> Call {
    let limits = ReadLimits {
        max_body_bytes: 1 << 20,
        body_idle_timeout: Duration::from_secs(10),
    };
    let body = Full::new(Bytes::from(body.to_string()));
    let budget = Budget::new(1 << 20);
    read(
        &HeaderMap::new(),
        body,
        Api::ChatCompletions,
        &limits,
        &budget,
    )
    .await
    .unwrap()
}

fn deployment() -> Arc<Deployment> {
    let config = json!({
        "api_url": "http://gpu.example/v1", "upstream_model": "on-disk", "allowed_hosts": ["other.example"],
        "temperature": 0.5,
    });
    let catalog = catalog(&json!({}), &[json!({"model": "m", "config": config})]);
    Arc::clone(&catalog.deployments()[0])
}

fn custom(adapter: Arc<dyn EndpointAdapter>, deployment: &Deployment, page: &Arc<Page>) -> Custom {
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let ask = Arc::clone(page) as Arc<dyn Ask>;
    Custom {
        observer: Arc::new(Completion(Arc::clone(&adapter))),
        adapter,
        http: Http::new(Some(ask), &deployment.target, HOOK_TIMEOUT),
        cache: Arc::new(Cache::new(clock)),
        time_limit: HOOK_TIMEOUT,
    }
}

fn script(text: &str, deployment: &Deployment, page: &Arc<Page>) -> Arc<dyn EndpointAdapter> {
    let program = Program::compile("a.rhai", text).unwrap();
    let http = custom(Arc::new(super::super::DirectApi), deployment, page).http;
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let cache = Arc::new(Cache::new(clock));
    Arc::new(ScriptEndpoint::new(Arc::new(program), http, cache))
}

/// Runs an adapter on a chat request with these further members.
async fn run(
    adapter: Arc<dyn EndpointAdapter>,
    deployment: &Arc<Deployment>,
    more: &Value,
) -> Result<Outgoing, AdapterError> {
    let mut body = json!({"model": "m", "messages": [{"role": "user", "content": "hi"}]});
    for (key, value) in more.as_object().into_iter().flatten() {
        body[key] = value.clone();
    }
    let call = call(&body).await;
    let id = RequestId::at(0);
    let outgoing = Constants::of(deployment).prepare(deployment, &call, id, &HeaderMap::new());
    let custom = custom(adapter, deployment, &Arc::default());
    custom
        .run(&Identity::default(), deployment, &call, outgoing)
        .await
}

async fn run_script(text: &str, more: &Value) -> Result<Outgoing, AdapterError> {
    let deployment = deployment();
    let adapter = script(text, &deployment, &Arc::default());
    run(adapter, &deployment, more).await
}

fn body_of(outgoing: &Outgoing) -> Value {
    serde_json::from_slice(&outgoing.body.concat()).unwrap()
}

fn failed(result: Result<Outgoing, AdapterError>) -> String {
    match result {
        Err(AdapterError::Failed(why)) => why,
        other => panic!("{other:?}"),
    }
}

type Change = fn(&mut RequestContext<'_>) -> Result<(), AdapterError>;

struct Does(Change);

#[async_trait]
impl EndpointAdapter for Does {
    async fn on_request(&self, context: &mut RequestContext<'_>) -> Result<(), AdapterError> {
        (self.0)(context)
    }
}

async fn run_rust(change: Change, more: &Value) -> Result<Outgoing, AdapterError> {
    run(Arc::new(Does(change)), &deployment(), more).await
}

#[tokio::test]
async fn an_adapter_that_changes_nothing_leaves_the_clients_bytes() {
    let untouched = run_rust(|_| Ok(()), &json!({"stream": true}))
        .await
        .unwrap();
    let direct = Arc::new(super::super::DirectApi);
    let direct = run(direct, &deployment(), &json!({"stream": true})).await;
    assert_eq!(untouched.body, direct.unwrap().body);
    assert!(untouched.body.len() > 1, "spliced, not written anew");
    let script = run_script("fn on_request(ctx) {}", &json!({"stream": true})).await;
    assert_eq!(untouched.body, script.unwrap().body);
}

#[tokio::test]
async fn edited_bodies_still_get_the_backends_model_and_the_usage_chunk() {
    let asked = json!({"stream": true, "api_port": 7});
    let rust = run_rust(
        |context| {
            context.set_field("temperature", context.config()["temperature"].clone());
            context.remove_field("api_port");
            Ok(())
        },
        &asked,
    );
    let text = "fn on_stream_request(ctx) { ctx.set(\"temperature\", ctx.config.temperature); ctx.remove(\"api_port\"); }";
    let script = run_script(text, &asked);
    for outgoing in [rust.await.unwrap(), script.await.unwrap()] {
        let expected = json!({
            "model": "on-disk", "messages": [{"role": "user", "content": "hi"}], "stream": true,
            "temperature": 0.5, "stream_options": {"include_usage": true},
        });
        assert_eq!(body_of(&outgoing), expected);
        assert!(outgoing.stream);
    }
}

#[tokio::test]
async fn another_model_of_the_adapters_choice_stays() {
    let change: Change = |context| {
        context.set_field("model", "special");
        Ok(())
    };
    let outgoing = run_rust(change, &json!({})).await.unwrap();
    assert_eq!(body_of(&outgoing)["model"], "special");
}

#[tokio::test]
async fn a_stream_may_be_turned_off_but_not_on() {
    let off: Change = |context| {
        context.set_field("stream", false);
        Ok(())
    };
    let asked = json!({"stream": true, "stream_options": {"include_usage": true}});
    let outgoing = run_rust(off, &asked).await.unwrap();
    assert!(!outgoing.stream);
    assert_eq!(body_of(&outgoing).get("stream_options"), None);

    let on: Change = |context| {
        context.set_field("stream", true);
        Ok(())
    };
    failed(run_rust(on, &json!({})).await);
    failed(
        run_script(
            "fn on_request(ctx) { ctx.set(\"stream\", true); }",
            &json!({}),
        )
        .await,
    );
    let nonsense: Change = |context| {
        context.set_field("stream", 1);
        Ok(())
    };
    failed(run_rust(nonsense, &json!({})).await);
}

#[tokio::test]
async fn exactly_one_hook_runs() {
    let text = "fn on_request(ctx) { ctx.set(\"by\", \"whole\"); } fn on_stream_request(ctx) { ctx.set(\"by\", \"stream\"); }";
    for (more, by) in [(json!({}), "whole"), (json!({"stream": true}), "stream")] {
        let outgoing = run_script(text, &more).await.unwrap();
        assert_eq!(body_of(&outgoing)["by"], by);
    }
    let text = "fn on_complete(row) {}";
    assert!(run_script(text, &json!({})).await.is_ok());
}

#[tokio::test]
async fn urls_within_reach_are_called_and_others_end_the_request() {
    let outgoing = run_script(
        "fn on_request(ctx) { ctx.set_api_url(\"http://other.example:8001/v9/chat/completions?x=1\"); }",
        &json!({}),
    )
    .await
    .unwrap();
    assert_eq!(outgoing.path_and_query, "/v9/chat/completions?x=1");
    assert_eq!(outgoing.origin.unwrap().port, 8001);

    for url in [
        "https://gpu.example/v1",
        "http://evil.example/v1",
        "http://gpu.example@evil.example/v1",
        "http://169.254.169.254/latest",
        "ftp://gpu.example/",
        "gpu.example",
        "",
    ] {
        let text = format!("fn on_request(ctx) {{ ctx.set_api_url(\"{url}\"); }}");
        failed(run_script(&text, &json!({})).await);
    }
    // Ignoring the error does not help.
    let ignores: Change = |context| {
        let _ = context.set_api_url("http://evil.example/v1");
        Ok(())
    };
    failed(run_rust(ignores, &json!({})).await);
}

#[tokio::test]
async fn headers_and_time_are_the_adapters_to_set_but_not_the_gateways_own_headers() {
    let change: Change = |context| {
        context.set_timeout(Duration::from_secs(3));
        context.set_header("x-site", "a")
    };
    let outgoing = run_rust(change, &json!({})).await.unwrap();
    assert_eq!(outgoing.headers["x-site"], "a");
    assert_eq!(
        outgoing.promise().timeouts.stream_idle,
        Some(Duration::from_secs(3))
    );
    for (name, value) in [
        ("host", "evil"),
        ("content-length", "3"),
        ("x y", "a"),
        ("x", "a\r\nb: c"),
    ] {
        let text = format!("fn on_request(ctx) {{ ctx.set_header({name:?}, {value:?}); }}");
        failed(run_script(&text, &json!({})).await);
    }
}

#[tokio::test]
async fn refusals_are_told_as_written() {
    let refusal = AdapterError::refusal(503, "down for now", "site_down");
    let refuse: Change = |_| Err(AdapterError::refusal(503, "down for now", "site_down"));
    assert_eq!(run_rust(refuse, &json!({})).await.unwrap_err(), refusal);
    let text = "fn on_request(ctx) { refuse(503, \"down for now\", \"site_down\"); }";
    assert_eq!(run_script(text, &json!({})).await.unwrap_err(), refusal);
    let odd = AdapterError::refusal(200, "?", "?");
    assert!(matches!(odd, AdapterError::Refusal { status, .. } if status == 500));
}

#[tokio::test]
async fn panics_hangs_and_loops_end_their_own_request() {
    struct Hangs;
    #[async_trait]
    impl EndpointAdapter for Hangs {
        async fn on_request(&self, _: &mut RequestContext<'_>) -> Result<(), AdapterError> {
            std::future::pending().await
        }
    }

    let why = failed(run_rust(|_| panic!("as asked"), &json!({})).await);
    assert!(why.contains("panicked"), "{why}");
    let deployment = deployment();
    let body = call(&json!({"model": "m", "messages": [{}]})).await;
    let outgoing =
        Constants::of(&deployment).prepare(&deployment, &body, RequestId::at(0), &HeaderMap::new());
    let mut custom = custom(Arc::new(Hangs), &deployment, &Arc::default());
    custom.time_limit = Duration::from_millis(10);
    let nobody = Identity::default();
    let hung = custom.run(&nobody, &deployment, &body, outgoing);
    failed(hung.await);
    let why = failed(run_script("fn on_request(ctx) {\n  loop {}\n}", &json!({})).await);
    assert!(why.starts_with("a.rhai"), "{why}");
    assert!(why.contains("on_request") || why.contains(":2:"), "{why}");
}

#[tokio::test]
async fn what_a_script_puts_into_a_request_is_bounded() {
    for change in [
        "ctx.set(\"k\" + n, s)",
        "ctx.set_header(\"x-k\" + n, s)",
        "ctx.set_body(s)",
    ] {
        let text = format!(
            "fn on_request(ctx) {{ let s = \"\"; s.pad(4000000, \"x\"); let n = 0; loop {{ n += 1; {change}; }} }}"
        );
        let why = failed(run_script(&text, &json!({})).await);
        assert!(why.contains("too large"), "{change}: {why}");
    }
}

#[tokio::test]
async fn a_time_without_end_is_a_day() {
    let change: Change = |context| {
        context.set_timeout(Duration::MAX);
        Ok(())
    };
    let text = "fn on_request(ctx) { ctx.set_timeout(9223372036854775807); }";
    let script = run_script(text, &json!({})).await.unwrap();
    for outgoing in [run_rust(change, &json!({})).await.unwrap(), script] {
        let day = Some(Duration::from_secs(24 * 60 * 60));
        assert_eq!(outgoing.promise().timeouts.stream_idle, day);
    }
}

#[tokio::test]
async fn scripts_ask_over_http_within_reach_only() {
    let deployment = deployment();
    deployment.state.set_model_state(ModelState::Queued);
    let page = Arc::<Page>::default();
    let text = r#"
        fn on_request(ctx) {
            let page = ctx.http_get("/status");
            if page.status != 200 || !page.json.live { refuse(503, "no", "no"); }
            ctx.cache_set("k", #{n: 1}, 60);
            ctx.set("seen", [ctx.model_state(), ctx.cache_get("k").n, ctx.model, ctx.user.username, ctx.get("messages").len]);
        }"#;
    let adapter = script(text, &deployment, &page);
    let outgoing = run(adapter, &deployment, &json!({})).await.unwrap();
    assert_eq!(body_of(&outgoing)["seen"], json!(["queued", 1, "m", "", 1]));
    let asked = std::mem::take(&mut *page.0.lock());
    assert_eq!(
        (asked.len(), &asked[0].method, &*asked[0].path_and_query),
        (1, &Method::GET, "/status")
    );
    for url in [
        "http://evil.example/",
        "https://gpu.example/",
        "file:///etc/passwd",
    ] {
        let text = format!("fn on_request(ctx) {{ ctx.http_get(\"{url}\"); }}");
        let adapter = script(&text, &deployment, &page);
        failed(run(adapter, &deployment, &json!({})).await);
    }
    assert_eq!(page.0.lock().len(), 0);
}

#[test]
fn a_panic_in_on_complete_goes_no_further() {
    struct Panics;
    impl EndpointAdapter for Panics {
        fn on_complete(&self, _: &LedgerRow<'_>) {
            panic!("as asked");
        }
    }
    Completion(Arc::new(Panics)).closed(&LedgerRow::default());
}
