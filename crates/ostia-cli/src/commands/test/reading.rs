use serde_json::{Value, json};

use crate::commands::web::Answer;
use crate::table::cut;

/// What an answer contains.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Reading {
    text: String,
    /// Of an embedding.
    numbers: Option<usize>,
    prompt_tokens: Option<u64>,
    completion_tokens: Option<u64>,
    /// Of a stream.
    events: Option<usize>,
}

pub(super) fn read_whole(api: &str, answer: &Answer) -> Result<Reading, String> {
    let body = answer.json().ok_or("the answer is not JSON")?;
    let mut reading = Reading::default();
    reading.usage(&body);
    if api == "embeddings" {
        let numbers = body["data"][0]["embedding"].as_array().map(Vec::len);
        reading.numbers = Some(numbers.ok_or("the answer has no embedding")?);
        return Ok(reading);
    }
    let parts = [
        &body["choices"][0]["message"]["content"],
        &body["choices"][0]["message"]["reasoning_content"],
        &body["choices"][0]["text"],
        &body["content"][0]["text"],
    ];
    let output = body["output"].as_array().into_iter().flatten();
    let output = output.map(|item| &item["content"][0]["text"]);
    let mut texts = parts.into_iter().chain(output).filter_map(Value::as_str);
    let text = texts.find(|text| !text.is_empty());
    reading.text = text.unwrap_or_default().to_owned();
    let choices = ["choices", "content", "output"];
    match choices.iter().any(|name| body[*name].is_array()) {
        true => Ok(reading),
        false => Err("the answer is JSON of another shape".to_owned()),
    }
}

/// Reads server-sent events, which must have a proper end.
pub(super) fn read_stream(answer: &Answer) -> Result<Reading, String> {
    let mut reading = Reading::default();
    let (mut events, mut ended) = (0, false);
    let text = answer.text();
    let lines = text.lines().filter_map(|line| line.strip_prefix("data:"));
    for data in lines.map(str::trim) {
        events += 1;
        if data == "[DONE]" {
            ended = true;
            continue;
        }
        let Ok(event) = serde_json::from_str::<Value>(data) else {
            return Err(format!("event {events} is not JSON"));
        };
        let kind = event["type"].as_str().unwrap_or_default();
        if event["error"].is_object() || kind == "error" {
            let message = event["error"]["message"].as_str().unwrap_or(data);
            return Err(format!(
                "an error came as event {events}: {}",
                message.escape_debug()
            ));
        }
        ended |= ["message_stop", "response.completed"].contains(&kind);
        reading.usage(&event);
        reading.usage(&event["message"]);
        reading.usage(&event["response"]);
        reading.text.push_str(piece(&event));
    }
    reading.events = Some(events);
    match (events, ended) {
        (0, _) => Err("the answer has no events".to_owned()),
        (_, false) => Err(format!(
            "the stream stopped after {events} events without its end"
        )),
        (_, true) => Ok(reading),
    }
}

/// The text that one event adds.
fn piece(event: &Value) -> &str {
    let delta = &event["choices"][0]["delta"];
    let places = [
        &delta["content"],
        &delta["reasoning_content"],
        &event["choices"][0]["text"],
        &event["delta"]["text"],
        &event["delta"],
    ];
    places.into_iter().find_map(Value::as_str).unwrap_or("")
}

impl Reading {
    /// Later numbers replace earlier ones.
    fn usage(&mut self, body: &Value) {
        let usage = &body["usage"];
        let number = |names: [&str; 2]| names.iter().find_map(|name| usage[*name].as_u64());
        let prompt = number(["prompt_tokens", "input_tokens"]);
        self.prompt_tokens = prompt.or(self.prompt_tokens);
        let completion = number(["completion_tokens", "output_tokens"]);
        self.completion_tokens = completion.or(self.completion_tokens);
    }

    pub(super) fn is_stream(&self) -> bool {
        self.events.is_some()
    }

    pub(super) fn in_words(&self, shown: usize) -> String {
        let mut parts = Vec::new();
        if let Some(events) = self.events {
            parts.push(format!("{events} events and a proper end"));
        }
        if let Some(numbers) = self.numbers {
            parts.push(format!("a vector of {numbers} numbers"));
        }
        parts.push(match (self.prompt_tokens, self.completion_tokens) {
            (None, None) => "no usage".to_owned(),
            (prompt, completion) => {
                let number = |count: Option<u64>| count.map_or("?".to_owned(), |it| it.to_string());
                format!("tokens {} + {}", number(prompt), number(completion))
            }
        });
        if self.numbers.is_none() {
            let text = self.text.escape_debug().to_string();
            parts.push(format!("\"{}\"", cut(&text, shown)));
        }
        parts.join(", ")
    }

    pub(super) fn as_json(&self) -> Value {
        json!({
            "text": self.text,
            "vector": self.numbers,
            "prompt_tokens": self.prompt_tokens,
            "completion_tokens": self.completion_tokens,
            "events": self.events,
        })
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use http::{HeaderMap, StatusCode};

    use super::*;

    fn answer(body: &str) -> Answer {
        Answer {
            status: StatusCode::OK,
            headers: HeaderMap::new(),
            body: Bytes::from(body.to_owned()),
        }
    }

    #[test]
    fn every_api_s_answer_is_read() {
        let usage = r#""usage": {"prompt_tokens": 3, "completion_tokens": 2}"#;
        let words = r#""usage": {"input_tokens": 3, "output_tokens": 2}"#;
        for (api, body) in [
            (
                "chat/completions",
                format!(r#"{{"choices": [{{"message": {{"content": "hi"}}}}], {usage}}}"#),
            ),
            (
                "completions",
                format!(r#"{{"choices": [{{"text": "hi"}}], {usage}}}"#),
            ),
            (
                "messages",
                format!(r#"{{"content": [{{"text": "hi"}}], {words}}}"#),
            ),
            (
                "responses",
                format!(
                    r#"{{"output": [{{"type": "reasoning"}}, {{"content": [{{"text": "hi"}}]}}], {words}}}"#
                ),
            ),
        ] {
            let reading = read_whole(api, &answer(&body)).unwrap();
            assert_eq!(reading.in_words(9), "tokens 3 + 2, \"hi\"", "{api}");
        }
        let vector = answer(r#"{"data": [{"embedding": [1, 2, 3]}]}"#);
        let reading = read_whole("embeddings", &vector).unwrap();
        assert_eq!(reading.in_words(9), "a vector of 3 numbers, no usage");
        for wrong in ["<html>", "{}", r#"{"data": []}"#] {
            assert!(read_whole("embeddings", &answer(wrong)).is_err(), "{wrong}");
            assert!(read_whole("messages", &answer(wrong)).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_stream_has_to_end_properly() {
        let chat = "data: {\"choices\": [{\"delta\": {\"content\": \"h\"}}]}\n\n\
                    data: {\"choices\": [{\"delta\": {\"content\": \"i\"}}]}\n\n\
                    data: {\"choices\": [], \"usage\": {\"prompt_tokens\": 3, \"completion_tokens\": 2}}\n\n";
        let whole = read_stream(&answer(&format!("{chat}data: [DONE]\n\n"))).unwrap();
        assert_eq!(
            whole.in_words(9),
            "4 events and a proper end, tokens 3 + 2, \"hi\""
        );
        let messages = "event: message_start\ndata: {\"type\": \"message_start\", \"message\": {\"usage\": {\"input_tokens\": 3}}}\n\n\
                        data: {\"type\": \"content_block_delta\", \"delta\": {\"text\": \"hi\"}}\n\n\
                        data: {\"type\": \"message_delta\", \"delta\": {}, \"usage\": {\"output_tokens\": 2}}\n\n\
                        data: {\"type\": \"message_stop\"}\n\n";
        let whole = read_stream(&answer(messages)).unwrap();
        assert!(whole.in_words(9).ends_with("tokens 3 + 2, \"hi\""));
        let error = "data: {\"error\": {\"message\": \"died\"}}\n\n";
        for (text, said) in [
            (chat, "without its end"),
            ("", "no events"),
            (error, "died"),
            ("data: x\n\n", "not JSON"),
        ] {
            let why = read_stream(&answer(text)).unwrap_err();
            assert!(why.contains(said), "{why}");
        }
    }
}
