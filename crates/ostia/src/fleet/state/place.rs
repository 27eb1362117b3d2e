//! Places on an endpoint.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::EndpointState;

/// How many requests may wait for a first sign of life from an endpoint without `max_in_flight`: one that accepts
/// connections and never answers would otherwise collect all requests.
const MOST_UNHEARD: u32 = 512;

/// One request's place on an endpoint, returned on drop.
pub struct InFlightGuard {
    state: Arc<EndpointState>,
    /// Its prompt tokens that the endpoint still has to process.
    unread: u64,
}

impl EndpointState {
    /// Takes one of `most` places; 0 means no limit except that for silent endpoints. This is the only count of
    /// requests in flight on the endpoint.
    pub fn take_place(self: &Arc<Self>, most: u32) -> Option<InFlightGuard> {
        if most == 0 && self.unheard.load(Ordering::Relaxed) >= MOST_UNHEARD {
            return None;
        }
        let taken = self
            .in_flight
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |taken| {
                (most == 0 || taken < most).then_some(taken + 1)
            });
        taken.ok()?;
        self.unheard.fetch_add(1, Ordering::Relaxed);
        Some(InFlightGuard {
            state: Arc::clone(self),
            unread: 0,
        })
    }
}

impl InFlightGuard {
    /// The endpoint has to process this many tokens for it.
    pub fn weigh(&mut self, tokens: u64) {
        self.read();
        self.state.unread.fetch_add(tokens, Ordering::Relaxed);
        self.unread = tokens;
    }

    /// Its answer begins: the prompt is read.
    pub fn read(&mut self) {
        let unread = std::mem::take(&mut self.unread);
        self.state.unread.fetch_sub(unread, Ordering::Relaxed);
    }
}

impl Drop for InFlightGuard {
    fn drop(&mut self) {
        self.read();
        let state = &self.state;
        let left = state.in_flight.fetch_sub(1, Ordering::Relaxed) - 1;
        // A request that left is no longer waiting.
        if state.unheard.load(Ordering::Relaxed) > left {
            state.unheard.fetch_min(left, Ordering::Relaxed);
        }
    }
}
