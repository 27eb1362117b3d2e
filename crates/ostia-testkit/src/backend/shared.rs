use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use ostia_core::{Clock, SystemClock};
use parking_lot::Mutex;
use tokio::sync::watch;

use super::record::{Counts, Ending, Record};
use super::{Received, Script};
use crate::patience::within;

/// What all connections of a backend share.
pub(super) struct Shared {
    state: Mutex<State>,
    changed: watch::Sender<()>,
    /// Counts calls of `close_idle`.
    pub idle_closings: watch::Sender<usize>,
}

#[derive(Default)]
pub(super) struct State {
    pub records: Vec<Record>,
    /// Input that is not an HTTP request.
    pub malformed: Vec<String>,
    pub counts: Counts,
    pub scripts: Scripts,
    /// How many requests a connection serves before it is closed silently; `None`: any number.
    pub requests_per_connection: Option<usize>,
}

/// Which script answers which request, the most specific first.
#[derive(Default)]
pub(super) struct Scripts {
    pub queue: VecDeque<Script>,
    pub by_path: HashMap<String, Script>,
    pub sequences: HashMap<String, VecDeque<Script>>,
    pub by_model: HashMap<String, Script>,
    pub default: Script,
}

/// One request's record, for the connection that serves it.
pub(super) struct Entry {
    shared: Arc<Shared>,
    number: usize,
}

impl Scripts {
    fn choose(&mut self, request: &Received) -> Script {
        let model = request.model().unwrap_or_default();
        let next = || self.sequences.get_mut(&model).and_then(VecDeque::pop_front);
        self.queue
            .pop_front()
            .or_else(|| self.by_path.get(request.path()).cloned())
            .or_else(next)
            .or_else(|| self.by_model.get(&model).cloned())
            .unwrap_or_else(|| self.default.clone())
    }
}

impl Shared {
    pub fn new() -> Self {
        Self {
            state: Mutex::new(State::default()),
            changed: watch::Sender::new(()),
            idle_closings: watch::Sender::new(0),
        }
    }

    pub fn read<T>(&self, look: impl FnOnce(&State) -> T) -> T {
        look(&self.state.lock())
    }

    pub fn change<T>(&self, act: impl FnOnce(&mut State) -> T) -> T {
        let value = act(&mut self.state.lock());
        self.changed.send_replace(());
        value
    }

    /// Waits until `look` finds something; `awaited` names it in the failure.
    pub async fn until<T>(&self, awaited: &str, look: impl Fn(&State) -> Option<T>) -> T {
        let describe = || format!("{awaited}\n{}", self.read(describe));
        let search = async {
            let mut changed = self.changed.subscribe();
            loop {
                if let Some(found) = self.read(&look) {
                    return found;
                }
                changed.changed().await.unwrap();
            }
        };
        within(describe, search).await
    }

    pub fn begin(self: &Arc<Self>, connection: usize, received: Received) -> Entry {
        let number = self.change(|state| {
            let number = state.records.len();
            let now = SystemClock.now();
            state
                .records
                .push(Record::new(number, connection, received, now));
            state.counts.active += 1;
            state.counts.most_active = state.counts.most_active.max(state.counts.active);
            number
        });
        Entry {
            shared: Arc::clone(self),
            number,
        }
    }

    /// The next script of the queue, if it does not wait for the body.
    pub fn early_script(&self) -> Option<Script> {
        self.change(|state| {
            let queue = &mut state.scripts.queue;
            queue.pop_front_if(|script| script.early)
        })
    }

    pub fn choose(&self, request: &Received) -> Script {
        self.change(|state| state.scripts.choose(request))
    }
}

impl Entry {
    pub fn update(&self, act: impl FnOnce(&mut Record)) {
        self.shared
            .change(|state| act(&mut state.records[self.number]));
    }

    pub fn received(&self) -> Received {
        self.shared
            .read(|state| state.records[self.number].received.clone())
    }

    /// Notes how it ended; only the first note counts.
    pub fn end(&self, ending: Ending) {
        self.shared.change(|state| {
            let record = &mut state.records[self.number];
            if record.ending.is_none() {
                record.ending = Some(ending);
                record.ended_at = Some(SystemClock.now());
                state.counts.active -= 1;
            }
        });
    }
}

impl Drop for Entry {
    /// The task was stopped with the backend.
    fn drop(&mut self) {
        self.end(Ending::Broken);
    }
}

fn describe(state: &State) -> String {
    let mut text = format!("{:?}\n", state.counts);
    for record in &state.records {
        text.push_str(&format!(
            "#{} on connection {}: {} body {} bytes{}, wrote {} events in {} bytes, {:?}\n",
            record.number,
            record.connection,
            record.received.head.first_line,
            record.received.body.len(),
            if record.received.complete {
                ""
            } else {
                " (incomplete)"
            },
            record.events_written,
            record.bytes_written,
            record.ending,
        ));
    }
    text
}
