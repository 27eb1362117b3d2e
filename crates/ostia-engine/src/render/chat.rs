//! `chat/completions`.

use serde_json::{Value, json};

use super::openai::Shape;
use super::{Api, Turn};
use crate::End;

pub(super) const SHAPE: Shape = Shape {
    api: Api::Chat,
    prefix: "chatcmpl",
    object: "chat.completion",
    chunk: "chat.completion.chunk",
    whole,
    part,
};

fn whole(turn: &Turn<'_>, index: usize) -> Value {
    let text = turn.output.text();
    let message = match &turn.output.tool {
        None => json!({"role": "assistant", "content": text, "refusal": null}),
        Some(name) => {
            let function = json!({"name": name, "arguments": text});
            let call =
                json!({"id": call_id(turn, index), "type": "function", "function": function});
            json!({"role": "assistant", "content": null, "refusal": null, "tool_calls": [call]})
        }
    };
    let logprobs = logprobs(turn, &turn.output.pieces);
    json!({"index": index, "message": message, "logprobs": logprobs, "finish_reason": finish(turn)})
}

fn part(turn: &Turn<'_>, index: usize, at: Option<usize>) -> Value {
    let Some(at) = at else {
        return json!({"index": index, "delta": {}, "logprobs": null, "finish_reason": finish(turn)});
    };
    let piece = &turn.output.pieces[at];
    let mut delta = match at {
        0 => json!({"role": "assistant"}),
        _ => json!({}),
    };
    match &turn.output.tool {
        None => delta["content"] = json!(piece),
        Some(name) if at == 0 => {
            let function = json!({"name": name, "arguments": piece});
            let id = call_id(turn, index);
            delta["content"] = Value::Null;
            delta["tool_calls"] =
                json!([{"index": 0, "id": id, "type": "function", "function": function}]);
        }
        Some(_) => delta["tool_calls"] = json!([{"index": 0, "function": {"arguments": piece}}]),
    }
    let logprobs = logprobs(turn, std::slice::from_ref(piece));
    json!({"index": index, "delta": delta, "logprobs": logprobs, "finish_reason": null})
}

fn call_id(turn: &Turn<'_>, index: usize) -> String {
    format!("{}{index}", turn.stamp.id("call"))
}

fn finish(turn: &Turn<'_>) -> &'static str {
    match turn.output.end {
        End::Stop => "stop",
        End::Length => "length",
        End::Tool => "tool_calls",
    }
}

fn logprobs(turn: &Turn<'_>, pieces: &[String]) -> Value {
    let Some(top) = turn.ask.logprobs else {
        return Value::Null;
    };
    let one = |text: &str, logprob: f64| json!({"token": text, "logprob": logprob, "bytes": text.as_bytes()});
    let content = pieces.iter().map(|piece| {
        let mut token = one(piece, -0.25);
        let others = (1..top).map(|rank| one(&format!("{piece}{rank}"), -1.0 - rank as f64));
        let likely = (top > 0).then(|| one(piece, -0.25));
        token["top_logprobs"] = likely.into_iter().chain(others).collect();
        token
    });
    json!({"content": content.collect::<Vec<_>>(), "refusal": null})
}
