//! Clients that are slow on purpose (R14), and clients that leave.

use std::time::Duration;

use bytes::Bytes;
use http::Response;
use http_body_util::BodyExt;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::mpsc;
use tokio::time::Instant;

use super::super::{Inbound, Options};
use super::{Gateway, Guard, TestBody, echo, next, options, text};

const SHORT: Duration = Duration::from_millis(200);

fn short_headers() -> Options {
    Options {
        header_timeout: SHORT,
        ..options()
    }
}

#[tokio::test]
async fn heads_have_to_come_in_time() {
    let gateway = Gateway::start(short_headers(), echo).await;
    for start in ["", "P", "PRI * HTTP/2.0\r\n", "GET / HTTP/1.1\r\nhost:"] {
        let begun = Instant::now();
        let mut client = gateway.connect().await;
        client.send(start).await;
        assert_eq!(text(&client.read_all().await), "", "{start:?}");
        assert!(begun.elapsed() >= SHORT, "{start:?}");
    }
}

/// Sending a byte now and then gains no time.
#[tokio::test]
async fn a_dripping_head_is_closed() {
    let gateway = Gateway::start(short_headers(), echo).await;
    let mut client = gateway.connect().await;
    let (mut read, mut write) = client.0.split();
    let dripping = async {
        loop {
            if write.write_all(b"G").await.is_err() {
                return;
            }
            tokio::time::sleep(SHORT / 8).await;
        }
    };
    let mut end = Vec::new();
    tokio::select! {
        () = dripping => {}
        _ = tokio::io::AsyncReadExt::read_to_end(&mut read, &mut end) => {}
    }
    gateway.until_none_is_open().await;
}

/// When the idle time is over, the client sees a clean close, and no bytes before it.
#[tokio::test]
async fn an_idle_connection_is_closed_after_its_answer() {
    let options = Options {
        idle_timeout: SHORT,
        announced_idle: Duration::from_secs(75),
        ..options()
    };
    let gateway = Gateway::start(options, echo).await;
    let mut client = gateway.connect().await;
    client.get("/").await;
    let head = client.read_until("/ 0").await;
    assert!(head.contains("\r\nkeep-alive: timeout=75\r\n"), "{head}");
    assert_eq!(text(&client.read_all().await), "");
}

/// A client that sends `Connection: close` gets no Keep-Alive header.
#[tokio::test]
async fn only_kept_connections_are_announced() {
    let options = Options {
        announced_idle: Duration::from_secs(30),
        ..options()
    };
    let gateway = Gateway::start(options, echo).await;
    for (more, told) in [("", true), ("connection: x, Close\r\n", false)] {
        let mut client = gateway.connect().await;
        client
            .send(format!("GET / HTTP/1.1\r\nhost: a\r\n{more}\r\n"))
            .await;
        let head = client.read_until("/ 0").await;
        assert_eq!(head.contains("keep-alive: timeout=30"), told, "{head}");
    }
}

/// The idle time and the time for a head are separate: each head is timed from its first byte on, however slowly it
/// trickles.
#[tokio::test]
async fn a_later_head_has_its_own_time() {
    let options = Options {
        header_timeout: SHORT,
        ..options()
    };
    let gateway = Gateway::start(options, echo).await;
    let mut client = gateway.connect().await;
    client.get("/").await;
    client.read_until("/ 0").await;
    // Idle for longer than a head may take.
    tokio::time::sleep(SHORT * 2).await;
    client.get("/").await;
    client.read_until("/ 0").await;
    let (mut read, mut write) = client.0.split();
    let dripping = async {
        while write.write_all(b"G").await.is_ok() {
            tokio::time::sleep(SHORT / 8).await;
        }
        std::future::pending::<()>().await;
    };
    let mut end = Vec::new();
    tokio::select! {
        () = dripping => {}
        _ = read.read_to_end(&mut end) => {}
    }
    assert_eq!(text(&end), "");
    gateway.until_none_is_open().await;
}

/// A client that is still sending a large body when it is refused reads the refusal once it has sent all of it.
#[tokio::test]
async fn a_refusal_in_the_middle_of_a_body_is_seen() {
    let gateway = Gateway::start(options(), |_: Inbound| async {
        super::answer(413, "too large")
    })
    .await;
    let mut client = gateway.connect().await;
    const LENGTH: usize = 8 << 20;
    client
        .send(format!(
            "POST / HTTP/1.1\r\nhost: a\r\ncontent-length: {LENGTH}\r\n\r\n"
        ))
        .await;
    // Nothing is read before everything is written, as simple clients do.
    let part = vec![b'x'; 64 << 10];
    for _ in 0..LENGTH / part.len() {
        client.0.write_all(&part).await.unwrap();
    }
    let seen = client.read_all().await;
    assert_eq!(super::status(&seen), 413);
    assert!(text(&seen).ends_with("too large"), "{}", text(&seen));
}

/// The header timer does not apply to bodies or responses.
#[tokio::test]
async fn a_slow_body_and_a_slow_answer_outlast_the_header_timeout() {
    let gateway = Gateway::start(short_headers(), |inbound: Inbound| async {
        let body = inbound.body.collect().await.unwrap().to_bytes();
        tokio::time::sleep(SHORT * 3).await;
        super::answer(200, format!("late {}", body.len()))
    })
    .await;
    let mut client = gateway.connect().await;
    client
        .send("POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 5\r\n\r\nhe")
        .await;
    tokio::time::sleep(SHORT * 3).await;
    client.send("llo").await;
    client.read_until("late 5").await;
}

#[tokio::test]
async fn who_reads_nothing_is_closed() {
    let options = Options {
        write_idle_timeout: SHORT,
        ..options()
    };
    let (dropped, mut drops) = mpsc::unbounded_channel();
    let gateway = Gateway::start(options, move |_: Inbound| {
        let body = TestBody::endless(Bytes::from_static(&[b'x'; 50_000])).telling(dropped.clone());
        async { Response::new(body) }
    })
    .await;
    let mut client = gateway.connect().await;
    client.get("/").await;
    next(&mut drops).await;
    gateway.until_none_is_open().await;
}

#[tokio::test]
async fn who_reads_a_little_now_and_then_is_closed_when_the_answers_time_is_over() {
    let (dropped, mut drops) = mpsc::unbounded_channel();
    let gateway = Gateway::start(options(), move |inbound: Inbound| {
        inbound.wire.end_within(Some(SHORT));
        let body = TestBody::endless(Bytes::from_static(&[b'x'; 50_000])).telling(dropped.clone());
        async { Response::new(body) }
    })
    .await;
    let mut client = gateway.connect().await;
    client.get("/").await;
    let sipping = async {
        let mut part = [0; 64 * 1024];
        while client.0.read(&mut part).await.is_ok_and(|read| read > 0) {
            tokio::time::sleep(SHORT / 8).await;
        }
        std::future::pending::<()>().await;
    };
    tokio::select! {
        () = sipping => {}
        () = next(&mut drops) => {}
    }
    gateway.until_none_is_open().await;
}

#[tokio::test]
async fn the_time_of_one_answer_is_not_the_next_ones() {
    const SIZE: usize = 20 << 20;
    let gateway = Gateway::start(options(), |inbound: Inbound| async move {
        if inbound.head.uri.path() == "/big" {
            return super::answer(200, vec![b'x'; SIZE]);
        }
        inbound.wire.end_within(Some(SHORT));
        super::answer(200, "small")
    })
    .await;
    let mut client = gateway.connect().await;
    client.get("/small").await;
    client.read_until("small").await;
    client
        .send("GET /big HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n")
        .await;
    tokio::time::sleep(SHORT * 2).await;
    assert!(client.read_all().await.len() > SIZE);
}

/// A pause in the response body is not the client's fault.
#[tokio::test]
async fn a_silent_body_is_no_write_stall() {
    let options = Options {
        write_idle_timeout: SHORT,
        ..options()
    };
    let (more, rest) = mpsc::unbounded_channel::<Bytes>();
    let rest = std::sync::Mutex::new(Some(rest));
    let gateway = Gateway::start(options, move |_: Inbound| {
        let mut rest = rest.lock().unwrap().take().unwrap();
        let body = TestBody::new(move |cx| {
            rest.poll_recv(cx)
                .map(|data| data.map(|data| Ok(http_body::Frame::data(data))))
        });
        async { Response::new(body) }
    })
    .await;
    let mut client = gateway.connect().await;
    client.get("/").await;
    more.send(Bytes::from_static(b"first")).unwrap();
    client.read_until("first").await;
    tokio::time::sleep(SHORT * 3).await;
    more.send(Bytes::from_static(b"second")).unwrap();
    client.read_until("second").await;
    drop(more);
    client.read_until("0\r\n\r\n").await;
}

#[tokio::test]
async fn a_client_that_goes_takes_its_request_along() {
    let (started, mut starts) = mpsc::unbounded_channel();
    let (dropped, mut drops) = mpsc::unbounded_channel();
    let gateway = Gateway::start(options(), move |_: Inbound| {
        started.send(()).ok();
        let guard = Guard(dropped.clone());
        async move {
            std::future::pending::<()>().await;
            drop(guard);
            super::answer(200, "")
        }
    })
    .await;
    for is_half_close in [false, true] {
        let mut client = gateway.connect().await;
        client.get("/").await;
        next(&mut starts).await;
        if is_half_close {
            client.0.shutdown().await.unwrap();
            next(&mut drops).await;
        } else {
            drop(client);
            next(&mut drops).await;
        }
    }
    gateway.until_none_is_open().await;
}

#[tokio::test]
async fn a_client_that_goes_drops_the_answers_body() {
    let (dropped, mut drops) = mpsc::unbounded_channel();
    let gateway = Gateway::start(options(), move |_: Inbound| {
        let body = TestBody::silent().telling(dropped.clone());
        async { Response::new(body) }
    })
    .await;
    let mut client = gateway.connect().await;
    client.get("/").await;
    client.read_until("\r\n\r\n").await;
    drop(client);
    next(&mut drops).await;
    gateway.until_none_is_open().await;
}
