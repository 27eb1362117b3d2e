//! Bytes pass as they came, both ways, apart from what the contract names (R55 to R57).

use ostia_testkit::backend::{Cuts, FakeBackend, LineEnding, Script, ScriptFraming};
use ostia_testkit::client::{Answer, Ended, RawClient, Request};
use ostia_testkit::gateway::{Endpoint, Row, Site, TestGateway};
use serde_json::json;

use crate::common::{DONE, chat_event, chat_stream_of, rig};

/// What the same backend answers when it is asked without a gateway.
async fn directly(script: &Script, request: &Request) -> Answer {
    let backend = FakeBackend::start().await;
    backend.otherwise(script.clone());
    RawClient::connect(backend.address())
        .await
        .call(request)
        .await
}

fn asks_for_usage() -> serde_json::Value {
    json!({"stream": true, "stream_options": {"include_usage": true}})
}

#[tokio::test]
async fn every_api_gives_the_backends_own_bytes() {
    let (backend, gateway) = rig().await;
    let apis = [
        "chat/completions",
        "completions",
        "embeddings",
        "responses",
        "messages",
    ];
    for api in apis {
        // No backend streams embeddings.
        let streamed = (api != "embeddings").then(asks_for_usage);
        for more in [Some(json!({})), streamed].into_iter().flatten() {
            let request = gateway.request(api, "m", &more);
            let through = gateway.call(&request).await;
            let direct = directly(&Script::completion(), &request).await;
            assert_eq!(through.text(), direct.text(), "{api} {more}");
            assert_eq!(
                through.header("content-type"),
                direct.header("content-type"),
                "{api}"
            );
            assert_eq!(through.ended, Ended::Complete, "{api}");
        }
    }
    gateway.finish(&[&backend]).await;
}

#[tokio::test]
async fn the_backend_gets_the_clients_own_bytes() {
    let backend = FakeBackend::start().await;
    let renamed = Endpoint::of("alias", &backend).config("upstream_model", json!("real/Model"));
    let site = Site::new().model("m", &backend).endpoint(renamed);
    let gateway = TestGateway::start(site).await;
    let odd = "\r\n { \"messages\" : [ {\"role\":\"user\", \"content\":\"\\u00e9\\ud83d\\ude00 \u{e9}\", \"x\":1e400}], \
               \"unknown\" : {\"model\":\"no\",\"a\":[1, 2.50]} , \"model\" :\t\"MODEL\" , \"n\": 1.0 }\n";
    for (model, upstream) in [("m", "m"), ("alias", "real/Model")] {
        let sent = odd.replace("MODEL", model);
        let expected = odd.replace("MODEL", upstream);
        let base = gateway.chat(model);
        for request in [
            base.clone().body(sent.clone()),
            base.chunked(sent.as_bytes().chunks(7).map(<[u8]>::to_vec)),
        ] {
            let answer = gateway.call(&request).await;
            assert_eq!(answer.status(), 200, "{}", answer.text());
            let received = backend.records().pop().unwrap().received;
            assert_eq!(String::from_utf8_lossy(&received.body), expected);
            let length = received.header("content-length").unwrap().to_owned();
            assert_eq!(length, expected.len().to_string());
        }
    }
    gateway.finish(&[&backend]).await;
}

#[tokio::test]
async fn only_include_usage_is_added_to_a_stream() {
    let (backend, gateway) = rig().await;
    let request = |body: &str| gateway.chat("m").body(body.to_owned());
    let without = r#"{"model":"m","messages":[{"role":"user","content":"x"}],"stream":true}"#;
    let asked = r#"{"model":"m","messages":[{"role":"user","content":"x"}],"stream":true,"stream_options":{"include_usage":true}}"#;
    gateway.call(&request(without)).await;
    gateway.call(&request(asked)).await;
    let records = backend.records();
    let mut changed = records[0].received.json();
    assert_eq!(changed["stream_options"], json!({"include_usage": true}));
    changed.as_object_mut().unwrap().remove("stream_options");
    assert_eq!(
        changed,
        serde_json::from_str::<serde_json::Value>(without).unwrap()
    );
    assert_eq!(records[1].received.body, asked);
    gateway.finish(&[&backend]).await;
}

/// A small stream in which everything can be cut: UTF-8 of each length, CRLF, two `data` lines, usage.
fn delicate() -> Vec<String> {
    let text = chat_event("é€😀");
    vec![
        text.replace('\n', "\r\n"),
        ": note\r\nid: 7\r\ndata: {\"choices\":\r\ndata: [{}]}\r\n\r\n".to_owned(),
        text,
        "data: {\"choices\":[],\"usage\":{\"prompt_tokens\":5,\"completion_tokens\":2,\"total_tokens\":7}}\n\n".to_owned(),
        DONE.to_owned(),
    ]
}

#[tokio::test]
async fn a_stream_cut_anywhere_is_the_same_stream() {
    let (backend, gateway) = rig().await;
    let events = delicate();
    let whole = events.concat();
    let request = gateway.request("chat/completions", "m", &asks_for_usage());
    let script = Script::events(events);
    let mut variants = vec![script.clone(), script.clone().coalesced()];
    variants.extend((1..whole.len()).map(|at| script.clone().cut_body(Cuts::At(vec![at]))));
    variants.extend([1, 2, 3].map(|size| script.clone().cut_body(Cuts::Every(size))));
    variants.extend([1, 2, 3].map(|size| script.clone().cut_wire(Cuts::Every(size))));
    variants.extend([1, 5].map(|size| {
        let until_close = script.clone().framing(ScriptFraming::UntilClose);
        until_close.cut_body(Cuts::Every(size))
    }));
    let count = variants.len();
    let mut client = gateway.client().await;
    for (number, variant) in variants.into_iter().enumerate() {
        backend.next(variant);
        let answer = client.call(&request).await;
        assert_eq!(answer.ended, Ended::Complete, "{number}");
        assert_eq!(answer.text(), whole, "{number}");
    }
    let rows = gateway.finish(&[&backend]).await;
    assert_eq!(rows.len(), count);
    for row in rows {
        assert_eq!((&*row.outcome, &*row.usage_source), ("ok", "upstream"));
        assert_eq!((row.tokens.prompt, row.tokens.completion), (5, 2));
        assert_eq!(row.response_bytes, whole.len() as u64);
    }
}

#[tokio::test]
async fn a_hidden_usage_chunk_is_hidden_wherever_the_stream_is_cut() {
    let (backend, gateway) = rig().await;
    let mut events = delicate();
    let script = Script::events(events.clone());
    events.remove(3);
    let shown = events.concat();
    let mut client = gateway.client().await;
    for at in 1..shown.len() + 100 {
        backend.next(script.clone().cut_body(Cuts::At(vec![at])));
        let answer = client.call(&gateway.chat_stream("m")).await;
        assert_eq!(
            (answer.text(), &answer.ended),
            (shown.clone(), &Ended::Complete),
            "{at}"
        );
    }
    for row in gateway.finish(&[&backend]).await {
        assert_eq!(
            (row.tokens.prompt, row.tokens.completion),
            (5, 2),
            "{row:?}"
        );
    }
}

#[tokio::test]
async fn the_whole_grammar_of_event_streams_passes_and_is_understood() {
    let (backend, gateway) = rig().await;
    let request = gateway.request("chat/completions", "m", &asks_for_usage());
    let base = || Script::completion().chunks(4);
    let mut scripts = Vec::new();
    for ending in [
        LineEnding::Lf,
        LineEnding::CrLf,
        LineEnding::Cr,
        LineEnding::Mixed,
    ] {
        scripts.push(base().line_ending(ending));
        scripts.push(base().line_ending(ending).comments("ping"));
        scripts.push(base().line_ending(ending).bom());
        scripts.push(base().line_ending(ending).cut_body(Cuts::Every(3)));
    }
    for script in scripts {
        backend.next(script.clone());
        let through = gateway.call(&request).await;
        let direct = directly(&script, &request).await;
        assert_eq!(through.body, direct.body, "{script:?}");
        assert_eq!(through.events(), direct.events(), "{script:?}");
    }
    for row in gateway.finish(&[&backend]).await {
        assert_eq!(
            (&*row.outcome, row.tokens.prompt, row.tokens.completion),
            ("ok", 11, 4)
        );
    }
}

const USAGE: &str =
    r#"{"choices":[],"usage":{"prompt_tokens":5,"completion_tokens":2,"total_tokens":7}}"#;

#[tokio::test]
async fn odd_ends_of_streams_are_understood() {
    let (backend, gateway) = rig().await;
    let text = chat_event("x");
    let cases = [
        // A byte order mark before the only event that tells something.
        (format!("\u{feff}data: {USAGE}\n\n{text}{DONE}"), "ok"),
        (format!("{text}data:{USAGE}\n\ndata:[DONE]\n\n"), "ok"),
        (format!("{text}data: {USAGE}\n\ndata:  [DONE] \n\n"), "ok"),
        (
            format!("{text}event: x\nid: 1\nretry: 5\ndata: {USAGE}\n\nid: 2\ndata: [DONE]\n\n"),
            "ok",
        ),
        (format!("{text}data: {USAGE}\n\ndata: [DONE]\n"), "ok"),
        (format!("{text}data: {USAGE}\n\ndata: [DONE]"), "ok"),
        (format!("{text}{DONE}data: {USAGE}\n\n"), "ok"),
        (
            format!(
                "{text}data: {}\ndata:{}\n\n{DONE}",
                &USAGE[..14],
                &USAGE[14..]
            ),
            "ok",
        ),
        (format!("{text}data: {USAGE}\n\n"), "upstream_error"),
        (
            format!("{text}data: {USAGE}\n\ndata: [DONE"),
            "upstream_error",
        ),
    ];
    let request = gateway.request("chat/completions", "m", &asks_for_usage());
    for (stream, _) in &cases {
        backend.next(Script::events([stream.clone()]));
        let answer = gateway.call(&request).await;
        assert_eq!((&answer.text(), &answer.ended), (stream, &Ended::Complete));
    }
    let rows = gateway.finish(&[&backend]).await;
    for (row, (stream, outcome)) in rows.iter().zip(&cases) {
        assert_eq!(row.outcome, *outcome, "{stream:?}");
        assert_eq!(
            (row.tokens.prompt, row.tokens.completion),
            (5, 2),
            "{stream:?}: {row:?}"
        );
    }
}

#[tokio::test]
async fn bytes_that_are_no_text_pass_unchanged() {
    let (backend, gateway) = rig().await;
    let noise: Vec<u8> = (0..=255).filter(|byte| !b"\r\n".contains(byte)).collect();
    let event = [
        b"data: {\"choices\":[{\"delta\":\"".as_slice(),
        &noise,
        b"\xff\xc0\x00\xed\xa0\x80\"}]}\n\n",
    ]
    .concat();
    let lone_cr = b"data: a\rdata: b\r\rdata: c\n\r\ndata:\n\n".to_vec();
    let pieces = [event.clone(), lone_cr.clone(), DONE.into()];
    backend.next(Script::events(pieces.clone()));
    let answer = gateway.call(&gateway.chat_stream("m")).await;
    assert_eq!(
        (&*answer.body, &answer.ended),
        (&*pieces.concat(), &Ended::Complete)
    );

    let plain = [b"{\"choices\":[\"".as_slice(), b"\xc3\xa9 \\u0000", b"\"]}"].concat();
    backend.next(Script::raw(200, plain.clone()).header("content-type", "application/json"));
    let answer = gateway.call(&gateway.chat("m")).await;
    assert_eq!((answer.status(), &*answer.body), (200, &*plain));
    gateway.finish(&[&backend]).await;
}

#[tokio::test]
async fn a_line_of_megabytes_passes() {
    let (backend, gateway) = rig().await;
    let mut events = chat_stream_of(2);
    events.insert(1, chat_event(&"long ".repeat(1_000_000)));
    for script in [
        Script::events(events.clone()),
        Script::events(events.clone()).cut_body(Cuts::Every(100_000)),
    ] {
        backend.next(script);
        let answer = gateway.call(&gateway.chat_stream("m")).await;
        assert_eq!(answer.ended, Ended::Complete);
        assert!(answer.body == events.concat().as_bytes());
    }
    let estimated = |row: &Row| row.outcome == "ok" && row.usage_source == "estimated";
    assert!(gateway.finish(&[&backend]).await.iter().all(estimated));
}

#[tokio::test]
async fn an_answer_that_is_no_json_passes_where_none_is_due() {
    let (backend, gateway) = rig().await;
    let sound: Vec<u8> = (0..400_000_u32).map(|n| n.to_le_bytes()[0]).collect();
    for framing in [
        ScriptFraming::Length,
        ScriptFraming::Chunked,
        ScriptFraming::UntilClose,
    ] {
        let script = Script::raw(200, sound.clone()).header("content-type", "audio/mpeg");
        backend.next(script.framing(framing));
        let request = gateway.request("audio/speech", "m", &json!({"input": "x"}));
        let answer = gateway.call(&request).await;
        assert_eq!(
            (answer.status(), &answer.ended),
            (200, &Ended::Complete),
            "{}",
            answer.text().len()
        );
        assert!(answer.body == sound, "{framing:?}");
        assert_eq!(answer.header("content-type"), Some("audio/mpeg"));
        let length = answer.header("content-length").map(str::to_owned);
        assert_eq!(
            length.is_some(),
            framing == ScriptFraming::Length,
            "{framing:?}"
        );
    }
    gateway.finish(&[&backend]).await;
}
