//! People, links, projects and the audit log.

use ostia_core::{
    ApiKey, AuditEvent, AuditQuery, Login, OwnName, Owner, Person, PersonState, Project, Session,
    broken_link,
};

use super::*;

pub(super) async fn run(store: &dyn Store) {
    sign_ins_are_kept_and_confirm_owners(store).await;
    links_hold_against_what_providers_say(store).await;
    what_replicas_need_counts_up(store).await;
    events_are_chained(store).await;
    an_erased_person_leaves_the_sums(store).await;
    sessions_live_and_end(store).await;
}

fn login(id: &str, username: &str, groups: Option<&[&str]>, at: i64) -> Login {
    Login {
        id: id.to_owned(),
        person: id.to_owned(),
        auth_service: "oidc".to_owned(),
        idp: "idp.lab.org".to_owned(),
        username: username.to_owned(),
        name: "Some One".to_owned(),
        email: format!("{username}.mail"),
        own: OwnName::Username,
        groups: groups.map(|groups| groups.iter().map(|&group| group.to_owned()).collect()),
        confirmed_at: at,
    }
}

async fn confirm(store: &dyn Store, login: Login) {
    let change = Change::Confirmed(login);
    store.people().change(&[change], &[]).await.unwrap();
}

async fn person(store: &dyn Store, id: &str) -> Option<Person> {
    let all = store.people().all().await.unwrap();
    all.into_iter().find(|person| *person.id == *id)
}

async fn owner(store: &dyn Store, name: &str) -> Owner {
    store.people().owner(name).await.unwrap()
}

async fn sign_ins_are_kept_and_confirm_owners(store: &dyn Store) {
    assert_eq!(owner(store, "eve@lab.org").await, Owner::default());
    let before = store.people().version().await.unwrap();
    confirm(
        store,
        login("iss#eve", "Eve@Lab.org", Some(&["g1", "g2"]), NOON),
    )
    .await;
    // Neither a late sign-in with an earlier time nor one that lists no groups undoes anything.
    confirm(store, login("iss#eve", "old@lab.org", Some(&[]), NOON - 1)).await;
    confirm(store, login("iss#eve", "Eve@Lab.org", None, NOON + 1)).await;
    let eve = person(store, "iss#eve").await.unwrap();
    assert_eq!((&*eve.username, eve.last_seen), ("Eve@Lab.org", NOON + 1));
    assert_eq!(eve.state, PersonState::Active);
    assert_eq!(eve.confirmed_at(), Some(NOON + 1));
    assert!(eve.is_named("eve@lab.org") && eve.is_named("iss#eve"));
    let known = owner(store, "eve@lab.org").await;
    assert_eq!(known.confirmed_at, Some(NOON + 1));
    assert_eq!(known.groups.as_deref().unwrap(), ["g1".into(), "g2".into()]);
    // A username that its provider does not vouch for gives no right to keys.
    let mut unproven = login("other#eve", "mallory@lab.org", Some(&["admins"]), NOON);
    unproven.own = OwnName::None;
    confirm(store, unproven.clone()).await;
    assert_eq!(owner(store, "mallory@lab.org").await, Owner::default());
    // An address that a provider verified does, whatever its user is called.
    unproven.own = OwnName::Email;
    confirm(store, unproven).await;
    assert_eq!(owner(store, "mallory@lab.org").await, Owner::default());
    let by_address = owner(store, "Mallory@Lab.org.mail").await;
    assert_eq!(by_address.confirmed_at, Some(NOON));
    assert_eq!(by_address.groups.as_deref().unwrap(), ["admins".into()]);
    let logins = person(store, "other#eve").await.unwrap().logins;
    assert_eq!(logins[0].own_name(), "mallory@lab.org.mail");
    assert_eq!(store.people().version().await.unwrap(), before);

    let key = ApiKey {
        groups: ["g2".into(), "g3".into()].into(),
        ..store.list_keys().await.unwrap().remove(0)
    };
    assert_eq!(&*key.groups_now(&known), ["g2".into()]);
    assert_eq!(key.groups_now(&Owner::default()), key.groups);
}

async fn links_hold_against_what_providers_say(store: &dyn Store) {
    confirm(
        store,
        login("globus-eve", "eve@globusid.org", Some(&["g9"]), NOON),
    )
    .await;
    let link = |person: &str, other: &str| Change::Link {
        person: person.to_owned(),
        other: other.to_owned(),
    };
    let links = [
        link("iss#eve", "globus-eve"),
        link("iss#eve", "eve.key@lab.org"),
    ];
    store.people().change(&links, &[]).await.unwrap();
    confirm(
        store,
        login("globus-eve", "eve@globusid.org", Some(&["g9"]), NOON + 5),
    )
    .await;
    let eve = person(store, "iss#eve").await.unwrap();
    let ids: Vec<_> = eve.logins.iter().map(|login| &*login.id).collect();
    assert_eq!(ids, ["eve.key@lab.org", "globus-eve", "iss#eve"]);
    assert!(person(store, "globus-eve").await.is_none());
    let roster = store.people().roster().await.unwrap();
    assert!(
        roster
            .links
            .contains(&("globus-eve".into(), "iss#eve".into()))
    );
    let known = owner(store, "eve.key@lab.org").await;
    assert_eq!(known.confirmed_at, Some(NOON + 5));
    assert_eq!(known.groups.unwrap().len(), 3);
    // Whoever's name is linked to somebody gets nothing from another provider that answers for it.
    confirm(
        store,
        login("late#9", "eve.key@lab.org", Some(&["g77"]), NOON + 9),
    )
    .await;
    assert_eq!(
        owner(store, "eve.key@lab.org").await.confirmed_at,
        Some(NOON + 5)
    );
}

async fn what_replicas_need_counts_up(store: &dyn Store) {
    let version = store.people().version().await.unwrap();
    let disable = Change::SetState {
        person: "never-seen".to_owned(),
        username: "never@lab.org".to_owned(),
        state: PersonState::Disabled,
    };
    let project = Project {
        id: "prj_1".into(),
        name: "fusion".into(),
        title: "Fusion, \"hot\"".to_owned(),
        members: vec!["eve@lab.org".to_owned()],
        managers: vec!["ann@lab.org".to_owned()],
        fair_share: Some(3),
        created_at: NOON,
        ..Project::default()
    };
    let changes = [disable, Change::Project(project.clone())];
    store.people().change(&changes, &[]).await.unwrap();
    let roster = store.people().roster().await.unwrap();
    assert!(roster.version > version);
    assert_eq!(&*roster.disabled, ["never-seen".into()]);
    assert_eq!(&*roster.projects, std::slice::from_ref(&project));

    let ended = Project {
        ended_at: Some(NOON + 1),
        ..project.clone()
    };
    store
        .people()
        .change(&[Change::Project(ended.clone())], &[])
        .await
        .unwrap();
    assert_eq!(store.people().roster().await.unwrap().projects, [ended]);
    // The name stays taken for ever, and a failed transaction leaves nothing.
    let twin = Project {
        id: "prj_2".into(),
        ..project
    };
    let version = store.people().version().await.unwrap();
    let revoke = Change::RevokeKey {
        id: "a".to_owned(),
        at: NOON,
    };
    let changes = [revoke, Change::Project(twin)];
    let events = [event("x")];
    assert!(store.people().change(&changes, &events).await.is_err());
    assert_eq!(store.people().version().await.unwrap(), version);
    let keys = store.list_keys().await.unwrap();
    let key = keys.iter().find(|key| &*key.id == "a").unwrap();
    assert_eq!(key.revoked_at, None);
}

fn event(object: &str) -> AuditEvent {
    AuditEvent {
        at: NOON,
        actor: "root".to_owned(),
        action: "user.disable".to_owned(),
        object: object.to_owned(),
        before: "nul\0".to_owned(),
        ..AuditEvent::default()
    }
}

async fn events_are_chained(store: &dyn Store) {
    for batch in [&["u1", "u2"][..], &["u3"]] {
        let events: Vec<_> = batch.iter().map(|object| event(object)).collect();
        store.people().change(&[], &events).await.unwrap();
    }
    let query = AuditQuery {
        limit: 10,
        ..AuditQuery::default()
    };
    let mut rows = store.people().audit(&query).await.unwrap();
    rows.reverse();
    let objects: Vec<_> = rows.iter().map(|row| &*row.event.object).collect();
    assert_eq!(objects, ["u1", "u2", "u3"]);
    assert_eq!(rows[2].number, 3);
    assert_eq!(broken_link(&rows), None);
    let one = AuditQuery {
        object: Some("u2".to_owned()),
        actor: Some("root".to_owned()),
        before: Some(3),
        until: Some(NOON + 1),
        limit: 10,
        ..AuditQuery::default()
    };
    assert_eq!(store.people().audit(&one).await.unwrap(), [rows[1].clone()]);
}

/// The oldest events are deleted, the chain of the others is intact, and the next event is chained to the newest, which
/// is kept.
pub(super) async fn old_events_are_pruned(
    store: &dyn Store,
    prune: &impl AsyncFn(Retention) -> Pruned,
) {
    const EVENTS: i64 = 1_200;
    let events: Vec<_> = (0..EVENTS)
        .map(|n| AuditEvent {
            at: NOON + n,
            ..event("u")
        })
        .collect();
    store.people().change(&[], &events).await.unwrap();
    let due = |audit| Retention {
        addresses: 0,
        persons: 0,
        sums: 0,
        audit,
    };
    assert_eq!(prune(due(NOON)).await.events, 0);
    assert_eq!(prune(due(NOON + 1_100)).await.events, 1_100);
    let query = AuditQuery {
        limit: 2_000,
        ..AuditQuery::default()
    };
    let mut left = store.people().audit(&query).await.unwrap();
    left.reverse();
    assert_eq!((left.len(), left[0].event.at), (100, NOON + 1_100));
    assert_eq!(broken_link(&left), None);
    assert_eq!(prune(due(i64::MAX)).await.events, 99);
    store.people().change(&[], &[event("next")]).await.unwrap();
    let mut left = store.people().audit(&query).await.unwrap();
    left.reverse();
    assert_eq!(left.len(), 2);
    assert_eq!(broken_link(&left), None);
    assert_eq!(left[1].number, left[0].number + 1);
}

async fn rows_of(
    store: &dyn Store,
    user: &str,
    after: Option<RequestId>,
    limit: u32,
) -> (Vec<RequestId>, Option<RequestId>) {
    let mut ids = Vec::new();
    let mut take = |row: &LedgerRow<'_>| ids.push(row.request_id);
    let asked = store.people().rows_of(user, after, limit, &mut take);
    let last = asked.await.unwrap();
    (ids, last)
}

async fn an_erased_person_leaves_the_sums(store: &dyn Store) {
    let midnight = NOON + 40 * DAY;
    let mut rows = [row("wyn", midnight, 5), row("wyn", midnight + DAY, 7)];
    rows[1].user_id = Cow::Borrowed("globus-wyn");
    store.insert_rows(&rows).await.unwrap();
    confirm(store, login("wyn", "wyn@lab.org", None, midnight)).await;
    let link = Change::Link {
        person: "wyn".to_owned(),
        other: "globus-wyn".to_owned(),
    };
    store.people().change(&[link], &[]).await.unwrap();
    let mut key = new_key("of-wyn", 77);
    key.username = "wyn".to_owned();
    store.create_key(&key).await.unwrap();

    store
        .insert_rows(&[row("wyn", midnight + 1, 1)])
        .await
        .unwrap();
    let (first, behind) = rows_of(store, "wyn", None, 1).await;
    let (rest, last) = rows_of(store, "wyn", behind, 9).await;
    assert_eq!((first.len(), rest.len(), last), (1, 1, None));
    assert_eq!(rows_of(store, "globus-wyn", None, 9).await.0.len(), 1);

    let before = usage(store, midnight, &["day"]).await;
    let erase = Change::Erase {
        person: "wyn".to_owned(),
        pseudonym: "erased-1".to_owned(),
        at: midnight,
    };
    store.people().change(&[erase], &[]).await.unwrap();
    assert_eq!(usage(store, midnight, &["day"]).await, before);
    let users: Vec<_> = usage(store, midnight, &["user"]).await;
    assert!(users.iter().any(|line| line.keys == ["erased-1"]));
    assert!(!users.iter().any(|line| line.keys[0].contains("wyn")));
    for id in ["wyn", "globus-wyn"] {
        assert_eq!(rows_of(store, id, None, 9).await.0, []);
    }
    assert!(person(store, "wyn").await.is_none());
    let left = person(store, "erased-1").await.unwrap();
    assert_eq!((left.state, &*left.name), (PersonState::Erased, ""));
    let key = store.key_by_hash(&[77; 32]).await.unwrap().unwrap();
    assert_eq!((&*key.username, &*key.label), ("erased-1", ""));
    assert!(key.revoked_at.is_some());
}

fn session(id: u8, person: &str, created_at: i64) -> Session {
    Session {
        id: [id; 32],
        person: person.to_owned(),
        login: "{\"way\":\"open\"}".to_owned(),
        created_at,
        seen_at: created_at,
        expires_at: created_at + HOUR,
    }
}

async fn sessions_live_and_end(store: &dyn Store) {
    let sessions = store.sessions();
    let held = async |id: u8| sessions.session(&[id; 32]).await.unwrap();
    for (id, person) in [(1, "iss#sue"), (2, "iss#sue"), (3, "iss#tom")] {
        sessions.open(&session(id, person, NOON)).await.unwrap();
    }
    assert_eq!(held(1).await, Some(session(1, "iss#sue", NOON)));
    assert_eq!(held(9).await, None);
    // A second session with the same id is refused, so nobody gets another person's session.
    assert!(sessions.open(&session(1, "iss#tom", NOON)).await.is_err());
    sessions.seen(&[1; 32], NOON + 5).await.unwrap();
    sessions.seen(&[1; 32], NOON + 3).await.unwrap();
    assert_eq!(held(1).await.unwrap().seen_at, NOON + 5);
    sessions.end(&[2; 32]).await.unwrap();
    assert_eq!(held(2).await, None);
    // Sessions end with the account.
    let state = |state| Change::SetState {
        person: "iss#sue".to_owned(),
        username: "sue@lab.org".to_owned(),
        state,
    };
    let people = store.people();
    let accepted = Change::AcceptedTerms {
        person: "iss#sue".to_owned(),
        version: "2".to_owned(),
        at: NOON,
    };
    assert_eq!(people.accepted_terms("iss#sue").await.unwrap(), None);
    people.change(&[accepted], &[]).await.unwrap();
    let version = people.accepted_terms("iss#sue").await.unwrap();
    assert_eq!(version.as_deref(), Some("2"));
    people
        .change(&[state(PersonState::Active)], &[])
        .await
        .unwrap();
    assert!(held(1).await.is_some());
    people
        .change(&[state(PersonState::Disabled)], &[])
        .await
        .unwrap();
    assert_eq!(held(1).await, None);
    assert!(held(3).await.is_some());
    // They expire too, and are deleted once a later one is opened.
    sessions
        .open(&session(4, "iss#tom", NOON + 2 * HOUR))
        .await
        .unwrap();
    assert_eq!(held(3).await, None);
    let erase = Change::Erase {
        person: "iss#tom".to_owned(),
        pseudonym: "erased_tom".to_owned(),
        at: NOON,
    };
    people.change(&[erase], &[]).await.unwrap();
    assert_eq!(held(4).await, None);
}
