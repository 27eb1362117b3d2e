use serde_json::{Map, Value};

use super::{Faults, JobsError};
use crate::fleet::ModelState;

/// The jobs of a whole cluster, by state.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Jobs {
    pub running: Vec<Job>,
    pub queued: Vec<Job>,
    pub stopped: Vec<Job>,
    pub others: Vec<Job>,
    pub private_batch_running: Vec<Job>,
    pub private_batch_queued: Vec<Job>,
    /// The source lists everything that runs: a model without a job is stopped, not unknown.
    pub complete: bool,
    /// Mistakes in the source's listing, for the log.
    pub faults: Faults,
}

/// A job, and the models that it serves.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Job {
    pub models: Vec<String>,
    /// `None`: the framework of the models' endpoints.
    pub framework: Option<String>,
    /// Other values that users see, by key.
    pub shown: Map<String, Value>,
    /// The job has its nodes, but is not ready yet.
    pub starting: bool,
    /// Unix seconds; only for jobs that wait.
    pub expected_start: Option<i64>,
}

impl Job {
    pub fn of<I>(models: I) -> Self
    where
        I: IntoIterator,
        I::Item: Into<String>,
    {
        Self {
            models: models.into_iter().map(Into::into).collect(),
            ..Self::default()
        }
    }

    /// Adds a value that users see.
    pub fn with(mut self, key: &str, value: impl Into<Value>) -> Self {
        self.shown.insert(key.to_owned(), value.into());
        self
    }
}

impl Jobs {
    /// Every list with the state that its jobs' models are in.
    pub fn lists(&self) -> [(&'static str, &[Job], ModelState); 6] {
        use ModelState::{Queued, Running, Stopped, Unknown};
        [
            ("running", &self.running, Running),
            ("queued", &self.queued, Queued),
            ("stopped", &self.stopped, Stopped),
            ("others", &self.others, Unknown),
            (
                "private_batch_running",
                &self.private_batch_running,
                Unknown,
            ),
            ("private_batch_queued", &self.private_batch_queued, Unknown),
        ]
    }

    /// Reads the shape of `GET /{cluster}/jobs`, as scripts and FIRST's adapters build it: lists of objects with
    /// `Models` (comma-joined) or `models` (a list), `Framework`, and other keys to show.
    pub fn from_value(value: &Value) -> Result<Self, JobsError> {
        let lists = value
            .as_object()
            .ok_or_else(|| wrong("the adapter gave no object with lists of jobs"))?;
        let mut faults = Faults::default();
        let mut list = |name: &str| match lists.get(name) {
            None | Some(Value::Null) => Ok(Vec::new()),
            Some(Value::Array(jobs)) => Ok(read_jobs(name, jobs, &mut faults)),
            Some(_) => Err(wrong(&format!("`{name}` is no list"))),
        };
        let found = Self {
            running: list("running")?,
            queued: list("queued")?,
            stopped: list("stopped")?,
            others: list("others")?,
            private_batch_running: list("private_batch_running")?,
            private_batch_queued: list("private_batch_queued")?,
            ..Self::default()
        };
        let says_complete = lists.get("complete") == Some(&Value::Bool(true));
        Ok(Self {
            complete: says_complete && faults.count() == 0,
            faults,
            ..found
        })
    }
}

/// Jobs that cannot be read are left out.
fn read_jobs(list: &str, jobs: &[Value], faults: &mut Faults) -> Vec<Job> {
    let read = jobs.iter().zip(1..).filter_map(|(job, number)| {
        let job = read_job(job);
        if let Err(fault) = job {
            faults.note(|| format!("job {number} of `{list}` {fault}"));
        }
        job.ok()
    });
    read.collect()
}

fn read_job(value: &Value) -> Result<Job, &'static str> {
    let mut shown = value.as_object().cloned().ok_or("is no object")?;
    let models = match shown.remove("Models").or_else(|| shown.remove("models")) {
        Some(Value::String(joined)) => split_names(&joined),
        Some(Value::Array(names)) => names
            .iter()
            .filter_map(|name| name.as_str().map(str::to_owned))
            .collect(),
        _ => return Err("has no `Models`"),
    };
    let framework = ["Framework", "framework"]
        .into_iter()
        .find_map(|key| shown.remove(key));
    shown.remove("Cluster");
    Ok(Job {
        models,
        framework: framework.and_then(|value| value.as_str().map(str::to_owned)),
        starting: shown.remove("starting") == Some(Value::Bool(true)),
        expected_start: shown
            .remove("expected_start")
            .and_then(|value| value.as_i64()),
        shown,
    })
}

/// Names separated by commas, as in `Models`.
pub(super) fn split_names(joined: &str) -> Vec<String> {
    joined
        .split(',')
        .map(str::trim)
        .filter(|name| !name.is_empty())
        .map(str::to_owned)
        .collect()
}

fn wrong(detail: &str) -> JobsError {
    JobsError::new("The cluster's state came in a shape that is not understood.")
        .with_detail(detail)
}
