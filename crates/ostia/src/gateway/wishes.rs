//! What operators ask the process's owner for: shutting down, or a replacement process.

use std::sync::atomic::{AtomicBool, Ordering};

use tokio::sync::{Mutex, mpsc, oneshot, watch};

use super::Gateway;

/// Why no other process took over. Nothing has changed.
#[derive(Debug, Clone, thiserror::Error)]
pub enum UpgradeError {
    #[error("this process cannot be replaced while it runs")]
    NotPossible,
    #[error("{0}")]
    Failed(String),
}

type Outcome = Result<u32, UpgradeError>;

pub(crate) struct Wishes {
    stop: watch::Sender<bool>,
    upgrades: mpsc::UnboundedSender<oneshot::Sender<Outcome>>,
    waiting: Mutex<mpsc::UnboundedReceiver<oneshot::Sender<Outcome>>>,
    /// Whether somebody handles requests for upgrades.
    upgradable: AtomicBool,
}

impl Default for Wishes {
    fn default() -> Self {
        let (upgrades, waiting) = mpsc::unbounded_channel();
        Self {
            stop: watch::Sender::default(),
            upgrades,
            waiting: Mutex::new(waiting),
            upgradable: AtomicBool::new(false),
        }
    }
}

/// A request for a replacement process. Its sender waits for the outcome.
pub struct UpgradeWish(oneshot::Sender<Outcome>);

impl UpgradeWish {
    pub fn fulfil(self, outcome: Outcome) {
        // The sender may be gone.
        let _ = self.0.send(outcome);
    }
}

impl Gateway {
    /// Asks for an orderly shutdown.
    pub fn ask_to_stop(&self) {
        self.wishes.stop.send_replace(true);
    }

    /// Resolves once a shutdown was asked for.
    pub async fn stop_asked(&self) {
        // The sender lives as long as this does.
        let _ = self.wishes.stop.subscribe().wait_for(|asked| *asked).await;
    }

    /// Asks for a replacement process, and returns the one that took over.
    pub async fn upgrade(&self) -> Outcome {
        if !self.wishes.upgradable.load(Ordering::Relaxed) {
            return Err(UpgradeError::NotPossible);
        }
        let (wish, outcome) = oneshot::channel();
        let sent = self.wishes.upgrades.send(wish);
        sent.map_err(|_| UpgradeError::NotPossible)?;
        outcome.await.unwrap_or(Err(UpgradeError::NotPossible))
    }

    /// The next request for an upgrade. Calling this promises that such requests are handled. Cancel-safe.
    pub async fn upgrade_asked(&self) -> UpgradeWish {
        self.wishes.upgradable.store(true, Ordering::Relaxed);
        match self.wishes.waiting.lock().await.recv().await {
            Some(wish) => UpgradeWish(wish),
            // The sender lives as long as this does.
            None => std::future::pending().await,
        }
    }
}
