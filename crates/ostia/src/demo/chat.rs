//! `chat/completions`.

use serde_json::{Value, json};

use super::ask::Ask;
use super::output::{End, Output};
use super::server::{Event, Stamp};

pub(super) fn plain(ask: &Ask, output: &Output, stamp: &Stamp) -> Value {
    let choices: Vec<Value> = (0..ask.choices)
        .map(|index| {
            let mut choice = json!({
                "index": index, "message": message(output, stamp, index), "logprobs": null, "finish_reason": finish(output),
            });
            if let Some(top) = ask.logprobs {
                choice["logprobs"] = json!({"content": logprobs(&output.pieces, top), "refusal": null});
            }
            choice
        })
        .collect();
    json!({
        "id": stamp.id("chatcmpl"), "object": "chat.completion", "created": stamp.created, "model": ask.model,
        "choices": choices, "usage": output.usage(ask.choices), "system_fingerprint": "demo",
    })
}

pub(super) fn events(ask: &Ask, output: &Output, stamp: &Stamp) -> Vec<Event> {
    let chunk = |choices: Value| {
        json!({
            "id": stamp.id("chatcmpl"), "object": "chat.completion.chunk", "created": stamp.created, "model": ask.model,
            "choices": choices, "system_fingerprint": "demo",
        })
    };
    let choice = |index: usize, delta: Value, finish: Value| {
        chunk(json!([{"index": index, "delta": delta, "logprobs": null, "finish_reason": finish}]))
    };
    let mut events = Vec::new();
    for index in 0..ask.choices {
        let first = json!({"role": "assistant", "content": if output.tool.is_some() { Value::Null } else { json!("") }});
        events.push(Event::data(&choice(index, first, Value::Null)));
    }
    for (at, piece) in output.pieces.iter().enumerate() {
        for index in 0..ask.choices {
            let delta = delta(output, stamp, index, at, piece);
            let mut chunk = choice(index, delta, Value::Null);
            if let Some(top) = ask.logprobs {
                let one = std::slice::from_ref(piece);
                chunk["choices"][0]["logprobs"] =
                    json!({"content": logprobs(one, top), "refusal": null});
            }
            let event = Event::data(&chunk);
            events.push(if index == 0 { event.paced() } else { event });
        }
    }
    for index in 0..ask.choices {
        let end = choice(index, json!({}), finish(output).into());
        events.push(Event::data(&end));
    }
    if ask.include_usage {
        let mut usage = chunk(json!([]));
        usage["usage"] = output.usage(ask.choices);
        events.push(Event::data(&usage));
    }
    events.push(Event::done());
    events
}

fn message(output: &Output, stamp: &Stamp, index: usize) -> Value {
    let Some(name) = &output.tool else {
        return json!({"role": "assistant", "content": output.text(), "refusal": null});
    };
    let function = json!({"name": name, "arguments": output.text()});
    let call = json!({"id": call_id(stamp, index), "type": "function", "function": function});
    json!({"role": "assistant", "content": null, "refusal": null, "tool_calls": [call]})
}

fn delta(output: &Output, stamp: &Stamp, index: usize, at: usize, piece: &str) -> Value {
    match &output.tool {
        None => json!({"content": piece}),
        Some(name) if at == 0 => json!({"tool_calls": [{
            "index": 0, "id": call_id(stamp, index), "type": "function",
            "function": {"name": name, "arguments": piece},
        }]}),
        Some(_) => json!({"tool_calls": [{"index": 0, "function": {"arguments": piece}}]}),
    }
}

fn call_id(stamp: &Stamp, index: usize) -> String {
    format!("{}{index}", stamp.id("call"))
}

fn finish(output: &Output) -> &'static str {
    match output.end {
        End::Stop => "stop",
        End::Length => "length",
        End::Tool => "tool_calls",
    }
}

fn logprobs(pieces: &[String], top: usize) -> Vec<Value> {
    let one = |text: &str, logprob: f64| json!({"token": text, "logprob": logprob, "bytes": text.as_bytes()});
    pieces
        .iter()
        .map(|piece| {
            let mut token = one(piece, -0.25);
            let others = (1..top).map(|rank| one(&format!("{piece}{rank}"), -1.0 - rank as f64));
            let likely = (top > 0).then(|| one(piece, -0.25));
            token["top_logprobs"] = likely.into_iter().chain(others).collect();
            token
        })
        .collect()
}
