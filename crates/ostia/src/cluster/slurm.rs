use std::collections::HashMap;

use async_trait::async_trait;
use bytes::Bytes;
use http::{HeaderName, HeaderValue};
use serde_json::{Map, Value};

use super::command::{MAX_OUTPUT, run};
use super::lenient::{Container, NotAnEntry, Shape, read as read_listing};
use super::mapping::Mapping;
use super::{ClusterAdapter, ClusterContext, Job, Jobs, JobsError};

/// Slurm's queue: `squeue --json`, or slurmrestd where `config.slurmrestd_url` names its `/slurm/vX/jobs/`.
pub(super) struct Slurm;

/// slurmrestd's headers for the caller's name and token (`rest_auth/jwt`).
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

const LISTING: Shape = Shape {
    root: Some("jobs"),
    // The reason why jobs are missing: when the controller is silent, slurmrestd still answers 200 and `squeue` exits
    // with 0.
    aside: &["errors", "error"],
};

/// The fields of a job that are used, the same in all data parsers since v0.0.36 (Slurm 20.11).
struct SlurmJob {
    name: String,
    comments: Vec<String>,
    state: State,
    /// The words that [`state`](Self::state) was read from.
    shown: String,
    partition: Option<Box<str>>,
    start: Option<i64>,
    priority: i64,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    Running,
    Starting,
    Pending,
    Other,
    /// The job has no state.
    Unknown,
    Over,
}

pub(super) fn read(output: &[u8], mapping: &Mapping<'_>, now: i64) -> Result<Jobs, JobsError> {
    let listing = read_listing(output, &LISTING, |_, job| {
        let job = job.as_object().ok_or(NotAnEntry)?;
        Ok(Some(SlurmJob::of(job)))
    });
    let listing = listing.ok_or_else(|| wrong("it is not JSON with `jobs`"))?;
    let found = &listing.entries;
    let error = listing.aside.values().find_map(said);
    match (listing.root, error) {
        (_, Some(error)) if found.is_empty() => return Err(wrong(&format!("Slurm says: {error}"))),
        (Some(Container::List), _) => {}
        _ if found.is_empty() => return Err(wrong("its `jobs` is not a list")),
        _ => {}
    }
    let positions = positions(found);
    let mut jobs = Jobs {
        complete: error.is_none() && !listing.lost,
        faults: listing.faults,
        ..Jobs::default()
    };
    for (index, found) in found.iter().enumerate() {
        let comments: Vec<&str> = found.comments.iter().map(String::as_str).collect();
        let models = mapping.models(&found.name, &comments);
        if models.is_empty() || found.state == State::Over {
            continue;
        }
        let job = Job::of(models);
        match found.state {
            State::Running => jobs.running.push(job.with("Model Status", "running")),
            State::Starting => jobs.queued.push(Job {
                starting: true,
                ..job.with("Model Status", "starting")
            }),
            State::Pending => {
                let start = found.start.filter(|start| *start > now);
                jobs.queued
                    .push(job.queued(positions.get(&index).copied(), start));
            }
            State::Unknown => jobs.others.push(job.with("Model Status", "unknown")),
            State::Other | State::Over => {
                jobs.others.push(job.with("Model Status", &*found.shown));
            }
        }
    }
    Ok(jobs)
}

impl SlurmJob {
    fn of(job: &Map<String, Value>) -> Self {
        let field = |key: &str| job.get(key).unwrap_or(&Value::Null);
        let state = job.get("job_state").or_else(|| job.get("state"));
        let words = words(state.unwrap_or(&Value::Null));
        let comments = [texts(field("comment")), texts(field("admin_comment"))].concat();
        Self {
            name: match field("name") {
                Value::String(name) => name.clone(),
                Value::Number(name) => name.to_string(),
                _ => String::new(),
            },
            comments: comments.into_iter().map(str::to_owned).collect(),
            state: state_of(&words),
            shown: words.join(",").to_lowercase(),
            partition: field("partition").as_str().map(Into::into),
            start: number(field("start_time")),
            priority: number(field("priority")).unwrap_or(0),
        }
    }
}

impl Job {
    /// A waiting job, with its position in its queue and its expected start.
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

/// The position of each waiting job in its partition: highest priority first.
fn positions(jobs: &[SlurmJob]) -> HashMap<usize, usize> {
    let mut waiting: Vec<usize> = (0..jobs.len())
        .filter(|index| jobs[*index].state == State::Pending)
        .collect();
    waiting.sort_by_key(|index| std::cmp::Reverse(jobs[*index].priority));
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

/// `squeue`'s job states and flags (squeue(1), JOB STATE CODES), as words or in their short forms. A state that a later
/// Slurm may bring ends no job.
fn state_of(words: &[&str]) -> State {
    const RUNNING: &[&str] = &["RUNNING", "R"];
    const OVER: &[&str] = &[
        "BOOT_FAIL",
        "BF",
        "CANCELLED",
        "CA",
        "COMPLETED",
        "CD",
        "DEADLINE",
        "DL",
        "FAILED",
        "F",
        "NODE_FAIL",
        "NF",
        "OUT_OF_MEMORY",
        "OOM",
        "PREEMPTED",
        "PR",
        "REVOKED",
        "RV",
        "TIMEOUT",
        "TO",
    ];
    let has = |states: &[&str]| {
        let is_one = |word: &&str| states.iter().any(|state| word.eq_ignore_ascii_case(state));
        words.iter().any(is_one)
    };
    if words.is_empty() {
        State::Unknown
    } else if has(&["CONFIGURING", "CF"]) || (has(RUNNING) && has(&["POWER_UP_NODE"])) {
        State::Starting
    } else if has(&["COMPLETING", "CG"]) {
        State::Other
    } else if has(RUNNING) {
        State::Running
    } else if has(&["PENDING", "PD"]) {
        State::Pending
    } else if has(OVER) {
        State::Over
    } else {
        State::Other
    }
}

/// The words of a state: one, several with other characters between them, since 23.11 a list, and in the accounting's
/// parser a list or word in `current`.
fn words(value: &Value) -> Vec<&str> {
    match value {
        Value::String(text) => text
            .split(|character: char| !character.is_ascii_alphanumeric() && character != '_')
            .filter(|word| !word.is_empty())
            .collect(),
        Value::Array(values) => values.iter().flat_map(words).collect(),
        Value::Object(parts) => parts.get("current").map(words).unwrap_or_default(),
        _ => Vec::new(),
    }
}

/// What went wrong, if a member for errors says so: a list, an object or a text.
pub(super) fn said(errors: &Value) -> Option<&Value> {
    match errors {
        Value::Array(errors) => errors.first(),
        Value::Object(members) => (!members.is_empty()).then_some(errors),
        Value::String(text) => (!text.trim().is_empty()).then_some(errors),
        _ => None,
    }
}

/// A text, or an object of texts where the accounting's parser is used.
fn texts(value: &Value) -> Vec<&str> {
    match value {
        Value::String(text) => vec![text],
        Value::Object(texts) => texts.values().filter_map(Value::as_str).collect(),
        _ => Vec::new(),
    }
}

/// A number, or since 23.02 `{"set", "infinite", "number"}`. 0 and unset numbers count as absent.
fn number(value: &Value) -> Option<i64> {
    let number = match value {
        Value::Object(parts) if parts.get("set") == Some(&Value::Bool(true)) => {
            whole(parts.get("number")?)?
        }
        Value::Object(_) => return None,
        value => whole(value)?,
    };
    (number > 0).then_some(number)
}

/// A whole number, also with a fraction or as text.
pub(super) fn whole(value: &Value) -> Option<i64> {
    #[expect(
        clippy::cast_possible_truncation,
        reason = "times and priorities are far below 2^53, and `as` saturates"
    )]
    let cut = |number: f64| number.is_finite().then_some(number as i64);
    match value {
        Value::Number(number) => number.as_i64().or_else(|| cut(number.as_f64()?)),
        Value::String(text) => {
            let text = text.trim();
            text.parse().ok().or_else(|| cut(text.parse().ok()?))
        }
        _ => None,
    }
}

fn wrong(detail: &str) -> JobsError {
    JobsError::new("The cluster's scheduler gave an answer that is not understood.")
        .with_detail(detail)
}
