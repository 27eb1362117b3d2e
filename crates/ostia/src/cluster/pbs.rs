use std::collections::HashMap;

use async_trait::async_trait;
use jiff::civil::DateTime;
use jiff::tz::TimeZone;
use serde_json::{Map, Value};

use super::command::run;
use super::lenient::{Container, NotAnEntry, Shape, read as read_listing};
use super::mapping::Mapping;
use super::slurm::{said, whole};
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
    aside: &["pbs_version", "errors", "error"],
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
    let listing = listing.ok_or_else(|| wrong("it is not JSON with `Jobs`"))?;
    let mut keys = ["errors", "error"].into_iter();
    let error = keys.find_map(|key| said(listing.aside.get(key)?));
    if let Some(error) = error.filter(|_| listing.entries.is_empty()) {
        return Err(wrong(&format!("PBS says: {error}")));
    }
    if listing.root == Some(Container::List) && listing.entries.is_empty() {
        return Err(wrong("its `Jobs` is not an object"));
    }
    let mut jobs = Jobs {
        complete: !listing.lost && error.is_none(),
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
    /// `job_state` in pbs_job_attributes(7B), or the word for it.
    fn of(letter: Option<&str>) -> Self {
        let letter = letter.unwrap_or_default().to_ascii_uppercase();
        match &*letter {
            "R" | "B" | "RUNNING" | "BEGUN" => Self::Running,
            "Q" | "QUEUED" => Self::Waiting,
            "H" | "W" | "T" | "HELD" | "WAITING" => Self::Held,
            "F" | "X" | "M" | "C" | "FINISHED" | "COMPLETED" => Self::Over,
            "E" | "EXITING" => Self::Other("exiting"),
            "S" | "U" | "SUSPENDED" => Self::Other("suspended"),
            _ => Self::Other("unknown"),
        }
    }
}

impl PbsJob {
    fn of(job: &Map<String, Value>, zone: &TimeZone) -> Self {
        let text = |key: &str| job.get(key).and_then(Value::as_str);
        let variable = job.get("Variable_List").and_then(models_of);
        let variable = variable.map(|models| format!("ostia:{models}"));
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

/// The variable that names models, from an object of variables, or from their list or text `A=1,B=2`, as other formats
/// of `qstat` have it. PBS puts a backslash before each comma of a variable.
fn models_of(variables: &Value) -> Option<String> {
    const NAME: &str = "OSTIA_MODELS";
    let listed = match variables {
        Value::Object(variables) => match variables.get(NAME)? {
            Value::Array(models) => {
                let models: Vec<_> = models.iter().filter_map(Value::as_str).collect();
                models.join(",")
            }
            models => models.as_str()?.to_owned(),
        },
        Value::Array(all) => return all.iter().find_map(models_of),
        Value::String(text) => {
            let (before, models) = text.split_once(&format!("{NAME}="))?;
            let begins = before.is_empty() || before.ends_with(',');
            begins.then(|| up_to_bare_comma(models).to_owned())?
        }
        _ => return None,
    };
    Some(listed.replace(['\\', '"', '\''], ""))
}

/// The text before the first comma that has no backslash before it.
fn up_to_bare_comma(text: &str) -> &str {
    let is_bare = |at: &usize| !text[..*at].ends_with('\\');
    let mut commas = text.match_indices(',').map(|(at, _)| at);
    commas.find(is_bare).map_or(text, |end| &text[..end])
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
    whole(value).or_else(|| {
        let text = value.as_str()?.trim();
        let civil = DateTime::strptime("%a %b %d %H:%M:%S %Y", text).or_else(|_| text.parse());
        Some(
            civil
                .ok()?
                .to_zoned(zone.clone())
                .ok()?
                .timestamp()
                .as_second(),
        )
    })
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
