use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use ostia_core::Secret;

/// A limit of `[limits]` that keys, users, projects and groups may have of their own (`[limits.user."NAME"]`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OwnLimit {
    RequestsPerSecond,
    InFlight,
    InFlightPerModel,
    TokensPerMinute,
    RefusedBytes,
}

/// How a limit is written in `ostia.toml`.
#[derive(Debug, Clone, Copy)]
pub struct LimitKey {
    pub name: &'static str,
    /// For users of whom nothing else is said.
    pub usual: u64,
    pub most: u64,
    pub meaning: &'static str,
}

impl OwnLimit {
    pub const ALL: [Self; 5] = [
        Self::RequestsPerSecond,
        Self::InFlight,
        Self::InFlightPerModel,
        Self::TokensPerMinute,
        Self::RefusedBytes,
    ];

    pub const fn key(self) -> LimitKey {
        let (name, usual, most, meaning) = match self {
            Self::RequestsPerSecond => (
                "requests_per_second_per_user",
                10,
                MANY,
                "Inference requests per second of one user; 0 means off. Beyond it 429 `requests`.",
            ),
            Self::InFlight => (
                "max_in_flight_per_user",
                32,
                MANY,
                "Concurrent inference requests of one user; 0 means off. Beyond it 429 `concurrency`.",
            ),
            Self::InFlightPerModel => (
                "in_flight_per_model",
                0,
                MANY,
                "Concurrent requests of one user to one model; 0 means off. Beyond it 429 `concurrency`.",
            ),
            Self::TokensPerMinute => (
                "tpm_user",
                0,
                u64::MAX,
                "Tokens per minute of one user on one endpoint, for endpoints that do not set it; 0 means off.",
            ),
            Self::RefusedBytes => (
                "refused_bytes_per_second_per_user",
                67_108_864,
                u64::MAX,
                "Bytes per second of one user's request bodies that are read and then refused; 0 means off. Beyond it 429 `refused_bytes`, until the excess has drained at this rate.",
            ),
        };
        LimitKey {
            name,
            usual,
            most,
            meaning,
        }
    }
}

/// More would mean no limit.
const MANY: u64 = 4_294_967_295;

#[derive(Debug, Clone, PartialEq)]
pub struct Limits {
    /// By [`OwnLimit`]; 0 means unlimited.
    pub everybody: [u64; OwnLimit::ALL.len()],
    pub tpm_model: u64,
    /// Output tokens reserved for a request until enough is known about its model.
    pub default_output_tokens: u64,
    pub reserve_output: ReserveOutput,
    /// How long requests wait for a shortage to pass; zero refuses at once.
    pub queue_timeout: Duration,
    pub shared: Option<SharedLimits>,
    pub others: OtherLimits,
}

impl Limits {
    /// The limit of users of whom nothing else is said.
    pub const fn of(&self, limit: OwnLimit) -> u64 {
        self.everybody[limit as usize]
    }
}

/// Where limits over several replicas are kept.
#[derive(Debug, Clone, PartialEq)]
pub struct SharedLimits {
    /// `redis://` or `rediss://`, with user and password.
    pub url: Secret<String>,
    /// How long one admission waits for its answer.
    pub timeout: Duration,
    /// In place of the machine's own certificates.
    pub ca_cert_path: Option<PathBuf>,
}

/// How many tokens to reserve for an output.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ReserveOutput {
    /// As many as most outputs of this model needed, at most the request's own cap.
    Estimate,
    /// The request's own cap.
    MaxTokens,
}

/// Limits of single subjects, by name. If several set the same limit, the first of these applies: key, user, project,
/// group.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct OtherLimits {
    pub key: BTreeMap<String, OwnLimits>,
    pub user: BTreeMap<String, OwnLimits>,
    pub project: BTreeMap<String, OwnLimits>,
    pub group: BTreeMap<String, OwnLimits>,
}

/// What is set for one subject.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct OwnLimits {
    /// By [`OwnLimit`]; `None`: the more general limit applies.
    pub numbers: [Option<u64>; OwnLimit::ALL.len()],
    pub queue_timeout: Option<Duration>,
    /// The share of a queue, relative to others of the same kind.
    pub fair_share: Option<u32>,
    pub blocked: bool,
    /// Models that also run on site may be used externally.
    pub allow_external: bool,
}

impl OwnLimits {
    pub const fn of(&self, limit: OwnLimit) -> Option<u64> {
        self.numbers[limit as usize]
    }

    /// Nothing but this limit.
    pub fn only(limit: OwnLimit, most: u64) -> Self {
        let mut own = Self::default();
        own.numbers[limit as usize] = Some(most);
        own
    }
}
