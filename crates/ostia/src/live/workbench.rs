use std::sync::Arc;

use ostia_core::{Clock, Store};

use super::LiveNotices;
use crate::backend;
use crate::cache::Cache;
use crate::cluster::ClusterAdapters;
use crate::identify::{ApiKeys, Directory};
use crate::register::Board;
use crate::upstream::Clients;

/// What the names in fixtures and `[adapters]` mean.
#[derive(Default, Clone)]
pub struct Registry {
    pub backends: backend::Registry,
    /// Adapters written in Rust.
    pub clusters: ClusterAdapters,
}

/// What every [`super::Live`] is built from, and what outlives it.
pub struct Workbench {
    pub registry: Registry,
    pub clients: Arc<Clients>,
    pub clock: Arc<dyn Clock>,
    pub cache: Arc<Cache>,
    pub live_notices: Arc<LiveNotices>,
    pub api_keys: Arc<ApiKeys>,
    pub directory: Arc<Directory>,
    pub board: Arc<Board>,
}

impl Workbench {
    pub fn new(registry: Registry, store: Arc<dyn Store>, clock: Arc<dyn Clock>) -> Self {
        let clients = Arc::new(Clients::new(Arc::clone(&clock)));
        let board = Board::new(Arc::clone(&store), Arc::clone(&clients), Arc::clone(&clock));
        Self {
            registry,
            board: Arc::new(board),
            clients,
            cache: Arc::new(Cache::new(Arc::clone(&clock))),
            live_notices: Arc::default(),
            directory: Arc::new(Directory::new(Arc::clone(&store), Arc::clone(&clock))),
            api_keys: Arc::new(ApiKeys::new(store, Arc::clone(&clock))),
            clock,
        }
    }
}
