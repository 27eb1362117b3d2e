use std::net::IpAddr;
use std::sync::Arc;

use ostia_core::Clock;

use super::SignInError;
use crate::telemetry::Pace;

/// Why sign-ins failed, by name. The order is that of `index`.
const REASONS: [&str; 13] = [
    "missing_credentials",
    "two_credentials",
    "malformed",
    "unsupported_scheme",
    "invalid_api_key",
    "token_expired",
    "reauthentication_required",
    "policy_denied",
    "account_disabled",
    "not_local",
    "too_many_failures",
    "identity_unavailable",
    "store_unavailable",
];

/// Records failed sign-ins: every one is counted, and a limited number per second becomes an event of target
/// `ostia::audit`. Of a credential it shows eight hexadecimal digits of its hash, of a caller the address.
pub(super) struct Audit {
    paces: [Pace; REASONS.len()],
    clock: Arc<dyn Clock>,
}

impl Audit {
    pub(super) fn new(clock: Arc<dyn Clock>) -> Self {
        Self {
            paces: Default::default(),
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
        let Some(untold) = self.paces[index].count(&*self.clock) else {
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
        REASONS.into_iter().zip(self.paces.iter().map(Pace::total))
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
        SignInError::Disabled => 8,
        SignInError::NotLocal(_) => 9,
        SignInError::TooManyFailures(_) => 10,
        SignInError::IdentityUnavailable => 11,
        SignInError::StoreUnavailable => 12,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ostia_core::ManualClock;

    #[test]
    fn failures_are_counted_by_reason() {
        let audit = Audit::new(Arc::new(ManualClock::at(0)));
        let origin = "192.0.2.1".parse().unwrap();
        for _ in 0..1_000 {
            audit.failed(&SignInError::InvalidKey, origin, None);
        }
        audit.failed(&SignInError::Missing, origin, None);
        let counted: Vec<_> = audit.counts().filter(|(_, count)| *count > 0).collect();
        let expected = [("missing_credentials", 1), ("invalid_api_key", 1_000)];
        assert_eq!(counted, expected);
    }
}
