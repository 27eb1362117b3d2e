use std::collections::HashMap;

use async_trait::async_trait;
use jiff::civil::DateTime;
use jiff::tz::TimeZone;
use serde_json::{Map, Value};

use super::command::run;
use super::lenient::{Container, NotAnEntry, Shape, read as read_listing};
use super::mapping::Mapping;
use super::{ClusterAdapter, ClusterContext, Job, Jobs, JobsError};

/// The queue of PBS Pro and OpenPBS: `qstat -f -F json`.
pub(super) struct Pbs;

#[async_trait]
impl ClusterAdapter for Pbs {
    async fn jobs(&self, context: &ClusterContext) -> Result<Jobs, JobsError> {
        let cluster = &context.cluster;
        let output = run(&cluster.scheduler, cluster.patience).await?;
        let now = context.clock.unix_micros() / 1_000_000;
        context
            .read(move |mapping| read(&output, mapping, now, &TimeZone::system()))
            .await
    }
}

const LISTING: Shape = Shape {
    root: Some("Jobs"),
    aside: &["pbs_version"],
};

/// The fields of a job that are used.
struct PbsJob {
    name: String,
    /// Texts that may name models.
    comments: [String; 2],
    state: State,
    queue: Option<Box<str>>,
    /// When it entered its queue.
    since: Option<i64>,
    start: Option<i64>,
}

/// `zone`: PBS writes local times without a zone.
pub(super) fn read(
    output: &[u8],
    mapping: &Mapping<'_>,
    now: i64,
    zone: &TimeZone,
) -> Result<Jobs, JobsError> {
    let listing = read_listing(output, &LISTING, |_, job| {
        let job = job.as_object().ok_or(NotAnEntry)?;
        Ok(Some(PbsJob::of(job, zone)))
    });
    let listing = listing.ok_or_else(|| wrong("it is no JSON with `Jobs`"))?;
    if listing.root == Some(Container::List) && listing.entries.is_empty() {
        return Err(wrong("its `Jobs` are no object"));
    }
    let mut jobs = Jobs {
        complete: !listing.lost,
        faults: listing.faults,
        ..Jobs::default()
    };
    let positions = positions(&listing.entries);
    for (index, job) in listing.entries.iter().enumerate() {
        let [variable, comment] = &job.comments;
        let models = mapping.models(&job.name, &[variable, comment]);
        if models.is_empty() {
            continue;
        }
        let mapped = Job::of(models);
        match job.state {
            State::Running => jobs.running.push(mapped.with("Model Status", "running")),
            State::Waiting | State::Held => {
                let start = job.start.filter(|start| *start > now);
                jobs.queued
                    .push(mapped.queued(positions.get(&index).copied(), start));
            }
            State::Over => {}
            State::Other(shown) => jobs.others.push(mapped.with("Model Status", shown)),
        }
    }
    Ok(jobs)
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    Running,
    /// In its queue, and counted there.
    Waiting,
    Held,
    Over,
    /// With the word that users see.
    Other(&'static str),
}

impl State {
    /// `job_state` in pbs_job_attributes(7B).
    fn of(letter: Option<&str>) -> Self {
        match letter {
            Some("R" | "B") => Self::Running,
            Some("Q") => Self::Waiting,
            Some("H" | "W" | "T") => Self::Held,
            Some("F" | "X" | "M") => Self::Over,
            Some("E") => Self::Other("exiting"),
            Some("S" | "U") => Self::Other("suspended"),
            _ => Self::Other("unknown"),
        }
    }
}

impl PbsJob {
    fn of(job: &Map<String, Value>, zone: &TimeZone) -> Self {
        let text = |key: &str| job.get(key).and_then(Value::as_str);
        let variables = job.get("Variable_List");
        let variable = variables.and_then(|all| all.get("OSTIA_MODELS")?.as_str());
        // PBS puts a backslash before each comma of a variable.
        let variable = variable.map(|models| format!("ostia:{}", models.replace('\\', "")));
        Self {
            name: job_name(job),
            comments: [
                variable.unwrap_or_default(),
                text("comment").unwrap_or_default().to_owned(),
            ],
            state: State::of(text("job_state").map(str::trim)),
            queue: text("queue").map(Into::into),
            since: job.get("qtime").and_then(|value| seconds(value, zone)),
            start: expected_start(job, zone),
        }
    }
}

/// A name made of digits comes as a number.
fn job_name(job: &Map<String, Value>) -> String {
    match job.get("Job_Name") {
        Some(Value::String(name)) => name.clone(),
        Some(Value::Number(name)) => name.to_string(),
        _ => String::new(),
    }
}

/// `estimated.start_time`: seconds in some versions, the time as text in others; otherwise a waiting job's
/// `Execution_Time`.
fn expected_start(job: &Map<String, Value>, zone: &TimeZone) -> Option<i64> {
    let estimated = job.get("estimated");
    estimated
        .and_then(|estimated| estimated.get("start_time"))
        .or_else(|| job.get("estimated.start_time"))
        .or_else(|| job.get("Execution_Time"))
        .and_then(|value| seconds(value, zone))
}

fn seconds(value: &Value, zone: &TimeZone) -> Option<i64> {
    match value {
        Value::Number(number) => number.as_i64(),
        Value::String(text) => text.parse().ok().or_else(|| {
            let civil = DateTime::strptime("%a %b %d %H:%M:%S %Y", text).ok()?;
            Some(civil.to_zoned(zone.clone()).ok()?.timestamp().as_second())
        }),
        _ => None,
    }
}

/// The position of each waiting job in its queue: first come, first served.
fn positions(jobs: &[PbsJob]) -> HashMap<usize, usize> {
    let mut waiting: Vec<usize> = (0..jobs.len())
        .filter(|index| jobs[*index].state == State::Waiting)
        .collect();
    waiting.sort_by_key(|index| jobs[*index].since.unwrap_or(i64::MAX));
    let mut seen: HashMap<Option<&str>, usize> = HashMap::new();
    waiting
        .into_iter()
        .map(|index| {
            let place = seen.entry(jobs[index].queue.as_deref()).or_default();
            *place += 1;
            (index, *place)
        })
        .collect()
}

fn wrong(detail: &str) -> JobsError {
    JobsError::new("The cluster's scheduler gave an answer that is not understood.")
        .with_detail(detail)
}
