use std::collections::BTreeMap;
use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderValue, Method, Request, Response, StatusCode, header};
use http_body_util::{BodyExt, Limited};
use hyper::body::Incoming;
use ostia_core::Clock;
use serde_json::Value;
use tokio::net::TcpListener;
use tokio::time::sleep;

use crate::body::{AnswerBody, Piece};
use crate::load::{Curve, Load};
use crate::{Api, Ask, Event, Fault, Output, Pace, Stamp, Turn, fault, models, serve};

/// As much as a gateway accepts by default.
const LARGEST_BODY: usize = 64 * 1024 * 1024;
/// How many events a broken stream sends before it breaks.
const EVENTS_BEFORE_BREAK: usize = 6;

/// Answers requests like a model server.
pub struct Engine {
    models: BTreeMap<String, Fault>,
    pace: Pace,
    clock: Arc<dyn Clock>,
    answered: AtomicU64,
    load: Arc<Load>,
}

impl Engine {
    pub fn new<N: Into<String>>(
        models: impl IntoIterator<Item = (N, Fault)>,
        pace: Pace,
        clock: Arc<dyn Clock>,
    ) -> Self {
        let named = models.into_iter().map(|(name, fault)| (name.into(), fault));
        Self {
            models: named.collect(),
            pace,
            clock,
            answered: AtomicU64::new(0),
            load: Load::new(Curve::FLAT),
        }
    }

    /// Slows down under load, or limits the number of concurrent requests.
    #[must_use]
    pub fn with_curve(mut self, curve: Curve) -> Self {
        self.load = Load::new(curve);
        self
    }

    /// Answers requests on this listener until the future is dropped.
    pub async fn serve(self, listener: TcpListener) {
        let engine = Arc::new(self);
        let answer = move |request| {
            let engine = Arc::clone(&engine);
            async move { Ok::<_, Infallible>(engine.answer(request).await) }
        };
        serve(listener, answer).await;
    }

    async fn answer(&self, request: Request<Incoming>) -> Response<AnswerBody> {
        let (head, body) = request.into_parts();
        let path = head.uri.path();
        if head.method == Method::GET && path == "/v1/models" {
            let created = self.clock.unix_micros() / 1_000_000;
            let names = self.models.keys().map(String::as_str);
            return json_answer(models(names, created).to_string());
        }
        if head.method == Method::GET && path == "/metrics" {
            return respond(
                "text/plain; version=0.0.4",
                AnswerBody::whole(self.load.metrics()),
            );
        }
        let Some(api) = Api::of(path).filter(|_| head.method == Method::POST) else {
            return not_found();
        };
        let body = Limited::new(body, LARGEST_BODY).collect().await;
        let body = body.map(|body| body.to_bytes()).unwrap_or_default();
        let Ok(body) = serde_json::from_slice::<Value>(&body) else {
            return error(StatusCode::BAD_REQUEST);
        };
        let ask = Ask::read(body);
        let Some(fault) = self.models.get(&ask.model) else {
            return not_found();
        };
        match *fault {
            Fault::Silent => std::future::pending().await,
            Fault::Status(status) => error(StatusCode::from_u16(status).unwrap_or_default()),
            Fault::Page => respond(
                "text/html",
                AnswerBody::whole("<!doctype html><title>It works!</title>"),
            ),
            fault => self.complete(api, &ask, fault).await,
        }
    }

    async fn complete(&self, api: Api, ask: &Ask, fault: Fault) -> Response<AnswerBody> {
        let Some(work) = self.load.begin().await else {
            return error(StatusCode::SERVICE_UNAVAILABLE);
        };
        let slowdown = work.slowdown();
        let (output, stamp) = (Output::of(ask), self.stamp());
        work.done(output.prompt_tokens, output.pieces.len() as u64);
        let turn = Turn {
            ask,
            output: &output,
            stamp: &stamp,
        };
        let first = match fault {
            Fault::Slow(wait) | Fault::Halting(wait) => wait,
            _ => self.pace.first_token.mul_f64(slowdown),
        };
        if let Some(events) = ask.stream.then(|| turn.events(api)).flatten() {
            let between = self.pace.between_tokens.mul_f64(slowdown);
            let response = self.stream(api, events, (first, between), fault);
            return response.map(|body| body.worked_at(work));
        }
        sleep(first).await;
        let body = turn.plain(api).bytes;
        if fault != Fault::Broken {
            return json_answer(body);
        }
        let half = Piece {
            wait: Duration::ZERO,
            bytes: body.slice(..1),
        };
        let body = AnswerBody::paced(Arc::new([half]), true);
        respond("application/json", body)
    }

    fn stream(
        &self,
        api: Api,
        mut events: Vec<Event>,
        (first, between): (Duration, Duration),
        fault: Fault,
    ) -> Response<AnswerBody> {
        if matches!(fault, Fault::Broken | Fault::ErrorInStream) {
            events.truncate(EVENTS_BEFORE_BREAK);
        }
        if fault == Fault::ErrorInStream {
            let error = fault::body_of(StatusCode::INTERNAL_SERVER_ERROR);
            events.extend(api.failure(&error));
        }
        let mut wait = first;
        let pieces = events.into_iter().enumerate().map(|(index, event)| Piece {
            wait: match (event.tokens, fault) {
                (_, Fault::Halting(pause)) if index == EVENTS_BEFORE_BREAK => pause,
                (0, _) => Duration::ZERO,
                (_, _) => std::mem::replace(&mut wait, between),
            },
            bytes: event.bytes,
        });
        let body = AnswerBody::paced(pieces.collect(), fault == Fault::Broken);
        respond("text/event-stream; charset=utf-8", body)
    }

    fn stamp(&self) -> Stamp {
        let number = self.answered.fetch_add(1, Ordering::Relaxed);
        let micros = self.clock.unix_micros();
        Stamp {
            created: micros / 1_000_000,
            unique: format!("{micros:016x}{number:08x}"),
        }
    }
}

fn error(status: StatusCode) -> Response<AnswerBody> {
    let mut response = json_answer(fault::body_of(status).to_string());
    *response.status_mut() = status;
    if matches!(status.as_u16(), 429 | 503) {
        let wait = HeaderValue::from_static("2");
        response.headers_mut().insert(header::RETRY_AFTER, wait);
    }
    response
}

pub(crate) fn not_found() -> Response<AnswerBody> {
    error(StatusCode::NOT_FOUND)
}

/// A 200 with JSON.
pub fn json_answer(body: impl Into<Bytes>) -> Response<AnswerBody> {
    respond("application/json", AnswerBody::whole(body))
}

pub(crate) fn respond(kind: &'static str, body: AnswerBody) -> Response<AnswerBody> {
    let mut response = Response::new(body);
    let kind = HeaderValue::from_static(kind);
    response.headers_mut().insert(header::CONTENT_TYPE, kind);
    response
}
