//! `ostia maintenance`: works beside a running gateway, which sees the change within a second, and survives restarts.

use clap::Subcommand;
use ostia::config::Loaded;
use ostia::fleet::Fleet;
use ostia::live::{clear_notice, set_notice};

use super::load::{load, unsound};
use crate::arguments::Setup;
use crate::failure::Failure;
use crate::output::print;

#[derive(Debug, Subcommand)]
pub enum Maintenance {
    /// Answer all requests to a cluster with 503 and this text
    Set {
        /// Its name, as in `cluster_name`
        cluster: String,
        /// What users are told
        #[arg(value_parser = clap::builder::NonEmptyStringValueParser::new())]
        text: String,
    },
    /// Serve the cluster again; a notice in ostia.toml or from a status source still applies
    Clear {
        /// Its name, as in `cluster_name`
        cluster: String,
    },
}

impl Maintenance {
    pub fn run(&self, setup: &Setup) -> Result<(), Failure> {
        let loaded = load(setup, None, &Fleet::default());
        let Some(settings) = &loaded.settings else {
            return Err(unsound());
        };
        let folder = &settings.server.state_dir;
        let unwritten = |error| {
            let folder = folder.display();
            Failure::other(format!(
                "the notices in {folder} cannot be changed: {error}"
            ))
        };
        match self {
            Self::Set { cluster, text } => {
                check_cluster(&loaded, cluster)?;
                set_notice(folder, cluster, text).map_err(unwritten)?;
                print(&format!("{cluster} is under maintenance\n"))
            }
            Self::Clear { cluster } => {
                let text = match clear_notice(folder, cluster).map_err(unwritten)? {
                    true => format!("{cluster} is no longer under maintenance\n"),
                    false => format!("{cluster} had no notice\n"),
                };
                print(&text)
            }
        }
    }
}

fn check_cluster(loaded: &Loaded, cluster: &str) -> Result<(), Failure> {
    if loaded.catalog.cluster(cluster).is_some() {
        return Ok(());
    }
    let clusters = loaded.catalog.clusters().iter();
    let known: Vec<&str> = clusters.map(|cluster| &*cluster.name).collect();
    let known = known.join(", ");
    Err(Failure::usage(format!(
        "there is no cluster `{cluster}`; known: {known}"
    )))
}
