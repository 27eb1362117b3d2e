use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use ostia_core::Clock;
use parking_lot::Mutex;
use serde_json::Value;

/// A small memory that all adapters share: so many entries, each for so long.
pub struct Cache {
    entries: Mutex<HashMap<Box<str>, Entry>>,
    clock: Arc<dyn Clock>,
}

struct Entry {
    value: Value,
    until: Instant,
}

const MOST_ENTRIES: usize = 4096;

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
        let entry = entries.get(key).filter(|entry| entry.until > now)?;
        Some(entry.value.clone())
    }

    /// Full, it forgets what has expired, and if that is nothing, what would expire first.
    pub fn set(&self, key: &str, value: Value, keep: Duration) {
        let now = self.clock.now();
        let Some(until) = now.checked_add(keep) else {
            return;
        };
        let mut entries = self.entries.lock();
        if entries.len() >= MOST_ENTRIES && !entries.contains_key(key) {
            entries.retain(|_, entry| entry.until > now);
            if entries.len() >= MOST_ENTRIES {
                let first = entries.iter().min_by_key(|(_, entry)| entry.until);
                if let Some(key) = first.map(|(key, _)| key.clone()) {
                    entries.remove(&key);
                }
            }
        }
        entries.insert(key.into(), Entry { value, until });
    }
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
        assert_eq!(cache.entries.lock().len(), MOST_ENTRIES);
        assert_eq!(cache.get("0"), None);
        assert!(cache.get(&(MOST_ENTRIES + 9).to_string()).is_some());
    }
}
