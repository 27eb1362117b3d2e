use super::super::{AnswerFacts, Api, read_answer};
use super::{Meter, Seen};
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

fn told(meter: &Meter) -> Option<Usage> {
    meter.progress.usage.usage(Usage::default())
}

fn read(api: &str, answer: &[u8]) -> Option<AnswerFacts> {
    read_answer(Api::parse(api).dialect(), answer)
}

fn run(api: &str, hide: bool, events: &[&str]) -> (Meter, Vec<Seen>) {
    let mut meter = Meter::new(&Api::parse(api), hide, 1);
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
        let (meter, seen) = run("chat/completions", hide, &[chunk]);
        assert_eq!(seen, [expected]);
        assert_eq!(told(&meter), Some(usage(3, 4)));
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
    let (_, seen) = run("chat/completions", true, &events);
    assert_eq!(seen, [Seen::Forward; 4]);
}

#[test]
fn the_highest_counts_that_make_sense_count() {
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
    let (meter, _) = run("chat/completions", true, &events);
    assert_eq!(told(&meter), Some(usage(3, 9)));
}

#[test]
fn done_is_terminal_with_spaces_and_without() {
    for event in [
        "data: [DONE]\n\n",
        "data:[DONE]\r\n\r\n",
        "data:  [DONE] \n\n",
    ] {
        let (_, seen) = run("chat/completions", false, &[event]);
        assert_eq!(seen, [Seen::Terminal], "{event:?}");
    }
}

#[test]
fn anthropic_usage_comes_in_two_events() {
    let (meter, seen) = run(
        "messages",
        false,
        &[
            "event: message_start\ndata: {\"type\":\"message_start\",\"message\":{\"usage\":{\"input_tokens\":10,\"output_tokens\":1}}}\n\n",
            "event: content_block_delta\ndata: {\"type\":\"content_block_delta\",\"delta\":{\"text\":\"hi\"}}\n\n",
            "event: message_delta\ndata: {\"type\":\"message_delta\",\"usage\":{\"output_tokens\":5}}\n\n",
            "event: message_stop\ndata: {\"type\":\"message_stop\"}\n\n",
        ],
    );
    assert_eq!(seen.last(), Some(&Seen::Terminal));
    assert_eq!(told(&meter), Some(usage(10, 5)));
    assert_eq!(meter.progress.counted(), 1);
}

#[test]
fn responses_usage_sits_in_the_completed_event() {
    let (meter, seen) = run(
        "responses",
        false,
        &[
            "event: response.output_text.delta\ndata: {\"type\":\"response.output_text.delta\",\"delta\":\"hi\"}\n\n",
            "event: response.completed\ndata: {\"type\":\"response.completed\",\"response\":{\"usage\":{\"input_tokens\":10,\"output_tokens\":5,\"total_tokens\":15}}}\n\n",
        ],
    );
    assert_eq!(seen, [Seen::Forward, Seen::Terminal]);
    assert_eq!(told(&meter), Some(usage(10, 5)));
}

#[test]
fn an_error_in_the_stream_is_noticed() {
    let (meter, _) = run(
        "chat/completions",
        false,
        &["data: {\"error\":{\"message\":\"out of memory\"}}\n\n"],
    );
    assert!(meter.failed());
    let (meter, _) = run(
        "chat/completions",
        false,
        &[
            "data: {\"choices\":[],\"error\":null}\n\n",
            "data: {\"choices\":[{\"text\":\"\\\"error\\\"\"}]}\n\n",
        ],
    );
    assert!(!meter.failed());
}

#[test]
fn an_error_object_is_an_error_too() {
    let (meter, seen) = run(
        "chat/completions",
        false,
        &[
            "data: {\"object\":\"error\",\"message\":\"no\",\"code\":400}\n\n",
            "data: [DONE]\n\n",
        ],
    );
    assert_eq!(seen, [Seen::Forward, Seen::Terminal]);
    assert!(meter.failed());
}

#[test]
fn an_error_is_an_error_however_an_engine_says_it() {
    for data in [
        r#"{"message":"boom","code":500}"#,
        r#"{"detail":"boom"}"#,
        r#"{"detail":[{"loc":["body"],"msg":"boom"}]}"#,
        r#"{"error":"boom"}"#,
        r#"{"choices":[],"error":{"message":"boom"}}"#,
        r#"{"choices":[{"delta":{"content":""},"finish_reason":"error"}]}"#,
        r#"{"choices":[{"index":0},{"index":1,"error":{"code":502}}]}"#,
    ] {
        let event = format!("event: error\ndata: {data}\n\n");
        let (meter, _) = run("chat/completions", false, &[&event, "data: [DONE]\n\n"]);
        assert!(meter.failed(), "{data}");
    }
    for data in [
        r#"{"choices":[{"delta":{"content":"{\"detail\":\"x\"}"}}]}"#,
        r#"{"type":"speech.audio.delta","message":"x"}"#,
        r#"{"object":"chunk","message":"x"}"#,
        r#"{"choices":[{"delta":{"content":"\"error\""},"error":null,"finish_reason":"stop"}]}"#,
        r#"{"message":{"text":"x"}}"#,
    ] {
        let event = format!("data: {data}\n\n");
        let (meter, _) = run("chat/completions", false, &[&event]);
        assert!(!meter.failed(), "{data}");
    }
}

/// Some servers send `""` until a choice has ended.
#[test]
fn an_empty_reason_ends_no_answer() {
    for (api, begun, ended) in [
        (
            "chat/completions",
            r#"{"choices":[{"index":0,"delta":{"content":"a"},"finish_reason":""}]}"#,
            r#"{"choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}"#,
        ),
        (
            "messages",
            r#"{"type":"message_delta","delta":{"stop_reason":""}}"#,
            r#"{"type":"message_delta","delta":{"stop_reason":"end_turn"}}"#,
        ),
    ] {
        for (data, whole) in [(begun, false), (ended, true)] {
            let (meter, _) = run(api, false, &[&format!("data: {data}\n\n")]);
            assert_eq!(meter.is_over(), whole, "{data}");
        }
    }
}

#[test]
fn usage_within_the_last_choice_counts() {
    let (meter, _) = run(
        "chat/completions",
        false,
        &[
            "data: {\"choices\":[{\"index\":0,\"delta\":{},\"finish_reason\":\"stop\",\"usage\":{\"prompt_tokens\":11,\"completion_tokens\":2,\"total_tokens\":13}}]}\n\n",
            "data: [DONE]\n\n",
        ],
    );
    assert_eq!(told(&meter), Some(usage(11, 2)));
}

#[test]
fn an_end_alone_says_nothing() {
    for (api, event, said) in [
        ("chat/completions", "data: [DONE]\n\n", false),
        ("messages", "data: {\"type\":\"message_stop\"}\n\n", false),
        (
            "responses",
            "data: {\"type\":\"response.completed\",\"response\":{}}\n\n",
            true,
        ),
        ("chat/completions", "data: {\"choices\":[]}\n\n", true),
    ] {
        let (meter, _) = run(api, false, &[": comment\n\n", event]);
        assert_eq!(meter.said_something(), said, "{event}");
    }
}

#[test]
fn a_stream_is_over_when_every_choice_is() {
    let end = |index: &str, reason: &str| {
        format!(
            "data: {{\"choices\":[{{{index}\"delta\":{{}},\"finish_reason\" : {reason}}}]}}\n\n"
        )
    };
    let over = |api: &str, choices, events: &[String]| {
        let mut meter = Meter::new(&Api::parse(api), false, choices);
        for event in events {
            meter.event(event.as_bytes());
        }
        meter.is_over()
    };
    let (first, second) = (
        end("\"index\":0,", "\"stop\""),
        end("\"index\":1,", "\"length\""),
    );
    assert!(over("chat/completions", 1, &[end("", "\"stop\"")]));
    assert!(!over("chat/completions", 1, &[end("\"index\":0,", "null")]));
    assert!(!over("completions", 2, &[first.clone(), first.clone()]));
    assert!(over("completions", 2, &[first, second]));
    let text = "data: {\"choices\":[{\"delta\":{\"content\":\"\\\"finish_reason\\\": 1\"}}]}\n\n";
    assert!(!over("chat/completions", 1, &[text.to_owned()]));
    for (reason, expected) in [("null", false), ("\"end_turn\"", true)] {
        let delta = format!(
            "data: {{\"type\":\"message_delta\",\"delta\":{{\"stop_reason\":{reason}}}}}\n\n"
        );
        assert_eq!(over("messages", 1, &[delta]), expected, "{reason}");
    }
}

#[test]
fn usage_stands_where_each_server_puts_it() {
    let chunk = "data: {\"choices\":[{}],\"x_groq\":{\"id\":\"r\",\"usage\":{\"prompt_tokens\":3,\"completion_tokens\":4}}}\n\n";
    let (meter, seen) = run("chat/completions", true, &[chunk]);
    assert_eq!((seen[0], told(&meter)), (Seen::Forward, Some(usage(3, 4))));
    let (meter, _) = run(
        "messages",
        false,
        &[
            "data: {\"type\":\"message_start\",\"message\":{\"usage\":{\"input_tokens\":25,\"output_tokens\":1}}}\n\n",
            "data: {\"type\":\"message_delta\",\"usage\":{\"input_tokens\":0,\"cache_read_input_tokens\":100,\"output_tokens\":9.0}}\n\n",
        ],
    );
    let cached = Usage {
        cached_tokens: 100,
        ..usage(125, 9)
    };
    assert_eq!(told(&meter), Some(cached));
}

#[test]
fn output_is_counted_in_case_the_backend_never_says() {
    let event = |text: &str| {
        format!("data: {{\"choices\":[{{\"delta\":{{\"content\":\"{text}\"}}}}]}}\n\n")
    };
    let (short, long) = (event("a"), event(&"a".repeat(401)));
    let (meter, _) = run("chat/completions", false, &[&short, &short, &short]);
    assert_eq!(meter.progress.counted(), 3);
    let (meter, _) = run("chat/completions", false, &[&short, &long]);
    assert_eq!(meter.progress.counted(), 100);
    // What has no text is no output, however short it is.
    for odd in [
        "data: {\"choices\":[],\"usage\":null}\n\n",
        "data: {\"choices\":[],\"usage\":0}\n\n",
        "data: {\"error\":{\"code\":5}}\n\n",
    ] {
        let (meter, _) = run("chat/completions", false, &[&short, &short, odd]);
        assert_eq!(meter.progress.counted(), 2, "{odd}");
    }
}

#[test]
fn a_whole_answer_is_read() {
    let chat = |answer: &[u8]| read("chat/completions", answer);
    let used = |answer: &[u8]| chat(answer).unwrap().usage.usage(Usage::default());
    let answer = br#" {"choices":[],"usage":{"prompt_tokens":1,"completion_tokens":2}}"#;
    let reading = chat(answer).unwrap();
    assert_eq!(used(answer), Some(usage(1, 2)));
    assert!(!reading.is_error && !reading.unfinished);
    assert_eq!(reading.response_id, None);
    for error in [
        r#"{"error":{"message":"no"}}"#,
        r#"{"object":"error","message":"no","code":400}"#,
    ] {
        assert!(chat(error.as_bytes()).unwrap().is_error, "{error}");
    }
    assert!(!chat(br#"{"error":null,"output":[]}"#).unwrap().is_error);
    let twice = br#"{"usage":{"prompt_tokens":9,"completion_tokens":9},"id":1,"id":2,"usage":{"prompt_tokens":1,"completion_tokens":2}}"#;
    assert_eq!(used(twice), Some(usage(1, 2)));
    let groq = br#"{"choices":[],"x_groq":{"usage":{"prompt_tokens":1,"completion_tokens":2}}}"#;
    assert_eq!(used(groq), Some(usage(1, 2)));
    for none in ["", "[]", "null", "5", "<html>", "{", "{} x"] {
        assert_eq!(chat(none.as_bytes()), None, "{none}");
    }
}

#[test]
fn responses_are_identified_plain_and_streamed() {
    let plain = br#"{"id":"resp_1","object":"response","status":"failed","error":{"code":"x"},"output":[],"usage":null}"#;
    let reading = read("responses", plain).unwrap();
    assert_eq!(reading.response_id.as_deref(), Some("resp_1"));
    assert!(!reading.is_error && !reading.unfinished);
    let chat = br#"{"id":"chatcmpl-1","object":"chat.completion","choices":[]}"#;
    assert_eq!(read("responses", chat).unwrap().response_id, None);
    for (status, unfinished) in [
        ("queued", true),
        ("in_progress", true),
        ("completed", false),
        ("incomplete", false),
    ] {
        let answer = format!(r#"{{"id":"resp_1","object":"response","status":"{status}"}}"#);
        let reading = read("responses", answer.as_bytes()).unwrap();
        assert_eq!(reading.unfinished, unfinished, "{status}");
    }

    let created = "event: response.created\ndata: {\"type\":\"response.created\",\"response\":{\"id\":\"resp_2\",\"object\":\"response\"}}\n\n";
    let (mut meter, _) = run("responses", false, &[created]);
    assert_eq!(meter.take_response_id().as_deref(), Some("resp_2"));
    assert_eq!(meter.take_response_id(), None);
}

/// Events with their members in the order that OpenAI's API, vLLM and Anthropic use, each with something long in it.
fn long_events() -> [(&'static str, String, Seen, Option<Usage>, u64); 9] {
    let long = "\\\"usage\\\":{} ".repeat(30_000);
    let used = r#""usage":{"input_tokens":10,"output_tokens":5,"total_tokens":15}"#;
    let event = |data: String| format!("event: x\ndata: {data}\n\n");
    [
        (
            "responses",
            event(format!(
                r#"{{"type":"response.completed","response":{{"id":"resp_3","object":"response","instructions":"{long}","output":[{{"text":"{long}"}}],"tools":[{{"usage":{{"input_tokens":1}}}}],{used},"metadata":{{}}}}}}"#
            )),
            Seen::Terminal,
            Some(usage(10, 5)),
            0,
        ),
        (
            "responses",
            event(format!(
                r#"{{"response":{{"id":"resp_3",{used},"instructions":"{long}"}},"sequence_number":9,"type":"response.incomplete"}}"#
            )),
            Seen::Terminal,
            Some(usage(10, 5)),
            0,
        ),
        (
            "responses",
            event(format!(
                r#"{{"type":"response.output_text.delta","delta":"{long}"}}"#
            )),
            Seen::Forward,
            None,
            1,
        ),
        (
            "responses",
            event(format!(
                r#"{{"type":"response.output_text.done","text":"{long}"}}"#
            )),
            Seen::Forward,
            None,
            0,
        ),
        (
            "messages",
            event(format!(
                r#"{{"type":"message_start","message":{{"content":[],"x":"{long}","usage":{{"input_tokens":10,"output_tokens":5}}}}}}"#
            )),
            Seen::Forward,
            Some(usage(10, 5)),
            0,
        ),
        (
            "chat/completions",
            event(format!(
                r#"{{"choices":[{{"delta":{{"content":"{long}"}}}}],"usage":{{"prompt_tokens":10,"completion_tokens":5}}}}"#
            )),
            Seen::Forward,
            Some(usage(10, 5)),
            1,
        ),
        (
            "chat/completions",
            event(format!(
                r#"{{"choices":[],"x":"{long}","usage":{{"prompt_tokens":10,"completion_tokens":5}}}}"#
            )),
            Seen::LastUsage,
            Some(usage(10, 5)),
            0,
        ),
        (
            "images/generations",
            event(format!(
                r#"{{"type":"image_generation.completed","b64_json":"{long}",{used}}}"#
            )),
            Seen::Forward,
            Some(usage(10, 5)),
            0,
        ),
        ("chat/completions", event(long), Seen::Forward, None, 0),
    ]
}

#[test]
fn an_event_in_parts_tells_the_same_as_a_whole_one() {
    for (api, event, expected, used, counted) in long_events() {
        let bytes = event.as_bytes();
        let (whole, seen) = run(api, false, &[&event]);
        assert_eq!((seen[0], told(&whole)), (expected, used), "{api:?}");
        assert_eq!(whole.progress.counted(), counted, "{api:?}");
        for cut in [
            1,
            7,
            8,
            40,
            bytes.len() / 2,
            bytes.len() - 30,
            bytes.len() - 1,
        ] {
            let mut meter = Meter::new(&Api::parse(api), true, 1);
            meter.part(&bytes[..cut]);
            assert_eq!(meter.last_part(&bytes[cut..]), expected, "{api:?} {cut}");
            assert_eq!(told(&meter), used, "{api:?} {cut}");
            assert_eq!(meter.progress.counted(), counted, "{api:?} {cut}");
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
        let mut meter = Meter::new(&Api::parse("responses"), false, 1);
        meter.part(&created.as_bytes()[..200_000]);
        assert_eq!(
            meter.last_part(&created.as_bytes()[200_000..]),
            Seen::Forward
        );
        assert_eq!(meter.take_response_id().as_deref(), Some("resp_3"));
    }
}
