//! `messages` and `messages/count_tokens`, Anthropic's.

use serde_json::{Value, json};

use super::ask::Ask;
use super::output::{End, Output};
use super::server::{Event, Stamp};

pub(super) fn count_tokens(ask: &Ask) -> Value {
    json!({"input_tokens": ask.prompt_tokens})
}

pub(super) fn plain(ask: &Ask, output: &Output, stamp: &Stamp) -> Value {
    let block = match &output.tool {
        None => json!({"type": "text", "text": output.text()}),
        Some(name) => {
            let input: Value = serde_json::from_str(&output.text()).unwrap_or_else(|_| json!({}));
            json!({"type": "tool_use", "id": stamp.id("toolu"), "name": name, "input": input})
        }
    };
    let mut message = envelope(ask, output, stamp);
    message["content"] = json!([block]);
    message["stop_reason"] = json!(stop_reason(output));
    message["usage"]["output_tokens"] = json!(output.pieces.len());
    message
}

pub(super) fn events(ask: &Ask, output: &Output, stamp: &Stamp) -> Vec<Event> {
    let block = match &output.tool {
        None => json!({"type": "text", "text": ""}),
        Some(name) => {
            json!({"type": "tool_use", "id": stamp.id("toolu"), "name": name, "input": {}})
        }
    };
    let mut events = vec![
        Event::typed(&json!({"type": "message_start", "message": envelope(ask, output, stamp)})),
        Event::typed(&json!({"type": "content_block_start", "index": 0, "content_block": block})),
        Event::typed(&json!({"type": "ping"})),
    ];
    events.extend(output.pieces.iter().map(|piece| {
        let delta = match &output.tool {
            None => json!({"type": "text_delta", "text": piece}),
            Some(_) => json!({"type": "input_json_delta", "partial_json": piece}),
        };
        Event::typed(&json!({"type": "content_block_delta", "index": 0, "delta": delta})).paced()
    }));
    events.push(Event::typed(
        &json!({"type": "content_block_stop", "index": 0}),
    ));
    events.push(Event::typed(&json!({
        "type": "message_delta", "delta": {"stop_reason": stop_reason(output), "stop_sequence": null},
        "usage": {"output_tokens": output.pieces.len()},
    })));
    events.push(Event::typed(&json!({"type": "message_stop"})));
    events
}

fn envelope(ask: &Ask, output: &Output, stamp: &Stamp) -> Value {
    json!({
        "id": stamp.id("msg"), "type": "message", "role": "assistant", "model": ask.model, "content": [],
        "stop_reason": null, "stop_sequence": null,
        "usage": {
            "input_tokens": output.prompt_tokens, "cache_creation_input_tokens": 0, "cache_read_input_tokens": 0,
            "output_tokens": 1,
        },
    })
}

fn stop_reason(output: &Output) -> &'static str {
    match output.end {
        End::Stop => "end_turn",
        End::Length => "max_tokens",
        End::Tool => "tool_use",
    }
}
