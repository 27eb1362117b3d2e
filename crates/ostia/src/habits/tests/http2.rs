//! HTTP/2, with handmade frames (RFC 9113).

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::Empty;
use hyper::body::Incoming;
use hyper::rt::Executor;
use hyper::server::conn::http2::Builder;
use hyper::service::service_fn;
use parking_lot::Mutex;

use super::super::{
    Appetite, Handover, Stepping, UNSAID, broken_off, had_enough, has_written, hold_back_last_byte,
    refused, said_streams, was_refused,
};
use super::{Broken, Polled, Script, Socket, Wakes, data, poll, script};

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
/// `:method GET`, `:scheme http`, `:path /`, `:authority a` in HPACK.
const GET: &[u8] = &[0x82, 0x86, 0x84, 0x41, 0x01, b'a'];
const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const WINDOW_UPDATE: u8 = 8;
const MAX_CONCURRENT_STREAMS: u8 = 3;
const INITIAL_WINDOW_SIZE: u8 = 4;
const END_STREAM_AND_HEADERS: u8 = 5;

fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    let mut frame = length[1..].to_vec();
    frame.extend_from_slice(&[kind, flags]);
    frame.extend_from_slice(&stream.to_be_bytes());
    frame.extend_from_slice(payload);
    frame
}

fn setting(name: u8, value: u32) -> Vec<u8> {
    let payload = [&[0, name][..], &value.to_be_bytes()].concat();
    frame(SETTINGS, 0, 0, &payload)
}

fn widen(socket: &Socket, by: u32) {
    socket.say(frame(WINDOW_UPDATE, 0, 1, &by.to_be_bytes()));
}

type Work = Pin<Box<dyn Future<Output = ()> + Send>>;

/// Holds what hyper wants to run, so that the test can poll it.
#[derive(Clone, Default)]
struct Queue(Arc<Mutex<Vec<Work>>>);

impl<F> Executor<F> for Queue
where
    F: Future<Output = ()> + Send + 'static,
{
    fn execute(&self, work: F) {
        self.0.lock().push(Box::pin(work));
    }
}

impl Queue {
    fn poll(&self) {
        let mut works = std::mem::take(&mut *self.0.lock());
        works.retain_mut(|work| poll(work).is_pending());
        self.0.lock().append(&mut works);
    }
}

/// A connection with one request, answered by `body`, and a peer with a window of this size.
struct Served {
    socket: Socket,
    queue: Queue,
    connection: Pin<Box<dyn Future<Output = hyper::Result<()>>>>,
}

impl Served {
    fn new<F>(window: u32, body: F) -> Self
    where
        F: FnMut() -> Polled + Clone + Send + Unpin + 'static,
    {
        let (socket, queue) = (Socket::default(), Queue::default());
        socket.say(PREFACE);
        socket.say(setting(INITIAL_WINDOW_SIZE, window));
        socket.say(frame(HEADERS, END_STREAM_AND_HEADERS, 1, GET));
        let service = service_fn(move |_: Request<Incoming>| {
            let answer: Response<Script<F>> = Response::new(script(body.clone()));
            async { Ok::<_, Infallible>(answer) }
        });
        let builder = Builder::new(queue.clone());
        let connection = builder.serve_connection(socket.io(), service);
        Self {
            socket,
            queue,
            connection: Box::pin(connection),
        }
    }

    /// Polls as `listen` does: the connection, then its streams; then again, for window updates.
    fn turn(&mut self) {
        for _ in 0..2 {
            assert!(poll(&mut self.connection).is_pending());
            self.queue.poll();
        }
    }
}

#[test]
fn the_work_of_a_request_follows_its_call() {
    /// The hand-over, and what was found in it.
    type Found = (Handover<u32>, Vec<Option<u32>>);

    #[derive(Clone, Default)]
    struct Taker(Arc<Mutex<Found>>);

    impl<F> Executor<F> for Taker {
        fn execute(&self, _: F) {
            let (handover, taken) = &mut *self.0.lock();
            taken.push(handover.take());
        }
    }

    let (socket, taker) = (Socket::default(), Taker::default());
    let mut bytes = [PREFACE.to_vec(), frame(SETTINGS, 0, 0, &[])].concat();
    for stream in [1, 3, 5] {
        bytes.extend(frame(HEADERS, END_STREAM_AND_HEADERS, stream, GET));
    }
    socket.say(bytes);
    let (leaver, calls) = (taker.clone(), AtomicUsize::new(1));
    let service = service_fn(move |_: Request<Incoming>| {
        let number = u32::try_from(calls.fetch_add(1, SeqCst)).unwrap();
        leaver.0.lock().0.leave(number);
        std::future::pending::<Result<Response<Empty<Bytes>>, Infallible>>()
    });
    let mut connection =
        Box::pin(Builder::new(taker.clone()).serve_connection(socket.io(), service));
    assert!(poll(&mut connection).is_pending());
    assert_eq!(taker.0.lock().1, [Some(1), Some(2), Some(3)]);
}

#[test]
fn a_body_is_asked_again_when_the_peer_has_taken_of_the_frame_before() {
    let appetite = Arc::<Appetite>::default();
    let noting = Arc::clone(&appetite);
    let mut frames = ["ten bytes."; 5].iter();
    let mut served = Served::new(10, move || {
        let polled = frames.next().map_or(Poll::Pending, |frame| data(*frame));
        noting.note(&polled);
        polled
    });
    assert_eq!(appetite.held_since(), None);
    served.turn();
    // The first frame fits, the second waits.
    assert_eq!(appetite.held_since(), Some(2));
    served.turn();
    assert_eq!(appetite.held_since(), Some(2));
    widen(&served.socket, 1);
    served.turn();
    assert_eq!(appetite.held_since(), Some(3));
}

#[test]
fn a_silent_body_waits_for_itself() {
    let appetite = Arc::<Appetite>::default();
    let noting = Arc::clone(&appetite);
    let mut polls = 0;
    let mut served = Served::new(1000, move || {
        polls += 1;
        let polled = match polls {
            1 => data("ten bytes."),
            _ => Poll::Pending,
        };
        noting.note(&polled);
        polled
    });
    served.turn();
    assert_eq!(appetite.held_since(), None);
}

#[test]
fn a_body_is_asked_behind_its_last_byte_when_the_window_held_everything() {
    let polls = Arc::<AtomicUsize>::default();
    let counted = Arc::clone(&polls);
    let mut tail = None;
    let mut served = Served::new(10, move || match counted.fetch_add(1, SeqCst) {
        0 => {
            let mut frame = Bytes::from_static(b"twenty bytes, all in");
            tail = hold_back_last_byte(&mut frame);
            data(frame)
        }
        1 => data(tail.take().unwrap()),
        _ => Poll::Pending,
    });
    served.turn();
    assert_eq!(polls.load(SeqCst), 2);
    widen(&served.socket, 9);
    served.turn();
    assert_eq!(polls.load(SeqCst), 2);
    widen(&served.socket, 1);
    served.turn();
    assert!(polls.load(SeqCst) > 2);

    for short in ["", "x"] {
        assert_eq!(hold_back_last_byte(&mut Bytes::from(short)), None);
    }
}

#[test]
fn a_pending_poll_has_written_what_the_window_takes() {
    let mut polls = 0;
    let mut served = Served::new(25, move || {
        polls += 1;
        match polls {
            1..=3 => data("~~~~~~~~~~"),
            _ => Poll::Pending,
        }
    });
    assert!(has_written(&poll(&mut served.connection)));
    served.queue.poll();
    let payload = |socket: &Socket| socket.written().matches('~').count();
    assert_eq!(payload(&served.socket), 0);
    assert!(has_written(&poll(&mut served.connection)));
    assert_eq!(payload(&served.socket), 25);
    assert!(!has_written(&Poll::Ready(())));
}

#[test]
fn what_h2_has_had_enough_of_is_told_from_other_ends() {
    let opening = [PREFACE.to_vec(), frame(SETTINGS, 0, 0, &[])].concat();
    let open_stream = frame(HEADERS, 4, 1, GET);
    let no_data = frame(0, 0, 1, &[]).repeat(200);
    let malformed = frame(WINDOW_UPDATE, 0, 0, &[0; 4]);
    for (bytes, enough) in [
        ([opening.clone(), open_stream, no_data].concat(), true),
        ([opening, malformed].concat(), false),
    ] {
        let (socket, queue) = (Socket::default(), Queue::default());
        socket.say(bytes);
        let service = service_fn(|_: Request<Incoming>| {
            std::future::pending::<Result<Response<Empty<Bytes>>, Infallible>>()
        });
        let builder = Builder::new(queue);
        let mut connection = Box::pin(builder.serve_connection(socket.io(), service));
        let Poll::Ready(Err(error)) = poll(&mut connection) else {
            panic!("the connection goes on");
        };
        assert_eq!(had_enough(&error), enough, "{error:?}");
    }
}

#[test]
fn a_refused_stream_is_told_from_a_broken_one_on_both_sides() {
    for (error, code) in [(refused(), 7), (broken_off(), 2)] {
        let reset = frame(RST_STREAM, 0, 1, &[0, 0, 0, code]);
        let (socket, queue) = (Socket::default(), Queue::default());
        socket.say([PREFACE.to_vec(), frame(SETTINGS, 0, 0, &[])].concat());
        socket.say(frame(HEADERS, END_STREAM_AND_HEADERS, 1, GET));
        let service = service_fn(move |_: Request<Incoming>| {
            let answer = Err::<Response<Empty<Bytes>>, _>(h2::Error::from(error.reason().unwrap()));
            async { answer }
        });
        let builder = Builder::new(queue.clone());
        let mut connection = Box::pin(builder.serve_connection(socket.io(), service));
        for _ in 0..2 {
            assert!(poll(&mut connection).is_pending());
            queue.poll();
        }
        let written = String::from_utf8(reset.clone()).unwrap();
        assert!(socket.written().contains(&written), "{code}");

        let (socket, queue) = (Socket::default(), Queue::default());
        let builder = hyper::client::conn::http2::Builder::new(queue.clone());
        let mut opening = Box::pin(builder.handshake::<_, Empty<Bytes>>(socket.io()));
        let Poll::Ready(Ok((mut sender, mut connection))) = poll(&mut opening) else {
            panic!("the handshake waits for the peer");
        };
        socket.say(frame(SETTINGS, 0, 0, &[]));
        let mut answer =
            Box::pin(sender.send_request(Request::get("http://a/").body(Empty::new()).unwrap()));
        for _ in 0..2 {
            assert!(poll(&mut connection).is_pending());
            queue.poll();
        }
        socket.say(reset);
        for _ in 0..2 {
            assert!(poll(&mut connection).is_pending());
            queue.poll();
        }
        let Poll::Ready(Err(error)) = poll(&mut answer) else {
            panic!("the stream goes on");
        };
        assert_eq!(was_refused(&error), code == 7, "{error:?}");
    }
}

/// Why the end of a broken stream waits until everything is written.
#[test]
fn a_failing_body_takes_along_what_h2_still_holds() {
    let mut polls = 0;
    let mut served = Served::new(25, move || {
        polls += 1;
        match polls {
            1..=2 => data("~~~~~~~~~~"),
            _ => Poll::Ready(Some(Err(Broken))),
        }
    });
    served.turn();
    assert!(poll(&mut served.connection).is_pending());
    assert_eq!(served.socket.written().matches('~').count(), 0);
}

#[test]
fn a_backends_streams_are_unsaid_until_its_settings_come_and_nobody_is_woken() {
    let unlimited = frame(SETTINGS, 0, 0, &[]);
    for (settings, said) in [
        (setting(MAX_CONCURRENT_STREAMS, 3), 3),
        (setting(MAX_CONCURRENT_STREAMS, 0), 0),
        (unlimited, usize::MAX),
    ] {
        let (socket, queue) = (Socket::default(), Queue::default());
        let mut builder = hyper::client::conn::http2::Builder::new(queue.clone());
        let builder = builder.initial_max_send_streams(UNSAID);
        let mut opening = Box::pin(builder.handshake::<_, Empty<Bytes>>(socket.io()));
        let Poll::Ready(opened) = poll(&mut opening) else {
            panic!("the handshake waits for the peer");
        };
        let (_sender, mut connection) = opened.unwrap();

        let wakes = Arc::<Wakes>::default();
        let waker = Waker::from(Arc::clone(&wakes));
        let mut polled = || {
            let polled = Pin::new(&mut connection).poll(&mut Context::from_waker(&waker));
            assert!(polled.is_pending());
            said_streams(connection.current_max_send_streams())
        };
        queue.poll();
        assert_eq!(polled(), None);
        socket.say(settings);
        queue.poll();
        assert_eq!(wakes.count(), 0);
        assert_eq!(polled(), Some(said));
    }
}

#[tokio::test]
async fn every_step_of_a_shared_connection_wakes_who_waits_for_its_settings() {
    let (socket, steps) = (Socket::default(), Stepping::default());
    let (_sender, mut connection) = hyper::client::conn::http2::Builder::new(steps.clone())
        .initial_max_send_streams(UNSAID)
        .handshake::<_, Empty<Bytes>>(socket.io())
        .await
        .unwrap();
    let said = std::future::poll_fn(|task| {
        steps.wake_after_steps(task.waker());
        assert!(Pin::new(&mut connection).poll(task).is_pending());
        let said = said_streams(connection.current_max_send_streams());
        said.map_or(Poll::Pending, Poll::Ready)
    });
    let speak = async { socket.say(setting(MAX_CONCURRENT_STREAMS, 7)) };
    let (said, ()) = futures_util::future::join(said, speak).await;
    assert_eq!(said, 7);
}
