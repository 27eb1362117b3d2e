use std::sync::Arc;
use std::time::{Duration, Instant};

use ostia_core::Clock;

use crate::catalog::Deployment;
use crate::dialect::Api;
use crate::listen::Wire;
use crate::ownership::Responses;

/// What the relay has to know of the request and of the backend.
#[derive(Clone)]
pub struct Context {
    pub clock: Arc<dyn Clock>,
    pub wire: Arc<Wire>,
    pub api: Api,
    /// How many answers the client asked for.
    pub choices: u64,
    /// Whether the client was promised a stream.
    pub stream: bool,
    /// A usage chunk was asked for that the client did not want: hide it.
    pub hide_usage: bool,
    /// The backend's own `x-ratelimit-*` may be shown, because no limit of ours holds.
    pub show_backend_limits: bool,
    /// Where ids of responses are noted with who made them.
    pub responses: Arc<Responses>,
    pub deployment: Arc<Deployment>,
    /// Longest silence of the backend.
    pub idle_timeout: Option<Duration>,
    /// When the whole exchange must be over.
    pub deadline: Option<Instant>,
    /// How long the client may hear nothing.
    pub keepalive: Option<Duration>,
}

impl Context {
    /// The answer has begun. A client that takes it slowly keeps its body from being asked, so the deadline is handed to
    /// where it can fire.
    pub(super) fn bind_wire(&self) {
        let left = self
            .deadline
            .map(|deadline| deadline.saturating_duration_since(self.clock.now()));
        self.wire.end_within(left);
    }

    /// The row is written: a client may take what is left of the answer at its own pace.
    pub(super) fn free_wire(&self) {
        self.wire.end_within(None);
    }
}
