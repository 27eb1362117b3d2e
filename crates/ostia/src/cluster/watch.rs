use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use futures_util::FutureExt;
use parking_lot::Mutex;
use tokio::sync::Notify;

use super::mapping::serves_name;
use super::{ClusterAdapter, ClusterContext, Faults, Jobs, JobsError};
use crate::catalog::{Deployment, Serving};
use crate::fleet::ModelState;
use crate::runtime::spawn;

/// How long an answer counts as fresh.
const FRESH: Duration = Duration::from_secs(60);
/// How long after a failure the source is asked again.
const FAILED: Duration = Duration::from_secs(10);
/// After this much silence, a source's last answer no longer refuses anybody.
const BELIEVED: Duration = Duration::from_secs(300);

/// The least time between two warnings about one cluster's listing.
const WARNED: Duration = Duration::from_secs(60 * 60);

/// One cluster's adapter and its last answer.
pub struct Watch {
    context: ClusterContext,
    adapter: Arc<dyn ClusterAdapter>,
    known: Mutex<Known>,
    began: Instant,
    refreshing: AtomicBool,
    /// The last answer was applied to other endpoints than these.
    outgrown: AtomicBool,
    refreshed: Notify,
    /// When faults of the source's listing were last logged.
    warned: Mutex<Option<Instant>>,
}

#[derive(Clone, Default)]
pub(super) struct Known {
    jobs: Option<(Arc<Jobs>, Instant)>,
    failure: Option<(JobsError, Instant)>,
}

/// The last known jobs of a cluster.
#[derive(Debug, Clone)]
pub struct Reading {
    pub jobs: Arc<Jobs>,
    /// How old they are, if they should be newer.
    pub stale: Option<Duration>,
}

enum Look {
    Fresh(Reading),
    /// Good enough, but a refresh is due.
    Due(Reading),
    Failed(JobsError),
    Nothing,
}

impl Watch {
    pub(super) fn new(context: ClusterContext, adapter: Arc<dyn ClusterAdapter>) -> Self {
        Self {
            began: context.clock.now(),
            context,
            adapter,
            known: Mutex::default(),
            refreshing: AtomicBool::new(false),
            outgrown: AtomicBool::new(false),
            refreshed: Notify::new(),
            warned: Mutex::default(),
        }
    }

    pub fn cluster(&self) -> &Arc<crate::catalog::Cluster> {
        &self.context.cluster
    }

    pub fn deployments(&self) -> &[Arc<Deployment>] {
        &self.context.deployments
    }

    /// Continues with the last answer that the same cluster gave before a reload.
    pub(super) fn inherit(&self, earlier: &Self) {
        let known = earlier.known.lock().clone();
        if let Some((jobs, _)) = &known.jobs {
            self.apply(jobs);
        }
        if known.failure.is_some() {
            self.doubt(&known);
        }
        *self.known.lock() = known;
        *self.warned.lock() = *earlier.warned.lock();
        let endpoints = |watch: &Self| -> Vec<_> {
            let deployments = watch.context.deployments.iter();
            deployments
                .map(|it| (Arc::clone(&it.slug), it.serving == Serving::Yes))
                .collect()
        };
        let outgrown = endpoints(self) != endpoints(earlier);
        self.outgrown.store(outgrown, Ordering::Relaxed);
    }

    /// The cluster's jobs. If any are known, they are returned at once, however old; otherwise after the refresh under way.
    pub async fn current(self: &Arc<Self>) -> Result<Reading, JobsError> {
        loop {
            let refreshed = self.refreshed.notified();
            tokio::pin!(refreshed);
            refreshed.as_mut().enable();
            match self.look() {
                Look::Fresh(reading) => return Ok(reading),
                Look::Due(reading) => {
                    self.refresh();
                    return Ok(reading);
                }
                Look::Failed(error) => return Err(error),
                Look::Nothing => self.refresh(),
            }
            refreshed.await;
        }
    }

    /// Whether the source should be asked.
    pub(super) fn is_due(&self) -> bool {
        self.outgrown.load(Ordering::Relaxed) || matches!(self.look(), Look::Due(_) | Look::Nothing)
    }

    /// Asks the source in the background, unless that is going on already.
    pub(super) fn refresh(self: &Arc<Self>) {
        if !self.refreshing.swap(true, Ordering::AcqRel) {
            self.outgrown.store(false, Ordering::Relaxed);
            let this = Arc::clone(self);
            spawn(async move { this.ask().await });
        }
    }

    async fn ask(&self) {
        let _end = RefreshEnds(self);
        // Adapters have a limit of their own. This one is for adapters that ignore it.
        let limit = self.context.cluster.patience.mul_f64(1.1);
        let asking = AssertUnwindSafe(self.adapter.jobs(&self.context)).catch_unwind();
        let answer = match tokio::time::timeout(limit, asking).await {
            Ok(Ok(answer)) => answer,
            Ok(Err(_)) => {
                Err(JobsError::new("The cluster's adapter failed.").with_detail("it panicked"))
            }
            Err(_) => Err(JobsError::timeout()),
        };
        self.note(answer);
    }

    fn note(&self, answer: Result<Jobs, JobsError>) {
        let now = self.context.clock.now();
        match answer {
            Ok(jobs) => {
                self.warn_of(&jobs.faults, now);
                self.apply(&jobs);
                *self.known.lock() = Known {
                    jobs: Some((Arc::new(jobs), now)),
                    failure: None,
                };
            }
            Err(error) => {
                let cluster = &*self.context.cluster.name;
                let detail = &*error.detail;
                tracing::warn!(cluster, detail, "the cluster's state is not known: {error}");
                let status = self.context.cluster.status.as_ref();
                let host = status.map(|source| &*source.target.origin.host);
                let mut known = self.known.lock();
                known.failure = Some((error.scrubbed(host), now));
                self.doubt(&known);
            }
        }
    }

    /// A listing stays broken for as long as the job that breaks it runs, so one line an hour is enough.
    fn warn_of(&self, faults: &Faults, now: Instant) {
        let Some(first) = faults.first() else { return };
        let cluster = &*self.context.cluster.name;
        let mut warned = self.warned.lock();
        if warned.is_some_and(|at| now.saturating_duration_since(at) < WARNED) {
            return;
        }
        *warned = Some(now);
        let faults = faults.count();
        tracing::warn!(
            cluster,
            faults,
            "the cluster's listing has mistakes and is used as far as it can be read; the first is {first}"
        );
    }

    /// The source does not answer. From now on, models that its last listing did not name are not refused; after five
    /// minutes, none are. A dead source of states must not stop inference.
    fn doubt(&self, known: &Known) {
        let heard = known.jobs.as_ref().map_or(self.began, |(_, at)| *at);
        let silent = self.context.clock.now().saturating_duration_since(heard);
        for deployment in &self.context.deployments {
            let state = &deployment.state;
            state.set_unlisted(false);
            if silent >= BELIEVED && deployment.serving == Serving::Yes {
                state.set_model_state(ModelState::Unknown);
                state.set_expected_start(None);
            }
        }
    }

    fn look(&self) -> Look {
        let now = self.context.clock.now();
        let known = self.known.lock();
        let failure = known
            .failure
            .as_ref()
            .filter(|(_, at)| now.saturating_duration_since(*at) < FAILED);
        match (&known.jobs, failure) {
            (None, None) => Look::Nothing,
            (None, Some((error, _))) => Look::Failed(error.clone()),
            (Some((jobs, at)), failure) => {
                let age = now.saturating_duration_since(*at);
                let jobs = Arc::clone(jobs);
                if age < FRESH {
                    return Look::Fresh(Reading { jobs, stale: None });
                }
                let stale = Some(age);
                match failure {
                    Some(_) => Look::Fresh(Reading { jobs, stale }),
                    None => Look::Due(Reading { jobs, stale }),
                }
            }
        }
    }

    /// Tells the fleet what each endpoint's model is doing.
    fn apply(&self, jobs: &Jobs) {
        for deployment in &self.context.deployments {
            let found = state_of(deployment, jobs);
            let state = &deployment.state;
            state.set_unlisted(found.is_none());
            let unnamed = if jobs.complete {
                ModelState::Stopped
            } else {
                ModelState::Unknown
            };
            let (model_state, start) = found.unwrap_or((unnamed, None));
            state.set_expected_start(start);
            state.set_model_state(match deployment.serving {
                Serving::Yes => model_state,
                Serving::Disabled(_) | Serving::AdapterUnavailable(_) => ModelState::Stopped,
            });
        }
    }
}

/// The best state that any job gives a deployment's model, and the earliest expected start.
fn state_of(deployment: &Deployment, jobs: &Jobs) -> Option<(ModelState, Option<i64>)> {
    let mut best: Option<(ModelState, Option<i64>)> = None;
    for (_, list, state) in jobs.lists() {
        for job in list.iter().filter(|job| job.is_of(deployment)) {
            let state = match state {
                ModelState::Queued if job.starting => ModelState::Starting,
                state => state,
            };
            best = Some(match best {
                Some((known, start)) if rank(known) < rank(state) => (known, start),
                Some((known, start)) if known == state => {
                    (known, start.into_iter().chain(job.expected_start).min())
                }
                _ => (state, job.expected_start),
            });
        }
    }
    best
}

/// How near a model is to serving.
const fn rank(state: ModelState) -> u8 {
    match state {
        ModelState::Running => 0,
        ModelState::Starting => 1,
        ModelState::Queued => 2,
        ModelState::Stopped | ModelState::Draining => 3,
        ModelState::Unknown => 4,
    }
}

impl super::Job {
    /// Whether the job serves this deployment's model, on its framework if it names one that the cluster has for it.
    pub fn is_of(&self, deployment: &Deployment) -> bool {
        let framework = self.framework.as_deref();
        let elsewhere = framework.is_some_and(|name| {
            name != &*deployment.framework
                && deployment
                    .cluster
                    .frameworks
                    .iter()
                    .any(|known| **known == *name)
        });
        !elsewhere && self.models.iter().any(|name| serves_name(deployment, name))
    }
}

/// Allows the next refresh, however this one ended.
struct RefreshEnds<'a>(&'a Watch);

impl Drop for RefreshEnds<'_> {
    fn drop(&mut self) {
        let mut known = self.0.known.lock();
        if known.jobs.is_none() && known.failure.is_none() {
            // The refresh was cancelled before it had a result: callers must not wait for ever.
            let error = JobsError::new("The cluster's adapter failed.");
            known.failure = Some((error, self.0.context.clock.now()));
        }
        drop(known);
        self.0.refreshing.store(false, Ordering::Release);
        self.0.refreshed.notify_waiters();
    }
}
