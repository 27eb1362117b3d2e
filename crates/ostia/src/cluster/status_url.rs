use async_trait::async_trait;
use serde_json::{Map, Value};

use super::adapter::scrub;
use super::lenient::{Container, Listing, NotAnEntry, Shape, read as read_listing};
use super::{ClusterAdapter, ClusterContext, Job, Jobs, JobsError};
use crate::fleet::ModelState;

/// A page with an entry for each model: `{ID: {"status", "model", "experts", "description", "model_version", ...}}`, a list
/// of such entries, or `{"models": [names]}`, which are all live. Users see only status, description and version of an
/// entry: the page holds URLs, ids and keys of backends.
pub(super) struct StatusUrl;

/// A status is a word or two.
const STATUS_LENGTH: usize = 64;
/// Shorter values are too likely to appear in a description by chance.
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

type Entry = (ModelState, Job);

pub(super) fn read(page: &[u8]) -> Result<Jobs, JobsError> {
    let listing = live_models(page)
        .or_else(|| entries(page))
        .ok_or_else(wrong)?;
    let mut jobs = Jobs {
        faults: listing.faults,
        ..Jobs::default()
    };
    for (state, job) in listing.entries {
        match state {
            ModelState::Running => jobs.running.push(job),
            ModelState::Stopped => jobs.stopped.push(job),
            _ => jobs.queued.push(job),
        }
    }
    Ok(jobs)
}

/// `{"models": [...]}`: names, or entries.
fn live_models(page: &[u8]) -> Option<Listing<Entry>> {
    const NAMES: Shape = Shape {
        root: Some("models"),
        aside: &[],
    };
    let listing = read_listing(page, &NAMES, |key, item| match (key, item) {
        (None, Value::String(name)) if !name.trim().is_empty() => {
            let job = Job::of([name.trim()]).with("Model Status", "running");
            Ok(Some((ModelState::Running, job)))
        }
        (None, Value::Object(entry)) => read_entry(entry),
        _ => Err(NotAnEntry),
    });
    listing.filter(|listing| {
        let empty = listing.entries.is_empty() && listing.faults.count() == 0;
        listing.root == Some(Container::List) && (empty || !listing.entries.is_empty())
    })
}

fn entries(page: &[u8]) -> Option<Listing<Entry>> {
    const ENTRIES: Shape = Shape {
        root: None,
        aside: &[],
    };
    read_listing(page, &ENTRIES, |_, entry| {
        read_entry(entry.as_object().ok_or(NotAnEntry)?)
    })
}

/// `Ok(None)`: the entry names no model.
fn read_entry(entry: &Map<String, Value>) -> Result<Option<Entry>, NotAnEntry> {
    if !["status", "model", "experts"]
        .iter()
        .any(|key| entry.contains_key(*key))
    {
        return Err(NotAnEntry);
    }
    let models = models(entry);
    if models.is_empty() {
        return Ok(None);
    }
    let status = match entry.get("status") {
        Some(Value::String(status)) => status.trim(),
        Some(Value::Bool(true)) => "live",
        Some(Value::Bool(false)) => "stopped",
        _ => "Unknown",
    };
    let (state, shown) = if status.eq_ignore_ascii_case("live") {
        (ModelState::Running, "running".to_owned())
    } else if status.eq_ignore_ascii_case("stopped") {
        (ModelState::Stopped, "stopped".to_owned())
    } else {
        let short: String = status.to_lowercase().chars().take(STATUS_LENGTH).collect();
        let shown = public(&short, entry).unwrap_or_default();
        (ModelState::Queued, shown)
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
    Ok(Some((state, job)))
}

/// `model` and all of `experts`, either a name or a list of names, each once.
fn models(entry: &Map<String, Value>) -> Vec<String> {
    let model = entry.get("model").map(names).unwrap_or_default();
    let experts = entry.get("experts").and_then(Value::as_array);
    let values = model.iter().chain(experts.into_iter().flatten());
    let mut models: Vec<String> = Vec::new();
    for name in values.filter_map(Value::as_str).map(str::trim) {
        if !name.is_empty() && !models.iter().any(|known| known == name) {
            models.push(name.to_owned());
        }
    }
    models
}

fn names(value: &Value) -> &[Value] {
    match value {
        Value::Array(names) => names,
        name => std::slice::from_ref(name),
    }
}

/// The text without URLs. `None` if it contains another value of the entry, which may be a secret.
fn public(text: &str, entry: &Map<String, Value>) -> Option<String> {
    const SHOWN: [&str; 5] = ["status", "model", "experts", "description", "model_version"];
    let leaks = entry
        .iter()
        .filter(|(key, _)| !SHOWN.contains(&key.as_str()))
        .filter_map(|(_, value)| value.as_str())
        .any(|value| value.len() >= SECRET_LENGTH && text.contains(value));
    (!leaks).then(|| scrub(text, None))
}

fn wrong() -> JobsError {
    JobsError::new("The cluster's status page is not in a shape that is understood.")
        .with_detail("it names no models")
}
