//! The texts that users get during maintenance: from `ostia maintenance set`, a status source, or `ostia.toml`.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use http::HeaderMap;
use ostia_core::{Blocked, Clock, Notice, NoticeScope, Store, StoreError};
use serde_json::Value;

use crate::authorize;
use crate::catalog::{HttpUrl, Target, Timeouts};
use crate::settings::MaintenanceSource;
use crate::upstream::Clients;

/// Cluster to text.
type Texts = BTreeMap<String, Arc<str>>;

/// Reads one of the former files; `None`: the file has another form.
type FormerReader = fn(&[u8]) -> Option<Vec<Notice>>;
/// The files in which notices and blocks were kept before they were in the store.
const FORMER_FILES: [(&str, FormerReader); 2] = [
    ("maintenance.json", former_notices),
    ("blocks.json", former_blocks),
];
const PATIENCE: Duration = Duration::from_secs(10);
const LONGEST_PAGE: usize = 1 << 20;

/// The notices of one snapshot.
pub struct Notices {
    configured: Texts,
    live: Arc<LiveNotices>,
    clock: Arc<dyn Clock>,
}

/// Notices that can change while the gateway runs.
#[derive(Debug, Default)]
pub struct LiveNotices {
    /// From `ostia maintenance set`, including future and past ones.
    set: ArcSwap<BTreeMap<NoticeScope, Stored>>,
    /// From `[maintenance.source.*]`.
    sources: ArcSwap<Texts>,
}

/// A notice from the store, with its text shared.
#[derive(Debug)]
struct Stored(Notice, Arc<str>);

impl Notices {
    pub fn new(
        configured: &BTreeMap<String, String>,
        live: Arc<LiveNotices>,
        clock: Arc<dyn Clock>,
    ) -> Self {
        Self {
            configured: texts(configured),
            live,
            clock,
        }
    }

    fn set(&self, scope: &NoticeScope) -> Option<Arc<str>> {
        let set = self.live.set.load();
        let Stored(notice, text) = set.get(scope)?;
        notice
            .holds_at(self.clock.unix_micros())
            .then(|| Arc::clone(text))
    }
}

impl authorize::NoticeLookup for Notices {
    fn notice(&self, cluster: &str) -> Option<Arc<str>> {
        let set = || {
            if self.live.set.load().is_empty() {
                return None;
            }
            let own = self.set(&NoticeScope::Cluster(cluster.to_owned()));
            own.or_else(|| self.set(&NoticeScope::All))
        };
        let source = || self.live.sources.load().get(cluster).cloned();
        set()
            .or_else(source)
            .or_else(|| self.configured.get(cluster).cloned())
    }

    fn model_notice(&self, model: &str) -> Option<Arc<str>> {
        if self.live.set.load().is_empty() {
            return None;
        }
        self.set(&NoticeScope::Model(model.to_owned()))
    }
}

impl LiveNotices {
    /// `stored`: what the store has now, sorted by scope. Ignores blocks.
    pub fn take(&self, stored: &[Notice]) {
        let stored = || stored.iter().filter(|notice| !notice.scope.is_block());
        let known = self.set.load();
        let same = known.values().map(|Stored(notice, _)| notice).eq(stored());
        if !same {
            let entries = stored().map(|notice| {
                let text = Arc::from(notice.text.as_str());
                (notice.scope.clone(), Stored(notice.clone(), text))
            });
            self.set.store(Arc::new(entries.collect()));
        }
    }

    /// Forgets the notices of sources that no longer exist.
    pub(crate) fn keep_sources(&self, sources: &BTreeMap<String, MaintenanceSource>) {
        self.sources.rcu(|texts| {
            let mut texts = Texts::clone(texts);
            texts.retain(|cluster, _| sources.contains_key(cluster));
            texts
        });
    }

    /// Asks a source once. If its answer is unusable, nothing changes.
    pub async fn ask(&self, cluster: &str, source: &MaintenanceSource, clients: &Clients) {
        let Ok(url) = HttpUrl::parse(&source.url) else {
            return;
        };
        let path = url.path_and_query();
        let limit = Some(PATIENCE);
        let timeouts = Timeouts {
            connect: limit,
            response_header: limit,
            stream_idle: limit,
            total: limit,
        };
        let client = match clients.client(&Target::plain(url.origin, timeouts)) {
            Ok(client) => client,
            Err(error) => {
                tracing::error!(cluster, %error, "the maintenance source cannot be called");
                return;
            }
        };
        let asking = client.get(&path, HeaderMap::new(), LONGEST_PAGE);
        let status = match asking.await {
            Ok((code, page)) if code.is_success() => status_in(&page, &source.field),
            Ok((code, _)) => {
                tracing::warn!(
                    cluster,
                    status = code.as_u16(),
                    "the maintenance source failed"
                );
                None
            }
            Err(error) => {
                tracing::warn!(cluster, %error, "the maintenance source cannot be called");
                None
            }
        };
        let Some(status) = status else { return };
        let down = source
            .down
            .iter()
            .any(|word| word.eq_ignore_ascii_case(&status));
        self.sources.rcu(|texts| {
            let mut texts = Texts::clone(texts);
            if down {
                let text = format!("Cluster {cluster} is currently down for maintenance.");
                texts.insert(cluster.to_owned(), text.into());
            } else {
                texts.remove(cluster);
            }
            texts
        });
    }
}

/// `field`: a key, or keys joined by dots.
fn status_in(page: &[u8], field: &str) -> Option<String> {
    let page: Value = serde_json::from_slice(page).ok()?;
    let found = field
        .split('.')
        .try_fold(&page, |value, key| value.get(key))?;
    match found {
        Value::String(text) => Some(text.clone()),
        Value::Bool(flag) => Some(flag.to_string()),
        _ => None,
    }
}

/// Moves notices and blocks from the files of an earlier version to the store, once.
pub async fn move_former_notices(state_dir: &Path, store: &dyn Store) -> Result<(), StoreError> {
    for (file, notices) in FORMER_FILES {
        let path = state_dir.join(file);
        let bytes = match fs::read(&path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            Err(error) => {
                tracing::error!(%error, "{} cannot be read", path.display());
                continue;
            }
        };
        let Some(former) = notices(&bytes) else {
            tracing::error!(
                "{} cannot be read: it is not what ostia wrote",
                path.display()
            );
            continue;
        };
        for notice in &former {
            store.set_notice(notice).await?;
        }
        if let Err(error) = fs::rename(&path, state_dir.join(format!("{file}.moved"))) {
            tracing::error!(%error, "{} was carried to the store and cannot be put aside", path.display());
        }
    }
    Ok(())
}

/// Cluster to text.
fn former_notices(bytes: &[u8]) -> Option<Vec<Notice>> {
    let texts: BTreeMap<String, String> = serde_json::from_slice(bytes).ok()?;
    let notice = |(cluster, text)| Notice {
        scope: NoticeScope::Cluster(cluster),
        text,
        begins_at: None,
        ends_at: None,
    };
    Some(texts.into_iter().map(notice).collect())
}

/// For each kind, name to the Unix second of the end.
fn former_blocks(bytes: &[u8]) -> Option<Vec<Notice>> {
    let mut kinds: BTreeMap<String, BTreeMap<String, Option<i64>>> =
        serde_json::from_slice(bytes).ok()?;
    let mut blocks = Vec::new();
    for what in Blocked::ALL {
        for (name, until) in kinds.remove(what.as_str()).unwrap_or_default() {
            blocks.push(Notice {
                scope: NoticeScope::Blocked(what, name),
                text: String::new(),
                begins_at: None,
                ends_at: until.map(|second| second.saturating_mul(1_000_000)),
            });
        }
    }
    Some(blocks)
}

fn texts(plain: &BTreeMap<String, String>) -> Texts {
    plain
        .iter()
        .map(|(cluster, text)| (cluster.clone(), Arc::from(text.as_str())))
        .collect()
}

#[cfg(test)]
mod tests {
    use ostia_core::ManualClock;

    use super::*;
    use crate::authorize::NoticeLookup as _;

    fn notice(scope: NoticeScope, text: &str, from: Option<i64>, until: Option<i64>) -> Notice {
        Notice {
            scope,
            text: text.to_owned(),
            begins_at: from,
            ends_at: until,
        }
    }

    fn live(all: Vec<Notice>) -> Arc<LiveNotices> {
        let live = LiveNotices::default();
        live.take(&all);
        Arc::new(live)
    }

    #[test]
    fn the_nearest_notice_that_holds_now_is_told() {
        let clock = Arc::new(ManualClock::at(100));
        let live = live(vec![
            notice(NoticeScope::All, "all", Some(200), Some(300)),
            notice(NoticeScope::Cluster("a".to_owned()), "a", None, Some(250)),
            notice(NoticeScope::Model("m".to_owned()), "m", Some(150), None),
        ]);
        let configured = BTreeMap::from([("b".to_owned(), "from the file".to_owned())]);
        let notices = Notices::new(&configured, live, clock.clone());
        let told = |name: &str| notices.notice(name).map(|text| text.to_string());
        let model = || notices.model_notice("m").map(|text| text.to_string());
        let some = |text: &str| Some(text.to_owned());
        for (now, a, b, c, m) in [
            (100, some("a"), some("from the file"), None, None),
            (199, some("a"), some("from the file"), None, some("m")),
            (200, some("a"), some("all"), some("all"), some("m")),
            (250, some("all"), some("all"), some("all"), some("m")),
            (300, None, some("from the file"), None, some("m")),
        ] {
            clock.jump_wall(now - clock.unix_micros());
            assert_eq!(
                (told("a"), told("b"), told("c"), model()),
                (a, b, c, m),
                "{now}"
            );
        }
        assert_eq!(notices.model_notice("other"), None);
    }

    #[test]
    fn blocks_of_an_earlier_version_are_read() {
        let file = br#"{"user": {"ada": null, "bob": 5}, "key": {"k": -1}}"#;
        let block = |what, name: &str, ends_at| {
            notice(
                NoticeScope::Blocked(what, name.to_owned()),
                "",
                None,
                ends_at,
            )
        };
        let expected = vec![
            block(Blocked::User, "ada", None),
            block(Blocked::User, "bob", Some(5_000_000)),
            block(Blocked::Key, "k", Some(-1_000_000)),
        ];
        assert_eq!(former_blocks(file), Some(expected.clone()));
        assert_eq!(former_blocks(b"no JSON"), None);
        let live = live(expected);
        assert!(live.set.load().is_empty(), "nothing is under maintenance");
    }

    #[test]
    fn the_status_is_found_by_its_keys() {
        let page = br#"{"current_status":"Down","data":{"status":"up"},"n":1}"#;
        assert_eq!(status_in(page, "current_status").as_deref(), Some("Down"));
        assert_eq!(status_in(page, "data.status").as_deref(), Some("up"));
        assert_eq!(status_in(page, "n"), None);
        assert_eq!(status_in(page, "data.nothing"), None);
        assert_eq!(status_in(b"[", "current_status"), None);
    }
}
