//! (beside the path)
//! In: what schedulers and status pages say. Out: jobs of a cluster, model states for `fleet`.
//! Here: one file for each source, the cache in front of them, and a reader for their broken JSON.
//! Not here: principals, because all callers share what is cached.
//!
//! To add a source: 1. a file with an implementation of [`ClusterAdapter`]; 2. a variant of
//! `catalog::ClusterAdapterName` and its name in `config/fixture/adapter.rs`; 3. an arm in `clusters.rs`.

mod adapter;
mod clusters;
mod command;
mod engine;
mod engine_facts;
mod faults;
#[cfg(any(test, feature = "fuzz"))]
pub mod fuzz;
mod health;
mod jobs;
mod leased;
mod lenient;
mod mapping;
mod on_demand;
mod openai_models;
mod pbs;
mod readiness;
mod script;
mod slurm;
mod static_state;
mod status_url;
#[cfg(test)]
pub(crate) mod tests;
mod watch;

pub use adapter::{ClusterAdapter, ClusterContext, JobsError};
pub use clusters::{ClusterAdapters, Clusters, Workshop};
pub use engine_facts::ask_engines;
pub use faults::Faults;
pub use jobs::{Job, Jobs};
pub use mapping::serves_name;
pub use on_demand::start_on_demand;
pub(crate) use script::faults as script_faults;
pub use watch::{Reading, Watch};
