//! Admission with a remote limiter, and while waiting for a place: a client that hangs up leaks nothing.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::time::Duration;

use ostia::admit::{
    Admission, Admitter, Entry, LocalLimiter, Refused, RetryBudget, Shortage, own_limits,
};
use ostia::authorize::{NoticeLookup, authorize};
use ostia::boot::Builder;
use ostia::catalog::{Catalog, Scope};
use ostia::config::Sources;
use ostia::dialect::Api;
use ostia::fleet::Fleet;
use ostia::gateway::Gateway;
use ostia::identify::{Identify, Open, Principal, Sender};
use ostia::rank::{Trail, rank};
use ostia::read::Demand;
use ostia::resolve::resolve;
use ostia::routes::{Address, Cors};
use ostia::settings::Limits;
use ostia_core::{Class, Clock, Limiter, SystemClock};
use ostia_testkit::gate::Gate;
use ostia_testkit::gateway::{CLUSTER, Endpoint, FRAMEWORK, Site};
use ostia_testkit::limiter::FarLimiter;
use serde_json::json;

/// The wait for a remote limiter, as long as a test may take.
const PATIENT: Duration = Duration::from_secs(60);
const IMPATIENT: Duration = Duration::from_millis(50);

struct NoNotices;

impl NoticeLookup for NoNotices {
    fn notice(&self, _: &str) -> Option<Arc<str>> {
        None
    }

    fn model_notice(&self, _: &str) -> Option<Arc<str>> {
        None
    }
}

/// One endpoint with one place, and a client that wants it.
struct Rig {
    catalog: Catalog,
    limits: Limits,
    principal: Principal,
    counts: Arc<LocalLimiter>,
    clock: Arc<dyn Clock>,
}

async fn rig() -> Arc<Rig> {
    rig_with_queue(Duration::ZERO).await
}

async fn rig_with_queue(queue_timeout: Duration) -> Arc<Rig> {
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let endpoint = Endpoint::new("m", "http://127.0.0.1:1/v1").config("max_in_flight", json!(1));
    let limits = "[limits]\nrequests_per_second_per_user = 100\nmax_in_flight_per_user = 10";
    let site = Site::new().endpoint(endpoint).settings(limits);
    site.write();
    let sources = Sources {
        config: Some(site.config_path()),
        environment: site.variables().clone().into_iter().collect(),
        ..Sources::default()
    };
    let builder: Builder = Gateway::builder();
    let loaded = builder.load(&sources, &Fleet::default());
    let identify = Identify::new(
        Vec::new(),
        Some(Open::new(Cors::default(), false)),
        false,
        Arc::clone(&clock),
    );
    let here = IpAddr::V4(Ipv4Addr::LOCALHOST);
    let sender = Sender {
        peer_ip: here,
        origin_ip: here,
    };
    let head = http::Request::builder()
        .header("host", "localhost")
        .body(());
    let (head, ()) = head.unwrap().into_parts();
    Arc::new(Rig {
        catalog: loaded.catalog,
        limits: Limits {
            queue_timeout,
            ..loaded.settings.unwrap().limits
        },
        principal: identify.identify(&head, sender).await.unwrap(),
        counts: Arc::new(LocalLimiter::new(Arc::clone(&clock))),
        clock,
    })
}

impl Rig {
    fn admitter(&self, limiter: Arc<dyn Limiter>, patience: Duration) -> Admitter {
        let retries = RetryBudget::new(0, Arc::clone(&self.clock));
        Admitter::new(Some(limiter), patience, retries, Arc::clone(&self.clock))
    }

    async fn enter(&self, admitter: &Admitter) -> Result<Box<Admission>, Refused> {
        let address = Address {
            scope: Scope::Framework {
                cluster: CLUSTER,
                framework: FRAMEWORK,
            },
            api: Api::parse("chat/completions"),
            model: None,
        };
        let pool = resolve(&self.catalog, &address, "m");
        let permit = authorize(&self.principal, pool, &NoNotices).unwrap();
        let ranked = rank(
            permit,
            &Default::default(),
            Trail::default(),
            &Arc::default(),
            self.clock.unix_micros(),
        )
        .unwrap();
        let entry = Entry {
            principal: &self.principal,
            limits: &self.limits,
            own: &own_limits(&self.limits, self.principal.identity()),
            demand: &Demand::default(),
            class: Class::Interactive,
        };
        admitter.enter(ranked, entry).await
    }

    fn taken(&self) -> u32 {
        self.catalog.deployments()[0].state.in_flight()
    }

    async fn waiting(&self, admitter: &Admitter, count: usize) {
        while admitter.waiting() != count {
            tokio::task::yield_now().await;
        }
    }
}

#[tokio::test]
async fn a_limiter_that_never_answers_ends_no_request() {
    let rig = rig().await;
    let far = Arc::new(FarLimiter::new(Arc::clone(&rig.counts), None));
    let admitter = rig.admitter(far, IMPATIENT);
    let admission = rig.enter(&admitter).await.expect("limits of this process");
    assert_eq!((rig.taken(), rig.counts.tracked()), (1, 0));
    drop(admission);
    assert_eq!(rig.taken(), 0);
}

#[tokio::test]
async fn an_answer_that_comes_late_counts_once() {
    let rig = rig().await;
    let gate = Gate::closed();
    let far = Arc::new(FarLimiter::new(Arc::clone(&rig.counts), Some(gate.clone())));
    let admitter = rig.admitter(far, PATIENT);
    gate.release(1);
    let admission = rig.enter(&admitter).await.expect("room");
    assert!(rig.counts.tracked() > 0, "counted far away");
    drop(admission);
    assert_eq!((rig.taken(), rig.counts.in_flight()), (0, 0));
}

#[tokio::test]
async fn an_answer_after_the_client_has_gone_leaves_nothing_taken() {
    let rig = rig().await;
    let gate = Gate::closed();
    let far = Arc::new(FarLimiter::new(Arc::clone(&rig.counts), Some(gate.clone())));
    let admitter = rig.admitter(far, PATIENT);
    {
        let entering = rig.enter(&admitter);
        tokio::select! {
            biased;
            _ = entering => panic!("the gate is closed"),
            () = gate.reached(1) => {}
        }
    }
    assert_eq!(rig.taken(), 0, "the place is free at once");
    gate.open();
    let admission = rig.enter(&admitter).await.expect("nobody has the place");
    drop(admission);
    assert_eq!((rig.taken(), rig.counts.in_flight()), (0, 0));
}

#[tokio::test]
async fn three_wait_one_hangs_up_and_the_others_are_served_in_turn() {
    let rig = rig_with_queue(Duration::from_secs(60)).await;
    let counts = Arc::clone(&rig.counts);
    let admitter = rig.admitter(counts, PATIENT);
    let first = rig.enter(&admitter).await.expect("a place");
    let mut waiters = Vec::new();
    for count in 1..=3 {
        let (rig, admitter) = (Arc::clone(&rig), admitter.clone());
        let waiter = {
            let admitter = admitter.clone();
            let rig = Arc::clone(&rig);
            ostia::runtime::spawn(async move { rig.enter(&admitter).await })
        };
        rig.waiting(&admitter, count).await;
        waiters.push(waiter);
    }
    let last = waiters.pop().unwrap();
    let second = waiters.pop().unwrap();
    let next = waiters.pop().unwrap();
    second.abort();
    rig.waiting(&admitter, 2).await;
    drop(first);
    let admission = next.await.unwrap().expect("its turn");
    assert_eq!((rig.taken(), admitter.waiting()), (1, 1));
    assert!(!last.is_finished());
    drop(admission);
    let admission = last.await.unwrap().expect("its turn");
    assert_eq!((rig.taken(), admitter.waiting()), (1, 0));
    drop(admission);
    assert_eq!((rig.taken(), rig.counts.in_flight()), (0, 0));
}

#[tokio::test]
async fn without_patience_nobody_waits() {
    let rig = rig().await;
    let counts = Arc::clone(&rig.counts);
    let admitter = rig.admitter(counts, IMPATIENT);
    let _first = rig.enter(&admitter).await.expect("a place");
    let refused = rig.enter(&admitter).await.err().expect("no place");
    assert_eq!(refused.shortage, Shortage::EndpointsFull);
    assert_eq!(admitter.waiting(), 0);
}
