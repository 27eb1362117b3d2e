use std::sync::Arc;
use std::time::{Duration, Instant};

use ostia_core::Clock;

use crate::catalog::Deployment;
use crate::dialect::Api;
use crate::identify::Present;
use crate::listen::Wire;
use crate::ownership::Responses;

/// What the relay needs to know about the request and the backend.
#[derive(Clone)]
pub struct Context {
    pub clock: Arc<dyn Clock>,
    pub wire: Arc<Wire>,
    /// Says when the account is disabled: the response then ends at once.
    pub present: Arc<Present>,
    pub api: Api,
    /// How many choices the client asked for.
    pub choices: u64,
    /// Whether the client was promised a stream.
    pub stream: bool,
    /// The gateway's estimate of the prompt's tokens, if the request only asked to count them.
    pub count_estimate: Option<u64>,
    /// The gateway asked for a usage chunk that the client does not want: hide it.
    pub hide_usage: bool,
    /// Whether the backend's own `x-ratelimit-*` may be shown, because no limit of ours applies.
    pub show_backend_limits: bool,
    /// Records who made which response.
    pub responses: Arc<Responses>,
    pub deployment: Arc<Deployment>,
    /// The longest silence of the backend.
    pub idle_timeout: Option<Duration>,
    /// When the whole exchange must have ended.
    pub deadline: Option<Instant>,
    /// The longest time without a byte to the client.
    pub keepalive: Option<Duration>,
}

impl Context {
    /// Whether an Anthropic client gets Anthropic's wording for a prompt that is too long.
    pub(super) fn rewrites_context_errors(&self) -> bool {
        self.deployment.agents.rewrite_context_error && self.api.as_str().starts_with("messages")
    }

    /// The response has begun. Nobody polls the body of a client that reads slowly, so the deadline goes to the socket,
    /// which can enforce it.
    pub(super) fn bind_wire(&self) {
        let left = self
            .deadline
            .map(|deadline| deadline.saturating_duration_since(self.clock.now()));
        self.wire.end_within(left);
    }

    /// The row is written: the client may read the rest of the response at its own pace.
    pub(super) fn free_wire(&self) {
        self.wire.end_within(None);
    }
}
