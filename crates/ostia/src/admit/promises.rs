use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use ostia_core::{Level, Measure, Scope};
use parking_lot::Mutex;

use super::{Refused, Shortage};

/// Staggering never delays a caller beyond this.
const LONGEST: Duration = Duration::from_secs(60);
/// The gap between two callers who lack a place: the rate at which places come back is not known here.
const PLACE: Duration = Duration::from_millis(100);
/// How many are kept before expired ones are removed.
const MANY: usize = 1_024;

/// The times that refused callers were given: one after the other, at the rate at which the lacking resource comes
/// back. Otherwise all would come at once and be refused again.
#[derive(Default)]
pub(super) struct Promises(Mutex<HashMap<Lacking, Instant>>);

/// The lacking resource, and its owner: a user for their own limit, else the pool or endpoint.
type Lacking = (Option<(Scope, Measure)>, Arc<str>);

impl Promises {
    /// `tokens`: what the request would reserve.
    pub(super) fn stagger(
        &self,
        refused: Refused,
        user: &Arc<str>,
        tokens: u64,
        pool: &Arc<str>,
        now: Instant,
    ) -> Refused {
        let (what, who, gap) = match refused.shortage {
            Shortage::EndpointsFull => (None, pool, PLACE),
            Shortage::Limit { scope, measure } => {
                let who = match scope {
                    Scope::Endpoint => pool,
                    _ => user,
                };
                let level = refused.standing.level(scope, measure);
                let gap = level.map_or(PLACE, |level| pace(level, tokens));
                (Some((scope, measure)), who, gap)
            }
            Shortage::NotServing(_) | Shortage::Blocked(_) => return refused,
        };
        let turn = self.turn((what, Arc::clone(who)), refused.retry_after, gap, now);
        Refused {
            retry_after: turn,
            ..refused
        }
    }

    /// The first time from `wait` on that was given to nobody else.
    fn turn(&self, lacking: Lacking, wait: Duration, gap: Duration, now: Instant) -> Duration {
        let mut promises = self.0.lock();
        if promises.len() >= MANY {
            promises.retain(|_, at| *at > now);
        }
        let last = promises.get(&lacking).copied();
        let after_last = last.map(|at| (at + gap).saturating_duration_since(now));
        let next = after_last.unwrap_or_default().min(LONGEST);
        let turn = wait.max(next);
        promises.insert(lacking, now + turn);
        turn
    }
}

/// How long it takes until what one request needs comes back.
fn pace(level: &Level, tokens: u64) -> Duration {
    let limit = level.limit.max(1);
    let (of, whole) = match level.measure {
        Measure::Requests => (1, Duration::from_secs(1)),
        Measure::InFlight => return PLACE,
        Measure::Tokens | Measure::Balance => (tokens.min(limit), Duration::from_secs(60)),
    };
    let nanos = u128::from(of) * whole.as_nanos() / u128::from(limit);
    Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use ostia_core::{Clock as _, SystemClock};

    use super::*;

    #[test]
    fn those_who_lack_the_same_are_told_different_times_up_to_a_minute() {
        let promises = Promises::default();
        let now = SystemClock.now();
        let lacking = |who: &str| {
            (
                Some((Scope::User, Measure::Requests)),
                Arc::<str>::from(who),
            )
        };
        let (wait, gap) = (Duration::from_secs(1), Duration::from_millis(500));
        let told = |who: &str, now| promises.turn(lacking(who), wait, gap, now);
        let times: Vec<_> = (0..4).map(|_| told("ada", now).as_millis()).collect();
        assert_eq!(times, [1_000, 1_500, 2_000, 2_500]);
        assert_eq!(told("bob", now), wait, "one user's crowd is nobody else's");
        let later = now + Duration::from_secs(10);
        assert_eq!(told("ada", later), wait, "all of them have been");
        let last = (0..1_000).map(|_| told("ada", now)).next_back();
        assert!(last.is_some_and(|last| last <= LONGEST + gap + wait));
        let long = Duration::from_secs(300);
        assert_eq!(promises.turn(lacking("eve"), long, gap, now), long);
    }
}
