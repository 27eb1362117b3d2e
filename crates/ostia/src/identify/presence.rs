use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::task::{Context, Poll};

use foldhash::fast::RandomState;
use futures_util::task::AtomicWaker;
use parking_lot::Mutex;

/// The waiting and running requests of each person here, so that they can be ended with the account.
#[derive(Debug, Default)]
pub struct Presence {
    there: Mutex<HashMap<Arc<str>, Theirs, RandomState>>,
    next: AtomicU64,
}

type Theirs = HashMap<u64, Arc<Signal>, RandomState>;

/// One request of a person, for as long as it is kept.
#[derive(Debug)]
pub struct Present {
    presence: Arc<Presence>,
    person: Arc<str>,
    number: u64,
    signal: Arc<Signal>,
}

#[derive(Debug, Default)]
struct Signal {
    dismissed: Arc<AtomicBool>,
    waker: AtomicWaker,
}

impl Presence {
    pub fn enter(self: &Arc<Self>, person: &Arc<str>) -> Present {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        let signal = Arc::new(Signal::default());
        let mut there = self.there.lock();
        let theirs = there.entry(Arc::clone(person)).or_default();
        theirs.insert(number, Arc::clone(&signal));
        Present {
            presence: Arc::clone(self),
            person: Arc::clone(person),
            number,
            signal,
        }
    }

    /// Ends all requests of the person here. Returns their number.
    pub fn dismiss(&self, person: &str) -> usize {
        let there = self.there.lock();
        let Some(theirs) = there.get(person) else {
            return 0;
        };
        theirs.values().for_each(|signal| signal.dismiss());
        theirs.len()
    }

    pub fn count(&self, person: &str) -> usize {
        self.there
            .lock()
            .get(person)
            .map_or(0, |theirs| theirs.len())
    }
}

impl Present {
    /// Ready once the person was dismissed. Wakes the last poller.
    pub fn poll_dismissed(&self, task: &mut Context<'_>) -> Poll<()> {
        self.signal.waker.register(task.waker());
        match self.is_dismissed() {
            true => Poll::Ready(()),
            false => Poll::Pending,
        }
    }

    pub fn is_dismissed(&self) -> bool {
        self.signal.dismissed.load(Ordering::Acquire)
    }

    /// For callers that check after everything else has ended.
    pub fn flag(&self) -> Arc<AtomicBool> {
        Arc::clone(&self.signal.dismissed)
    }

    /// Ends this request alone.
    pub(super) fn dismiss(&self) {
        self.signal.dismiss();
    }

    pub async fn dismissed(&self) {
        std::future::poll_fn(|task| self.poll_dismissed(task)).await;
    }
}

impl Drop for Present {
    fn drop(&mut self) {
        let mut there = self.presence.there.lock();
        if let Some(theirs) = there.get_mut(&self.person) {
            theirs.remove(&self.number);
            if theirs.is_empty() {
                there.remove(&self.person);
            }
        }
    }
}

impl Signal {
    fn dismiss(&self) {
        self.dismissed.store(true, Ordering::Release);
        self.waker.wake();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn whoever_is_dismissed_is_woken_and_nobody_else() {
        let presence = Arc::new(Presence::default());
        let (ann, bob): (Arc<str>, Arc<str>) = ("ann".into(), "bob".into());
        let (one, two) = (presence.enter(&ann), presence.enter(&ann));
        let other = presence.enter(&bob);
        let both = async { tokio::join!(one.dismissed(), two.dismissed()) };
        let (_, told) = tokio::join!(both, async { presence.dismiss("ann") });
        assert_eq!(told, 2);
        assert!(!other.is_dismissed());
        drop((one, two));
        assert_eq!((presence.count("ann"), presence.count("bob")), (0, 1));
        assert_eq!(presence.dismiss("ann"), 0);
    }
}
