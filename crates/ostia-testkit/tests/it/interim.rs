//! Interim responses, and upgrades that nobody asked for (R4, R5, R9).

use ostia_testkit::backend::Script;
use ostia_testkit::client::Ended;

use crate::common::{assert_error, rig};

#[tokio::test]
async fn interim_answers_of_a_backend_end_at_the_gateway() {
    let (backend, gateway) = rig().await;
    let hints = "HTTP/1.1 103 Early Hints\r\nLink: </a>; rel=preload\r\n\r\n";
    let script = Script::completion()
        .interim(hints)
        .interim("HTTP/1.1 100 Continue\r\n\r\n")
        .interim("HTTP/1.1 102 Processing\r\n\r\n");
    let mut client = gateway.client().await;
    for request in [gateway.chat("m"), gateway.chat_stream("m")] {
        for script in [
            script.clone(),
            script.clone().coalesced(),
            Script::many_interim(100),
        ] {
            backend.next(script);
            let answer = client.call(&request).await;
            assert_eq!((answer.status(), &answer.ended), (200, &Ended::Complete));
            assert!(answer.interim.is_empty(), "{:?}", answer.interim);
            assert_eq!(answer.header("link"), None);
        }
    }
    assert_eq!(backend.counts().connections, 1);
    gateway.finish(&[&backend]).await;
}

#[tokio::test]
async fn interim_answers_without_end_are_refused() {
    let (backend, gateway) = rig().await;
    backend.next(Script::many_interim(100_000));
    let answer = gateway.call(&gateway.chat("m")).await;
    assert_error(
        &answer,
        502,
        "upstream_error",
        "upstream_invalid",
        "1xx for ever",
    );
    backend.open_connections(0).await;
    gateway.finish(&[&backend]).await;
}

#[tokio::test]
async fn a_switch_of_protocols_is_refused_and_its_connection_closed() {
    let (backend, gateway) = rig().await;
    backend.next(Script::switching_protocols());
    let answer = gateway.call(&gateway.chat("m")).await;
    assert_error(&answer, 502, "upstream_error", "upstream_invalid", "101");
    backend.open_connections(0).await;
    assert_eq!(gateway.call(&gateway.chat("m")).await.status(), 200);
    let records = backend.records();
    assert_ne!(records[0].connection, records[1].connection);
    gateway.finish(&[&backend]).await;
}

#[tokio::test]
async fn an_upgrade_is_not_passed_on() {
    let (backend, gateway) = rig().await;
    for protocol in ["websocket", "h2c"] {
        let request = gateway
            .chat("m")
            .header("Upgrade", protocol)
            .header("Connection", "Upgrade, HTTP2-Settings")
            .header("HTTP2-Settings", "AAMAAABkAARAAAAAAAIAAAAA")
            .header("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ==");
        let mut client = gateway.client().await;
        // The following bytes are the next request, not a stream of another protocol.
        let mut bytes = request.bytes().to_vec();
        bytes.extend_from_slice(&gateway.chat("m").bytes());
        client.send(&bytes).await;
        assert_eq!(client.answer().await.status(), 200, "{protocol}");
        assert_eq!(client.answer().await.status(), 200, "{protocol}");
    }
    for record in backend.records() {
        for name in [
            "upgrade",
            "connection",
            "http2-settings",
            "sec-websocket-key",
        ] {
            assert_eq!(record.received.header(name), None, "{name}");
        }
    }
    assert_eq!(gateway.finish(&[&backend]).await.len(), 4);
}

#[tokio::test]
async fn trailers_of_a_backend_end_at_the_gateway() {
    use ostia_testkit::backend::Step;
    let (backend, gateway) = rig().await;
    let body = "{\"choices\":[]}";
    let message = format!(
        "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ntransfer-encoding: chunked\r\ntrailer: x-sum\r\n\r\n\
         {:x};ext=1\r\n{body}\r\n0\r\nx-sum: 1\r\nset-cookie: a=b\r\n\r\n",
        body.len()
    );
    backend.next(Script::steps([Step::Write(message.into())]));
    let answer = gateway.call(&gateway.chat("m")).await;
    assert_eq!(
        (answer.text(), &answer.ended),
        (body.to_owned(), &Ended::Complete)
    );
    assert!(answer.trailers.0.is_empty());
    assert_eq!(answer.header("trailer"), None);
    gateway.finish(&[&backend]).await;
}
