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

/// How long what a source said counts as fresh.
const FRESH: Duration = Duration::from_secs(60);
/// How long a failure stands before the source is asked again.
const FAILED: Duration = Duration::from_secs(10);
/// How long a source may be silent until what it said of models no longer refuses anybody.
const BELIEVED: Duration = Duration::from_secs(300);

/// How long a warning about a listing stands.
const WARNED: Duration = Duration::from_secs(60 * 60);

/// One cluster's adapter, and what it last said.
pub struct Watch {
    context: ClusterContext,
    adapter: Arc<dyn ClusterAdapter>,
    known: Mutex<Known>,
    began: Instant,
    refreshing: AtomicBool,
    /// What is known was learnt for other endpoints than these.
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

/// What is known of a cluster's jobs.
#[derive(Debug, Clone)]
pub struct Reading {
    pub jobs: Arc<Jobs>,
    /// How old it is, where it should be newer.
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

    /// Goes on from what an earlier reading of the files had learnt of the same cluster.
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

    /// The cluster's jobs: at once if anything is known, however old; else after the one question that is under way.
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
        // Adapters have their own limit; this one is for those that do not keep it.
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

    /// A listing stays broken as long as the job that breaks it: one line an hour is enough.
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
            "the cluster's listing has mistakes; what can be read of it is used. The first: {first}"
        );
    }

    /// The source does not answer. A listing that is no longer fresh refuses nobody whom it did not name, and an old one
    /// nobody at all: a dead source of states must not stop inference.
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

/// The best that any job says of a deployment's model, and the earliest start of those that wait.
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
        ModelState::Stopped => 3,
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

/// Lets the next refresh begin, however this one ended.
struct RefreshEnds<'a>(&'a Watch);

impl Drop for RefreshEnds<'_> {
    fn drop(&mut self) {
        let mut known = self.0.known.lock();
        if known.jobs.is_none() && known.failure.is_none() {
            // It was given up before it could say anything: whoever waits must not wait for ever.
            let error = JobsError::new("The cluster's adapter failed.");
            known.failure = Some((error, self.0.context.clock.now()));
        }
        drop(known);
        self.0.refreshing.store(false, Ordering::Release);
        self.0.refreshed.notify_waiters();
    }
}
