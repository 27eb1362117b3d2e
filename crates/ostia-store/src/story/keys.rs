//! API keys: created, touched, revoked, and reported to other processes.

use super::*;

pub(crate) fn new_key(id: &str, hash: u8) -> NewApiKey {
    NewApiKey {
        id: id.into(),
        hash: [hash; 32],
        username: "ann@lab.org".into(),
        groups: vec![
            "05D1C5A4-0FF0-11EF-9C26-6BEDA4A3F1CB".into(),
            "with, comma \"and quote\"".into(),
        ],
        label: "laptop".into(),
        project: "fusion".into(),
        rights: KeyRights {
            role: (hash % 2 == 1).then_some(Role::Admin),
            models: vec!["m".into()],
            ..KeyRights::default()
        },
        created_at: NOON + i64::from(hash),
        expires_at: Some(NOON + DAY),
    }
}

async fn end(store: &dyn Store, id: &str, at: i64) -> bool {
    let id = id.to_owned();
    touched(store, Change::EndKey { id, at }).await
}

async fn revoke(store: &dyn Store, id: &str, at: i64) -> bool {
    let id = id.to_owned();
    touched(store, Change::RevokeKey { id, at }).await
}

/// Whether a change found a row to change.
async fn touched(store: &dyn Store, change: Change) -> bool {
    store.people().change(&[change], &[]).await.unwrap() == [1]
}

/// The changes to keys, in order, each once.
async fn changes_of_keys_are_told(store: &dyn Store, since: i64) {
    let changes = store.key_changes(Some(since)).await.unwrap();
    let told: Vec<_> = changes
        .changes
        .iter()
        .map(|change| (&*change.kind, &*change.id))
        .collect();
    let expected = [
        ("key_created", "b"),
        ("key_created", "a"),
        ("key_expiry_changed", "b"),
        ("key_revoked", "b"),
    ];
    assert_eq!(told, expected);
    assert_eq!(
        (&*changes.changes[0].username, changes.changes[0].admin),
        ("ann@lab.org", true)
    );
    let behind = store.key_changes(Some(changes.last)).await.unwrap();
    assert_eq!((behind.changes.len(), behind.last), (0, changes.last));
    assert_eq!(store.key_changes(None).await.unwrap(), behind);
}

pub(super) async fn keys_live_and_end(store: &dyn Store) {
    let since = store.key_changes(None).await.unwrap().last;
    assert_eq!(store.list_keys().await.unwrap(), []);
    assert_eq!(store.key_by_hash(&[1; 32]).await.unwrap(), None);
    store.create_key(&new_key("b", 1)).await.unwrap();
    store.create_key(&new_key("a", 2)).await.unwrap();

    let key = store.key_by_hash(&[1; 32]).await.unwrap().unwrap();
    assert_eq!(
        (&*key.id, &*key.username, &*key.label, &*key.project),
        ("b", "ann@lab.org", "laptop", "fusion")
    );
    assert_eq!(key.groups.len(), 2);
    assert_eq!(&*key.groups[0], "05d1c5a4-0ff0-11ef-9c26-6beda4a3f1cb");
    assert_eq!(&*key.groups[1], "with, comma \"and quote\"");
    assert!(key.rights.is_admin());
    assert_eq!(key.rights.models, ["m"]);
    assert_eq!(key.confirmed_at, key.created_at);
    assert_eq!(
        (key.created_at, key.expires_at),
        (NOON + 1, Some(NOON + DAY))
    );
    assert_eq!((key.revoked_at, key.last_used_at), (None, None));

    assert!(end(store, "b", NOON + HOUR).await);
    assert!(
        end(store, "b", NOON + 9 * DAY).await,
        "there, but never prolonged"
    );
    let used: [(Arc<str>, i64); 3] = [
        ("b".into(), NOON + 9),
        ("b".into(), NOON + 5),
        ("gone".into(), 1),
    ];
    store.touch_keys(&used).await.unwrap();
    store.touch_keys(&[]).await.unwrap();
    assert!(revoke(store, "b", NOON + 2 * HOUR).await);
    assert!(!revoke(store, "b", NOON + 3 * HOUR).await, "revoked before");
    assert!(!end(store, "b", NOON).await, "revoked before");
    assert!(!revoke(store, "nobody", NOON).await);
    assert!(!end(store, "nobody", NOON).await);

    let key = store.key_by_hash(&[1; 32]).await.unwrap().unwrap();
    assert_eq!(key.expires_at, Some(NOON + HOUR));
    assert_eq!(key.revoked_at, Some(NOON + 2 * HOUR));
    assert_eq!(key.last_used_at, Some(NOON + 9));
    let listed = store.list_keys().await.unwrap();
    let ids: Vec<_> = listed.iter().map(|key| &*key.id).collect();
    assert_eq!(ids, ["b", "a"], "oldest first");
    assert_eq!(listed[0], key);
    changes_of_keys_are_told(store, since).await;
}

pub(super) async fn key_ids_and_hashes_are_unique(store: &dyn Store) {
    for twin in [new_key("a", 9), new_key("c", 2)] {
        assert!(matches!(
            store.create_key(&twin).await,
            Err(StoreError::Broken(_))
        ));
    }
    assert_eq!(store.list_keys().await.unwrap().len(), 2);
    let mut forever = new_key("d", 4);
    forever.expires_at = None;
    store.create_key(&forever).await.unwrap();
    let key = store.key_by_hash(&[4; 32]).await.unwrap().unwrap();
    assert_eq!(key.expires_at, None);
    assert!(end(store, "d", NOON).await);
    let key = store.key_by_hash(&[4; 32]).await.unwrap().unwrap();
    assert_eq!(key.expires_at, Some(NOON));
}
