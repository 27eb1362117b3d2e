use std::collections::BTreeMap;

use parking_lot::Mutex;

/// Codes of a site's own adapters, together.
const OTHER: &str = "other";

/// How many requests were answered with an error, by its code. The codes are those that the gateway knows, so the set is
/// bounded whatever adapters make up.
#[derive(Debug, Default)]
pub struct ErrorCounts(Mutex<BTreeMap<&'static str, u64>>);

impl ErrorCounts {
    /// `code`: `None` is one that the gateway does not know.
    pub fn count(&self, code: Option<&'static str>) {
        *self.0.lock().entry(code.unwrap_or(OTHER)).or_default() += 1;
    }

    pub fn all(&self) -> Vec<(&'static str, u64)> {
        self.0
            .lock()
            .iter()
            .map(|(code, count)| (*code, *count))
            .collect()
    }
}
