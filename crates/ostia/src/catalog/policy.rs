use std::sync::Arc;

use crate::scan::{MediaHosts, Sightings, Watch};

/// What an endpoint does not accept in a request body.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BodyPolicy {
    /// Top-level fields that steer the engine.
    pub denied_fields: Vec<Box<str>>,
    /// Which hosts the backend may be told to fetch from; `None`: any.
    pub media_hosts: Option<Arc<MediaHosts>>,
    /// Whether callers may refer to objects stored under the one key that all of them share.
    pub shared_references: bool,
}

/// Why an endpoint does not accept a body.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NotTaken {
    #[error("The field '{0}' is not accepted for this model: remove it.")]
    Field(Arc<str>),
    #[error(
        "'{0}' names a URL that this model's servers may not fetch from: send the data itself as a data URL, or a public http(s) URL on an allowed host."
    )]
    Media(&'static str),
    #[error(
        "References to stored objects ('{0}') are not served, because all users share one account: send the content itself."
    )]
    Reference(&'static str),
}

/// Fields that change the order of service, the server that answers, the code that runs, or the cache that is read.
pub const DENIED_FIELDS: [&str; 14] = [
    "priority",
    "kv_transfer_params",
    "ec_transfer_params",
    "disaggregated_params",
    "migration_request",
    "bootstrap_host",
    "bootstrap_port",
    "bootstrap_room",
    "custom_logit_processor",
    "logits_processors",
    "rid",
    "data_parallel_rank",
    "routed_dp_rank",
    "disagg_prefill_dp_rank",
];

impl Default for BodyPolicy {
    fn default() -> Self {
        Self {
            denied_fields: DENIED_FIELDS.map(Into::into).to_vec(),
            media_hosts: Some(Arc::new(MediaHosts::Public)),
            shared_references: false,
        }
    }
}

impl BodyPolicy {
    /// The first thing in a body that is not accepted.
    pub fn refusal(&self, seen: &Sightings) -> Option<NotTaken> {
        let denies = |field: &str| {
            let mut denied = self.denied_fields.iter();
            denied.any(|denied| denied.eq_ignore_ascii_case(field))
        };
        if let Some(field) = seen.denied.iter().find(|field| denies(field)) {
            return Some(NotTaken::Field(Arc::clone(field)));
        }
        let is_own = |hosts: &Arc<MediaHosts>| self.media_hosts.as_ref() == Some(hosts);
        if let Some((_, field)) = seen.media.iter().find(|(hosts, _)| is_own(hosts)) {
            return Some(NotTaken::Media(field));
        }
        let reference = seen.reference.filter(|_| !self.shared_references);
        reference.map(NotTaken::Reference)
    }

    /// Makes scans look for what it does not accept.
    pub(super) fn tell(&self, watch: &mut Watch) {
        for field in &self.denied_fields {
            watch.deny(field);
        }
        if let Some(hosts) = &self.media_hosts {
            watch.hosts(hosts);
        }
    }
}

impl NotTaken {
    /// The public `param`.
    pub fn param(&self) -> String {
        match self {
            Self::Field(field) => field.to_string(),
            Self::Media(field) | Self::Reference(field) => (*field).to_owned(),
        }
    }
}
