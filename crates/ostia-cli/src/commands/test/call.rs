use std::time::{Duration, Instant};

use ostia_core::{Clock as _, Secret, SystemClock, millis};
use serde_json::{Value, json};

use super::reading::{Reading, read_stream, read_whole};
use crate::commands::web::{Answer, Page, parse_private};
use crate::failure::Failure;

/// A model that must be loaded first takes minutes.
const PATIENCE: Duration = Duration::from_secs(600);
const PROMPT: &str = "Say hello in one short sentence.";
const MOST_TOKENS: u32 = 64;
/// How much of an answer's text is shown.
const SHOWN: usize = 60;

/// A call to one model by one API.
pub(super) struct Call<'a> {
    /// Ends with `/v1`.
    pub(super) base: &'a str,
    pub(super) key: &'a Secret<String>,
    pub(super) model: &'a str,
    pub(super) api: &'a str,
}

/// The result of one request.
pub(super) struct Seen {
    stream: bool,
    status: u16,
    took: Duration,
    request_id: String,
    /// The reading, or what went wrong.
    outcome: Result<Reading, String>,
}

impl Call<'_> {
    /// Asks for a whole answer, then for a stream if that worked and the API has streams.
    pub(super) async fn both(&self) -> Result<Vec<Seen>, Failure> {
        let mut seen = vec![self.once(false).await?];
        if seen[0].is_good() && self.api != "embeddings" {
            seen.push(self.once(true).await?);
        }
        Ok(seen)
    }

    async fn once(&self, stream: bool) -> Result<Seen, Failure> {
        let mut body = body(self.api, self.model)?;
        if stream {
            body["stream"] = true.into();
        }
        let begun = SystemClock.now();
        let mut answer = self.send(body.clone()).await?;
        // OpenAI's reasoning models accept only the newer name of the limit.
        if answer.status == 400 && answer.text().contains("max_completion_tokens") {
            let cap = body
                .as_object_mut()
                .and_then(|body| body.remove("max_tokens"));
            body["max_completion_tokens"] = cap.unwrap_or_else(|| MOST_TOKENS.into());
            answer = self.send(body).await?;
        }
        Ok(Seen::of(&answer, self.api, stream, begun))
    }

    async fn send(&self, body: Value) -> Result<Answer, Failure> {
        let page = Page {
            bearer: Some(self.key.clone()),
            body: Some(body),
            patience: PATIENCE,
            ..Page::default()
        };
        let url = format!("{}/{}", self.base, self.api);
        page.post(&parse_private(&url)?).await
    }
}

impl Seen {
    fn of(answer: &Answer, api: &str, stream: bool, begun: Instant) -> Self {
        let took = SystemClock.now().saturating_duration_since(begun);
        // An adapter may turn a stream into a whole answer.
        let kind = answer.header("content-type").unwrap_or_default();
        let streamed = kind.starts_with("text/event-stream");
        let outcome = match (answer.status.is_success(), streamed) {
            (false, _) => Err(said(answer)),
            (true, false) => read_whole(api, answer),
            (true, true) => read_stream(answer),
        };
        Self {
            stream,
            status: answer.status.as_u16(),
            took,
            request_id: answer.header("x-request-id").unwrap_or("-").to_owned(),
            outcome,
        }
    }

    pub(super) fn is_good(&self) -> bool {
        self.outcome.is_ok()
    }

    pub(super) fn as_text(&self, api: &str) -> String {
        let Self { status, .. } = self;
        let kind = if self.stream { "stream" } else { "answer" };
        let took = self.took.as_millis();
        let told = match &self.outcome {
            Ok(reading) if self.stream && !reading.is_stream() => {
                format!("not as a stream; {}", reading.in_words(SHOWN))
            }
            Ok(reading) => reading.in_words(SHOWN),
            Err(why) => why.clone(),
        };
        format!("  {api}, {kind}: {status} after {took} ms; {told}\n")
    }

    pub(super) fn as_json(&self) -> Value {
        let (reading, error) = match &self.outcome {
            Ok(reading) => (reading.as_json(), Value::Null),
            Err(why) => (Value::Null, Value::from(why.as_str())),
        };
        json!({
            "stream": self.stream,
            "ok": self.is_good(),
            "status": self.status,
            "duration_ms": millis(self.took),
            "request_id": self.request_id,
            "answer": reading,
            "error": error,
        })
    }
}

/// The code and message of an error, safe for a terminal.
pub fn said(answer: &Answer) -> String {
    let body = answer.json().unwrap_or_default();
    let error = &body["error"];
    let word = |name: &str| {
        error[name]
            .as_str()
            .map(|text| text.escape_debug().to_string())
    };
    match (word("code").or_else(|| word("type")), word("message")) {
        (Some(code), Some(message)) => format!("{code}: {message}"),
        (None, Some(message)) => message,
        _ => "an answer without an error in it".to_owned(),
    }
}

fn body(api: &str, model: &str) -> Result<Value, Failure> {
    let messages = json!([{"role": "user", "content": PROMPT}]);
    match api {
        "chat/completions" | "messages" => {
            Ok(json!({"model": model, "messages": messages, "max_tokens": MOST_TOKENS}))
        }
        "responses" => Ok(json!({"model": model, "input": PROMPT})),
        "completions" => Ok(json!({"model": model, "prompt": PROMPT, "max_tokens": MOST_TOKENS})),
        "embeddings" => Ok(json!({"model": model, "input": PROMPT})),
        _ => Err(Failure::usage(
            "--api: chat/completions, messages, responses, completions and embeddings can be tested",
        )),
    }
}
