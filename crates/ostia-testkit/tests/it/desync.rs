//! Requests that two parsers could read differently, with sign-in in front and a backend behind (R2, R3).

use ostia_testkit::backend::FakeBackend;
use ostia_testkit::gateway::{Site, TestGateway};

const BODY: &str = r#"{"model":"m","messages":[{"role":"user","content":"first"}]}"#;
const SECOND: &str = r#"{"model":"m","messages":[{"role":"user","content":"second"}]}"#;

/// Fields and body. A newline stands for CRLF, `~` for a bare LF; `$b` for a valid body, `$n` for its length, `$x` for
/// the length in hexadecimal. Only Transfer-Encoding counts in these.
const CHUNKED: &[&str] = &[
    "transfer-encoding: chunked\n\n$x\n$b\n0\n\n",
    "transfer-encoding: chunked\ncontent-length: 5\n\n$x\n$b\n0\n\n",
    "content-length: 5\ntransfer-encoding: chunked\n\n$x\n$b\n0\n\n",
    "transfer-encoding: chunked\ncontent-length: $n\n\n$x\n$b\n0\n\n",
    "content-length: 0\ntransfer-encoding: chunked\n\n$x\n$b\n0\n\n",
    "Transfer-Encoding: Chunked\n\n$x\n$b\n0\n\n",
    "transfer-encoding:\tchunked\n\n$x\n$b\n0\n\n",
    "transfer-encoding: chunked\n\n$x;ext=\"x\"\n$b\n0\n\n",
    "transfer-encoding: chunked\n\n000$x\n$b\n000\n\n",
    "transfer-encoding: chunked\n\n$x\n$b\n0\nx-trailer: y\ncontent-length: 9\n\n",
];

/// These are never valid.
const ODD: &[&str] = &[
    "transfer-encoding: xchunked\n\n$x\n$b\n0\n\n",
    "transfer-encoding: xchunked\ncontent-length: $n\n\n$b",
    "transfer-encoding: chunked, identity\n\n$x\n$b\n0\n\n",
    "transfer-encoding: identity, chunked\n\n$x\n$b\n0\n\n",
    "transfer-encoding: gzip, chunked\n\n$x\n$b\n0\n\n",
    "transfer-encoding: chunked, chunked\n\n$x\n$b\n0\n\n",
    "transfer-encoding: identity\n\n$b",
    "transfer-encoding: identity\ncontent-length: $n\n\n$b",
    "transfer-encoding: chunked;q=1\n\n$x\n$b\n0\n\n",
    "transfer-encoding: \"chunked\"\n\n$x\n$b\n0\n\n",
    "transfer-encoding: chunked,\n\n$x\n$b\n0\n\n",
    "transfer-encoding: ,chunked\n\n$x\n$b\n0\n\n",
    "transfer-encoding:\n\n$x\n$b\n0\n\n",
    "transfer-encoding:\ncontent-length: $n\n\n$b",
    "transfer-encoding : chunked\n\n$x\n$b\n0\n\n",
    "transfer-encoding\t: chunked\n\n$x\n$b\n0\n\n",
    " transfer-encoding: chunked\n\n$x\n$b\n0\n\n",
    "transfer-encoding: \x0bchunked\n\n$x\n$b\n0\n\n",
    "transfer-encoding: chunked\x0c\n\n$x\n$b\n0\n\n",
    "transfer-encoding: chunked\ntransfer-encoding: chunked\n\n$x\n$b\n0\n\n",
    "transfer-encoding: chunked\ntransfer-encoding: identity\n\n$x\n$b\n0\n\n",
    "transfer-encoding: identity\ntransfer-encoding: chunked\n\n$x\n$b\n0\n\n",
    "transfer-encoding: chunked\n\n+$x\n$b\n0\n\n",
    "transfer-encoding: chunked\n\n0x$x\n$b\n0\n\n",
    "transfer-encoding: chunked\n\n-1\n$b\n0\n\n",
    "transfer-encoding: chunked\n\n1000000000000003c\n$b\n0\n\n",
    "transfer-encoding: chunked\n\n$x\n$bmore\n0\n\n",
    "transfer-encoding: chunked\n\n$x~$b\n0\n\n",
    "transfer-encoding: chunked\n\n\n$x\n$b\n0\n\n",
    "content-length: +$n\n\n$b",
    "content-length: $n,$n\n\n$b",
    "content-length: $n, $n\n\n$b",
    "content-length: $n,6\n\n$b",
    "content-length: 0x$x\n\n$b",
    "content-length: -1\n\n$b",
    "content-length:\n\n$b",
    "content-length: $n $n\n\n$b",
    "content-length: $n.0\n\n$b",
    "content-length: 18446744073709551676\n\n$b",
    "content-length: $n\ncontent-length: $n\n\n$b",
    "content-length: $n\ncontent-length: 6\n\n$b",
    "content-length: 0\nContent-Length: $n\n\n$b",
    concat!(
        "content-length: 00000000000000000000000000000000",
        "0000000000000000000000000000000000000000$n\n\n$b"
    ),
    "content-length : $n\n\n$b",
    "content-length\n: $n\n\n$b",
    "x: y\n content-length: $n\n\n$b",
    "x: y\n\tfolded\ncontent-length: $n\n\n$b",
    "x: a\rb\ncontent-length: $n\n\n$b",
    "x: a\0b\ncontent-length: $n\n\n$b",
    "x\0: a\ncontent-length: $n\n\n$b",
    "x y: a\ncontent-length: $n\n\n$b",
    ": a\ncontent-length: $n\n\n$b",
    "no colon\ncontent-length: $n\n\n$b",
    "host: b\ncontent-length: $n\n\n$b",
];

fn message(head: &str, vector: &str, body: &str) -> String {
    let length = body.len();
    let lines = format!("{head}{vector}")
        .replace("$n", &length.to_string())
        .replace("$x", &format!("{length:x}"));
    let wire = lines.replace('\n', "\r\n").replace('~', "\n");
    wire.replace("$b", body)
}

#[tokio::test]
async fn no_request_hides_in_another_and_none_is_answered_twice() {
    assert!(CHUNKED.len() + ODD.len() >= 40);
    let backend = FakeBackend::start().await;
    let gateway = TestGateway::start(Site::new().model("m", &backend)).await;
    let key = gateway.site().secrets.client_bearer();
    let head = format!(
        "POST /v1/chat/completions HTTP/1.1\nhost: localhost\nauthorization: Bearer {key}\ncontent-type: application/json\n"
    );
    let second = message(&head, "content-length: $n\n\n$b", SECOND);
    let sound = CHUNKED.iter().map(|vector| (vector, 200));
    let odd = ODD.iter().map(|vector| (vector, 400));
    let mut served = 0;
    for (vector, expected) in sound.chain(odd) {
        let first = message(&head, vector, BODY);
        let mut client = gateway.client().await;
        client.send(format!("{first}{second}")).await;
        let (bytes, _) = client.closed().await;
        let text = String::from_utf8_lossy(&bytes);
        assert_eq!(text.matches("HTTP/1.1 ").count(), 1, "{vector:?}: {text}");
        let status = format!("HTTP/1.1 {expected} ");
        assert!(text.starts_with(&status), "{vector:?}: {text}");
        assert!(
            text.to_lowercase().contains("\r\nconnection: close\r\n"),
            "{vector:?}: {text}"
        );
        served += usize::from(expected == 200);
        let seen = backend.records();
        assert_eq!(seen.len(), served, "{vector:?} reached the backend");
        for record in seen {
            assert_eq!(record.received.body, BODY, "{vector:?}");
        }
    }
    // Trailers of a request do not become headers.
    for record in backend.records() {
        assert_eq!(record.received.header("x-trailer"), None);
        assert_eq!(record.received.trailers.names(), Vec::<String>::new());
    }
    gateway.finish(&[&backend]).await;
}

#[tokio::test]
async fn http_1_0_has_no_transfer_encoding() {
    let backend = FakeBackend::start().await;
    let gateway = TestGateway::start(Site::new().model("m", &backend)).await;
    let request = gateway
        .chat("m")
        .version("HTTP/1.0")
        .chunked([BODY.to_owned()]);
    let mut client = gateway.client().await;
    client.send(request.bytes()).await;
    let (bytes, _) = client.closed().await;
    let text = String::from_utf8_lossy(&bytes);
    assert!(
        text.starts_with("HTTP/1.1 400 ") || text.starts_with("HTTP/1.0 400 "),
        "{text}"
    );
    assert_eq!(backend.records().len(), 0);
    // Without Transfer-Encoding, HTTP/1.0 is served.
    let answer = gateway.call(&gateway.chat("m").version("HTTP/1.0")).await;
    assert_eq!(answer.status(), 200, "{}", answer.text());
    gateway.finish(&[&backend]).await;
}
