use super::{Meter, Reading, Seen, read_answer};
use crate::dialect::Api;
use ostia_core::{Usage, UsageSource};

fn usage(prompt: u64, completion: u64) -> Usage {
    Usage {
        prompt_tokens: prompt,
        completion_tokens: completion,
        total_tokens: prompt + completion,
        source: UsageSource::Upstream,
        ..Usage::default()
    }
}

fn run(api: Api, hide: bool, events: &[&str]) -> (Meter, Vec<Seen>) {
    let mut meter = Meter::new(api, hide);
    let seen = events
        .iter()
        .map(|event| meter.event(event.as_bytes()))
        .collect();
    (meter, seen)
}

#[test]
fn a_usage_chunk_is_hidden_only_if_we_asked_for_it() {
    let chunk = "data: {\"choices\":[],\"usage\":{\"prompt_tokens\":3,\"completion_tokens\":4,\"total_tokens\":7}}\n\n";
    for (hide, expected) in [(true, Seen::Hide), (false, Seen::LastUsage)] {
        let (meter, seen) = run(Api::ChatCompletions, hide, &[chunk]);
        assert_eq!(seen, [expected]);
        assert_eq!(meter.usage(), Some(usage(3, 4)));
    }
}

#[test]
fn a_chunk_with_choices_or_null_usage_is_never_hidden() {
    let events = [
        "data: {\"choices\":[{\"delta\":{}}],\"usage\":{\"prompt_tokens\":3,\"completion_tokens\":4}}\n\n",
        "data: {\"choices\":[],\"usage\":null}\n\n",
        "data: {\"choices\":[{\"delta\":{\"content\":\"\\\"usage\\\"\"}}]}\n\n",
        "data: {\"usage\":{\"prompt_tokens\":3}}\n\n",
    ];
    let (_, seen) = run(Api::ChatCompletions, true, &events);
    assert_eq!(seen, [Seen::Forward; 4]);
}

#[test]
fn the_last_usage_that_makes_sense_counts() {
    let event = |usage: &str| format!("data: {{\"choices\":[{{}}],\"usage\":{usage}}}\n\n");
    let events = [
        event("{\"prompt_tokens\":3,\"completion_tokens\":1}"),
        event("{\"prompt_tokens\":3,\"completion_tokens\":2}"),
        event("{\"prompt_tokens\":-3,\"completion_tokens\":9}"),
        event("{\"prompt_tokens\":9223372036854775808,\"completion_tokens\":9}"),
        event("\"many\""),
        event("null"),
    ];
    let events: Vec<&str> = events.iter().map(String::as_str).collect();
    let (meter, _) = run(Api::ChatCompletions, true, &events);
    assert_eq!(meter.usage(), Some(usage(3, 2)));
}

#[test]
fn done_is_terminal_with_spaces_and_without() {
    for event in [
        "data: [DONE]\n\n",
        "data:[DONE]\r\n\r\n",
        "data:  [DONE] \n\n",
    ] {
        let (_, seen) = run(Api::ChatCompletions, false, &[event]);
        assert_eq!(seen, [Seen::Terminal], "{event:?}");
    }
}

#[test]
fn anthropic_usage_comes_in_two_events() {
    let (meter, seen) = run(
        Api::Messages,
        false,
        &[
            "event: message_start\ndata: {\"type\":\"message_start\",\"message\":{\"usage\":{\"input_tokens\":10,\"output_tokens\":1}}}\n\n",
            "event: content_block_delta\ndata: {\"type\":\"content_block_delta\",\"delta\":{\"text\":\"hi\"}}\n\n",
            "event: message_delta\ndata: {\"type\":\"message_delta\",\"usage\":{\"output_tokens\":5}}\n\n",
            "event: message_stop\ndata: {\"type\":\"message_stop\"}\n\n",
        ],
    );
    assert_eq!(seen.last(), Some(&Seen::Terminal));
    assert_eq!(meter.usage(), Some(usage(10, 5)));
    assert_eq!(meter.counted(), 1);
}

#[test]
fn responses_usage_sits_in_the_completed_event() {
    let (meter, seen) = run(
        Api::Responses,
        false,
        &[
            "event: response.output_text.delta\ndata: {\"type\":\"response.output_text.delta\",\"delta\":\"hi\"}\n\n",
            "event: response.completed\ndata: {\"type\":\"response.completed\",\"response\":{\"usage\":{\"input_tokens\":10,\"output_tokens\":5,\"total_tokens\":15}}}\n\n",
        ],
    );
    assert_eq!(seen, [Seen::Forward, Seen::Terminal]);
    assert_eq!(meter.usage(), Some(usage(10, 5)));
}

#[test]
fn an_error_in_the_stream_is_noticed() {
    let (meter, _) = run(
        Api::ChatCompletions,
        false,
        &["data: {\"error\":{\"message\":\"out of memory\"}}\n\n"],
    );
    assert!(meter.failed());
    let (meter, _) = run(
        Api::ChatCompletions,
        false,
        &[
            "data: {\"choices\":[],\"error\":null}\n\n",
            "data: {\"choices\":[{\"text\":\"\\\"error\\\"\"}]}\n\n",
        ],
    );
    assert!(!meter.failed());
}

#[test]
fn output_is_counted_in_case_the_backend_never_says() {
    let event = |text: &str| {
        format!("data: {{\"choices\":[{{\"delta\":{{\"content\":\"{text}\"}}}}]}}\n\n")
    };
    let (short, long) = (event("a"), event(&"a".repeat(401)));
    let (meter, _) = run(Api::ChatCompletions, false, &[&short, &short, &short]);
    assert_eq!(meter.counted(), 3);
    let (meter, _) = run(Api::ChatCompletions, false, &[&short, &long]);
    assert_eq!(meter.counted(), 100);
}

#[test]
fn a_whole_answer_is_read() {
    let reading =
        read_answer(br#" {"choices":[],"usage":{"prompt_tokens":1,"completion_tokens":2}}"#);
    assert_eq!(
        reading,
        Some(Reading {
            usage: Some(usage(1, 2)),
            is_error: false,
            response_id: None,
        })
    );
    assert!(read_answer(br#"{"error":{"message":"no"}}"#).is_some_and(|reading| reading.is_error));
    assert!(read_answer(br#"{"error":null,"output":[]}"#).is_some_and(|reading| !reading.is_error));
    let twice = br#"{"usage":{"prompt_tokens":9,"completion_tokens":9},"id":1,"id":2,"usage":{"prompt_tokens":1,"completion_tokens":2}}"#;
    assert_eq!(read_answer(twice).unwrap().usage, Some(usage(1, 2)));
    for none in ["", "[]", "null", "5", "<html>", "{", "{} x"] {
        assert_eq!(read_answer(none.as_bytes()), None, "{none}");
    }
}

#[test]
fn responses_are_identified_plain_and_streamed() {
    let plain = br#"{"id":"resp_1","object":"response","status":"failed","error":{"code":"x"},"output":[],"usage":null}"#;
    let reading = read_answer(plain).unwrap();
    assert_eq!(reading.response_id.as_deref(), Some("resp_1"));
    assert!(!reading.is_error);
    let chat = br#"{"id":"chatcmpl-1","object":"chat.completion","choices":[]}"#;
    assert_eq!(read_answer(chat).unwrap().response_id, None);

    let created = "event: response.created\ndata: {\"type\":\"response.created\",\"response\":{\"id\":\"resp_2\",\"object\":\"response\"}}\n\n";
    let (mut meter, _) = run(Api::Responses, false, &[created]);
    assert_eq!(meter.take_response_id().as_deref(), Some("resp_2"));
    assert_eq!(meter.take_response_id(), None);
}

/// The events in the order of members that OpenAI's API, vLLM and Anthropic give, with something long in them.
fn long_events() -> [(Api, String, Seen, Option<Usage>, u64); 9] {
    let long = "\\\"usage\\\":{} ".repeat(30_000);
    let used = r#""usage":{"input_tokens":10,"output_tokens":5,"total_tokens":15}"#;
    let event = |data: String| format!("event: x\ndata: {data}\n\n");
    [
        (
            Api::Responses,
            event(format!(
                r#"{{"type":"response.completed","response":{{"id":"resp_3","object":"response","instructions":"{long}","output":[{{"text":"{long}"}}],"tools":[{{"usage":{{"input_tokens":1}}}}],{used},"metadata":{{}}}}}}"#
            )),
            Seen::Terminal,
            Some(usage(10, 5)),
            0,
        ),
        (
            Api::Responses,
            event(format!(
                r#"{{"response":{{"id":"resp_3",{used},"instructions":"{long}"}},"sequence_number":9,"type":"response.incomplete"}}"#
            )),
            Seen::Terminal,
            Some(usage(10, 5)),
            0,
        ),
        (
            Api::Responses,
            event(format!(
                r#"{{"type":"response.output_text.delta","delta":"{long}"}}"#
            )),
            Seen::Forward,
            None,
            1,
        ),
        (
            Api::Responses,
            event(format!(
                r#"{{"type":"response.output_text.done","text":"{long}"}}"#
            )),
            Seen::Forward,
            None,
            0,
        ),
        (
            Api::Messages,
            event(format!(
                r#"{{"type":"message_start","message":{{"content":[],"x":"{long}","usage":{{"input_tokens":10,"output_tokens":5}}}}}}"#
            )),
            Seen::Forward,
            Some(usage(10, 5)),
            0,
        ),
        (
            Api::ChatCompletions,
            event(format!(
                r#"{{"choices":[{{"delta":{{"content":"{long}"}}}}],"usage":{{"prompt_tokens":10,"completion_tokens":5}}}}"#
            )),
            Seen::Forward,
            Some(usage(10, 5)),
            1,
        ),
        (
            Api::ChatCompletions,
            event(format!(
                r#"{{"choices":[],"x":"{long}","usage":{{"prompt_tokens":10,"completion_tokens":5}}}}"#
            )),
            Seen::LastUsage,
            Some(usage(10, 5)),
            0,
        ),
        (
            Api::ImagesGenerations,
            event(format!(
                r#"{{"type":"image_generation.completed","b64_json":"{long}",{used}}}"#
            )),
            Seen::Forward,
            Some(usage(10, 5)),
            0,
        ),
        (Api::ChatCompletions, event(long), Seen::Forward, None, 0),
    ]
}

#[test]
fn an_event_in_parts_tells_the_same_as_a_whole_one() {
    for (api, event, expected, used, counted) in long_events() {
        let bytes = event.as_bytes();
        let (whole, seen) = run(api.clone(), false, &[&event]);
        assert_eq!((seen[0], whole.usage()), (expected, used), "{api:?}");
        assert_eq!(whole.counted(), counted, "{api:?}");
        for cut in [
            1,
            7,
            8,
            40,
            bytes.len() / 2,
            bytes.len() - 30,
            bytes.len() - 1,
        ] {
            let mut meter = Meter::new(api.clone(), true);
            meter.part(&bytes[..cut]);
            assert_eq!(meter.last_part(&bytes[cut..]), expected, "{api:?} {cut}");
            assert_eq!(meter.usage(), used, "{api:?} {cut}");
            assert_eq!(meter.counted(), counted, "{api:?} {cut}");
            assert_eq!(meter.event(b"data: [DONE]\n\n"), Seen::Terminal);
        }
    }
}

#[test]
fn a_response_that_begins_with_a_long_echo_is_identified() {
    let long = "x".repeat(300_000);
    for created in [
        format!(
            "data: {{\"type\":\"response.created\",\"response\":{{\"id\":\"resp_3\",\"object\":\"response\",\"instructions\":\"{long}\"}}}}\n\n"
        ),
        format!(
            "data: {{\"response\":{{\"id\":\"resp_3\",\"instructions\":\"{long}\",\"object\":\"response\"}},\"type\":\"response.created\"}}\n\n"
        ),
    ] {
        let mut meter = Meter::new(Api::Responses, false);
        meter.part(&created.as_bytes()[..200_000]);
        assert_eq!(
            meter.last_part(&created.as_bytes()[200_000..]),
            Seen::Forward
        );
        assert_eq!(meter.take_response_id().as_deref(), Some("resp_3"));
    }
}
