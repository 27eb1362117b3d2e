use std::sync::Arc;

use tokio::runtime::Handle;
use tokio::task::yield_now;

use super::Queue;
use crate::runtime::spawn;

/// Wakes the writer when it is dropped.
struct Kick(Arc<Queue>);

/// Has the writer woken once the worker has done what it has to do now, and found out what else there is: what other
/// requests hand in until then goes into the same batch. Waking a thread costs several times what a record does.
pub(super) fn kick_soon(queue: &Arc<Queue>) {
    let kick = Kick(Arc::clone(queue));
    if Handle::try_current().is_ok() {
        // A runtime that is shut down drops it unrun, and that will do.
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
