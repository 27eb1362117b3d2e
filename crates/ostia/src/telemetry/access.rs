use std::borrow::Cow;
use std::net::IpAddr;
use std::sync::{Arc, OnceLock};
use std::time::Instant;

use http::{Method, StatusCode};
use ostia_core::{Clock, Identity, LedgerRow, Observer, RequestId, ip_text, millis};

use super::Quiet;
use crate::refusal::{Blame, Refusal};

pub(super) const TARGET: &str = "ostia::access";
/// nginx's status for a caller who left before there was an answer.
const CLIENT_CLOSED: u16 = 499;
const LONGEST_PATH: usize = 256;

/// Accompanies a request and emits its `access` event when dropped: keep it in the answer's body. It holds and
/// allocates nothing if the filter does not show such events.
pub struct AccessLog(Option<Box<Open>>);

struct Open {
    request_id: RequestId,
    method: Method,
    /// As sent, without its query (which may contain a secret), cut off after 256 bytes.
    path: Box<str>,
    /// The route's name: a small set, to which no caller can add.
    route: &'static str,
    status: u16,
    caller: Option<Arc<Identity>>,
    code: Cow<'static, str>,
    detail: Option<String>,
    bytes: u64,
    row: Arc<RowTold>,
    origin_ip: IpAddr,
    received: Instant,
    clock: Arc<dyn Clock>,
    quiet: Arc<Quiet>,
}

/// Takes from the row of an inference request what its `access` event shows too.
#[derive(Default)]
struct RowTold(OnceLock<Told>);

#[derive(Default)]
struct Told {
    api: Box<str>,
    model: Box<str>,
    endpoint: Box<str>,
    code: Box<str>,
    ttft_ms: Option<u64>,
}

impl Observer for RowTold {
    fn closed(&self, row: &LedgerRow<'_>) {
        let told = Told {
            api: (*row.api).into(),
            model: (*row.model).into(),
            endpoint: (*row.endpoint_slug).into(),
            code: (*row.error_code).into(),
            ttft_ms: row.ttft_ms,
        };
        // A request has one row.
        let _ = self.0.set(told);
    }
}

impl AccessLog {
    /// `route` is [`crate::routes::Route::name`], or `none`. `quiet`: limits the events for unknown callers from this
    /// one's address, so that callers without a key cannot fill a disk.
    pub fn begin(
        request_id: RequestId,
        (method, path): (&Method, &str),
        route: &'static str,
        origin_ip: IpAddr,
        received: Instant,
        clock: &Arc<dyn Clock>,
        quiet: impl FnOnce() -> Arc<Quiet>,
    ) -> Self {
        if !tracing::enabled!(target: TARGET, tracing::Level::INFO) {
            return Self(None);
        }
        Self(Some(Box::new(Open {
            request_id,
            method: method.clone(),
            path: path[..path.floor_char_boundary(LONGEST_PATH)].into(),
            route,
            status: CLIENT_CLOSED,
            caller: None,
            code: Cow::Borrowed(""),
            detail: None,
            bytes: 0,
            row: Arc::default(),
            origin_ip,
            received,
            clock: Arc::clone(clock),
            quiet: quiet(),
        })))
    }

    /// The caller, once known.
    pub fn caller(&mut self, identity: &Arc<Identity>) {
        if let Some(open) = &mut self.0 {
            open.caller = Some(Arc::clone(identity));
        }
    }

    /// The answer's status. Without it the event says 499: the caller was gone.
    pub fn status(&mut self, status: StatusCode) {
        if let Some(open) = &mut self.0 {
            open.status = status.as_u16();
        }
    }

    /// Why the answer is an error. What failed in the gateway or behind it has an event of its own for the detail.
    pub fn refused(&mut self, refusal: &Refusal) {
        if let Some(open) = &mut self.0 {
            open.code = refusal.code.clone();
            open.detail = match refusal.blame {
                Blame::Client => refusal.detail.clone(),
                Blame::Gateway | Blame::Upstream => None,
            };
        }
    }

    /// So many bytes of the answer's body were handed to the connection.
    pub fn sent(&mut self, bytes: usize) {
        if let Some(open) = &mut self.0 {
            open.bytes += bytes as u64;
        }
    }

    /// Who has to be told of the request's row, if the event is shown.
    pub fn row_observer(&self) -> Option<Arc<dyn Observer>> {
        let open = self.0.as_ref()?;
        Some(Arc::clone(&open.row) as Arc<dyn Observer>)
    }
}

impl Drop for AccessLog {
    fn drop(&mut self) {
        let Some(open) = self.0.take() else {
            return;
        };
        let untold = match &open.caller {
            Some(_) => Some(0),
            None => open.quiet.count(&*open.clock),
        };
        if let Some(untold) = untold {
            open.emit(untold);
        }
    }
}

impl Open {
    /// `untold`: requests of unknown callers from the same address that were counted but not logged since the last event.
    /// Fields without a value are left out, but for `user_id`. `duration` is in seconds, beside the milliseconds that
    /// the ledger has.
    fn emit(&self, untold: u64) {
        let mut request_id = [0; 36];
        let none = Told::default();
        let row = self.row.0.get().unwrap_or(&none);
        let who = self.caller.as_deref();
        let duration = self.clock.now().saturating_duration_since(self.received);
        tracing::info!(
            target: TARGET,
            request_id = self.request_id.encode(&mut request_id),
            method = self.method.as_str(),
            path = &*self.path,
            route = self.route,
            status = self.status,
            code = some(&row.code).or(some(&self.code)),
            user_id = who.map_or("", |who| &who.user_id),
            username = who.and_then(|who| some(&who.username)),
            key_id = who.and_then(|who| who.key_id.as_deref()),
            api = some(&row.api),
            model = some(&row.model),
            endpoint = some(&row.endpoint),
            origin_ip = ip_text(self.origin_ip),
            bytes = self.bytes,
            ttft_ms = row.ttft_ms,
            duration = duration.as_secs_f64(),
            duration_ms = millis(duration),
            detail = self.detail.as_deref(),
            untold = (untold > 0).then_some(untold),
            "access"
        );
    }
}

fn some(text: &str) -> Option<&str> {
    (!text.is_empty()).then_some(text)
}

#[cfg(test)]
mod tests {
    use std::io;
    use std::net::{IpAddr, Ipv4Addr};
    use std::sync::{Arc, Mutex};
    use std::time::Duration;

    use http::{Method, StatusCode};
    use ostia_core::{Clock, Identity, LedgerRow, ManualClock, RequestId};
    use serde_json::{Value, json};

    use super::super::Pace;
    use super::{AccessLog, Quiet};
    use crate::refusal::Refusal;

    #[derive(Clone, Default)]
    struct Sink(Arc<Mutex<Vec<u8>>>);

    impl io::Write for Sink {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn events(level: tracing::Level, log: impl FnOnce()) -> Vec<Value> {
        let sink = Sink::default();
        let writer = sink.clone();
        let subscriber = tracing_subscriber::fmt()
            .json()
            .flatten_event(true)
            .without_time()
            .with_max_level(level)
            .with_writer(move || writer.clone())
            .finish();
        tracing::subscriber::with_default(subscriber, log);
        let bytes = sink.0.lock().unwrap().clone();
        let text = String::from_utf8(bytes).unwrap();
        text.lines()
            .map(|line| serde_json::from_str(line).unwrap())
            .collect()
    }

    fn visit(answer: impl FnOnce(&mut AccessLog)) {
        visit_from(
            &Arc::new(Quiet::new(Pace::default(), Arc::default())),
            answer,
        );
    }

    fn visit_from(quiet: &Arc<Quiet>, answer: impl FnOnce(&mut AccessLog)) {
        let manual = Arc::new(ManualClock::at(1_795_392_000_000_000));
        let clock: Arc<dyn Clock> = manual.clone();
        let origin = IpAddr::V4(Ipv4Addr::LOCALHOST);
        let id = RequestId::from_bytes([7; 16]);
        let path = format!("/whoami/{}", "é".repeat(200));
        let asked = (&Method::GET, path.as_str());
        let mut log = AccessLog::begin(id, asked, "/whoami", origin, clock.now(), &clock, || {
            Arc::clone(quiet)
        });
        answer(&mut log);
        manual.advance(Duration::from_millis(12));
    }

    fn ann() -> Arc<Identity> {
        Arc::new(Identity {
            user_id: "sub-1".into(),
            username: "ann@lab.org".into(),
            key_id: Some("k1".into()),
            ..Identity::default()
        })
    }

    /// The event of a request that is not known to be anything else, with `more`.
    fn expected(more: Value) -> Value {
        let mut event = json!({
            "level": "INFO", "target": "ostia::access", "message": "access",
            "request_id": "07070707-0707-0707-0707-070707070707", "route": "/whoami",
            "method": "GET", "path": format!("/whoami/{}", "é".repeat(124)), "status": 499, "user_id": "",
            "origin_ip": "127.0.0.1", "bytes": 0, "duration": 0.012, "duration_ms": 12,
        });
        let Value::Object(more) = more else {
            panic!("no object: {more}");
        };
        event.as_object_mut().unwrap().extend(more);
        event
    }

    #[test]
    fn the_event_comes_when_the_answer_ends() {
        let seen = events(tracing::Level::INFO, || {
            visit(|log| {
                log.caller(&ann());
                log.status(StatusCode::OK);
                log.sent(10);
                log.sent(7);
            });
            visit(|_| {});
        });
        let ann = json!({
            "status": 200, "user_id": "sub-1", "username": "ann@lab.org", "key_id": "k1", "bytes": 17,
        });
        assert_eq!(seen, [expected(ann), expected(json!({}))]);
    }

    #[test]
    fn inference_has_what_its_row_says() {
        let seen = events(tracing::Level::INFO, || {
            visit(|log| {
                let row = LedgerRow {
                    api: "messages".into(),
                    model: "org/m".into(),
                    endpoint_slug: "lab-vllm-m".into(),
                    error_code: "upstream_closed".into(),
                    ttft_ms: Some(9),
                    ..LedgerRow::default()
                };
                log.row_observer().unwrap().closed(&row);
                log.status(StatusCode::OK);
            });
        });
        let row = json!({
            "status": 200, "code": "upstream_closed", "api": "messages", "model": "org/m",
            "endpoint": "lab-vllm-m", "ttft_ms": 9,
        });
        assert_eq!(seen, [expected(row)]);
    }

    #[test]
    fn a_refusal_says_why_unless_its_detail_has_an_event_of_its_own() {
        let limit = Refusal::client(StatusCode::TOO_MANY_REQUESTS, "tokens", "Wait.")
            .with_detail("limit user tokens_per_minute: 5, used 5, owed 0, free in 9 s");
        let failure = Refusal::gateway(StatusCode::SERVICE_UNAVAILABLE, "queue_full", "Wait.")
            .with_detail("private");
        let seen = events(tracing::Level::INFO, || {
            visit(|log| log.refused(&limit));
            visit(|log| log.refused(&failure));
        });
        let limit = json!({"code": "tokens", "detail": limit.detail});
        let failure = json!({"code": "queue_full"});
        assert_eq!(seen, [expected(limit), expected(failure)]);
    }

    #[test]
    fn unknown_callers_are_counted_and_some_of_them_told_of() {
        let untold = Arc::default();
        let quiet = Arc::new(Quiet::new(Pace::default(), Arc::clone(&untold)));
        let seen = events(tracing::Level::INFO, || {
            for _ in 0..100 {
                visit_from(&quiet, |log| log.status(StatusCode::UNAUTHORIZED));
            }
            visit_from(&quiet, |log| log.caller(&ann()));
        });
        assert_eq!(seen.len(), 11);
        assert_eq!(seen[10]["user_id"], "sub-1");
        assert_eq!(untold.load(std::sync::atomic::Ordering::Relaxed), 90);
    }

    #[test]
    fn nothing_is_kept_where_nobody_reads_it() {
        let seen = events(tracing::Level::WARN, || {
            visit(|log| assert!(log.0.is_none() && log.row_observer().is_none()));
        });
        assert_eq!(seen, Vec::<Value>::new());
    }
}
