use std::collections::BTreeMap;
use std::time::Duration;

use http::HeaderMap;
use parking_lot::Mutex;
use serde_json::Value;
use tokio::sync::watch;

use super::people::Logins;
use super::{Form, GlobusUser, Minter};
use crate::canary::Canary;
use crate::patience::within;

/// How the provider behaves.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Mood {
    #[default]
    Well,
    /// Closes every connection without a word.
    Down,
    /// Takes calls and never answers.
    Silent,
    /// Answers after so long.
    Slow(Duration),
    Status(u16),
    /// A page for people, status 200.
    Html,
    /// JSON that never ends.
    Endless,
    /// One JSON text of so many bytes.
    Huge(usize),
    /// Arrays in arrays.
    Deep(usize),
    /// Sends callers elsewhere.
    Redirect(String),
}

/// One call as it came.
#[derive(Debug, Clone)]
pub struct Call {
    pub method: String,
    pub path: String,
    pub query: Option<String>,
    pub authorization: Option<String>,
    pub headers: HeaderMap,
    pub form: Form,
}

pub(super) struct State {
    inner: Mutex<Inner>,
    pub(super) secret: Canary,
    pub(super) minter: Minter,
    mood: watch::Sender<Mood>,
    arrived: watch::Sender<usize>,
}

#[derive(Default)]
pub(super) struct Inner {
    pub(super) base_url: String,
    pub(super) globus: BTreeMap<String, GlobusUser>,
    pub(super) introspected: BTreeMap<String, Value>,
    /// Tokens for Globus Groups, and whose they are.
    pub(super) dependent: BTreeMap<String, GlobusUser>,
    pub(super) logins: Logins,
    pub(super) calls: Vec<Call>,
    at_once: usize,
    pub(super) most_at_once: usize,
}

impl State {
    pub(super) fn new(secret: Canary) -> Self {
        Self {
            inner: Mutex::default(),
            secret,
            minter: Minter::new(),
            mood: watch::Sender::new(Mood::Well),
            arrived: watch::Sender::new(0),
        }
    }

    pub(super) fn change<T>(&self, change: impl FnOnce(&mut Inner) -> T) -> T {
        change(&mut self.inner.lock())
    }

    pub(super) fn read<T>(&self, read: impl FnOnce(&Inner) -> T) -> T {
        read(&self.inner.lock())
    }

    pub(super) fn mood(&self) -> watch::Receiver<Mood> {
        self.mood.subscribe()
    }

    pub(super) fn set_mood(&self, mood: Mood) {
        self.mood.send_replace(mood);
    }

    pub(super) fn enter(&self, call: Call) {
        self.change(|inner| {
            inner.calls.push(call);
            inner.at_once += 1;
            inner.most_at_once = inner.most_at_once.max(inner.at_once);
        });
        self.arrived.send_modify(|count| *count += 1);
    }

    pub(super) fn leave(&self) {
        self.change(|inner| inner.at_once -= 1);
    }

    pub(super) async fn reached(&self, count: usize) {
        let mut arrived = self.arrived.subscribe();
        let waiting = arrived.wait_for(|now| *now >= count);
        within(
            || format!("{count} calls to the identity provider"),
            waiting,
        )
        .await
        .unwrap();
    }
}
