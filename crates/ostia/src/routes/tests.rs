use http::Method;

use super::{Lost, ROUTES, Route, dialect_of, openapi};
use crate::dialect::Dialect;

const BASE: &str = "/resource_server";

/// A path that fits an entry's pattern.
fn sample(pattern: &str) -> String {
    pattern
        .replace("{cluster}", "c")
        .replace("{framework}", "f")
        .replace("{reserved}", "files")
        .replace("{*api}", "chat/completions")
        .replace("{*id}", "a%2Fb")
        .replace("{*rest}", "x/y")
}

fn found(method: &Method, path: &str) -> Result<String, Lost> {
    Route::find(method, path, BASE).map(|route| format!("{route:?}"))
}

#[test]
fn every_entry_is_reached_with_and_without_the_base_path() {
    for entry in &ROUTES {
        let path = sample(entry.pattern);
        for method in entry.methods {
            let method = Method::from_bytes(method.as_bytes()).unwrap();
            let bare = found(&method, &path).unwrap();
            let kind = format!("{:?}", entry.kind);
            assert!(bare.starts_with(&kind), "{method} {path}: {bare}");
            assert_eq!(found(&method, &format!("{BASE}{path}")), Ok(bare), "{path}");
        }
    }
}

#[test]
fn only_what_says_nothing_of_anybody_is_open() {
    let open: Vec<&str> = ROUTES
        .iter()
        .filter(|entry| entry.open)
        .map(|entry| entry.pattern)
        .collect();
    assert_eq!(open, ["/health", "/status", "/openapi.json", "/docs"]);
    for entry in &ROUTES {
        let method = Method::from_bytes(entry.methods[0].as_bytes()).unwrap();
        let path = sample(entry.pattern);
        let route = Route::find(&method, &path, BASE).unwrap();
        assert_eq!(route.is_open(), entry.open, "{path}");
    }
}

#[test]
fn reserved_apis_are_never_inference() {
    for path in [
        "/v1/files",
        "/v1/batches/b1",
        "/c/f/v1/files",
        "/v1/responses/r1",
        "/v1/responses/r1/cancel",
        "/v1/threads/t/runs",
        "/data/staging",
        "/sophia/sam3service/process",
        "/sophia/sam3service/tasks/t1",
        "/sophia/dinov3service/process",
        "/sophia/triton/v2/models/m/infer",
    ] {
        let route = Route::find(&Method::POST, path, "");
        assert_eq!(route, Ok(Route::NotServed), "{path}");
    }
    for method in [Method::GET, Method::DELETE] {
        let route = Route::find(&method, "/v1/responses/r1", "");
        assert_eq!(route, Ok(Route::NotServed));
    }
    let inference = |path| Route::find(&Method::POST, path, "");
    assert!(matches!(
        inference("/v1/responses"),
        Ok(Route::Inference(_))
    ));
    assert!(matches!(
        inference("/c/sam3service/v1/embeddings"),
        Ok(Route::Inference(_))
    ));
}

#[test]
fn lists_of_models_are_only_read() {
    for path in [
        "/v1/models",
        "/v1/models/m",
        "/c/f/v1/models",
        "/c/f/v1/models/m",
    ] {
        for method in [Method::POST, Method::PUT, Method::DELETE] {
            let lost = Route::find(&method, path, "");
            let allow = "GET, HEAD".to_owned();
            assert_eq!(lost, Err(Lost::NoMethod { allow, open: false }), "{path}");
        }
    }
}

#[test]
fn a_models_name_may_hold_slashes_however_they_are_written() {
    for path in [
        "/v1/models/meta-llama/Llama",
        "/v1/models/meta-llama%2FLlama",
        "/v1/models/meta-llama%2fLlama",
    ] {
        let Ok(Route::Model(None, id)) = Route::find(&Method::GET, path, BASE) else {
            panic!("{path}");
        };
        assert_eq!(id, "meta-llama/Llama");
    }
    for odd in ["%", "%zz", "%ff", "50%"] {
        let path = format!("/v1/models/{odd}");
        let route = Route::find(&Method::GET, &path, BASE);
        assert_eq!(route, Ok(Route::Model(None, odd.into())));
    }
    let scoped = Route::find(&Method::GET, "/c/f/v1/models/a/b", BASE);
    assert_eq!(scoped, Ok(Route::Model(Some(("c", "f")), "a/b".into())));
}

#[test]
fn siblings_of_routes_are_nothing() {
    for path in [
        "//v1/models",
        "/health/",
        "/Health",
        "/resource_serverhealth",
        "/v1/../health",
        "/%68ealth",
        "/v1/models/",
        "/v1",
        "*",
        "",
    ] {
        let lost = Route::find(&Method::GET, path, BASE);
        assert!(
            matches!(
                lost,
                Err(Lost::NoPath | Lost::NoMethod { .. }) | Ok(Route::NotServed)
            ),
            "{path}: {lost:?}"
        );
        let serves = Route::find(&Method::POST, path, BASE);
        assert!(!matches!(serves, Ok(Route::Inference(_))), "{path}");
    }
}

#[test]
fn other_methods_are_told_which_ones_there_are() {
    let allow = |method: Method, path: &str| match Route::find(&method, path, BASE) {
        Err(Lost::NoMethod { allow, open }) => (allow, open),
        other => panic!("{path}: {other:?}"),
    };
    let get = || "GET, HEAD".to_owned();
    assert_eq!(allow(Method::POST, "/health"), (get(), true));
    assert_eq!(allow(Method::PUT, "/whoami"), (get(), false));
    let post = ("POST".to_owned(), false);
    assert_eq!(allow(Method::GET, "/v1/chat/completions"), post);
}

#[test]
fn errors_speak_the_dialect_of_their_path() {
    for (path, dialect) in [
        ("/v1/messages", Dialect::Anthropic),
        (
            "/resource_server/c/f/v1/messages/count_tokens",
            Dialect::Anthropic,
        ),
        ("/v1/responses", Dialect::Responses),
        ("/v1/chat/completions", Dialect::OpenAi),
        ("/whoami", Dialect::OpenAi),
    ] {
        assert_eq!(dialect_of(path, BASE), dialect, "{path}");
    }
}

#[test]
fn the_document_has_every_served_route() {
    let document = openapi(BASE);
    let text = serde_json::to_string_pretty(&document).unwrap();
    let version = env!("CARGO_PKG_VERSION");
    insta::assert_snapshot!("openapi", text.replace(version, "[version]"));
    let paths = document["paths"].as_object().unwrap();
    let mut ids = std::collections::BTreeSet::new();
    for (path, operations) in paths {
        assert!(
            !path.contains('*') && !path.contains("{reserved}"),
            "{path}"
        );
        for operation in operations.as_object().unwrap().values() {
            assert!(ids.insert(operation["operationId"].to_string()), "{path}");
        }
    }
}
