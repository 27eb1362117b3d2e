use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::client::{Answer, Ended, HangUp, RawClient, Request};
use crate::gate::Gate;

const CHAT: &str = "/v1/chat/completions";

fn ask(model: &str) -> Request {
    Request::post(CHAT)
        .header("x-request-id", "id-1")
        .bearer("the-key")
        .json(&json!({"model": model}))
}

fn ask_stream(model: &str, usage: bool) -> Request {
    ask_stream_of(CHAT, model, usage)
}

fn ask_stream_of(path: &str, model: &str, usage: bool) -> Request {
    let mut body = json!({"model": model, "stream": true});
    if usage {
        body["stream_options"] = json!({"include_usage": true});
    }
    Request::post(path).json(&body)
}

async fn call(backend: &FakeBackend, request: &Request) -> Answer {
    RawClient::connect(backend.address())
        .await
        .call(request)
        .await
}

async fn streamed(script: Script) -> Answer {
    let backend = FakeBackend::start().await;
    backend.otherwise(script);
    call(&backend, &ask_stream("m", true)).await
}

fn values(answer: &Answer) -> Vec<Value> {
    let events = answer
        .events()
        .into_iter()
        .filter(|event| event.data != "[DONE]");
    events
        .map(|event| serde_json::from_str(&event.data).unwrap())
        .collect()
}

#[tokio::test]
async fn a_plain_request_is_answered_and_recorded() {
    let backend = FakeBackend::start().await;
    let mut client = RawClient::connect(backend.address()).await;
    let answer = client.call(&ask("m")).await;
    assert_eq!((answer.status(), &answer.ended), (200, &Ended::Complete));
    assert_eq!(
        answer.json()["choices"][0]["message"]["content"],
        "piece0 piece1 piece2 "
    );
    assert_eq!(answer.json()["usage"]["total_tokens"], 14);

    client.call(&ask("m")).await;
    let seen = backend.ended(2).await;
    let first = &seen[0];
    assert_eq!(
        (first.number, first.connection, first.ending),
        (0, 0, Some(Ending::Answered))
    );
    assert_eq!(first.received.request_id(), Some("id-1"));
    assert_eq!(first.received.bearer(), Some("the-key"));
    assert_eq!(
        (&*first.received.method, first.received.path()),
        ("POST", CHAT)
    );
    assert_eq!(&first.received.body[..], br#"{"model":"m"}"#);
    assert_eq!(first.received.breaches, Vec::<String>::new());
    assert_eq!(
        (first.reported, first.events_written),
        (Some(Tokens::new(11, 3)), 1)
    );
    assert_eq!(seen[1].connection, 0, "the connection was kept");
    assert_eq!(backend.counts().connections, 1);
}

#[tokio::test]
async fn usage_is_streamed_only_when_asked_for() {
    for (asked, reported) in [(true, Some(Tokens::new(11, 3))), (false, None)] {
        let backend = FakeBackend::start().await;
        let answer = call(&backend, &ask_stream("m", asked)).await;
        assert_eq!(answer.header("content-type"), Some("text/event-stream"));
        assert!(answer.text().ends_with("data: [DONE]\n\n"));
        let chunks = values(&answer);
        assert_eq!(chunks.len(), if asked { 5 } else { 4 });
        assert_eq!(chunks.iter().any(|chunk| chunk["usage"].is_object()), asked);
        assert_eq!(backend.ended(1).await[0].reported, reported);
    }
}

#[tokio::test]
async fn every_dialect_reports_the_same_counts() {
    let paths = [
        "/v1/completions",
        "/v1/messages",
        "/v1/responses",
        CHAT,
        "/v1/embeddings",
    ];
    for path in paths {
        let backend = FakeBackend::start().await;
        backend.otherwise(Script::completion().chunks(4).prompt_tokens(9, 2));
        call(&backend, &ask_stream_of(path, "m", true)).await;
        call(&backend, &Request::post(path).json(&json!({"model": "m"}))).await;
        for record in backend.ended(2).await {
            let tokens = record.reported.unwrap();
            let completion = if path.ends_with("embeddings") { 0 } else { 4 };
            assert_eq!(
                (tokens.prompt, tokens.completion, tokens.cached),
                (9, completion, 2),
                "{path}"
            );
        }
    }
}

#[tokio::test]
async fn odd_usage_comes_as_ordered() {
    let usage = |answer: &Answer| -> Vec<Value> {
        let with = |chunk: Value| chunk.get("usage").cloned();
        values(answer).into_iter().filter_map(with).collect()
    };
    let total = |value: &Value| value["total_tokens"].as_u64().unwrap();

    let twice = usage(&streamed(Script::completion().usage(UsageShape::Twice)).await);
    assert_eq!(twice.iter().map(total).collect::<Vec<_>>(), [12, 14]);
    let each = usage(&streamed(Script::completion().usage(UsageShape::EveryChunk)).await);
    assert_eq!(each.iter().map(total).collect::<Vec<_>>(), [12, 13, 14, 14]);
    assert_eq!(
        usage(&streamed(Script::completion().usage(UsageShape::Absent)).await),
        Vec::<Value>::new()
    );
    for odd in [
        json!(null),
        json!("14"),
        json!({"total_tokens": -1}),
        json!({"total_tokens": 1_u64 << 63}),
    ] {
        let script = Script::completion().usage(UsageShape::Odd(odd.clone()));
        assert_eq!(usage(&streamed(script).await), [odd]);
    }
    let after = streamed(Script::completion().usage(UsageShape::AfterDone)).await;
    assert_eq!(
        after
            .events()
            .iter()
            .rposition(|event| event.data == "[DONE]"),
        Some(4)
    );
    assert_eq!(after.events().len(), 6);
}

#[tokio::test]
async fn a_gate_lets_out_one_event_at_a_time() {
    let (backend, gate) = (FakeBackend::start().await, Gate::closed());
    backend.otherwise(Script::completion().chunks(2).gate_events(&gate));
    let mut client = RawClient::connect(backend.address()).await;
    client.send(ask_stream("m", false).bytes()).await;
    let mut reading = client.begin().await.unwrap();
    for event in 1..=2 {
        gate.release(1);
        let text = client.until(&mut reading, b"\n\n").await;
        assert_eq!(memchr::memmem::find_iter(&text, b"data:").count(), 1);
        assert_eq!(backend.events(0, event).await.events_written, event);
    }
    gate.open();
    let answer = client.rest(reading).await;
    assert!(
        answer.text().ends_with("data: [DONE]\n\n"),
        "{}",
        answer.text()
    );
}

#[tokio::test]
async fn every_break_keeps_what_was_written_before() {
    let whole = streamed(Script::completion().chunks(4)).await;
    let starts: Vec<_> = memchr::memmem::find_iter(&whole.body, b"\n\n")
        .map(|at| at + 2)
        .collect();
    let breaks = [
        (Break::Reset, Ended::Reset),
        (Break::Fin, Ended::Fin),
        (Break::ShortLength, Ended::Fin),
        (
            Break::BadChunk,
            Ended::Malformed("chunk size \"zz\"".to_owned()),
        ),
    ];
    for (how, ended) in breaks {
        for events in 0..=3 {
            let script = Script::broken_stream(4, how).break_after(events, how);
            let answer = streamed(script).await;
            let length = if events == 0 { 0 } else { starts[events - 1] };
            assert_eq!(
                (answer.status(), &answer.ended),
                (200, &ended),
                "{how:?} after {events}"
            );
            assert_eq!(answer.body, whole.body[..length], "{how:?} after {events}");
        }
    }
}

#[tokio::test]
async fn an_abort_is_seen_in_every_phase() {
    for how in [HangUp::Fin, HangUp::Reset] {
        let (backend, gate) = (FakeBackend::start().await, Gate::closed());
        backend.on_model("silent", Script::silent());
        backend.on_model("gated", Script::completion().gate_events(&gate));
        backend.on_model("stalled", Script::broken_stream(1, Break::Stall));
        backend.on_model(
            "endless",
            Script::repeated(vec![b'x'; 4096], u64::MAX).framing(ScriptFraming::Chunked),
        );

        let mut clients = Vec::new();
        for model in ["silent", "gated", "stalled", "endless"] {
            let mut client = RawClient::connect(backend.address()).await;
            client.send(ask_stream(model, false).bytes()).await;
            clients.push(client);
        }
        let mut halfway = RawClient::connect(backend.address()).await;
        halfway
            .send("POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\n\r\nab")
            .await;
        clients.push(halfway);
        backend.requests(4).await;
        backend
            .shared
            .until("five heads", |state| {
                (state.records.len() == 5).then_some(())
            })
            .await;
        assert_eq!(backend.counts().active, 5);
        for client in clients {
            client.hang_up(how).await;
        }
        let aborted = backend.aborts(5).await;
        assert!(
            aborted
                .iter()
                .all(|record| record.aborted_at() >= Some(record.head_at))
        );
        backend.open_connections(0).await;
        assert_eq!(
            (backend.counts().active, backend.counts().most_active),
            (0, 5)
        );
    }
}

#[tokio::test]
async fn hanging_up_after_the_last_byte_is_no_abort() {
    let backend = FakeBackend::start().await;
    for _ in 0..20 {
        let mut client = RawClient::connect(backend.address()).await;
        client.call(&ask_stream("m", true)).await;
        client.hang_up(HangUp::Reset).await;
    }
    let endings: Vec<_> = backend
        .ended(20)
        .await
        .iter()
        .map(|record| record.ending)
        .collect();
    assert_eq!(endings, vec![Some(Ending::Answered); 20]);
}

#[tokio::test]
async fn scripts_are_chosen_from_the_most_special() {
    let backend = FakeBackend::start().await;
    backend.on_model("m", Script::raw(201, ""));
    backend.sequence("m", [Script::raw(202, ""), Script::raw(203, "")]);
    backend.on_path(
        "/health",
        Script::raw(204, "").framing(ScriptFraming::UntilClose),
    );
    backend.otherwise(Script::raw(205, ""));
    let mut statuses = Vec::new();
    for request in [
        ask("m"),
        ask("m"),
        ask("m"),
        ask("other"),
        Request::get("/health?deep=1"),
    ] {
        statuses.push(call(&backend, &request).await.status());
    }
    backend.next(Script::raw(206, ""));
    statuses.push(call(&backend, &ask("m")).await.status());
    assert_eq!(statuses, [202, 203, 201, 205, 204, 206]);
}

#[tokio::test]
async fn a_form_names_its_model() {
    let backend = FakeBackend::start().await;
    backend.on_model("whisper", Script::raw(299, ""));
    let form = "--b\r\nContent-Disposition: form-data; name=\"model\"\r\n\r\nwhisper\r\n--b--\r\n";
    let request = Request::post("/v1/audio/transcriptions")
        .header("content-type", "multipart/form-data; boundary=b");
    assert_eq!(call(&backend, &request.body(form)).await.status(), 299);
}

#[tokio::test]
async fn connections_can_be_closed_under_the_client() {
    let backend = FakeBackend::start().await;
    backend.close_after(1);
    let mut client = RawClient::connect(backend.address()).await;
    assert_eq!(client.call(&ask("m")).await.header("connection"), None);
    assert_eq!(client.closed().await.1, Ended::Fin);

    let backend = FakeBackend::start().await;
    let mut client = RawClient::connect(backend.address()).await;
    client.call(&ask("m")).await;
    backend.close_idle();
    assert_eq!(client.closed().await.1, Ended::Fin);

    for (script, ended) in [
        (Script::hang_up(), Ended::Fin),
        (Script::reset(), Ended::Reset),
    ] {
        backend.next(script);
        let mut client = RawClient::connect(backend.address()).await;
        client.send(ask("m").bytes()).await;
        assert_eq!(client.begin().await.unwrap_err(), ended);
    }
}

#[tokio::test]
async fn refusing_and_accepting_again() {
    let backend = FakeBackend::start().await;
    let mut open = RawClient::connect(backend.address()).await;
    open.call(&ask("m")).await;
    backend.refuse().await;
    let refused = tokio::net::TcpStream::connect(backend.address())
        .await
        .unwrap_err();
    assert_eq!(refused.kind(), std::io::ErrorKind::ConnectionRefused);
    assert_eq!(
        open.call(&ask("m")).await.status(),
        200,
        "an open connection goes on"
    );
    backend.accept().await;
    assert_eq!(call(&backend, &ask("m")).await.status(), 200);
}

#[tokio::test]
async fn heads_at_will() {
    let backend = FakeBackend::start().await;
    backend.next(Script::many_interim(3));
    let answer = call(&backend, &ask("m")).await;
    assert_eq!((answer.status(), answer.interim.len()), (200, 3));

    backend.next(Script::switching_protocols());
    let mut client = RawClient::connect(backend.address()).await;
    client.send(ask("m").bytes()).await;
    assert_eq!(client.begin().await.unwrap().status(), 101);
    drop(client);

    backend.next(Script::unauthorized_echo());
    let answer = call(&backend, &ask("m")).await;
    assert_eq!(answer.status(), 401);
    assert!(answer.text().contains("the-key"));

    backend.next(Script::redirect(302, "http://elsewhere.invalid/"));
    assert_eq!(
        call(&backend, &ask("m")).await.header("location"),
        Some("http://elsewhere.invalid/")
    );

    backend.next(Script::endless_headers());
    let mut client = RawClient::connect(backend.address()).await;
    client.send(ask("m").bytes()).await;
    assert_eq!(client.take(1 << 20).await.len(), 1 << 20);
    drop(client);
    backend.aborts(2).await;
}

#[tokio::test]
async fn an_early_answer_does_not_wait_for_the_body() {
    let backend = FakeBackend::start().await;
    backend.next(Script::error(413, "too large").early());
    let mut client = RawClient::connect(backend.address()).await;
    client
        .send("POST /v1/chat/completions HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\n\r\n")
        .await;
    assert_eq!(client.answer().await.status(), 413);
    client.send("abc").await;
    assert_eq!(client.call(&ask("m")).await.status(), 200);
    assert_eq!(&backend.requests(2).await[0].received.body[..], b"abc");
}

#[tokio::test]
async fn unsound_framing_shows_in_the_record() {
    let backend = FakeBackend::start().await;
    let both =
        "POST / HTTP/1.1\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\nTE: gzip\r\n\r\n";
    let mut client = RawClient::connect(backend.address()).await;
    client.send(both).await;
    let breaches = &backend.ended(1).await[0].received.breaches;
    assert_eq!(breaches.len(), 3, "{breaches:?}");

    let chunked = Request::post(CHAT).chunked(["{\"model\":", "\"m\"}"]);
    assert_eq!(call(&backend, &chunked).await.status(), 200);
    let sound = &backend.ended(2).await[1].received;
    assert_eq!(
        (sound.model().as_deref(), &*sound.breaches),
        (Some("m"), &[][..])
    );
}

#[tokio::test]
async fn dressed_streams_parse_alike() {
    let data = |answer: &Answer| -> Vec<_> {
        answer
            .events()
            .into_iter()
            .map(|event| event.data)
            .collect()
    };
    let plain = data(&streamed(Script::completion().chunks(5)).await);
    for ending in [
        LineEnding::Lf,
        LineEnding::CrLf,
        LineEnding::Cr,
        LineEnding::Mixed,
    ] {
        let script = Script::completion()
            .chunks(5)
            .line_ending(ending)
            .comments("busy")
            .bom();
        let answer = streamed(script).await;
        assert!(answer.body.starts_with(b"\xef\xbb\xbf: busy"));
        assert_eq!(data(&answer), plain, "{ending:?}");
    }
}

#[tokio::test]
async fn a_slow_reader_holds_the_backend_up() {
    let backend = FakeBackend::start().await;
    backend.otherwise(Script::repeated(vec![b'x'; 65_536], 512));
    let mut client = RawClient::connect_narrow(backend.address()).await;
    client.send(ask("m").bytes()).await;
    let head = client.begin().await.unwrap();
    assert_eq!(client.take(1024).await.len(), 1024);
    let record = &backend.requests(1).await[0];
    assert_eq!(record.ending, None, "32 MiB do not fit into the sockets");
    let rest = (32 << 20) - 1024;
    assert_eq!(client.take(rest).await.len(), rest);
    assert_eq!(head.status(), 200);
    assert_eq!(backend.ended(1).await[0].ending, Some(Ending::Answered));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

    #[test]
    fn cuts_change_no_byte(body in prop::collection::vec(1_usize..600, 0..12), wire in 1_usize..50, on_wire: bool) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let whole = streamed(Script::completion().text(["\u{e9}\u{1f980}", "data: \r\n", "x"])).await;
            let script = Script::completion().text(["\u{e9}\u{1f980}", "data: \r\n", "x"]);
            let script = if on_wire { script.cut_wire(Cuts::Every(wire)) } else { script.cut_body(Cuts::At(body)) };
            let backend = FakeBackend::start().await;
            backend.otherwise(script);
            let cut = call(&backend, &ask_stream("m", true)).await;
            assert_eq!((cut.body, cut.ended), (whole.body, Ended::Complete));
            let record = &backend.ended(1).await[0];
            assert_eq!((record.reported, record.events_written, record.tokens_written), (Some(Tokens::new(11, 3)), 6, 3));
        });
    }
}

#[tokio::test]
async fn coalesced_answers_are_one_write() {
    let backend = FakeBackend::start().await;
    backend.otherwise(Script::completion().coalesced());
    let answer = call(&backend, &ask_stream("m", true)).await;
    assert_eq!(answer.ended, Ended::Complete);
    let record = &backend.ended(1).await[0];
    assert_eq!(
        (record.reported, record.tokens_written),
        (Some(Tokens::new(11, 3)), 3)
    );
    assert!(record.bytes_written > answer.body.len() as u64);
}
