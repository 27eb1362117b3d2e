//! Backends and hooks look at their entry's `config` when the files are read.

use std::sync::Arc;

use async_trait::async_trait;
use http::Response;

use super::{Folder, assert_problem};
use crate::backend::{AnswerBody, Backend, EndpointAdapter, Entry, Exchange, Failure, Registry};
use crate::catalog::{HooksName, Serving};

/// Reads `config.echo`.
struct Echo;

#[async_trait]
impl Backend for Echo {
    fn open(entry: &mut Entry<'_>) -> Option<Self> {
        entry.only("/echo", &["words", "a/b"]);
        let words = entry.number("/echo/words");
        if words.is_none() && entry.is_sound() {
            entry.error("/echo/words", "is missing");
        }
        words.map(|_| Self)
    }

    async fn call(&self, exchange: Exchange<'_>) -> Result<Response<AnswerBody>, Failure> {
        exchange.direct().await
    }
}

struct Tenants;

impl EndpointAdapter for Tenants {
    fn check(&self, entry: &mut Entry<'_>) {
        if entry.text("/tenants/0").is_none() && entry.is_sound() {
            entry.warning("/tenants", "is empty: nobody gets in");
        }
    }
}

fn folder(fields: &str) -> Folder {
    let mut backends = Registry::default();
    backends.add_backend::<Echo>("site.Echo");
    backends.add_hooks("site.Tenants", Arc::new(Tenants));
    let entry = format!(
        "[{{\"model\": \"resource_server_async.endpoint\", \"fields\": {{\n\"cluster\": \"c\", \"framework\": \"f\", \"model\": \"M\",\n{fields}}}}}]"
    );
    Folder {
        backends,
        ..Folder::new()
    }
    .file("fixtures/endpoints.json", entry)
}

/// Where a piece of an entry's own line stands.
fn place(fields: &str, piece: &str) -> String {
    let column = fields.find(piece).unwrap() + 1;
    format!("fixtures/endpoints.json:3:{column}")
}

#[test]
fn mistakes_have_their_place_and_disable_the_entry() {
    // With what the mistake begins at.
    for (fields, at, piece) in [
        (
            r#""endpoint_adapter": "site.Echo", "config": {"echo": {"words": "x"}}"#,
            "\"x\"",
            "endpoint `c-f-m`: `config.echo.words` must be a whole number, 0 or more",
        ),
        (
            r#""endpoint_adapter": "site.Echo", "config": {"echo": {"word/s": 1}}"#,
            "1}}",
            "`config.echo.word~1s` is not known; known: words, a/b",
        ),
        (
            r#""endpoint_adapter": "site.Echo", "config": {"echo": 7}"#,
            "7}",
            "`config.echo` must be an object",
        ),
        (
            r#""endpoint_adapter": "site.Echo", "config": {}"#,
            "{}",
            "`config.echo.words` is missing",
        ),
        (
            r#""endpoint_adapter": "site.Tenants", "config": {"api_url": "http://h/v1", "tenants": [1]}"#,
            "1]",
            "`config.tenants.0` must be a text",
        ),
        (
            r#""endpoint_adapter": "site.Tenants", "config": {"backend": "site.Ecko", "tenants": ["a"]}"#,
            "\"site.Ecko\"",
            "`config.backend` names no backend; known: direct_api, ",
        ),
        (
            r#""endpoint_adapter": "site.Tenants", "config": {"backend": "site.Ecko", "tenants": ["a"]}"#,
            "\"site.Ecko\"",
            ", site.Echo",
        ),
        (
            r#""endpoint_adapter": "site.Tenants", "config": {"backend": "site.Echo", "tenants": ["a"]}"#,
            "{\"backend\"",
            "`config.echo.words` is missing",
        ),
        (
            r#""config": {"api_url": "http://h/v1", "secrets": ["UNSET_VARIABLE"]}"#,
            "\"UNSET",
            "`config.secrets` names the environment variable `UNSET_VARIABLE`, which is not set",
        ),
        (
            r#""config": {"api_url": "http://h/v1", "secrets": ["sk-of-somebody-9f8e7d6c5b4a"]}"#,
            "\"sk-of",
            "must be the name of an environment variable, not the key itself",
        ),
    ] {
        let folder = folder(fields);
        let loaded = folder.load();
        let problems = folder.shown(&loaded);
        assert_problem(
            &problems,
            &format!("{}: error", place(fields, at)),
            piece,
            fields,
        );
        assert!(
            !format!("{problems:?}").contains("9f8e7d6c"),
            "{problems:?}"
        );
        let serving = &loaded.catalog.deployments()[0].serving;
        assert!(
            matches!(serving, Serving::Disabled(_)),
            "{fields}: {serving:?}"
        );
    }
    let fields = r#""endpoint_adapter": "site.Tenants", "config": {"api_url": "http://h/v1", "tenants": []}"#;
    let folder = folder(fields);
    assert_problem(
        &folder.problems(),
        &format!("{}: warning", place(fields, "[]}")),
        "is empty",
        "",
    );
}

#[test]
fn hooks_stand_around_any_backend_and_kinds_without_a_url_need_none() {
    let folder = folder(
        r#""endpoint_adapter": "site.Tenants", "config": {"backend": "site.Echo", "echo": {"words": 3}, "tenants": ["a"], "secrets": "SET_VARIABLE"}"#,
    )
    .variable("SET_VARIABLE", " value\n");
    let loaded = folder.load();
    assert!(loaded.problems.is_empty(), "{:#?}", loaded.problems);
    let deployment = &loaded.catalog.deployments()[0];
    assert_eq!(&*deployment.kind, "site.Echo");
    let hooks = HooksName::Registered("site.Tenants".into());
    assert_eq!(deployment.hooks, Some(hooks));
    assert_eq!(deployment.secrets["SET_VARIABLE"].expose(), "value");
    assert!(!format!("{deployment:?}").contains("value"));
    // A backend may be named alone, and its name may stand in [adapters].
    let folder =
        self::folder(r#""endpoint_adapter": "site.Short", "config": {"echo": {"words": 3}}"#)
            .file("ostia.toml", "[adapters]\n\"site.Short\" = \"site.Echo\"");
    let loaded = folder.load();
    assert!(loaded.problems.is_empty(), "{:#?}", loaded.problems);
    assert_eq!(&*loaded.catalog.deployments()[0].kind, "site.Echo");
}

#[test]
fn scripts_are_looked_through_before_they_run() {
    for (script, piece) in [
        (
            "fn on_request(ctx) {\n  ctx.set_feild(\"x\", 1);\n}",
            "bad.rhai:2:7: `ctx` has no function `set_feild`",
        ),
        (
            "fn on_request(ctx) { refuze(503, \"x\"); }",
            "bad.rhai:1:22: there is no function `refuze`",
        ),
        (
            "fn on_request(ctx) { if ctx.sesion == () {} }",
            "bad.rhai:1:29: `ctx` has no `sesion`",
        ),
        (
            "fn on_complete(row) {} fn on_requst(ctx) {}",
            "bad.rhai: `on_requst` is never called: did you mean `on_request`?",
        ),
        (
            "fn on_complete(row) {} fn on_start(ctx) {}",
            "`on_start` is never called: the gateway calls on_request",
        ),
        (
            "fn on_response(ctx) { ctx.set(\"x\", 1); }",
            "bad.rhai:1:27: `ctx` has no function `set` of 2 arguments",
        ),
        (
            "fn on_request(ctx) { nothing(); nowhere(); }",
            "`nothing` of 0 arguments; names a script with a mistake",
        ),
    ] {
        let folder = folder(
            r#""endpoint_adapter": "script:bad.rhai", "config": {"api_url": "http://h/v1"}"#,
        )
        .file("fixtures/bad.rhai", script);
        assert_problem(
            &folder.problems(),
            "fixtures/endpoints.json:3:21: error",
            piece,
            script,
        );
    }
    let clusters = super::CLUSTERS.replace(
        "\"frameworks\"",
        "\"cluster_adapter\": \"script:c.rhai\", \"frameworks\"",
    );
    let folder = Folder::new()
        .file("fixtures/clusters.json", clusters)
        .file("fixtures/c.rhai", "fn jobs(ctx) { ctx.set(\"x\", 1); }");
    let piece = "c.rhai:1:20: `ctx` has no function `set` of 2 arguments";
    assert_problem(&folder.problems(), "fixtures/clusters.json:2:", piece, "");
}
