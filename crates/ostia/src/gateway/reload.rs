//! Reads the files again. All of them take effect, or, if they cannot be served, none.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::Mutex;
use serde::{Deserialize, Serialize};

use super::Gateway;
use crate::catalog::{Catalog, Serving};
use crate::config::{Loaded, Problem, Reach, Severity};
use crate::live::{Difference, Files, Known, Live, Unusable};

/// How many faults an error text names; the others are only counted.
const NAMED: usize = 3;

/// The result of a reload that was not refused.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reloaded {
    /// The generation served now; with `dry_run`, the one that would be.
    pub generation: u64,
    pub dry_run: bool,
    pub difference: Difference,
    /// Mistakes that do not refuse the reload: entries that stay disabled, unknown keys.
    pub warnings: Vec<String>,
}

/// Why the new reading is not served. The old one still is.
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

/// The results of reloads.
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

    /// Why the files as last read are not served; `None`: they are.
    pub fn fault(&self) -> Option<String> {
        self.fault.lock().clone()
    }
}

impl Gateway {
    /// Reads the files again and, unless `dry_run`, serves them from now on. Running requests keep the configuration
    /// that they began with. Blocks the thread while the disk does.
    pub fn reload(&self, dry_run: bool) -> Result<Reloaded, ReloadRefused> {
        let files = self.files.as_ref().ok_or(ReloadRefused::NoFiles)?;
        let _one_at_a_time = self.replacing.lock();
        let outcome = self.reload_from(files, dry_run);
        // Forgets endpoints that only the refused reading knew.
        self.fleet.shrink();
        if !dry_run {
            self.note(&outcome);
        }
        outcome
    }

    /// Reloads if the files changed since they were last read, and then did not change for a while.
    pub fn reload_if_changed(&self) -> Option<Result<Reloaded, ReloadRefused>> {
        let is_due = self.files.as_ref()?.are_due(self.clock.now());
        is_due.then(|| self.reload(false))
    }

    /// How the files were read, if there are any.
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

/// What refuses a reading: mistakes that would stop a start, and new mistakes in entries that are served now.
fn faults(loaded: &Loaded, strict: bool, served: &Catalog, known: &Known) -> Vec<String> {
    let shown = |problem: &Problem| problem.to_string();
    let (fatal, others): (Vec<&Problem>, Vec<&Problem>) = loaded
        .errors()
        .partition(|problem| strict || problem.scope == Reach::Fatal);
    if !fatal.is_empty() {
        // Mistakes in entries may cause others: for example, that nothing would be served.
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
            // Known but not served is a warning, as at the start.
            Serving::Yes | Serving::AdapterUnavailable(_) => None,
        }
    });
    let mut faults: Vec<String> = broken.collect();
    // An entry with so many mistakes that it is missing from the catalog looks as if it had been removed.
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
