//! In: background work. Out: its handle.
//! Here: the one caller of `tokio::spawn`. Not here: anything between a client's socket and a backend's.

use tokio::task::JoinHandle;

/// Starts work beside the requests. Nothing between a client's socket and a backend's goes through here:
/// such work must die with its request.
#[expect(clippy::disallowed_methods, reason = "this is the wrapper")]
pub fn spawn<F>(work: F) -> JoinHandle<F::Output>
where
    F: Future + Send + 'static,
    F::Output: Send + 'static,
{
    tokio::spawn(work)
}

/// Runs work that blocks its thread on threads of its own. Once begun it goes on to its end, even if nobody waits.
pub fn spawn_blocking<T>(work: impl FnOnce() -> T + Send + 'static) -> JoinHandle<T>
where
    T: Send + 'static,
{
    tokio::task::spawn_blocking(work)
}
