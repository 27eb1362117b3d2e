//! Anthropic's `messages`.

use serde_json::{Value, json};

use super::{Api, Event, Turn};
use crate::End;

/// Without usage.
pub(super) fn plain(turn: &Turn<'_>) -> Value {
    let text = turn.output.text();
    let block = match &turn.output.tool {
        None => json!({"type": "text", "text": text}),
        Some(name) => {
            let input: Value = serde_json::from_str(&text).unwrap_or_else(|_| json!({}));
            json!({"type": "tool_use", "id": turn.stamp.id("toolu"), "name": name, "input": input})
        }
    };
    message(turn, vec![block], Some(stop_reason(turn)))
}

pub(super) fn events(turn: &Turn<'_>) -> Vec<Event> {
    let output = turn.output;
    let mut start = message(turn, Vec::new(), None);
    let usage = turn.true_usage(Api::Messages);
    if usage.is_some() {
        start["usage"] = turn.tokens_after(Api::Messages, 0).json(Api::Messages);
    }
    let block = match &output.tool {
        None => json!({"type": "text", "text": ""}),
        Some(name) => {
            json!({"type": "tool_use", "id": turn.stamp.id("toolu"), "name": name, "input": {}})
        }
    };
    let mut events = vec![
        Event::typed(&json!({"type": "message_start", "message": start})),
        Event::typed(&json!({"type": "content_block_start", "index": 0, "content_block": block})),
        Event::typed(&json!({"type": "ping"})),
    ];
    events.extend(output.pieces.iter().map(|piece| {
        let delta = match &output.tool {
            None => json!({"type": "text_delta", "text": piece}),
            Some(_) => json!({"type": "input_json_delta", "partial_json": piece}),
        };
        Event::typed(&json!({"type": "content_block_delta", "index": 0, "delta": delta})).tokens(1)
    }));
    let delta = json!({"stop_reason": stop_reason(turn), "stop_sequence": null});
    let mut end = json!({"type": "message_delta", "delta": delta});
    turn.tell_usage(&mut end, json!({"output_tokens": output.pieces.len()}));
    events.extend([
        Event::typed(&json!({"type": "content_block_stop", "index": 0})),
        Event::typed(&end).usage(usage),
        Event::typed(&json!({"type": "message_stop"})),
    ]);
    events
}

fn message(turn: &Turn<'_>, content: Vec<Value>, stop_reason: Option<&str>) -> Value {
    json!({
        "id": turn.stamp.id("msg"), "type": "message", "role": "assistant", "model": turn.ask.model,
        "content": content, "stop_reason": stop_reason, "stop_sequence": null,
    })
}

fn stop_reason(turn: &Turn<'_>) -> &'static str {
    match turn.output.end {
        End::Stop => "end_turn",
        End::Length => "max_tokens",
        End::Tool => "tool_use",
    }
}
