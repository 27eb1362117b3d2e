//! In: ids of responses that backends made, and who asked for them. Out: [`Responses`]: whether a caller may continue
//! one.
//! Here: a bounded cache. Not here: requests, permissions.

use std::sync::Arc;
use std::time::{Duration, Instant};

use ostia_core::Clock;
use quick_cache::sync::Cache;
use ring::digest;

/// How many responses are remembered. Beyond that, the least used are forgotten.
const MOST: usize = 65_536;
/// A response that nobody continues for this long is forgotten.
const KEPT: Duration = Duration::from_secs(24 * 60 * 60);
/// Longer ids are not remembered, because no backend makes any.
const LONGEST_ID: usize = 512;

/// Records who made which response through which endpoint. Without it, anyone could continue another user's
/// conversation behind the one key that a backend knows.
///
/// It is kept in this process only: after a restart, or on another replica, a response cannot be continued. The ids of
/// unstreamed responses above 256 KiB are not seen.
pub struct Responses {
    made: Cache<[u8; 32], Made>,
    clock: Arc<dyn Clock>,
}

#[derive(Clone)]
struct Made {
    endpoint: Arc<str>,
    until: Instant,
}

impl Responses {
    pub fn new(clock: Arc<dyn Clock>) -> Self {
        Self {
            made: Cache::new(MOST),
            clock,
        }
    }

    /// Records that a user got a response with this id through an endpoint.
    pub fn note(&self, id: &str, user: &str, endpoint: &Arc<str>) {
        if id.is_empty() || id.len() > LONGEST_ID {
            return;
        }
        let made = Made {
            endpoint: Arc::clone(endpoint),
            until: self.clock.now() + KEPT,
        };
        self.made.insert(key(id, user), made);
    }

    /// The endpoint through which this user got the response.
    pub fn endpoint_of(&self, id: &str, user: &str) -> Option<Arc<str>> {
        let key = key(id, user);
        let made = self.made.get(&key)?;
        if made.until <= self.clock.now() {
            self.made.remove(&key);
            return None;
        }
        Some(made.endpoint)
    }
}

/// The key includes the user, so two users' responses with the same id, from two backends, do not collide. A user id
/// contains no NUL, whatever the response id contains, so the separator is unambiguous.
fn key(id: &str, user: &str) -> [u8; 32] {
    let mut context = digest::Context::new(&digest::SHA256);
    context.update(user.as_bytes());
    context.update(&[0]);
    context.update(id.as_bytes());
    let mut key = [0; 32];
    key.copy_from_slice(context.finish().as_ref());
    key
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Duration;

    use ostia_core::ManualClock;

    use super::{KEPT, Responses};

    #[test]
    fn a_response_belongs_to_its_maker_for_a_day() {
        let clock = Arc::new(ManualClock::at(0));
        let responses = Responses::new(Arc::clone(&clock) as _);
        let (here, there): (Arc<str>, Arc<str>) = ("here".into(), "there".into());
        responses.note("resp_1", "ann", &here);
        responses.note("resp_1", "bob", &there);
        assert_eq!(responses.endpoint_of("resp_1", "ann"), Some(here));
        assert_eq!(responses.endpoint_of("resp_1", "bob"), Some(there));
        assert_eq!(responses.endpoint_of("resp_1", "eve"), None);
        assert_eq!(responses.endpoint_of("resp_2", "ann"), None);
        clock.advance(KEPT - Duration::from_secs(1));
        assert!(responses.endpoint_of("resp_1", "ann").is_some());
        clock.advance(Duration::from_secs(1));
        assert!(responses.endpoint_of("resp_1", "ann").is_none());
    }

    #[test]
    fn absurd_ids_are_not_kept() {
        let responses = Responses::new(Arc::new(ManualClock::at(0)));
        let long = "x".repeat(513);
        for id in ["", &long] {
            responses.note(id, "ann", &"here".into());
            assert!(responses.endpoint_of(id, "ann").is_none());
        }
    }
}
