//! Responses that are cut: everything yielded before the cut arrives, and the response looks unfinished.

use std::sync::Arc;
use std::task::Poll;

use bytes::Bytes;
use http::Response;
use http_body::Frame;
use tokio::io::AsyncReadExt;

use super::super::{BodyBroken, Inbound, Wire};
use super::{Gateway, TestBody, options, text};

const EVENT: &[u8] = b"data: {\"error\":{}}\n\n";

/// The ways in which a body can report that it is broken.
#[derive(Clone, Copy, Debug)]
pub enum Breaking {
    WithTheLastFrame,
    AfterTheLastFrame,
    ByError,
}

pub const WAYS: [Breaking; 3] = [
    Breaking::WithTheLastFrame,
    Breaking::AfterTheLastFrame,
    Breaking::ByError,
];

/// Yields `frames` frames of `size` bytes, then the event, then breaks.
pub fn breaking(wire: Arc<Wire>, way: Breaking, frames: usize, size: usize) -> TestBody {
    let frame = Bytes::from(vec![b'x'; size]);
    let mut polls = 0;
    TestBody::new(move |_| {
        polls += 1;
        if polls <= frames {
            return Poll::Ready(Some(Ok(Frame::data(frame.clone()))));
        }
        let is_last = polls == frames + 1;
        match (way, is_last) {
            (Breaking::ByError, false) => return Poll::Ready(Some(Err(BodyBroken))),
            (Breaking::WithTheLastFrame, true) | (Breaking::AfterTheLastFrame, false) => wire.cut(),
            _ => {}
        }
        match is_last {
            true => Poll::Ready(Some(Ok(Frame::data(Bytes::from_static(EVENT))))),
            false => Poll::Pending,
        }
    })
}

/// The data of a chunked body, and whether its last chunk arrived.
fn read_chunks(mut bytes: &[u8]) -> (Vec<u8>, bool) {
    let mut data = Vec::new();
    while let Some(end) = bytes.windows(2).position(|pair| pair == b"\r\n") {
        let size = usize::from_str_radix(&text(&bytes[..end]), 16).unwrap();
        if size == 0 {
            return (data, true);
        }
        let rest = &bytes[end + 2..];
        data.extend_from_slice(&rest[..size]);
        assert_eq!(&rest[size..size + 2], b"\r\n");
        bytes = &rest[size + 2..];
    }
    assert!(bytes.is_empty());
    (data, false)
}

fn split_head(bytes: &[u8]) -> (String, &[u8]) {
    let end = bytes
        .windows(4)
        .position(|four| four == b"\r\n\r\n")
        .expect("a head");
    (text(&bytes[..end]), &bytes[end + 4..])
}

#[track_caller]
fn check_broken(bytes: &[u8], frames: usize, size: usize) {
    let (head, body) = split_head(bytes);
    assert!(head.starts_with("HTTP/1.1 200 OK\r\n"), "{head}");
    let (data, has_end) = read_chunks(body);
    assert_eq!(data.len(), frames * size + EVENT.len());
    assert!(data.ends_with(EVENT));
    assert!(!has_end);
}

async fn gateway(way: Breaking, frames: usize, size: usize) -> Gateway {
    Gateway::start(options(), move |inbound: Inbound| async move {
        Response::new(breaking(inbound.wire, way, frames, size))
    })
    .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_yielded_is_lost_100_of_100_times() {
    for way in WAYS {
        let gateway = gateway(way, 3, 100).await;
        for _ in 0..100 {
            let bytes = gateway.talk("GET / HTTP/1.1\r\nhost: a\r\n\r\n").await;
            check_broken(&bytes, 3, 100);
        }
        gateway.until_none_is_open().await;
    }
}

#[tokio::test]
async fn big_frames_reach_a_slow_reader() {
    const SIZE: usize = 3 << 20;
    for way in WAYS {
        let gateway = gateway(way, 3, SIZE).await;
        let mut client = gateway.connect().await;
        client.get("/").await;
        let mut bytes = Vec::new();
        let mut part = [0; 8192];
        loop {
            match client.0.read(&mut part).await.unwrap() {
                0 => break,
                read => bytes.extend_from_slice(&part[..read]),
            }
            tokio::task::yield_now().await;
        }
        check_broken(&bytes, 3, SIZE);
    }
}

/// A kernel that closes a socket with unread bytes sends a reset.
#[tokio::test]
async fn pipelined_bytes_do_not_turn_the_end_into_a_reset() {
    let gateway = gateway(Breaking::WithTheLastFrame, 3, 100_000).await;
    for _ in 0..20 {
        let mut request = b"GET / HTTP/1.1\r\nhost: a\r\n\r\n".to_vec();
        request.resize(40_000, b'y');
        let bytes = gateway.talk(request).await;
        check_broken(&bytes, 3, 100_000);
    }
}

#[tokio::test]
async fn a_known_length_stays_short() {
    let gateway = Gateway::start(options(), |inbound: Inbound| async move {
        let mut body = breaking(inbound.wire, Breaking::AfterTheLastFrame, 1, 10);
        body.length = Some(1000);
        Response::new(body)
    })
    .await;
    let bytes = gateway.talk("GET / HTTP/1.1\r\nhost: a\r\n\r\n").await;
    let (head, body) = split_head(&bytes);
    assert!(head.contains("content-length: 1000"), "{head}");
    assert_eq!(body.len(), 10 + EVENT.len());
}

#[tokio::test]
async fn a_cut_before_any_frame_still_sends_the_head() {
    let gateway = Gateway::start(options(), |inbound: Inbound| async move {
        let wire = inbound.wire;
        Response::new(TestBody::new(move |_| {
            wire.cut();
            Poll::Pending
        }))
    })
    .await;
    let bytes = gateway.talk("GET / HTTP/1.1\r\nhost: a\r\n\r\n").await;
    let (head, body) = split_head(&bytes);
    assert!(head.starts_with("HTTP/1.1 200 OK"), "{head}");
    assert!(body.is_empty());
}
