//! Heads of requests: Host, methods, and too much of anything (R5, R6, R7, R13).

use ostia_testkit::backend::FakeBackend;
use ostia_testkit::client::{Answer, Ended, Request};
use ostia_testkit::gateway::{Site, TestGateway};

async fn rig() -> (FakeBackend, TestGateway) {
    let backend = FakeBackend::start().await;
    let gateway = TestGateway::start(Site::new().model("m", &backend)).await;
    (backend, gateway)
}

async fn status_and_rest(gateway: &TestGateway, bytes: impl AsRef<[u8]>) -> (u16, String) {
    let mut client = gateway.client().await;
    client.send(bytes).await;
    let (bytes, _) = client.closed().await;
    let text = String::from_utf8_lossy(&bytes).into_owned();
    let status = text.get(9..12).and_then(|code| code.parse().ok());
    (status.unwrap_or(0), text)
}

#[tokio::test]
async fn a_bad_host_is_400_and_reaches_nothing() {
    let (backend, gateway) = rig().await;
    let plain = gateway.chat("m").without("host");
    let mut bad = vec![("no host", plain.clone())];
    bad.push((
        "two hosts",
        plain.clone().header("Host", "a").header("Host", "a"),
    ));
    for host in ["a/../health?x=", "u@a", "a#b", "a b", "", "a\\b"] {
        bad.push((host, plain.clone().header("Host", host)));
    }
    for (what, request) in bad {
        let (status, text) = status_and_rest(&gateway, request.bytes()).await;
        assert_eq!(status, 400, "{what}: {text}");
    }
    let bytes = plain.clone().header("Host", "localhost").bytes();
    let text = String::from_utf8_lossy(&bytes).replacen("POST /", "POST http://other.example/", 1);
    let (status, answer) = status_and_rest(&gateway, text).await;
    assert_eq!(status, 400, "{answer}");
    assert_eq!(backend.records().len(), 0);
    gateway.finish(&[&backend]).await;
}

/// A valid Host has no effect on access, whatever it says.
#[tokio::test]
async fn no_host_changes_who_may_do_what() {
    let (backend, gateway) = rig().await;
    for host in [
        "admin",
        "evil.example",
        "127.0.0.1:8001",
        "localhost.",
        "[::1]:80",
    ] {
        let allowed = gateway.chat("m").without("host").header("Host", host);
        assert_eq!(gateway.call(&allowed).await.status(), 200, "{host}");
        let stranger = allowed.without("authorization");
        assert_eq!(gateway.call(&stranger).await.status(), 401, "{host}");
        for path in ["/admin/reload", "/metrics", "/health/ready", "/admin"] {
            let request = Request::get(path).without("host").header("Host", host);
            assert_eq!(gateway.call(&request).await.status(), 404, "{host} {path}");
        }
    }
    gateway.finish(&[&backend]).await;
}

#[tokio::test]
async fn other_methods_are_405_with_allow() {
    let (backend, gateway) = rig().await;
    let bearer = gateway.site().secrets.client_bearer();
    let long = "X".repeat(64);
    for method in [
        "PUT", "DELETE", "PATCH", "GET", "HEAD", "post", "PROPFIND", &*long,
    ] {
        let request = Request::new(method, "/v1/chat/completions").bearer(&bearer);
        let mut client = gateway.client().await;
        client.send(request.bytes()).await;
        let reading = client.begin().await.unwrap();
        assert_eq!(reading.status(), 405, "{method}");
        assert_eq!(reading.head.fields.first("allow"), Some("POST"), "{method}");
    }
    for method in ["CONNECT", "TRACE"] {
        let request = Request::new(method, "/v1/chat/completions").bearer(&bearer);
        let answer = gateway.call(&request).await;
        assert!(
            matches!(answer.status(), 400 | 405 | 501),
            "{method}: {}",
            answer.text()
        );
    }
    let tunnel = "CONNECT 127.0.0.1:80 HTTP/1.1\r\nHost: 127.0.0.1:80\r\n\r\nraw bytes";
    let (status, text) = status_and_rest(&gateway, tunnel).await;
    assert_eq!(status, 405, "{text}");
    assert!(text.to_lowercase().contains("\r\nallow: "), "{text}");
    for path in ["/whoami", "/list-endpoints", "/health"] {
        let answer = gateway.call(&Request::post(path).bearer(&bearer)).await;
        assert_eq!(
            (answer.status(), answer.header("allow")),
            (405, Some("GET, HEAD")),
            "{path}"
        );
    }
    assert_eq!(backend.records().len(), 0);
    gateway.finish(&[&backend]).await;
}

#[tokio::test]
async fn hop_by_hop_headers_stop_here() {
    let (backend, gateway) = rig().await;
    let request = gateway
        .chat("m")
        .header("Connection", "x-user, authorization, keep-alive")
        .header("X-User", "root")
        .header("Keep-Alive", "timeout=5")
        .header("Proxy-Connection", "keep-alive")
        .header("TE", "gzip")
        .header("Trailer", "x")
        .header("Proxy-Authorization", "Basic x")
        .header("Cookie", "a=b")
        .header("X-Forwarded-User", "root")
        .header("Upgrade", "websocket");
    let answer = gateway.call(&request).await;
    assert_eq!(answer.status(), 200, "{}", answer.text());
    let seen = backend.records().remove(0).received;
    let key = gateway.site().secrets.backend_key.secret().to_owned();
    assert_eq!(seen.bearer(), Some(&*key));
    let allowed = [
        "accept-encoding",
        "authorization",
        "content-length",
        "content-type",
        "host",
        "user-agent",
        "x-request-id",
        "accept",
        "connection",
    ];
    for name in seen.head.fields.names() {
        assert!(allowed.contains(&&*name), "{name} was sent on");
    }
    gateway.finish(&[&backend]).await;
}

fn refused(answer: &str) -> bool {
    [" 400 ", " 413 ", " 414 ", " 431 "]
        .iter()
        .any(|status| answer.starts_with(&format!("HTTP/1.1{status}")))
}

#[tokio::test]
async fn floods_end_at_the_front_door() {
    let (backend, gateway) = rig().await;
    let chat = gateway.chat("m");
    let mut many = chat.clone();
    for number in 0..101 {
        many = many.header(&format!("X-{number}"), "y");
    }
    let long_url = chat
        .head()
        .replacen("/v1/chat", &format!("/v1/{}", "x".repeat(64 << 10)), 1);
    let floods = [
        ("101 headers", many.bytes().to_vec()),
        (
            "a long header",
            chat.clone()
                .header("X", &"y".repeat(100_000))
                .bytes()
                .to_vec(),
        ),
        ("a long URL", long_url.into_bytes()),
        ("a long chunk extension", extension(&gateway)),
        ("long trailers", trailers(&gateway)),
    ];
    for (what, bytes) in floods {
        let (_, text) = status_and_rest(&gateway, bytes).await;
        assert!(refused(&text), "{what}: {}", &text[..text.len().min(300)]);
        assert_eq!(backend.records().len(), 0, "{what}");
    }
    gateway.finish(&[&backend]).await;
}

fn body() -> String {
    r#"{"model":"m","messages":[{"role":"user","content":"hi"}]}"#.to_owned()
}

fn chunked_head(gateway: &TestGateway) -> String {
    gateway.chat("m").chunked(["x"]).head()
}

fn extension(gateway: &TestGateway) -> Vec<u8> {
    let body = body();
    let long = "e".repeat(1 << 20);
    let text = format!(
        "{}{:x};{long}\r\n{body}\r\n0\r\n\r\n",
        chunked_head(gateway),
        body.len()
    );
    text.into_bytes()
}

fn trailers(gateway: &TestGateway) -> Vec<u8> {
    let body = body();
    let line = format!("x-trailer: {}\r\n", "t".repeat(1000)).repeat(1000);
    let text = format!(
        "{}{:x}\r\n{body}\r\n0\r\n{line}\r\n",
        chunked_head(gateway),
        body.len()
    );
    text.into_bytes()
}

/// Odd, but valid: it is served.
#[tokio::test]
async fn ten_thousand_chunks_of_one_byte_are_one_body() {
    let (backend, gateway) = rig().await;
    let body = format!(
        r#"{{"model":"m","messages":[{{"role":"user","content":"{}"}}]}}"#,
        "z".repeat(10_000)
    );
    let pieces: Vec<Vec<u8>> = body.bytes().map(|byte| vec![byte]).collect();
    let answer: Answer = gateway.call(&gateway.chat("m").chunked(pieces)).await;
    assert_eq!(
        (answer.status(), &answer.ended),
        (200, &Ended::Complete),
        "{}",
        answer.text()
    );
    assert_eq!(backend.records()[0].received.body, body);
    gateway.finish(&[&backend]).await;
}
