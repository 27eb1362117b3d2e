//! Bodies that are malformed, odd, too large or too short (R10, R11, R12).

use bytes::Bytes;
use ostia_testkit::backend::FakeBackend;
use ostia_testkit::client::{Answer, HangUp, Request};
use ostia_testkit::gateway::{Site, TestGateway};

async fn rig(site: Site) -> (FakeBackend, TestGateway) {
    let backend = FakeBackend::start().await;
    let gateway = TestGateway::start(site.model("m", &backend)).await;
    (backend, gateway)
}

fn raw(gateway: &TestGateway, body: impl Into<Bytes>) -> Request {
    let bearer = gateway.site().secrets.client_bearer();
    let request = Request::post("/v1/chat/completions").bearer(&bearer);
    request
        .header("Content-Type", "application/json")
        .body(body)
}

/// Checks the contract's form of errors.
fn assert_error(answer: &Answer, status: u16, code: &str, what: &str) {
    assert_eq!(answer.status(), status, "{what}: {}", answer.text());
    assert_eq!(
        answer.header("content-type"),
        Some("application/json"),
        "{what}"
    );
    assert!(answer.header("x-request-id").is_some(), "{what}");
    let body = answer.json();
    let error = &body["error"];
    assert_eq!(error["code"], code, "{what}: {body}");
    assert_eq!(error["type"], "invalid_request_error", "{what}");
    assert!(
        error["message"]
            .as_str()
            .is_some_and(|text| !text.is_empty()),
        "{what}"
    );
    let names: Vec<&String> = error.as_object().unwrap().keys().collect();
    assert_eq!(names.len(), 4, "{what}: {names:?}");
}

#[tokio::test]
async fn what_the_gateway_cannot_act_on_is_400_in_one_shape() {
    let (backend, gateway) = rig(Site::new()).await;
    let deep = format!(
        r#"{{"model":"m","messages":{}1{}}}"#,
        "[".repeat(10_000),
        "]".repeat(10_000)
    );
    let ok = r#""messages":[{"role":"user","content":"x"}]"#;
    let table: Vec<(String, &str)> = vec![
        (String::new(), "invalid_json"),
        ("[]".to_owned(), "invalid_json"),
        ("null".to_owned(), "invalid_json"),
        ("1".to_owned(), "invalid_json"),
        ("{".to_owned(), "invalid_json"),
        (format!(r#"{{"model":"m",{ok}}} x"#), "invalid_json"),
        (format!(r#"{{"model":"m",{ok},}}"#), "invalid_json"),
        (format!("\u{feff}{{\"model\":\"m\",{ok}}}"), "invalid_json"),
        (
            format!(r#"{{"model":"m",{ok},"temperature":NaN}}"#),
            "invalid_json",
        ),
        (deep, "invalid_json"),
        (format!("{{{ok}}}"), "missing_model"),
        (format!(r#"{{"model":"",{ok}}}"#), "missing_model"),
        (format!(r#"{{"model":1,{ok}}}"#), "missing_model"),
        (
            format!(r#"{{"model":"m","model":"m",{ok}}}"#),
            "invalid_value",
        ),
        (
            format!(r#"{{"model":"m","mod\u0065l":"other",{ok}}}"#),
            "invalid_value",
        ),
        (
            format!(r#"{{"model":"m",{ok},"stream":true,"stream":false}}"#),
            "invalid_value",
        ),
        (
            format!(r#"{{"model":"m",{ok},"stream":"yes"}}"#),
            "invalid_value",
        ),
        (r#"{"model":"m"}"#.to_owned(), "missing_required_parameter"),
        (r#"{"model":"m","messages":[]}"#.to_owned(), "invalid_value"),
        (
            r#"{"model":"m","messages":["x"]}"#.to_owned(),
            "invalid_value",
        ),
        (
            r#"{"model":"m","messages":"x"}"#.to_owned(),
            "invalid_value",
        ),
    ];
    let count = table.len();
    for (body, code) in table {
        let what = &body[..body.floor_char_boundary(60)];
        assert_error(
            &gateway.call(&raw(&gateway, body.clone())).await,
            400,
            code,
            what,
        );
    }
    assert_eq!(backend.records().len(), 0);
    let rows = gateway.finish(&[&backend]).await;
    let refused: Vec<_> = rows
        .iter()
        .filter(|row| row.outcome == "rejected" && row.http_status == 400)
        .collect();
    assert_eq!(refused.len(), rows.len());
    assert!(rows.len() <= count, "more rows than requests");
}

#[tokio::test]
async fn other_types_and_codings_are_415() {
    let (backend, gateway) = rig(Site::new()).await;
    let body = r#"{"model":"m","messages":[{"role":"user","content":"x"}]}"#;
    for kind in [
        "text/html",
        "application/xml",
        "multipart/form-data; boundary=x",
        "application/octet-stream",
    ] {
        let request = raw(&gateway, body)
            .without("content-type")
            .header("Content-Type", kind);
        assert_error(
            &gateway.call(&request).await,
            415,
            "unsupported_media_type",
            kind,
        );
    }
    for coding in [
        "compress",
        "identity, zst",
        "gzip;q=1",
        "gzip,br,gzip,br,gzip",
    ] {
        let request = raw(&gateway, body).header("Content-Encoding", coding);
        let answer = gateway.call(&request).await;
        assert_error(&answer, 415, "unsupported_media_type", coding);
        let accepted = answer.header("accept-encoding");
        assert_eq!(accepted, Some("zstd, br, gzip, deflate"), "{coding}");
    }
    assert_eq!(backend.records().len(), 0);
    for kind in [
        "application/json; charset=utf-8",
        "text/plain",
        "application/x-www-form-urlencoded",
        "application/vnd.api+json",
    ] {
        let request = raw(&gateway, body)
            .without("content-type")
            .header("Content-Type", kind);
        assert_eq!(gateway.call(&request).await.status(), 200, "{kind}");
    }
    let untyped = raw(&gateway, body).without("content-type");
    assert_eq!(gateway.call(&untyped).await.status(), 200);
    gateway.finish(&[&backend]).await;
}

#[tokio::test]
async fn what_is_the_backends_business_passes_byte_for_byte() {
    let (backend, gateway) = rig(Site::new()).await;
    let many = format!(
        r#"{{"model":"m","messages":[{}{{"role":"user","content":"x"}}]}}"#,
        "{},".repeat(100_000)
    );
    let ok = r#""messages":[{"role":"user","content":"\ud800 \u0000 é"}]"#;
    let bodies = [
        format!(r#"{{ "model" : "m",{ok},"temperature":1e400,"top_p":-0.0 }}"#),
        format!(r#"{{"model":"m",{ok},"unknown":{{"a":[null,1.0e-2,""]}},"user":"a","user":"b"}}"#),
        format!(" \t\r\n{{\"model\":\"m\",{ok}}}\n "),
        many,
    ];
    for (number, body) in bodies.iter().enumerate() {
        let answer = gateway.call(&raw(&gateway, body.clone())).await;
        assert_eq!(answer.status(), 200, "{}", answer.text());
        assert!(
            backend.records()[number].received.body == *body,
            "body {number} was changed"
        );
    }
    gateway.finish(&[&backend]).await;
}

fn sized(size: usize) -> String {
    let (before, after) = (
        r#"{"model":"m","messages":[{"role":"user","content":""#,
        r#""}]}"#,
    );
    format!(
        "{before}{}{after}",
        "x".repeat(size - before.len() - after.len())
    )
}

#[tokio::test]
async fn the_limit_of_a_body_is_exact_however_it_is_framed() {
    const LIMIT: usize = 100_000;
    let site = Site::new().settings("[server]\nmax_body_bytes = 100000");
    let (backend, gateway) = rig(site).await;
    for (size, expected) in [(LIMIT - 1, 200), (LIMIT, 200), (LIMIT + 1, 413)] {
        let whole = raw(&gateway, sized(size));
        assert_eq!(gateway.call(&whole).await.status(), expected, "{size}");
        let text = sized(size);
        let pieces: Vec<Vec<u8>> = text.as_bytes().chunks(4096).map(<[u8]>::to_vec).collect();
        let answer = gateway.call(&raw(&gateway, "").chunked(pieces)).await;
        assert_eq!(
            answer.status(),
            expected,
            "{size} in chunks: {}",
            answer.text()
        );
        if expected == 413 {
            assert_error(&answer, 413, "request_too_large", "in chunks");
        }
    }
    assert_eq!(backend.records().len(), 4);

    // A length that is too large is refused before the first byte of the body; an endless body, once it is too long.
    let head = raw(&gateway, "")
        .head()
        .replace("Content-Length: 0", "Content-Length: 10000000000");
    let mut client = gateway.client().await;
    client.send(head).await;
    assert_error(
        &client.answer().await,
        413,
        "request_too_large",
        "announced",
    );
    let mut client = gateway.client().await;
    client.send(raw(&gateway, "").chunked(["x"]).head()).await;
    let chunk = format!("{LIMIT:x}\r\n{}\r\n", " ".repeat(LIMIT));
    client.send(format!("{chunk}1\r\n \r\n")).await;
    assert_error(&client.answer().await, 413, "request_too_large", "endless");
    gateway.finish(&[&backend]).await;
}

#[tokio::test]
async fn a_body_that_ends_short_or_stalls_reaches_no_backend() {
    let site = Site::new().settings("[server]\nbody_idle_timeout = \"200ms\"");
    let (backend, gateway) = rig(site).await;
    let whole = raw(&gateway, sized(1000)).bytes();
    let mut client = gateway.client().await;
    client.send(&whole[..whole.len() - 1]).await;
    let stalled = client.answer().await;
    assert!(matches!(stalled.status(), 400 | 408), "{}", stalled.text());
    client.closed().await;

    let mut client = gateway.client().await;
    client.send(&whole[..whole.len() - 1]).await;
    client.hang_up(HangUp::Fin).await;
    let rows = gateway.finish(&[&backend]).await;
    assert_eq!(backend.records().len(), 0);
    assert!(
        rows.iter().all(|row| row.phase == "reading_body"),
        "{rows:#?}"
    );
}
