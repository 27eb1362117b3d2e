use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use ostia_core::Clock;
use parking_lot::Mutex;

use super::SignInError;

/// Events of one reason in a second; the rest is counted and told with the next one.
const EVENTS: u32 = 10;
const SECOND: Duration = Duration::from_secs(1);

/// Why sign-ins failed, by name. The order is that of `index`.
const REASONS: [&str; 12] = [
    "missing_credentials",
    "two_credentials",
    "malformed",
    "unsupported_scheme",
    "invalid_api_key",
    "token_expired",
    "reauthentication_required",
    "policy_denied",
    "not_local",
    "too_many_failures",
    "identity_unavailable",
    "store_unavailable",
];

/// Writes down failed sign-ins: every one is counted, and a bounded number a second becomes an event of target
/// `ostia::audit`. Of a credential it shows eight hexadecimal digits of its hash, of a caller the address.
pub(super) struct Audit {
    counts: [AtomicU64; REASONS.len()],
    pace: Mutex<[Pace; REASONS.len()]>,
    clock: Arc<dyn Clock>,
}

#[derive(Clone, Copy)]
struct Pace {
    since: Instant,
    told: u32,
    untold: u64,
}

impl Audit {
    pub(super) fn new(clock: Arc<dyn Clock>) -> Self {
        let pace = Pace {
            since: clock.now(),
            told: 0,
            untold: 0,
        };
        Self {
            counts: Default::default(),
            pace: Mutex::new([pace; REASONS.len()]),
            clock,
        }
    }

    pub(super) fn failed(
        &self,
        error: &SignInError,
        origin: IpAddr,
        credential: Option<&[u8; 32]>,
    ) {
        let index = index(error);
        self.counts[index].fetch_add(1, Ordering::Relaxed);
        let Some(untold) = self.turn(index) else {
            return;
        };
        let credential = credential.map(|hash| hex::encode(&hash[..4]));
        tracing::info!(
            target: "ostia::audit",
            kind = "sign_in_failed",
            reason = REASONS[index],
            origin_ip = %origin,
            credential = credential.as_deref().unwrap_or(""),
            untold,
            "sign-in failed"
        );
    }

    /// Failed sign-ins since the start, by reason.
    pub(super) fn counts(&self) -> impl Iterator<Item = (&'static str, u64)> + '_ {
        let counts = self
            .counts
            .iter()
            .map(|count| count.load(Ordering::Relaxed));
        REASONS.into_iter().zip(counts)
    }

    /// Whether an event may be written now, and how many were not since the last one.
    fn turn(&self, index: usize) -> Option<u64> {
        let now = self.clock.now();
        let pace = &mut self.pace.lock()[index];
        if now.duration_since(pace.since) >= SECOND {
            pace.since = now;
            pace.told = 0;
        }
        if pace.told >= EVENTS {
            pace.untold += 1;
            return None;
        }
        pace.told += 1;
        Some(std::mem::take(&mut pace.untold))
    }
}

const fn index(error: &SignInError) -> usize {
    match error {
        SignInError::Missing => 0,
        SignInError::TwoCredentials => 1,
        SignInError::Malformed => 2,
        SignInError::UnsupportedScheme => 3,
        SignInError::InvalidKey => 4,
        SignInError::Expired => 5,
        SignInError::Reauthenticate(_) => 6,
        SignInError::PolicyDenied(_) => 7,
        SignInError::NotLocal(_) => 8,
        SignInError::TooManyFailures(_) => 9,
        SignInError::IdentityUnavailable => 10,
        SignInError::StoreUnavailable => 11,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ostia_core::ManualClock;

    #[test]
    fn all_are_counted_and_few_are_told() {
        let clock = Arc::new(ManualClock::at(0));
        let audit = Audit::new(Arc::clone(&clock) as _);
        let told = (0..1_000).filter(|_| audit.turn(4).is_some()).count();
        assert_eq!(told, 10);
        clock.advance(SECOND);
        assert_eq!(audit.turn(4), Some(990));
        let origin = "192.0.2.1".parse().unwrap();
        for _ in 0..1_000 {
            audit.failed(&SignInError::InvalidKey, origin, None);
        }
        let counted: Vec<_> = audit.counts().filter(|(_, count)| *count > 0).collect();
        assert_eq!(counted, [("invalid_api_key", 1_000)]);
    }
}
