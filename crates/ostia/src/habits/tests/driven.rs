//! HTTP/1 to backends.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use http::header::{CONTENT_LENGTH, HOST};
use http::{Request, Response};
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;
use hyper::client::conn::TrySendError;
use hyper_util::rt::TokioIo;
use tokio::task::coop::poll_proceed;

use super::super::{Driven, HEAD_LIMIT, defer_to_reading};
use super::{Call, End, Socket, Wakes, frame, poll};

const OK: &str = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";
const CHUNKED: &str = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n";

/// A request's body in pieces.
struct Pieces(VecDeque<Bytes>);

impl Body for Pieces {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        Poll::Ready(self.0.pop_front().map(|piece| Ok(Frame::data(piece))))
    }

    fn is_end_stream(&self) -> bool {
        self.0.is_empty()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.0.iter().map(|piece| piece.len() as u64).sum())
    }
}

type Sent = Result<Response<Incoming>, TrySendError<Request<Pieces>>>;
type Reply = Pin<Box<dyn Future<Output = Sent>>>;
type Framed = Poll<Option<hyper::Result<Frame<Bytes>>>>;

/// A connection, and a counter of how often the task that polls it is woken.
struct Rig {
    socket: Socket,
    driven: Driven<TokioIo<End>, Pieces>,
    wakes: Arc<Wakes>,
}

impl Rig {
    fn new() -> Self {
        let socket = Socket::default();
        let Poll::Ready(opened) = poll(&mut Box::pin(Driven::open(socket.io()))) else {
            panic!("HTTP/1 has no handshake to wait for");
        };
        Self {
            socket,
            driven: opened.unwrap(),
            wakes: Arc::default(),
        }
    }

    fn send(&mut self, pieces: &[&'static str]) -> Reply {
        let pieces: VecDeque<_> = pieces.iter().map(|piece| Bytes::from(*piece)).collect();
        let length: usize = pieces.iter().map(Bytes::len).sum();
        let request = Request::post("/")
            .header(HOST, "a")
            .header(CONTENT_LENGTH, length)
            .body(Pieces(pieces));
        Box::pin(self.driven.send(request.unwrap()))
    }

    fn poll(&mut self, reply: &mut Reply) -> Poll<Sent> {
        let waker = Waker::from(Arc::clone(&self.wakes));
        let mut cx = Context::from_waker(&waker);
        self.driven.poll_with(&mut cx, |cx| reply.as_mut().poll(cx))
    }

    fn frame(&mut self, body: &mut Incoming) -> Framed {
        let waker = Waker::from(Arc::clone(&self.wakes));
        let mut cx = Context::from_waker(&waker);
        let mut body = Pin::new(body);
        self.driven
            .poll_with(&mut cx, |cx| body.as_mut().poll_frame(cx))
    }

    /// Sends a whole request and plays this response.
    fn answered(&mut self, answer: &str) -> Response<Incoming> {
        let mut reply = self.send(&["{}"]);
        assert!(self.poll(&mut reply).is_pending());
        self.socket.say(answer);
        let Poll::Ready(Ok(answer)) = self.poll(&mut reply) else {
            panic!("no answer");
        };
        answer
    }
}

fn text(framed: Framed) -> String {
    match framed {
        Poll::Ready(Some(Ok(frame))) => {
            String::from_utf8(frame.into_data().unwrap().to_vec()).unwrap()
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn one_poll_writes_a_request_in_one_write_and_one_reads_its_answer() {
    let mut rig = Rig::new();
    for _ in 0..3 {
        let mut reply = rig.send(&["first", "second"]);
        assert!(rig.poll(&mut reply).is_pending());
        let last = rig.socket.writes().pop().unwrap();
        assert!(last.starts_with(b"POST / HTTP/1.1\r\n") && last.ends_with(b"\r\n\r\nfirstsecond"));
        rig.socket.say(OK);
        let Poll::Ready(Ok(answer)) = rig.poll(&mut reply) else {
            panic!("no answer");
        };
        assert_eq!(text(rig.frame(&mut answer.into_body())), "ok");
        assert!(rig.driven.is_idle());
        rig.driven.rest();
    }
    let writes = rig
        .socket
        .calls()
        .into_iter()
        .filter_map(|call| match call {
            Call::Write(slices, _) => Some(slices),
            _ => None,
        });
    // The head and two pieces, written without being joined.
    assert_eq!(writes.collect::<Vec<_>>(), [3, 3, 3]);
    // Woken from outside once per response, and otherwise never.
    assert_eq!(rig.wakes.count(), 3);
}

#[test]
fn each_poll_gives_a_frame_as_long_as_there_is_one_and_wakes_nobody() {
    let mut rig = Rig::new();
    let answer = rig.answered(&format!("{CHUNKED}1\r\na\r\n1\r\nb\r\n1\r\nc\r\n"));
    let mut body = answer.into_body();
    let woken = rig.wakes.count();
    for wanted in ["a", "b", "c"] {
        assert_eq!(text(rig.frame(&mut body)), wanted);
    }
    assert!(rig.frame(&mut body).is_pending());
    assert_eq!(rig.wakes.count(), woken);
    // Something from outside wakes the task.
    rig.socket.say("1\r\nd\r\n0\r\n\r\n");
    assert_eq!(rig.wakes.count(), woken + 1);
    assert_eq!(text(rig.frame(&mut body)), "d");
    assert!(matches!(rig.frame(&mut body), Poll::Ready(None)));
    assert!(rig.driven.is_idle());
    assert_eq!(rig.wakes.count(), woken + 1);
}

#[test]
fn the_end_of_an_idle_connection_is_read_before_anything_is_written() {
    let farewell = "HTTP/1.1 408 Request Timeout\r\nconnection: close\r\n\r\n";
    for last_words in ["", farewell] {
        let mut rig = Rig::new();
        drop(rig.answered("HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n"));
        assert!(rig.driven.is_idle());
        let written = rig.socket.written_bytes();
        if !last_words.is_empty() {
            rig.socket.say(last_words);
        }
        rig.socket.end();
        let mut reply = rig.send(&["{}"]);
        let Poll::Ready(Err(mut refused)) = rig.poll(&mut reply) else {
            panic!("no refusal");
        };
        assert!(refused.take_message().is_some());
        assert_eq!(rig.socket.written_bytes(), written);
        assert!(!rig.driven.is_alive() && !rig.driven.is_idle());
    }
}

#[test]
fn a_connection_is_ready_again_when_both_messages_are_whole_and_nothing_is_behind() {
    // A chunked response whose end has not been read yet.
    let mut rig = Rig::new();
    let mut body = rig.answered(&format!("{CHUNKED}1\r\na\r\n")).into_body();
    assert_eq!(text(rig.frame(&mut body)), "a");
    assert!(!rig.driven.is_idle());
    rig.socket.say("0\r\n\r\n");
    assert!(rig.driven.is_idle());

    // A request that has not been written yet.
    let mut rig = Rig::new();
    rig.socket.set_room(Some(60));
    let mut reply = rig.send(&["a body that has to wait for the socket, in part"]);
    assert!(rig.poll(&mut reply).is_pending());
    rig.socket
        .say("HTTP/1.1 413 Too Big\r\ncontent-length: 0\r\n\r\n");
    assert!(matches!(rig.poll(&mut reply), Poll::Ready(Ok(_))));
    assert!(!rig.driven.is_idle());

    // Bytes after the response, and a response that announces it is the last.
    for answer in [
        "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nokHTTP",
        "HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 2\r\n\r\nok",
    ] {
        let mut rig = Rig::new();
        let mut body = rig.answered(answer).into_body();
        assert_eq!(text(rig.frame(&mut body)), "ok");
        assert!(!rig.driven.is_idle(), "{answer}");
    }
}

#[test]
fn an_ended_connection_ends_what_it_fed_with_an_error() {
    let mut rig = Rig::new();
    let mut reply = rig.send(&["{}"]);
    assert!(rig.poll(&mut reply).is_pending());
    rig.socket.end();
    let Poll::Ready(Err(mut refused)) = rig.poll(&mut reply) else {
        panic!("no refusal");
    };
    assert!(refused.take_message().is_none());
    assert!(!rig.driven.is_alive());

    let mut rig = Rig::new();
    let mut body = rig.answered(&format!("{CHUNKED}1\r\na\r\n")).into_body();
    assert_eq!(text(rig.frame(&mut body)), "a");
    rig.socket.end();
    assert!(matches!(rig.frame(&mut body), Poll::Ready(Some(Err(_)))));
}

#[test]
fn dropped_a_connection_closes_its_socket_and_breaks_its_body() {
    let Rig { socket, driven, .. } = Rig::new();
    drop(driven);
    assert_eq!(socket.calls().last(), Some(&Call::Dropped));

    let mut rig = Rig::new();
    let mut reply = rig.send(&["{}"]);
    assert!(rig.poll(&mut reply).is_pending());
    let Rig { socket, driven, .. } = rig;
    drop(driven);
    assert_eq!(socket.calls().last(), Some(&Call::Dropped));
    assert!(matches!(poll(&mut reply), Poll::Ready(Err(_))));

    let mut rig = Rig::new();
    let mut body = rig.answered(CHUNKED).into_body();
    let Rig { socket, driven, .. } = rig;
    drop(driven);
    assert_eq!(socket.calls().last(), Some(&Call::Dropped));
    assert!(matches!(frame(&mut body), Poll::Ready(Some(Err(_)))));
}

#[test]
fn a_head_has_its_limit_and_interim_answers_have_none() {
    let mut rig = Rig::new();
    let mut reply = rig.send(&["{}"]);
    assert!(rig.poll(&mut reply).is_pending());
    rig.socket.say(format!(
        "HTTP/1.1 200 OK\r\nz: {}",
        "z".repeat(HEAD_LIMIT * 3)
    ));
    let Poll::Ready(Err(refused)) = rig.poll(&mut reply) else {
        panic!("no refusal");
    };
    assert!(
        refused.error().is_parse_too_large(),
        "{:?}",
        refused.error()
    );
    assert!(rig.socket.read_bytes() <= 2 * HEAD_LIMIT);

    let mut rig = Rig::new();
    let mut reply = rig.send(&["{}"]);
    assert!(rig.poll(&mut reply).is_pending());
    let interim = "HTTP/1.1 100 Continue\r\n\r\n".repeat(3 * HEAD_LIMIT / 25);
    rig.socket.say(interim + OK);
    let Poll::Ready(Ok(answer)) = rig.poll(&mut reply) else {
        panic!("no answer");
    };
    assert_eq!(answer.status(), 200);
    assert!(rig.socket.read_bytes() > 2 * HEAD_LIMIT);
}

#[test]
fn no_more_than_a_buffer_and_a_frame_of_an_answer_is_read_ahead() {
    let mut rig = Rig::new();
    let length = 20 * HEAD_LIMIT;
    let answer = rig.answered(&format!(
        "HTTP/1.1 200 OK\r\ncontent-length: {length}\r\n\r\n{}",
        "x".repeat(length)
    ));
    let mut body = answer.into_body();
    let mut taken = 0;
    while let Poll::Ready(Some(Ok(frame))) = rig.frame(&mut body) {
        taken += frame.data_ref().unwrap().len();
        let ahead = rig.socket.read_bytes().saturating_sub(taken);
        assert!(ahead <= 2 * HEAD_LIMIT, "{ahead}");
    }
    assert_eq!(taken, length);
}

#[test]
fn an_answer_passes_a_write_that_waits_and_not_one_that_fails() {
    assert!(defer_to_reading::<()>().is_pending());
    for fails in [false, true] {
        let mut rig = Rig::new();
        match fails {
            true => rig.socket.fail_writes(io::ErrorKind::BrokenPipe),
            false => rig.socket.set_room(Some(0)),
        }
        let mut reply = rig.send(&["{}"]);
        let first = rig.poll(&mut reply);
        rig.socket
            .say("HTTP/1.1 413 Too Big\r\ncontent-length: 0\r\n\r\n");
        match first {
            Poll::Ready(Err(_)) => assert!(fails),
            Poll::Ready(Ok(_)) => panic!("an answer to nothing"),
            Poll::Pending => {
                assert!(!fails);
                assert!(matches!(rig.poll(&mut reply), Poll::Ready(Ok(_))));
            }
        }
    }
}

/// Polls like a task that has used up its budget.
async fn polled_without_budget(rig: &mut Rig, reply: &mut Reply) -> Poll<Sent> {
    std::future::poll_fn(|cx| {
        while let Poll::Ready(step) = poll_proceed(cx) {
            step.made_progress();
        }
        Poll::Ready(rig.poll(reply))
    })
    .await
}

#[tokio::test]
async fn a_reply_is_not_held_back_by_the_tasks_budget() {
    let mut rig = Rig::new();
    let mut reply = rig.send(&["{}"]);
    assert!(rig.poll(&mut reply).is_pending());
    rig.socket.say(OK);
    let polled = polled_without_budget(&mut rig, &mut reply).await;
    assert!(matches!(polled, Poll::Ready(Ok(_))));
}

#[tokio::test]
async fn a_request_that_the_budget_held_back_wakes_its_task_and_leaves_no_sign_of_readiness() {
    let mut rig = Rig::new();
    let mut reply = rig.send(&["{}"]);
    let polled = polled_without_budget(&mut rig, &mut reply).await;
    assert!(polled.is_pending());
    assert_eq!(rig.socket.written(), "");
    tokio::task::yield_now().await;
    assert!(rig.wakes.count() > 0);
    assert!(rig.poll(&mut reply).is_pending());
    assert!(rig.socket.written().ends_with("{}"));
    assert!(!rig.driven.is_idle());
}
