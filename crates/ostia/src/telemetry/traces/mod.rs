//! Which requests are traced, and what is kept of them until a collector has it. Nothing of a body is: a trace says
//! where a request went, how long that took and how it ended.

mod context;
mod queue;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use http::{Method, request};
use ostia_core::{LedgerRow, Observer, Outcome, RequestId};

use self::context::{Context, TRACEPARENT, TRACESTATE};

pub use queue::Traces;

const LONGEST_PATH: usize = 256;

/// The head of a request that may be traced.
pub struct Arrived<'a> {
    pub id: RequestId,
    pub head: &'a mut request::Parts,
    /// [`crate::routes::Route::name`]
    pub route: &'static str,
    pub received: Instant,
}

/// A request that is traced. It is made for no other, and becomes a [`TracedRequest`] when the request's row is written.
pub struct Trace {
    id: RequestId,
    trace_id: [u8; 16],
    flags: u8,
    parent: Option<[u8; 8]>,
    method: Method,
    path: Box<str>,
    route: &'static str,
    received: Instant,
    /// Microseconds after `received`; 0: not yet.
    sent: AtomicU64,
    traces: Arc<Traces>,
}

/// A traced request that is over. It has two spans: the request, and within it the call of the backend.
#[derive(Debug, Clone)]
pub struct TracedRequest {
    pub id: RequestId,
    pub trace_id: [u8; 16],
    pub flags: u8,
    /// The caller's span.
    pub parent: Option<[u8; 8]>,
    pub method: Method,
    pub path: Box<str>,
    pub route: &'static str,
    /// Unix microseconds.
    pub began: i64,
    /// When it was first sent to a backend, in microseconds after `began`; `None`: to none.
    pub sent: Option<u64>,
    pub ended: i64,
    pub model: Box<str>,
    pub served_model: Box<str>,
    pub cluster: Box<str>,
    pub endpoint: Box<str>,
    pub api: Box<str>,
    pub stream: bool,
    pub status: u16,
    pub outcome: Outcome,
    pub code: Box<str>,
    pub prompt_tokens: u64,
    pub completion_tokens: u64,
    pub cached_tokens: u64,
    pub reasoning_tokens: u64,
    pub ttft_ms: Option<u64>,
    pub queue_ms: u64,
    pub attempts: u32,
}

impl Trace {
    /// `None`: the request is not traced, and its headers pass as they are. The caller's flag decides; without one,
    /// `ratio` of all requests are traced. If it is traced, its backend is told that the cause is the gateway's call.
    pub(super) fn begin(
        traces: &Arc<Traces>,
        ratio: f64,
        arrived: Arrived<'_>,
    ) -> Option<Arc<Self>> {
        let Arrived {
            id,
            head,
            route,
            received,
        } = arrived;
        let parent = Context::of(&head.headers);
        let is_traced = match &parent {
            Some(parent) => parent.is_sampled(),
            None => is_drawn(id, ratio),
        };
        if !is_traced {
            return None;
        }
        let context = match parent {
            Some(parent) => Context {
                span_id: call_span(id),
                ..parent
            },
            None => {
                // It belongs to a trace that could not be read.
                head.headers.remove(TRACESTATE);
                Context::root(*id.as_bytes(), call_span(id))
            }
        };
        head.headers.insert(TRACEPARENT, context.header()?);
        let path = head.uri.path();
        Some(Arc::new(Self {
            id,
            trace_id: context.trace_id,
            flags: context.flags,
            parent: parent.map(|parent| parent.span_id),
            method: head.method.clone(),
            path: path[..path.floor_char_boundary(LONGEST_PATH)].into(),
            route,
            received,
            sent: AtomicU64::new(0),
            traces: Arc::clone(traces),
        }))
    }

    /// The request is on its way to a backend. Only the first call counts.
    pub fn sent(&self, now: Instant) {
        let after = now.saturating_duration_since(self.received).as_micros();
        let after = u64::try_from(after).unwrap_or(u64::MAX).max(1);
        let _ = self
            .sent
            .compare_exchange(0, after, Ordering::Relaxed, Ordering::Relaxed);
    }
}

impl Observer for Trace {
    fn closed(&self, row: &LedgerRow<'_>) {
        let sent = self.sent.load(Ordering::Relaxed);
        self.traces.put(TracedRequest {
            id: self.id,
            trace_id: self.trace_id,
            flags: self.flags,
            parent: self.parent,
            method: self.method.clone(),
            path: self.path.clone(),
            route: self.route,
            began: row.started_at,
            sent: (sent > 0).then_some(sent),
            ended: row.finished_at,
            model: (*row.model).into(),
            served_model: (*row.served_model).into(),
            cluster: (*row.cluster).into(),
            endpoint: (*row.endpoint_slug).into(),
            api: (*row.api).into(),
            stream: row.stream,
            status: row.http_status,
            outcome: row.outcome,
            code: (*row.error_code).into(),
            prompt_tokens: row.prompt_tokens,
            completion_tokens: row.completion_tokens,
            cached_tokens: row.cached_tokens,
            reasoning_tokens: row.reasoning_tokens,
            ttft_ms: row.ttft_ms,
            queue_ms: row.queue_ms,
            attempts: row.attempts,
        });
    }
}

impl TracedRequest {
    /// The span of the request.
    pub fn request_span(&self) -> [u8; 8] {
        random_part(self.id)
    }

    /// The span of the call, which the backend was told.
    pub fn call_span(&self) -> [u8; 8] {
        call_span(self.id)
    }
}

/// The second half of a UUIDv7: its variant, so that it is never zero, and 62 random bits. A request's id is its trace's
/// id, unless the caller names another, so that neither has to be drawn.
fn random_part(id: RequestId) -> [u8; 8] {
    let [.., a, b, c, d, e, f, g, h] = *id.as_bytes();
    [a, b, c, d, e, f, g, h]
}

fn call_span(id: RequestId) -> [u8; 8] {
    (u64::from_be_bytes(random_part(id)) ^ 1).to_be_bytes()
}

/// Decides by the random bits at the end of the trace's id, as the samplers of OpenTelemetry do. They have 56, of which
/// a fraction can hold 53.
fn is_drawn(id: RequestId, ratio: f64) -> bool {
    const BITS: u32 = 53;
    let drawn = (u64::from_be_bytes(random_part(id)) >> 3) & ((1 << BITS) - 1);
    (drawn as f64) < ratio * (1_u64 << BITS) as f64
}

#[cfg(test)]
mod tests {
    use http::{HeaderValue, Request};
    use ostia_core::{Clock as _, SystemClock};

    use super::*;

    const PARENT: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

    fn head(traceparent: Option<&'static str>) -> request::Parts {
        let mut head = Request::post("/v1/chat/completions")
            .header(TRACESTATE, "vendor=1")
            .body(())
            .unwrap()
            .into_parts()
            .0;
        if let Some(value) = traceparent {
            head.headers
                .insert(TRACEPARENT, HeaderValue::from_static(value));
        }
        head
    }

    fn begin(head: &mut request::Parts, id: RequestId, ratio: f64) -> Option<Arc<Trace>> {
        let arrived = Arrived {
            id,
            head,
            route: "/v1/{api}",
            received: SystemClock.now(),
        };
        Trace::begin(&Arc::default(), ratio, arrived)
    }

    #[test]
    fn the_caller_s_flag_decides() {
        let id = RequestId::at(0);
        let mut told = head(Some(PARENT));
        let trace = begin(&mut told, id, 0.0).unwrap();
        assert_eq!(trace.parent.map(hex::encode).unwrap(), "b7ad6b7169203331");
        let sent_on = told.headers[TRACEPARENT].to_str().unwrap();
        let call = hex::encode(call_span(id));
        assert_eq!(
            sent_on,
            format!("00-0af7651916cd43dd8448eb211c80319c-{call}-01")
        );
        assert_eq!(told.headers[TRACESTATE], "vendor=1");

        const SILENT: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00";
        let mut silent = head(Some(SILENT));
        assert!(begin(&mut silent, id, 1.0).is_none());
        assert_eq!(silent.headers[TRACEPARENT], SILENT);
    }

    #[test]
    fn without_a_caller_s_trace_the_request_s_id_names_it() {
        let id = RequestId::at(0);
        for given in [None, Some("kept")] {
            let mut alone = head(given);
            let trace = begin(&mut alone, id, 1.0).unwrap();
            assert_eq!((trace.trace_id, trace.parent), (*id.as_bytes(), None));
            let context = Context::of(&alone.headers).unwrap();
            assert_eq!(
                (context.trace_id, context.span_id),
                (*id.as_bytes(), call_span(id))
            );
            assert!(!alone.headers.contains_key(TRACESTATE));
        }
        let mut untraced = head(Some("kept"));
        assert!(begin(&mut untraced, id, 0.0).is_none());
        assert_eq!(untraced.headers[TRACEPARENT], "kept");
        assert_eq!(untraced.headers[TRACESTATE], "vendor=1");
    }

    #[test]
    fn a_ratio_is_kept() {
        let traced = (0..20_000)
            .filter(|_| is_drawn(RequestId::at(0), 0.1))
            .count();
        assert!((1_700..2_300).contains(&traced), "{traced}");
        assert!((0..1_000).all(|_| is_drawn(RequestId::at(0), 1.0)));
    }
}
