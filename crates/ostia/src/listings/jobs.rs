use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use ostia_core::Identity;
use serde_json::{Map, Value, json};

use crate::authorize::may_use;
use crate::catalog::{Cluster, Deployment, Serving};
use crate::cluster::{Job, Jobs, serves_name};
use crate::fleet::ModelState;

/// Who asks for a cluster's jobs, and which models they may use.
pub struct Audience<'a> {
    cluster: &'a Cluster,
    /// The deployments that the caller may use.
    visible: Vec<&'a Arc<Deployment>>,
}

/// The lists of the response, and the names in those that are counted.
#[derive(Default)]
struct Lists<'a> {
    entries: Map<String, Value>,
    all: BTreeSet<&'a str>,
    live: BTreeSet<&'a str>,
    stopped: BTreeSet<&'a str>,
}

impl<'a> Audience<'a> {
    pub fn new(
        cluster: &'a Cluster,
        deployments: &'a [Arc<Deployment>],
        identity: &Identity,
    ) -> Self {
        let visible = deployments
            .iter()
            .filter(|deployment| may_use(deployment, identity));
        Self {
            cluster,
            visible: visible.collect(),
        }
    }

    /// `GET /{cluster}/jobs`: the jobs, reduced to models that the caller may use. `stale`: the age of the listing, if
    /// it is older than it should be.
    pub fn jobs(&self, jobs: &'a Jobs, stale: Option<Duration>) -> Value {
        let mut lists = Lists::new();
        for (list, jobs, _) in jobs.lists() {
            // A running job may still be loading or draining. The leases know.
            let by_lease = |job: &&Job| list == "running" && self.is_by_lease(job);
            for job in jobs.iter().filter(|job| !by_lease(job)) {
                self.show(&mut lists, list, job);
            }
        }
        self.show_leased(&mut lists, jobs);
        if jobs.complete {
            self.show_jobless(&mut lists, jobs);
        }
        let mut answer = lists.into_answer(self.cluster);
        if let Some(stale) = stale {
            answer["cluster_status"]["stale_seconds"] = json!(stale.as_secs());
        }
        answer
    }

    /// A cluster under maintenance runs nothing.
    pub fn under_maintenance(&self, text: &str) -> Value {
        let mut lists = Lists::new();
        for deployment in &self.visible {
            self.show_stopped(&mut lists, deployment);
        }
        let mut answer = lists.into_answer(self.cluster);
        answer["cluster_status"]["maintenance"] = json!(text);
        answer
    }

    /// Adds the visible part of a job. Models whose endpoints are all disabled are not running, whatever the source
    /// says; neither are those whose endpoints cannot be reached or fail their own checks.
    fn show(&self, lists: &mut Lists<'a>, list: &'static str, job: &'a Job) {
        let (mut shown, mut disabled, mut hidden) = (Vec::new(), Vec::new(), Vec::new());
        let mut framework = None;
        let mut renames = Vec::new();
        for name in &job.models {
            let mut behind = self
                .visible
                .iter()
                .filter(|deployment| job.is_of(deployment) && serves_name(deployment, name))
                .peekable();
            let Some(first) = behind.peek() else {
                hidden.push(name.as_str());
                continue;
            };
            framework.get_or_insert(&*first.framework);
            let public = public_name(first, name);
            if public != name {
                renames.push((name.as_str(), public));
            }
            let runs = |one: &Deployment| list != "running" || !is_down(one);
            if behind.any(|one| one.serving == Serving::Yes && runs(one)) {
                shown.push(public);
            } else {
                disabled.push(public);
            }
        }
        let framework = job.framework.as_deref().or(framework).unwrap_or("");
        if !shown.is_empty() {
            let mut entry = self.entry(&shown, framework);
            let kept = job
                .shown
                .iter()
                .filter(|(_, value)| !mentions(value, &hidden));
            for (key, value) in kept {
                entry.entry(key).or_insert_with(|| renamed(value, &renames));
            }
            lists.push(list, entry, &shown);
        }
        if !disabled.is_empty() {
            let mut entry = self.entry(&disabled, framework);
            entry.insert("Model Status".to_owned(), json!("stopped"));
            lists.push("stopped", entry, &disabled);
        }
    }

    /// Whether leases know the states of all of a job's models.
    fn is_by_lease(&self, job: &Job) -> bool {
        let mut behind = self.visible.iter().filter(|one| job.is_of(one)).peekable();
        behind.peek().is_some() && behind.all(|one| one.register.is_some())
    }

    /// Adds what leases know and the scheduler did not report.
    fn show_leased(&self, lists: &mut Lists<'a>, jobs: &Jobs) {
        for deployment in &self.visible {
            let state = match deployment.leased_state() {
                Some(_) if deployment.serving != Serving::Yes => ModelState::Stopped,
                Some(state) => state,
                None => continue,
            };
            let has_job = || jobs.queued.iter().any(|job| job.is_of(deployment));
            let list = match state {
                ModelState::Running => "running",
                ModelState::Starting | ModelState::Queued if has_job() => continue,
                ModelState::Starting | ModelState::Queued => "queued",
                ModelState::Draining => "others",
                ModelState::Stopped | ModelState::Unknown => {
                    self.show_stopped(lists, deployment);
                    continue;
                }
            };
            let names = [&*deployment.model];
            let mut entry = self.entry(&names, &deployment.framework);
            entry.insert("Model Status".to_owned(), json!(state.as_str()));
            let is_known = lists.entries[list].as_array();
            if is_known.is_none_or(|known| !known.contains(&Value::Object(entry.clone()))) {
                lists.push(list, entry, &names);
            }
        }
    }

    /// If the source reports everything that runs, models that it does not mention are stopped.
    fn show_jobless(&self, lists: &mut Lists<'a>, jobs: &Jobs) {
        let own = |one: &&&Arc<Deployment>| one.register.is_none();
        for deployment in self.visible.iter().filter(own) {
            let has_job = jobs
                .lists()
                .iter()
                .flat_map(|(_, jobs, _)| *jobs)
                .any(|job| job.is_of(deployment));
            if !has_job {
                self.show_stopped(lists, deployment);
            }
        }
    }

    fn show_stopped(&self, lists: &mut Lists<'a>, deployment: &'a Deployment) {
        let names = [&*deployment.model];
        let mut entry = self.entry(&names, &deployment.framework);
        entry.insert("Model Status".to_owned(), json!("stopped"));
        let entry = Value::Object(entry);
        let known = lists.entries["stopped"].as_array();
        if known.is_none_or(|known| !known.contains(&entry))
            && let Value::Object(entry) = entry
        {
            lists.push("stopped", entry, &names);
        }
    }

    fn entry(&self, models: &[&str], framework: &str) -> Map<String, Value> {
        let mut entry = Map::new();
        entry.insert("Models".to_owned(), json!(models.join(",")));
        entry.insert("Framework".to_owned(), json!(framework));
        entry.insert("Cluster".to_owned(), json!(self.cluster.name));
        entry
    }
}

impl<'a> Lists<'a> {
    /// Every list is present, even if empty.
    fn new() -> Self {
        let names = Jobs::default().lists().map(|(name, ..)| name.to_owned());
        Self {
            entries: names.into_iter().map(|name| (name, json!([]))).collect(),
            ..Self::default()
        }
    }

    fn push(&mut self, list: &str, entry: Map<String, Value>, models: &[&'a str]) {
        if let Some(Value::Array(entries)) = self.entries.get_mut(list) {
            entries.push(Value::Object(entry));
        }
        self.all.extend(models);
        match list {
            "running" => self.live.extend(models),
            "stopped" => self.stopped.extend(models),
            _ => {}
        }
    }

    fn into_answer(self, cluster: &Cluster) -> Value {
        let stopped = self.stopped.difference(&self.live).count();
        let mut answer = Value::Object(self.entries);
        answer["cluster_status"] = json!({
            "cluster": cluster.name,
            "total_models": self.all.len(),
            "live_models": self.live.len(),
            "stopped_models": stopped,
        });
        answer
    }
}

/// Whether the endpoint cannot be reached, or fails its own check.
fn is_down(deployment: &Deployment) -> bool {
    let state = &deployment.state;
    state.is_unreachable() || (deployment.is_watched() && state.readiness() == ModelState::Stopped)
}

/// Users do not see the backend's own name for a model, unless it is also one of its public names.
fn public_name<'a>(deployment: &'a Deployment, name: &'a str) -> &'a str {
    if deployment.aliases.iter().any(|alias| **alias == *name) {
        name
    } else {
        &deployment.model
    }
}

fn renamed(value: &Value, renames: &[(&str, &str)]) -> Value {
    match value {
        Value::String(text) => {
            let text = renames
                .iter()
                .fold(text.clone(), |text, (private, public)| {
                    rename(&text, private, public)
                });
            Value::String(text)
        }
        other => other.clone(),
    }
}

fn mentions(value: &Value, hidden: &[&str]) -> bool {
    match value {
        Value::String(text) => hidden
            .iter()
            .any(|name| places(text, name).next().is_some()),
        Value::Array(values) => values.iter().any(|value| mentions(value, hidden)),
        Value::Object(values) => values.values().any(|value| mentions(value, hidden)),
        _ => false,
    }
}

fn rename(text: &str, private: &str, public: &str) -> String {
    let mut renamed = String::with_capacity(text.len());
    let mut rest = 0;
    for at in places(text, private) {
        renamed.push_str(text.get(rest..at).unwrap_or_default());
        renamed.push_str(public);
        rest = at + private.len();
    }
    renamed + text.get(rest..).unwrap_or_default()
}

/// The positions of a name in a text, as a word and not as part of another one.
fn places<'a>(text: &'a str, name: &'a str) -> impl Iterator<Item = usize> {
    let whole = move |at: usize| {
        let before = text.get(..at).and_then(|before| before.chars().next_back());
        let after = text
            .get(at + name.len()..)
            .and_then(|after| after.chars().next());
        ![before, after]
            .into_iter()
            .flatten()
            .any(char::is_alphanumeric)
    };
    text.match_indices(name)
        .map(|(at, _)| at)
        .filter(move |at| !name.is_empty() && whole(*at))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::{mentions, rename};

    #[test]
    fn names_are_words_of_a_text_and_not_parts_of_words() {
        for (text, renamed) in [
            ("m - a small model (m)", "org/m - a small model (org/m)"),
            ("mm", "mm"),
            ("m", "org/m"),
            ("\u{e4}m m\u{e4} m.", "\u{e4}m m\u{e4} org/m."),
            ("", ""),
        ] {
            assert_eq!(rename(text, "m", "org/m"), renamed, "{text}");
        }
        assert!(mentions(&json!([{"a": "up and hidden."}]), &["hidden"]));
        assert!(!mentions(&json!({"Model Status": "running"}), &["run", ""]));
    }
}
