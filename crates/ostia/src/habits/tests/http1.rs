//! HTTP/1 from clients.

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed};
use std::task::Poll;

use bytes::Bytes;
use http::header::CONTENT_LENGTH;
use http::{HeaderMap, Request, Response, StatusCode};
use http_body::Body;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::server::conn::http1::Builder;
use hyper::service::service_fn;
use parking_lot::Mutex;

use super::super::{
    UntilTaken, flushed_next, may_hide_a_length, own_answer, seen_at_next_poll,
    unread_body_noticed, without_head_timer,
};
use super::{Broken, Call, Polled, Socket, data, poll, script};

const GET: &str = "GET / HTTP/1.1\r\nhost: a\r\n\r\n";

type Connection = Pin<Box<dyn Future<Output = hyper::Result<()>>>>;

fn serve<F, A, B>(socket: &Socket, act: F) -> Connection
where
    F: Fn(Request<Incoming>) -> A + 'static,
    A: Future<Output = Response<B>> + 'static,
    B: Body<Data = Bytes, Error: std::error::Error + Send + Sync> + 'static,
{
    serve_with(&Builder::new(), socket, act)
}

fn serve_with<F, A, B>(builder: &Builder, socket: &Socket, act: F) -> Connection
where
    F: Fn(Request<Incoming>) -> A + 'static,
    A: Future<Output = Response<B>> + 'static,
    B: Body<Data = Bytes, Error: std::error::Error + Send + Sync> + 'static,
{
    let service = service_fn(move |request| {
        let answering = act(request);
        async { Ok::<_, Infallible>(answering.await) }
    });
    Box::pin(builder.serve_connection(socket.io(), service))
}

fn empty(status: u16) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::default());
    *response.status_mut() = StatusCode::from_u16(status).unwrap();
    response
}

async fn ok(_: Request<Incoming>) -> Response<Full<Bytes>> {
    empty(200)
}

#[test]
fn the_flush_behind_a_pending_body_finds_all_that_it_yielded_with_the_socket() {
    for room in [None, Some(10)] {
        let socket = Socket::default();
        socket.set_room(room);
        socket.say(GET);
        let noting = socket.clone();
        let mut connection = serve(&socket, move |_| {
            let (noting, mut polls) = (noting.clone(), 0);
            let body = script(move || {
                polls += 1;
                if polls <= 3 {
                    return data("some text");
                }
                noting.note("pending");
                flushed_next()
            });
            async { Response::new(body) }
        });
        let flushed = || {
            let mut calls = socket.calls().into_iter();
            calls.find(|call| *call == Call::Note("pending"))?;
            calls.find_map(|call| match call {
                Call::Flush(written) => Some(written),
                _ => None,
            })
        };
        assert!(poll(&mut connection).is_pending());
        if room.is_some() {
            assert_eq!((socket.written_bytes(), flushed()), (10, None));
            socket.set_room(None);
            assert!(poll(&mut connection).is_pending());
        }
        let written = socket.written();
        assert_eq!(written.matches("9\r\nsome text\r\n").count(), 3);
        assert_eq!(flushed(), Some(written.len()));
    }
}

/// Why a body that must break returns `Pending`.
#[test]
fn a_body_that_fails_takes_the_head_with_it() {
    let socket = Socket::default();
    socket.say(GET);
    let mut connection = serve(&socket, |_| {
        let mut polls = 0;
        let body = script(move || {
            polls += 1;
            match polls {
                1 => data("some text"),
                _ => Poll::Ready(Some(Err(Broken))),
            }
        });
        async { Response::new(body) }
    });
    assert!(matches!(poll(&mut connection), Poll::Ready(Err(_))));
    assert_eq!(socket.written(), "");
}

#[test]
fn an_unread_body_is_noticed_one_turn_later() {
    // Whether the response waits, how much of the body arrives, and whether the response head says "close".
    const LENGTH: usize = 12_000;
    for (waits, sent, closes) in [(true, LENGTH, false), (true, 2, true), (false, 2, false)] {
        let socket = Socket::default();
        socket.say(format!(
            "POST / HTTP/1.1\r\nhost: a\r\ncontent-length: {LENGTH}\r\n\r\n{}",
            "x".repeat(sent)
        ));
        let mut connection = serve(&socket, move |request| async move {
            drop(request);
            if waits {
                unread_body_noticed().await;
            }
            empty(400)
        });
        let _ = poll(&mut connection);
        let _ = poll(&mut connection);
        let answer = socket.written();
        assert!(answer.starts_with("HTTP/1.1 400 "), "{answer}");
        assert_eq!(answer.contains("connection: close"), closes, "{answer}");
    }
}

#[test]
fn hypers_own_answer_is_one_write_of_its_own() {
    let long = format!("GET /{} HTTP/1.1\r\n\r\n", "x".repeat(70_000));
    let many = format!("GET / HTTP/1.1\r\n{}\r\n", "a: b\r\n".repeat(200));
    let cases = [
        ("GET / HTTP/1.1\r\nno header\r\n\r\n", "HTTP/1.1 400 "),
        (&long, "HTTP/1.1 414 "),
        (&many, "HTTP/1.1 431 "),
    ];
    for (head, status) in cases {
        for answered_before in [0, 1] {
            let socket = Socket::default();
            let mut connection = serve(&socket, ok);
            if answered_before > 0 {
                socket.say(GET);
                assert!(poll(&mut connection).is_pending());
            }
            socket.say(head);
            assert!(poll(&mut connection).is_ready());
            let writes = socket.writes();
            assert_eq!(writes.len(), answered_before + 1, "{status}");
            let own = String::from_utf8(writes[answered_before].clone()).unwrap();
            assert!(
                own.starts_with(status) && own.ends_with("\r\n\r\n"),
                "{own}"
            );
            assert_eq!(own_answer(own.as_bytes()), own.find('\n').map(|at| at + 1));
            let slices = socket.calls().into_iter().find_map(|call| match call {
                Call::Write(slices, bytes) if bytes == own.as_bytes() => Some(slices),
                _ => None,
            });
            assert_eq!(slices, Some(1));
        }
    }
    assert_eq!(own_answer(b"0\r\n\r\n"), None);
    assert_eq!(own_answer(b"HTTP/1.1 200"), None);
}

fn noting_when_taken(socket: &Socket) -> UntilTaken<Socket> {
    UntilTaken(Arc::new(socket.clone()), |socket| socket.note("taken"))
}

#[test]
fn an_answer_is_let_go_of_before_it_is_flushed() {
    let socket = Socket::default();
    socket.set_room(Some(0));
    socket.say(GET);
    let noting = socket.clone();
    let mut connection = serve(&socket, move |_| {
        let (taken, mut text) = (noting_when_taken(&noting), Some("text"));
        let body = script(move || {
            let _held = &taken;
            text.take().map_or(Poll::Ready(None), data)
        });
        async { Response::new(body) }
    });
    assert!(poll(&mut connection).is_pending());
    let calls = socket.calls();
    assert_eq!(calls.last(), Some(&Call::Note("taken")), "{calls:?}");
    socket.set_room(None);
    assert!(poll(&mut connection).is_pending());
    let calls = socket.calls();
    assert!(matches!(calls.last(), Some(Call::Flush(_))), "{calls:?}");
    assert!(socket.written().ends_with("4\r\ntext\r\n0\r\n\r\n"));
}

#[test]
fn a_request_is_let_go_of_when_its_client_goes() {
    let socket = Socket::default();
    socket.say(GET);
    let noting = socket.clone();
    let mut connection = serve(&socket, move |_| {
        let taken = noting_when_taken(&noting);
        async move {
            std::future::pending::<()>().await;
            drop(taken);
            empty(200)
        }
    });
    assert!(poll(&mut connection).is_pending());
    assert!(!socket.calls().contains(&Call::Note("taken")));
    socket.end();
    assert!(poll(&mut connection).is_ready());
    drop(connection);
    assert!(socket.calls().contains(&Call::Note("taken")));
}

/// A gap: hyper looks for the client's close only while it holds no other bytes of the client.
#[test]
fn behind_a_pipelined_request_the_clients_end_is_not_seen() {
    let socket = Socket::default();
    socket.say(format!("{GET}{GET}"));
    socket.end();
    let mut connection = serve(&socket, |_| std::future::pending::<Response<Full<Bytes>>>());
    assert!(poll(&mut connection).is_pending());
    assert!(poll(&mut connection).is_pending());
}

#[test]
fn each_poll_of_a_connection_polls_its_request_and_its_body() {
    let is_over = Arc::<AtomicBool>::default();
    let polls = Arc::<AtomicUsize>::default();
    let socket = Socket::default();
    socket.say(GET);
    let (seen, counted) = (Arc::clone(&is_over), Arc::clone(&polls));
    let mut connection = serve(&socket, move |_| {
        let (seen, counted) = (Arc::clone(&seen), Arc::clone(&counted));
        async move {
            seen_at_next_poll(|| seen.load(Relaxed)).await;
            Response::new(script(move || -> Polled {
                counted.fetch_add(1, Relaxed);
                Poll::Pending
            }))
        }
    });
    assert!(poll(&mut connection).is_pending());
    assert_eq!(socket.written(), "");
    is_over.store(true, Relaxed);
    assert!(poll(&mut connection).is_pending());
    assert!(socket.written().starts_with("HTTP/1.1 200 "));
    for _ in 0..3 {
        let before = polls.load(Relaxed);
        assert!(poll(&mut connection).is_pending());
        assert!(polls.load(Relaxed) > before);
    }
}

#[test]
fn a_body_is_not_asked_while_the_buffer_is_full() {
    const FRAMES: usize = 100;
    let polls = Arc::<AtomicUsize>::default();
    let socket = Socket::default();
    socket.set_room(Some(0));
    socket.say(GET);
    let counted = Arc::clone(&polls);
    let mut connection = serve(&socket, move |_| {
        let counted = Arc::clone(&counted);
        let body = script(move || match counted.fetch_add(1, Relaxed) {
            0..FRAMES => data("some text"),
            _ => Poll::Ready(None),
        });
        async { Response::new(body) }
    });
    assert!(poll(&mut connection).is_pending());
    let asked = polls.load(Relaxed);
    assert!(asked < FRAMES);
    assert!(poll(&mut connection).is_pending());
    assert_eq!(polls.load(Relaxed), asked);
    socket.set_room(None);
    assert!(poll(&mut connection).is_pending());
    assert_eq!(polls.load(Relaxed), FRAMES + 1);
}

/// Between two requests and in the middle of a head: the socket below may end the wait at any time.
#[test]
fn the_end_of_what_can_be_read_ends_the_wait_for_a_head_without_an_answer() {
    for begun in ["", "GET / HT"] {
        let mut builder = Builder::new();
        without_head_timer(&mut builder);
        let socket = Socket::default();
        let mut connection = serve_with(&builder, &socket, ok);
        socket.say(GET);
        assert!(poll(&mut connection).is_pending());
        let answered = socket.written();
        assert!(answered.starts_with("HTTP/1.1 200 "));
        // No bytes at all would be the end.
        if !begun.is_empty() {
            socket.say(begun);
        }
        assert!(poll(&mut connection).is_pending());
        socket.end();
        assert!(poll(&mut connection).is_ready(), "{begun:?}");
        assert_eq!(socket.written(), answered, "{begun:?}");
    }
}

#[test]
fn a_length_beside_chunks_is_gone_before_a_handler_sees_the_head() {
    for lengths in [
        "content-length: 3\r\ntransfer-encoding: chunked\r\n",
        "transfer-encoding: chunked\r\ncontent-length: 3\r\n",
    ] {
        let socket = Socket::default();
        socket.say(format!("POST / HTTP/1.1\r\nhost: a\r\n{lengths}\r\n"));
        socket.say("5\r\nhello\r\n0\r\n\r\n");
        let seen = Arc::new(Mutex::new((HeaderMap::new(), Bytes::new())));
        let kept = Arc::clone(&seen);
        let mut connection = serve(&socket, move |request| {
            let kept = Arc::clone(&kept);
            async move {
                let (head, body) = request.into_parts();
                let body = body.collect().await.unwrap().to_bytes();
                *kept.lock() = (head.headers, body);
                empty(200)
            }
        });
        let _ = poll(&mut connection);
        let _ = poll(&mut connection);
        let (headers, body) = &*seen.lock();
        assert!(may_hide_a_length(headers) && !headers.contains_key(CONTENT_LENGTH));
        assert_eq!(body, "hello");
        assert!(socket.written().starts_with("HTTP/1.1 200 "));
    }
    assert!(!may_hide_a_length(&HeaderMap::new()));
}
