//! How long a test waits before it fails: long enough for a loaded machine, never a measure of speed.

use std::time::Duration;

/// Nothing in a test waits longer for something that ought to happen.
pub const PATIENCE: Duration = Duration::from_secs(20);

/// Between two looks at something that gives no sign when it changes.
const PAUSE: Duration = Duration::from_millis(5);

/// Waits for `work`; after [`PATIENCE`] the test fails with what `awaited` says.
pub async fn within<T>(awaited: impl FnOnce() -> String, work: impl Future<Output = T>) -> T {
    match tokio::time::timeout(PATIENCE, work).await {
        Ok(value) => value,
        Err(_) => panic!("gave up after {PATIENCE:?}: {}", awaited()),
    }
}

/// Looks until something is found, where nothing says when to look: another process, a database, a list. Where there is
/// an event, wait for that.
pub async fn until<T>(
    awaited: impl FnOnce() -> String,
    mut look: impl AsyncFnMut() -> Option<T>,
) -> T {
    let looking = async {
        loop {
            if let Some(found) = look().await {
                return found;
            }
            tokio::time::sleep(PAUSE).await;
        }
    };
    within(awaited, looking).await
}
