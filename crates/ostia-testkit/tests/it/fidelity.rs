//! Bytes pass unchanged in both directions, apart from what the contract names (R55).

use ostia_testkit::backend::{Cuts, FakeBackend, Script, ScriptFraming};
use ostia_testkit::client::Ended;
use ostia_testkit::gateway::{Endpoint, Site, TestGateway};
use serde_json::json;

use crate::common::{DONE, asks_for_usage, chat_event, directly, rig};

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
        // Embeddings are never streamed.
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

/// A small stream with everything that a cut can hit: UTF-8 of each length, CRLF, two `data` lines, usage.
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
