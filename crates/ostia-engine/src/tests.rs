use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use ostia_core::SystemClock;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

use super::*;

const MODELS: [(&str, Fault); 5] = [
    ("demo", Fault::None),
    ("limited", Fault::Status(429)),
    ("failing", Fault::Status(500)),
    ("broken", Fault::Broken),
    ("error-in-stream", Fault::ErrorInStream),
];

/// An engine that runs until this is dropped.
struct Running {
    address: SocketAddr,
    _server: JoinSet<()>,
}

async fn run<F: Future<Output = ()> + Send + 'static>(
    serving: impl FnOnce(TcpListener) -> F,
) -> Running {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let mut server = JoinSet::new();
    server.spawn(serving(listener));
    Running {
        address,
        _server: server,
    }
}

async fn demo() -> Running {
    let engine = Engine::new(MODELS, Pace::NONE, Arc::new(SystemClock));
    run(|listener| engine.serve(listener)).await
}

/// The whole answer, head and body, as text.
async fn post(demo: &Running, api: &str, body: &Value) -> String {
    let mut socket = TcpStream::connect(demo.address).await.unwrap();
    let body = body.to_string();
    let request = format!(
        "POST /v1/{api} HTTP/1.1\r\nhost: {}\r\nconnection: close\r\ncontent-length: {}\r\n\r\n{body}",
        demo.address,
        body.len()
    );
    socket.write_all(request.as_bytes()).await.unwrap();
    let mut text = Vec::new();
    socket.read_to_end(&mut text).await.unwrap();
    String::from_utf8(text).unwrap()
}

async fn json(demo: &Running, api: &str, body: Value) -> Value {
    let answer = post(demo, api, &body).await;
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    assert!(head.starts_with("HTTP/1.1 200"), "{answer}");
    serde_json::from_str(body).unwrap()
}

fn chat(more: Value) -> Value {
    let mut body =
        json!({"model": "demo", "messages": [{"role": "user", "content": "Hello there"}]});
    for (key, value) in more.as_object().unwrap() {
        body[key] = value.clone();
    }
    body
}

#[tokio::test]
async fn max_tokens_n_and_logprobs_are_kept() {
    let demo = demo().await;
    let asked = json!({"max_tokens": 3, "n": 2, "logprobs": true, "top_logprobs": 2});
    let answer = json(&demo, "chat/completions", chat(asked)).await;
    assert_eq!(answer["choices"][1]["index"], 1);
    assert_eq!(answer["choices"][0]["finish_reason"], "length");
    assert_eq!(answer["usage"]["completion_tokens"], 6);
    assert_eq!(answer["usage"]["prompt_tokens"], 2);
    let tokens = &answer["choices"][0]["logprobs"]["content"];
    assert_eq!(tokens.as_array().unwrap().len(), 3);
    assert_eq!(tokens[0]["top_logprobs"].as_array().unwrap().len(), 2);
}

#[tokio::test]
async fn tools_are_called_where_that_is_demanded() {
    let demo = demo().await;
    let schema =
        json!({"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]});
    let function = json!({"name": "weather", "parameters": schema});
    let tools = json!([{"type": "function", "function": function}]);
    let auto = json(&demo, "chat/completions", chat(json!({"tools": tools}))).await;
    assert!(auto["choices"][0]["message"]["content"].is_string());
    let named = json!({"type": "function", "function": {"name": "weather"}});
    for choice in [json!("required"), named] {
        let body = chat(json!({"tools": tools, "tool_choice": choice}));
        let answer = json(&demo, "chat/completions", body).await;
        let call = &answer["choices"][0]["message"]["tool_calls"][0]["function"];
        assert_eq!(call["name"], "weather");
        assert_eq!(call["arguments"], r#"{"city":"demo"}"#);
        assert_eq!(answer["choices"][0]["finish_reason"], "tool_calls");
    }
    let anthropic = chat(json!({
        "tools": [{"name": "weather", "input_schema": schema}], "tool_choice": {"type": "any"},
    }));
    let message = json(&demo, "messages", anthropic).await;
    assert_eq!(message["content"][0]["input"]["city"], "demo");
    let response = json!({
        "model": "demo", "input": "Hello", "tool_choice": "required",
        "tools": [{"type": "function", "name": "weather", "parameters": schema}],
    });
    let response = json(&demo, "responses", response).await;
    assert_eq!(response["output"][0]["type"], "function_call");
}

/// This lets an agent's round trip be tried without forcing a tool.
#[tokio::test]
async fn a_tool_that_the_user_mentions_is_called_once() {
    let demo = demo().await;
    let asks = json!([{"role": "user", "content": "What is the weather in Ostia?"}]);
    let function = json!({"name": "get_weather", "parameters": {"type": "object"}});
    let request = |more: Value| {
        let mut body =
            chat(json!({"messages": asks, "tools": [{"type": "function", "function": function}]}));
        for (key, value) in more.as_object().unwrap() {
            body[key] = value.clone();
        }
        body
    };
    let called = async |api: &str, body: Value| {
        let answer = json(&demo, api, body).await.to_string();
        // Responses repeat the tools of the request.
        ["tool_calls\":[", "tool_use\"", "\"function_call\""]
            .iter()
            .any(|call| answer.contains(call))
    };
    assert!(called("chat/completions", request(json!({}))).await);
    assert!(called("chat/completions", request(json!({"tool_choice": "auto"}))).await);
    assert!(!called("chat/completions", request(json!({"tool_choice": "none"}))).await);
    let small_talk = json!({"messages": [{"role": "user", "content": "Will you get on?"}]});
    assert!(!called("chat/completions", request(small_talk)).await);
    let result = json!({"role": "tool", "tool_call_id": "c", "content": "the weather is warm"});
    let told = json!({"messages": [asks[0], result]});
    assert!(!called("chat/completions", request(told)).await);

    let tools = json!([{"name": "get_weather", "input_schema": {"type": "object"}}]);
    assert!(called("messages", request(json!({"tools": tools}))).await);
    let result =
        json!([{"type": "tool_result", "tool_use_id": "c", "content": "the weather is warm"}]);
    let told = json!({"messages": [asks[0], {"role": "user", "content": result}], "tools": tools});
    assert!(!called("messages", request(told)).await);

    let tools = json!([{"type": "function", "name": "get_weather", "parameters": {}}]);
    let spoken = json!({"model": "demo", "input": "Weather, please", "tools": tools});
    assert!(called("responses", spoken).await);
    let result =
        json!({"type": "function_call_output", "call_id": "c", "output": "the weather is warm"});
    let told = json!({"model": "demo", "input": [asks[0], result], "tools": tools});
    assert!(!called("responses", told).await);
}

#[tokio::test]
async fn an_agent_s_shell_is_called_then_its_output_is_told() {
    let demo = demo().await;
    let command = json!({"type": "string"});
    let schema =
        json!({"type": "object", "properties": {"command": command}, "required": ["command"]});
    let ask = json!({"role": "user", "content": "Please do it"});
    let said = "Hello from a shell";
    let asked = |api: &str, turns: Value| match api {
        "messages" => json!({"model": "demo", "max_tokens": 900, "messages": turns,
            "tools": [{"name": "Read", "input_schema": {}}, {"name": "Bash", "input_schema": schema}]}),
        "responses" => json!({"model": "demo", "input": turns,
            "tools": [{"type": "web_search"}, {"type": "function", "name": "shell_command", "parameters": schema}]}),
        _ => json!({"model": "demo", "messages": turns,
            "tools": [{"type": "function", "function": {"name": "bash", "parameters": schema}}]}),
    };
    for (api, result) in [
        (
            "chat/completions",
            json!({"role": "tool", "tool_call_id": "c", "content": said}),
        ),
        (
            "messages",
            json!({"role": "user", "content":
            [{"type": "tool_result", "tool_use_id": "c", "content": said}]}),
        ),
        (
            "responses",
            json!({"type": "function_call_output", "call_id": "c", "output": said}),
        ),
    ] {
        let called = json(&demo, api, asked(api, json!([ask]))).await.to_string();
        assert!(called.contains(task::COMMAND), "{api}: {called}");
        let told = json(&demo, api, asked(api, json!([ask, result])))
            .await
            .to_string();
        assert!(!told.contains(task::COMMAND), "{api}: {told}");
        assert!(
            told.contains("The command ran") && told.contains(said),
            "{api}: {told}"
        );
    }
}

#[tokio::test]
async fn structured_output_fits_its_schema() {
    let demo = demo().await;
    let schema =
        json!({"type": "object", "properties": {"a": {"type": "integer"}}, "required": ["a"]});
    let format = json!({"type": "json_schema", "json_schema": {"name": "x", "schema": schema}});
    let answer = json(
        &demo,
        "chat/completions",
        chat(json!({"response_format": format})),
    )
    .await;
    assert_eq!(answer["choices"][0]["message"]["content"], r#"{"a":0}"#);
}

#[tokio::test]
async fn streams_say_the_same_as_plain_answers() {
    let demo = demo().await;
    let data = |text: &str| -> Vec<Value> {
        let lines = text.lines().filter_map(|line| line.strip_prefix("data: "));
        lines
            .filter_map(|line| serde_json::from_str(line).ok())
            .collect()
    };
    let body = chat(json!({"stream": true, "stream_options": {"include_usage": true}}));
    let text = post(&demo, "chat/completions", &body).await;
    assert!(text.contains("data: [DONE]"));
    let chunks = data(&text);
    let said: String = chunks
        .iter()
        .filter_map(|chunk| chunk["choices"][0]["delta"]["content"].as_str())
        .collect();
    let plain = json(&demo, "chat/completions", chat(json!({}))).await;
    assert_eq!(plain["choices"][0]["message"]["content"], said);
    assert_eq!(chunks.last().unwrap()["usage"], plain["usage"]);

    let responses = post(
        &demo,
        "responses",
        &json!({"model": "demo", "input": "x", "stream": true}),
    )
    .await;
    let events = data(&responses);
    let numbers: Vec<u64> = events
        .iter()
        .map(|event| event["sequence_number"].as_u64().unwrap())
        .collect();
    assert_eq!(numbers, (0..events.len() as u64).collect::<Vec<_>>());
    assert_eq!(events.last().unwrap()["type"], "response.completed");
    let messages = post(
        &demo,
        "messages",
        &chat(json!({"stream": true, "max_tokens": 4})),
    )
    .await;
    let events = data(&messages);
    assert_eq!(events[events.len() - 2]["usage"]["output_tokens"], 4);
    assert_eq!(events.last().unwrap()["type"], "message_stop");
}

#[tokio::test]
async fn embeddings_come_as_floats_and_as_base64() {
    let demo = demo().await;
    let ask = |more: Value| json(&demo, "embeddings", more);
    let floats = ask(json!({"model": "demo", "input": ["one", "two"], "dimensions": 8})).await;
    assert_eq!(floats["data"][1]["embedding"].as_array().unwrap().len(), 8);
    let text = ask(json!({"model": "demo", "input": [1, 2, 3], "encoding_format": "base64"})).await;
    assert_eq!(text["data"].as_array().unwrap().len(), 1);
    assert!(text["data"][0]["embedding"].is_string());
}

#[tokio::test]
async fn faults_come_by_the_models_name() {
    let demo = demo().await;
    let ask = async |model: &str, stream: bool| {
        let body = chat(json!({"model": model, "stream": stream}));
        post(&demo, "chat/completions", &body).await
    };
    assert!(ask("nobody", false).await.starts_with("HTTP/1.1 404"));
    let limited = ask("limited", true).await;
    assert!(limited.starts_with("HTTP/1.1 429") && limited.contains("retry-after: 2"));
    assert!(ask("failing", false).await.starts_with("HTTP/1.1 500"));
    let broken = ask("broken", true).await;
    assert!(
        broken.contains("data: {") && !broken.contains("[DONE]") && !broken.ends_with("0\r\n\r\n")
    );
    assert!(ask("error-in-stream", true).await.contains(r#""error":{"#));
}

fn said(pieces: usize) -> Output {
    Output {
        pieces: (0..pieces).map(|n| format!("t{n} ")).collect(),
        prompt_tokens: 9,
        cached_tokens: 2,
        ..Output::default()
    }
}

async fn fixed() -> Running {
    let fixed = Arc::new(Fixed::new("m", &said(3), &said(64), Duration::ZERO));
    let answer = move |request| {
        let fixed = Arc::clone(&fixed);
        async move { Ok::<_, std::io::Error>(fixed.answer(request).await.0) }
    };
    run(|listener| serve(listener, answer)).await
}

#[tokio::test]
async fn fixed_answers_are_whole_in_every_dialect() {
    let fixed = fixed().await;
    for api in ["chat/completions", "completions", "responses", "messages"] {
        for usage in [false, true] {
            let ask = json!({"stream": true, "stream_options": {"include_usage": usage}});
            let stream = post(&fixed, api, &ask).await;
            let tokens: Vec<_> = (0..64)
                .map(|n| stream.find(&format!("\"t{n} \"")))
                .collect();
            assert!(
                tokens.iter().all(Option::is_some) && tokens.is_sorted(),
                "{api}: {stream}"
            );
            // Each event is a chunk of its own, and so a write of its own.
            assert!(
                stream.matches("\r\ndata: ").count() + stream.matches("\r\nevent: ").count() >= 66
            );
            assert!(stream.ends_with("\r\n0\r\n\r\n"));
            if api.ends_with("completions") {
                assert_eq!(stream.contains("\"completion_tokens\":64"), usage, "{api}");
                assert_eq!(stream.matches("[DONE]").count(), 1);
            }
        }
        let plain = json(&fixed, api, json!({"model": "any"})).await;
        let usage = plain["usage"].as_object().unwrap();
        assert!(usage.values().any(|count| count == 3), "{api}: {plain}");
        assert!(plain.to_string().contains("t0 t1 t2 "));
    }
    let vectors = json(&fixed, "embeddings", json!({"stream": true})).await;
    assert_eq!(vectors["usage"]["total_tokens"], 9);
    assert!(
        post(&fixed, "elsewhere", &json!({}))
            .await
            .starts_with("HTTP/1.1 404")
    );
}

/// Flags are found at either end of a large body.
#[tokio::test]
async fn fixed_answers_read_over_a_long_prompt() {
    let fixed = fixed().await;
    let long = "x".repeat(1 << 20);
    for body in [
        json!({"stream": true, "input": long}),
        json!({"input": long, "stream": true}),
    ] {
        let answer = post(&fixed, "chat/completions", &body).await;
        assert!(answer.contains("text/event-stream"));
    }
}

#[tokio::test]
async fn what_breaks_ends_without_its_end() {
    let demo = demo().await;
    for stream in [false, true] {
        let body = chat(json!({"model": "broken", "stream": stream}));
        let answer = post(&demo, "chat/completions", &body).await;
        assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
        assert!(
            answer.contains('{') && !answer.ends_with("0\r\n\r\n"),
            "{answer}"
        );
    }
}

#[tokio::test]
async fn models_are_listed() {
    let engine = demo().await;
    for server in [&engine, &fixed().await] {
        let mut socket = TcpStream::connect(server.address).await.unwrap();
        let request = "GET /v1/models HTTP/1.1\r\nhost: h\r\nconnection: close\r\n\r\n";
        socket.write_all(request.as_bytes()).await.unwrap();
        let mut text = String::new();
        socket.read_to_string(&mut text).await.unwrap();
        let (_, body) = text.split_once("\r\n\r\n").unwrap();
        let list: Value = serde_json::from_str(body).unwrap();
        assert!(list["data"][0]["id"].is_string(), "{list}");
    }
}
