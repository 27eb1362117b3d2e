//! A backend without any HTTP: it answers chats within the gateway's process, with as many words as its entry says.
//!
//! `"config": {"echo": {"log": NAME, "words": 3, "held": true, "fails": true}}`; the outcomes of its calls are in
//! [`EchoLog::of`] NAME.

use std::collections::HashMap;
use std::sync::{Arc, LazyLock};

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::stream;
use http::Response;
use http::header::CONTENT_TYPE;
use http_body_util::StreamBody;
use hyper::body::Frame;
use ostia::backend::{AnswerBody, Backend, Entry, Exchange, Failure};
use ostia::upstream::FailureKind;
use ostia_core::Phase;
use parking_lot::Mutex;
use serde_json::{Value, json};
use tokio::sync::watch;

use crate::gate::Gate;
use crate::patience::within;

/// The test's view of an [`Echo`].
#[derive(Default)]
pub struct EchoLog {
    bodies: Mutex<Vec<Value>>,
    /// The gate for which every word of a held answer waits, except the first.
    pub gate: Gate,
    /// Answers whose body is gone.
    ended: watch::Sender<usize>,
}

pub struct Echo {
    log: Arc<EchoLog>,
    words: u64,
    held: bool,
    fails: bool,
}

static LOGS: LazyLock<Mutex<HashMap<String, Arc<EchoLog>>>> = LazyLock::new(Mutex::default);

impl EchoLog {
    pub fn of(name: &str) -> Arc<Self> {
        Arc::clone(LOGS.lock().entry(name.to_owned()).or_default())
    }

    /// The bodies that it was sent so far.
    pub fn bodies(&self) -> Vec<Value> {
        self.bodies.lock().clone()
    }

    /// Waits until so many bodies of answers are gone, read to their end or not.
    pub async fn ended(&self, count: usize) {
        let mut ended = self.ended.subscribe();
        let reached = ended.wait_for(|so_far| *so_far >= count);
        within(|| format!("{count} ends of an echo"), reached)
            .await
            .unwrap();
    }
}

#[async_trait]
impl Backend for Echo {
    fn open(entry: &mut Entry<'_>) -> Option<Self> {
        entry.only("/echo", &["log", "words", "held", "fails"]);
        let log = entry.text("/echo/log");
        let words = entry.number("/echo/words").unwrap_or(1);
        if log.is_none() && entry.is_sound() {
            entry.error("/echo/log", "is missing");
        }
        let flag = |pointer| entry.at(pointer) == Some(&Value::Bool(true));
        Some(Self {
            log: EchoLog::of(log?),
            words,
            held: flag("/echo/held"),
            fails: flag("/echo/fails"),
        })
    }

    async fn call(&self, mut exchange: Exchange<'_>) -> Result<Response<AnswerBody>, Failure> {
        if self.fails {
            let (kind, phase) = (FailureKind::Unreachable, Phase::Connecting);
            return Err(Failure::broken(
                kind,
                phase,
                true,
                "it fails, as its entry says",
            ));
        }
        exchange.sending();
        let body = serde_json::from_slice(&exchange.outgoing.body.concat());
        self.log.bodies.lock().push(body.expect("JSON"));
        let (kind, body) = match exchange.outgoing.stream {
            true => ("text/event-stream", self.events()),
            false => ("application/json", self.whole()),
        };
        Ok(Response::builder()
            .header(CONTENT_TYPE, kind)
            .body(body)
            .expect("a response"))
    }
}

impl Echo {
    fn usage(&self) -> Value {
        json!({"prompt_tokens": 5, "completion_tokens": self.words, "total_tokens": 5 + self.words})
    }

    fn whole(&self) -> AnswerBody {
        let content = "echo ".repeat(self.words.try_into().expect("a few"));
        let choice = json!({"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": content}});
        let answer =
            json!({"object": "chat.completion", "choices": [choice], "usage": self.usage()});
        AnswerBody::whole(answer.to_string())
    }

    fn events(&self) -> AnswerBody {
        let chunk = |delta: Value, reason: Value, usage: Value| {
            let choice = json!({"index": 0, "delta": delta, "finish_reason": reason});
            let chunk =
                json!({"object": "chat.completion.chunk", "choices": [choice], "usage": usage});
            format!("data: {chunk}\n\n")
        };
        let word = chunk(json!({"content": "echo "}), Value::Null, Value::Null);
        let last = chunk(json!({}), json!("stop"), self.usage());
        let mut events: Vec<String> = (0..self.words).map(|_| word.clone()).collect();
        events.extend([last, "data: [DONE]\n\n".to_owned()]);
        let end = End(Arc::clone(&self.log));
        let held = self.held;
        let events = stream::unfold((events.into_iter(), end, 0), move |state| async move {
            let (mut events, end, sent) = state;
            let event = events.next()?;
            if held && sent > 0 {
                end.0.gate.pass().await;
            }
            let frame = Frame::data(Bytes::from(event));
            Some((Ok(frame), (events, end, sent + 1)))
        });
        AnswerBody::new(StreamBody::new(events))
    }
}

/// Tells that a body is gone.
struct End(Arc<EchoLog>);

impl Drop for End {
    fn drop(&mut self) {
        self.0.ended.send_modify(|ended| *ended += 1);
    }
}
