use std::fmt;
use std::hash::{BuildHasher, RandomState};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};

use uuid::Uuid;

/// The gateway's own request id: a UUIDv7 (RFC 9562 section 5.7), and the ledger's key.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub struct RequestId(Uuid);

impl RequestId {
    /// A new id for a request that arrived at `unix_micros`. Unique, but guessable: no permission depends on it.
    pub fn at(unix_micros: i64) -> Self {
        let millis = u64::try_from(unix_micros / 1_000).unwrap_or(0);
        let random = random_bits();
        let mut tail = [0; 10];
        tail.copy_from_slice(&random.to_le_bytes()[..10]);
        Self(uuid::Builder::from_unix_timestamp_millis(millis, &tail).into_uuid())
    }

    pub const fn from_bytes(bytes: [u8; 16]) -> Self {
        Self(Uuid::from_bytes(bytes))
    }

    pub const fn as_bytes(&self) -> &[u8; 16] {
        self.0.as_bytes()
    }

    /// The usual 36 characters, written without an allocation.
    pub fn encode<'a>(&self, buffer: &'a mut [u8; 36]) -> &'a str {
        self.0.as_hyphenated().encode_lower(buffer)
    }
}

impl fmt::Display for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.as_hyphenated().fmt(f)
    }
}

impl fmt::Debug for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl std::str::FromStr for RequestId {
    type Err = uuid::Error;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Uuid::try_parse(text).map(Self)
    }
}

/// Keyed hashes of a counter: an id needs no system call, and two processes have different keys.
fn random_bits() -> u128 {
    static KEYS: OnceLock<(RandomState, RandomState)> = OnceLock::new();
    static COUNTER: AtomicU64 = AtomicU64::new(0);
    let (low, high) = KEYS.get_or_init(|| (RandomState::new(), RandomState::new()));
    let count = COUNTER.fetch_add(1, Ordering::Relaxed);
    (u128::from(high.hash_one(count)) << 64) | u128::from(low.hash_one(count))
}

#[cfg(test)]
mod tests {
    use super::RequestId;
    use std::collections::HashSet;

    #[test]
    fn ids_are_version_7_and_distinct() {
        let ids: HashSet<_> = (0..10_000)
            .map(|_| RequestId::at(1_700_000_000_000_000))
            .collect();
        assert_eq!(ids.len(), 10_000);
        let text = ids.iter().next().unwrap().to_string();
        assert_eq!(&text[14..15], "7");
        assert_eq!(text.parse::<RequestId>().unwrap().to_string(), text);
    }
}
