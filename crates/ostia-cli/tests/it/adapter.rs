use serde_json::json;

use super::site::{Ended, Site};

const SCRIPT: &str = r#"
fn on_request(ctx) {
    if ctx.model_state() == "stopped" {
        refuse(503, "`" + ctx.model + "` is not live.", "model_not_live");
    }
    let page = ctx.http_get("/status").json;
    ctx.log("asked " + page.name);
    ctx.set("metadata", #{ tenant: ctx.header("x-tenant"), room: ctx.config.room });
    ctx.remove("api_port");
    ctx.set_header("x-signature", hex(hmac_sha256(ctx.secret("SITE_KEY"), "x")));
}

fn on_response(ctx) {
    ctx.set_header("x-seen", ctx.status.to_string());
}

fn on_complete(row) {
    print("ended " + row.outcome);
}
"#;

fn request(more: &serde_json::Value) -> String {
    let mut request = json!({
        "headers": {"x-tenant": "fusion"},
        "body": {"model": "m", "messages": [{"role": "user", "content": "Hi"}], "api_port": 8001},
        "config": {
            "api_url": "https://gpu.lab.example/serve/v1", "room": "42", "api_key_env_name": "GPU_KEY",
            "upstream_model": "org/m",
        },
        "secrets": {"SITE_KEY": "hunter2"},
        "http": {"GET /status": {"body": {"name": "gpu1"}}},
    });
    let more = more.as_object().unwrap().clone();
    request.as_object_mut().unwrap().extend(more);
    request.to_string()
}

fn test(site: &Site, more: &serde_json::Value, words: &[&str]) -> Ended {
    site.write("custom.rhai", SCRIPT);
    site.write("request.json", &request(more));
    let words = [
        &[
            "adapter",
            "test",
            "custom.rhai",
            "--request",
            "request.json",
        ],
        words,
    ]
    .concat();
    site.run(&words)
}

#[test]
fn what_would_be_sent_is_printed() {
    let site = Site::empty();
    let ended = test(&site, &json!({}), &[]);
    assert_eq!(ended.code, Some(0), "{ended:?}");
    for part in [
        "The script called GET /status, and got 200",
        "POST /serve/v1/chat/completions",
        "authorization: Bearer [the endpoint's key]",
        "x-signature: ",
        r#""metadata":{"#,
        r#""tenant":"fusion""#,
        r#""model":"org/m""#,
        "The client gets:\n\n200\n",
        "x-seen: 200",
        "Hello.",
    ] {
        assert!(ended.stdout.contains(part), "{part}: {}", ended.stdout);
    }
    assert!(!ended.stdout.contains("api_port") && !format!("{ended:?}").contains("hunter2"));
    for part in ["asked gpu1", "ended ok"] {
        assert!(ended.stderr.contains(part), "{part}: {}", ended.stderr);
    }
    assert_eq!(site.names(), ["custom.rhai", "request.json"]);
    let stream = test(&site, &json!({}), &["--stream"]);
    assert!(stream.stdout.contains("data: [DONE]"), "{stream:?}");
    let answer = json!({"answer": {"status": 429, "headers": {"retry-after": "7"}, "body": {"error": {"message": "slow"}}}});
    let limited = test(&site, &answer, &[]);
    assert!(
        limited.stdout.contains("429\n") && limited.stdout.contains("retry-after: 7"),
        "{limited:?}"
    );
}

#[test]
fn refusals_are_shown_and_faults_fail() {
    let site = Site::empty();
    let refused = test(&site, &json!({"state": "stopped"}), &[]);
    assert_eq!(refused.code, Some(0), "{refused:?}");
    for part in [
        "Nothing is sent to the backend.",
        "503\n",
        "`m` is not live.",
        "model_not_live",
    ] {
        assert!(refused.stdout.contains(part), "{part}: {}", refused.stdout);
    }
    let failed = test(
        &site,
        &json!({"http": {"GET /status": {"status": 404, "body": "nothing"}}}),
        &[],
    );
    assert_eq!(failed.code, Some(1), "{failed:?}");
    assert!(
        failed.stdout.contains("GET /status, and got 404"),
        "{failed:?}"
    );
    assert!(failed.stderr.contains("custom.rhai:7:"), "{failed:?}");
}

#[test]
fn a_script_of_a_cluster_shows_its_jobs() {
    let site = Site::empty();
    site.write(
        "jobs.rhai",
        r#"fn jobs(ctx) {
            let page = ctx.status_page();
            if page.status != 200 { refuse(502, "The page is down.", "site_status_down"); }
            #{ running: page.json.models.map(|m| #{ Models: m }) }
        }"#,
    );
    let jobs = |status: u16| {
        let page = json!({"status": status, "body": {"models": ["a"]}});
        let request = json!({"models": ["a", "b"], "http": {"GET /status": page}});
        site.write("request.json", &request.to_string());
        site.run(&["adapter", "test", "jobs.rhai", "--request", "request.json"])
    };
    let shown = jobs(200);
    assert_eq!(shown.code, Some(0), "{shown:?}");
    assert!(
        shown.stdout.contains(r#""running":[{"Models":"a""#),
        "{shown:?}"
    );
    let down = jobs(500);
    assert_eq!(down.code, Some(0), "{down:?}");
    assert!(down.stdout.contains("site_status_down"), "{down:?}");
}

#[test]
fn mistakes_have_their_place() {
    let site = Site::empty();
    for (text, said) in [
        (
            "fn on_request(ctx) { nothing(1); }",
            "custom.rhai:1:22: there is no function `nothing`",
        ),
        (
            "fn on_request(ctx) {} fn on_respons(ctx) {}",
            "did you mean `on_response`",
        ),
        ("fn on_request(ctx) { ctx.modell }", "`ctx` has no `modell`"),
        ("fn on_request(ctx) {", "custom.rhai:1:"),
        ("fn help() {}", "none of the functions"),
    ] {
        site.write("custom.rhai", text);
        let ended = site.run(&["adapter", "test", "custom.rhai"]);
        assert_eq!(ended.code, Some(78), "{text}: {ended:?}");
        assert!(ended.stderr.contains(said), "{text}: {ended:?}");
        assert_eq!(ended.stdout, "");
    }
    site.write("custom.rhai", "fn on_request(ctx) {}");
    let plain = site.run(&["adapter", "test", "custom.rhai"]);
    assert_eq!(plain.code, Some(0), "{plain:?}");
    site.write("request.json", "{\"colour\": 1}");
    for request in ["request.json", "none.json"] {
        let words = ["adapter", "test", "custom.rhai", "--request", request];
        let ended = site.run(&words);
        assert_eq!(ended.code, Some(64), "{ended:?}");
        assert!(ended.stderr.contains(request), "{ended:?}");
    }
}
