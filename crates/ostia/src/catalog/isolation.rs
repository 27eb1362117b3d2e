use std::sync::Arc;

use http::HeaderName;
use ostia_core::Secret;

/// How an endpoint keeps its callers apart in the engine's cache, and together on its replicas.
#[derive(Debug, Clone, Default)]
pub struct Isolation {
    pub cache_salt: CacheSalt,
    /// The header that tells the backend, opaquely, whose conversation a request belongs to.
    pub affinity_header: Option<HeaderName>,
    /// The secret for both; present if either is configured.
    pub key: Option<Arc<Secret<String>>>,
    /// Callers may not send the fields that FIRST's adapters use among themselves.
    pub reserves_fields: bool,
}

/// Which callers share the engine's prompt cache.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum CacheSalt {
    /// All callers.
    #[default]
    Off,
    /// The callers of one project; a caller without a project shares with nobody.
    Project,
    /// Each caller alone.
    User,
}
