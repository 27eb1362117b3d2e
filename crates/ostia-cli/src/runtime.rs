use std::time::Duration;

use tokio::runtime::Builder;

use crate::failure::Failure;

/// A name lookup that hangs in the system's resolver must not keep the process from ending.
const LAST: Duration = Duration::from_secs(1);

/// Runs a command, with one worker per core. The only place that chooses the runtime.
pub fn run<T>(command: impl Future<Output = Result<T, Failure>>) -> Result<T, Failure> {
    let runtime = Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(|error| Failure::other(format!("the runtime cannot be started: {error}")))?;
    let done = runtime.block_on(command);
    runtime.shutdown_timeout(LAST);
    done
}
