use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderMap, Method};
use http_body_util::Full;
use ostia_core::{BoxFuture, Clock, Identity, ManualClock, RequestId, SystemClock};
use parking_lot::Mutex;
use serde_json::{Value, json};

use super::super::context::Caller;
use super::super::edits::Original;
use super::super::prepare::Constants;
use super::super::script::ScriptHooks;
use super::*;
use crate::catalog::Scope;
use crate::cluster::tests::catalog;
use crate::dialect::Api;
use crate::fleet::ModelState;
use crate::read::{Budget, Call, ReadLimits, RefusedBytes, Rules, read};
use crate::routes::Address;
use crate::scan::Watch;
use crate::script::Program;
use crate::upstream::{Ask, AskError, Question, Reply};

/// Answers every question and records it.
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
    let address = Address {
        scope: Scope::Everywhere,
        api: Api::parse("chat/completions"),
        model: None,
    };
    let user = "ann".into();
    let rules = Rules {
        limits: &limits,
        budget: &budget,
        user: &user,
        origin: std::net::Ipv4Addr::LOCALHOST.into(),
        watch: &Watch::default(),
    };
    let refused = RefusedBytes::new(Arc::new(ManualClock::at(0)));
    let mut toll = refused.toll(&user, 0).unwrap();
    read(&HeaderMap::new(), body, &address, rules, &mut toll)
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

/// Changes nothing.
struct Nothing;

impl EndpointAdapter for Nothing {}

fn hooked(hooks: Arc<dyn EndpointAdapter>, deployment: &Deployment, page: &Arc<Page>) -> Hooked {
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let ask = Arc::clone(page) as Arc<dyn Ask>;
    let http = Http::new(Some(ask), &deployment.target, HOOK_TIMEOUT);
    Hooked::new(hooks, http, Arc::new(Cache::new(clock)))
}

fn script(text: &str) -> Arc<dyn EndpointAdapter> {
    let program = Program::compile("a.rhai", text).unwrap_or_else(|error| panic!("{error}"));
    Arc::new(ScriptHooks::new(Arc::new(program), Arc::new(SystemClock)))
}

/// Runs an adapter on a chat request with these additional members.
async fn run(
    adapter: Arc<dyn EndpointAdapter>,
    deployment: &Arc<Deployment>,
    more: &Value,
) -> Result<Outgoing, AdapterError> {
    let hooked = hooked(adapter, deployment, &Arc::default());
    run_hooked(&hooked, deployment, more).await
}

async fn run_hooked(
    hooked: &Hooked,
    deployment: &Arc<Deployment>,
    more: &Value,
) -> Result<Outgoing, AdapterError> {
    let mut body = json!({"model": "m", "messages": [{"role": "user", "content": "hi"}]});
    for (key, value) in more.as_object().into_iter().flatten() {
        body[key] = value.clone();
    }
    let mut call = call(&body).await;
    call.session = Some("session-7".into());
    let headers = [
        ("authorization", "Bearer of-the-caller"),
        ("x-tenant", "physics"),
        ("user-agent", "tests"),
    ];
    let headers: HeaderMap = headers
        .iter()
        .map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap()))
        .collect();
    let caller = Caller {
        principal: &Identity::default(),
        id: RequestId::at(0),
        headers: &headers,
    };
    let salt = more.get("salt").and_then(Value::as_str);
    let outgoing = Constants::of(deployment).prepare(deployment, caller, &call, salt);
    let original = Some(Original::of(&call.body).await.unwrap());
    let context = RequestContext::new(caller, deployment, &call, hooked, outgoing, original)
        .with_cache_salt(salt.map(str::to_owned));
    hooked.before(context).await
}

async fn run_script(text: &str, more: &Value) -> Result<Outgoing, AdapterError> {
    let deployment = deployment();
    run(script(text), &deployment, more).await
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
    let direct = run(Arc::new(Nothing), &deployment(), &json!({"stream": true})).await;
    assert_eq!(untouched.body, direct.unwrap().body);
    assert!(untouched.body.len() > 1, "spliced, not written anew");
    let script = run_script("fn on_request(ctx) {}", &json!({"stream": true})).await;
    assert_eq!(untouched.body, script.unwrap().body);
}

/// `salt` stands for what the gateway adds.
#[tokio::test]
async fn edited_bodies_still_get_the_gateways_salt() {
    let changes: [Change; 4] = [
        |_| Ok(()),
        |context| {
            context.set_field("temperature", 0);
            Ok(())
        },
        |context| {
            context.set_field("cache_salt", "of the adapter");
            Ok(())
        },
        |context| {
            context.set_body(r#"{"model": "m", "messages": []}"#);
            Ok(())
        },
    ];
    for (number, change) in changes.into_iter().enumerate() {
        let outgoing = run_rust(change, &json!({"salt": "of the gateway"})).await;
        let body = body_of(&outgoing.unwrap());
        assert_eq!(body["cache_salt"], "of the gateway", "{number} {body}");
    }
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
    // The error counts even if the adapter ignores it.
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
    let mut hooked = hooked(Arc::new(Hangs), &deployment, &Arc::default());
    hooked.time_limit = Duration::from_millis(10);
    failed(run_hooked(&hooked, &deployment, &json!({})).await);
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
            "fn on_request(ctx) {{ let s = \"x\"; for i in 0..21 {{ s += s; }} let n = 0; loop {{ n += 1; {change}; }} }}"
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
    let asks = hooked(script(text), &deployment, &page);
    let outgoing = run_hooked(&asks, &deployment, &json!({})).await.unwrap();
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
        let asks = hooked(script(&text), &deployment, &page);
        failed(run_hooked(&asks, &deployment, &json!({})).await);
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

#[tokio::test]
async fn hooks_see_what_they_may_of_the_caller() {
    let nothing = json!({});
    let rust = run_rust(
        |context| {
            let header = |name| {
                let value = context.header(name).map(|value| value.to_str().unwrap());
                Value::from(value)
            };
            let seen = [
                header("X-Tenant"),
                header("user-agent"),
                header("authorization"),
                header("x-none"),
                header("no name"),
                context.session().into(),
                context.request_id().to_string().into(),
            ];
            context.set_field("seen", seen.to_vec());
            Ok(())
        },
        &nothing,
    );
    let script = run_script(
        r#"fn on_request(ctx) {
            ctx.set("seen", [ctx.header("X-Tenant"), ctx.header("user-agent"), ctx.header("authorization"),
                             ctx.header("x-none"), ctx.header("no name"), ctx.session, ctx.request_id]);
        }"#,
        &nothing,
    );
    let id = RequestId::at(0).to_string();
    for outgoing in [rust.await.unwrap(), script.await.unwrap()] {
        let seen = &body_of(&outgoing)["seen"];
        assert_eq!(
            seen.as_array().unwrap()[..6],
            json!(["physics", "tests", null, null, null, "session-7"])
                .as_array()
                .unwrap()[..]
        );
        assert_eq!(seen[6].as_str().unwrap().len(), id.len());
    }
}

#[tokio::test]
async fn a_signature_is_made_over_what_is_sent_in_the_end() {
    let stream = json!({"stream": true});
    let rust = run_rust(
        |context| {
            context.set_field("temperature", 0);
            let key = ring::hmac::Key::new(ring::hmac::HMAC_SHA256, b"key");
            let tag = ring::hmac::sign(&key, &context.final_body()?);
            context.remove_header("user-agent")?;
            context.set_header("x-signature", &hex::encode(tag))
        },
        &stream,
    );
    let script = run_script(
        r#"fn on_request(ctx) {
            ctx.set("temperature", 0);
            ctx.remove_header("user-agent");
            ctx.set_header("x-signature", hex(hmac_sha256("key", ctx.final_body())));
        }"#,
        &stream,
    );
    for outgoing in [rust.await.unwrap(), script.await.unwrap()] {
        let key = ring::hmac::Key::new(ring::hmac::HMAC_SHA256, b"key");
        let tag = hex::decode(outgoing.headers["x-signature"].to_str().unwrap()).unwrap();
        let body = outgoing.body.concat();
        ring::hmac::verify(&key, &body, &tag).unwrap();
        assert_eq!(body_of(&outgoing)["model"], "on-disk");
        assert_eq!(body_of(&outgoing)["stream_options"]["include_usage"], true);
        assert_eq!(outgoing.headers.get("user-agent"), None);
    }
    // Without edits, it is the client's bytes with the usual splices.
    let text =
        "fn on_request(ctx) { ctx.set_header(\"x-length\", ctx.final_body().len().to_string()); }";
    let outgoing = run_script(text, &json!({})).await.unwrap();
    assert!(outgoing.body.len() > 1, "spliced, not written anew");
    let length = outgoing.body.concat().len().to_string();
    assert_eq!(outgoing.headers["x-length"], *length);
    for name in ["host", "x-request-id", "content-length", "x y"] {
        let text = format!("fn on_request(ctx) {{ ctx.remove_header({name:?}); }}");
        failed(run_script(&text, &json!({})).await);
    }
}

#[tokio::test]
async fn scripts_ask_with_headers_and_with_the_endpoints_key_if_they_say_so() {
    let deployment = deployment();
    let page = Arc::<Page>::default();
    let text = r#"
        fn on_request(ctx) {
            ctx.http_get("/plain");
            ctx.http_get("/own", #{with_key: true, headers: #{"x-a": "b"}});
            ctx.http_post("http://other.example/x", #{n: 1}, #{with_key: true, headers: #{accept: "text/plain"}});
        }"#;
    let mut asks = hooked(script(text), &deployment, &page);
    let mut target = deployment.target.clone();
    target.key = Some(ostia_core::Secret::new("k".to_owned()));
    asks.http = Http::new(Some(Arc::clone(&page) as _), &target, HOOK_TIMEOUT);
    run_hooked(&asks, &deployment, &json!({})).await.unwrap();
    let asked = std::mem::take(&mut *page.0.lock());
    let header = |at: usize, name: &str| {
        let value = asked[at].headers.get(name);
        value.map(|value| value.to_str().unwrap().to_owned())
    };
    assert_eq!(header(0, "authorization"), None);
    assert_eq!(header(1, "authorization").as_deref(), Some("Bearer k"));
    assert_eq!(header(1, "x-a").as_deref(), Some("b"));
    assert_eq!(header(2, "authorization"), None, "another host");
    assert_eq!(header(2, "accept").as_deref(), Some("text/plain"));
    for options in [
        "#{with_keys: true}",
        "#{headers: 1}",
        "#{headers: #{\"x y\": \"z\"}}",
    ] {
        let text = format!("fn on_request(ctx) {{ ctx.http_get(\"/\", {options}); }}");
        let asks = hooked(script(&text), &deployment, &page);
        failed(run_hooked(&asks, &deployment, &json!({})).await);
    }
    assert_eq!(page.0.lock().len(), 0);
}
