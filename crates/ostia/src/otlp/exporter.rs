use std::convert::Infallible;
use std::ops::Deref;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::header::{CONTENT_TYPE, HeaderMap, HeaderValue, RETRY_AFTER};
use http::{Method, StatusCode};
use ostia_core::RequestId;
use prost::Message as _;
use tokio::sync::Mutex;

use super::metrics::metrics;
use super::proto::TracesTaken;
use super::resource::resource;
use super::spans::spans;
use crate::catalog::{HttpUrl, Target, Timeouts};
use crate::gateway::Gateway;
use crate::settings::Otlp;
use crate::telemetry::TracedRequest;
use crate::upstream::{Client, FetchError};

/// How long a traced request waits for others.
const EVERY: Duration = Duration::from_secs(1);
/// How long a collector may take for one answer.
const PATIENCE: Duration = Duration::from_secs(10);
const LONGEST_ANSWER: usize = 64 * 1024;
/// How long a collector that fails is left alone; twice as long each time.
const FIRST_REST: Duration = Duration::from_secs(1);
const LONGEST_REST: Duration = Duration::from_secs(60);
/// How long the last sending may take, at the end of the process.
const LAST_SENDING: Duration = Duration::from_secs(5);

/// Sends figures and traced requests to the collector of `telemetry.otlp_endpoint`, from one task. Nothing that a
/// collector does or fails to do reaches a request.
pub struct Exporter {
    gateway: Arc<Gateway>,
    /// This process among the replicas.
    instance: String,
    work: Mutex<Work>,
}

#[derive(Default)]
struct Work {
    /// The batch that no collector has yet. Kept here, so that it survives a send that is broken off.
    batch: Vec<TracedRequest>,
    /// When the figures were sent.
    told: Option<Instant>,
    /// A collector may take the one and not the other.
    traces: Way,
    figures: Way,
    /// The last one used, so that its connection lasts.
    client: Option<Arc<Client>>,
}

/// How the sending of one kind of message goes.
#[derive(Default)]
struct Way {
    /// Until when it pauses, and for how long; set while it fails.
    rest: Option<(Instant, Duration)>,
}

/// What came of a sending.
enum Sent {
    /// With the answer's body.
    Taken(Bytes),
    /// Not now, for a reason that passes. The collector may say for how long.
    Later(String, Option<Duration>),
    /// Never.
    Refused(String),
}

impl Exporter {
    pub fn new(gateway: Arc<Gateway>) -> Self {
        let clock = gateway.clock();
        Self {
            instance: RequestId::at(clock.unix_micros()).to_string(),
            gateway,
            work: Mutex::default(),
        }
    }

    /// Background work that lasts as long as the gateway.
    pub async fn work(&self) -> Infallible {
        loop {
            tokio::select! {
                () = tokio::time::sleep(EVERY) => {}
                () = self.gateway.traces().filled() => {}
            }
            self.look().await;
        }
    }

    /// Sends what is due.
    async fn look(&self) {
        let live = self.gateway.live();
        let mut work = self.work.lock().await;
        let Some(otlp) = &live.settings.telemetry.otlp else {
            return;
        };
        let now = self.gateway.clock().now();
        if work.traces.is_open(now) {
            self.send_traces(&mut work, otlp).await;
        }
        let is_due = |told: Instant| now.saturating_duration_since(told) >= otlp.metrics_interval;
        if work.figures.is_open(now) && work.told.is_none_or(is_due) {
            self.send_figures(&mut work, otlp).await;
        }
    }

    /// Sends everything once, at the end of the process. What the collector does not take by then is lost.
    pub async fn finish(&self) {
        let live = self.gateway.live();
        let Some(otlp) = &live.settings.telemetry.otlp else {
            return;
        };
        let sending = async {
            let mut work = self.work.lock().await;
            self.send_figures(&mut work, otlp).await;
            self.send_traces(&mut work, otlp).await;
        };
        let _ = tokio::time::timeout(LAST_SENDING, sending).await;
        let lost = self.work.lock().await.batch.len() + self.gateway.traces().waiting();
        if lost > 0 {
            tracing::warn!(lost, "the collector did not take the last traces");
        }
    }

    /// Until there are none, or the collector cannot take them now.
    async fn send_traces(&self, work: &mut Work, otlp: &Otlp) {
        let traces = self.gateway.traces();
        loop {
            if work.batch.is_empty() {
                work.batch = traces.take();
            }
            if work.batch.is_empty() {
                return;
            }
            let live = self.gateway.live();
            let message = spans(&work.batch, &live, resource(&self.instance));
            let sent = self
                .post(
                    otlp,
                    "/v1/traces",
                    message.encode_to_vec(),
                    &mut work.client,
                )
                .await;
            let count = work.batch.len();
            if let Sent::Taken(answer) = &sent {
                let refused = refused(answer).min(count);
                traces.count_sent(count - refused);
                traces.drop_all(refused);
            }
            if matches!(sent, Sent::Refused(_)) {
                traces.drop_all(count);
            }
            let is_later = matches!(sent, Sent::Later(..));
            self.note(&mut work.traces, "traces", sent);
            if is_later {
                return;
            }
            work.batch.clear();
            if !work.traces.is_open(self.gateway.clock().now()) {
                return;
            }
        }
    }

    /// They count from the start on, so what is not taken now is in the next message.
    async fn send_figures(&self, work: &mut Work, otlp: &Otlp) {
        let series = self.gateway.figures().series();
        if series.is_empty() {
            return;
        }
        work.told = Some(self.gateway.clock().now());
        let began = u64::try_from(self.gateway.started()).unwrap_or(0);
        let now = u64::try_from(self.gateway.clock().unix_micros()).unwrap_or(0);
        let period = (
            began.saturating_mul(1_000_000_000),
            now.saturating_mul(1_000),
        );
        let all = series.iter().map(Deref::deref);
        let message = metrics(all, period, resource(&self.instance));
        let sent = self
            .post(
                otlp,
                "/v1/metrics",
                message.encode_to_vec(),
                &mut work.client,
            )
            .await;
        self.note(&mut work.figures, "metrics", sent);
    }

    /// Logs the first failure and the end of failures, and decides on a pause.
    fn note(&self, way: &mut Way, what: &str, sent: Sent) {
        let (fault, told) = match sent {
            Sent::Taken(_) => {
                if way.rest.take().is_some() {
                    tracing::info!(what, "the collector takes telemetry again");
                }
                return;
            }
            Sent::Later(fault, told) => (fault, told),
            Sent::Refused(fault) => (fault, None),
        };
        self.gateway.traces().count_failure();
        if way.rest.is_none() {
            tracing::warn!(
                what,
                fault,
                "telemetry cannot be sent to the collector; this is logged once until it can"
            );
        }
        let length = way.rest.map_or(FIRST_REST, |(_, length)| length * 2);
        let length = length.max(told.unwrap_or_default()).min(LONGEST_REST);
        way.rest = Some((self.gateway.clock().now() + length, length));
    }

    /// Of the URL only the origin is in a log: the rest may hold a token.
    async fn post(
        &self,
        otlp: &Otlp,
        path: &str,
        body: Vec<u8>,
        kept: &mut Option<Arc<Client>>,
    ) -> Sent {
        let base = otlp.endpoint.expose().trim_end_matches('/');
        let Ok(url) = HttpUrl::parse(&format!("{base}{path}")) else {
            return Sent::Refused("`telemetry.otlp_endpoint` is not a URL".to_owned());
        };
        let limit = Some(PATIENCE);
        let timeouts = Timeouts {
            connect: limit,
            response_header: limit,
            stream_idle: limit,
            total: limit,
        };
        let (path, origin) = (url.path_and_query(), url.base());
        let target = Target::plain(url.origin, timeouts);
        let client = match self.gateway.clients().client(&target) {
            Ok(client) => client,
            Err(error) => return Sent::Later(format!("{origin}: {error}"), None),
        };
        *kept = Some(Arc::clone(&client));
        let mut headers: HeaderMap = otlp.headers.expose().clone();
        let protobuf = HeaderValue::from_static("application/x-protobuf");
        headers.insert(CONTENT_TYPE, protobuf);
        let fetching = client.fetch(
            Method::POST,
            &path,
            headers,
            Some(body.into()),
            LONGEST_ANSWER,
        );
        match fetching.await {
            Ok((head, body)) if head.status.is_success() => Sent::Taken(body),
            Ok((head, _)) => of_status(&origin, head.status, &head.headers),
            // It may have been taken: sent again, it would count twice.
            Err(error @ FetchError::TooLarge(_)) => Sent::Refused(format!("{origin}: {error}")),
            Err(error) => Sent::Later(format!("{origin}: {error}"), None),
        }
    }
}

impl Way {
    fn is_open(&self, now: Instant) -> bool {
        self.rest.is_none_or(|(until, _)| now >= until)
    }
}

/// What OTLP says of statuses: these four pass, others do not.
fn of_status(origin: &str, status: StatusCode, headers: &HeaderMap) -> Sent {
    let fault = format!("{origin} answered {}", status.as_u16());
    if !matches!(status.as_u16(), 429 | 502 | 503 | 504) {
        return Sent::Refused(fault);
    }
    let seconds = headers.get(RETRY_AFTER);
    let seconds = seconds.and_then(|value| value.to_str().ok()?.parse().ok());
    Sent::Later(fault, seconds.map(Duration::from_secs))
}

/// How many requests of a batch a collector did not want, each of which has two spans. An answer that cannot be read
/// says nothing.
fn refused(answer: &[u8]) -> usize {
    let taken = TracesTaken::decode(answer).unwrap_or_default();
    let spans = taken.partial_success.unwrap_or_default().rejected_spans;
    usize::try_from(spans).unwrap_or(0).div_ceil(2)
}

#[cfg(test)]
mod tests {
    use super::super::proto::PartialSuccess;
    use super::*;

    #[test]
    fn an_answer_that_lies_says_nothing() {
        let answer = |rejected_spans| {
            let partial_success = Some(PartialSuccess { rejected_spans });
            TracesTaken { partial_success }.encode_to_vec()
        };
        for (bytes, count) in [
            (Vec::new(), 0),
            (answer(0), 0),
            (answer(3), 2),
            (answer(-5), 0),
            (b"<html>".to_vec(), 0),
        ] {
            assert_eq!(refused(&bytes), count, "{bytes:?}");
        }
    }

    #[test]
    fn only_what_may_pass_is_tried_again() {
        let mut headers = HeaderMap::new();
        headers.insert(RETRY_AFTER, HeaderValue::from_static("7"));
        for status in [429, 502, 503, 504] {
            let status = StatusCode::from_u16(status).unwrap();
            let Sent::Later(_, told) = of_status("http://h:1", status, &headers) else {
                panic!("{status}")
            };
            assert_eq!(told, Some(Duration::from_secs(7)));
        }
        for status in [301, 400, 401, 404, 500] {
            let status = StatusCode::from_u16(status).unwrap();
            let sent = of_status("http://h:1", status, &headers);
            assert!(matches!(sent, Sent::Refused(_)), "{status}");
        }
    }
}
