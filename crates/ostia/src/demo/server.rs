use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderValue, Method, Response, StatusCode, header};
use http_body_util::{BodyExt, Limited};
use ostia_core::Clock;
use serde_json::{Value, json};
use tokio::time::sleep;

use super::ask::Ask;
use super::body::{BodyEnd, PacedBody, Piece};
use super::faults::{self, Fault, MODELS};
use super::output::Output;
use super::{Pace, chat, completions, embeddings, messages, responses};
use crate::listen::{Handler, Inbound, Rejection};

/// As much as a gateway with its default settings lets through.
const LARGEST_BODY: usize = 64 * 1024 * 1024;
/// A broken stream has so many events before.
const EVENTS_BEFORE_BREAK: usize = 6;

/// Answers requests as a model server would.
pub(super) struct Server {
    pace: Pace,
    clock: Arc<dyn Clock>,
    answered: AtomicU64,
}

/// What is the same in every part of one answer.
pub(super) struct Stamp {
    /// Unix seconds.
    pub(super) created: i64,
    unique: String,
}

impl Stamp {
    pub(super) fn id(&self, prefix: &str) -> String {
        let separator = if prefix == "chatcmpl" || prefix == "cmpl" {
            '-'
        } else {
            '_'
        };
        format!("{prefix}{separator}{}", self.unique)
    }
}

/// One event of a stream.
pub(super) struct Event {
    text: String,
    paced: bool,
}

impl Event {
    pub(super) fn data(value: &Value) -> Self {
        Self {
            text: format!("data: {value}\n\n"),
            paced: false,
        }
    }

    /// Named by its own `type`.
    pub(super) fn typed(value: &Value) -> Self {
        let name = value["type"].as_str().unwrap_or("message");
        Self {
            text: format!("event: {name}\ndata: {value}\n\n"),
            paced: false,
        }
    }

    pub(super) fn done() -> Self {
        Self {
            text: "data: [DONE]\n\n".to_owned(),
            paced: false,
        }
    }

    /// A token: it takes its time.
    pub(super) fn paced(self) -> Self {
        Self {
            paced: true,
            ..self
        }
    }
}

/// The APIs that it answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Api {
    Chat,
    Completions,
    Embeddings,
    Responses,
    Messages,
    CountTokens,
}

impl Api {
    fn of(path: &str) -> Option<Self> {
        Some(match path.strip_prefix("/v1/")? {
            "chat/completions" => Self::Chat,
            "completions" => Self::Completions,
            "embeddings" => Self::Embeddings,
            "responses" => Self::Responses,
            "messages" => Self::Messages,
            "messages/count_tokens" => Self::CountTokens,
            _ => return None,
        })
    }

    fn plain(self, ask: &Ask, output: &Output, stamp: &Stamp) -> Value {
        match self {
            Self::Chat => chat::plain(ask, output, stamp),
            Self::Completions => completions::plain(ask, output, stamp),
            Self::Embeddings => embeddings::plain(ask),
            Self::Responses => responses::plain(ask, output, stamp),
            Self::Messages => messages::plain(ask, output, stamp),
            Self::CountTokens => messages::count_tokens(ask),
        }
    }

    /// How a stream of this API says that it failed.
    fn failure(self) -> Vec<Event> {
        let body = faults::body_of(StatusCode::INTERNAL_SERVER_ERROR);
        let message = &body["error"]["message"];
        match self {
            Self::Messages => vec![Event::typed(
                &json!({"type": "error", "error": {"type": "api_error", "message": message}}),
            )],
            Self::Responses => vec![Event::typed(
                &json!({"type": "error", "code": "server_error", "message": message, "param": null}),
            )],
            _ => vec![Event::data(&body), Event::done()],
        }
    }

    /// `None`: this API has no streams.
    fn events(self, ask: &Ask, output: &Output, stamp: &Stamp) -> Option<Vec<Event>> {
        match self {
            Self::Chat => Some(chat::events(ask, output, stamp)),
            Self::Completions => Some(completions::events(ask, output, stamp)),
            Self::Responses => Some(responses::events(ask, output, stamp)),
            Self::Messages => Some(messages::events(ask, output, stamp)),
            Self::Embeddings | Self::CountTokens => None,
        }
    }
}

impl Server {
    pub(super) fn new(pace: Pace, clock: Arc<dyn Clock>) -> Self {
        Self {
            pace,
            clock,
            answered: AtomicU64::new(0),
        }
    }

    async fn answer(&self, inbound: Inbound) -> Response<PacedBody> {
        let path = inbound.head.uri.path().to_owned();
        if inbound.head.method == Method::GET && path == "/v1/models" {
            return json_answer(StatusCode::OK, &self.models());
        }
        let Some(api) = Api::of(&path).filter(|_| inbound.head.method == Method::POST) else {
            return error(StatusCode::NOT_FOUND);
        };
        let body = Limited::new(inbound.body, LARGEST_BODY).collect().await;
        let body = body.map(|body| body.to_bytes()).unwrap_or_default();
        let Ok(body) = serde_json::from_slice::<Value>(&body) else {
            return error(StatusCode::BAD_REQUEST);
        };
        let ask = Ask::read(body);
        let first = self.pace.first_token;
        let (first, fault) = match faults::fault_of(&ask.model) {
            None => return error(StatusCode::NOT_FOUND),
            Some(Fault::Slow(wait)) => (wait, Fault::None),
            Some(Fault::Halting(wait)) => (wait, Fault::Halting(wait)),
            Some(fault) => (first, fault),
        };
        match fault {
            Fault::Silent => std::future::pending().await,
            Fault::Status(status) => error(StatusCode::from_u16(status).unwrap_or_default()),
            Fault::Page => page(),
            _ => self.complete(api, &ask, first, fault).await,
        }
    }

    async fn complete(
        &self,
        api: Api,
        ask: &Ask,
        first: Duration,
        fault: Fault,
    ) -> Response<PacedBody> {
        let output = Output::of(ask);
        let stamp = self.stamp();
        let events = ask.stream.then(|| api.events(ask, &output, &stamp));
        if let Some(events) = events.flatten() {
            return self.stream(api, events, first, fault);
        }
        sleep(first).await;
        let body = api.plain(ask, &output, &stamp);
        if fault != Fault::Broken {
            return json_answer(StatusCode::OK, &body);
        }
        let mut text = body.to_string();
        text.truncate(1);
        let half = Piece {
            wait: Duration::ZERO,
            bytes: text.into(),
        };
        respond(
            StatusCode::OK,
            "application/json",
            PacedBody::paced([half], BodyEnd::Broken),
        )
    }

    fn stream(
        &self,
        api: Api,
        mut events: Vec<Event>,
        first: Duration,
        fault: Fault,
    ) -> Response<PacedBody> {
        let mut end = BodyEnd::Complete;
        if matches!(fault, Fault::Broken | Fault::ErrorInStream) {
            events.truncate(EVENTS_BEFORE_BREAK);
        }
        match fault {
            Fault::Broken => end = BodyEnd::Broken,
            Fault::ErrorInStream => events.extend(api.failure()),
            _ => {}
        }
        let mut wait = first;
        let pieces = events.into_iter().enumerate().map(|(index, event)| Piece {
            wait: match (event.paced, fault) {
                (_, Fault::Halting(pause)) if index == EVENTS_BEFORE_BREAK => pause,
                (true, _) => std::mem::replace(&mut wait, self.pace.between_tokens),
                (false, _) => Duration::ZERO,
            },
            bytes: Bytes::from(event.text),
        });
        respond(
            StatusCode::OK,
            "text/event-stream; charset=utf-8",
            PacedBody::paced(pieces, end),
        )
    }

    fn stamp(&self) -> Stamp {
        let number = self.answered.fetch_add(1, Ordering::Relaxed);
        let micros = self.clock.unix_micros();
        Stamp {
            created: micros / 1_000_000,
            unique: format!("{micros:016x}{number:08x}"),
        }
    }

    fn models(&self) -> Value {
        let created = self.clock.unix_micros() / 1_000_000;
        let data: Vec<Value> = MODELS
            .iter()
            .map(|model| json!({"id": model.name, "object": "model", "created": created, "owned_by": "demo"}))
            .collect();
        json!({"object": "list", "data": data})
    }
}

impl Handler for Server {
    type Body = PacedBody;

    async fn handle(self: Arc<Self>, inbound: Inbound) -> Response<PacedBody> {
        self.answer(inbound).await
    }

    fn reject(&self, _: Inbound, _: Rejection) -> Response<PacedBody> {
        error(StatusCode::BAD_REQUEST)
    }
}

fn error(status: StatusCode) -> Response<PacedBody> {
    let mut response = json_answer(status, &faults::body_of(status));
    if matches!(status.as_u16(), 429 | 503) {
        let wait = HeaderValue::from_static("2");
        response.headers_mut().insert(header::RETRY_AFTER, wait);
    }
    response
}

fn page() -> Response<PacedBody> {
    let body = PacedBody::whole("<!doctype html><title>It works!</title>");
    respond(StatusCode::OK, "text/html", body)
}

fn json_answer(status: StatusCode, value: &Value) -> Response<PacedBody> {
    respond(
        status,
        "application/json",
        PacedBody::whole(value.to_string()),
    )
}

fn respond(status: StatusCode, kind: &'static str, body: PacedBody) -> Response<PacedBody> {
    let mut response = Response::new(body);
    *response.status_mut() = status;
    let kind = HeaderValue::from_static(kind);
    response.headers_mut().insert(header::CONTENT_TYPE, kind);
    response
}
