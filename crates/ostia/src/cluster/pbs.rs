use std::collections::HashMap;

use async_trait::async_trait;
use jiff::civil::DateTime;
use jiff::tz::TimeZone;
use serde_json::{Map, Value};

use super::command::run;
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

/// `zone`: PBS writes local times without saying so.
pub(super) fn read(
    output: &[u8],
    mapping: &Mapping<'_>,
    now: i64,
    zone: &TimeZone,
) -> Result<Jobs, JobsError> {
    let listing = parse(output).map_err(|error| wrong(&error.to_string()))?;
    let mut jobs = Jobs {
        complete: true,
        ..Jobs::default()
    };
    // Without any job some versions leave the key out.
    let found = match listing.get("Jobs") {
        None if listing.get("pbs_version").is_some() => return Ok(jobs),
        Some(Value::Object(found)) => found,
        _ => return Err(wrong("it has no `Jobs`")),
    };
    let positions = positions(found, zone);
    for (id, job) in found {
        let text = |key: &str| job.get(key).and_then(Value::as_str).unwrap_or("");
        let variable = job
            .pointer("/Variable_List/OSTIA_MODELS")
            .and_then(Value::as_str)
            .map(|models| format!("ostia:{models}"));
        let comments = [variable.as_deref().unwrap_or(""), text("comment")];
        let models = mapping.models(&job_name(job), &comments);
        if models.is_empty() {
            continue;
        }
        let mapped = Job::of(models);
        // job_state in pbs_job_attributes(7B).
        match text("job_state") {
            "R" | "B" => jobs.running.push(mapped.with("Model Status", "running")),
            "Q" | "H" | "W" | "T" => {
                let start = expected_start(job, zone).filter(|start| *start > now);
                jobs.queued
                    .push(mapped.queued(positions.get(id.as_str()).copied(), start));
            }
            "F" | "X" | "M" => {}
            "E" => jobs.others.push(mapped.with("Model Status", "exiting")),
            _ => jobs.others.push(mapped.with("Model Status", "suspended")),
        }
    }
    Ok(jobs)
}

/// Some versions write control characters of a job's attributes as they are, which JSON does not allow.
fn parse(output: &[u8]) -> serde_json::Result<Value> {
    serde_json::from_slice(output).or_else(|error| {
        if !output.iter().any(|byte| *byte < b' ' && *byte != b'\n') {
            return Err(error);
        }
        let cleaned: Vec<u8> = output
            .iter()
            .map(|byte| if *byte < b' ' { b' ' } else { *byte })
            .collect();
        serde_json::from_slice(&cleaned)
    })
}

/// Names made of digits come as numbers.
fn job_name(job: &Value) -> String {
    match job.get("Job_Name") {
        Some(Value::String(name)) => name.clone(),
        Some(Value::Number(name)) => name.to_string(),
        _ => String::new(),
    }
}

/// `estimated.start_time`: seconds in some versions, the time as text in others; a waiting job's `Execution_Time` else.
fn expected_start(job: &Value, zone: &TimeZone) -> Option<i64> {
    job.pointer("/estimated/start_time")
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

/// The place of each waiting job in its queue, by when it came there.
fn positions<'a>(jobs: &'a Map<String, Value>, zone: &TimeZone) -> HashMap<&'a str, usize> {
    let mut waiting: Vec<_> = jobs
        .iter()
        .filter(|(_, job)| job.get("job_state").and_then(Value::as_str) == Some("Q"))
        .map(|(id, job)| {
            let since = job.get("qtime").and_then(|value| seconds(value, zone));
            let queue = job.get("queue").and_then(Value::as_str);
            (since.unwrap_or(i64::MAX), queue, id.as_str())
        })
        .collect();
    waiting.sort_by_key(|(since, _, _)| *since);
    let mut seen: HashMap<Option<&str>, usize> = HashMap::new();
    waiting
        .into_iter()
        .map(|(_, queue, id)| {
            let place = seen.entry(queue).or_default();
            *place += 1;
            (id, *place)
        })
        .collect()
}

fn wrong(detail: &str) -> JobsError {
    JobsError::new("The cluster's scheduler gave an answer that is not understood.")
        .with_detail(detail)
}
