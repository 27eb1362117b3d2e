//! `completions`.

use serde_json::{Value, json};

use super::ask::Ask;
use super::output::{End, Output};
use super::server::{Event, Stamp};

pub(super) fn plain(ask: &Ask, output: &Output, stamp: &Stamp) -> Value {
    let choices: Vec<Value> = (0..answers(ask))
        .map(|index| {
            let logprobs = logprobs(ask, &output.pieces);
            json!({"index": index, "text": output.text(), "logprobs": logprobs, "finish_reason": finish(output)})
        })
        .collect();
    json!({
        "id": stamp.id("cmpl"), "object": "text_completion", "created": stamp.created, "model": ask.model,
        "choices": choices, "usage": output.usage(answers(ask)),
    })
}

pub(super) fn events(ask: &Ask, output: &Output, stamp: &Stamp) -> Vec<Event> {
    let chunk = |choices: Value| {
        json!({
            "id": stamp.id("cmpl"), "object": "text_completion", "created": stamp.created, "model": ask.model,
            "choices": choices,
        })
    };
    let mut events = Vec::new();
    let last = output.pieces.len().saturating_sub(1);
    for (at, piece) in output.pieces.iter().enumerate() {
        let finish = if at == last {
            json!(finish(output))
        } else {
            Value::Null
        };
        for index in 0..answers(ask) {
            let logprobs = logprobs(ask, std::slice::from_ref(piece));
            let event = Event::data(&chunk(json!([
                {"index": index, "text": piece, "logprobs": logprobs, "finish_reason": finish}
            ])));
            events.push(if index == 0 { event.paced() } else { event });
        }
    }
    if ask.include_usage {
        let mut usage = chunk(json!([]));
        usage["usage"] = output.usage(answers(ask));
        events.push(Event::data(&usage));
    }
    events.push(Event::done());
    events
}

/// Each prompt is answered `n` times.
fn answers(ask: &Ask) -> usize {
    let prompts = match &ask.body["prompt"] {
        Value::Array(prompts) if prompts.iter().all(|prompt| !prompt.is_number()) => prompts.len(),
        _ => 1,
    };
    prompts.clamp(1, 64) * ask.choices
}

fn finish(output: &Output) -> &'static str {
    match output.end {
        End::Length => "length",
        End::Stop | End::Tool => "stop",
    }
}

fn logprobs(ask: &Ask, pieces: &[String]) -> Value {
    if ask.logprobs.is_none() {
        return Value::Null;
    }
    let likely: Vec<Value> = pieces.iter().map(|piece| json!({piece: -0.25})).collect();
    json!({
        "tokens": pieces, "token_logprobs": vec![-0.25; pieces.len()], "top_logprobs": likely,
        "text_offset": vec![0; pieces.len()],
    })
}
