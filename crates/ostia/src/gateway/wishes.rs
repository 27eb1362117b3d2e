//! What operators ask of whoever runs the process: its end, or another process in its place.

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
    /// Whether somebody fulfils wishes for upgrades.
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

/// A wish for another process. Whoever wished waits for what came of it.
pub struct UpgradeWish(oneshot::Sender<Outcome>);

impl UpgradeWish {
    pub fn fulfil(self, outcome: Outcome) {
        // Whoever wished may have gone.
        let _ = self.0.send(outcome);
    }
}

impl Gateway {
    /// Asks whoever runs the process to end it in an orderly way.
    pub fn ask_to_stop(&self) {
        self.wishes.stop.send_replace(true);
    }

    /// Resolves once somebody asked for the end.
    pub async fn stop_asked(&self) {
        // The sender lives as long as this does.
        let _ = self.wishes.stop.subscribe().wait_for(|asked| *asked).await;
    }

    /// Asks whoever runs the process for another one in its place. The process that has taken over.
    pub async fn upgrade(&self) -> Outcome {
        if !self.wishes.upgradable.load(Ordering::Relaxed) {
            return Err(UpgradeError::NotPossible);
        }
        let (wish, outcome) = oneshot::channel();
        let sent = self.wishes.upgrades.send(wish);
        sent.map_err(|_| UpgradeError::NotPossible)?;
        outcome.await.unwrap_or(Err(UpgradeError::NotPossible))
    }

    /// The next wish for an upgrade. Calling this promises that such wishes are fulfilled. Cancel-safe.
    pub async fn upgrade_asked(&self) -> UpgradeWish {
        self.wishes.upgradable.store(true, Ordering::Relaxed);
        match self.wishes.waiting.lock().await.recv().await {
            Some(wish) => UpgradeWish(wish),
            // The sender lives as long as this does.
            None => std::future::pending().await,
        }
    }
}
