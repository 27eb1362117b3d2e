use std::collections::HashMap;

use async_trait::async_trait;
use bytes::Bytes;
use http::{HeaderName, HeaderValue};
use serde::Deserialize;
use serde_json::Value;

use super::command::{MAX_OUTPUT, run};
use super::mapping::Mapping;
use super::{ClusterAdapter, ClusterContext, Job, Jobs, JobsError};

/// Slurm's queue: `squeue --json`, or slurmrestd where `config.slurmrestd_url` names its `/slurm/vX/jobs/`.
pub(super) struct Slurm;

/// slurmrestd's own names for who asks (`rest_auth/jwt`).
const USER_NAME: HeaderName = HeaderName::from_static("x-slurm-user-name");
const USER_TOKEN: HeaderName = HeaderName::from_static("x-slurm-user-token");

#[async_trait]
impl ClusterAdapter for Slurm {
    async fn jobs(&self, context: &ClusterContext) -> Result<Jobs, JobsError> {
        let output = match &context.cluster.status {
            Some(_) => ask_slurmrestd(context).await?,
            None => {
                let cluster = &context.cluster;
                Bytes::from(run(&cluster.scheduler, cluster.patience).await?)
            }
        };
        let now = context.clock.unix_micros() / 1_000_000;
        context
            .read(move |mapping| read(&output, mapping, now))
            .await
    }
}

async fn ask_slurmrestd(context: &ClusterContext) -> Result<Bytes, JobsError> {
    let source = context.cluster.status.as_ref().zip(context.http.clone());
    let Some((source, mut http)) = source else {
        return Err(wrong("there is no usable HTTP client"));
    };
    if let Some(user) = &context.cluster.scheduler.user {
        http = http.with_header(USER_NAME, user.clone());
    }
    if let Some(key) = &source.target.key
        && let Ok(mut token) = HeaderValue::from_str(key.expose())
    {
        token.set_sensitive(true);
        http = http.with_header(USER_TOKEN, token);
    }
    let longest = usize::try_from(MAX_OUTPUT).unwrap_or(usize::MAX);
    let reply = http.up_to(longest).get(&source.path_and_query).await?;
    if !reply.status.is_success() {
        return Err(wrong(&format!("slurmrestd answered {}", reply.status)));
    }
    Ok(reply.body)
}

#[derive(Deserialize)]
struct Listing {
    jobs: Vec<SlurmJob>,
    /// Why jobs are missing: the daemon answers 200, and `squeue` ends well, though the controller did not answer.
    #[serde(default)]
    errors: Vec<Value>,
}

/// What is used of a job, in all data parsers since v0.0.36 (Slurm 20.11).
#[derive(Deserialize)]
struct SlurmJob {
    #[serde(default)]
    name: Option<String>,
    /// A text; an object of texts where the accounting's parser is used.
    #[serde(default)]
    comment: Value,
    #[serde(default)]
    admin_comment: Value,
    /// A word, or since 23.11 a list of words.
    #[serde(default)]
    job_state: Value,
    #[serde(default)]
    partition: Option<String>,
    /// A number, or since 23.02 `{"set", "infinite", "number"}`.
    #[serde(default)]
    start_time: Value,
    #[serde(default)]
    priority: Value,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    Running,
    Starting,
    Pending,
    Other,
    Over,
}

pub(super) fn read(output: &[u8], mapping: &Mapping<'_>, now: i64) -> Result<Jobs, JobsError> {
    let listing: Listing =
        serde_json::from_slice(output).map_err(|error| wrong(&error.to_string()))?;
    if listing.jobs.is_empty()
        && let Some(error) = listing.errors.first()
    {
        return Err(wrong(&format!("Slurm says: {error}")));
    }
    let positions = positions(&listing.jobs);
    let mut jobs = Jobs {
        complete: listing.errors.is_empty(),
        ..Jobs::default()
    };
    for (index, found) in listing.jobs.iter().enumerate() {
        let state = state_of(&found.job_state);
        let comments = [texts(&found.comment), texts(&found.admin_comment)].concat();
        let models = mapping.models(found.name.as_deref().unwrap_or(""), &comments);
        if models.is_empty() || state == State::Over {
            continue;
        }
        let job = Job::of(models);
        match state {
            State::Running => jobs.running.push(job.with("Model Status", "running")),
            State::Starting => jobs.queued.push(Job {
                starting: true,
                ..job.with("Model Status", "starting")
            }),
            State::Pending => {
                let start = number(&found.start_time).filter(|start| *start > now);
                jobs.queued
                    .push(job.queued(positions.get(&index).copied(), start));
            }
            State::Other | State::Over => {
                let status = words(&found.job_state).join(",").to_lowercase();
                jobs.others.push(job.with("Model Status", status));
            }
        }
    }
    Ok(jobs)
}

impl Job {
    /// A job that waits: its place among those of its queue, and when it is expected to start.
    pub(super) fn queued(self, position: Option<usize>, start: Option<i64>) -> Self {
        let mut job = self.with("Model Status", "queued");
        if let Some(position) = position {
            job = job.with("Queue Position", position as u64);
        }
        if let Some(at) = start.and_then(|start| jiff::Timestamp::from_second(start).ok()) {
            job = job.with("Expected Start", at.to_string());
        }
        job.expected_start = start;
        job
    }
}

/// The place of each waiting job in its partition: the highest priority is the first.
fn positions(jobs: &[SlurmJob]) -> HashMap<usize, usize> {
    let mut waiting: Vec<usize> = (0..jobs.len())
        .filter(|index| state_of(&jobs[*index].job_state) == State::Pending)
        .collect();
    waiting.sort_by_key(|index| std::cmp::Reverse(number(&jobs[*index].priority).unwrap_or(0)));
    let mut seen: HashMap<Option<&str>, usize> = HashMap::new();
    waiting
        .into_iter()
        .map(|index| {
            let place = seen.entry(jobs[index].partition.as_deref()).or_default();
            *place += 1;
            (index, *place)
        })
        .collect()
}

/// `squeue`'s job states and flags (squeue(1), JOB STATE CODES).
fn state_of(value: &Value) -> State {
    let words = words(value);
    let has = |state: &str| words.iter().any(|word| word.eq_ignore_ascii_case(state));
    if has("CONFIGURING") || (has("RUNNING") && has("POWER_UP_NODE")) {
        State::Starting
    } else if has("COMPLETING") {
        State::Other
    } else if has("RUNNING") {
        State::Running
    } else if has("PENDING") {
        State::Pending
    } else if ["SUSPENDED", "STOPPED", "SIGNALING", "STAGE_OUT", "RESIZING"]
        .into_iter()
        .any(has)
    {
        State::Other
    } else {
        State::Over
    }
}

fn words(value: &Value) -> Vec<&str> {
    match value {
        Value::String(word) => vec![word],
        Value::Array(words) => words.iter().filter_map(Value::as_str).collect(),
        _ => Vec::new(),
    }
}

fn texts(value: &Value) -> Vec<&str> {
    match value {
        Value::String(text) => vec![text],
        Value::Object(texts) => texts.values().filter_map(Value::as_str).collect(),
        _ => Vec::new(),
    }
}

/// 0 and what is not set say nothing.
fn number(value: &Value) -> Option<i64> {
    let number = match value {
        Value::Object(parts) if parts.get("set") == Some(&Value::Bool(true)) => {
            parts.get("number")?.as_i64()?
        }
        Value::Number(number) => number.as_i64()?,
        _ => return None,
    };
    (number > 0).then_some(number)
}

fn wrong(detail: &str) -> JobsError {
    JobsError::new("The cluster's scheduler gave an answer that is not understood.")
        .with_detail(detail)
}
