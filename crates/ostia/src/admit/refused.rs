use std::time::Duration;

use ostia_core::{Denial, Measure, Scope, Standing};

use crate::rank::NotServing;

/// Why no endpoint was leased. If the caller's own limit is the cause, this becomes 429, otherwise 503.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("admission refused: {shortage:?}")]
pub struct Refused {
    pub shortage: Shortage,
    /// The earliest time at which the same request can be admitted if nobody else asks.
    pub retry_after: Duration,
    pub standing: Standing,
}

/// What was short.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Shortage {
    /// Room under a limit. `too_large`: the request alone exceeds the whole limit.
    Limit {
        scope: Scope,
        measure: Measure,
        too_large: bool,
    },
    /// Places: every endpoint with room under its limits already had its maximum of requests in flight.
    EndpointsFull,
    /// Endpoints: the last one stopped serving while the request waited.
    NotServing(NotServing),
}

impl Refused {
    pub(super) fn full(retry_after: Duration) -> Self {
        Self {
            shortage: Shortage::EndpointsFull,
            retry_after,
            standing: Standing::default(),
        }
    }

    /// Whether time alone, or the end of another request, can help.
    pub(super) fn passes(&self) -> bool {
        match self.shortage {
            Shortage::EndpointsFull => true,
            Shortage::Limit {
                measure, too_large, ..
            } => !too_large && measure != Measure::Balance,
            Shortage::NotServing(_) => false,
        }
    }

    /// Whether the caller's own limits hold it back, not something that it shares with others in the queue.
    pub(super) fn is_own(&self) -> bool {
        matches!(self.shortage, Shortage::Limit { scope, .. } if scope != Scope::Endpoint)
    }

    /// Merges the refusals of several candidates into what the caller is told: a full endpoint rather than missing
    /// tokens, and the shortest wait.
    pub(super) fn milder(self, other: Self) -> Self {
        let order = |refused: &Self| match refused.shortage {
            Shortage::EndpointsFull => 0,
            Shortage::Limit {
                too_large: false, ..
            } => 1,
            Shortage::Limit { .. } | Shortage::NotServing(_) => 2,
        };
        let key = |refused: &Self| (order(refused), refused.retry_after);
        if key(&other) < key(&self) {
            other
        } else {
            self
        }
    }
}

impl From<Denial> for Refused {
    fn from(denial: Denial) -> Self {
        Self {
            shortage: Shortage::Limit {
                scope: denial.scope,
                measure: denial.measure,
                too_large: denial.too_large,
            },
            retry_after: denial.retry_after,
            standing: denial.standing,
        }
    }
}
