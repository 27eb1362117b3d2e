//! Reading the files again: all of it or, if it cannot be served, none of it.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::Mutex;
use serde::{Deserialize, Serialize};

use super::Gateway;
use crate::catalog::{Catalog, Serving};
use crate::config::{Loaded, Problem, Reach, Severity};
use crate::live::{Difference, Files, Known, Live, Unusable};

/// How many faults an error text names; the rest is counted.
const NAMED: usize = 3;

/// What came of a reload that was not refused.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reloaded {
    /// What is served now; with `dry_run`, what would be.
    pub generation: u64,
    pub dry_run: bool,
    pub difference: Difference,
    /// What is wrong and refuses nothing: entries that stay disabled, keys that are not known.
    pub warnings: Vec<String>,
}

/// Why what was read is not served. What was served before still is.
#[derive(Debug, thiserror::Error)]
pub enum ReloadRefused {
    #[error("this gateway was not started from files")]
    NoFiles,
    /// `FILE:LINE:COLUMN: error: what`, at least one.
    #[error("{}", summary(.0))]
    Faults(Vec<String>),
    #[error(transparent)]
    Unusable(#[from] Unusable),
}

/// How reloads went.
#[derive(Debug, Default)]
pub struct Reloads {
    served: AtomicU64,
    refused: AtomicU64,
    /// Why the last one was refused; `None`: it was not.
    fault: Mutex<Option<String>>,
}

impl Reloads {
    pub fn counts(&self) -> [(&'static str, u64); 2] {
        [("served", &self.served), ("refused", &self.refused)]
            .map(|(word, count)| (word, count.load(Ordering::Relaxed)))
    }

    /// Why the files as they were last read are not served; `None`: they are.
    pub fn fault(&self) -> Option<String> {
        self.fault.lock().clone()
    }
}

impl Gateway {
    /// Reads the files again and, unless `dry_run`, serves what they say from now on. Running requests keep what they
    /// began with. Blocks the thread while the disk does.
    pub fn reload(&self, dry_run: bool) -> Result<Reloaded, ReloadRefused> {
        let files = self.files.as_ref().ok_or(ReloadRefused::NoFiles)?;
        let _one_at_a_time = self.replacing.lock();
        let outcome = self.reload_from(files, dry_run);
        // Endpoints that only the refused reading knew.
        self.fleet.shrink();
        if !dry_run {
            self.note(&outcome);
        }
        outcome
    }

    /// Reloads if the files changed since they were last read, and have been still for a while.
    pub fn reload_if_changed(&self) -> Option<Result<Reloaded, ReloadRefused>> {
        let is_due = self.files.as_ref()?.are_due(self.clock.now());
        is_due.then(|| self.reload(false))
    }

    /// How the files were read, where there are any.
    pub fn files(&self) -> Option<&Files> {
        self.files.as_ref()
    }

    pub fn reloads(&self) -> &Reloads {
        &self.reloads
    }

    fn reload_from(&self, files: &Files, dry_run: bool) -> Result<Reloaded, ReloadRefused> {
        let before = files.before();
        let loaded = files.read(&self.fleet);
        if !dry_run {
            files.was_read(before, &loaded.files);
        }
        let (live, known) = (self.live(), files.known());
        let faults = faults(&loaded, files.strict, &live.catalog, &known);
        if !faults.is_empty() {
            return Err(ReloadRefused::Faults(faults));
        }
        let new_known = Known::of(&loaded);
        let warnings = warnings(&loaded);
        let Some(mut settings) = loaded.settings else {
            return Err(ReloadRefused::Faults(Vec::new()));
        };
        let needs_restart = settings.keep_fixed(&live.settings);
        let new = Live::build(settings, loaded.catalog, &self.workbench, Some(&live))?;
        let generation = new.generation;
        let difference = Difference::between((&live, &known), (&new, &new_known), needs_restart);
        if !dry_run {
            self.swap(new);
            files.serve(new_known);
        }
        Ok(Reloaded {
            generation,
            dry_run,
            difference,
            warnings,
        })
    }

    fn note(&self, outcome: &Result<Reloaded, ReloadRefused>) {
        let reloads = &self.reloads;
        match outcome {
            Ok(Reloaded {
                generation,
                difference,
                warnings,
                ..
            }) => {
                reloads.served.fetch_add(1, Ordering::Relaxed);
                *reloads.fault.lock() = None;
                for warning in warnings {
                    tracing::warn!("{warning}");
                }
                let endpoints = &difference.endpoints;
                tracing::info!(
                    generation,
                    endpoints_added = endpoints.added.len(),
                    endpoints_removed = endpoints.removed.len(),
                    endpoints_changed = endpoints.changed.len(),
                    settings_changed = difference.settings.len(),
                    needs_restart = difference.needs_restart.join(", "),
                    "the files were read again and are served"
                );
            }
            Err(refused) => {
                reloads.refused.fetch_add(1, Ordering::Relaxed);
                let fault = refused.to_string();
                tracing::error!("reload refused, what was served before stays: {fault}");
                *reloads.fault.lock() = Some(fault);
            }
        }
    }
}

/// What refuses a reading: what would stop a start, and a new fault of an entry that serves now.
fn faults(loaded: &Loaded, strict: bool, served: &Catalog, known: &Known) -> Vec<String> {
    let shown = |problem: &Problem| problem.to_string();
    let (fatal, others): (Vec<&Problem>, Vec<&Problem>) = loaded
        .errors()
        .partition(|problem| strict || problem.scope == Reach::Fatal);
    if !fatal.is_empty() {
        // What is wrong with entries may be the cause: that nothing would be served, for example.
        let new = others
            .into_iter()
            .filter(|problem| !known.errors.contains(&problem.text));
        return fatal.into_iter().chain(new).map(shown).collect();
    }
    let serves = |catalog: &Catalog| -> BTreeSet<String> {
        let all = catalog.deployments().iter();
        let served = all.filter(|one| one.serving == Serving::Yes);
        served.map(|one| one.slug.to_string()).collect()
    };
    let now_serves = serves(&loaded.catalog);
    let lost: Vec<String> = serves(served).difference(&now_serves).cloned().collect();
    let broken = lost.iter().filter_map(|slug| {
        match &loaded.catalog.deployment(slug)?.serving {
            Serving::Disabled(why) => Some(why.to_string()),
            // Known and not served is a warning, at the start too.
            Serving::Yes | Serving::AdapterUnavailable(_) => None,
        }
    });
    let mut faults: Vec<String> = broken.collect();
    // An entry with so much wrong that it is not in the catalogue looks as if it had been removed.
    let vanished: Vec<&String> = lost
        .iter()
        .filter(|slug| loaded.catalog.deployment(slug).is_none())
        .collect();
    let may_be_one_of_them = |problem: &&Problem| {
        let text = &problem.text;
        let is_new = !known.errors.contains(text);
        let names_one = vanished
            .iter()
            .any(|slug| text.contains(&format!("`{slug}`")));
        let names_none = !text.starts_with("endpoint `") && !text.starts_with("cluster `");
        is_new && (names_one || names_none)
    };
    if !vanished.is_empty() {
        faults.extend(loaded.errors().filter(may_be_one_of_them).map(shown));
    }
    faults
}

fn warnings(loaded: &Loaded) -> Vec<String> {
    let told = loaded
        .problems
        .iter()
        .filter(|problem| problem.severity != Severity::Info);
    told.map(ToString::to_string).collect()
}

fn summary(faults: &[String]) -> String {
    let named = faults.iter().take(NAMED).map(String::as_str);
    let mut text = named.collect::<Vec<_>>().join("; ");
    if let more @ 1.. = faults.len().saturating_sub(NAMED) {
        text.push_str(&format!("; and {more} more"));
    }
    text
}
