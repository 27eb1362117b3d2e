//! `responses`.

use serde_json::{Value, json};

use super::ask::Ask;
use super::output::{End, Output};
use super::server::{Event, Stamp};

pub(super) fn plain(ask: &Ask, output: &Output, stamp: &Stamp) -> Value {
    let mut response = envelope(ask, stamp);
    let cut = output.end == End::Length;
    response["status"] = json!(if cut { "incomplete" } else { "completed" });
    if cut {
        response["incomplete_details"] = json!({"reason": "max_output_tokens"});
    }
    response["output"] = json!([item(output, stamp, true)]);
    let (input, written) = (output.prompt_tokens, output.pieces.len());
    response["usage"] = json!({
        "input_tokens": input, "input_tokens_details": {"cached_tokens": 0},
        "output_tokens": written, "output_tokens_details": {"reasoning_tokens": 0},
        "total_tokens": input + written,
    });
    response
}

pub(super) fn events(ask: &Ask, output: &Output, stamp: &Stamp) -> Vec<Event> {
    let begun = envelope(ask, stamp);
    let mut events = vec![
        (
            json!({"type": "response.created", "response": begun}),
            false,
        ),
        (
            json!({"type": "response.in_progress", "response": begun}),
            false,
        ),
        (
            json!({"type": "response.output_item.added", "output_index": 0, "item": item(output, stamp, false)}),
            false,
        ),
    ];
    match &output.tool {
        None => text_events(output, stamp, &mut events),
        Some(_) => call_events(output, stamp, &mut events),
    }
    let whole = plain(ask, output, stamp);
    let done =
        json!({"type": "response.output_item.done", "output_index": 0, "item": whole["output"][0]});
    events.push((done, false));
    let last = format!(
        "response.{}",
        whole["status"].as_str().unwrap_or("completed")
    );
    events.push((json!({"type": last, "response": whole}), false));
    let numbered = events
        .into_iter()
        .enumerate()
        .map(|(number, (mut event, paced))| {
            event["sequence_number"] = json!(number);
            let event = Event::typed(&event);
            if paced { event.paced() } else { event }
        });
    numbered.collect()
}

fn text_events(output: &Output, stamp: &Stamp, events: &mut Vec<(Value, bool)>) {
    let at = |kind: &str| json!({"type": kind, "item_id": stamp.id("msg"), "output_index": 0, "content_index": 0});
    let part = |text: &str| json!({"type": "output_text", "text": text, "annotations": [], "logprobs": []});
    let with = |kind: &str, key: &str, value: Value| {
        let mut event = at(kind);
        event[key] = value;
        event
    };
    events.push((with("response.content_part.added", "part", part("")), false));
    for piece in &output.pieces {
        let mut delta = with("response.output_text.delta", "delta", json!(piece));
        delta["logprobs"] = json!([]);
        events.push((delta, true));
    }
    let mut done = with("response.output_text.done", "text", json!(output.text()));
    done["logprobs"] = json!([]);
    events.push((done, false));
    events.push((
        with("response.content_part.done", "part", part(&output.text())),
        false,
    ));
}

fn call_events(output: &Output, stamp: &Stamp, events: &mut Vec<(Value, bool)>) {
    let at = |kind: &str, key: &str, text: &str| {
        let mut event = json!({"type": kind, "item_id": stamp.id("fc"), "output_index": 0});
        event[key] = json!(text);
        event
    };
    for piece in &output.pieces {
        events.push((
            at("response.function_call_arguments.delta", "delta", piece),
            true,
        ));
    }
    let mut done = at(
        "response.function_call_arguments.done",
        "arguments",
        &output.text(),
    );
    done["name"] = json!(output.tool);
    events.push((done, false));
}

fn item(output: &Output, stamp: &Stamp, whole: bool) -> Value {
    let status = match (whole, output.end) {
        (false, _) => "in_progress",
        (true, End::Length) => "incomplete",
        (true, _) => "completed",
    };
    if let Some(name) = &output.tool {
        let arguments = if whole { output.text() } else { String::new() };
        return json!({
            "id": stamp.id("fc"), "type": "function_call", "status": status, "call_id": stamp.id("call"), "name": name,
            "arguments": arguments,
        });
    }
    let part =
        json!({"type": "output_text", "text": output.text(), "annotations": [], "logprobs": []});
    let content = if whole { json!([part]) } else { json!([]) };
    json!({"id": stamp.id("msg"), "type": "message", "status": status, "role": "assistant", "content": content})
}

fn envelope(ask: &Ask, stamp: &Stamp) -> Value {
    let given = |key: &str, default: Value| match &ask.body[key] {
        Value::Null => default,
        value => value.clone(),
    };
    json!({
        "id": stamp.id("resp"), "object": "response", "created_at": stamp.created, "status": "in_progress",
        "background": false, "error": null, "incomplete_details": null,
        "instructions": given("instructions", Value::Null),
        "max_output_tokens": given("max_output_tokens", Value::Null),
        "metadata": given("metadata", json!({})), "model": ask.model, "output": [],
        "parallel_tool_calls": true, "previous_response_id": given("previous_response_id", Value::Null),
        "reasoning": {"effort": null, "summary": null}, "store": given("store", json!(true)),
        "temperature": given("temperature", json!(1.0)), "text": given("text", json!({"format": {"type": "text"}})),
        "tool_choice": given("tool_choice", json!("auto")), "tools": given("tools", json!([])),
        "top_p": given("top_p", json!(1.0)), "truncation": "disabled", "usage": null, "user": null,
    })
}
