//! Leases: one key holds each, their sequence only grows, and they end by themselves.

use std::time::Duration;

use ostia_core::{Holding, Lease, LeaseHeld, LeaseState, Store};

const MINUTE: Duration = Duration::from_secs(60);

pub(crate) async fn run(store: &dyn Store) {
    a_lease_is_made_renewed_and_given_back(store).await;
    what_is_old_or_anothers_is_not_renewed(store).await;
    what_is_over_is_gone(store).await;
    a_lease_that_drains_makes_room_for_the_next_job(store).await;
}

fn holding(url: &str) -> Holding {
    Holding {
        id: None,
        new_id: format!("lease of {url}"),
        sequence: None,
        slug: "sophia-vllm-m".to_owned(),
        url: Some((url.to_owned(), vec!["10.1.2.3".parse().unwrap()])),
        key_id: "k1".to_owned(),
        state: LeaseState::Running,
        ttl: MINUTE,
        until: Some(MINUTE * 60),
        starts_in: None,
        max_in_flight: 8,
        most: 2,
    }
}

/// The next call of the lease's holder.
fn renewal(lease: &Lease) -> Holding {
    Holding {
        id: Some(lease.id.to_string()),
        sequence: Some(lease.sequence + 1),
        ..holding(&lease.url)
    }
}

async fn held(store: &dyn Store, holding: &Holding) -> Lease {
    match store.leases().hold(holding).await.unwrap() {
        LeaseHeld::Yes { lease, .. } => lease,
        other => panic!("not held: {other:?}"),
    }
}

async fn give_back(store: &dyn Store, lease: &Lease) -> bool {
    let leases = store.leases();
    leases
        .give_back(&lease.id, &lease.slug, &lease.key_id)
        .await
        .unwrap()
}

async fn a_lease_is_made_renewed_and_given_back(store: &dyn Store) {
    let first = held(store, &holding("http://n1:8000")).await;
    assert_eq!(
        (first.sequence, first.state, first.max_in_flight),
        (1, LeaseState::Running, 8)
    );
    assert_eq!(first.addresses[0].to_string(), "10.1.2.3");
    assert!(
        first.left <= MINUTE && first.left > MINUTE / 2,
        "{:?}",
        first.left
    );
    assert!(first.until.unwrap() > MINUTE * 59 && !first.in_use);

    let second = held(store, &renewal(&first)).await;
    assert_eq!((&second.id, second.sequence), (&first.id, 2));
    store
        .leases()
        .used(std::slice::from_ref(&second.id), MINUTE)
        .await
        .unwrap();
    // Also without an id, as a script may call.
    let again = store
        .leases()
        .hold(&holding("http://n1:8000"))
        .await
        .unwrap();
    assert!(
        matches!(again, LeaseHeld::Yes { new: false, .. }),
        "{again:?}"
    );
    let all = store.leases().all().await.unwrap();
    assert_eq!((all.len(), all[0].sequence, all[0].in_use), (1, 3, true));
    assert!(give_back(store, &first).await && !give_back(store, &first).await);
    assert_eq!(store.leases().all().await.unwrap(), []);
}

async fn what_is_old_or_anothers_is_not_renewed(store: &dyn Store) {
    let first = held(store, &holding("http://n1:8000")).await;
    let old = Holding {
        sequence: Some(first.sequence),
        ..renewal(&first)
    };
    let refused = store.leases().hold(&old).await.unwrap();
    assert_eq!(refused, LeaseHeld::Stale(first.sequence));
    for other in [
        Holding {
            key_id: "k2".to_owned(),
            ..renewal(&first)
        },
        Holding {
            slug: "another".to_owned(),
            ..renewal(&first)
        },
        Holding {
            id: Some("never seen".to_owned()),
            ..renewal(&first)
        },
        Holding {
            url: holding("http://n2:8000").url,
            ..renewal(&first)
        },
    ] {
        assert_eq!(store.leases().hold(&other).await.unwrap(), LeaseHeld::Gone);
    }
    let stolen = Holding {
        key_id: "k2".to_owned(),
        ..holding("http://n1:8000")
    };
    assert_eq!(
        store.leases().hold(&stolen).await.unwrap(),
        LeaseHeld::Taken
    );
    let thief = Lease {
        key_id: "k2".into(),
        ..first.clone()
    };
    assert!(!give_back(store, &thief).await);

    let second = held(store, &holding("http://n2:8000")).await;
    let third = store
        .leases()
        .hold(&holding("http://n3:8000"))
        .await
        .unwrap();
    assert_eq!(third, LeaseHeld::TooMany);
    assert!(give_back(store, &first).await && give_back(store, &second).await);
}

async fn what_is_over_is_gone(store: &dyn Store) {
    let short = Holding {
        ttl: Duration::ZERO,
        ..holding("http://n1:8000")
    };
    // It ends before the answer can be read.
    assert_eq!(store.leases().hold(&short).await.unwrap(), LeaseHeld::Gone);
    assert_eq!(store.leases().all().await.unwrap(), []);
    let next = held(store, &holding("http://n1:8000")).await;
    assert_eq!(next.sequence, 1);
    assert!(give_back(store, &next).await);
}

async fn a_lease_that_drains_makes_room_for_the_next_job(store: &dyn Store) {
    let first = held(store, &holding("http://n1:8000")).await;
    let draining = Holding {
        state: LeaseState::Draining,
        ..renewal(&first)
    };
    let drains = held(store, &draining).await;
    let back = held(store, &renewal(&drains)).await;
    assert_eq!(back.state, LeaseState::Draining, "it does not come back");
    let next = Holding {
        new_id: "the next job's".to_owned(),
        ..holding("http://n1:8000")
    };
    let next = held(store, &next).await;
    assert_eq!(
        (&*next.id, next.state),
        ("the next job's", LeaseState::Running)
    );
    assert_eq!(
        store.leases().hold(&renewal(&back)).await.unwrap(),
        LeaseHeld::Gone
    );
    assert!(give_back(store, &next).await);
}
