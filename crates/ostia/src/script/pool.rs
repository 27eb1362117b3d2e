use std::sync::Arc;
use std::time::Duration;

use ostia_core::Clock;
use tokio::sync::Semaphore;

use super::engine::with_deadline;
use crate::runtime::spawn_blocking;

/// Scripts that run at once. What waits for HTTP in a script holds its thread.
const AT_ONCE: usize = 32;

static PLACES: Semaphore = Semaphore::const_new(AT_ONCE);

/// Runs a script's function on a thread of its own, so that it cannot hold up anything else, and stops it after
/// `limit`. `None`: it panicked, or no thread was free in time.
pub async fn on_pool<T: Send + 'static>(
    clock: &Arc<dyn Clock>,
    limit: Duration,
    work: impl FnOnce() -> T + Send + 'static,
) -> Option<T> {
    let place = tokio::time::timeout(limit, PLACES.acquire());
    let place = place.await.ok()?.ok()?;
    let (clock, deadline) = (Arc::clone(clock), clock.now() + limit);
    let done = spawn_blocking(move || {
        let done = with_deadline(&clock, deadline, work);
        drop(place);
        done
    });
    done.await.ok()
}
