//! In: what adapters want to remember. Out: [`Cache`], a small cache that all of them share.
//! Here: bounds and expiry. Not here: what is remembered, and why.

use std::sync::Arc;
use std::time::{Duration, Instant};

use ostia_core::Clock;
use quick_cache::Weighter;
use quick_cache::sync::Cache as QuickCache;
use serde_json::Value;

/// A small cache that all adapters share, limited in entries, bytes and time.
pub struct Cache {
    entries: QuickCache<Box<str>, Arc<Entry>, Bytes>,
    clock: Arc<dyn Clock>,
}

struct Entry {
    value: Value,
    until: Instant,
    weight: usize,
}

#[derive(Clone)]
struct Bytes;

const MOST_BYTES: usize = 32 << 20;
const MOST_ENTRIES: usize = 4096;
/// Heavier entries are not stored.
const HEAVIEST: usize = 1 << 20;
/// The least that an entry counts as, which limits their number to [`MOST_ENTRIES`].
const LIGHTEST: usize = MOST_BYTES / MOST_ENTRIES;
const LONGEST: Duration = Duration::from_secs(24 * 60 * 60);

impl Cache {
    pub fn new(clock: Arc<dyn Clock>) -> Self {
        // An expected number this small yields a single shard. Split into many shards, none would have room for the
        // heaviest entry.
        let expected = MOST_BYTES / HEAVIEST;
        Self {
            entries: QuickCache::with_weighter(expected, MOST_BYTES as u64, Bytes),
            clock,
        }
    }

    /// The clock by which entries expire.
    pub fn clock(&self) -> &Arc<dyn Clock> {
        &self.clock
    }

    pub fn get(&self, key: &str) -> Option<Value> {
        let now = self.clock.now();
        let entry = self.entries.get(key).filter(|entry| entry.until > now)?;
        Some(entry.value.clone())
    }

    /// Stores a value of at most 1 MiB for at most a day. A larger value is not stored, but still removes the earlier
    /// one: it must not be returned any more. When the cache is full, it evicts what is rarely used.
    pub fn set(&self, key: &str, value: Value, keep: Duration) {
        let weight = key.len() + weight(&value);
        if weight > HEAVIEST {
            self.entries.remove(key);
            return;
        }
        let until = self.clock.now() + keep.min(LONGEST);
        let entry = Entry {
            value,
            until,
            weight: weight.max(LIGHTEST),
        };
        self.entries.insert(key.into(), Arc::new(entry));
    }
}

impl Weighter<Box<str>, Arc<Entry>> for Bytes {
    fn weight(&self, _: &Box<str>, entry: &Arc<Entry>) -> u64 {
        entry.weight as u64
    }
}

/// Roughly how many bytes a value takes.
pub(super) fn weight(value: &Value) -> usize {
    let within = match value {
        Value::Null | Value::Bool(_) | Value::Number(_) => 0,
        Value::String(text) => text.len(),
        Value::Array(values) => values.iter().map(weight).sum(),
        Value::Object(members) => members
            .iter()
            .map(|(key, value)| key.len() + weight(value))
            .sum(),
    };
    size_of::<Value>() + within
}

#[cfg(test)]
mod tests {
    use super::*;
    use ostia_core::ManualClock;

    fn rig() -> (Arc<ManualClock>, Cache) {
        let clock = Arc::new(ManualClock::at(0));
        let cache = Cache::new(Arc::clone(&clock) as _);
        (clock, cache)
    }

    #[test]
    fn entries_expire_and_never_grow_beyond_their_number() {
        let (clock, cache) = rig();
        cache.set("a", Value::from(1), Duration::from_secs(10));
        assert_eq!(cache.get("a"), Some(Value::from(1)));
        clock.advance(Duration::from_secs(10));
        assert_eq!(cache.get("a"), None);
        // Forever means a day.
        cache.set("a", Value::from(2), Duration::MAX);
        clock.advance(LONGEST - Duration::from_secs(1));
        assert_eq!(cache.get("a"), Some(Value::from(2)));
        clock.advance(Duration::from_secs(1));
        assert_eq!(cache.get("a"), None);

        for number in 0..2 * MOST_ENTRIES {
            let key = number.to_string();
            cache.set(&key, Value::Null, Duration::from_secs(100));
            assert!(cache.get(&key).is_some(), "{key}");
        }
        assert_eq!(cache.entries.len(), MOST_ENTRIES);
    }

    #[test]
    fn entries_never_hold_more_than_their_bytes() {
        let (_, cache) = rig();
        let minute = Duration::from_secs(60);
        cache.set("a", Value::from("small"), minute);
        cache.set("a", Value::from("x".repeat(HEAVIEST)), minute);
        assert_eq!(cache.get("a"), None, "neither too large nor out of date");
        let half = Value::from("x".repeat(HEAVIEST / 2));
        let whole = Value::from("x".repeat(HEAVIEST - 100));
        for number in 0..200 {
            let value = if number % 3 == 0 { &whole } else { &half };
            let key = number.to_string();
            cache.set(&key, value.clone(), minute);
            assert!(cache.get(&key).is_some(), "{key}");
        }
        let entries = cache.entries.iter();
        let held: usize = entries.map(|(_, entry)| entry.weight).sum();
        assert!(
            (MOST_BYTES - HEAVIEST..=MOST_BYTES).contains(&held),
            "{held}"
        );
        assert_eq!(cache.entries.num_shards(), 1);
    }
}
