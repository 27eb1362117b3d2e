use std::sync::Arc;

use tokio::runtime::Handle;
use tokio::task::yield_now;

use super::Queue;
use crate::runtime::spawn;

/// Wakes the writer when it is dropped.
struct Kick(Arc<Queue>);

/// Wakes the writer after this worker has run its other ready tasks and has looked for events: what requests hand in until
/// then joins the batch. Waking a thread costs several times what a record does.
pub(super) fn kick_soon(queue: &Arc<Queue>) {
    let kick = Kick(Arc::clone(queue));
    if Handle::try_current().is_ok() {
        // A runtime that shuts down drops the task, which wakes the writer too.
        spawn(async move {
            yield_now().await;
            drop(kick);
        });
    }
}

impl Drop for Kick {
    fn drop(&mut self) {
        self.0.wake_writer();
    }
}
