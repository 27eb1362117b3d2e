use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::{Request, Response};
use http_body::{Body, Frame};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::mpsc;

use super::super::FailureKind;
use super::backend::Backend;
use super::tls::Authority;
use super::{call, client, fail, outgoing, plain, read, send, soon};

type Events = mpsc::UnboundedSender<String>;

/// A body that may end or not, and reports when it is dropped.
struct Answer {
    pieces: Vec<&'static str>,
    endless: bool,
    events: Events,
}

impl Body for Answer {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        match self.pieces.pop() {
            Some(piece) => Poll::Ready(Some(Ok(Frame::data(piece.into())))),
            None if self.endless => Poll::Pending,
            None => Poll::Ready(None),
        }
    }
}

impl Drop for Answer {
    fn drop(&mut self) {
        let _ = self.events.send("dropped".to_owned());
    }
}

async fn serve<S>(socket: S, events: Events, streams: u32)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let service = hyper::service::service_fn(move |request: Request<Incoming>| {
        let events = events.clone();
        async move {
            let (head, body) = request.into_parts();
            let length = body.collect().await.unwrap().to_bytes().len();
            assert!(!head.headers.contains_key("host"));
            assert_eq!(head.headers["content-length"], length.to_string());
            let _ = events.send(format!("{} {length}", head.uri));
            if length == 13 {
                let _silent = Answer {
                    pieces: vec![],
                    endless: false,
                    events,
                };
                return std::future::pending().await;
            }
            let endless = length == 7;
            Ok::<_, Infallible>(Response::new(Answer {
                pieces: vec!["k", "o"],
                endless,
                events,
            }))
        }
    });
    let _ = hyper::server::conn::http2::Builder::new(TokioExecutor::new())
        .max_concurrent_streams(streams)
        .serve_connection(TokioIo::new(socket), service)
        .await;
}

async fn cleartext() -> (Backend, mpsc::UnboundedReceiver<String>) {
    cleartext_up_to(200).await
}

async fn cleartext_up_to(streams: u32) -> (Backend, mpsc::UnboundedReceiver<String>) {
    let (events, seen) = mpsc::unbounded_channel();
    let backend = Backend::start(move |_, peer| serve(peer.socket, events.clone(), streams)).await;
    (backend, seen)
}

#[tokio::test]
async fn many_calls_share_one_connection() {
    let (backend, mut seen) = cleartext().await;
    let mut target = plain(&backend);
    target.http2 = true;
    let client = client(&target);
    let calls = (0..20).map(|_| call(&client));
    for (status, body, sends) in soon(futures_util::future::join_all(calls)).await {
        assert_eq!((status, &*body, sends), (200, &b"ok"[..], 1));
    }
    assert_eq!(backend.accepted(), 1);
    let stats = client.stats();
    assert_eq!((stats.open, stats.idle, stats.in_use), (1, 1, 0));
    let wanted = format!("http://127.0.0.1:{}/v1/chat/completions 2", backend.port);
    assert_eq!(seen.recv().await, Some(wanted));
}

#[tokio::test]
async fn alpn_decides_over_tls() {
    let authority = Authority::new();
    let acceptor = authority.acceptor("model.test", false, &["h2", "http/1.1"]);
    let (events, _seen) = mpsc::unbounded_channel();
    let backend = Backend::start(move |_, peer| {
        let (acceptor, events) = (acceptor.clone(), events.clone());
        async move { serve(acceptor.accept(peer.socket).await.unwrap(), events, 200).await }
    })
    .await;
    let client = client(&authority.target(&backend));
    for _ in 0..10 {
        assert_eq!(soon(call(&client)).await, (200, "ok".into(), 1));
    }
    assert_eq!(backend.accepted(), 1);
}

#[tokio::test]
async fn a_dropped_answer_resets_its_stream_only() {
    let (backend, mut seen) = cleartext().await;
    let mut target = plain(&backend);
    target.http2 = true;
    let client = client(&target);
    let mut body = soon(client.send(outgoing(&["{\"a\":1}"]), &mut |_| {}))
        .await
        .unwrap()
        .body;
    soon(body.frame()).await.unwrap().unwrap();
    soon(seen.recv()).await.unwrap();
    drop(body);
    assert_eq!(soon(seen.recv()).await.unwrap(), "dropped");
    assert_eq!(client.stats().in_use, 0);
    assert_eq!(soon(call(&client)).await.0, 200);
    assert_eq!(backend.accepted(), 1);
}

#[tokio::test]
async fn a_call_dropped_while_it_waits_resets_its_stream() {
    let (backend, mut seen) = cleartext().await;
    let mut target = plain(&backend);
    target.http2 = true;
    let client = client(&target);
    {
        let mut progress = |_| {};
        let request = outgoing(&["{\"wait\":true}"]);
        let mut call = std::pin::pin!(client.send(request, &mut progress));
        tokio::select! {
            _ = &mut call => panic!("nothing was answered"),
            event = seen.recv() => assert!(event.unwrap().ends_with(" 13")),
        }
    }
    assert_eq!(soon(seen.recv()).await.unwrap(), "dropped");
    assert_eq!(client.stats().in_use, 0);
}

#[tokio::test]
async fn a_connection_that_is_silent_gets_no_further_requests() {
    let (backend, _seen) = cleartext().await;
    let mut target = plain(&backend);
    target.http2 = true;
    let client = client(&target);
    soon(call(&client)).await;
    let mut request = outgoing(&["{\"wait\":true}"]);
    request.timeouts.response_header = Some(std::time::Duration::from_millis(30));
    let (failure, _) = soon(fail(&client, request)).await;
    assert_eq!(failure.kind, FailureKind::Timeout);
    assert!(!failure.retry_safe);
    assert_eq!(soon(call(&client)).await.0, 200);
    assert_eq!(backend.accepted(), 2);
}

#[tokio::test]
async fn a_dead_shared_connection_is_replaced() {
    let (events, _seen) = mpsc::unbounded_channel();
    let (kill, killed) = tokio::sync::watch::channel(false);
    let backend = Backend::start(move |number, peer| {
        let (events, mut killed) = (events.clone(), killed.clone());
        async move {
            tokio::select! {
                () = serve(peer.socket, events, 200) => {}
                _ = killed.wait_for(|killed| *killed), if number == 0 => {}
            }
        }
    })
    .await;
    let mut target = plain(&backend);
    target.http2 = true;
    let client = client(&target);
    soon(call(&client)).await;
    kill.send(true).unwrap();
    // Works whether or not the end has been noticed.
    assert_eq!(soon(call(&client)).await.0, 200);
    assert_eq!(backend.accepted(), 2);
    let answer = soon(send(&client)).await.unwrap();
    assert_eq!(read(answer.body).await.unwrap(), "ok");
    assert_eq!(client.stats().in_use, 0);
}

#[tokio::test]
async fn a_hundred_and_one_streams_need_two_connections() {
    let (backend, _seen) = cleartext().await;
    let mut target = plain(&backend);
    target.http2 = true;
    let client = client(&target);
    let mut open = Vec::new();
    for _ in 0..101 {
        let answer = soon(client.send(outgoing(&["{\"a\":1}"]), &mut |_| {})).await;
        open.push(answer.unwrap().body);
    }
    assert_eq!(client.stats().in_use, 101);
    assert_eq!(backend.accepted(), 2);
    drop(open);
    assert_eq!(client.stats().in_use, 0);
}

#[tokio::test]
async fn no_request_waits_for_a_stream_that_the_peer_does_not_allow() {
    let (backend, _seen) = cleartext_up_to(2).await;
    let mut target = plain(&backend);
    target.http2 = true;
    let client = client(&target);
    let held = (0..5).map(|_| async {
        let answer = client.send(outgoing(&["{\"a\":1}"]), &mut |_| {}).await;
        answer.unwrap().body
    });
    let held = soon(futures_util::future::join_all(held)).await;
    assert_eq!(client.stats().in_use, 5);
    assert_eq!(backend.accepted(), 3);
    drop(held);
}

#[tokio::test]
async fn a_body_of_eight_megabytes_arrives_whole() {
    let (backend, mut seen) = cleartext().await;
    let mut target = plain(&backend);
    target.http2 = true;
    let client = client(&target);
    let mut request = outgoing(&["{"]);
    request.body.push(vec![b' '; 8_000_000].into());
    let answer = soon(client.send(request, &mut |_| {})).await.unwrap();
    assert_eq!(read(answer.body).await.unwrap(), "ok");
    assert!(seen.recv().await.unwrap().ends_with(" 8000001"));
}
