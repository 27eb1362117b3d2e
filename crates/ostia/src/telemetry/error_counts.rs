use std::collections::BTreeMap;

use parking_lot::Mutex;

/// Codes of a site's own adapters, together.
const OTHER: &str = "other";

/// The number of requests answered with an error, by code. Only codes that the gateway knows are kept apart, so the set
/// is bounded, whatever codes adapters invent.
#[derive(Debug, Default)]
pub struct ErrorCounts(Mutex<BTreeMap<&'static str, u64>>);

impl ErrorCounts {
    /// `code`: `None` stands for any code that the gateway does not know.
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
