//! Rules for heads, ids, early refusals.

use std::net::IpAddr;

use ostia_core::RequestId;
use tokio::sync::mpsc;

use super::super::{Inbound, Options};
use super::{Gateway, answer, count_answers, echo, options, status, text};

fn header<'a>(answer: &'a str, name: &str) -> Option<&'a str> {
    answer
        .lines()
        .find_map(|line| line.strip_prefix(name)?.strip_prefix(": "))
}

#[tokio::test]
async fn bad_heads_are_answered_once_and_closed() {
    let gateway = Gateway::start(options(), |_| async { panic!("never asked") }).await;
    let long = format!("GET /{} HTTP/1.1\r\nhost: a\r\n\r\n", "x".repeat(9000));
    for (request, expected) in [
        ("GET / HTTP/1.1\r\n\r\n", 400),
        ("GET / HTTP/1.1\r\nhost: a\r\nhost: a\r\n\r\n", 400),
        ("GET / HTTP/1.1\r\nhost: a/../health?x=\r\n\r\n", 400),
        ("GET / HTTP/1.1\r\nhost: u@a\r\n\r\n", 400),
        ("GET / HTTP/1.1\r\nhost: a#b\r\n\r\n", 400),
        ("GET / HTTP/1.1\r\nhost: a b\r\n\r\n", 400),
        ("GET / HTTP/1.1\r\nhost:\r\n\r\n", 400),
        ("GET http://b/ HTTP/1.1\r\nhost: a\r\n\r\n", 400),
        ("GET * HTTP/1.1\r\nhost: a\r\n\r\n", 400),
        ("GET a:80 HTTP/1.1\r\nhost: a\r\n\r\n", 400),
        ("CONNECT a:80 HTTP/1.1\r\nhost: a:80\r\n\r\nraw", 405),
        ("TRACE / HTTP/1.1\r\nhost: a\r\n\r\n", 405),
        ("GET / HTTP/1.1\r\nhost: a\r\nexpect: 200-ok\r\n\r\n", 417),
        (&long, 414),
    ] {
        let bytes = gateway
            .talk(format!("{request}GET /second HTTP/1.1\r\nhost: a\r\n\r\n"))
            .await;
        let answer = text(&bytes);
        assert_eq!(status(&bytes), expected, "{request:?}: {answer}");
        assert_eq!(count_answers(&bytes), 1, "{request:?}");
        assert_eq!(header(&answer, "connection"), Some("close"));
        let id = header(&answer, "x-request-id").expect("an id");
        id.parse::<RequestId>().unwrap();
    }
}

#[tokio::test]
async fn too_many_or_too_long_headers_are_431() {
    let gateway = Gateway::start(options(), |_| async { panic!("never asked") }).await;
    let many: String = (0..101).map(|i| format!("x-{i}: y\r\n")).collect();
    let long = format!("x: {}\r\n", "y".repeat(100_000));
    for fields in [many, long] {
        let bytes = gateway
            .talk(format!("GET / HTTP/1.1\r\nhost: a\r\n{fields}\r\n"))
            .await;
        assert_eq!(status(&bytes), 431);
        assert!(header(&text(&bytes), "x-request-id").is_some());
    }
}

/// hyper makes these responses by itself.
#[tokio::test]
async fn answers_to_what_cannot_be_parsed_have_an_id_too() {
    let gateway = Gateway::start(options(), echo).await;
    let sound = "POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 2\r\n\r\nhi";
    for before in ["", sound] {
        let mut client = gateway.connect().await;
        client.send(before).await;
        if !before.is_empty() {
            client.read_until("/ 2").await;
        }
        client.send("G\0T / HTTP/1.1\r\n\r\n").await;
        let bytes = client.read_all().await;
        let answer = text(&bytes);
        assert!(
            answer.starts_with("HTTP/1.1 400 Bad Request\r\n"),
            "{answer}"
        );
        let id = header(&answer, "x-request-id").expect("an id");
        id.parse::<RequestId>().unwrap();
        assert!(answer.ends_with("\r\n\r\n"), "{answer}");
    }
}

#[tokio::test]
async fn every_answer_has_our_id_and_the_callers() {
    let (seen, mut requests) = mpsc::unbounded_channel();
    let gateway = Gateway::start(options(), move |inbound: Inbound| {
        seen.send((inbound.id, inbound.client_request_id.clone()))
            .ok();
        async {
            let mut response = answer(200, "ok");
            response
                .headers_mut()
                .insert("x-request-id", "the backend's".parse().unwrap());
            response
        }
    })
    .await;
    for (field, client_id) in [
        ("x-request-id: mine", Some("mine")),
        ("X-Client-Request-Id: other one", Some("other one")),
        ("x-request-id: a\tb", None),
        ("x: y", None),
    ] {
        let bytes = gateway
            .talk(format!(
                "GET / HTTP/1.1\r\nhost: a\r\nconnection: close\r\n{field}\r\n\r\n"
            ))
            .await;
        let answer = text(&bytes);
        let (id, client_request_id) = requests.recv().await.unwrap();
        assert_eq!(client_request_id.as_deref(), client_id);
        let ours = header(&answer, "x-request-id").unwrap();
        assert_eq!(ours.parse::<RequestId>().unwrap(), id);
        assert_eq!(header(&answer, "x-client-request-id"), client_id);
    }
}

#[tokio::test]
async fn origin_is_the_peer_or_what_a_trusted_peer_says() {
    for (trusted, expected) in [("127.0.0.0/8", "192.0.2.7"), ("10.0.0.0/8", "127.0.0.1")] {
        let (seen, mut requests) = mpsc::unbounded_channel();
        let options = Options {
            trusted_proxies: vec![trusted.parse().unwrap()],
            ..options()
        };
        let gateway = Gateway::start(options, move |inbound: Inbound| {
            seen.send((inbound.peer_ip, inbound.origin_ip)).ok();
            echo(inbound)
        })
        .await;
        gateway
            .talk("GET / HTTP/1.1\r\nhost: a\r\nconnection: close\r\nx-forwarded-for: 6.6.6.6\r\nx-forwarded-for: 192.0.2.7\r\n\r\n")
            .await;
        let (peer, origin) = requests.recv().await.unwrap();
        assert_eq!(peer, "127.0.0.1".parse::<IpAddr>().unwrap());
        assert_eq!(origin, expected.parse::<IpAddr>().unwrap());
    }
}

/// The client writes everything before it reads, as many do.
#[tokio::test]
async fn an_early_refusal_is_seen_by_a_client_that_still_sends() {
    let gateway = Gateway::start(options(), |_| async { answer(401, "who are you") }).await;
    for size in [1, 10_000, 300_000, 3_000_000] {
        let mut request =
            format!("POST / HTTP/1.1\r\nhost: a\r\ncontent-length: {size}\r\n\r\n").into_bytes();
        request.resize(request.len() + size - 1, b'x');
        let bytes = gateway.talk(request).await;
        let answer = text(&bytes);
        assert_eq!(status(&bytes), 401, "{size}");
        assert_eq!(header(&answer, "connection"), Some("close"), "{size}");
        assert!(answer.ends_with("who are you"));
    }
}

#[tokio::test]
async fn a_small_unread_body_costs_no_connection() {
    let gateway = Gateway::start(options(), |_| async { answer(401, "who are you") }).await;
    let mut client = gateway.connect().await;
    for _ in 0..3 {
        client
            .send("POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 5\r\n\r\nhello")
            .await;
        let answer = client.read_until("who are you").await;
        assert_eq!(header(&answer, "connection"), None);
    }
}

#[tokio::test]
async fn expect_is_met_only_when_the_body_is_wanted() {
    let gateway = Gateway::start(options(), |inbound: Inbound| async {
        match inbound.head.uri.path() {
            "/read" => echo(inbound).await,
            _ => answer(401, "no"),
        }
    })
    .await;
    let request = |path| {
        format!(
            "POST {path} HTTP/1.1\r\nhost: a\r\nexpect: 100-Continue\r\ncontent-length: 5\r\n\r\n"
        )
    };
    let mut client = gateway.connect().await;
    client.send(request("/read")).await;
    client.read_until("HTTP/1.1 100 Continue\r\n\r\n").await;
    client.send("hello").await;
    client.read_until("/read 5").await;

    let bytes = gateway.talk(request("/refuse")).await;
    assert_eq!(status(&bytes), 401);
    assert_eq!(count_answers(&bytes), 1);
}
