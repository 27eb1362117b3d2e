use ostia_core::{Class, Clock as _, SystemClock};

use super::*;

fn party(user: &str, class: Class) -> Party {
    Party {
        class,
        project: Party::project_of_one(user),
        project_share: 1,
        user: user.into(),
        user_share: 1,
    }
}

#[test]
fn a_full_queue_makes_room_for_a_shorter_line_and_takes_it_from_the_longest() {
    let queues = Queues::new(false);
    let pool: Arc<str> = "m".into();
    let now = SystemClock.now();
    let join = |user: &str, class| queues.join(&pool, party(user, class), ["e".into()].into(), now);
    let mut seats: Vec<_> = (1..MOST_WAITERS)
        .filter_map(|_| join("crowd", Class::Interactive))
        .collect();
    let batch = join("night", Class::Batch).unwrap();
    assert_eq!(queues.waiting(), MOST_WAITERS);
    // Batch work gives way to everybody, then the longest line to shorter ones.
    let newcomer = join("ada", Class::Interactive).unwrap();
    assert!(batch.is_evicted() && !newcomer.is_evicted());
    drop(batch);
    let second = join("ada", Class::Interactive).unwrap();
    assert!(seats.pop().is_some_and(|last| last.is_evicted()));
    assert!(
        join("crowd", Class::Interactive).is_none(),
        "its own line is the longest"
    );
    assert!(join("night", Class::Batch).is_none());
    drop((newcomer, second, seats));
    assert_eq!(queues.waiting(), 0);
    assert_eq!(queues.count.load(Ordering::Relaxed), 0);
}

#[test]
fn service_is_noted_for_other_replicas_and_counted_from_them() {
    let queues = Queues::new(true);
    let pool: Arc<str> = "m".into();
    let now = SystemClock.now();
    let join = |user: &str| {
        let party = party(user, Class::Interactive);
        queues.join(&pool, party, ["e".into()].into(), now).unwrap()
    };
    let (ada, bob) = (join("ada"), join("bob"));
    assert!(ada.is_due().is_some() && bob.is_due().is_none());
    let served = queues.served(&pool, &party("ada", Class::Interactive), 5.0, true, now);
    queues.freed(&pool, "ada", served, 7.0);
    let spent = queues.spent();
    let [(_, of)] = &spent[..] else {
        panic!("{spent:?}")
    };
    assert!((of.service - 7.0).abs() < 1e-9 && (of.correction - 2.0).abs() < 1e-9);
    assert!(queues.spent().is_empty(), "told once");
    // Ada had 7 here; bob had 20 elsewhere: it is ada's turn.
    let bobs = spent[0].0.replace("ada", "bob");
    queues.spent_elsewhere(vec![(bobs, 20.0), ("nonsense".to_owned(), 1.0)]);
    let state = queues.known(&pool).unwrap();
    let next = state.state.lock().lines.next(|_| true).unwrap();
    assert_eq!(&*next.party.user, "ada");
}
