//! Shutting down (R86, R87).

use std::sync::{Arc, Mutex};
use std::task::Poll;
use std::time::Duration;

use bytes::Bytes;
use http::Response;
use http_body::Frame;
use tokio::net::TcpStream;
use tokio::sync::{mpsc, oneshot};

use super::super::{Inbound, Options, Wire};
use super::{Client, Gateway, TestBody, answer, echo, next, options, status, text};

#[tokio::test]
async fn idle_connections_end_at_once_and_nothing_is_accepted() {
    let gateway = Gateway::start(options(), echo).await;
    let mut used = gateway.connect().await;
    used.get("/").await;
    used.read_until("/ 0").await;
    let mut fresh = gateway.connect().await;
    gateway.drain.begin();
    assert_eq!(text(&used.read_all().await), "");
    assert_eq!(text(&fresh.read_all().await), "");
    let address = gateway.address;
    gateway.ended().await;
    assert!(TcpStream::connect(address).await.is_err());
}

#[tokio::test]
async fn what_is_under_way_is_finished_and_closed() {
    let (started, mut starts) = mpsc::unbounded_channel();
    let (release, released) = oneshot::channel::<()>();
    let released = Mutex::new(Some(released));
    let gateway = Gateway::start(options(), move |_: Inbound| {
        started.send(()).ok();
        let released = released.lock().unwrap().take().unwrap();
        async {
            released.await.unwrap();
            answer(200, "done")
        }
    })
    .await;
    let (mut client, mut idle) = (gateway.connect().await, gateway.connect().await);
    client.get("/").await;
    next(&mut starts).await;
    gateway.drain.begin();
    // Once this one is closed, the other one has been told too.
    idle.read_all().await;
    release.send(()).unwrap();
    let bytes = client.read_all().await;
    assert!(
        text(&bytes).contains("\r\nconnection: close\r\n"),
        "{}",
        text(&bytes)
    );
    assert!(text(&bytes).ends_with("done"));
    gateway.ended().await;
}

/// A request that was already on its way when the shutdown began.
#[tokio::test]
async fn the_backlog_is_served() {
    let gateway = Gateway::start(options(), echo).await;
    // On this single-threaded runtime nothing is accepted before the next await.
    let socket = std::net::TcpStream::connect(gateway.address).unwrap();
    std::io::Write::write_all(&mut &socket, b"GET / HTTP/1.1\r\nhost: a\r\n\r\n").unwrap();
    gateway.drain.begin();
    socket.set_nonblocking(true).unwrap();
    let mut client = Client(TcpStream::from_std(socket).unwrap());
    assert_eq!(status(&client.read_all().await), 200);
    gateway.ended().await;
}

/// Reports when it notices that it must end, then ends honestly.
fn honest(wire: Arc<Wire>) -> TestBody {
    let mut frames = vec!["event", "token"];
    TestBody::new(move |_| {
        let frame = match frames.len() {
            2 => frames.pop(),
            1 if wire.is_given_up() => {
                wire.cut();
                frames.pop()
            }
            _ => None,
        };
        match frame {
            Some(frame) => Poll::Ready(Some(Ok(Frame::data(Bytes::from_static(frame.as_bytes()))))),
            None => Poll::Pending,
        }
    })
}

#[tokio::test]
async fn giving_up_lets_bodies_end_honestly() {
    let gateway = Gateway::start(options(), |inbound: Inbound| async {
        Response::new(honest(inbound.wire))
    })
    .await;
    let mut client = gateway.connect().await;
    client.get("/").await;
    client.read_until("token").await;
    gateway.drain.begin();
    gateway.drain.give_up();
    assert_eq!(text(&client.read_all().await), "5\r\nevent\r\n");
    gateway.ended().await;
}

#[tokio::test]
async fn giving_up_wakes_handlers_that_wait() {
    let (started, mut starts) = mpsc::unbounded_channel();
    let gateway = Gateway::start(options(), move |inbound: Inbound| {
        let started = started.clone();
        async move {
            started.send(()).ok();
            tokio::select! {
                () = std::future::pending() => answer(200, ""),
                () = inbound.wire.given_up() => answer(503, "shutting down"),
            }
        }
    })
    .await;
    let mut client = gateway.connect().await;
    client.get("/").await;
    next(&mut starts).await;
    gateway.drain.give_up();
    let bytes = client.read_all().await;
    assert_eq!(status(&bytes), 503);
    assert!(text(&bytes).ends_with("shutting down"));
    gateway.ended().await;
}

#[tokio::test]
async fn who_does_not_end_is_dropped_after_the_grace() {
    let options = Options {
        give_up_grace: Duration::from_millis(50),
        ..options()
    };
    let (dropped, mut drops) = mpsc::unbounded_channel();
    let gateway = Gateway::start(options, move |_: Inbound| {
        let body = TestBody::silent().telling(dropped.clone());
        async { Response::new(body) }
    })
    .await;
    let mut client = gateway.connect().await;
    client.get("/").await;
    client.read_until("\r\n\r\n").await;
    gateway.drain.begin();
    gateway.drain.give_up();
    next(&mut drops).await;
    gateway.ended().await;
    client.read_all().await;
}
