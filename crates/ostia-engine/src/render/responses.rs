//! `responses`.

use serde_json::{Value, json};

use super::{Api, Event, Turn};
use crate::End;

/// Without usage.
pub(super) fn plain(turn: &Turn<'_>) -> Value {
    let mut response = envelope(turn);
    let cut = turn.output.end == End::Length;
    response["status"] = json!(if cut { "incomplete" } else { "completed" });
    if cut {
        response["incomplete_details"] = json!({"reason": "max_output_tokens"});
    }
    response["output"] = json!([item(turn, true)]);
    response
}

pub(super) fn events(turn: &Turn<'_>) -> Vec<Event> {
    let begun = envelope(turn);
    let mut whole = plain(turn);
    let usage = turn.tokens(Api::Responses).json(Api::Responses);
    turn.tell_usage(&mut whole, usage);
    let status = whole["status"].as_str().unwrap_or("completed");
    let last = format!("response.{status}");
    let first = [
        json!({"type": "response.created", "response": begun}),
        json!({"type": "response.in_progress", "response": begun}),
        json!({"type": "response.output_item.added", "output_index": 0, "item": item(turn, false)}),
    ];
    let middle = match &turn.output.tool {
        None => text_events(turn),
        Some(name) => call_events(turn, name),
    };
    let end = [
        json!({"type": "response.output_item.done", "output_index": 0, "item": whole["output"][0]}),
        json!({"type": last, "response": whole}),
    ];
    let all = first.into_iter().chain(middle).chain(end);
    let mut events: Vec<Event> = all.enumerate().map(numbered).collect();
    if let Some(last) = events.last_mut() {
        last.usage = turn.true_usage(Api::Responses);
    }
    events
}

fn numbered((number, mut event): (usize, Value)) -> Event {
    let is_token = event["delta"].is_string();
    event["sequence_number"] = json!(number);
    Event::typed(&event).tokens(usize::from(is_token))
}

fn text_events(turn: &Turn<'_>) -> Vec<Value> {
    let text = turn.output.text();
    let part = |text: &str| json!({"type": "output_text", "text": text, "annotations": [], "logprobs": []});
    let event = |kind: &str, key: &str, value: Value| {
        json!({
            "type": kind, "item_id": turn.stamp.id("msg"), "output_index": 0, "content_index": 0, key: value,
            "logprobs": [],
        })
    };
    let pieces = turn.output.pieces.iter();
    let deltas = pieces.map(|piece| event("response.output_text.delta", "delta", json!(piece)));
    let mut events = vec![event("response.content_part.added", "part", part(""))];
    events.extend(deltas);
    events.push(event("response.output_text.done", "text", json!(text)));
    events.push(event("response.content_part.done", "part", part(&text)));
    events
}

fn call_events(turn: &Turn<'_>, name: &str) -> Vec<Value> {
    let event = |kind: &str, key: &str, text: &str| json!({"type": kind, "item_id": turn.stamp.id("fc"), "output_index": 0, key: text});
    let pieces = turn.output.pieces.iter();
    let deltas =
        pieces.map(|piece| event("response.function_call_arguments.delta", "delta", piece));
    let mut events: Vec<Value> = deltas.collect();
    let mut done = event(
        "response.function_call_arguments.done",
        "arguments",
        &turn.output.text(),
    );
    done["name"] = json!(name);
    events.push(done);
    events
}

fn item(turn: &Turn<'_>, is_whole: bool) -> Value {
    let status = match (is_whole, turn.output.end) {
        (false, _) => "in_progress",
        (true, End::Length) => "incomplete",
        (true, _) => "completed",
    };
    let text = if is_whole {
        turn.output.text()
    } else {
        String::new()
    };
    if let Some(name) = &turn.output.tool {
        return json!({
            "id": turn.stamp.id("fc"), "type": "function_call", "status": status, "call_id": turn.stamp.id("call"),
            "name": name, "arguments": text,
        });
    }
    let part = json!({"type": "output_text", "text": text, "annotations": [], "logprobs": []});
    let content = if is_whole { json!([part]) } else { json!([]) };
    json!({
        "id": turn.stamp.id("msg"), "type": "message", "status": status, "role": "assistant", "content": content,
    })
}

fn envelope(turn: &Turn<'_>) -> Value {
    let given = |key: &str, default: Value| match &turn.ask.body[key] {
        Value::Null => default,
        value => value.clone(),
    };
    json!({
        "id": turn.stamp.id("resp"), "object": "response", "created_at": turn.stamp.created, "status": "in_progress",
        "background": false, "error": null, "incomplete_details": null,
        "instructions": given("instructions", Value::Null),
        "max_output_tokens": given("max_output_tokens", Value::Null),
        "metadata": given("metadata", json!({})), "model": turn.ask.model, "output": [],
        "parallel_tool_calls": true, "previous_response_id": given("previous_response_id", Value::Null),
        "reasoning": {"effort": null, "summary": null}, "store": given("store", json!(true)),
        "temperature": given("temperature", json!(1.0)), "text": given("text", json!({"format": {"type": "text"}})),
        "tool_choice": given("tool_choice", json!("auto")), "tools": given("tools", json!([])),
        "top_p": given("top_p", json!(1.0)), "truncation": "disabled", "usage": null, "user": null,
    })
}
