//! The process's log on stderr: one line per event, JSON or text.
//!
//! Whatever is in an event's fields, it stays one line: control and bidirectional characters are escaped. Lines go
//! through a bounded queue, so that a slow terminal, a full disk or a closed pipe never delays a request: lines that do
//! not fit are dropped and counted.
//!
//! Why not tracing-subscriber's JSON and tracing-appender's queue: for the two events of a request they cost 82,000
//! instructions instead of 18,000, and at 4,000 requests a second 38 us of CPU a request instead of 7 (release build,
//! median of nine interleaved runs), since each line wakes the writer's thread. They also repeat a field named `level`,
//! leave out an error's causes, keep bidirectional marks, limit lines but not bytes, and break a line when stderr
//! accepts only a part of it.

mod escape;
mod filter;
mod json;
mod layer;
mod line;
mod panics;
mod queue;
mod text;

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use ostia_core::SystemClock;
use tracing::Level;
use tracing::subscriber::SetGlobalDefaultError;
use tracing_subscriber::layer::SubscriberExt as _;

pub use filter::FilterError;
use layer::LineLayer;
use queue::Queue;

/// Lines that did not fit into the queue, or could not be written, since the process began.
static LOST: AtomicU64 = AtomicU64::new(0);

/// How a line looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogFormat {
    /// `usage` events are shown at `debug` only.
    Text { colors: bool },
    /// `access` and `usage` events are shown at `info`.
    Json,
}

#[derive(Debug, thiserror::Error)]
pub enum LogError {
    #[error(transparent)]
    Filter(#[from] FilterError),
    #[error("the log's thread cannot be started: {0}")]
    Thread(io::Error),
    #[error("logs are set up already")]
    Twice(#[from] SetGlobalDefaultError),
}

/// Keeps the log's thread. Dropping it writes the queued lines, for two seconds at most.
#[must_use = "dropping it ends the log"]
pub struct LogGuard {
    queue: Arc<Queue>,
}

/// Sends the process's events, and its panics, to stderr.
///
/// `directives` is the text of `OSTIA_LOG`: `debug`, or `info,ostia::relay=trace`; without a level of its own it changes
/// single targets only and the rest stays at `level`. Other crates' events are shown up to `info` unless they are named,
/// because what they trace includes headers.
///
/// # Errors
///
/// The directives cannot be read, or this was called before.
pub fn init(
    format: LogFormat,
    directives: Option<&str>,
    level: Level,
) -> Result<LogGuard, LogError> {
    let filter = filter::parse(directives.unwrap_or_default(), level, format)?;
    let queue = Arc::new(Queue::default());
    let layer = LineLayer::new(format, Arc::clone(&queue), Box::new(SystemClock));
    tracing::subscriber::set_global_default(
        tracing_subscriber::registry().with(filter).with(layer),
    )?;
    let writer = Arc::clone(&queue);
    std::thread::Builder::new()
        .name("log".into())
        .spawn(move || writer.write_to(&mut io::stderr()))
        .map_err(LogError::Thread)?;
    panics::log_panics();
    Ok(LogGuard { queue })
}

/// Lines that were lost since the process began, for metrics.
pub fn lost_lines() -> u64 {
    LOST.load(Ordering::Relaxed)
}

impl Drop for LogGuard {
    fn drop(&mut self) {
        self.queue.close();
    }
}
