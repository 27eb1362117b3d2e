use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::task::{Context, Wake, Waker};

use futures_util::task::AtomicWaker;

const OPEN: u8 = 0;
const SHUT: u8 = 1;
const KNOCKED: u8 = 2;

/// Keeps a connection that is polled inside its request's task from waking that task again and again.
///
/// Both ends of hyper's channels are in one task here, so every hand-over from one to the other would schedule the task
/// once more for nothing. While the gate is shut, because the task is polling both ends anyway, wake-ups are only
/// noted.
#[derive(Default)]
pub(super) struct Gate {
    state: AtomicU8,
    task: AtomicWaker,
}

impl Gate {
    pub(super) fn waker(self: &Arc<Self>) -> Waker {
        Waker::from(Arc::clone(self))
    }

    /// Begins a poll: wake-ups are noted from now on.
    pub(super) fn shut(&self, cx: &Context<'_>) {
        self.task.register(cx.waker());
        self.state.store(SHUT, Ordering::SeqCst);
    }

    /// Ends a poll: wake-ups reach the task again. `true` if one was noted.
    pub(super) fn open(&self) -> bool {
        self.state.swap(OPEN, Ordering::SeqCst) == KNOCKED
    }

    /// Releases the task: an idle connection must not keep the last request's task alive.
    pub(super) fn forget(&self) {
        drop(self.task.take());
    }
}

impl Wake for Gate {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        let noted = self
            .state
            .compare_exchange(SHUT, KNOCKED, Ordering::SeqCst, Ordering::SeqCst);
        if noted == Err(OPEN) {
            self.task.wake();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicUsize;

    use super::*;

    #[derive(Default)]
    struct Count(AtomicUsize);

    impl Wake for Count {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::SeqCst);
        }
    }

    #[test]
    fn a_shut_gate_notes_and_an_open_one_passes_on() {
        let count = Arc::new(Count::default());
        let task = Waker::from(Arc::clone(&count));
        let gate = Arc::new(Gate::default());
        let waker = gate.waker();

        gate.shut(&Context::from_waker(&task));
        waker.wake_by_ref();
        waker.wake_by_ref();
        assert_eq!(count.0.load(Ordering::SeqCst), 0);
        assert!(gate.open());

        waker.wake_by_ref();
        assert_eq!(count.0.load(Ordering::SeqCst), 1);

        gate.shut(&Context::from_waker(&task));
        assert!(!gate.open());
        gate.forget();
        waker.wake_by_ref();
        assert_eq!(count.0.load(Ordering::SeqCst), 1);
    }
}
