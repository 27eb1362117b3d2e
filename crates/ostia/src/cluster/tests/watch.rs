use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use http::StatusCode;
use ostia_core::{Clock, ManualClock};
use parking_lot::Mutex;
use serde_json::json;
use tokio::sync::Semaphore;

use super::catalog;
use crate::cache::Cache;
use crate::catalog::Catalog;
use crate::cluster::{ClusterAdapter, ClusterContext, Job, Jobs, JobsError, Watch};
use crate::fleet::ModelState;

/// Answers one question for every permit, with what the test last put here.
struct Source {
    answer: Mutex<Result<Jobs, JobsError>>,
    asked: AtomicUsize,
    permits: Semaphore,
}

#[derive(Clone)]
struct Shared(Arc<Source>);

#[async_trait]
impl ClusterAdapter for Shared {
    async fn jobs(&self, _: &ClusterContext) -> Result<Jobs, JobsError> {
        self.0.asked.fetch_add(1, Ordering::SeqCst);
        self.0.permits.acquire().await.unwrap().forget();
        self.0.answer.lock().clone()
    }
}

struct Rig {
    source: Arc<Source>,
    watch: Arc<Watch>,
    clock: Arc<ManualClock>,
    catalog: Catalog,
}

fn watch_with(
    adapter: impl ClusterAdapter,
    seconds: f64,
) -> (Arc<Watch>, Arc<ManualClock>, Catalog) {
    let clock = Arc::new(ManualClock::at(0));
    let (watch, catalog) = watch_at(adapter, seconds, &clock, &[]);
    (watch, clock, catalog)
}

/// `more`: endpoints beside the usual two.
fn watch_at(
    adapter: impl ClusterAdapter,
    seconds: f64,
    clock: &Arc<ManualClock>,
    more: &[serde_json::Value],
) -> (Arc<Watch>, Catalog) {
    let kind = json!({"cluster_adapter": "own", "config": {"api_request_timeout": seconds}});
    let usual = [
        json!({"model": "a"}),
        json!({"model": "b", "config": {"api_url": "http://127.0.0.1:9", "upstream_model": "b-on-disk"}}),
    ];
    let catalog = catalog(&kind, &[&usual[..], more].concat());
    let as_clock: Arc<dyn Clock> = Arc::clone(clock) as _;
    let context = ClusterContext {
        cluster: Arc::clone(&catalog.clusters()[0]),
        deployments: catalog.deployments().to_vec(),
        http: None,
        cache: Arc::new(Cache::new(Arc::clone(&as_clock))),
        clock: as_clock,
    };
    (Arc::new(Watch::new(context, Arc::new(adapter))), catalog)
}

fn rig() -> Rig {
    let source = Arc::new(Source {
        answer: Mutex::new(Ok(Jobs::default())),
        asked: AtomicUsize::new(0),
        permits: Semaphore::new(0),
    });
    let (watch, clock, catalog) = watch_with(Shared(Arc::clone(&source)), 30.0);
    Rig {
        source,
        watch,
        clock,
        catalog,
    }
}

impl Rig {
    fn answers(&self, answer: Result<Jobs, JobsError>) {
        *self.source.answer.lock() = answer;
        self.source.permits.add_permits(1);
    }

    fn asked(&self) -> usize {
        self.source.asked.load(Ordering::SeqCst)
    }

    /// Waits until a refresh ends with the wanted result.
    async fn until(&self, done: impl Fn(&Self) -> bool) {
        while !done(self) {
            tokio::task::yield_now().await;
        }
    }

    fn states(&self) -> Vec<ModelState> {
        let deployments = self.catalog.deployments().iter();
        deployments.map(|it| it.state.model_state()).collect()
    }
}

fn running(model: &str) -> Jobs {
    Jobs {
        running: vec![Job::of([model])],
        ..Jobs::default()
    }
}

#[tokio::test]
async fn many_callers_ask_once_and_the_answer_lasts_a_minute() {
    let rig = rig();
    let callers: Vec<_> = (0..20)
        .map(|_| {
            let watch = Arc::clone(&rig.watch);
            crate::runtime::spawn(async move { watch.current().await.unwrap().stale })
        })
        .collect();
    rig.until(|rig| rig.asked() == 1).await;
    rig.answers(Ok(running("a")));
    for caller in callers {
        assert_eq!(caller.await.unwrap(), None);
    }
    rig.clock.advance(Duration::from_secs(59));
    assert!(!rig.watch.is_due());
    assert_eq!(rig.watch.current().await.unwrap().stale, None);
    assert_eq!(rig.asked(), 1);
    assert_eq!(rig.states(), [ModelState::Running, ModelState::Unknown]);
}

#[tokio::test]
async fn what_is_old_is_served_while_one_refresh_runs() {
    let rig = rig();
    rig.answers(Ok(running("a")));
    rig.watch.current().await.unwrap();
    rig.clock.advance(Duration::from_secs(61));
    for _ in 0..5 {
        let reading = rig.watch.current().await.unwrap();
        assert_eq!(reading.stale, Some(Duration::from_secs(61)));
        tokio::task::yield_now().await;
    }
    assert_eq!(rig.asked(), 2);
    rig.answers(Ok(running("b-on-disk")));
    rig.until(|rig| rig.states()[1] == ModelState::Running)
        .await;
    rig.until(|rig| !rig.watch.is_due()).await;
    let reading = rig.watch.current().await.unwrap();
    assert_eq!(
        (reading.stale, &*reading.jobs),
        (None, &running("b-on-disk"))
    );
    assert_eq!(rig.states(), [ModelState::Unknown, ModelState::Running]);
}

#[tokio::test]
async fn a_failure_stands_for_less_and_hides_nothing_that_was_known() {
    let rig = rig();
    let failure =
        JobsError::new("see http://10.0.0.1/status for more").with_status(StatusCode::BAD_GATEWAY);
    rig.answers(Err(failure));
    let error = rig.watch.current().await.unwrap_err();
    assert_eq!(
        (error.status, &*error.message),
        (StatusCode::BAD_GATEWAY, "see [...] for more")
    );
    assert!(rig.watch.current().await.is_err());
    assert_eq!(rig.asked(), 1);

    rig.clock.advance(Duration::from_secs(10));
    rig.answers(Ok(running("a")));
    assert!(rig.watch.current().await.is_ok());
    rig.clock.advance(Duration::from_secs(100));
    rig.answers(Err(JobsError::new("down")));
    rig.watch.current().await.unwrap();
    rig.until(|rig| !rig.watch.is_due()).await;
    let reading = rig.watch.current().await.unwrap();
    assert_eq!(
        (reading.stale, &*reading.jobs),
        (Some(Duration::from_secs(100)), &running("a"))
    );
    assert_eq!(rig.asked(), 3);
    // Inference uses the last known states.
    assert_eq!(rig.states()[0], ModelState::Running);
    assert!(!rig.catalog.deployments()[1].state.is_unlisted());
}

#[tokio::test]
async fn a_source_that_knows_all_says_stopped_by_silence() {
    let rig = rig();
    rig.answers(Ok(Jobs {
        queued: vec![Job {
            expected_start: Some(7),
            ..Job::of(["a"])
        }],
        complete: true,
        ..Jobs::default()
    }));
    rig.watch.current().await.unwrap();
    assert_eq!(rig.states(), [ModelState::Queued, ModelState::Stopped]);
    let state = &rig.catalog.deployments()[0].state;
    assert_eq!(
        (state.expected_start(), state.is_unlisted()),
        (Some(7), false)
    );
    assert!(rig.catalog.deployments()[1].state.is_unlisted());
}

/// A dead source of states must not stop inference.
#[tokio::test]
async fn what_a_dead_source_said_long_ago_refuses_nobody() {
    let rig = rig();
    rig.answers(Ok(Jobs {
        complete: true,
        ..running("a")
    }));
    rig.watch.current().await.unwrap();
    assert_eq!(rig.states(), [ModelState::Running, ModelState::Stopped]);
    let fails_at = async |seconds| {
        rig.clock.advance(Duration::from_secs(seconds));
        rig.answers(Err(JobsError::new("down")));
        rig.watch.current().await.unwrap();
        rig.until(|rig| !rig.watch.is_due()).await;
    };
    fails_at(299).await;
    assert_eq!(rig.states(), [ModelState::Running, ModelState::Stopped]);
    fails_at(10).await;
    assert_eq!(rig.states(), [ModelState::Unknown, ModelState::Unknown]);
    // A reload does not bring it back either, and the list of jobs still works.
    let (same, catalog) = watch_at(Shared(Arc::clone(&rig.source)), 30.0, &rig.clock, &[]);
    same.inherit(&rig.watch);
    for deployment in catalog.deployments() {
        assert_eq!(deployment.state.model_state(), ModelState::Unknown);
        assert!(!deployment.state.is_unlisted());
    }
    assert_eq!(
        same.current().await.unwrap().stale,
        Some(Duration::from_secs(309))
    );
}

#[tokio::test]
async fn a_later_reading_of_the_files_goes_on_and_asks_for_what_is_new() {
    let rig = rig();
    rig.answers(Ok(running("a")));
    rig.watch.current().await.unwrap();
    let source = || Shared(Arc::clone(&rig.source));
    let (same, _catalog) = watch_at(source(), 30.0, &rig.clock, &[]);
    same.inherit(&rig.watch);
    assert!(!same.is_due());
    let more = [json!({"model": "new"})];
    let (grown, catalog) = watch_at(source(), 30.0, &rig.clock, &more);
    grown.inherit(&rig.watch);
    assert!(grown.is_due());
    assert_eq!(grown.current().await.unwrap().stale, None);
    rig.answers(Ok(running("new")));
    grown.refresh();
    let state = &catalog.deployments()[2].state;
    rig.until(|_| state.model_state() == ModelState::Running)
        .await;
    rig.until(|_| !grown.is_due()).await;
    assert_eq!(rig.asked(), 2);
}

struct Panics;

#[async_trait]
impl ClusterAdapter for Panics {
    async fn jobs(&self, _: &ClusterContext) -> Result<Jobs, JobsError> {
        panic!("as asked");
    }
}

struct Hangs;

#[async_trait]
impl ClusterAdapter for Hangs {
    async fn jobs(&self, _: &ClusterContext) -> Result<Jobs, JobsError> {
        std::future::pending().await
    }
}

#[tokio::test]
async fn an_adapter_that_panics_or_hangs_is_an_error_like_any_other() {
    let (watch, ..) = watch_with(Panics, 30.0);
    let error = watch.current().await.unwrap_err();
    assert_eq!(error.status, StatusCode::INTERNAL_SERVER_ERROR);
    let (watch, ..) = watch_with(Hangs, 0.01);
    let error = watch.current().await.unwrap_err();
    assert_eq!(error.status, StatusCode::GATEWAY_TIMEOUT);
}

/// Captures this thread's log while the value lives.
#[derive(Clone, Default)]
struct Lines(Arc<Mutex<Vec<u8>>>);

impl std::io::Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[tokio::test]
async fn a_listing_that_stays_broken_is_told_once_an_hour() {
    let lines = Lines::default();
    let writer = lines.clone();
    let subscriber = tracing_subscriber::fmt()
        .with_writer(move || writer.clone())
        .finish();
    let _listening = tracing::subscriber::set_default(subscriber);
    let told = || {
        let text = String::from_utf8(lines.0.lock().clone()).unwrap();
        text.matches("job 1 of `running` is no object").count()
    };
    let broken = Jobs::from_value(&json!({"running": [7, {"Models": "a"}]})).unwrap();
    assert_eq!(broken.running.len(), 1);
    let rig = rig();
    rig.answers(Ok(broken.clone()));
    rig.watch.current().await.unwrap();
    assert_eq!((told(), rig.states()[0]), (1, ModelState::Running));
    for (minutes, expected) in [(2, 1), (30, 1), (29, 2), (2, 2)] {
        rig.clock.advance(Duration::from_secs(60 * minutes));
        rig.answers(Ok(broken.clone()));
        rig.watch.current().await.unwrap();
        rig.until(|rig| !rig.watch.is_due()).await;
        assert_eq!(told(), expected, "{minutes}");
    }
    // Reading the files again does not start it anew.
    let (same, _catalog) = watch_at(Shared(Arc::clone(&rig.source)), 30.0, &rig.clock, &[]);
    same.inherit(&rig.watch);
    rig.clock.advance(Duration::from_secs(61));
    rig.answers(Ok(broken));
    same.refresh();
    rig.until(|_| !same.is_due()).await;
    assert_eq!(told(), 2);
}
