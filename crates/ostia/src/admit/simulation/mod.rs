//! Fair shares of an engine with four places, on one replica and on three: the queue as it is, on a clock that only the
//! simulation moves. `cargo test -p ostia --lib admit::simulation -- --nocapture` prints the figures.

mod server;
mod site;
mod world;

use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;

use self::server::Server;
use self::site::{Site, settle, usage, user};
use self::world::World;
use super::cost::real_service;
use super::{Admitter, RetryBudget};
use crate::identify::Principal;

const PLACES: u32 = 4;
/// Output tokens of a usual answer, and what it takes the engine.
const ANSWER: u64 = 200;
const SERVICE: Duration = Duration::from_secs(1);
/// From the end of an answer until its client's next request is here.
const TURNAROUND: Duration = Duration::from_millis(10);
/// Nothing is counted before that.
const WARM_UP: Duration = Duration::from_secs(30);
const RUN: Duration = Duration::from_secs(300);

/// What one connection asks for, one request after the other.
#[derive(Clone)]
struct Connection {
    replica: usize,
    user: usize,
    /// Output tokens of its answers, again and again from the one of this number on.
    answers: &'static [u64],
    first: usize,
}

/// One user's part of a run.
#[derive(Debug, Default, Clone)]
struct Part {
    /// As the queue counts it; a usual answer is 1.
    service: f64,
    /// Time of the engine's places, in service times.
    work: f64,
    /// In service times.
    waits: Vec<f64>,
}

#[derive(Debug)]
struct Figures {
    parts: Vec<Part>,
    /// The largest difference between the service of the first two users at any time.
    gap: f64,
}

impl Figures {
    fn work(&self) -> f64 {
        self.parts.iter().map(|part| part.work).sum()
    }

    /// Jain's index of service by user. Everybody's max-min fair share is the same if all want at least that.
    fn jain(&self) -> f64 {
        let all = || self.parts.iter().map(|part| part.service);
        let squares: f64 = all().map(|service| service.powi(2)).sum();
        all().sum::<f64>().powi(2) / (all().count() as f64 * squares)
    }

    /// The mean wait of each user but the first, for the one who waits longest, and the longest wait of all.
    fn waits(&self) -> (f64, f64) {
        let small = self.parts[1..].iter();
        let means = small.map(|part| part.waits.iter().sum::<f64>() / part.waits.len() as f64);
        let waits = self.parts[1..].iter().flat_map(|part| &part.waits);
        (
            means.fold(0.0, f64::max),
            waits.copied().fold(0.0, f64::max),
        )
    }
}

/// What an answer takes the engine, in service times.
fn work(output: u64) -> f64 {
    output as f64 / ANSWER as f64
}

/// Its service, in usual answers.
fn service(output: u64) -> f64 {
    real_service(&usage(output)) / real_service(&usage(ANSWER))
}

fn run(replicas: usize, connections: &[Connection]) -> Figures {
    let world = World::new();
    let users = connections.iter().map(|of| of.user).max().unwrap() + 1;
    let names: Vec<Principal> = (0..users).map(|at| user(&format!("user{at}"))).collect();
    let figures = Arc::new(Mutex::new(Figures {
        parts: vec![Part::default(); users],
        gap: 0.0,
    }));
    let server = Server::new(&world);
    let sites: Vec<Arc<Site>> = (0..replicas)
        .map(|_| {
            let admitter = match replicas {
                1 => {
                    let retries = RetryBudget::new(0, world.clock());
                    Admitter::new(None, Duration::ZERO, retries, world.clock())
                }
                _ => server.connect(),
            };
            Arc::new(Site::new(admitter, PLACES))
        })
        .collect();
    for connection in connections {
        let client = Client {
            world: Arc::clone(&world),
            site: Arc::clone(&sites[connection.replica]),
            principal: names[connection.user].clone(),
            connection: connection.clone(),
            figures: Arc::clone(&figures),
        };
        world.spawn(client.ask());
    }
    world.run(WARM_UP + RUN);
    for site in &sites {
        assert_eq!(site.admitter.waiting(), 0, "everybody has left");
    }
    server.close();
    drop(sites);
    Arc::into_inner(figures).unwrap().into_inner()
}

struct Client {
    world: Arc<World>,
    site: Arc<Site>,
    principal: Principal,
    connection: Connection,
    figures: Arc<Mutex<Figures>>,
}

impl Client {
    async fn ask(self) {
        let counted_from = self.world.now() + WARM_UP;
        let answers = self.connection.answers.iter().cycle();
        for &output in answers.skip(self.connection.first) {
            let asked = self.world.now();
            let admission = self.site.enter(&self.principal).await.expect("patience");
            let waited = self.world.now().saturating_duration_since(asked);
            self.world.sleep(SERVICE.mul_f64(work(output))).await;
            settle(admission, output);
            if self.world.now() >= counted_from {
                self.note((asked >= counted_from).then_some(waited), output);
            }
            self.world.sleep(TURNAROUND).await;
        }
    }

    fn note(&self, waited: Option<Duration>, output: u64) {
        let mut figures = self.figures.lock();
        let part = &mut figures.parts[self.connection.user];
        part.service += service(output);
        part.work += work(output);
        let waited = waited.map(|waited| waited.as_secs_f64() / SERVICE.as_secs_f64());
        part.waits.extend(waited);
        if let [one, other, ..] = &figures.parts[..] {
            let gap = (one.service - other.service).abs();
            figures.gap = figures.gap.max(gap);
        }
    }
}

/// Answers that are all alike, and answers between a half and one and a half of that.
const ALIKE: &[u64] = &[ANSWER];
const MIXED: &[u64] = &[190, 120, 280, 230, 150, 300, 100, 240, 210, 180];

/// One user with 100 connections and nine with one each, spread over the replicas by a load balancer.
fn crowd(replicas: usize, answers: &'static [u64]) -> Vec<Connection> {
    let users = (0..100).map(|_| 0).chain(1..10).enumerate();
    users
        .map(|(at, user)| Connection {
            replica: at % replicas,
            user,
            answers,
            first: at % answers.len(),
        })
        .collect()
}

/// The same connections as those of a single user, who is served in the order of arrival.
fn first_come_first_served(connections: &[Connection]) -> Figures {
    let ones = connections.iter().map(|connection| Connection {
        replica: 0,
        user: 0,
        ..connection.clone()
    });
    run(1, &ones.collect::<Vec<_>>())
}

/// Prints the figures, and holds what they show whatever the answers are. `least`: Jain's index. Returns the longest wait of
/// the nine.
fn hold(name: &str, replicas: usize, answers: &'static [u64], least: f64) -> f64 {
    let connections = crowd(replicas, answers);
    let figures = run(replicas, &connections);
    let throughput = figures.work() / first_come_first_served(&connections).work();
    let (mean, longest) = figures.waits();
    println!(
        "{name}, {replicas} replica(s): Jain's index {:.4}; throughput {throughput:.3} of first come first served; each of the nine waits {mean:.2} service times at most in the mean, {longest:.2} at all",
        figures.jain(),
    );
    assert!(figures.jain() >= least);
    assert!(throughput >= 0.95);
    assert!(mean < 2.0);
    longest
}

#[test]
fn one_user_with_a_hundred_connections_holds_nobody_up() {
    assert!(hold("answers alike", 1, ALIKE, 0.99) < 2.0);
    hold("mixed answers", 1, MIXED, 0.99);
}

#[test]
fn nor_on_three_replicas() {
    assert!(hold("answers alike", 3, ALIKE, 0.95) < 2.0);
    hold("mixed answers", 3, MIXED, 0.95);
}

/// A load balancer may also send each user to a replica of its own.
#[test]
fn nor_where_each_user_stays_on_one_replica() {
    let mut connections = crowd(3, ALIKE);
    for (at, connection) in connections.iter_mut().enumerate() {
        connection.replica = match connection.user {
            0 => at % 2,
            _ => 2,
        };
    }
    let figures = run(3, &connections);
    println!(
        "users apart, 3 replicas: Jain's index {:.4}, waits {:?}",
        figures.jain(),
        figures.waits()
    );
    assert!(figures.jain() >= 0.95);
    assert!(figures.waits().1 < 2.0);
}

/// Small requests of one user beside large ones of another: virtual token counters keep the difference of their service
/// below twice what the engine holds at a time.
#[test]
fn two_with_a_backlog_are_served_alike() {
    const LARGE: u64 = 10 * ANSWER;
    for replicas in [1, 3] {
        let connections: Vec<Connection> = (0..60)
            .map(|at| Connection {
                replica: at % replicas,
                user: usize::from(at % 2 == 0),
                answers: if at % 2 == 0 { &[LARGE] } else { ALIKE },
                first: 0,
            })
            .collect();
        let figures = run(replicas, &connections);
        let bound = 2.0 * f64::from(PLACES) * service(LARGE);
        println!(
            "two with a backlog, {replicas} replica(s): gap {:.1} of {bound:.1} usual answers",
            figures.gap
        );
        assert!(figures.gap <= bound);
    }
}
