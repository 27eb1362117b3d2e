use std::collections::HashMap;
use std::sync::Arc;

use parking_lot::Mutex;

/// What a cluster says of a model.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ModelState {
    Running,
    Starting,
    Queued,
    Stopped,
    Unknown,
}

/// How one endpoint is doing.
#[derive(Debug)]
pub struct EndpointState {
    slug: Arc<str>,
}

/// All endpoint states by slug.
#[derive(Debug, Default)]
pub struct Fleet {
    states: Mutex<HashMap<Arc<str>, Arc<EndpointState>>>,
}

impl Fleet {
    /// The state of an endpoint, made on first use and the same ever after.
    pub fn endpoint(&self, slug: &Arc<str>) -> Arc<EndpointState> {
        let mut states = self.states.lock();
        let state = states
            .entry(Arc::clone(slug))
            .or_insert_with(|| Arc::new(EndpointState::new(Arc::clone(slug))));
        Arc::clone(state)
    }
}

impl EndpointState {
    fn new(slug: Arc<str>) -> Self {
        Self { slug }
    }

    pub fn slug(&self) -> &Arc<str> {
        &self.slug
    }
}
