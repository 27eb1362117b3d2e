//! How long a test waits before it fails: long enough for a loaded machine, never a measure of speed.

use std::time::Duration;

/// Nothing in a test waits longer for something that ought to happen.
pub const PATIENCE: Duration = Duration::from_secs(20);

/// Waits for `work`; after [`PATIENCE`] the test fails with what `awaited` says.
pub async fn within<T>(awaited: impl FnOnce() -> String, work: impl Future<Output = T>) -> T {
    match tokio::time::timeout(PATIENCE, work).await {
        Ok(value) => value,
        Err(_) => panic!("gave up after {PATIENCE:?}: {}", awaited()),
    }
}
