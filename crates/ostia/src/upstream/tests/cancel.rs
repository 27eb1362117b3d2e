use http_body_util::BodyExt;
use tokio::sync::mpsc;

use super::backend::Backend;
use super::{Client, client, outgoing, plain, send, soon};

/// A backend that sends `answer` and reports when the gateway has closed.
async fn watched(answer: &'static str) -> (Backend, Client, mpsc::UnboundedReceiver<&'static str>) {
    let (events, seen) = mpsc::unbounded_channel();
    let backend = Backend::start(move |_, mut peer| {
        let events = events.clone();
        async move {
            peer.request().await;
            events.send("asked").unwrap();
            peer.send(answer).await;
            peer.gone().await;
            events.send("gone").unwrap();
        }
    })
    .await;
    let client = client(&plain(&backend));
    (backend, client, seen)
}

#[tokio::test]
async fn dropped_while_it_waits_for_the_head_a_call_closes_its_connection() {
    let (_backend, client, mut seen) = watched("").await;
    {
        let mut progress = |_| {};
        let mut call = std::pin::pin!(client.send(outgoing(&["{}"]), &mut progress));
        tokio::select! {
            _ = &mut call => panic!("nothing was answered"),
            event = seen.recv() => assert_eq!(event, Some("asked")),
        }
        assert_eq!(client.stats().in_use, 1);
    }
    assert_eq!(soon(seen.recv()).await, Some("gone"));
    let stats = client.stats();
    assert_eq!((stats.open, stats.in_use), (0, 0));
}

#[tokio::test]
async fn dropped_in_the_middle_an_answer_closes_its_connection() {
    for answer in [
        "HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nok",
        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nok\r\n",
    ] {
        let (_backend, client, mut seen) = watched(answer).await;
        let mut body = soon(send(&client)).await.unwrap().body;
        soon(body.frame()).await.unwrap().unwrap();
        assert_eq!(soon(seen.recv()).await, Some("asked"));
        drop(body);
        assert_eq!(soon(seen.recv()).await, Some("gone"));
        assert_eq!(client.stats().open, 0);
    }
}

#[tokio::test]
async fn an_unread_answer_holds_back_its_backend() {
    let (written, mut total) = mpsc::unbounded_channel();
    let backend = Backend::start(move |_, mut peer| {
        let written = written.clone();
        async move {
            peer.request().await;
            peer.send("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n")
                .await;
            let block = format!("8000\r\n{}\r\n", "x".repeat(0x8000));
            let mut sum = 0;
            // Far more than two sockets and one read buffer hold. The write that blocks never finishes.
            for _ in 0..4_000 {
                peer.send(&block).await;
                sum += block.len();
                written.send(sum).unwrap();
            }
        }
    })
    .await;
    let client = client(&plain(&backend));
    let mut body = soon(send(&client)).await.unwrap().body;
    soon(body.frame()).await.unwrap().unwrap();
    // Let the backend run until nothing moves: then its task is the only one left, and it is blocked.
    let mut sum = 0;
    while let Ok(Some(more)) =
        tokio::time::timeout(std::time::Duration::from_millis(200), total.recv()).await
    {
        sum = more;
    }
    assert!(
        sum < 100_000_000,
        "{sum} bytes were taken off an answer that nobody reads"
    );
    drop(body);
}
