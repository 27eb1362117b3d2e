use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use ostia_core::{Change, Clock, Identity, Login, Project, Roster, Store, StoreError};
use parking_lot::Mutex;
use quick_cache::sync::Cache as QuickCache;

use super::behalf::Used;
use super::{Presence, Present};

/// More sign-ins than this between two readings are not stored.
const MOST_SIGN_INS: usize = 100_000;
/// Users of front ends whose groups are remembered, and for how long.
const REMEMBERED: usize = 10_000;
const FRESH: Duration = Duration::from_secs(60);
/// How often an unchanged sign-in is stored, in microseconds.
const WRITTEN_EVERY: i64 = 600_000_000;
/// Sign-ins that are written at once.
const BATCH: usize = 500;

/// The database's data on people, in memory: disabled accounts, links, projects. Every replica polls for changes
/// several times a second.
pub struct Directory {
    store: Arc<dyn Store>,
    index: ArcSwap<Index>,
    /// Counts the readings of the roster; 0: none yet.
    reading: AtomicU64,
    signed_in: Mutex<HashMap<Arc<str>, Login>>,
    /// The last stored sign-in of somebody.
    written: QuickCache<Arc<str>, Login>,
    presence: Arc<Presence>,
    used: Used,
    /// The known groups of users whom front ends name.
    owners: QuickCache<Arc<str>, Groups>,
    clock: Arc<dyn Clock>,
}

/// The groups of a user, and when they were read.
type Groups = (Instant, Arc<[Arc<str>]>);

#[derive(Default)]
struct Index {
    version: i64,
    disabled: HashSet<Arc<str>>,
    links: HashMap<Arc<str>, Arc<str>>,
    projects: HashMap<Arc<str>, Arc<Project>>,
}

impl Directory {
    pub fn new(store: Arc<dyn Store>, clock: Arc<dyn Clock>) -> Self {
        Self {
            store,
            index: ArcSwap::default(),
            reading: AtomicU64::new(0),
            signed_in: Mutex::default(),
            written: QuickCache::new(REMEMBERED),
            presence: Arc::default(),
            used: Used::default(),
            owners: QuickCache::new(REMEMBERED),
            clock,
        }
    }

    /// Stores who signed in, and reads what changed. Called several times a second from a background task.
    pub async fn look(&self) -> Result<(), StoreError> {
        self.flush().await?;
        let people = self.store.people();
        let known = self.index.load().version;
        if self.is_read() && people.version().await? == known {
            return Ok(());
        }
        self.take(people.roster().await?);
        Ok(())
    }

    /// Whether the roster was read at least once. Before that it is not known who is disabled.
    pub fn is_read(&self) -> bool {
        self.reading() != 0
    }

    /// Counts readings that changed something: results derived from an earlier reading must be derived again.
    pub(super) fn reading(&self) -> u64 {
        self.reading.load(Ordering::Acquire)
    }

    /// Whether keys that were made for `name` are this caller's. An administrator's word goes before what providers say.
    pub fn owns(&self, identity: &Identity, name: &str) -> bool {
        match self.index.load().links.get(name) {
            Some(person) => *person == identity.user_id,
            None => identity.goes_by(name),
        }
    }

    /// The names whose keys are this caller's.
    pub fn names_of(&self, identity: &Identity) -> Vec<String> {
        let index = self.index.load();
        let linked = index.links.iter();
        let linked = linked.filter(|(_, person)| **person == identity.user_id);
        let linked = linked.map(|(name, _)| &**name);
        let names = linked.chain([&*identity.user_id, &*identity.own_name]);
        names
            .filter(|name| self.owns(identity, name))
            .map(str::to_owned)
            .collect()
    }

    /// Whether the site said whose name it is.
    pub fn is_linked(&self, name: &str) -> bool {
        self.index.load().links.contains_key(name)
    }

    /// The person to whom an identity's requests belong.
    pub fn person_of(&self, identity: &Identity) -> Arc<str> {
        let index = self.index.load();
        let linked = |id: &Arc<str>| index.links.get(id).map(Arc::clone);
        let own = || Arc::clone(identity.link.as_ref().unwrap_or(&identity.user_id));
        linked(&identity.user_id)
            .or_else(|| identity.link.as_ref().and_then(linked))
            .unwrap_or_else(own)
    }

    pub fn is_disabled(&self, person: &str) -> bool {
        self.index.load().disabled.contains(person)
    }

    /// A project by its name, ended ones included.
    pub fn project(&self, name: &str) -> Option<Arc<Project>> {
        self.index.load().projects.get(name).cloned()
    }

    /// The open projects that a caller belongs to, by name.
    pub fn projects_of(&self, identity: &Identity) -> Vec<Arc<Project>> {
        let index = self.index.load();
        let mut projects: Vec<_> = index
            .projects
            .values()
            .filter(|project| project.is_open() && is_member(project, identity))
            .cloned()
            .collect();
        projects.sort_by(|one, other| one.name.cmp(&other.name));
        projects
    }

    /// Whether a caller looks after a project.
    pub fn manages(&self, identity: &Identity, project: &Project) -> bool {
        project.is_open() && project.is_manager(&identity.user_id, &identity.own_name)
    }

    /// Notes a request of a person, so that it ends with the account.
    pub fn enter(&self, person: &Arc<str>) -> Present {
        let present = self.presence.enter(person);
        // They may have been disabled since their credential was checked.
        if self.is_disabled(person) {
            present.dismiss();
        }
        present
    }

    pub(super) const fn used(&self) -> &Used {
        &self.used
    }

    /// The known groups of a user whom a front end names, at most a minute old.
    pub(super) async fn groups_of(&self, username: &str) -> Result<Arc<[Arc<str>]>, StoreError> {
        let now = self.clock.now();
        let key: Arc<str> = username.into();
        if let Some((at, groups)) = self.owners.get(&key)
            && now.duration_since(at) < FRESH
        {
            return Ok(groups);
        }
        let owner = self.store.people().owner(username).await?;
        let groups = owner.groups.unwrap_or_default();
        self.owners.insert(key, (now, Arc::clone(&groups)));
        Ok(groups)
    }

    /// Queues a sign-in to be stored with the next reading, if it says anything new.
    pub(super) fn note(&self, login: Login) {
        let key: Arc<str> = login.id.as_str().into();
        if self
            .written
            .get(&key)
            .is_some_and(|known| says_the_same(&known, &login))
        {
            return;
        }
        self.written.insert(key, login.clone());
        let mut signed_in = self.signed_in.lock();
        if signed_in.len() < MOST_SIGN_INS {
            signed_in.insert(login.id.as_str().into(), login);
        }
    }

    async fn flush(&self) -> Result<(), StoreError> {
        let noted: Vec<Login> = {
            let mut signed_in = self.signed_in.lock();
            signed_in.drain().map(|(_, login)| login).collect()
        };
        for batch in noted.chunks(BATCH) {
            let changes: Vec<_> = batch.iter().cloned().map(Change::Confirmed).collect();
            if let Err(error) = self.store.people().change(&changes, &[]).await {
                let mut signed_in = self.signed_in.lock();
                for login in noted {
                    signed_in.entry(login.id.as_str().into()).or_insert(login);
                }
                return Err(error);
            }
        }
        Ok(())
    }

    fn take(&self, roster: Roster) {
        let index = Index {
            version: roster.version,
            disabled: roster.disabled.into_iter().collect(),
            links: roster.links.into_iter().collect(),
            projects: roster
                .projects
                .into_iter()
                .map(|project| (Arc::clone(&project.name), Arc::new(project)))
                .collect(),
        };
        let index = Arc::new(index);
        let before = self.index.swap(Arc::clone(&index));
        self.reading.fetch_add(1, Ordering::AcqRel);
        for person in index.disabled.difference(&before.disabled) {
            let ended = self.presence.dismiss(person);
            tracing::info!(target: "ostia::audit", kind = "dismissed", user_id = &**person, ended, "an account is disabled");
        }
    }
}

/// An active user signs in again every minute; that is stored every ten minutes.
fn says_the_same(known: &Login, login: &Login) -> bool {
    let age = login.confirmed_at.saturating_sub(known.confirmed_at);
    let known = Login {
        confirmed_at: login.confirmed_at,
        ..known.clone()
    };
    known == *login && age < WRITTEN_EVERY
}

/// Whether a caller belongs to a project: by id, by a name for which somebody answers, or by a group.
pub(super) fn is_member(project: &Project, identity: &Identity) -> bool {
    project.has(&identity.user_id, &identity.own_name, &identity.groups)
}
