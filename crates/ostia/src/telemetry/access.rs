use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use http::{Method, StatusCode};
use ostia_core::{Clock, RequestId, ip_text};

use super::Quiet;

pub(super) const TARGET: &str = "ostia::access";
/// nginx's status for a caller who left before there was an answer.
const CLIENT_CLOSED: u16 = 499;
const LONGEST_PATH: usize = 256;

/// One request as the access log shows it.
#[derive(Debug, Clone, Copy)]
pub struct Access<'a> {
    pub request_id: RequestId,
    pub method: &'a str,
    /// The path as sent, without its query (which may contain a secret), cut off after 256 bytes.
    pub path: &'a str,
    /// The route's name: a small set, to which no caller can add.
    pub route: &'a str,
    pub status: u16,
    /// "" before sign-in.
    pub user_id: &'a str,
    pub origin_ip: IpAddr,
    pub duration: Duration,
    /// Requests of unknown callers from the same address that were counted but not logged since the last event.
    pub untold: u64,
}

/// Emits the `access` event; `duration` is in seconds, beside the milliseconds that the ledger has. Costs a comparison where the filter does not show it.
pub fn log_access(access: &Access<'_>) {
    let mut request_id = [0; 36];
    tracing::info!(
        target: TARGET,
        request_id = access.request_id.encode(&mut request_id),
        method = access.method,
        path = access.path,
        route = access.route,
        status = access.status,
        user_id = access.user_id,
        origin_ip = ip_text(access.origin_ip),
        duration = access.duration.as_secs_f64(),
        duration_ms = u64::try_from(access.duration.as_millis()).unwrap_or(u64::MAX),
        untold = (access.untold > 0).then_some(access.untold),
        "access"
    );
}

/// Accompanies a request and emits its `access` event when dropped: keep it in the answer's body. It holds and
/// allocates nothing if the filter does not show such events.
pub struct AccessLog(Option<Box<Open>>);

struct Open {
    request_id: RequestId,
    method: Method,
    path: Box<str>,
    route: &'static str,
    status: u16,
    user_id: Option<Arc<str>>,
    origin_ip: IpAddr,
    received: Instant,
    clock: Arc<dyn Clock>,
    quiet: Arc<Quiet>,
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
            user_id: None,
            origin_ip,
            received,
            clock: Arc::clone(clock),
            quiet: quiet(),
        })))
    }

    /// The caller, once known.
    pub fn user(&mut self, user_id: &Arc<str>) {
        if let Some(open) = &mut self.0 {
            open.user_id = Some(Arc::clone(user_id));
        }
    }

    /// The answer's status. Without it the event says 499: the caller was gone.
    pub fn status(&mut self, status: StatusCode) {
        if let Some(open) = &mut self.0 {
            open.status = status.as_u16();
        }
    }
}

impl Drop for AccessLog {
    fn drop(&mut self) {
        let Some(open) = self.0.take() else {
            return;
        };
        let untold = match &open.user_id {
            Some(_) => Some(0),
            None => open.quiet.count(&*open.clock),
        };
        let Some(untold) = untold else {
            return;
        };
        log_access(&Access {
            request_id: open.request_id,
            method: open.method.as_str(),
            path: &open.path,
            route: open.route,
            status: open.status,
            user_id: open.user_id.as_deref().unwrap_or_default(),
            origin_ip: open.origin_ip,
            duration: open.clock.now().saturating_duration_since(open.received),
            untold,
        });
    }
}

#[cfg(test)]
mod tests {
    use std::io;
    use std::net::{IpAddr, Ipv4Addr};
    use std::sync::{Arc, Mutex};
    use std::time::Duration;

    use http::{Method, StatusCode};
    use ostia_core::{Clock, ManualClock, RequestId};
    use serde_json::{Value, json};

    use super::super::Pace;
    use super::{AccessLog, Quiet};

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

    #[test]
    fn the_event_comes_when_the_answer_ends() {
        let seen = events(tracing::Level::INFO, || {
            visit(|log| {
                log.user(&"ann@lab.org".into());
                log.status(StatusCode::OK);
            });
            visit(|_| {});
        });
        let expected = |status: u16, user: &str| {
            json!({
                "level": "INFO", "target": "ostia::access", "message": "access",
                "request_id": "07070707-0707-0707-0707-070707070707", "route": "/whoami",
                "method": "GET", "path": format!("/whoami/{}", "é".repeat(124)),
                "status": status, "user_id": user, "origin_ip": "127.0.0.1", "duration": 0.012, "duration_ms": 12,
            })
        };
        assert_eq!(seen, [expected(200, "ann@lab.org"), expected(499, "")]);
    }

    #[test]
    fn unknown_callers_are_counted_and_some_of_them_told_of() {
        let untold = Arc::default();
        let quiet = Arc::new(Quiet::new(Pace::default(), Arc::clone(&untold)));
        let seen = events(tracing::Level::INFO, || {
            for _ in 0..100 {
                visit_from(&quiet, |log| log.status(StatusCode::UNAUTHORIZED));
            }
            visit_from(&quiet, |log| log.user(&"ann@lab.org".into()));
        });
        assert_eq!(seen.len(), 11);
        assert_eq!(seen[10]["user_id"], "ann@lab.org");
        assert_eq!(untold.load(std::sync::atomic::Ordering::Relaxed), 90);
    }

    #[test]
    fn nothing_is_kept_where_nobody_reads_it() {
        let seen = events(tracing::Level::WARN, || {
            visit(|log| assert!(log.0.is_none()));
        });
        assert_eq!(seen, Vec::<Value>::new());
    }
}
