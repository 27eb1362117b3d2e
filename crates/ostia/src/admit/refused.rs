use std::time::Duration;

use ostia_core::{Blocked, Denial, Measure, Scope, Standing};

use crate::rank::NotServing;

/// Why no endpoint was leased. A limit of the caller is 429, everything else 503.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("admission refused: {shortage:?}")]
pub struct Refused {
    pub shortage: Shortage,
    /// The time until the same request can be admitted, if nobody else asks.
    pub retry_after: Duration,
    /// It may be admitted earlier, as others may give back more than they used.
    pub may_return: bool,
    /// How long the request waited in line; `None`: it was refused on arrival.
    pub waited: Option<Duration>,
    pub standing: Standing,
}

/// The resource that was short.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Shortage {
    /// Room under a limit.
    Limit { scope: Scope, measure: Measure },
    /// Places: every endpoint with room under the limits had reached its number of requests in flight.
    EndpointsFull,
    /// Endpoints: while the request waited, the last one stopped serving.
    NotServing(NotServing),
    /// The operators blocked this caller or this model.
    Blocked(Blocked),
}

impl Refused {
    pub(super) fn now(shortage: Shortage) -> Self {
        Self {
            shortage,
            retry_after: Duration::ZERO,
            may_return: false,
            waited: None,
            standing: Standing::default(),
        }
    }

    pub(super) fn full(retry_after: Duration) -> Self {
        Self {
            retry_after,
            may_return: true,
            ..Self::now(Shortage::EndpointsFull)
        }
    }

    /// No endpoint runs yet, and the request may wait for one.
    pub(super) fn not_yet(fault: NotServing, retry_after: Duration) -> Self {
        Self {
            retry_after,
            may_return: true,
            ..Self::now(Shortage::NotServing(fault))
        }
    }

    /// The same refusal when this much time has passed.
    pub(super) fn later(&self, time: Duration) -> Self {
        Self {
            retry_after: self.retry_after.saturating_sub(time),
            ..self.clone()
        }
    }

    pub(super) fn after(self, waited: Duration) -> Self {
        Self {
            waited: Some(waited),
            ..self
        }
    }

    /// Whether time alone, or the end of another request, can help.
    pub(super) fn passes(&self) -> bool {
        match self.shortage {
            Shortage::EndpointsFull => true,
            Shortage::Limit { measure, .. } => measure != Measure::Balance,
            // It may start.
            Shortage::NotServing(_) => self.may_return,
            Shortage::Blocked(_) => false,
        }
    }

    /// Whether it may be over in time.
    pub(super) fn passes_within(&self, time: Duration) -> bool {
        self.passes() && (self.may_return || self.retry_after <= time)
    }

    /// Whether the caller's own limits hold it back, rather than resources shared with others in the queue.
    pub(super) fn is_own(&self) -> bool {
        matches!(self.shortage, Shortage::Limit { scope, .. } if scope != Scope::Endpoint)
    }

    /// The refusal for a caller when every candidate refuses: a full endpoint takes precedence over missing tokens,
    /// with the earliest wait.
    pub(super) fn milder(self, other: Self) -> Self {
        let order = |refused: &Self| match refused.shortage {
            Shortage::EndpointsFull => 0,
            Shortage::Limit { .. } => 1,
            Shortage::NotServing(_) | Shortage::Blocked(_) => 2,
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
        if (denial.scope, denial.measure) == (Scope::Endpoint, Measure::InFlight) {
            return Self::full(denial.retry_after);
        }
        Self {
            shortage: Shortage::Limit {
                scope: denial.scope,
                measure: denial.measure,
            },
            retry_after: denial.retry_after,
            may_return: denial.may_return,
            waited: None,
            standing: denial.standing,
        }
    }
}
