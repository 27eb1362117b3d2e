use std::sync::atomic::{AtomicU32, Ordering};

use parking_lot::Mutex;

/// Which endpoints have recently seen which prompt prefixes.
///
/// It holds keyed hashes and numbers of endpoints, nothing of a prompt, in a fixed amount of memory: when it is full,
/// the least recently used entry is evicted.
pub struct Prefixes {
    shards: [Mutex<Vec<Entry>>; SHARDS],
    /// Counts uses: the age of entries.
    clock: AtomicU32,
}

/// Endpoints that are remembered for each prefix, the latest first.
const KEPT: usize = 4;
const SHARDS: usize = 16;
/// Entries that compete for the same places.
const BUCKET: usize = 8;

#[derive(Debug, Clone, Copy, Default)]
struct Entry {
    /// 0: a free place.
    hash: u64,
    /// Numbers from 1; 0: none.
    endpoints: [u32; KEPT],
    used: u32,
}

impl Prefixes {
    /// `bytes`: what it may take; 0 remembers nothing.
    pub fn new(bytes: usize) -> Self {
        let prefixes = Self {
            shards: Default::default(),
            clock: AtomicU32::new(0),
        };
        prefixes.resize(bytes);
        prefixes
    }

    /// Forgets everything if the size changes.
    pub fn resize(&self, bytes: usize) {
        let each = bytes / SHARDS / size_of::<Entry>() / BUCKET * BUCKET;
        for shard in &self.shards {
            let mut entries = shard.lock();
            if entries.len() != each {
                *entries = vec![Entry::default(); each];
            }
        }
    }

    /// How many hashes it has room for.
    pub fn capacity(&self) -> usize {
        self.shards.iter().map(|shard| shard.lock().len()).sum()
    }

    /// How many of the hashes each endpoint has seen, counted from the first. `chain`: hashes of ever longer prefixes
    /// of one prompt.
    pub fn seen(&self, chain: &[u64], endpoints: &[u32]) -> Vec<usize> {
        let mut seen = vec![0; endpoints.len()];
        let Some(known) = chain.first().and_then(|first| self.find(*first)) else {
            return seen;
        };
        let mut unknown = endpoints.iter().filter(|one| known.contains(one)).count();
        for (at, hash) in chain.iter().enumerate().rev() {
            if unknown == 0 {
                break;
            }
            for endpoint in self.find(*hash).into_iter().flatten() {
                let place = endpoints.iter().position(|one| *one == endpoint);
                if let Some(count) = place.and_then(|place| seen.get_mut(place))
                    && *count == 0
                {
                    *count = at + 1;
                    unknown = unknown.saturating_sub(1);
                }
            }
        }
        seen
    }

    /// The endpoint that had it last.
    pub fn last(&self, hash: u64) -> Option<u32> {
        self.find(hash)?.first().copied().filter(|one| *one != 0)
    }

    /// Records that an endpoint gets a prompt with these prefixes.
    pub fn note(&self, chain: &[u64], endpoint: u32) {
        let now = self.clock.fetch_add(1, Ordering::Relaxed);
        // In reverse order, so that the shortest prefix of a prompt stays longest.
        for hash in chain.iter().rev() {
            self.put(*hash, endpoint, now);
        }
    }

    fn find(&self, hash: u64) -> Option<[u32; KEPT]> {
        let mut shard = self.shard(hash).lock();
        let bucket = bucket(&mut shard, hash)?;
        let entry = bucket.iter().find(|entry| entry.hash == hash)?;
        Some(entry.endpoints)
    }

    fn put(&self, hash: u64, endpoint: u32, now: u32) {
        let mut shard = self.shard(hash).lock();
        let Some(bucket) = bucket(&mut shard, hash) else {
            return;
        };
        let known = bucket.iter().position(|entry| entry.hash == hash);
        let place = known.or_else(|| {
            let age = |entry: &Entry| match entry.hash {
                0 => u32::MAX,
                _ => now.wrapping_sub(entry.used),
            };
            (0..bucket.len()).max_by_key(|place| age(&bucket[*place]))
        });
        let Some(entry) = place.and_then(|place| bucket.get_mut(place)) else {
            return;
        };
        if known.is_none() {
            *entry = Entry {
                hash,
                ..Entry::default()
            };
        }
        entry.used = now;
        let last = entry.endpoints.iter().position(|one| *one == endpoint);
        entry.endpoints[..=last.unwrap_or(KEPT - 1)].rotate_right(1);
        entry.endpoints[0] = endpoint;
    }

    fn shard(&self, hash: u64) -> &Mutex<Vec<Entry>> {
        // The upper bits; the lower ones choose the bucket.
        &self.shards[usize::try_from(hash >> 60).unwrap_or_default() % SHARDS]
    }
}

fn bucket(entries: &mut [Entry], hash: u64) -> Option<&mut [Entry]> {
    let count = u64::try_from(entries.len() / BUCKET).unwrap_or_default();
    let at = usize::try_from(hash.checked_rem(count)?).ok()? * BUCKET;
    entries.get_mut(at..at + BUCKET)
}

impl std::fmt::Debug for Prefixes {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Prefixes").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chain(seed: u64, length: u64) -> Vec<u64> {
        let one = |nth: u64| (seed * 1_000 + nth + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        (0..length).map(one).collect()
    }

    #[test]
    fn the_longest_beginning_that_each_has_seen_is_told() {
        let prefixes = Prefixes::new(1 << 20);
        let prompt = chain(1, 10);
        prefixes.note(&prompt[..4], 7);
        prefixes.note(&prompt[..8], 9);
        assert_eq!(prefixes.seen(&prompt, &[7, 8, 9]), [4, 0, 8]);
        assert_eq!(prefixes.seen(&prompt[..2], &[7, 8, 9]), [2, 0, 2]);
        assert_eq!(prefixes.seen(&chain(2, 10), &[7, 8, 9]), [0, 0, 0]);
        assert_eq!(prefixes.seen(&[], &[7]), [0]);
    }

    #[test]
    fn of_each_beginning_the_last_four_endpoints_are_known() {
        let prefixes = Prefixes::new(1 << 20);
        let prompt = chain(1, 2);
        for endpoint in [1, 2, 3, 4, 1, 5] {
            prefixes.note(&prompt, endpoint);
        }
        assert_eq!(prefixes.seen(&prompt, &[1, 2, 3, 4, 5]), [2, 0, 2, 2, 2]);
    }

    #[test]
    fn its_memory_is_bounded_and_the_oldest_goes_first() {
        let prefixes = Prefixes::new(64 * 1024);
        let capacity = prefixes.capacity();
        assert!(capacity * size_of::<Entry>() <= 64 * 1024 && capacity >= 1_900);
        for prompt in 0..1_000 {
            prefixes.note(&chain(prompt, 10), 1);
        }
        assert_eq!(prefixes.capacity(), capacity);
        let known = |prompt| prefixes.seen(&chain(prompt, 10), &[1])[0];
        assert!((990..1_000).all(|prompt| known(prompt) == 10));
        assert!((0..100).all(|prompt| known(prompt) == 0));
        prefixes.resize(0);
        prefixes.note(&chain(1, 10), 1);
        assert_eq!((prefixes.capacity(), known(1)), (0, 0));
    }
}
