//! HTTP/2 with handmade frames: floods and malformed requests (RFC 9113).

use std::time::Duration;

use bytes::Bytes;
use http::{Response, StatusCode};
use tokio::io::AsyncReadExt;
use tokio::sync::mpsc;
use tokio::time::timeout;

use super::super::{Inbound, Options};
use super::http2::Http2Client;
use super::{Client, Gateway, PATIENCE, TestBody, answer, echo, next, options};

const SHORT: Duration = Duration::from_millis(200);
const WINDOW: u32 = 65_535;

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
/// `:method GET`, `:scheme http`, `:path /`, `:authority a` in HPACK.
const GET: &[u8] = &[0x82, 0x86, 0x84, 0x41, 0x01, b'a'];

const DATA: u8 = 0;
const HEADERS: u8 = 1;
const PRIORITY: u8 = 2;
const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const PING: u8 = 6;
const WINDOW_UPDATE: u8 = 8;
const UNKNOWN: u8 = 0xfa;
const END_STREAM: u8 = 1;
const END_HEADERS: u8 = 4;
/// Several limits would end it.
const ANY: &str = "";
/// In HPACK.
const STATUS_200: u8 = 0x88;
const STATUS_400: u8 = 0x8c;

fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    let mut frame = length[1..].to_vec();
    frame.extend_from_slice(&[kind, flags]);
    frame.extend_from_slice(&stream.to_be_bytes());
    frame.extend_from_slice(payload);
    frame
}

/// A literal field that is not indexed.
fn field(name: &str, value: &[u8]) -> Vec<u8> {
    let length = |bytes: &[u8]| u8::try_from(bytes.len()).unwrap();
    let name = name.as_bytes();
    [&[0, length(name)], name, &[length(value)], value].concat()
}

/// What counts is requests and answers, not bytes: neither PINGs nor DATA on a stream that has ended.
#[tokio::test]
async fn frames_that_ask_nothing_keep_no_connection() {
    let options = Options {
        header_timeout: SHORT,
        ..options()
    };
    let gateway = Gateway::start(options, echo).await;
    for noise in [
        frame(6, 0, 0, &[7; 8]),
        frame(0, 0, 1, b"x"),
        frame(8, 0, 0, &1_u32.to_be_bytes()),
    ] {
        let mut client = gateway.connect().await;
        client.send(PREFACE).await;
        client.send(frame(4, 0, 0, &[])).await;
        client.send(frame(1, 0x5, 1, GET)).await;
        while gateway.connections.open() > 0 {
            client.send(&noise).await;
            tokio::time::sleep(SHORT / 10).await;
        }
    }
}

/// R15. Each reset waits until its request has begun, so that h2's own count of unaccepted streams does not catch it
/// first.
#[tokio::test]
async fn rapid_reset_ends_the_connection() {
    let (started, mut starts) = mpsc::unbounded_channel();
    let gateway = Gateway::start(options(), move |_: Inbound| {
        started.send(()).ok();
        std::future::pending()
    })
    .await;
    let mut client = gateway.connect().await;
    client.send(PREFACE).await;
    client.send(frame(4, 0, 0, &[])).await;
    let mut requests = 0;
    for stream in (1..20_000).step_by(2) {
        client.send(frame(1, 0x5, stream, GET)).await;
        if !client.goes_on_until(next(&mut starts)).await {
            break;
        }
        requests += 1;
        client.send(frame(3, 0, stream, &8u32.to_be_bytes())).await;
    }
    assert!((100..1000).contains(&requests), "{requests}");
    gateway.until_none_is_open().await;
    assert_eq!(abused(&gateway), [("resets", 1)]);
}

#[tokio::test]
async fn a_flood_of_resets_ends_the_connection() {
    let gateway = Gateway::start(options(), |_: Inbound| std::future::pending()).await;
    let mut client = gateway.connect().await;
    let mut flood = PREFACE.to_vec();
    flood.extend(frame(4, 0, 0, &[]));
    for stream in (1..20_000).step_by(2) {
        flood.extend(frame(1, 0x5, stream, GET));
        flood.extend(frame(3, 0, stream, &8u32.to_be_bytes()));
    }
    client.send(flood).await;
    client.read_all().await;
    gateway.until_none_is_open().await;
}

/// HEADERS without END_HEADERS, then CONTINUATION forever (R16).
#[tokio::test]
async fn a_flood_of_continuations_ends_the_connection() {
    let gateway = Gateway::start(options(), |_: Inbound| async { panic!("never asked") }).await;
    let mut client = gateway.connect().await;
    let mut flood = PREFACE.to_vec();
    flood.extend(frame(4, 0, 0, &[]));
    flood.extend(frame(1, 0x1, 1, GET));
    for _ in 0..1000 {
        // A literal field "x: y" that is not indexed, many times.
        flood.extend(frame(9, 0, 1, &[0, 1, b'x', 1, b'y'].repeat(1000)));
    }
    client.send(flood).await;
    client.read_all().await;
    gateway.until_none_is_open().await;
}

/// A connection that has said hello.
async fn hello(gateway: &Gateway) -> Client {
    let mut client = gateway.connect().await;
    client
        .send([PREFACE, &frame(SETTINGS, 0, 0, &[])].concat())
        .await;
    client
}

fn abused(gateway: &Gateway) -> Vec<(&'static str, u64)> {
    let counts = gateway.connections.abused();
    counts.filter(|(_, count)| *count > 0).collect()
}

/// Answers `/other`, and nothing else.
async fn answer_other(inbound: Inbound) -> Response<TestBody> {
    match inbound.head.uri.path() {
        "/other" => echo(inbound).await,
        _ => std::future::pending().await,
    }
}

/// The requests of `GET` on these streams.
fn requests(streams: impl Iterator<Item = u32>, head: &[u8]) -> Vec<u8> {
    streams
        .flat_map(|stream| frame(HEADERS, END_STREAM | END_HEADERS, stream, head))
        .collect()
}

/// R16. A connection may send some frames that ask for nothing, not without end, and nobody else is hurt.
#[tokio::test]
async fn floods_of_every_frame_end_their_connection() {
    let number = |value: u32| value.to_be_bytes();
    let window = [&[0, 4][..], &number(70_000)].concat();
    let open = frame(HEADERS, END_HEADERS, 1, GET);
    let after = |kind, stream, payload: &[u8]| {
        [open.clone(), frame(kind, 0, stream, payload).repeat(5_000)].concat()
    };
    // "x" with 3000 bytes goes into the table of fields; each later head names it 25 times.
    let indexed = [&[0x40, 1, b'x', 0x7f, 0xb9, 0x16][..], &[b'y'; 3000]].concat();
    // Adds nothing to the table itself.
    let named = [&GET[..3], &[0x01, 1, b'a'], &[0xbe; 25]].concat();
    let too_long = [
        requests(1..2, &[GET, &indexed].concat()),
        requests((3..20_000).step_by(2), &named),
    ];
    let floods = [
        ("settings", "frames", after(SETTINGS, 0, &[])),
        (
            "windows of all streams",
            "frames",
            after(SETTINGS, 0, &window),
        ),
        ("pings", "frames", after(PING, 0, &[7; 8])),
        ("priorities", "frames", after(PRIORITY, 1, &[0, 0, 0, 0, 9])),
        ("unknown frames", "frames", after(UNKNOWN, 1, &[7; 100])),
        ("windows", "frames", after(WINDOW_UPDATE, 0, &number(1))),
        ("resets", "frames", after(RST_STREAM, 1, &number(8))),
        ("no data", "protocol", after(DATA, 1, &[])),
        (
            "refused streams",
            ANY,
            requests((1..20_000).step_by(2), GET),
        ),
        ("heads beyond the limit", ANY, too_long.concat()),
    ];
    for (name, abuse, flood) in floods {
        let gateway = Gateway::start(options(), answer_other).await;
        let mut other = Http2Client::connect(&gateway, WINDOW).await;
        let mut client = hello(&gateway).await;
        client.send(flood).await;
        client.read_all().await;
        while gateway.connections.open() > 1 {
            tokio::task::yield_now().await;
        }
        let abused = abused(&gateway);
        assert!(matches!(*abused, [(_, 1)]), "{name}: {abused:?}");
        assert!(abuse == ANY || abused[0].0 == abuse, "{name}: {abused:?}");
        assert_eq!(other.get("/other").await.status(), StatusCode::OK);
    }
}

/// "MadeYouReset" (CVE-2025-8671): the client makes the server reset the requests that it has begun, which then count
/// neither as open nor as cancelled by the client.
#[tokio::test]
async fn provoked_resets_end_the_connection() {
    let number = |value: u32| value.to_be_bytes();
    let provocations = [
        (
            "too large a window",
            WINDOW_UPDATE,
            number(0x7fff_ffff).to_vec(),
        ),
        ("data behind the end", DATA, b"more".to_vec()),
        ("a head behind the end", HEADERS, GET.to_vec()),
        ("a stream of itself", PRIORITY, Vec::new()),
    ];
    for (name, kind, payload) in provocations {
        let (started, mut starts) = mpsc::unbounded_channel();
        let gateway = Gateway::start(options(), move |_: Inbound| {
            started.send(()).ok();
            std::future::pending()
        })
        .await;
        let mut client = hello(&gateway).await;
        let mut begun = 0;
        for stream in (1..20_000).step_by(2) {
            client.send(requests(stream..stream + 1, GET)).await;
            if !client.goes_on_until(next(&mut starts)).await {
                break;
            }
            begun += 1;
            let payload = match kind {
                PRIORITY => [&number(stream)[..], &[1]].concat(),
                _ => payload.clone(),
            };
            client
                .send(frame(kind, END_HEADERS, stream, &payload))
                .await;
        }
        assert!(begun < 1000, "{name}: {begun}");
        gateway.until_none_is_open().await;
    }
}

/// h2 ends the connection, also where the window is a stream's (RFC 9113 section 5.4.1 leaves that open).
#[tokio::test]
async fn a_window_update_of_nothing_ends_the_connection() {
    for stream in [0, 1] {
        let gateway = Gateway::start(options(), answer_other).await;
        let mut client = hello(&gateway).await;
        client.send(requests(1..2, GET)).await;
        let nothing = frame(WINDOW_UPDATE, 0, stream, &0_u32.to_be_bytes());
        client.send(nothing).await;
        client.read_all().await;
        gateway.until_none_is_open().await;
    }
}

/// A client with large windows that reads nothing from its socket, and asks on.
#[tokio::test]
async fn a_client_that_never_reads_is_closed() {
    let options = Options {
        write_idle_timeout: SHORT,
        ..options()
    };
    let (dropped, mut drops) = mpsc::unbounded_channel();
    let gateway = Gateway::start(options, move |_: Inbound| {
        let body = TestBody::endless(Bytes::from_static(&[b'x'; 5000])).telling(dropped.clone());
        async { Response::new(body) }
    })
    .await;
    let mut client = gateway.connect().await;
    let large = [&[0, 4][..], &0x7fff_ffff_u32.to_be_bytes()].concat();
    client
        .send([PREFACE, &frame(SETTINGS, 0, 0, &large)].concat())
        .await;
    let wide = 0x7000_0000_u32.to_be_bytes();
    client.send(frame(WINDOW_UPDATE, 0, 0, &wide)).await;
    client.send(requests((1..201).step_by(2), GET)).await;
    for _ in 0..100 {
        next(&mut drops).await;
    }
    gateway.until_none_is_open().await;
}

/// An honest proxy in front of many clients: each sends a body that is refused before it has come.
#[tokio::test]
async fn many_refused_uploads_end_no_connection() {
    let gateway = Gateway::start(options(), |inbound: Inbound| async move {
        match inbound.head.uri.path() {
            "/other" => echo(inbound).await,
            _ => answer(401, "who is it?"),
        }
    })
    .await;
    let mut client = hello(&gateway).await;
    for stream in (1..201).step_by(2) {
        client.send(frame(HEADERS, END_HEADERS, stream, GET)).await;
        let (kind, head) = client.frame_on(stream).await.unwrap();
        assert_eq!((kind, head.is_empty()), (HEADERS, false));
        // What was on its way.
        client
            .send(frame(DATA, 0, stream, &[b'x'; 1000]).repeat(5))
            .await;
    }
    client
        .send(requests(201..202, &[GET, &field("x", b"y")].concat()))
        .await;
    assert_eq!(client.frame_on(201).await.unwrap().0, HEADERS);
    assert_eq!(abused(&gateway), []);
}

/// R8. Each is refused or resets its stream, and the next request on the connection is answered, but for those that h2 cannot
/// read.
#[tokio::test]
async fn each_malformed_request_leaves_the_other_streams_alone() {
    let path = |value: &[u8]| {
        let length = u8::try_from(value.len()).unwrap();
        [&[0x82, 0x86, 0x04, length][..], value, &GET[3..]].concat()
    };
    let with = |name: &str, value: &[u8]| [GET.to_vec(), field(name, value)].concat();
    let malformed = [
        ("a path without /", path(b"v1/models")),
        ("an empty path", path(b"")),
        ("a space in the path", path(b"/a b")),
        (
            "a method with ?",
            [&[0x02, 3, b'G', b'?', b'T'][..], &GET[1..]].concat(),
        ),
        ("no method", GET[1..].to_vec()),
        ("two paths", [GET, &[0x84]].concat()),
        ("no scheme", [&GET[..1], &GET[2..]].concat()),
        (
            "a pseudo field behind a field",
            [&field("x", b"y"), GET].concat(),
        ),
        ("an unknown pseudo field", with(":x", b"y")),
        ("the status of an answer", [GET, &[0x88]].concat()),
        ("upper case", with("X-Y", b"z")),
        ("a space in a name", with("x y", b"z")),
        ("an empty name", with("", b"z")),
        ("transfer-encoding", with("transfer-encoding", b"chunked")),
        ("connection", with("connection", b"close")),
        ("keep-alive", with("keep-alive", b"5")),
        ("upgrade", with("upgrade", b"h2c")),
        ("te", with("te", b"gzip")),
        ("a line break", with("x", b"a\r\nb: c")),
        ("a NUL", with("x", b"a\0b")),
        ("another host", with("host", b"b")),
        ("a longer body than sent", with("content-length", b"5")),
        (
            "two lengths",
            [with("content-length", b"0"), field("content-length", b"1")].concat(),
        ),
        ("a length that is no number", with("content-length", b"+0")),
    ];
    let mut ended = Vec::new();
    for (name, head) in malformed {
        let gateway = Gateway::start(options(), echo).await;
        let mut client = hello(&gateway).await;
        client.send(requests(1..2, &head)).await;
        client.send(requests(3..4, GET)).await;
        match client.frame_on(1).await {
            Some((RST_STREAM, _)) => {}
            Some((HEADERS, head)) => assert_eq!(head.first(), Some(&STATUS_400), "{name}"),
            Some((kind, _)) => panic!("{name}: a frame of type {kind}"),
            None => {
                ended.push(name);
                continue;
            }
        }
        let (kind, head) = client.frame_on(3).await.unwrap();
        assert_eq!(
            (kind, head.first()),
            (HEADERS, Some(&STATUS_200)),
            "after {name}"
        );
    }
    // What no decoder of fields can read is an error of the connection to h2 (RFC 9113 section 5.4.1 leaves that open).
    let unreadable = [
        "a method with ?",
        "an unknown pseudo field",
        "upper case",
        "a space in a name",
        "an empty name",
        "a line break",
        "a NUL",
    ];
    assert_eq!(ended, unreadable);
}

impl Client {
    /// Reads and drops until `event`. False if the connection ends first.
    async fn goes_on_until<T>(&mut self, event: impl Future<Output = T>) -> bool {
        let closed = async {
            let mut scratch = [0; 1024];
            while self.0.read(&mut scratch).await.is_ok_and(|read| read > 0) {}
        };
        tokio::select! {
            biased;
            _ = event => true,
            () = closed => false,
        }
    }

    /// The first frame on a stream, and its payload; `None` if the connection ends first. Frames on other streams are
    /// dropped.
    async fn frame_on(&mut self, stream: u32) -> Option<(u8, Vec<u8>)> {
        let reading = async {
            loop {
                let mut header = [0; 9];
                self.0.read_exact(&mut header).await.ok()?;
                let [a, b, c, kind, _, on @ ..] = header;
                let mut payload = vec![0; u32::from_be_bytes([0, a, b, c]) as usize];
                self.0.read_exact(&mut payload).await.ok()?;
                if u32::from_be_bytes(on) == stream {
                    return Some((kind, payload));
                }
            }
        };
        timeout(PATIENCE, reading)
            .await
            .expect("a frame comes in time")
    }
}
