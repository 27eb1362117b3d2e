//! Requests that two parsers could read differently (R2 to R4).

use tokio::sync::mpsc;

use super::super::Inbound;
use super::{Gateway, count_answers, echo, options, status, text};

/// Fields and body of a `POST /first`; "\n" stands for CRLF. Only Transfer-Encoding counts.
const CHUNKED: &[&str] = &[
    "content-length: 5\ntransfer-encoding: chunked\n\n0\n\n",
    "transfer-encoding: chunked\ncontent-length: 5\n\n0\n\n",
    "content-length: 4\ntransfer-encoding: chunked\n\n5\nhello\n0\n\n",
    "transfer-encoding: chunked\ncontent-length: 4\n\n5\nhello\n0\n\n",
    "transfer-encoding: chunked\n\n0\n\n",
    "Transfer-Encoding: Chunked\n\n5\nhello\n0\n\n",
    "transfer-encoding:\tchunked\n\n0\n\n",
    "transfer-encoding: chunked\n\n5;ext=\"x\"\nhello\n0\n\n",
];

/// In the same form, but never valid.
const ODD: &[&str] = &[
    "transfer-encoding: chunked\n\n5;ext=\"\n\nhello\n0\n\n",
    "transfer-encoding: xchunked\n\n0\n\n",
    "transfer-encoding: chunked, identity\n\n0\n\n",
    "transfer-encoding: identity, chunked\n\n0\n\n",
    "transfer-encoding: gzip, chunked\n\n0\n\n",
    "transfer-encoding: chunked, chunked\n\n0\n\n",
    "transfer-encoding: identity\n\nhello",
    "transfer-encoding: identity\ncontent-length: 5\n\nhello",
    "transfer-encoding: chunked;q=1\n\n0\n\n",
    "transfer-encoding: \"chunked\"\n\n0\n\n",
    "transfer-encoding: chunked,\n\n0\n\n",
    "transfer-encoding: ,chunked\n\n0\n\n",
    "transfer-encoding:\n\n0\n\n",
    "transfer-encoding : chunked\n\n0\n\n",
    "transfer-encoding\t: chunked\n\n0\n\n",
    " transfer-encoding: chunked\n\n0\n\n",
    "transfer-encoding: \x0bchunked\n\n0\n\n",
    "transfer-encoding: chunked\x0c\n\n0\n\n",
    "transfer-encoding: chunked\ntransfer-encoding: chunked\n\n0\n\n",
    "transfer-encoding: chunked\ntransfer-encoding: identity\n\n0\n\n",
    "transfer-encoding: identity\ntransfer-encoding: chunked\n\n0\n\n",
    "transfer-encoding: x\ncontent-length: 5\n\nhello",
    "transfer-encoding: chunked\n\n+5\nhello\n0\n\n",
    "transfer-encoding: chunked\n\n0x5\nhello\n0\n\n",
    "transfer-encoding: chunked\n\n-1\nhello\n0\n\n",
    "transfer-encoding: chunked\n\n10000000000000005\nhello\n0\n\n",
    "transfer-encoding: chunked\n\n5\nhelloworld\n0\n\n",
    "content-length: +5\n\nhello",
    "content-length: 5,5\n\nhello",
    "content-length: 5, 5\n\nhello",
    "content-length: 5,6\n\nhello",
    "content-length: 0x5\n\nhello",
    "content-length: -1\n\nhello",
    "content-length:\n\nhello",
    "content-length: 5 5\n\nhello",
    "content-length: 5.0\n\nhello",
    "content-length: 5e0\n\nhello",
    "content-length: 18446744073709551621\n\nhello",
    "content-length: 5\ncontent-length: 5\n\nhello",
    "content-length: 5\ncontent-length: 6\n\nhello",
    "content-length: 0\nContent-Length: 5\n\nhello",
    "content-length: 5\nx: y\nCONTENT-LENGTH:5\n\nhello",
    "content-length : 5\n\nhello",
    concat!(
        "content-length: 00000000000000000000000000000000",
        "000000000000000000000000000000000000000005\n\nhello"
    ),
    "content-length\n: 5\n\nhello",
    "x: y\n content-length: 5\n\nhello",
    "x: y\n\tfolded\ncontent-length: 5\n\nhello",
    "x: a\rb\ncontent-length: 5\n\nhello",
    "x: a\0b\ncontent-length: 5\n\nhello",
    "x\0: a\ncontent-length: 5\n\nhello",
    "x y: a\ncontent-length: 5\n\nhello",
    ": a\ncontent-length: 5\n\nhello",
    "host: b\ncontent-length: 5\n\nhello",
];

fn crlf(lines: &str) -> String {
    lines.replace('\n', "\r\n")
}

#[tokio::test]
async fn no_request_hides_in_another() {
    let (seen, mut requests) = mpsc::unbounded_channel();
    let gateway = Gateway::start(options(), move |inbound: Inbound| {
        seen.send(inbound.head.uri.path().to_owned()).ok();
        echo(inbound)
    })
    .await;
    let sound = CHUNKED.iter().map(|fields| (fields, 200));
    let odd = ODD.iter().map(|fields| (fields, 400));
    for (fields, expected) in sound.chain(odd) {
        let first = format!("POST /first HTTP/1.1\nhost: a\n{fields}");
        let bytes = gateway
            .talk(crlf(&format!("{first}GET /second HTTP/1.1\nhost: a\n\n")))
            .await;
        assert_eq!(count_answers(&bytes), 1, "{fields:?}: {}", text(&bytes));
        assert_eq!(status(&bytes), expected, "{fields:?}: {}", text(&bytes));
        assert!(
            text(&bytes).contains("\r\nconnection: close\r\n"),
            "{fields:?}: {}",
            text(&bytes)
        );
        while let Ok(path) = requests.try_recv() {
            assert_eq!(path, "/first", "{fields:?}");
        }
    }
}

#[tokio::test]
async fn transfer_encoding_wins_over_a_length_and_closes() {
    let gateway = Gateway::start(options(), echo).await;
    for fields in [
        "content-length: 4\ntransfer-encoding: chunked\n",
        "transfer-encoding: chunked\ncontent-length: 4\n",
        "transfer-encoding: chunked\n",
    ] {
        let bytes = gateway
            .talk(crlf(&format!(
                "POST / HTTP/1.1\nhost: a\n{fields}\n7\nseven.7\n0\n\n"
            )))
            .await;
        assert_eq!(status(&bytes), 200, "{fields:?}");
        assert!(text(&bytes).ends_with("\r\n\r\n/ 7"), "{}", text(&bytes));
    }
}

#[tokio::test]
async fn http_1_0_has_no_transfer_encoding() {
    let gateway = Gateway::start(options(), |_| async { panic!("never asked") }).await;
    let bytes = gateway
        .talk("POST / HTTP/1.0\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n")
        .await;
    assert_eq!(status(&bytes), 400);
}

#[tokio::test]
async fn nothing_is_upgraded() {
    let (seen, mut requests) = mpsc::unbounded_channel();
    let gateway = Gateway::start(options(), move |inbound: Inbound| {
        let has_means = inbound
            .head
            .extensions
            .get::<hyper::upgrade::OnUpgrade>()
            .is_some();
        seen.send(has_means).ok();
        echo(inbound)
    })
    .await;
    for upgrade in ["websocket", "h2c"] {
        let bytes = gateway
            .talk(crlf(&format!(
                "GET /up HTTP/1.1\nhost: a\nconnection: upgrade\nupgrade: {upgrade}\n\n\
                 GET /next HTTP/1.1\nhost: a\nconnection: close\n\n"
            )))
            .await;
        assert_eq!(count_answers(&bytes), 2, "{}", text(&bytes));
        assert!(!text(&bytes).contains(" 101 "));
    }
    while let Ok(has_means) = requests.try_recv() {
        assert!(!has_means);
    }
}

#[tokio::test]
async fn sound_requests_share_a_connection() {
    let gateway = Gateway::start(options(), echo).await;
    let bytes = gateway
        .talk(crlf(
            "POST /1 HTTP/1.1\nhost: a\ncontent-length: 5\n\nhello\
             GET /2 HTTP/1.1\nhost: a\n\n\
             POST /3 HTTP/1.1\nhost: a\ncontent-length: 2\nconnection: close\n\nhi",
        ))
        .await;
    assert_eq!(count_answers(&bytes), 3, "{}", text(&bytes));
    for body in ["/1 5", "/2 0", "/3 2"] {
        assert!(text(&bytes).contains(body), "{}", text(&bytes));
    }
}
