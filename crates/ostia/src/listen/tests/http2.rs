//! HTTP/2, with hyper's client.

use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response, StatusCode, Version};
use http_body::Frame;
use http_body_util::{BodyExt, Full};
use hyper::client::conn::http2::{Builder, SendRequest};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::timeout;

use super::super::{Inbound, Options};
use super::broken::{WAYS, breaking};
use super::{Gateway, PATIENCE, TestBody, answer, echo, next, options};
use crate::runtime;

const SHORT: Duration = Duration::from_millis(200);

pub(super) struct Http2Client {
    requests: SendRequest<Full<Bytes>>,
    conn: JoinHandle<hyper::Result<()>>,
}

impl Http2Client {
    pub(super) async fn connect(gateway: &Gateway, window: u32) -> Self {
        let socket = TcpStream::connect(gateway.address).await.unwrap();
        let (requests, conn) = Builder::new(TokioExecutor::new())
            .initial_stream_window_size(window)
            .initial_connection_window_size(window.max(65_535))
            .handshake(TokioIo::new(socket))
            .await
            .unwrap();
        Self {
            requests,
            conn: runtime::spawn(conn),
        }
    }

    async fn send(
        &mut self,
        request: http::request::Builder,
        body: &str,
    ) -> hyper::Result<Response<hyper::body::Incoming>> {
        let body = Full::new(Bytes::copy_from_slice(body.as_bytes()));
        let sending = self.requests.send_request(request.body(body).unwrap());
        timeout(PATIENCE, sending).await.unwrap()
    }

    pub(super) async fn get(&mut self, path: &str) -> Response<hyper::body::Incoming> {
        self.send(Request::get(format!("http://a{path}")), "")
            .await
            .unwrap()
    }

    async fn closed(self) {
        timeout(PATIENCE, self.conn).await.unwrap().unwrap().ok();
    }
}

#[tokio::test]
async fn prior_knowledge_is_understood() {
    let gateway = Gateway::start(options(), |inbound: Inbound| async {
        assert_eq!(inbound.head.version, Version::HTTP_2);
        assert_eq!(inbound.head.uri.authority().unwrap(), "a");
        echo(inbound).await
    })
    .await;
    let mut client = Http2Client::connect(&gateway, 65_535).await;
    let response = client
        .send(
            Request::post("http://a/v1").header("x-request-id", "mine"),
            "hello",
        )
        .await
        .unwrap();
    assert!(response.headers().contains_key("x-request-id"));
    assert_eq!(response.headers()["x-client-request-id"], "mine");
    assert!(!response.headers().contains_key("connection"));
    let body = response.into_body().collect().await.unwrap().to_bytes();
    assert_eq!(body, "/v1 5");
}

#[tokio::test]
async fn a_bad_request_leaves_the_other_streams_alone() {
    let gateway = Gateway::start(options(), echo).await;
    let mut client = Http2Client::connect(&gateway, 65_535).await;
    let differing = Request::get("http://a/").header("host", "b");
    let response = client.send(differing, "").await.unwrap();
    assert_eq!(response.status(), StatusCode::BAD_REQUEST);
    assert!(response.headers().contains_key("x-request-id"));
    let same = Request::get("http://a/").header("host", "a");
    let response = client.send(same, "").await.unwrap();
    assert_eq!(response.status(), StatusCode::OK);
    let trace = Request::builder().method("TRACE").uri("http://a/");
    let response = client.send(trace, "").await.unwrap();
    assert_eq!(response.status(), StatusCode::METHOD_NOT_ALLOWED);
    assert_eq!(client.get("/").await.status(), StatusCode::OK);
}

#[tokio::test]
async fn a_cut_resets_the_stream_after_everything_yielded() {
    for way in WAYS {
        let gateway = Gateway::start(options(), move |inbound: Inbound| async move {
            match inbound.head.uri.path() {
                "/cut" => Response::new(breaking(inbound.wire, way, 3, 10_000)),
                _ => echo(inbound).await,
            }
        })
        .await;
        let mut client = Http2Client::connect(&gateway, 1 << 20).await;
        for _ in 0..50 {
            check_cut(client.get("/cut").await, 30_020).await;
        }
        assert_eq!(client.get("/").await.status(), StatusCode::OK);
    }
}

/// The peer's window ends inside the last frame, and the peer is slow to open it.
#[tokio::test]
async fn a_marked_end_is_not_lost_behind_a_small_window() {
    let gateway = Gateway::start(options(), |inbound: Inbound| async {
        let way = super::broken::Breaking::WithTheLastFrame;
        Response::new(breaking(inbound.wire, way, 3, 9998))
    })
    .await;
    let mut client = Http2Client::connect(&gateway, 1000).await;
    for _ in 0..3 {
        let response = client.get("/").await;
        check_cut_with_pause(response, 29_000, 30_014).await;
    }
}

async fn check_cut(response: Response<hyper::body::Incoming>, expected: usize) {
    check_cut_with_pause(response, usize::MAX, expected).await;
}

/// Pauses after this many bytes, for longer than the listener would wait if it did not know the end.
async fn check_cut_with_pause(
    response: Response<hyper::body::Incoming>,
    mut pause_at: usize,
    expected: usize,
) {
    let mut body = response.into_body();
    let mut data = Vec::new();
    let error = loop {
        match timeout(PATIENCE, body.frame()).await.unwrap() {
            Some(Ok(frame)) => {
                data.extend_from_slice(&frame.into_data().unwrap());
                if data.len() >= pause_at {
                    pause_at = usize::MAX;
                    tokio::time::sleep(SHORT).await;
                }
            }
            Some(Err(error)) => break Some(error),
            None => break None,
        }
    };
    assert!(error.is_some(), "a clean end");
    assert_eq!(data.len(), expected);
    assert!(data.ends_with(b"data: {\"error\":{}}\n\n"));
}

#[tokio::test]
async fn a_stream_whose_window_stays_shut_ends() {
    let options = Options {
        write_idle_timeout: SHORT,
        ..options()
    };
    let (dropped, mut drops) = mpsc::unbounded_channel();
    let gateway = Gateway::start(options, move |inbound: Inbound| {
        let dropped = dropped.clone();
        async move {
            match inbound.head.uri.path() {
                "/endless" => Response::new(
                    TestBody::endless(Bytes::from_static(&[b'x'; 5000])).telling(dropped),
                ),
                _ => echo(inbound).await,
            }
        }
    })
    .await;
    let mut client = Http2Client::connect(&gateway, 20_000).await;
    let stalled = client.get("/endless").await;
    next(&mut drops).await;
    // The other streams continue.
    assert_eq!(client.get("/").await.status(), StatusCode::OK);
    drop(stalled);
}

#[tokio::test]
async fn a_stream_that_is_taken_slowly_ends_when_its_time_is_over() {
    let (dropped, mut drops) = mpsc::unbounded_channel();
    let gateway = Gateway::start(options(), move |inbound: Inbound| {
        let dropped = dropped.clone();
        async move {
            if inbound.head.uri.path() != "/limited" {
                return echo(inbound).await;
            }
            inbound.wire.end_within(Some(SHORT));
            Response::new(TestBody::endless(Bytes::from_static(&[b'x'; 5000])).telling(dropped))
        }
    })
    .await;
    let mut client = Http2Client::connect(&gateway, 20_000).await;
    let mut body = client.get("/limited").await.into_body();
    let sipping = async {
        while let Some(Ok(frame)) = body.frame().await {
            assert!(frame.is_data());
            tokio::time::sleep(SHORT / 8).await;
        }
        std::future::pending::<()>().await;
    };
    tokio::select! {
        () = sipping => {}
        () = next(&mut drops) => {}
    }
    assert_eq!(client.get("/").await.status(), StatusCode::OK);
}

#[tokio::test]
async fn a_silent_stream_is_no_stall() {
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
                .map(|data| data.map(|data| Ok(Frame::data(data))))
        });
        async { Response::new(body) }
    })
    .await;
    let mut client = Http2Client::connect(&gateway, 65_535).await;
    let mut body = client.get("/").await.into_body();
    for word in ["first", "second"] {
        more.send(Bytes::from_static(word.as_bytes())).unwrap();
        let frame = timeout(PATIENCE, body.frame()).await.unwrap().unwrap();
        assert_eq!(frame.unwrap().into_data().unwrap(), word);
        tokio::time::sleep(SHORT * 3).await;
    }
    drop(more);
    let rest = timeout(PATIENCE, body.collect()).await.unwrap().unwrap();
    assert!(rest.to_bytes().is_empty());
}

#[tokio::test]
async fn a_reset_drops_the_request() {
    let (dropped, mut drops) = mpsc::unbounded_channel();
    let gateway = Gateway::start(options(), move |_: Inbound| {
        let body = TestBody::silent().telling(dropped.clone());
        async { Response::new(body) }
    })
    .await;
    let mut client = Http2Client::connect(&gateway, 65_535).await;
    let response = client.get("/").await;
    drop(response);
    next(&mut drops).await;
}

#[tokio::test]
async fn a_panic_ends_one_stream() {
    let gateway = Gateway::start(options(), |inbound: Inbound| async {
        assert_ne!(inbound.head.uri.path(), "/panic", "as the test wants it");
        echo(inbound).await
    })
    .await;
    let mut client = Http2Client::connect(&gateway, 65_535).await;
    assert!(
        client
            .send(Request::get("http://a/panic"), "")
            .await
            .is_err()
    );
    assert_eq!(client.get("/").await.status(), StatusCode::OK);
}

#[tokio::test]
async fn an_idle_connection_is_closed() {
    let options = Options {
        header_timeout: SHORT,
        idle_timeout: SHORT,
        ..options()
    };
    let gateway = Gateway::start(options, echo).await;
    let unused = Http2Client::connect(&gateway, 65_535).await;
    unused.closed().await;
    let mut used = Http2Client::connect(&gateway, 65_535).await;
    assert_eq!(used.get("/").await.status(), StatusCode::OK);
    used.closed().await;
    gateway.until_none_is_open().await;
}

#[tokio::test]
async fn an_open_stream_keeps_the_connection() {
    let options = Options {
        header_timeout: SHORT,
        idle_timeout: SHORT,
        ..options()
    };
    let gateway = Gateway::start(options, |_: Inbound| async {
        tokio::time::sleep(SHORT * 5).await;
        answer(200, "late")
    })
    .await;
    let mut client = Http2Client::connect(&gateway, 65_535).await;
    let body = client.get("/").await.into_body();
    assert_eq!(body.collect().await.unwrap().to_bytes(), "late");
}

#[tokio::test]
async fn draining_finishes_streams_and_giving_up_ends_them() {
    let (started, mut starts) = mpsc::unbounded_channel();
    let gateway = Gateway::start(options(), move |inbound: Inbound| {
        let wire = Arc::clone(&inbound.wire);
        started.send(()).ok();
        async move {
            if inbound.head.uri.path() == "/waiting" {
                wire.given_up().await;
                return answer(503, "shutting down");
            }
            let mut is_told = false;
            Response::new(TestBody::new(move |_| {
                if is_told || !wire.is_given_up() {
                    return Poll::Pending;
                }
                is_told = true;
                wire.cut();
                Poll::Ready(Some(Ok(Frame::data(Bytes::from_static(
                    b"data: {\"error\":{}}\n\n",
                )))))
            }))
        }
    })
    .await;
    let mut client = Http2Client::connect(&gateway, 65_535).await;
    let streaming = client.get("/streaming").await;
    next(&mut starts).await;
    let mut other = client.requests.clone();
    let waiting = runtime::spawn(async move {
        let request = Request::get("http://a/waiting").body(Full::new(Bytes::new()));
        other.send_request(request.unwrap()).await.unwrap()
    });
    next(&mut starts).await;
    gateway.drain.begin();
    gateway.drain.give_up();
    check_cut(streaming, 20).await;
    let waiting = timeout(PATIENCE, waiting).await.unwrap().unwrap();
    assert_eq!(waiting.status(), StatusCode::SERVICE_UNAVAILABLE);
    drop(waiting);
    gateway.ended().await;
    client.closed().await;
}
