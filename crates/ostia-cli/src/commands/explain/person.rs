use std::sync::Arc;

use ostia::people::{key_state, rfc3339};
use ostia_core::{ApiKey, Clock as _, Identity, KeyFilter, Owner, Store, SystemClock, UsageQuery};
use serde_json::{Value, json};

use crate::commands::load::existing_store;
use crate::failure::{Failure, chain};
use crate::output::note;

/// In place of where the groups of a case come from: nobody named any, and no key of the user's has any.
pub(super) const NONE_GIVEN: &str = "none given";

/// A person, as access rules see them.
pub(super) struct Case {
    /// Where the groups come from.
    pub(super) source: String,
    pub(super) identity: Identity,
}

/// What the database knows about a user.
pub(super) struct Person {
    keys: Vec<ApiKey>,
    /// What providers said about the owner of the keys.
    owner: Owner,
    /// `None`: the database could not be asked.
    requests: Option<u64>,
    now: i64,
}

impl Person {
    /// If the database cannot be asked, that is only a warning, because rules can be judged without it.
    pub(super) async fn find(user: &str, url: &str) -> Self {
        let now = SystemClock.unix_micros();
        let asked = async {
            let store = existing_store(url).await?;
            look(&*store, user).await
        };
        match asked.await {
            Ok((keys, owner, requests)) => Self {
                keys,
                owner,
                requests: Some(requests),
                now,
            },
            Err(failure) => {
                let text = failure.text();
                note(&format!(
                    "warning: the user's keys and requests are not known: {text}"
                ));
                Self {
                    keys: Vec::new(),
                    owner: Owner::default(),
                    requests: None,
                    now,
                }
            }
        }
    }

    pub(super) fn is_known(&self) -> Option<bool> {
        self.requests
            .map(|requests| requests > 0 || !self.keys.is_empty())
    }

    pub(super) fn cases(&self, user: &str, given: &[String]) -> Vec<Case> {
        let case = |source: String, groups: Arc<[Arc<str>]>| Case {
            source,
            identity: Identity {
                username: user.into(),
                own_name: user.into(),
                domain: Identity::domain_of(user),
                groups,
                ..Identity::default()
            },
        };
        if !given.is_empty() {
            let groups = given.iter().map(|group| Identity::group(group).into());
            return vec![case("as given".to_owned(), groups.collect())];
        }
        let mut cases: Vec<Case> = Vec::new();
        for key in self.keys.iter().filter(|key| self.state(key) == "active") {
            let groups = key.groups_now(&self.owner);
            let models = key.rights.models.iter().map(|model| model.as_str().into());
            let models: Option<Arc<[Arc<str>]>> =
                (!key.rights.models.is_empty()).then(|| models.collect());
            let known = cases.iter().any(|case| {
                let known = &case.identity;
                (&known.groups, &known.project, &known.models) == (&groups, &key.project, &models)
            });
            if !known {
                let mut own = case(format!("of key {}", key.id), groups);
                own.identity.models = models;
                own.identity.key_id = Some(Arc::clone(&key.id));
                own.identity.project = Arc::clone(&key.project);
                cases.push(own);
            }
        }
        if cases.is_empty() {
            cases.push(case(NONE_GIVEN.to_owned(), Arc::default()));
        }
        cases
    }

    /// The text about the keys and the person.
    pub(super) fn lines(&self) -> Vec<String> {
        if self.is_known() == Some(false) {
            let text = "unknown user: nobody of this name has a key here or has made a request; the rules are judged by \
                        the name alone";
            return vec![text.to_owned()];
        }
        let key = |key: &ApiKey| {
            let state = self.state(key);
            let what = match (key.revoked_at, key.expires_at) {
                (Some(moment), _) => format!("revoked at {}", rfc3339(moment)),
                (None, Some(moment)) if state == "active" => {
                    format!("active, ends at {}", rfc3339(moment))
                }
                (None, Some(moment)) => format!("expired at {}", rfc3339(moment)),
                (None, None) => "active, never ends".to_owned(),
            };
            format!("key {}: {what}", key.id)
        };
        let mut lines: Vec<String> = self.keys.iter().map(key).collect();
        if let (true, Some(requests)) = (self.keys.is_empty(), self.requests) {
            lines.push(format!("no keys; {requests} requests in the ledger"));
        }
        lines
    }

    pub(super) fn keys_as_json(&self) -> Vec<Value> {
        let key = |key: &ApiKey| json!({"id": &*key.id, "state": self.state(key), "expires_at": key.expires_at.map(rfc3339)});
        self.keys.iter().map(key).collect()
    }

    fn state(&self, key: &ApiKey) -> &'static str {
        key_state(key, self.now)
    }
}

/// The user's keys, and the number of all their requests.
async fn look(store: &dyn Store, user: &str) -> Result<(Vec<ApiKey>, Owner, u64), Failure> {
    let failed = |error| Failure::other(chain(&error));
    let names = [user.to_owned()];
    let found = store.find_keys(KeyFilter::Owners(&names)).await;
    let mut keys = found.map_err(failed)?;
    keys.retain(|key| *key.username == *user);
    let query = UsageQuery {
        user: Some(user.to_owned()),
        ..UsageQuery::default()
    };
    let usage = store.usage(&query).await.map_err(failed)?;
    let owner = store.people().owner(user).await.map_err(failed)?;
    Ok((keys, owner, usage.iter().map(|row| row.requests).sum()))
}
