use ostia::identify::hash_key;
use ostia_core::{Clock as _, KeyRights, NewApiKey, Role, SystemClock};

use super::TestGateway;
use crate::canary::Canary;

impl TestGateway {
    /// Makes a key for another user, as `ostia key create` would while a gateway runs. Returns the whole key.
    pub async fn key_for(&self, username: &str, groups: &[&str]) -> String {
        self.key_in(username, groups, "").await
    }

    /// Makes the key of a job that registers engines: for these endpoints, in these networks.
    pub async fn registrar(&self, id: &str, slugs: &[&str], networks: &[&str]) -> String {
        let key = format!("sk-ostia-{}", Canary::new("").secret());
        let store = ostia_store::open(&self.site().database_url())
            .await
            .unwrap();
        let owned = |all: &[&str]| all.iter().map(|&one| one.to_owned()).collect();
        let new = NewApiKey {
            id: id.to_owned(),
            hash: hash_key(&key),
            username: "jobs@example.org".to_owned(),
            rights: KeyRights {
                role: Some(Role::Registrar),
                models: owned(slugs),
                addresses: owned(networks),
                ..KeyRights::default()
            },
            created_at: SystemClock.unix_micros(),
            ..NewApiKey::default()
        };
        store.create_key(&new).await.unwrap();
        key
    }

    /// The same, for a project.
    pub async fn key_in(&self, username: &str, groups: &[&str], project: &str) -> String {
        let key = format!("sk-ostia-{}", Canary::new("").secret());
        let store = ostia_store::open(&self.site().database_url())
            .await
            .unwrap();
        let mut new = NewApiKey {
            id: match project {
                "" => format!("key-of-{username}"),
                project => format!("key-of-{username}-{project}"),
            },
            hash: hash_key(&key),
            username: username.to_owned(),
            groups: groups.iter().map(|&group| group.to_owned()).collect(),
            label: username.to_owned(),
            project: project.to_owned(),
            created_at: SystemClock.unix_micros(),
            ..NewApiKey::default()
        };
        if store.create_key(&new).await.is_err() {
            // The user has a key by that name.
            new.id = format!("{}-{}", new.id, &hex::encode(new.hash)[..8]);
            store.create_key(&new).await.unwrap();
        }
        key
    }
}
