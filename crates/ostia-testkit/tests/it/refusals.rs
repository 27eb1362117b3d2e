//! The backend's own refusals, and what a client sees of them.

use ostia_testkit::backend::{FakeBackend, Script};
use ostia_testkit::client::Ended;
use ostia_testkit::gateway::{Site, TestGateway};
use serde_json::{Value, json};

use crate::common::{assert_error, assert_request_id, assert_says_nothing_internal, rig};

/// Statuses that pass: every 4xx but 401, 403 and 407, and 503.
const PASSED: [u16; 28] = [
    400, 402, 404, 405, 406, 408, 409, 410, 412, 413, 414, 415, 416, 417, 418, 421, 422, 423, 424,
    425, 426, 428, 429, 431, 451, 498, 499, 503,
];

/// What replaces a body that must not be shown.
fn ours(status: u16) -> (&'static str, &'static str) {
    match status {
        404 => ("invalid_request_error", "model_not_found"),
        413 => ("invalid_request_error", "request_too_large"),
        429 => ("rate_limit_error", "rate_limit_exceeded"),
        503 => ("overloaded_error", "no_healthy_backend"),
        400 | 409 | 422 => ("invalid_request_error", "invalid_value"),
        _ => ("invalid_request_error", "upstream_refused"),
    }
}

#[tokio::test]
async fn an_error_object_passes_byte_for_byte() {
    let (backend, gateway) = rig().await;
    let filler = "x".repeat(64 * 1024);
    let fits = |text: &str| format!("{{ \"error\" : {{\"message\":\"{text}\"}} }}");
    let longest = fits(&filler[..64 * 1024 - fits("").len()]);
    assert_eq!(longest.len(), 64 * 1024);
    let bodies = [
        json!({"error": {"message": "too long", "code": "context_length_exceeded"}}).to_string(),
        " {\"error\":{\"type\":\"\\u00fc\"} , \"more\": [1e30, {}]}\n".to_owned(),
        longest,
    ];
    for status in PASSED {
        for body in &bodies {
            for request in [gateway.chat("m"), gateway.chat_stream("m")] {
                let script = Script::raw(status, body.clone())
                    .header("content-type", "application/json; charset=utf-8")
                    .header("retry-after", "7")
                    .header("set-cookie", "a=b")
                    .header("server", "uvicorn");
                backend.next(script);
                let answer = gateway.call(&request).await;
                assert_eq!((answer.status(), answer.text()), (status, body.clone()));
                assert_eq!(answer.header("retry-after"), Some("7"), "{status}");
                assert_eq!(answer.header("content-type"), Some("application/json"));
                assert_eq!(answer.ended, Ended::Complete);
                assert_request_id(&answer, "a refusal");
                assert_eq!(answer.header("set-cookie"), None);
                assert_eq!(answer.header("server"), None);
            }
        }
    }
    for row in gateway.finish(&[&backend]).await {
        assert_eq!(row.outcome, "upstream_error");
        assert_eq!(
            (row.http_status, row.total_tokens),
            (row.upstream_status, 0)
        );
    }
}

#[tokio::test]
async fn a_bare_text_is_put_in_the_contracts_shape() {
    let (backend, gateway) = rig().await;
    let detail = json!([{"loc": ["body", "n"], "msg": "must be positive"}]);
    for status in PASSED {
        let (kind, code) = ours(status);
        for (body, message) in [
            (
                json!({"error": "model is loading"}),
                "model is loading".to_owned(),
            ),
            (json!({"detail": "Not Found"}), "Not Found".to_owned()),
        ] {
            backend.next(Script::json(status, &body));
            let answer = gateway.call(&gateway.chat("m")).await;
            assert_error(&answer, status, kind, code, &body.to_string());
            assert_eq!(answer.json()["error"]["message"], message.as_str());
        }
        backend.next(Script::json(status, &json!({"detail": detail})));
        let answer = gateway.call(&gateway.chat("m")).await;
        assert_eq!(answer.status(), status, "{}", answer.text());
        let error = &answer.json()["error"];
        assert_eq!(
            (&error["type"], &error["code"]),
            (&json!(kind), &json!(code))
        );
        assert_eq!(
            (&error["param"], &error["message"]),
            (&json!("n"), &json!("n: must be positive"))
        );
    }
    gateway.finish(&[&backend]).await;
}

#[tokio::test]
async fn what_tells_too_much_or_is_no_error_is_withheld() {
    let (backend, gateway) = rig().await;
    let too_long = json!({"error": {"message": "x".repeat(64 * 1024)}}).to_string();
    let key = Script::by(|request| Script::error(400, request.bearer().unwrap_or_default()));
    let escaped = Script::by(|request| {
        let key: String = request
            .bearer()
            .unwrap_or_default()
            .chars()
            .map(|letter| format!("\\u{:04x}", u32::from(letter)))
            .collect();
        Script::raw(400, format!("{{\"error\":{{\"message\":\"{key}\"}}}}"))
    });
    let undecodable = Script::by(|request| {
        let key = request
            .bearer()
            .unwrap_or_default()
            .replacen('-', "\\u002d", 1);
        let first = format!("\\u{:04x}", u32::from(key.chars().next().unwrap_or('-')));
        Script::raw(
            400,
            format!(
                "{{\"error\":{{\"m\":\"{first}{}\"}},\"n\":1e400}}",
                &key[1..]
            ),
        )
    });
    let shouted = Script::by(|request| {
        Script::error(400, &request.bearer().unwrap_or_default().to_uppercase())
    });
    let as_detail = Script::by(|request| Script::json(400, &json!({"detail": request.bearer()})));
    let scripts = [
        key,
        escaped,
        undecodable,
        shouted,
        as_detail,
        Script::error(400, "cannot reach 127.0.0.1:1234"),
        Script::json(400, &json!({"error": "127.0.0.1 is down"})),
        Script::raw(400, too_long),
        Script::html(400),
        Script::raw(400, ""),
        Script::json(400, &json!([{"error": {}}])),
        Script::json(400, &json!({"message": " "})),
        Script::raw(400, "Traceback\n  File").header("content-type", "text/plain"),
        Script::raw(400, "Traceback (most recent call last):\nValueError")
            .header("content-type", "text/plain"),
        Script::raw(400, "a page\n".repeat(20)).header("content-type", "text/plain"),
        Script::raw(400, "null"),
        Script::raw(400, "5"),
        Script::raw(400, "cannot reach 127.0.0.1:1234").header("content-type", "text/plain"),
        Script::json(400, &json!({"error": 5})),
        Script::json(400, &json!({"error": null})),
        Script::raw(400, "{\"error\":{\"message\":\"a\"}"),
        Script::raw(
            400,
            [b"{\"error\":{\"message\":\"".as_slice(), b"\xff\"}}"].concat(),
        ),
    ];
    for (number, script) in scripts.into_iter().enumerate() {
        backend.next(script);
        let answer = gateway.call(&gateway.chat("m")).await;
        let what = format!("case {number}");
        assert_error(
            &answer,
            400,
            "invalid_request_error",
            "invalid_value",
            &what,
        );
        let message = answer.json()["error"]["message"].clone();
        assert_eq!(message, "The model's server refused the request.", "{what}");
    }
    for status in PASSED {
        backend.next(Script::html(status));
        let answer = gateway.call(&gateway.chat("m")).await;
        let (kind, code) = ours(status);
        assert_error(&answer, status, kind, code, "a page");
    }
    gateway.finish(&[&backend]).await;
}

/// Every way in which engines, frameworks and proxies say that a prompt is too long. Agents shorten it when they read
/// that text.
#[tokio::test]
async fn every_error_dialect_keeps_its_text_and_code() {
    let (backend, gateway) = rig().await;
    let long = "This model's maximum context length is 8192 tokens.";
    let said = |body: Value, code: Value| (Script::json(400, &body), code);
    let plain = Script::raw(400, format!("{long}\n")).header("content-type", "text/plain");
    let event = json!({"object": "error", "message": long, "code": 400});
    let ours = || json!("invalid_value");
    let cases = [
        said(
            json!({"object": "error", "message": long, "type": "BadRequestError", "code": 400}),
            json!(400),
        ),
        said(json!({"message": long}), ours()),
        said(json!({"id": "7f3", "message": long}), ours()),
        said(
            json!([{"error": {"message": long, "code": 400, "status": "X"}}]),
            json!(400),
        ),
        said(
            json!({"detail": {"error": {"message": long, "code": "too_long"}}}),
            json!("too_long"),
        ),
        said(json!({"errors": [{"message": long}]}), ours()),
        (Script::raw(400, format!("\u{feff}{event}")), json!(400)),
        (Script::raw(400, format!("data: {event}\n\n")), json!(400)),
        (plain, ours()),
        (
            Script::raw(
                400,
                format!("event: error\ndata: {event}\n\ndata: [DONE]\n\n"),
            ),
            json!(400),
        ),
        (
            Script::raw(400, format!("{event}\n{{\"done\":true}}\n")),
            json!(400),
        ),
        (
            Script::raw(400, long).header("content-type", "application/json"),
            ours(),
        ),
        (Script::raw(400, format!("{long}\r\n")), ours()),
    ];
    for (number, (script, code)) in cases.into_iter().enumerate() {
        backend.next(script);
        let answer = gateway.call(&gateway.chat("m")).await;
        let error = answer.json()["error"].clone();
        assert_eq!(answer.status(), 400, "case {number}");
        assert_eq!(
            (&error["message"], &error["code"]),
            (&json!(long), &code),
            "case {number}"
        );
        assert_eq!(error["type"], "invalid_request_error", "case {number}");
        let members = error.as_object().map(serde_json::Map::len);
        assert_eq!(members, Some(4), "case {number}: {error}");
    }
    backend.next(Script::json(400, &event));
    let answer = gateway
        .call(&gateway.request("messages", "m", &json!({})))
        .await;
    let body = answer.json();
    assert_eq!(
        (&body["type"], &body["error"]["message"]),
        (&json!("error"), &json!(long))
    );
    assert_eq!(body["error"]["type"], "invalid_request_error");
    for row in gateway.finish(&[&backend]).await {
        assert_eq!(row.error_code, "invalid_value", "{row:?}");
    }
}

#[tokio::test]
async fn a_few_lines_of_text_are_told() {
    let (backend, gateway) = rig().await;
    let lines = "The prompt is too long.\nIt has 9000 tokens, the model takes 8192.";
    backend.next(Script::raw(400, lines).header("content-type", "text/plain; charset=utf-8"));
    let answer = gateway.call(&gateway.chat("m")).await;
    assert_eq!(answer.json()["error"]["message"], lines);
    gateway.finish(&[&backend]).await;
}

#[tokio::test]
async fn a_compressed_refusal_is_read() {
    let (backend, gateway) = rig().await;
    let text = br#"{"error":{"message":"too long","code":"context_length_exceeded"}}"#;
    backend.next(
        Script::raw(400, gzip(text))
            .header("content-type", "application/json")
            .header("content-encoding", "gzip"),
    );
    let answer = gateway.call(&gateway.chat("m")).await;
    assert_eq!(
        (answer.status(), answer.text().as_bytes()),
        (400, &text[..])
    );
    assert_eq!(answer.header("content-encoding"), None);
    gateway.finish(&[&backend]).await;
}

/// A gzip member with one stored block (RFC 1951 section 3.2.4, RFC 1952).
fn gzip(text: &[u8]) -> Vec<u8> {
    let length = u16::try_from(text.len()).unwrap();
    let crc = text.iter().fold(u32::MAX, |crc, byte| {
        (0..8).fold(crc ^ u32::from(*byte), |crc, _| {
            (crc >> 1) ^ (0xedb8_8320 & 0_u32.wrapping_sub(crc & 1))
        })
    });
    let mut member = vec![0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 255, 1];
    member.extend(length.to_le_bytes());
    member.extend((!length).to_le_bytes());
    member.extend(text);
    member.extend((!crc).to_le_bytes());
    member.extend(u32::from(length).to_le_bytes());
    member
}

/// Anthropic's status for overload: only its own clients know 529.
#[tokio::test]
async fn overload_is_529_on_messages_and_503_elsewhere() {
    let (backend, gateway) = rig().await;
    let overloaded =
        json!({"type": "error", "error": {"type": "overloaded_error", "message": "Overloaded"}});
    for (api, status) in [("messages", 529), ("chat/completions", 503)] {
        for wait in [Some("7"), None] {
            let mut script = Script::json(529, &overloaded);
            if let Some(wait) = wait {
                script = script.header("retry-after", wait);
            }
            backend.next(script);
            let fields = json!({"messages": [{"role": "user", "content": "x"}]});
            let answer = gateway.call(&gateway.request(api, "m", &fields)).await;
            assert_eq!(
                (answer.status(), answer.text()),
                (status, overloaded.to_string())
            );
            let expected = wait.unwrap_or("5");
            assert_eq!(answer.header("retry-after"), Some(expected), "{api}");
        }
    }
    for row in gateway.finish(&[&backend]).await {
        assert_eq!(
            (row.upstream_status, &*row.outcome),
            (529, "upstream_error")
        );
    }
}

#[tokio::test]
async fn a_refused_key_or_proxy_is_the_gateways_own_trouble() {
    let (backend, gateway) = rig().await;
    for status in [401, 403, 407] {
        backend.next(Script::error(status, "who are you?"));
        let answer = gateway.call(&gateway.chat("m")).await;
        assert_error(
            &answer,
            502,
            "upstream_error",
            "upstream_auth",
            &status.to_string(),
        );
    }
    gateway.finish(&[&backend]).await;
}

#[tokio::test]
async fn on_messages_errors_are_in_anthropics_words() {
    let (backend, gateway) = rig().await;
    let cases = [
        (Script::html(500), 502, "api_error"),
        (Script::html(429), 429, "rate_limit_error"),
        (Script::html(503), 503, "overloaded_error"),
        (Script::html(413), 413, "request_too_large"),
        (Script::html(422), 422, "invalid_request_error"),
        (
            Script::json(404, &json!({"detail": "gone"})),
            404,
            "not_found_error",
        ),
    ];
    for (script, status, kind) in cases {
        backend.next(script);
        let answer = gateway
            .call(&gateway.request("messages", "m", &json!({})))
            .await;
        let body: Value = answer.json();
        assert_eq!((answer.status(), &body["type"]), (status, &json!("error")));
        assert_eq!(body["error"]["type"], kind, "{body}");
        assert_says_nothing_internal(&answer.text(), kind);
        assert_request_id(&answer, kind);
    }
    let native =
        json!({"type": "error", "error": {"type": "invalid_request_error", "message": "m"}});
    backend.next(Script::json(400, &native));
    let answer = gateway
        .call(&gateway.request("messages", "m", &json!({})))
        .await;
    assert_eq!(answer.text(), native.to_string());
    gateway.finish(&[&backend]).await;
}

#[tokio::test]
async fn rate_limit_headers_are_the_backends_only_where_no_own_limit_holds() {
    let scripts = || {
        let limited = |script: Script| {
            script
                .header("x-ratelimit-limit-requests", "77777")
                .header("x-ratelimit-custom", "1")
        };
        [
            limited(Script::completion()),
            limited(Script::error(429, "slow down")),
            limited(Script::html(500)),
        ]
    };
    let backend = FakeBackend::start().await;
    let free = TestGateway::start(Site::new().model("m", &backend)).await;
    for script in scripts() {
        backend.next(script);
        let answer = free.call(&free.chat("m")).await;
        let expected = (answer.status() != 502).then_some("77777");
        assert_eq!(
            answer.header("x-ratelimit-limit-requests"),
            expected,
            "{}",
            answer.status()
        );
    }
    free.finish(&[&backend]).await;

    let backend = FakeBackend::start().await;
    let limits = "[limits]\nrequests_per_second_per_user = 50\ntpm_user = 100000";
    let limited = TestGateway::start(Site::new().model("m", &backend).settings(limits)).await;
    for script in scripts() {
        backend.next(script);
        for request in [limited.chat_stream("m"), limited.chat("m")] {
            let answer = limited.call(&request).await;
            let status = answer.status();
            assert_eq!(
                answer.header("x-ratelimit-limit-requests"),
                Some("50"),
                "{status}"
            );
            assert_eq!(
                answer.header("x-ratelimit-limit-tokens"),
                Some("100000"),
                "{status}"
            );
            assert!(
                answer.header("x-ratelimit-remaining-tokens").is_some(),
                "{status}"
            );
            assert_eq!(answer.header("x-ratelimit-custom"), None, "{status}");
        }
    }
    limited.finish(&[&backend]).await;
}
