//! Backends that speak HTTP/2 in handmade frames (RFC 9113).

use std::sync::Arc;

use http_body_util::BodyExt;
use parking_lot::Mutex;
use tokio::io::AsyncReadExt;

use super::super::{Client, FailureKind};
use super::backend::{Backend, Peer};
use super::{call, client, fail, outgoing, plain, read, send, soon};

const PREFACE_BYTES: usize = 24;
const DATA: u8 = 0;
const HEADERS: u8 = 1;
const PRIORITY: u8 = 2;
const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const PING: u8 = 6;
const WINDOW_UPDATE: u8 = 8;
const UNKNOWN: u8 = 0xfa;
const END_STREAM: u8 = 1;
const ACK: u8 = 1;
const END_HEADERS: u8 = 4;
/// In HPACK: `:status: 200`, and `:status: 103` as a literal.
const STATUS_200: &[u8] = &[0x88];
const STATUS_103: &[u8] = &[0x08, 3, b'1', b'0', b'3'];

fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    let mut frame = length[1..].to_vec();
    frame.extend_from_slice(&[kind, flags]);
    frame.extend_from_slice(&stream.to_be_bytes());
    frame.extend_from_slice(payload);
    frame
}

fn ok(stream: u32) -> Vec<u8> {
    let head = frame(HEADERS, END_HEADERS, stream, STATUS_200);
    [head, frame(DATA, END_STREAM, stream, b"ok")].concat()
}

/// The type, the flags and the stream of the next frame; `None` once the gateway has closed.
async fn next_frame(peer: &mut Peer) -> Option<(u8, u8, u32)> {
    let mut header = [0; 9];
    peer.socket.read_exact(&mut header).await.ok()?;
    let [a, b, c, kind, flags, stream @ ..] = header;
    let mut payload = vec![0; u32::from_be_bytes([0, a, b, c]) as usize];
    peer.socket.read_exact(&mut payload).await.ok()?;
    Some((kind, flags, u32::from_be_bytes(stream)))
}

/// `answer` gets the type and the stream of each frame that arrives.
async fn backend(answer: impl Fn(u8, u32) -> Vec<u8> + Send + Sync + 'static) -> Backend {
    let answer = Arc::new(answer);
    Backend::start(move |_, mut peer| {
        let answer = Arc::clone(&answer);
        async move {
            let mut preface = [0; PREFACE_BYTES];
            if peer.socket.read_exact(&mut preface).await.is_err() {
                return;
            }
            peer.send(frame(SETTINGS, 0, 0, &[])).await;
            while let Some((kind, flags, stream)) = next_frame(&mut peer).await {
                if kind == SETTINGS && flags != ACK {
                    peer.send(frame(SETTINGS, ACK, 0, &[])).await;
                }
                peer.send(answer(kind, stream)).await;
            }
        }
    })
    .await
}

fn http2(backend: &Backend) -> Client {
    let mut target = plain(backend);
    target.http2 = true;
    client(&target)
}

#[tokio::test]
async fn a_backend_that_floods_fails_its_requests_and_nothing_else() {
    let number = |value: u32| value.to_be_bytes();
    let floods: [(&str, Vec<u8>); 8] = [
        ("settings", frame(SETTINGS, 0, 0, &[])),
        (
            "windows of all streams",
            frame(SETTINGS, 0, 0, &[0, 4, 0, 1, 0x11, 0x70]),
        ),
        ("pings", frame(PING, 0, 0, &[7; 8])),
        ("priorities", frame(PRIORITY, 0, 1, &[0, 0, 0, 0, 9])),
        ("unknown frames", frame(UNKNOWN, 0, 1, &[7; 100])),
        ("windows", frame(WINDOW_UPDATE, 0, 0, &number(1))),
        ("interim heads", frame(HEADERS, END_HEADERS, 1, STATUS_103)),
        (
            "no data",
            [
                frame(HEADERS, END_HEADERS, 1, STATUS_200),
                frame(DATA, 0, 1, &[]),
            ]
            .concat(),
        ),
    ];
    for (name, one) in floods {
        let is_flooding = Arc::new(Mutex::new(true));
        let flooding = Arc::clone(&is_flooding);
        let backend = backend(move |kind, stream| match kind {
            HEADERS if *flooding.lock() => one.repeat(5_000),
            HEADERS => ok(stream),
            _ => Vec::new(),
        })
        .await;
        let client = http2(&backend);
        let failed = async {
            match send(&client).await {
                Err(failure) => assert_ne!(failure.kind, FailureKind::Timeout, "{name}"),
                Ok(answer) => assert!(read(answer.body).await.is_err(), "{name}"),
            }
        };
        soon(failed).await;
        *is_flooding.lock() = false;
        assert_eq!(soon(call(&client)).await.0, 200, "{name}");
        assert_eq!(backend.accepted(), 2, "{name}");
    }
}

/// A head without end, and a list of fields beyond the limit.
#[tokio::test]
async fn heads_without_end_end_the_connection() {
    for endless in [false, true] {
        let backend = backend(move |kind, stream| {
            if kind != HEADERS {
                return Vec::new();
            }
            let fields = [&[0, 1, b'x', 100][..], &[b'y'; 100]].concat().repeat(150);
            let first = frame(HEADERS, 0, stream, STATUS_200);
            let more = frame(9, 0, stream, &fields).repeat(if endless { 1000 } else { 3 });
            [first, more, frame(9, END_HEADERS, stream, &[])].concat()
        })
        .await;
        let (failure, _) = soon(fail(&http2(&backend), outgoing(&["{}"]))).await;
        assert_ne!(failure.kind, FailureKind::Timeout, "{failure:?}");
    }
}

/// Frames that a backend had already sent to abandoned requests are not its fault.
#[tokio::test]
async fn many_cancelled_answers_cost_the_others_nothing() {
    let backend = backend(|kind, stream| match (kind, stream) {
        (HEADERS, 1) => frame(HEADERS, END_HEADERS, 1, STATUS_200),
        (HEADERS, _) => {
            let head = frame(HEADERS, END_HEADERS, stream, STATUS_200);
            [head, frame(DATA, 0, stream, b"text")].concat()
        }
        (RST_STREAM, _) => {
            let late = frame(DATA, 0, stream, b"late").repeat(10);
            let others = frame(DATA, 0, 1, b"goes on");
            [late, others].concat()
        }
        _ => Vec::new(),
    })
    .await;
    let client = http2(&backend);
    let mut kept = soon(send(&client)).await.unwrap().body;
    for _ in 0..300 {
        drop(soon(send(&client)).await.unwrap());
        let frame = soon(kept.frame()).await.unwrap().unwrap();
        assert_eq!(frame.into_data().unwrap(), "goes on");
    }
    assert_eq!(backend.accepted(), 1);
}

/// Clients that do not read leave small frames waiting inside h2, which counts them over all streams.
#[tokio::test]
async fn slow_readers_of_small_frames_cost_the_others_nothing() {
    const SLOW: u32 = 60;
    let backend = backend(|kind, stream| match kind {
        HEADERS if stream < 2 * SLOW => {
            let head = frame(HEADERS, END_HEADERS, stream, STATUS_200);
            [head, frame(DATA, 0, stream, &[b'x'; 64]).repeat(2_000)].concat()
        }
        HEADERS => ok(stream),
        _ => Vec::new(),
    })
    .await;
    let client = http2(&backend);
    let mut slow = Vec::new();
    for _ in 0..SLOW {
        slow.push(soon(send(&client)).await.unwrap().body);
    }
    assert_eq!(soon(call(&client)).await, (200, "ok".into(), 1));
    assert_eq!(backend.accepted(), 1);
    for mut body in slow {
        let mut length = 0;
        while length < 2_000 * 64 {
            length += soon(body.frame())
                .await
                .unwrap()
                .unwrap()
                .into_data()
                .unwrap()
                .len();
        }
    }
}
