use std::time::Duration;

use ostia_core::{AuditQuery, Change, KeyRights, Login, ManualClock, OwnName, PersonState, Role};

use super::*;

const NOON: i64 = 1_800_000_000_000_000;
const DAY: Duration = Duration::from_secs(86_400);

async fn desk() -> (tempfile::TempDir, Desk, Arc<ManualClock>) {
    let folder = tempfile::tempdir().unwrap();
    let url = format!("sqlite://{}", folder.path().join("ostia.db").display());
    let clock = Arc::new(ManualClock::at(NOON));
    let keys = Keys {
        default_age: 90 * DAY,
        max_age: 365 * DAY,
        per_user: 2,
        owner_ttl: None,
    };
    let actor = Actor {
        name: "root".to_owned(),
        role: "admin".to_owned(),
        ..Actor::default()
    };
    let store = ostia_store::open(&url).await.unwrap();
    let desk = Desk::new(store, Arc::clone(&clock) as _, keys, actor);
    (folder, desk, clock)
}

fn asked(user: &str) -> KeyRequest {
    KeyRequest {
        user: user.to_owned(),
        ..KeyRequest::default()
    }
}

#[tokio::test]
async fn keys_live_as_long_as_the_site_says() {
    let (_folder, desk, _) = desk().await;
    let made = desk.create_key(asked("ann@lab.org")).await.unwrap();
    assert_eq!(made.new.expires_at, Some(NOON + 90 * 86_400_000_000));
    let with = |age: Duration, role| KeyRequest {
        age: Some(age),
        rights: KeyRights {
            role,
            ..KeyRights::default()
        },
        ..asked("bob@lab.org")
    };
    for (age, role, is_fine) in [
        (365 * DAY, None, true),
        (366 * DAY, None, false),
        (30 * DAY, Some(Role::Admin), true),
        (31 * DAY, Some(Role::Admin), false),
    ] {
        let made = desk.create_key(with(age, role)).await;
        assert_eq!(made.is_ok(), is_fine, "{age:?} {role:?}");
    }
    // Two are allowed, and a rotation does not count as a third.
    let third = desk.create_key(asked("bob@lab.org")).await;
    assert!(matches!(third, Err(DeskError::Conflict(_))));
    let keys = desk.keys_of("bob@lab.org").await.unwrap();
    let admin = keys.iter().find(|key| key.rights.is_admin()).unwrap();
    let turned = desk.rotate_key(&admin.id, DAY, None).await.unwrap();
    assert!(turned.new.rights.is_admin());
    assert_eq!(turned.new.expires_at, Some(NOON + 30 * 86_400_000_000));
    assert!(desk.revoke_key(&admin.id).await.unwrap());
    assert!(!desk.revoke_key(&admin.id).await.unwrap());
    assert_eq!(desk.revoke_keys_of("bob@lab.org").await.unwrap().len(), 2);
    let found = desk.find_key(&made.key).await.unwrap();
    assert_eq!(*found.id, *made.new.id);
    let turned = desk.rotate_key(&admin.id, DAY, None).await;
    assert!(matches!(turned, Err(DeskError::Conflict(_))));
}

#[tokio::test]
async fn what_makes_no_sense_is_refused_and_leaves_nothing() {
    let (_folder, desk, _) = desk().await;
    let rights = |change: &dyn Fn(&mut KeyRights)| {
        let mut asked = asked("ann@lab.org");
        change(&mut asked.rights);
        asked
    };
    for wrong in [
        asked("ann"),
        rights(&|rights| rights.addresses.push("10.0.0.0/33".to_owned())),
        rights(&|rights| rights.on_behalf_of.push("a@b".to_owned())),
        rights(&|rights| {
            rights.limits.insert("blocked".to_owned(), 1);
        }),
        rights(&|rights| rights.service = true),
        rights(&|rights| {
            rights.role = Some(Role::Admin);
            rights.on_behalf_of.push("lab.org".to_owned());
        }),
    ] {
        let shown = format!("{wrong:?}");
        assert!(desk.create_key(wrong).await.is_err(), "{shown}");
    }
    assert!(desk.all_keys().await.unwrap().is_empty());
    let fine = rights(&|rights| rights.addresses.push("192.0.2.7".to_owned()));
    let made = desk.create_key(fine).await.unwrap();
    assert_eq!(made.new.rights.addresses, ["192.0.2.7/32"]);
}

#[tokio::test]
async fn what_an_allocation_system_says_twice_changes_nothing() {
    let (_folder, desk, clock) = desk().await;
    let record = UserRecord {
        user: "ann@lab.org".to_owned(),
        name: Some("Ann".to_owned()),
        groups: Some(vec!["g1".to_owned()]),
        identities: vec!["https://idp#s1".to_owned()],
        ..UserRecord::default()
    };
    assert!(desk.put_user(&record).await.unwrap().1);
    clock.advance(DAY);
    let (ann, changed) = desk.put_user(&record).await.unwrap();
    assert!(!changed);
    assert_eq!(ann.confirmed_at(), Some(NOON + 86_400_000_000));
    let off = UserRecord {
        state: Some(PersonState::Disabled),
        ..record.clone()
    };
    let (ann, changed) = desk.put_user(&off).await.unwrap();
    assert!(changed && ann.state == PersonState::Disabled);
    assert_eq!(
        *desk.person("https://idp#s1").await.unwrap().id,
        *"ann@lab.org"
    );

    let project = ProjectRecord {
        title: Some("Fusion".to_owned()),
        managers: Some(vec!["ann@lab.org".to_owned()]),
        ..ProjectRecord::default()
    };
    let (made, put) = desk.put_project("A-7", &project).await.unwrap();
    assert_eq!((&*made.name, put), ("A-7", Put::Created));
    let (same, put) = desk.put_project("A-7", &project).await.unwrap();
    assert_eq!((same.id, put), (made.id.clone(), Put::Same));
    let ended = ProjectRecord {
        ended: Some(true),
        ..project
    };
    assert_eq!(
        desk.put_project("A-7", &ended).await.unwrap().1,
        Put::Changed
    );
    let again = desk.create_project("A-7", &ProjectRecord::default()).await;
    assert!(matches!(again, Err(DeskError::Conflict(_))));

    let events = desk
        .audit(&AuditQuery {
            limit: 99,
            ..AuditQuery::default()
        })
        .await
        .unwrap();
    let actions: Vec<_> = events.iter().rev().map(|row| &*row.event.action).collect();
    assert_eq!(
        actions,
        ["user.put", "user.put", "project.create", "project.put"]
    );
    assert_eq!(desk.verify_audit().await.unwrap(), Chain::Whole(4));
}

/// A provider answers for the name that keys were made for, and nobody linked the two.
#[tokio::test]
async fn keys_of_a_name_that_nobody_linked_go_with_its_owner() {
    let (_folder, desk, _) = desk().await;
    let login = |id: &str, username: &str, own| Login {
        id: id.to_owned(),
        person: id.to_owned(),
        username: username.to_owned(),
        own,
        confirmed_at: NOON,
        ..Login::default()
    };
    for (id, username, own) in [
        ("https://idp#ann", "ann@lab.org", OwnName::Username),
        ("https://open#eve", "ann@lab.org", OwnName::None),
        ("https://idp#bob", "bob@lab.org", OwnName::Username),
        ("https://other#bob", "bob@lab.org", OwnName::Username),
    ] {
        let confirmed = Change::Confirmed(login(id, username, own));
        desk.store.people().change(&[confirmed], &[]).await.unwrap();
    }
    for name in ["ann@lab.org", "Ann@lab.org", "bob@lab.org"] {
        desk.create_key(asked(name)).await.unwrap();
    }
    let mut text = String::new();
    desk.export("https://idp#ann", &mut |piece| text.push_str(piece))
        .await
        .unwrap();
    let said: Value = serde_json::from_str(&text).unwrap();
    assert_eq!(said["keys"].as_array().unwrap().len(), 2);
    let owner = |id: &str| {
        let (desk, id) = (&desk, id.to_owned());
        async move { desk.person(&id).await.map(|person| person.id) }
    };
    // Whoever only calls themselves by the name has no part in it.
    desk.erase("https://open#eve").await.unwrap();
    let of_ann = async || {
        let mut keys = desk.all_keys().await.unwrap();
        keys.retain(|key| key.username.eq_ignore_ascii_case("ann@lab.org"));
        keys
    };
    assert!(of_ann().await.iter().all(|key| key.revoked_at.is_none()));
    assert_eq!(of_ann().await.len(), 2);
    let pseudonym = desk.erase("ann@lab.org").await.unwrap();
    assert!(owner("https://idp#ann").await.is_err());
    assert!(of_ann().await.is_empty());
    let keys = desk.all_keys().await.unwrap();
    let hers = keys.iter().filter(|key| *key.username == *pseudonym);
    assert_eq!(hers.filter(|key| key.revoked_at.is_some()).count(), 2);
    // Two providers answer for this name: the key may be either's.
    desk.erase("https://idp#bob").await.unwrap();
    let keys = desk.all_keys().await.unwrap();
    let left = keys.iter().find(|key| &*key.username == "bob@lab.org");
    assert!(left.is_some_and(|key| key.revoked_at.is_none()));
}

/// What `key list --user` shows: the keys of a person by each of the person's names, and nobody else's.
#[tokio::test]
async fn keys_are_listed_by_each_name_of_their_owner() {
    let (_folder, desk, _) = desk().await;
    let anns = desk.create_key(asked("ann@lab.org")).await.unwrap();
    let others = desk.create_key(asked("joann@lab.org")).await.unwrap();
    let record = UserRecord {
        user: "ann@lab.org".to_owned(),
        identities: vec!["https://idp#s1".to_owned()],
        ..UserRecord::default()
    };
    desk.put_user(&record).await.unwrap();
    for name in ["ann@lab.org", "Ann@Lab.org", "https://idp#s1"] {
        let found = desk.keys_of(name).await.unwrap();
        let ids: Vec<_> = found.iter().map(|key| &*key.id).collect();
        assert_eq!(ids, [&*anns.new.id], "{name}");
    }
    for name in ["ann", "lab.org", "nobody@lab.org"] {
        assert!(desk.keys_of(name).await.unwrap().is_empty(), "{name}");
    }
    let all: Vec<_> = desk.all_keys().await.unwrap();
    assert_eq!(all.len(), 2);
    assert!(all.iter().any(|key| *key.id == *others.new.id));
}

#[tokio::test]
async fn everybody_of_a_name_is_disabled_and_one_alone_is_erased() {
    let (_folder, desk, _) = desk().await;
    desk.create_key(asked("ann@lab.org")).await.unwrap();
    let people = desk.people().await.unwrap();
    assert_eq!((people.len(), &*people[0].id), (1, "ann@lab.org"));
    assert!(
        desk.set_state("bob@lab.org", PersonState::Disabled)
            .await
            .is_err()
    );
    let disabled = desk
        .set_state("ANN@lab.org", PersonState::Disabled)
        .await
        .unwrap();
    assert_eq!(disabled.len(), 1);
    let twice = desk
        .set_state("ann@lab.org", PersonState::Disabled)
        .await
        .unwrap();
    assert!(twice.is_empty());
    let (person, other) = desk.link("ann@lab.org", "globus-1").await.unwrap();
    assert_eq!((&*person, &*other), ("ann@lab.org", "globus-1"));
    assert!(desk.link("globus-1", "ann@lab.org").await.is_err());

    let mut text = String::new();
    desk.export("globus-1", &mut |piece| text.push_str(piece))
        .await
        .unwrap();
    let said: Value = serde_json::from_str(&text).unwrap();
    assert_eq!(said["user"]["state"], "disabled");
    assert_eq!(said["keys"].as_array().unwrap().len(), 1);
    assert!(said["audit"].as_array().unwrap().len() >= 2);

    let members = Members {
        members: vec!["ann@lab.org".to_owned(), "bob@lab.org".to_owned()],
        ..Members::default()
    };
    desk.create_project("fusion", &ProjectRecord::default())
        .await
        .unwrap();
    desk.add_to_project("fusion", &members).await.unwrap();
    let pseudonym = desk.erase("ann@lab.org").await.unwrap();
    assert!(pseudonym.starts_with("erased_"));
    assert!(desk.person("globus-1").await.is_err());
    assert_eq!(
        desk.project("fusion").await.unwrap().members,
        ["bob@lab.org"]
    );
    let keys = desk.all_keys().await.unwrap();
    assert_eq!(
        (&*keys[0].username, keys[0].revoked_at),
        (&*pseudonym, Some(NOON))
    );
    assert!(matches!(
        desk.verify_audit().await.unwrap(),
        Chain::Whole(_)
    ));
}

#[test]
fn ids_are_short_and_distinct() {
    let (one, two) = (new_id("key").unwrap(), new_id("key").unwrap());
    assert_ne!(one, two);
    assert_eq!(one.len(), "key_".len() + ID_CHARACTERS);
    assert!(
        one.bytes()
            .all(|byte| byte == b'_' || byte.is_ascii_alphanumeric()),
        "{one}"
    );
}

#[tokio::test]
async fn a_key_ends_on_a_whole_second() {
    let (_folder, desk, clock) = desk().await;
    clock.advance(Duration::from_micros(1));
    let made = desk.create_key(asked("ann@lab.org")).await.unwrap();
    assert_eq!(
        made.new.expires_at,
        Some(NOON + 90 * 86_400_000_000 + 1_000_000),
        "rounded up"
    );
}
