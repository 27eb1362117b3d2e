//! In: what adapters want to remember. Out: [`Cache`], a small memory that all of them share.
//! Here: bounds and expiry. Not here: what is remembered, and why.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use ostia_core::Clock;
use parking_lot::Mutex;
use serde_json::Value;

/// A small memory that all adapters share: so many entries of so many bytes, each for so long.
pub struct Cache {
    entries: Mutex<Entries>,
    clock: Arc<dyn Clock>,
}

#[derive(Default)]
struct Entries {
    by_key: HashMap<Box<str>, Entry>,
    /// Bytes of all of them.
    weight: usize,
}

struct Entry {
    value: Value,
    until: Instant,
    weight: usize,
}

const MOST_ENTRIES: usize = 4096;
const MOST_BYTES: usize = 32 << 20;
/// Heavier entries are not kept.
const HEAVIEST: usize = 1 << 20;
const LONGEST: Duration = Duration::from_secs(24 * 60 * 60);

impl Cache {
    pub fn new(clock: Arc<dyn Clock>) -> Self {
        Self {
            entries: Mutex::default(),
            clock,
        }
    }

    /// The clock by which entries expire.
    pub fn clock(&self) -> &Arc<dyn Clock> {
        &self.clock
    }

    pub fn get(&self, key: &str) -> Option<Value> {
        let now = self.clock.now();
        let entries = self.entries.lock();
        let entry = entries.by_key.get(key).filter(|entry| entry.until > now)?;
        Some(entry.value.clone())
    }

    /// Keeps a value of at most 1 MiB for at most a day; a larger one only takes the earlier one's place away. Full,
    /// it forgets what has expired, and if that is not enough, what would expire first.
    pub fn set(&self, key: &str, value: Value, keep: Duration) {
        let now = self.clock.now();
        let weight = key.len() + weight(&value);
        let mut entries = self.entries.lock();
        entries.remove(key);
        if weight > HEAVIEST {
            return;
        }
        if !entries.have_room(weight) {
            entries.forget_expired(now);
        }
        while !entries.have_room(weight) {
            entries.forget_first();
        }
        let until = now + keep.min(LONGEST);
        entries.weight += weight;
        entries.by_key.insert(
            key.into(),
            Entry {
                value,
                until,
                weight,
            },
        );
    }
}

impl Entries {
    fn have_room(&self, weight: usize) -> bool {
        self.by_key.len() < MOST_ENTRIES && self.weight + weight <= MOST_BYTES
    }

    fn remove(&mut self, key: &str) {
        if let Some(gone) = self.by_key.remove(key) {
            self.weight -= gone.weight;
        }
    }

    fn forget_expired(&mut self, now: Instant) {
        self.by_key.retain(|_, entry| entry.until > now);
        self.weight = self.by_key.values().map(|entry| entry.weight).sum();
    }

    fn forget_first(&mut self) {
        let first = self.by_key.iter().min_by_key(|(_, entry)| entry.until);
        if let Some(key) = first.map(|(key, _)| key.clone()) {
            self.remove(&key);
        }
    }
}

/// About how many bytes a value takes.
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

    #[test]
    fn entries_expire_and_never_grow_beyond_their_number() {
        let clock = Arc::new(ManualClock::at(0));
        let cache = Cache::new(Arc::clone(&clock) as _);
        cache.set("a", Value::from(1), Duration::from_secs(10));
        assert_eq!(cache.get("a"), Some(Value::from(1)));
        clock.advance(Duration::from_secs(10));
        assert_eq!(cache.get("a"), None);

        for number in 0..MOST_ENTRIES + 10 {
            let keep = Duration::from_secs(100 + number as u64);
            cache.set(&number.to_string(), Value::Null, keep);
        }
        assert_eq!(cache.entries.lock().by_key.len(), MOST_ENTRIES);
        assert_eq!(cache.get("0"), None);
        assert!(cache.get(&(MOST_ENTRIES + 9).to_string()).is_some());
    }

    #[test]
    fn entries_never_hold_more_than_their_bytes() {
        let clock = Arc::new(ManualClock::at(0));
        let cache = Cache::new(Arc::clone(&clock) as _);
        let minute = Duration::from_secs(60);
        cache.set("a", Value::from("small"), minute);
        cache.set("a", Value::from("x".repeat(HEAVIEST)), minute);
        assert_eq!(cache.get("a"), None, "neither too large nor out of date");
        let half = Value::from("x".repeat(HEAVIEST / 2));
        for number in 0..200 {
            cache.set(&number.to_string(), half.clone(), minute);
            clock.advance(Duration::from_millis(1));
        }
        let held: usize = cache
            .entries
            .lock()
            .by_key
            .values()
            .map(|it| it.weight)
            .sum();
        assert_eq!(held, cache.entries.lock().weight);
        assert!(
            (MOST_BYTES - HEAVIEST..=MOST_BYTES).contains(&held),
            "{held}"
        );
        assert_eq!(cache.get("0"), None);
        assert!(cache.get("199").is_some());
        // For ever is a day.
        cache.set("b", Value::from(1), Duration::MAX);
        clock.advance(LONGEST - Duration::from_secs(1));
        assert_eq!(cache.get("b"), Some(Value::from(1)));
    }
}
