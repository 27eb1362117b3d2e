use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use bytes::Bytes;
use http_body::Body;
use ostia_core::{Phase, Secret};
use tokio::sync::mpsc;

use super::super::{BodyError, FailureKind, FetchError};
use super::backend::{Backend, header};
use super::{OK, call, client, fail, outgoing, plain, read, send, soon, target};
use crate::catalog::{Origin, Proxy, Scheme};

#[tokio::test]
async fn the_request_arrives_as_it_was_made() {
    let (requests, mut seen) = mpsc::unbounded_channel();
    let backend = Backend::start(move |_, mut peer| {
        let requests = requests.clone();
        async move {
            requests.send(peer.request().await.unwrap()).unwrap();
            peer.send("HTTP/1.1 201 Made\r\nx-a: 1\r\nx-a: 2\r\ncontent-length: 3\r\n\r\nabc")
                .await;
        }
    })
    .await;
    let client = client(&plain(&backend));
    let mut phases = Vec::new();
    let request = outgoing(&["{\"a\"", "", ":1}"]);
    let answer = soon(client.send(request, &mut |phase| phases.push(phase)))
        .await
        .unwrap();
    assert_eq!(answer.head.status, 201);
    assert_eq!(answer.head.headers.get_all("x-a").iter().count(), 2);
    assert_eq!(answer.sends, 1);
    assert_eq!(read(answer.body).await.unwrap(), "abc");
    assert_eq!(phases, [Phase::Connecting, Phase::WaitingHeaders]);

    let request = seen.recv().await.unwrap();
    assert!(
        request
            .head
            .starts_with("POST /v1/chat/completions HTTP/1.1\r\n")
    );
    assert_eq!(request.body, b"{\"a\":1}");
    let host = format!("127.0.0.1:{}", backend.port);
    assert_eq!(header(&request.head, "host"), Some(&*host));
    assert_eq!(header(&request.head, "content-length"), Some("7"));
    assert_eq!(
        header(&request.head, "content-type"),
        Some("application/json")
    );
    assert_eq!(header(&request.head, "transfer-encoding"), None);
}

#[tokio::test]
async fn a_body_of_eight_megabytes_in_three_pieces_arrives_whole() {
    let (requests, mut seen) = mpsc::unbounded_channel();
    let backend = Backend::start(move |_, mut peer| {
        let requests = requests.clone();
        async move {
            requests.send(peer.request().await.unwrap()).unwrap();
            peer.send(OK).await;
            peer.gone().await;
        }
    })
    .await;
    let whole: Bytes = (0..8_388_608u32)
        .map(|i| (i.wrapping_mul(2_654_435_761) >> 24) as u8)
        .collect();
    let mut request = outgoing(&[]);
    request.body = vec![
        whole.slice(..7),
        whole.slice(7..8_000_000),
        whole.slice(8_000_000..),
    ];
    let client = client(&plain(&backend));
    let answer = soon(client.send(request, &mut |_| {})).await.unwrap();
    assert_eq!(read(answer.body).await.unwrap(), "ok");
    assert!(seen.recv().await.unwrap().body == whole);
    assert_eq!(client.stats().idle, 1);
}

#[tokio::test]
async fn an_early_answer_is_not_lost_and_its_connection_not_reused() {
    let backend = Backend::start(|_, mut peer| async move {
        peer.head().await;
        peer.send("HTTP/1.1 413 Too Big\r\ncontent-length: 3\r\n\r\nbig")
            .await;
        // Closes with most of the request unread, so the gateway's next writes fail.
    })
    .await;
    for _ in 0..20 {
        let client = client(&plain(&backend));
        let mut request = outgoing(&[]);
        request.body = vec![Bytes::from(vec![b'x'; 4_000_000])];
        let answer = soon(client.send(request, &mut |_| {})).await.unwrap();
        assert_eq!(answer.head.status, 413);
        assert_eq!(read(answer.body).await.unwrap(), "big");
        assert_eq!(client.stats().idle, 0);
        assert_eq!(client.stats().in_use, 0);
    }
}

#[tokio::test]
async fn an_answer_to_a_request_that_nobody_reads_on_passes_and_the_connection_ends() {
    let backend = Backend::start(|_, mut peer| async move {
        peer.head().await;
        peer.send("HTTP/1.1 413 Too Big\r\ncontent-length: 3\r\n\r\nbig")
            .await;
        std::future::pending::<()>().await;
    })
    .await;
    let client = client(&plain(&backend));
    let mut request = outgoing(&[]);
    request.body = vec![Bytes::from(vec![b'x'; 32_000_000])];
    let answer = soon(client.send(request, &mut |_| {})).await.unwrap();
    assert_eq!(read(answer.body).await.unwrap(), "big");
    assert_eq!((client.stats().open, client.stats().in_use), (0, 0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn long_streams_arrive_whole_however_they_are_cut() {
    let backend = Backend::start(|number, mut peer| async move {
        while peer.request().await.is_some() {
            peer.send("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n")
                .await;
            for step in 0..1_000 {
                let chunk = format!("data: {step}\n\n");
                let framed = format!("{:x}\r\n{chunk}\r\n", chunk.len());
                let (first, second) = framed.split_at((step * 7 + number) % framed.len());
                peer.send(first).await;
                if step % 3 == 0 {
                    tokio::task::yield_now().await;
                }
                peer.send(second).await;
            }
            peer.send("0\r\n\r\n").await;
        }
    })
    .await;
    let wanted: String = (0..1_000).map(|step| format!("data: {step}\n\n")).collect();
    let client = Arc::new(client(&plain(&backend)));
    let readers = (0..8).map(|_| {
        let client = Arc::clone(&client);
        crate::runtime::spawn(async move { (call(&client).await.1, call(&client).await.1) })
    });
    for reader in readers.collect::<Vec<_>>() {
        let (first, second) = soon(reader).await.unwrap();
        assert!(first == wanted && second == wanted);
    }
    assert_eq!(client.stats().in_use, 0);
    assert!(backend.accepted() <= 8);
}

#[tokio::test]
async fn interim_answers_are_swallowed() {
    let backend = Backend::answering(
        "HTTP/1.1 103 Early Hints\r\nlink: </a>\r\n\r\nHTTP/1.1 100 Continue\r\n\r\n\
         HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok",
    )
    .await;
    let client = client(&plain(&backend));
    assert_eq!(soon(call(&client)).await, (200, "ok".into(), 1));
    assert_eq!(soon(call(&client)).await, (200, "ok".into(), 1));
    assert_eq!(backend.accepted(), 1);
}

#[tokio::test]
async fn an_unasked_101_is_no_answer() {
    let backend = Backend::answering(
        "HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: x\r\n\r\n",
    )
    .await;
    let client = client(&plain(&backend));
    let (failure, _) = soon(fail(&client, outgoing(&["{}"]))).await;
    assert_eq!(failure.kind, FailureKind::Invalid);
    assert!(!failure.retry_safe);
    assert_eq!(client.stats().open, 0);
}

#[tokio::test]
async fn what_is_not_http_is_invalid() {
    let many = format!("HTTP/1.1 200 OK\r\n{}\r\n", "a: b\r\n".repeat(500));
    for answer in [
        "SSH-2.0-OpenSSH_9.2\r\n".to_owned(),
        "HTTP/1.1 200 OK\r\ncontent-length: x\r\n\r\n".to_owned(),
        "HTTP/1.1 200 OK\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\n".to_owned(),
        many,
    ] {
        let backend = Backend::answering(answer.leak()).await;
        let client = client(&plain(&backend));
        let (failure, _) = soon(fail(&client, outgoing(&["{}"]))).await;
        assert_eq!(failure.kind, FailureKind::Invalid, "{}", failure.detail);
        assert!(failure.sends > 0 && !failure.retry_safe);
        assert_eq!(failure.phase, Phase::WaitingHeaders);
        assert_eq!(client.stats().open, 0);
    }
}

#[tokio::test]
async fn heads_without_end_and_ten_thousand_interim_answers_are_cut_off() {
    for (first, again) in [
        ("HTTP/1.1 200 OK\r\n", "x-header: and another one\r\n"),
        (
            "HTTP/1.1 200 OK\r\nx: ",
            "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
        ),
        ("", "HTTP/1.1 100 Continue\r\n\r\n"),
    ] {
        let backend = Backend::start(move |_, mut peer| async move {
            peer.request().await;
            let block = again.repeat(10_000);
            peer.send(format!("{first}{block}HTTP/1.1 200 OK\r\n\r\n"))
                .await;
            peer.gone().await;
        })
        .await;
        let client = client(&plain(&backend));
        let (failure, _) = soon(fail(&client, outgoing(&["{}"]))).await;
        assert_eq!(failure.kind, FailureKind::Invalid, "{}", failure.detail);
        assert_eq!(client.stats().open, 0);
    }
}

#[tokio::test]
async fn refused_is_unreachable_and_safe_to_retry() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    drop(listener);
    let client = client(&target(Scheme::Http, "127.0.0.1", port));
    let (failure, phases) = soon(fail(&client, outgoing(&["{}"]))).await;
    assert_eq!(failure.kind, FailureKind::Unreachable);
    assert_eq!(failure.phase, Phase::Connecting);
    assert!(failure.sends == 0 && failure.retry_safe);
    assert_eq!(failure.sends, 0);
    assert_eq!(phases, [Phase::Connecting]);
}

#[tokio::test]
async fn a_fresh_connection_that_is_closed_is_not_tried_again() {
    let requests = Arc::new(AtomicU32::new(0));
    let count = Arc::clone(&requests);
    let backend = Backend::start(move |_, mut peer| {
        let count = Arc::clone(&count);
        async move {
            peer.request().await;
            count.fetch_add(1, Ordering::SeqCst);
        }
    })
    .await;
    let client = client(&plain(&backend));
    let (failure, phases) = soon(fail(&client, outgoing(&["{}"]))).await;
    assert_eq!(failure.kind, FailureKind::Closed);
    assert!(failure.sends > 0 && !failure.retry_safe);
    assert_eq!(failure.sends, 1);
    assert_eq!(phases, [Phase::Connecting, Phase::WaitingHeaders]);
    assert_eq!(requests.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn a_backend_that_never_answers_times_out_and_loses_its_connection() {
    let (ends, mut ended) = mpsc::unbounded_channel();
    let backend = Backend::start(move |_, mut peer| {
        let ends = ends.clone();
        async move {
            peer.request().await;
            peer.gone().await;
            ends.send(()).unwrap();
        }
    })
    .await;
    let client = client(&plain(&backend));
    let mut request = outgoing(&["{}"]);
    request.timeouts.response_header = Some(Duration::from_millis(30));
    let (failure, phases) = soon(fail(&client, request)).await;
    assert_eq!(failure.kind, FailureKind::Timeout);
    assert_eq!(failure.phase, Phase::WaitingHeaders);
    assert!(failure.sends > 0 && !failure.retry_safe);
    assert_eq!(phases, [Phase::Connecting, Phase::WaitingHeaders]);
    soon(ended.recv()).await.unwrap();
    assert_eq!(
        client.stats(),
        super::super::Stats {
            opened_total: 1,
            ..Default::default()
        }
    );
}

#[tokio::test]
async fn cut_and_broken_bodies_are_told_apart_from_whole_ones() {
    let chunked = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n";
    let cases = [
        (
            "HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nok".to_owned(),
            Err(BodyError::Closed),
        ),
        (format!("{chunked}2\r\nok\r\n"), Err(BodyError::Closed)),
        (format!("{chunked}2\r\no"), Err(BodyError::Closed)),
        (format!("{chunked}2\r\nok\r\n0\r\n"), Err(BodyError::Closed)),
        (
            format!("{chunked}2\r\nok\r\nzz\r\n"),
            Err(BodyError::Invalid),
        ),
        (format!("{chunked}2\r\nokay\r\n"), Err(BodyError::Invalid)),
        (format!("{chunked}2\r\nok\r\n0\r\n\r\n"), Ok("ok")),
        (
            format!("{chunked}2\r\nok\r\n0\r\nx-trailer: y\r\n\r\n"),
            Ok("ok"),
        ),
        ("HTTP/1.1 200 OK\r\n\r\nok".to_owned(), Ok("ok")),
        (
            "HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 2\r\n\r\nok".to_owned(),
            Ok("ok"),
        ),
        (
            format!(
                "{}2\r\nok\r\n0\r\n\r\n",
                chunked.replace("\r\n\r\n", "\r\nconnection: close\r\n\r\n")
            ),
            Ok("ok"),
        ),
        ("HTTP/1.0 200 OK\r\n\r\nok".to_owned(), Ok("ok")),
        ("HTTP/1.1 204 No Content\r\n\r\n".to_owned(), Ok("")),
    ];
    for (answer, wanted) in cases {
        let answer: &'static str = answer.leak();
        let backend = Backend::start(move |_, mut peer| async move {
            peer.request().await;
            peer.send(answer).await;
        })
        .await;
        let client = client(&plain(&backend));
        let got = read(soon(send(&client)).await.unwrap().body).await;
        assert_eq!(got, wanted.map(Bytes::from), "{answer}");
        assert_eq!(client.stats().in_use, 0);
    }
}

#[tokio::test]
async fn length_beside_chunks_is_dropped_and_the_connection_with_it() {
    let backend = Backend::answering(
        "HTTP/1.1 200 OK\r\ncontent-length: 99\r\ntransfer-encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n",
    )
    .await;
    let client = client(&plain(&backend));
    for _ in 0..2 {
        let answer = soon(send(&client)).await.unwrap();
        assert!(!answer.head.headers.contains_key("content-length"));
        assert_eq!(read(answer.body).await.unwrap(), "ok");
    }
    assert_eq!(backend.accepted(), 2);
}

#[tokio::test]
async fn the_end_is_known_with_the_last_frame_where_a_length_was_announced() {
    let backend = Backend::answering(OK).await;
    let client = client(&plain(&backend));
    let mut body = soon(send(&client)).await.unwrap().body;
    assert_eq!(body.size_hint().exact(), Some(2));
    let frame = http_body_util::BodyExt::frame(&mut body)
        .await
        .unwrap()
        .unwrap();
    assert_eq!(frame.into_data().unwrap(), "ok");
    assert!(body.is_end_stream());
    assert_eq!(client.stats().idle, 1);
    assert_eq!(client.stats().in_use, 0);
}

#[tokio::test]
async fn an_address_in_brackets() {
    let backend = Backend::start_on("[::1]:0", |_, mut peer| async move {
        while let Some(request) = peer.request().await {
            assert!(header(&request.head, "host").unwrap().starts_with("[::1]:"));
            peer.send(OK).await;
        }
    })
    .await;
    let client = client(&target(Scheme::Http, "::1", backend.port));
    assert_eq!(soon(call(&client)).await.0, 200);
}

#[tokio::test]
async fn an_adapter_may_name_another_origin() {
    let (home, other) = (Backend::answering(OK).await, Backend::answering(OK).await);
    let client = client(&plain(&home));
    for _ in 0..3 {
        let mut request = outgoing(&["{}"]);
        request.origin = Some(Origin {
            scheme: Scheme::Http,
            host: "127.0.0.1".into(),
            port: other.port,
        });
        let answer = soon(client.send(request, &mut |_| {})).await.unwrap();
        read(answer.body).await.unwrap();
    }
    assert_eq!((home.accepted(), other.accepted()), (0, 1));
    assert_eq!(client.stats().idle, 1);
    client.sweep();
    assert_eq!(client.stats().idle, 1);
}

#[tokio::test]
async fn paths_that_no_request_line_can_hold_are_refused_before_anything_is_sent() {
    let backend = Backend::answering(OK).await;
    let client = client(&plain(&backend));
    let mut request = outgoing(&["{}"]);
    request.path_and_query = "/v1 x\r\n".to_owned();
    let (failure, _) = soon(fail(&client, request)).await;
    assert_eq!(failure.kind, FailureKind::Invalid);
    assert!(failure.sends == 0);
    assert_eq!(backend.accepted(), 0);
}

#[tokio::test]
async fn a_proxy_in_clear_sees_whole_urls() {
    let (heads, mut seen) = mpsc::unbounded_channel();
    let proxy = Backend::start(move |_, mut peer| {
        let heads = heads.clone();
        async move {
            while let Some(request) = peer.request().await {
                heads.send(request.head).unwrap();
                peer.send(OK).await;
            }
        }
    })
    .await;
    let mut target = target(Scheme::Http, "gpu.site", 8080);
    let url = format!("http://us%65r:secret@127.0.0.1:{}", proxy.port);
    target.proxy = Proxy::Url(Secret::new(url));
    let client = client(&target);
    for _ in 0..2 {
        assert_eq!(soon(call(&client)).await.0, 200);
        let head = seen.recv().await.unwrap();
        assert!(head.starts_with("POST http://gpu.site:8080/v1/chat/completions HTTP/1.1\r\n"));
        assert_eq!(header(&head, "host"), Some("gpu.site:8080"));
        assert_eq!(
            header(&head, "proxy-authorization"),
            Some("Basic dXNlcjpzZWNyZXQ=")
        );
    }
    assert_eq!(proxy.accepted(), 1);
}

#[tokio::test]
async fn small_questions() {
    let backend = Backend::start(|_, mut peer| async move {
        while let Some(request) = peer.request().await {
            let line = request.head.lines().next().unwrap().to_owned();
            assert_eq!(header(&request.head, "content-length"), None);
            let answer = match &*line {
                "GET /status?a=b HTTP/1.1" => "HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nfine",
                "GET /moved HTTP/1.1" => {
                    "HTTP/1.1 302 Found\r\nlocation: /status\r\ncontent-length: 0\r\n\r\n"
                }
                // gzip of "fine", in one stored block.
                "GET /zipped HTTP/1.1" => {
                    peer.send("HTTP/1.1 200 OK\r\ncontent-encoding: gzip\r\ncontent-length: 27\r\n\r\n").await;
                    peer.send(b"\x1f\x8b\x08\0\0\0\0\0\0\xff\x01\x04\0\xfb\xfffine\x92\x54\xa9\xbe\x04\0\0\0").await;
                    continue;
                }
                "GET /odd HTTP/1.1" => {
                    "HTTP/1.1 200 OK\r\ncontent-encoding: sdch\r\ncontent-length: 4\r\n\r\nfine"
                }
                "GET /cut HTTP/1.1" => "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nx\r\n",
                _ => panic!("{line}"),
            };
            peer.send(answer).await;
        }
    })
    .await;
    let client = client(&plain(&backend));
    let get = |path: &'static str, limit| soon(client.get(path, Default::default(), limit));
    assert_eq!(
        get("/status?a=b", 4).await.unwrap(),
        (http::StatusCode::OK, "fine".into())
    );
    assert!(matches!(
        get("/status?a=b", 3).await,
        Err(FetchError::TooLarge(3))
    ));
    assert_eq!(get("/zipped", 27).await.unwrap().1, "fine");
    assert!(matches!(get("/odd", 9).await, Err(FetchError::Coding)));
    assert_eq!(get("/moved", 9).await.unwrap().0, 302);
    assert!(matches!(
        get("/cut", 9).await,
        Err(FetchError::Broken(BodyError::Invalid))
    ));
    assert!(matches!(get("status", 9).await, Err(FetchError::Failed(_))));
}
