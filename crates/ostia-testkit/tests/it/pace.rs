//! Time within a stream: silence, trickles, and comments that keep the connection open (R48, R49).

use bytes::Bytes;
use ostia_testkit::backend::{Break, Cuts, FakeBackend, Script, Step};
use ostia_testkit::client::{Ended, RawClient, Reading};
use ostia_testkit::gate::Gate;
use ostia_testkit::gateway::TestGateway;

use crate::common::{DONE, assert_error, chat_event, chat_events, chat_stream_of, rig_with, told};

const COMMENT: &str = ": keep-alive\n";
const OFTEN: &str = "[upstream]\nkeepalive_comment = \"15ms\"";

#[tokio::test]
async fn a_stream_that_stalls_ends_broken_at_the_idle_timeout() {
    let (backend, gateway) = rig_with("[upstream]\nstream_idle_timeout = \"200ms\"").await;
    backend.otherwise(Script::events(chat_stream_of(4)).break_after(2, Break::Stall));
    let answer = gateway.call(&gateway.chat_stream("m")).await;
    assert!(answer.text().starts_with(&chat_events(2).concat()));
    let rest = answer.events().split_off(2);
    assert_eq!(rest.len(), 1, "{}", answer.text());
    assert!(rest[0].data.contains("\"upstream_timeout\""));
    assert!(rest[0].data.contains("\"timeout_error\""));
    assert_eq!(answer.ended, Ended::Fin);
    backend.aborts(1).await;
    let rows = gateway.finish(&[&backend]).await;
    assert_eq!(
        told(&rows[0]),
        ("upstream_timeout", "streaming", "upstream_timeout")
    );
    assert!(rows[0].tokens.completion >= 2);
}

/// A stream that repeats the same chunk, each time after the gate is released.
fn drip(chunk: &str, gate: &Gate) -> Script {
    let head =
        "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n";
    let drop = Bytes::from(format!("{:x}\r\n{chunk}\r\n", chunk.len()));
    let drops = (0..50_000).flat_map(|_| [Step::Pass(gate.clone()), Step::Write(drop.clone())]);
    Script::steps(std::iter::once(Step::Write(head.into())).chain(drops))
}

const SOON_OVER: &str = "[upstream]\nstream_idle_timeout = \"20s\"\ntotal_timeout = \"500ms\"";

#[tokio::test]
async fn an_event_that_drips_for_ever_is_a_504_at_the_total_timeout() {
    let (backend, gateway) = rig_with(SOON_OVER).await;
    let gate = Gate::closed();
    backend.next(drip("x", &gate));
    let mut client = gateway.client().await;
    client.send(gateway.chat_stream("m").bytes()).await;
    let mut released = 0;
    let dripping = async {
        loop {
            gate.release(1);
            released += 1;
            gate.reached(released).await;
        }
    };
    let answer = tokio::select! {
        answer = client.answer() => answer,
        () = dripping => unreachable!(),
    };
    assert_error(&answer, 504, "timeout_error", "upstream_timeout", "a drip");
    backend.aborts(1).await;
    let rows = gateway.finish(&[&backend]).await;
    assert_eq!(told(&rows[0]).0, "upstream_timeout");
}

#[tokio::test]
async fn a_stream_that_drips_for_ever_ends_broken_at_the_total_timeout() {
    let (backend, gateway) = rig_with(SOON_OVER).await;
    let gate = Gate::closed();
    backend.next(drip(&chat_event("x"), &gate));
    let mut client = gateway.client().await;
    client.send(gateway.chat_stream("m").bytes()).await;
    gate.release(1);
    let mut reading = client.begin().await.unwrap();
    let mut last = Vec::new();
    let ended = loop {
        match client.piece(&mut reading).await {
            Ok(Some(piece)) => {
                gate.release(1);
                last = piece.to_vec();
            }
            Ok(None) => break Ended::Complete,
            Err(ended) => break ended,
        }
    };
    assert_eq!(ended, Ended::Fin);
    assert!(String::from_utf8_lossy(&last).contains("upstream_timeout"));
    backend.aborts(1).await;
    let rows = gateway.finish(&[&backend]).await;
    assert_eq!(
        told(&rows[0]),
        ("upstream_timeout", "streaming", "upstream_timeout")
    );
}

/// Reads until `count` more comments have arrived, and appends everything to `text`.
async fn comments(client: &mut RawClient, reading: &mut Reading, text: &mut Vec<u8>, count: usize) {
    let seen = |text: &[u8]| memchr::memmem::find_iter(text, COMMENT).count();
    let enough = seen(text) + count;
    while seen(text) < enough {
        text.extend_from_slice(&client.piece(reading).await.unwrap().unwrap());
    }
}

#[tokio::test]
async fn a_silent_stream_is_kept_alive_between_events_only() {
    let (backend, gateway) = rig_with(OFTEN).await;
    let events = chat_stream_of(3);
    let gate = Gate::closed();
    backend.next(Script::events(events.clone()).gate_events(&gate));
    let mut client = gateway.client().await;
    client.send(gateway.chat_stream("m").bytes()).await;
    let mut reading = client.begin().await.unwrap();
    assert_eq!(reading.status(), 200);
    let mut text = Vec::new();
    // Before the first event, and in each pause.
    for _ in 0..events.len() {
        comments(&mut client, &mut reading, &mut text, 2).await;
        gate.release(1);
        text.extend_from_slice(&client.until(&mut reading, b"\n\n").await);
    }
    let rest = client.rest(reading).await;
    assert_eq!(rest.ended, Ended::Complete);
    text.extend_from_slice(&rest.body);
    assert_only_comments_added(&text, &events);
    let rows = gateway.finish(&[&backend]).await;
    assert_eq!(told(&rows[0]), ("ok", "done", ""));
}

/// The backend's bytes, with whole comment lines only between events.
fn assert_only_comments_added(text: &[u8], events: &[String]) {
    let mut rest = std::str::from_utf8(text).unwrap();
    for event in events {
        while let Some(behind) = rest.strip_prefix(COMMENT) {
            rest = behind;
        }
        rest = rest
            .strip_prefix(event.as_str())
            .unwrap_or_else(|| panic!("{event:?} at {rest:?}"));
    }
    assert_eq!(rest.replace(COMMENT, ""), "");
}

#[tokio::test]
async fn no_comment_comes_within_an_event() {
    let (backend, gateway) = rig_with(OFTEN).await;
    let events = chat_stream_of(2);
    let whole = events.concat();
    // Within the second event: at its start, in its text, before each of the two line ends.
    let first = events[0].len();
    let second = first + events[1].len();
    for at in [first + 1, first + 10, second - 2, second - 1] {
        held_within(&gateway, &backend, &events, at, &whole).await;
    }
    // After CRLFCR an LF may follow.
    let crlf: Vec<_> = events
        .iter()
        .map(|event| event.replace('\n', "\r\n"))
        .collect();
    let at = crlf[0].len() - 1;
    held_within(&gateway, &backend, &crlf, at, &crlf.concat()).await;
    gateway.finish(&[&backend]).await;
}

/// Pauses a stream at a certain byte for as long as another stream gets several comments.
async fn held_within(
    gateway: &TestGateway,
    backend: &FakeBackend,
    events: &[String],
    at: usize,
    whole: &str,
) {
    let gate = Gate::closed();
    backend.next(
        Script::events(events.to_vec())
            .cut_body(Cuts::At(vec![at]))
            .gate_events(&gate),
    );
    let mut held = gateway.client().await;
    held.send(gateway.chat_stream("m").bytes()).await;
    gate.release(1);
    gate.reached(2).await;

    let pause = Gate::closed();
    backend.next(Script::events([DONE]).gate_events(&pause));
    let mut timer = gateway.client().await;
    timer.send(gateway.chat_stream("m").bytes()).await;
    let mut reading = timer.begin().await.unwrap();
    comments(&mut timer, &mut reading, &mut Vec::new(), 4).await;
    pause.open();
    timer.rest(reading).await;

    gate.open();
    let answer = held.answer().await;
    let text = answer.text();
    assert_eq!(answer.ended, Ended::Complete, "{at}");
    assert_eq!(text.replace(COMMENT, ""), whole, "{at}");
    if let Some(comment) = text.find(COMMENT) {
        assert!(
            text[..comment].is_empty() || text[..comment].ends_with("\n\n"),
            "{at}: {text}"
        );
    }
}

#[tokio::test]
async fn a_failure_behind_a_comment_is_an_error_event() {
    let (backend, gateway) = rig_with(OFTEN).await;
    for how in [Break::Reset, Break::Fin] {
        let gate = Gate::closed();
        backend.next(
            Script::events(chat_stream_of(2))
                .break_after(0, how)
                .gate_end(&gate),
        );
        let mut client = gateway.client().await;
        client.send(gateway.chat_stream("m").bytes()).await;
        let mut reading = client.begin().await.unwrap();
        comments(&mut client, &mut reading, &mut Vec::new(), 1).await;
        gate.open();
        let answer = client.rest(reading).await;
        assert_eq!(answer.ended, Ended::Fin, "{how:?}");
        let events = answer.events();
        assert_eq!(events.len(), 1, "{how:?}: {}", answer.text());
        assert!(events[0].data.contains("upstream_closed"));
    }
    for row in gateway.finish(&[&backend]).await {
        assert_eq!((row.http_status, &*row.outcome), (200, "upstream_error"));
        // There was no token, only what kept the connection open.
        assert_eq!(row.ttft_ms, None);
    }
}

#[tokio::test]
async fn a_plain_answer_gets_no_comments() {
    let (backend, gateway) = rig_with(OFTEN).await;
    let gate = Gate::closed();
    backend.next(Script::completion().gate_events(&gate));
    let mut plain = gateway.client().await;
    plain.send(gateway.chat("m").bytes()).await;
    backend.requests(1).await;
    let pause = Gate::closed();
    backend.next(Script::events([DONE]).gate_events(&pause));
    let mut timer = gateway.client().await;
    timer.send(gateway.chat_stream("m").bytes()).await;
    let mut reading = timer.begin().await.unwrap();
    comments(&mut timer, &mut reading, &mut Vec::new(), 3).await;
    pause.open();
    timer.rest(reading).await;
    gate.open();
    let answer = plain.answer().await;
    assert_eq!((answer.status(), &answer.ended), (200, &Ended::Complete));
    assert!(!answer.text().contains("keep-alive"));
    gateway.finish(&[&backend]).await;
}
