//! In: ids of responses that backends made, and who asked for them. Out: [`Responses`]: whether a caller may continue
//! one.
//! Here: a bounded cache before the store, which has those of other replicas and of earlier processes.
//! Not here: requests, permissions.

use std::sync::Arc;
use std::time::Duration;

use ostia_core::{Clock, MadeResponse, Store};
use parking_lot::Mutex;
use quick_cache::sync::Cache;
use ring::digest;

/// How many responses are cached. Beyond that, the least recently used ones are looked up in the store.
const MOST: usize = 65_536;
/// A response that nobody continues for this long is forgotten.
const KEPT: Duration = Duration::from_secs(24 * 60 * 60);
/// Longer ids are not remembered, because no backend makes any.
const LONGEST_ID: usize = 512;
/// How long a call waits for the store. If that fails, responses made by this process can still be continued.
const PATIENCE: Duration = Duration::from_secs(2);

/// Records who made which response through which endpoint. Without it, anyone could continue another user's
/// conversation behind the one key that a backend knows.
///
/// The ids of unstreamed responses above 256 KiB are not seen.
pub struct Responses {
    made: Cache<[u8; 32], Made>,
    /// Responses that are not in the store yet.
    untold: Mutex<Vec<MadeResponse>>,
    store: Arc<dyn Store>,
    clock: Arc<dyn Clock>,
}

#[derive(Clone)]
struct Made {
    endpoint: Arc<str>,
    /// Unix microseconds.
    until: i64,
}

impl Responses {
    pub fn new(store: Arc<dyn Store>, clock: Arc<dyn Clock>) -> Self {
        Self {
            made: Cache::new(MOST),
            untold: Mutex::default(),
            store,
            clock,
        }
    }

    /// Records that a user got a response with this id through an endpoint.
    pub fn note(&self, id: &str, user: &str, endpoint: &Arc<str>) {
        if id.is_empty() || id.len() > LONGEST_ID {
            return;
        }
        let kept = i64::try_from(KEPT.as_micros()).unwrap_or(i64::MAX);
        let made = MadeResponse {
            id: key(id, user),
            endpoint: Arc::clone(endpoint),
            until: self.clock.unix_micros().saturating_add(kept),
        };
        self.remember(&made);
        let mut untold = self.untold.lock();
        // While the store is away, this process can continue its own responses.
        if untold.len() < MOST {
            untold.push(made);
        }
    }

    /// Writes to the store what is not there yet. Called regularly in the background.
    pub async fn tell(&self) {
        let told = self.untold.lock().clone();
        if told.is_empty() {
            return;
        }
        let noted = self
            .store
            .note_responses(&told, self.clock.unix_micros())
            .await;
        match noted {
            Ok(()) => drop(self.untold.lock().drain(..told.len())),
            Err(error) => {
                tracing::warn!(%error, "the makers of responses could not be written down; it is tried again")
            }
        }
    }

    /// Asks the store for a response that this process did not make.
    pub async fn look_for(&self, id: &str, user: &str) {
        let key = key(id, user);
        if id.len() > LONGEST_ID || self.made.get(&key).is_some() {
            return;
        }
        match tokio::time::timeout(PATIENCE, self.store.response(&key)).await {
            Ok(Ok(Some(made))) => self.remember(&made),
            Ok(Ok(None)) => {}
            Ok(Err(error)) => {
                tracing::warn!(%error, "the maker of a response could not be looked up")
            }
            Err(_) => tracing::warn!("the maker of a response could not be looked up in time"),
        }
    }

    /// The endpoint through which this user got the response.
    pub fn endpoint_of(&self, id: &str, user: &str) -> Option<Arc<str>> {
        let key = key(id, user);
        let made = self.made.get(&key)?;
        if made.until <= self.clock.unix_micros() {
            self.made.remove(&key);
            return None;
        }
        Some(made.endpoint)
    }

    fn remember(&self, made: &MadeResponse) {
        let (endpoint, until) = (Arc::clone(&made.endpoint), made.until);
        self.made.insert(made.id, Made { endpoint, until });
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

    use ostia_core::{ManualClock, Store};

    use super::{KEPT, Responses};

    async fn store(folder: &tempfile::TempDir) -> Arc<dyn Store> {
        let file = folder.path().join("ostia.db");
        ostia_store::open(&format!("sqlite://{}", file.display()))
            .await
            .unwrap()
    }

    /// A response made by one replica can be continued on another, by the same user.
    #[tokio::test]
    async fn replicas_know_of_each_other_s_responses() {
        let folder = tempfile::tempdir().unwrap();
        let clock = Arc::new(ManualClock::at(0));
        let here = Responses::new(store(&folder).await, Arc::clone(&clock) as _);
        let there = Responses::new(store(&folder).await, Arc::clone(&clock) as _);
        let endpoint: Arc<str> = "sophia".into();
        here.note("resp_1", "ann", &endpoint);
        there.look_for("resp_1", "ann").await;
        assert_eq!(there.endpoint_of("resp_1", "ann"), None, "not told yet");
        here.tell().await;
        for user in ["ann", "eve"] {
            there.look_for("resp_1", user).await;
        }
        assert_eq!(there.endpoint_of("resp_1", "ann"), Some(endpoint));
        assert_eq!(there.endpoint_of("resp_1", "eve"), None);
        clock.advance(KEPT);
        let later = Responses::new(store(&folder).await, Arc::clone(&clock) as _);
        later.look_for("resp_1", "ann").await;
        assert_eq!(later.endpoint_of("resp_1", "ann"), None);
    }

    #[tokio::test]
    async fn a_response_belongs_to_its_maker_for_a_day() {
        let folder = tempfile::tempdir().unwrap();
        let clock = Arc::new(ManualClock::at(0));
        let responses = Responses::new(store(&folder).await, Arc::clone(&clock) as _);
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

    #[tokio::test]
    async fn absurd_ids_are_not_kept() {
        let folder = tempfile::tempdir().unwrap();
        let responses = Responses::new(store(&folder).await, Arc::new(ManualClock::at(0)));
        let long = "x".repeat(513);
        for id in ["", &long] {
            responses.note(id, "ann", &"here".into());
            assert!(responses.endpoint_of(id, "ann").is_none());
        }
    }
}
