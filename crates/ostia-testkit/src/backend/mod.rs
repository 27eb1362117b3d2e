//! In: connections of a gateway (or of any HTTP/1.1 client) on a loopback port.
//! Out: answers by script, faults included, and a record of everything that was seen.
//! Not here: what sound answers look like (`ostia-engine` renders them), knowledge of the gateway, TLS, HTTP/2.
//!
//! ```no_run
//! # async fn example() {
//! use ostia_testkit::backend::{Break, FakeBackend, Script};
//!
//! let backend = FakeBackend::start().await;
//! backend.on_model("breaks", Script::broken_stream(2, Break::Reset));
//! backend.next(Script::silent());
//! // ... calls to backend.base_url() ...
//! let seen = backend.requests(1).await;
//! assert_eq!(seen[0].received.model().as_deref(), Some("breaks"));
//! # }
//! ```

mod connection;
mod faults;
mod listener;
mod play;
mod received;
mod record;
mod render;
mod script;
mod shared;
#[cfg(test)]
mod tests;

use std::net::SocketAddr;
use std::sync::Arc;

pub use ostia_engine::{Tokens, UsageShape};
pub use received::Received;
pub use record::{Counts, Ending, Record};
pub use script::{Break, Cuts, LineEnding, Script, ScriptFraming, Step};

use listener::Listener;
use shared::Shared;

/// A scripted inference server. Its connections end when it is dropped.
pub struct FakeBackend {
    address: SocketAddr,
    shared: Arc<Shared>,
    listener: Listener,
}

impl FakeBackend {
    /// Listens on a free loopback port and answers everything with [`Script::completion`].
    pub async fn start() -> Self {
        let shared = Arc::new(Shared::new());
        let (address, listener) = Listener::start(Arc::clone(&shared)).await;
        Self {
            address,
            shared,
            listener,
        }
    }

    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// `http://127.0.0.1:PORT`
    pub fn base_url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Answers requests that name this model, unless a more specific script applies.
    pub fn on_model(&self, model: &str, script: Script) {
        self.shared
            .change(|state| state.scripts.by_model.insert(model.to_owned(), script));
    }

    /// Answers this model's next requests, one script each.
    pub fn sequence(&self, model: &str, scripts: impl IntoIterator<Item = Script>) {
        self.shared.change(|state| {
            let waiting = state.scripts.sequences.entry(model.to_owned()).or_default();
            waiting.extend(scripts);
        });
    }

    /// Answers requests for this path, whatever the query and the model.
    pub fn on_path(&self, path: &str, script: Script) {
        self.shared
            .change(|state| state.scripts.by_path.insert(path.to_owned(), script));
    }

    /// Answers the next request, whichever it is; several wait in a queue.
    pub fn next(&self, script: Script) {
        self.shared
            .change(|state| state.scripts.queue.push_back(script));
    }

    /// Answers everything else.
    pub fn otherwise(&self, script: Script) {
        self.shared.change(|state| state.scripts.default = script);
    }

    /// Closes each connection silently after this many answers, as a server with its own keep-alive limit does.
    pub fn close_after(&self, requests: usize) {
        self.shared
            .change(|state| state.requests_per_connection = Some(requests));
    }

    /// Closes the connections that wait for a request.
    pub fn close_idle(&self) {
        self.shared.idle_closings.send_modify(|count| *count += 1);
    }

    /// Refuses new connections from now on; those that are open go on.
    pub async fn refuse(&self) {
        self.listener.refuse().await;
    }

    /// Listens again on the same port.
    pub async fn accept(&self) {
        self.listener.accept().await;
    }

    /// All records so far, in the order in which heads arrived.
    pub fn records(&self) -> Vec<Record> {
        self.shared.read(|state| state.records.clone())
    }

    /// Descriptions of input that is not an HTTP request.
    pub fn malformed(&self) -> Vec<String> {
        self.shared.read(|state| state.malformed.clone())
    }

    pub fn counts(&self) -> Counts {
        self.shared.read(|state| state.counts)
    }

    /// Waits until at least `count` requests have come, bodies included.
    pub async fn requests(&self, count: usize) -> Vec<Record> {
        let whole = |record: &Record| record.received.complete;
        self.matching(&format!("{count} whole requests"), count, whole)
            .await
    }

    /// Waits until at least `count` requests have ended, in whatever way.
    pub async fn ended(&self, count: usize) -> Vec<Record> {
        let ended = |record: &Record| record.ending.is_some();
        self.matching(&format!("{count} requests to end"), count, ended)
            .await
    }

    /// Waits until the peer has gone away from at least `count` requests before their scripts' end.
    pub async fn aborts(&self, count: usize) -> Vec<Record> {
        let aborted = |record: &Record| record.ending == Some(Ending::Aborted);
        self.matching(&format!("{count} aborts"), count, aborted)
            .await
    }

    /// Waits until request `number` was answered with at least `events` events.
    pub async fn events(&self, number: usize, events: usize) -> Record {
        let awaited = format!("{events} events of request {number}");
        let enough = |record: &&Record| record.events_written >= events;
        self.shared
            .until(&awaited, |state| {
                state.records.get(number).filter(enough).cloned()
            })
            .await
    }

    /// Waits until no request is being answered.
    pub async fn idle(&self) {
        self.shared
            .until("no active request", |state| {
                (state.counts.active == 0).then_some(())
            })
            .await;
    }

    /// Waits until exactly `count` connections are open.
    pub async fn open_connections(&self, count: usize) {
        let awaited = format!("{count} open connections");
        self.shared
            .until(&awaited, |state| {
                (state.counts.open_connections == count).then_some(())
            })
            .await;
    }

    async fn matching(
        &self,
        awaited: &str,
        count: usize,
        wanted: impl Fn(&Record) -> bool,
    ) -> Vec<Record> {
        let look = |state: &shared::State| {
            let found = || state.records.iter().filter(|record| wanted(record));
            // It is asked at each change: only what suffices is copied.
            (found().count() >= count).then(|| found().cloned().collect())
        };
        self.shared.until(awaited, look).await
    }
}
