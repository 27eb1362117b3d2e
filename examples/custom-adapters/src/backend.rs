use async_trait::async_trait;
use http::Response;
use http::header::{CONTENT_TYPE, HeaderValue};
use ostia::backend::{AnswerBody, Backend, Entry, Exchange, Failure};
use serde_json::json;

/// Answers every chat by itself with one word, that of its entry: `"config": {"greeter": {"word": "Hello"}}`.
pub struct Greeter {
    word: String,
}

#[async_trait]
impl Backend for Greeter {
    fn open(entry: &mut Entry<'_>) -> Option<Self> {
        entry.only("/greeter", &["word"]);
        let word = entry.text("/greeter/word").unwrap_or("Hello").to_owned();
        Some(Self { word })
    }

    async fn call(&self, mut exchange: Exchange<'_>) -> Result<Response<AnswerBody>, Failure> {
        exchange.sending();
        let message = json!({"role": "assistant", "content": self.word});
        let choice = json!({"index": 0, "message": message, "finish_reason": "stop"});
        let answer = json!({"object": "chat.completion", "choices": [choice]});
        let mut response = Response::new(AnswerBody::whole(answer.to_string()));
        let json = HeaderValue::from_static("application/json");
        response.headers_mut().insert(CONTENT_TYPE, json);
        Ok(response)
    }
}
