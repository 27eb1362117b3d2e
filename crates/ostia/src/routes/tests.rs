use http::Method;

use super::{Address, Lost, ROUTES, Route, openapi};
use crate::catalog::Scope;
use crate::dialect::Api;

const BASE: &str = "/resource_server";
const IN_C: Scope<'_> = Scope::Framework {
    cluster: "c",
    framework: "f",
};

/// A path that matches an entry's pattern.
fn sample(pattern: &str) -> String {
    pattern
        .replace("{cluster}", "c")
        .replace("{framework}", "f")
        .replace("{model}", "a%2Fb")
        .replace("{reserved}", "files")
        .replace("{*api}", "chat/completions")
        .replace("/v1/responses/{*id}", "/v1/responses/r1/cancel")
        .replace("/responses/{*id}", "/responses/r1")
        .replace("{*id}", "a%2Fb")
        .replace("{id}", "r1")
        .replace("{*rest}", "x/y")
}

fn found(method: &Method, path: &str) -> String {
    let route = Route::find(method, path, BASE);
    route.map_or_else(|lost| format!("{lost:?}"), |route| format!("{route:?}"))
}

fn inference(path: &str) -> Option<Address<'_>> {
    match Route::find(&Method::POST, path, BASE) {
        Ok(Route::Inference(address)) => Some(address),
        _ => None,
    }
}

#[test]
fn every_entry_is_reached_with_and_without_the_base_path() {
    for entry in ROUTES {
        let path = sample(entry.pattern);
        for method in entry.methods {
            let method = Method::from_bytes(method.as_bytes()).unwrap();
            let bare = found(&method, &path);
            let kind = format!("{:?}", entry.kind);
            assert!(bare.starts_with(&kind), "{method} {path}: {bare}");
            if path != "/" {
                assert_eq!(found(&method, &format!("{BASE}{path}")), bare, "{path}");
            }
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
    assert_eq!(open, ["/", "/health", "/status", "/openapi.json", "/docs"]);
    for entry in ROUTES {
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
        "/openai/deployments/m/files",
        "/openai/deployments/m/batches/b1",
        "/openai/deployments/m/responses/r1",
        "/data/staging",
        "/sophia/sam3service/process",
        "/sophia/sam3service/tasks/t1",
        "/sophia/dinoserver/process",
        "/sophia/dinoserver/tasks/t1",
        "/sophia/triton/amsc-d3/process",
        "/sophia/triton/amsc-d3/tasks/t1",
        "/sophia/triton/amsc-d3/rpc/ModelInfer",
        "/sophia/triton/amsc-d3/rpc/result/t1",
    ] {
        let route = Route::find(&Method::POST, path, "");
        assert!(matches!(route, Ok(Route::NotServed { .. })), "{path}");
    }
    for path in ["/v1/responses/r1", "/c/f/v1/responses/r1"] {
        for method in [Method::GET, Method::DELETE] {
            let route = Route::find(&method, path, "");
            assert!(
                matches!(route, Ok(Route::Stored(_, "r1"))),
                "{method} {path}"
            );
        }
    }
    for path in [
        "/v1/responses/a%2f",
        "/v1/responses/..",
        "/v1/responses/r1/input_items",
    ] {
        let route = Route::find(&Method::GET, path, "");
        assert!(matches!(route, Ok(Route::NotServed { .. })), "{path}");
    }
    for path in [
        "/v1/messages/batches",
        "/c/f/v1/messages/batches/b1/results",
    ] {
        let route = Route::find(&Method::GET, path, "").unwrap();
        let anthropic = Api::parse("messages").dialect();
        assert_eq!(
            format!("{:?}", route.dialect()),
            format!("{anthropic:?}"),
            "{path}"
        );
        assert_eq!(route, Route::NotServed { like: "messages" }, "{path}");
    }
    for path in [
        "/v1/responses",
        "/v1/responses/compact",
        "/c/f/v1/responses/input_tokens",
        "/v1/messages/count_tokens",
    ] {
        assert!(inference(path).is_some(), "{path}");
    }
    for framework in ["sam3service", "dinoserver", "triton"] {
        let path = format!("/c/{framework}/v1/embeddings");
        assert!(inference(&path).is_some(), "{path}");
    }
    // FIRST has no such paths.
    for path in [
        "/sophia/dinov3service/process",
        "/sophia/vllm/v2/models/m/infer",
    ] {
        let route = Route::find(&Method::POST, path, "");
        assert!(matches!(route, Err(Lost::NoPath { .. })), "{path}");
    }
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
            let Err(Lost::NoMethod { allow, open, .. }) = Route::find(&method, path, "") else {
                panic!("{path}");
            };
            assert_eq!((&*allow, open), ("GET, HEAD", false), "{path}");
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
        let Ok(Route::Model(Scope::Everywhere, id)) = Route::find(&Method::GET, path, BASE) else {
            panic!("{path}");
        };
        assert_eq!(id, "meta-llama/Llama");
    }
    for odd in ["%", "%zz", "%ff", "50%"] {
        let path = format!("/v1/models/{odd}");
        let route = Route::find(&Method::GET, &path, BASE).unwrap();
        assert_eq!(route, Route::Model(Scope::Everywhere, odd.into()));
    }
    let scoped = Route::find(&Method::GET, "/c/f/v1/models/a/b", BASE).unwrap();
    assert_eq!(scoped, Route::Model(IN_C, "a/b".into()));
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
                Err(Lost::NoPath { .. } | Lost::NoMethod { .. })
                    | Ok(Route::NotServed { .. } | Route::Stored(..))
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
        Err(Lost::NoMethod { allow, open, .. }) => (allow, open),
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
        ("/v1/messages", "Messages"),
        ("/resource_server/c/f/v1/messages/count_tokens", "Messages"),
        ("/v1/responses", "Responses"),
        ("/v1/chat/completions", "Chat"),
        ("/openai/deployments/m/messages", "Messages"),
        ("/whoami", "PassThrough"),
        ("/none", "PassThrough"),
    ] {
        for method in [Method::POST, Method::GET, Method::DELETE] {
            let found = match Route::find(&method, path, BASE) {
                Ok(route) => route.dialect(),
                Err(lost) => lost.dialect(),
            };
            assert_eq!(format!("{found:?}"), dialect, "{method} {path}");
        }
    }
}

#[test]
fn paths_name_a_scope_an_api_and_sometimes_a_model() {
    for (path, scope, api, model) in [
        (
            "/v1/chat/completions",
            Scope::Everywhere,
            "chat/completions",
            None,
        ),
        ("/c/f/v1/embeddings", IN_C, "embeddings", None),
        (
            "/openai/deployments/m/audio/speech",
            Scope::Everywhere,
            "audio/speech",
            Some("m"),
        ),
        (
            "/openai/deployments/meta-llama%2FLlama%203/chat/completions",
            Scope::Everywhere,
            "chat/completions",
            Some("meta-llama/Llama 3"),
        ),
        (
            "/openai/deployments/100%/embeddings",
            Scope::Everywhere,
            "embeddings",
            Some("100%"),
        ),
    ] {
        let address = inference(path).unwrap();
        assert_eq!(
            (address.scope, address.api.as_str()),
            (scope, api),
            "{path}"
        );
        assert_eq!(address.model.as_deref(), model, "{path}");
    }
}

#[test]
fn odd_paths_name_no_inference() {
    for path in [
        "",
        "/",
        "/v1",
        "/v1/",
        "//v1/chat/completions",
        "/v1//chat/completions",
        "/v1/v1/chat/completions",
        "/a/b/v1/v1/chat/completions",
        "/openai/deployments/m/v1/chat/completions",
        "/v1/../admin",
        "/v1/./chat",
        "/v1/chat%2fcompletions",
        "/v1/chat/completions/",
        "/a/v1/chat/completions",
        "/a//v1/chat/completions",
        "/a/b/c/v1/chat/completions",
        "/openai/f/v1/chat/completions",
        "/openai/deployments//chat/completions",
        "/openai/deployments/../chat/completions",
        "/openai/deployments/m",
        "/openai/deployments/m/",
        "/openai/deployments/m/chat%2fcompletions",
        "/openai/chat/completions",
    ] {
        assert_eq!(inference(path), None, "{path}");
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
        let operations = operations.as_object().unwrap().values();
        for operation in operations.filter(|one| one.is_object()) {
            assert!(ids.insert(operation["operationId"].to_string()), "{path}");
        }
    }
}

#[test]
fn a_base_url_with_v1_twice_is_told_in_the_dialect_of_the_path() {
    for (path, meant) in [
        ("/v1/v1/messages", "/v1/messages"),
        (
            "/resource_server/v1/v1/messages",
            "/resource_server/v1/messages",
        ),
        (
            "/resource_server//v1/messages",
            "/resource_server/v1/messages",
        ),
        ("//v1/messages", "/v1/messages"),
        ("/c/f/v1/v1/messages", "/c/f/v1/messages"),
    ] {
        let lost = Route::find(&Method::POST, path, BASE);
        let Err(Lost::NoPath {
            astray: Some(astray),
            dialect,
        }) = lost
        else {
            panic!("{path}: {lost:?}");
        };
        assert_eq!(astray.meant, meant, "{path}");
        assert_eq!(format!("{dialect:?}"), "Messages", "{path}");
    }
    // What it would become leads nowhere either.
    for path in ["/v1/v1", "//nothing", "/v1/v1/../admin", "//"] {
        let lost = Route::find(&Method::GET, path, BASE);
        assert!(
            matches!(lost, Err(Lost::NoPath { astray: None, .. })),
            "{path}: {lost:?}"
        );
    }
}
