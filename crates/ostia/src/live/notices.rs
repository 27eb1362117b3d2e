//! The messages for users of clusters under maintenance: from `ostia maintenance set`, a status source, or
//! `ostia.toml`.

use std::collections::BTreeMap;
use std::fs;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use arc_swap::ArcSwap;
use http::HeaderMap;
use ostia_core::private_file;
use parking_lot::Mutex;
use rustix::fs::{FlockOperation, flock};
use serde_json::Value;

use crate::authorize;
use crate::catalog::{HttpUrl, Target, Timeouts};
use crate::settings::MaintenanceSource;
use crate::upstream::Clients;

/// Cluster to text.
type Texts = BTreeMap<String, Arc<str>>;

const FILE: &str = "maintenance.json";
const PATIENCE: Duration = Duration::from_secs(10);
const LONGEST_PAGE: usize = 1 << 20;

/// The notices of one snapshot.
#[derive(Debug, Default)]
pub struct Notices {
    configured: Texts,
    live: Arc<LiveNotices>,
}

/// Notices that come and go while the gateway runs.
#[derive(Debug, Default)]
pub struct LiveNotices {
    /// From `ostia maintenance set`.
    set: ArcSwap<Texts>,
    /// From `[maintenance.source.*]`.
    sources: ArcSwap<Texts>,
    seen: Mutex<Seen>,
}

/// What the last look at the file found.
#[derive(Debug, Default)]
struct Seen {
    /// The file's modification time and size when it was last read.
    stamp: Option<(SystemTime, u64)>,
    /// Why it could not be read, as logged. The same fault is logged once.
    fault: Option<String>,
}

impl Notices {
    pub fn new(configured: &BTreeMap<String, String>, live: Arc<LiveNotices>) -> Self {
        Self {
            configured: texts(configured),
            live,
        }
    }
}

impl authorize::NoticeLookup for Notices {
    fn notice(&self, cluster: &str) -> Option<Arc<str>> {
        let set = self.live.set.load();
        let sources = self.live.sources.load();
        [&**set, &**sources, &self.configured]
            .into_iter()
            .find_map(|texts| texts.get(cluster).cloned())
    }
}

impl LiveNotices {
    /// Reads the file that `ostia maintenance` writes, if it changed. Blocks the thread while the disk does.
    pub fn refresh(&self, state_dir: &Path) {
        let path = state_dir.join(FILE);
        let stamp = fs::metadata(&path)
            .ok()
            .and_then(|meta| Some((meta.modified().ok()?, meta.len())));
        let mut seen = self.seen.lock();
        if seen.stamp == stamp {
            return;
        }
        match read_notices(state_dir) {
            Ok(notices) => {
                self.set.store(Arc::new(texts(&notices)));
                *seen = Seen { stamp, fault: None };
            }
            Err(error) => {
                let fault = Some(error.to_string());
                if seen.fault != fault {
                    tracing::error!(%error, "{} cannot be read", path.display());
                    seen.fault = fault;
                }
            }
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

    /// Asks a source once. If it does not answer properly, nothing changes.
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

/// What `ostia maintenance set` wrote: cluster to text. Without a file there are no notices.
pub fn read_notices(state_dir: &Path) -> io::Result<BTreeMap<String, String>> {
    match fs::read(state_dir.join(FILE)) {
        Ok(bytes) => Ok(serde_json::from_slice(&bytes)?),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(BTreeMap::new()),
        Err(error) => Err(error),
    }
}

/// `ostia maintenance set`: a running gateway sees the notice within a second, a new one at start.
pub fn set_notice(state_dir: &Path, cluster: &str, text: &str) -> io::Result<()> {
    change(state_dir, |notices| {
        notices.insert(cluster.to_owned(), text.to_owned());
        true
    })
    .map(drop)
}

/// `ostia maintenance clear`. `false`: there was no notice.
pub fn clear_notice(state_dir: &Path, cluster: &str) -> io::Result<bool> {
    change(state_dir, |notices| notices.remove(cluster).is_some())
}

/// If two commands run at once, both take effect. A reader sees either the old file or the new one.
fn change(
    state_dir: &Path,
    edit: impl FnOnce(&mut BTreeMap<String, String>) -> bool,
) -> io::Result<bool> {
    fs::create_dir_all(state_dir)?;
    let lock = private_file(&state_dir.join(format!("{FILE}.lock")))?;
    flock(&lock, FlockOperation::LockExclusive)?;
    let mut notices = read_notices(state_dir)?;
    if !edit(&mut notices) {
        return Ok(false);
    }
    let new: PathBuf = state_dir.join(format!("{FILE}.new"));
    let mut file = private_file(&new)?;
    file.write_all(&serde_json::to_vec_pretty(&notices)?)?;
    file.sync_all()?;
    fs::rename(&new, state_dir.join(FILE))?;
    Ok(true)
}

fn texts(plain: &BTreeMap<String, String>) -> Texts {
    plain
        .iter()
        .map(|(cluster, text)| (cluster.clone(), Arc::from(text.as_str())))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::authorize::NoticeLookup as _;

    #[test]
    fn a_set_notice_survives_and_goes_before_the_configured_one() {
        let folder = tempfile::tempdir().unwrap();
        let live = Arc::new(LiveNotices::default());
        let configured = BTreeMap::from([("a".to_owned(), "from the file".to_owned())]);
        let notices = Notices::new(&configured, Arc::clone(&live));
        live.refresh(folder.path());
        assert_eq!(notices.notice("a").as_deref(), Some("from the file"));
        assert_eq!(notices.notice("b"), None);

        set_notice(folder.path(), "a", "set").unwrap();
        set_notice(folder.path(), "b", "set too").unwrap();
        live.refresh(folder.path());
        assert_eq!(notices.notice("a").as_deref(), Some("set"));
        // Another process, later.
        let later = LiveNotices::default();
        later.refresh(folder.path());
        assert_eq!(
            later.set.load().get("b").map(|text| &**text),
            Some("set too")
        );

        assert!(clear_notice(folder.path(), "a").unwrap());
        assert!(!clear_notice(folder.path(), "a").unwrap());
        live.refresh(folder.path());
        assert_eq!(notices.notice("a").as_deref(), Some("from the file"));
        assert_eq!(notices.notice("b").as_deref(), Some("set too"));
    }

    #[test]
    fn a_file_that_cannot_be_read_changes_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let live = LiveNotices::default();
        set_notice(folder.path(), "a", "set").unwrap();
        live.refresh(folder.path());
        fs::write(folder.path().join(FILE), "{ not json, and longer").unwrap();
        live.refresh(folder.path());
        assert!(live.set.load().contains_key("a"));
        // A fault is logged once for as long as it stays the same.
        let fault = || live.seen.lock().fault.clone();
        let first = fault();
        assert!(first.is_some());
        live.refresh(folder.path());
        assert_eq!(fault(), first);
        clear_notice(folder.path(), "a").unwrap_err();
        fs::remove_file(folder.path().join(FILE)).unwrap();
        live.refresh(folder.path());
        assert_eq!((fault(), live.set.load().len()), (None, 0));
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
