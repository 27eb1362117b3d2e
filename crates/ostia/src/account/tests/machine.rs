//! Requests open, end or vanish, the process dies, the store comes and goes. In the end every id that `started`
//! accepted has one final row, the right one.

use std::collections::HashMap;
use std::fs::OpenOptions;
use std::io::Write;
use std::path::PathBuf;
use std::sync::Arc;

use ostia_core::{LedgerRow, Outcome, Recorder, RequestId, Slot};
use proptest::prelude::*;
use tempfile::TempDir;
use tokio::runtime::Runtime;

use super::super::Ledger;
use super::super::segment::HEADER;
use super::crash::{copy, segments};
use super::{LIMIT, Rig, answered, finish, refusal, row, small, written};

#[derive(Debug, Clone)]
enum Step {
    Open,
    Finish(prop::sample::Index),
    Abandon(prop::sample::Index),
    Refuse,
    /// The store is down from here, or up again.
    Store(bool),
    /// Lets the writer catch up, if the store is up.
    Flush,
    /// The answer to the next commit is lost.
    LoseAnswer,
    /// SIGKILL and a restart; the bytes are the beginning of a record that was being written.
    Crash(Vec<u8>),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        8 => Just(Step::Open),
        6 => any::<prop::sample::Index>().prop_map(Step::Finish),
        1 => any::<prop::sample::Index>().prop_map(Step::Abandon),
        2 => Just(Step::Refuse),
        1 => any::<bool>().prop_map(Step::Store),
        2 => Just(Step::Flush),
        1 => Just(Step::LoseAnswer),
        2 => prop::collection::vec(any::<u8>(), 0..300).prop_map(Step::Crash),
    ]
}

struct Machine {
    runtime: Runtime,
    rig: Rig,
    folder: TempDir,
    ledger: Arc<Ledger>,
    up: bool,
    open: Vec<(Box<dyn Slot>, LedgerRow<'static>)>,
    expected: HashMap<RequestId, Outcome>,
    refusals: u64,
}

impl Machine {
    fn new() -> Self {
        let rig = Rig::new();
        let folder = TempDir::new().unwrap();
        Self {
            runtime: tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .unwrap(),
            ledger: rig.open_at(folder.path(), small()).unwrap(),
            rig,
            folder,
            up: true,
            open: Vec::new(),
            expected: HashMap::new(),
            refusals: 0,
        }
    }

    fn run(&mut self, step: Step) {
        match step {
            Step::Open => {
                let row = row("ann", 1);
                let slot = self.ledger.started(&row);
                if written(&*slot).is_ok() {
                    self.expected.insert(row.request_id, Outcome::Interrupted);
                    self.open.push((slot, row));
                }
            }
            Step::Finish(which) if !self.open.is_empty() => {
                let (slot, row) = self.open.swap_remove(which.index(self.open.len()));
                finish(&*slot, &answered(&row, 2));
                self.expected.insert(row.request_id, Outcome::Ok);
            }
            Step::Abandon(which) if !self.open.is_empty() => {
                self.open.swap_remove(which.index(self.open.len()));
            }
            Step::Refuse => {
                let user = self.refusals.to_string();
                self.ledger.rejected(&refusal(&user, "requests"));
                self.refusals += 1;
            }
            Step::Store(up) => {
                self.up = up;
                self.rig.store.set_down(!up);
            }
            Step::Flush if self.up => self.flush(),
            Step::LoseAnswer => {
                let lose = &self.rig.store.lose_answer;
                lose.store(true, std::sync::atomic::Ordering::SeqCst);
            }
            Step::Crash(torn) => self.crash(&torn),
            Step::Finish(_) | Step::Abandon(_) | Step::Flush => {}
        }
    }

    fn flush(&self) {
        assert!(self.runtime.block_on(self.ledger.flush(LIMIT)));
    }

    fn crash(&mut self, torn: &[u8]) {
        let queue = &self.ledger.journal().queue;
        self.runtime.block_on(queue.drained());
        let lost = self.ledger.stats().lost_rejected;
        let copied = copy(self.folder.path());
        // Not to one that was just being made: it has no header, and so no record.
        let begun = |path: &PathBuf| path.metadata().unwrap().len() >= HEADER as u64;
        if let Some(last) = segments(copied.path()).into_iter().rfind(begun) {
            let mut file = OpenOptions::new().append(true).open(last).unwrap();
            file.write_all(torn).unwrap();
        }
        // What the dead process would still have done must not reach the store.
        let down = self
            .rig
            .store
            .down
            .swap(true, std::sync::atomic::Ordering::SeqCst);
        let rig = &self.rig;
        self.ledger = rig.open_at(copied.path(), small()).unwrap();
        self.open.clear();
        self.rig.store.set_down(down);
        self.folder = copied;
        self.refusals -= lost;
    }

    fn check(mut self) {
        self.run(Step::Store(true));
        // Requests that are still open end with the process.
        self.crash(b"");
        self.flush();
        let outcomes = self.rig.store.outcomes();
        for (id, outcome) in &self.expected {
            assert_eq!(outcomes.get(id), Some(outcome), "{id}");
        }
        let rejected = outcomes
            .values()
            .filter(|&&outcome| outcome == Outcome::Rejected);
        assert_eq!(rejected.count() as u64, self.refusals);
        assert_eq!(
            outcomes.len() as u64,
            self.expected.len() as u64 + self.refusals
        );
        assert_eq!(self.ledger.stats().open_receipts, 0);
        assert_eq!(self.ledger.stats().pending_bytes, 0);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, cases: 96, ..ProptestConfig::default() })]

    #[test]
    fn every_started_id_has_exactly_one_final_row(steps in prop::collection::vec(step(), 1..120)) {
        let mut machine = Machine::new();
        for step in steps {
            machine.run(step);
        }
        machine.check();
    }
}
