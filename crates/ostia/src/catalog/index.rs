use std::collections::HashMap;
use std::sync::Arc;

use super::{Cluster, Deployment};

/// Which deployments a path speaks of.
#[derive(Debug, Clone, Copy)]
pub enum Scope<'a> {
    /// `/v1/...`: every federated deployment.
    Everywhere,
    /// `/{cluster}/{framework}/v1/...`
    Framework {
        cluster: &'a str,
        framework: &'a str,
    },
}

/// Everything that is served, as of one reading of the files. Never changed, only replaced.
#[derive(Debug, Default)]
pub struct Catalog {
    /// Counts readings; a request keeps the one it began with.
    pub generation: u64,
    clusters: Vec<Arc<Cluster>>,
    by_cluster: HashMap<Box<str>, usize>,
    deployments: Vec<Arc<Deployment>>,
    everywhere: Names,
    frameworks: HashMap<Box<str>, HashMap<Box<str>, Names>>,
}

/// Names, canonical ones before aliases, to the deployments behind them in the files' order.
#[derive(Debug, Default)]
struct Names {
    canonical: HashMap<Box<str>, Vec<Arc<Deployment>>>,
    aliases: HashMap<Box<str>, Vec<Arc<Deployment>>>,
    /// Slug of a canonical name -> that name; only where one name has it.
    slugs: HashMap<String, Option<Box<str>>>,
}
