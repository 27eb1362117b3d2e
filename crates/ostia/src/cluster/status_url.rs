use async_trait::async_trait;
use serde_json::{Map, Value};

use super::adapter::scrub;
use super::{ClusterAdapter, ClusterContext, Job, Jobs, JobsError};

/// A page with an entry per model: `{ID: {"status", "model" or "experts", "description", "model_version", ...}}`, a
/// list of such entries, or `{"models": [names]}`, which are all live. Of an entry only status, description and version
/// are shown to users: the page holds URLs, ids and keys of backends.
pub(super) struct StatusUrl;

/// A status is a word or two.
const STATUS_LENGTH: usize = 64;
/// Shorter values are too likely to stand in a description by chance.
const SECRET_LENGTH: usize = 6;

#[async_trait]
impl ClusterAdapter for StatusUrl {
    async fn jobs(&self, context: &ClusterContext) -> Result<Jobs, JobsError> {
        let reply = context.status_page().await?;
        if !reply.status.is_success() {
            let detail = format!("the status page answered {}", reply.status);
            return Err(JobsError::new("The cluster's status page failed.").with_detail(detail));
        }
        read(&reply.body)
    }
}

pub(super) fn read(page: &[u8]) -> Result<Jobs, JobsError> {
    let page: Value = serde_json::from_slice(page).map_err(|error| wrong(&error.to_string()))?;
    let mut jobs = Jobs::default();
    match &page {
        Value::Object(entries) => match entries.get("models") {
            Some(Value::Array(names)) => {
                for name in names {
                    let name = name
                        .as_str()
                        .ok_or_else(|| wrong("`models` holds something other than names"))?;
                    let job = Job::of([name]).with("Model Status", "running");
                    jobs.running.push(job);
                }
            }
            _ => read_entries(entries.values(), &mut jobs)?,
        },
        Value::Array(entries) => read_entries(entries.iter(), &mut jobs)?,
        _ => return Err(wrong("it is neither an object nor a list")),
    }
    Ok(jobs)
}

fn read_entries<'a>(
    entries: impl Iterator<Item = &'a Value>,
    jobs: &mut Jobs,
) -> Result<(), JobsError> {
    for entry in entries {
        let entry = entry
            .as_object()
            .ok_or_else(|| wrong("an entry is no object"))?;
        read_entry(entry, jobs);
    }
    Ok(())
}

fn read_entry(entry: &Map<String, Value>, jobs: &mut Jobs) {
    let models = models(entry);
    if models.is_empty() {
        return;
    }
    let status = entry
        .get("status")
        .and_then(Value::as_str)
        .unwrap_or("Unknown");
    let (list, shown) = if status.eq_ignore_ascii_case("live") {
        (&mut jobs.running, "running".to_owned())
    } else if status.eq_ignore_ascii_case("stopped") {
        (&mut jobs.stopped, "stopped".to_owned())
    } else {
        let short: String = status.to_lowercase().chars().take(STATUS_LENGTH).collect();
        (&mut jobs.queued, public(&short, entry).unwrap_or_default())
    };
    let mut job = Job::of(&models).with("Model Status", shown);
    let description = entry.get("description").and_then(Value::as_str);
    if let Some(description) = description.and_then(|text| public(text, entry)) {
        let text = format!("{} - {description}", models.join(","));
        job = job.with("Description", text);
    }
    match entry.get("model_version") {
        Some(Value::Number(version)) => job = job.with("Model Version", version.clone()),
        Some(Value::String(version)) => {
            if let Some(version) = public(version, entry) {
                job = job.with("Model Version", version);
            }
        }
        _ => {}
    }
    list.push(job);
}

/// `experts` if that is a list with names in it, else `model`.
fn models(entry: &Map<String, Value>) -> Vec<String> {
    let name = |value: &Value| {
        let name = value.as_str()?.trim();
        (!name.is_empty()).then(|| name.to_owned())
    };
    let experts: Vec<String> = match entry.get("experts") {
        Some(Value::Array(experts)) => experts.iter().filter_map(name).collect(),
        _ => Vec::new(),
    };
    if experts.is_empty() {
        entry.get("model").and_then(name).into_iter().collect()
    } else {
        experts
    }
}

/// The text without URLs; nothing, if one of the entry's other values stands in it.
fn public(text: &str, entry: &Map<String, Value>) -> Option<String> {
    const SHOWN: [&str; 5] = ["status", "model", "experts", "description", "model_version"];
    let leaks = entry
        .iter()
        .filter(|(key, _)| !SHOWN.contains(&key.as_str()))
        .filter_map(|(_, value)| value.as_str())
        .any(|value| value.len() >= SECRET_LENGTH && text.contains(value));
    (!leaks).then(|| scrub(text, None))
}

fn wrong(detail: &str) -> JobsError {
    JobsError::new("The cluster's status page is not in a shape that is understood.")
        .with_detail(detail)
}
