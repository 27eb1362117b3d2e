//! What real coding agents sent to `ostia serve --demo`, replayed: see scripts/clients/agents/record.py.
//!
//! Each request must be answered as it was then, and its body must reach the backend unchanged.

use std::io::Write;
use std::path::Path;

use flate2::Compression;
use flate2::write::GzEncoder;
use ostia_testkit::backend::FakeBackend;
use ostia_testkit::client::{Ended, Request};
use ostia_testkit::gateway::{Site, TestGateway};
use ruzstd::encoding::{CompressionLevel, compress_to_vec};
use serde_json::{Value, json};

/// The agents that were recorded, so that a missing file is noticed.
const AGENTS: [&str; 6] = [
    "agent_claude",
    "agent_codex",
    "agent_continue",
    "agent_opencode",
    "agent_pi",
    "agent_qwen",
];

fn recorded() -> Vec<Value> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/recorded");
    let read = |agent: &&str| {
        let text = std::fs::read_to_string(folder.join(format!("{agent}.json"))).unwrap();
        serde_json::from_str(&text).unwrap()
    };
    AGENTS.iter().map(read).collect()
}

/// Restores the long texts of a recorded value, because they are the work of a scan.
fn expanded(value: &Value) -> Value {
    match value {
        Value::Object(members) => match members.get("$text").and_then(Value::as_u64) {
            Some(length) => {
                let text = "a \"quoted\" {word}\n\u{e9}\\ ".chars().cycle();
                text.take(usize::try_from(length).unwrap())
                    .collect::<String>()
                    .into()
            }
            None => members
                .iter()
                .map(|(key, value)| (key.clone(), expanded(value)))
                .collect(),
        },
        Value::Array(items) => items.iter().map(expanded).collect(),
        other => other.clone(),
    }
}

fn encoded(body: &Value, encoding: &Value) -> Vec<u8> {
    let text = body.to_string().into_bytes();
    match encoding.as_str() {
        None => text,
        Some("gzip") => {
            let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
            encoder.write_all(&text).unwrap();
            encoder.finish().unwrap()
        }
        Some("zstd") => compress_to_vec(&text[..], CompressionLevel::Fastest),
        Some(other) => panic!("{other} is not replayed yet"),
    }
}

fn request(gateway: &TestGateway, case: &Value, body: &Value) -> Request {
    let text = |key: &str| case[key].as_str().unwrap().to_owned();
    let mut request = Request::new(&text("method"), &text("target"));
    for header in case["headers"].as_array().unwrap() {
        request = request.header(header[0].as_str().unwrap(), header[1].as_str().unwrap());
    }
    request = request.bearer(&gateway.site().secrets.client_bearer());
    if body.is_null() {
        return request;
    }
    if let Some(encoding) = case["encoding"].as_str() {
        request = request.header("content-encoding", encoding);
    }
    request.body(encoded(body, &case["encoding"]))
}

/// The gateway asks for usage if the agent did not.
fn without_usage_option(body: &Value) -> Value {
    let mut body = body.clone();
    if let Some(members) = body.as_object_mut() {
        members.remove("stream_options");
    }
    body
}

#[tokio::test]
async fn what_agents_send_is_answered_and_reaches_the_backend_as_it_is() {
    for agent in recorded() {
        let name = agent["agent"].as_str().unwrap();
        let backend = FakeBackend::start().await;
        let gateway = TestGateway::start(Site::new().model("demo", &backend)).await;
        let cases = agent["requests"].as_array().unwrap();
        let mut inferences = 0;
        for case in cases {
            let body = expanded(&case["body"]);
            let seen = backend.records().len();
            let answer = gateway.call(&request(&gateway, case, &body)).await;
            let what = format!("{name}: {} {}", case["method"], case["target"]);
            assert_eq!(
                json!(answer.status()),
                case["status"],
                "{what}: {}",
                answer.text()
            );
            assert_eq!(answer.ended, Ended::Complete, "{what}");
            let records = backend.records();
            if body["model"].is_string() && records.len() > seen {
                let sent: Value = serde_json::from_slice(&records[seen].received.body).unwrap();
                assert_eq!(
                    without_usage_option(&sent),
                    without_usage_option(&body),
                    "{what}"
                );
                inferences += 1;
            }
        }
        // The question, and the output of the tool.
        assert!(inferences >= 2, "{name}: {inferences} of {}", cases.len());
        gateway.finish(&[&backend]).await;
    }
}
