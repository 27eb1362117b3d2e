use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use http::Method;
use ostia::admin::call;
use ostia::admit::{BlockList, applied, own_limits};
use ostia::catalog::{Deployment, HttpUrl};
use ostia::rank::{Home, RUNNING, Readiness, Signals};
use ostia::settings::{Limits, ListenAddress, Settings};
use ostia_core::{Blocked, Clock as _, Identity, NoticeScope, SystemClock};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::{Map, Value, json};

use crate::commands::load::existing_store;
use crate::commands::web::Page;

/// What else decides how a request ends: limits, maintenance, and the health of endpoints.
pub(super) struct Around {
    limits: Limits,
    /// The notices that apply now, and where they were set.
    notices: BTreeMap<NoticeScope, (String, &'static str)>,
    /// Clusters whose notices the running gateway fetches.
    sources: Vec<String>,
    health: Result<BTreeMap<String, Health>, String>,
    /// The user's waiting requests in the running gateway, as its admin listener lists them.
    waiting: Vec<Value>,
    blocks: BlockList,
}

/// From the running gateway's metrics.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
struct Health {
    in_flight: u64,
    full: bool,
    failing: bool,
    unread_tokens: u64,
    away_ms: u64,
}

impl Around {
    pub(super) async fn look(settings: &Settings, user: &str) -> Self {
        let configured = settings.maintenance.iter();
        let mut notices: BTreeMap<_, _> = configured
            .map(|(cluster, text)| {
                let scope = NoticeScope::Cluster(cluster.clone());
                (scope, (text.clone(), "[maintenance]"))
            })
            .collect();
        // If the database does not answer, it has no notices to show.
        let set = match existing_store(settings.store.url.expose()).await {
            Ok(store) => store.notices().await.unwrap_or_default(),
            Err(_) => Vec::new(),
        };
        let blocks = BlockList::of_notices(&set);
        let now = SystemClock.unix_micros();
        let hold = set.into_iter().filter(|notice| notice.holds_at(now));
        notices.extend(hold.map(|notice| (notice.scope, (notice.text, "ostia maintenance set"))));
        Self {
            limits: settings.limits.clone(),
            notices,
            sources: settings.maintenance_sources.keys().cloned().collect(),
            health: health(&settings.server.admin_listen).await,
            waiting: waiting(&settings.server.state_dir, user).await,
            blocks,
        }
    }

    pub(super) fn notice(&self, deployment: &Deployment) -> Option<&str> {
        self.notice_and_source(deployment)
            .map(|(text, _)| text.as_str())
    }

    /// The notice that applies to requests.
    fn notice_and_source(&self, deployment: &Deployment) -> Option<&(String, &'static str)> {
        let cluster = NoticeScope::Cluster(deployment.cluster.name.to_string());
        let model = NoticeScope::Model(deployment.model.to_string());
        let scopes = [cluster, NoticeScope::All, model];
        scopes.iter().find_map(|scope| self.notices.get(scope))
    }

    /// 0 means off.
    pub(super) fn limits(&self, deployment: &Deployment, who: &Identity) -> Value {
        let applied = applied(&self.limits, who, deployment);
        let mut limits: Map<String, Value> = applied
            .iter()
            .map(|limit| (limit.key.to_owned(), Value::from(limit.most)))
            .collect();
        let blocked =
            own_limits(&self.limits, who).blocked || self.block(deployment, who).is_some();
        limits.insert("blocked".to_owned(), blocked.into());
        limits.into()
    }

    pub(super) fn health(&self, slug: &str) -> Value {
        match self.health_of(slug) {
            Some(health) => json!({
                "in_flight": health.in_flight, "full": health.full, "failing": health.failing,
                "unread_tokens": health.unread_tokens, "away_ms": health.away_ms,
            }),
            None => Value::Null,
        }
    }

    /// `None`: no gateway answers. Metrics cover only endpoints that were used.
    fn health_of(&self, slug: &str) -> Option<Health> {
        let all = self.health.as_ref().ok()?;
        Some(all.get(slug).cloned().unwrap_or_default())
    }

    /// What the endpoint is ranked by. If no gateway can be asked, all are idle.
    pub(super) fn signals(&self, deployment: &Deployment) -> Signals {
        let known = self.health.as_ref().ok();
        let health = known.and_then(|all| all.get(&*deployment.slug));
        let health = health.cloned().unwrap_or_default();
        Signals {
            readiness: match (health.away_ms, health.failing) {
                (0, false) => Readiness::Ready,
                (0, true) => Readiness::Suspect,
                (wait, _) => Readiness::Away(Duration::from_millis(wait)),
            },
            stand_in: 0,
            priority: deployment.priority,
            is_full: health.full,
            work: health.unread_tokens + health.in_flight * RUNNING,
            uncached: 0,
            home: Home::None,
            weight: deployment.weight,
            share: 100,
        }
    }

    /// The text about one endpoint.
    pub(super) fn of(&self, deployment: &Deployment, who: &Identity) -> Vec<String> {
        let mut lines = Vec::new();
        let cluster = &*deployment.cluster.name;
        if let Some((text, set_by)) = self.notice_and_source(deployment) {
            lines.push(format!(
                "maintenance: requests get 503 \"{}\" ({set_by})",
                text.escape_debug()
            ));
        }
        if self.sources.iter().any(|source| source == cluster) {
            lines.push("maintenance: the gateway also asks the cluster's status source".to_owned());
        }
        lines.push(format!("limits: {}", self.limits_in_words(deployment, who)));
        if let Some(health) = self.health_of(&deployment.slug) {
            let word = match health.failing {
                true => "its last five requests failed, so others are tried first",
                false => "it answers",
            };
            let full = match health.full {
                true => ", which is as many as it serves best",
                false => "",
            };
            lines.push(format!(
                "health: {word}; {} in flight{full}",
                health.in_flight
            ));
        }
        lines
    }

    /// The text about all endpoints.
    pub(super) fn lines(&self) -> Vec<String> {
        let failed = self.health.as_ref().err();
        let failed = failed.map(|why| format!("health is not known: {why}"));
        failed
            .into_iter()
            .chain(self.waiting.iter().map(wait))
            .collect()
    }

    fn block(&self, deployment: &Deployment, who: &Identity) -> Option<Blocked> {
        let now = SystemClock.unix_micros();
        self.blocks.of(who, &deployment.model, now)
    }

    pub(super) fn waiting(&self) -> &[Value] {
        &self.waiting
    }

    fn limits_in_words(&self, deployment: &Deployment, who: &Identity) -> String {
        if own_limits(&self.limits, who).blocked {
            return "the user, a group, the project or the key is blocked".to_owned();
        }
        if let Some(what) = self.block(deployment, who) {
            let what = what.as_str();
            return format!("the {what} is blocked (ostia unblock {what} ...)");
        }
        let limits: Vec<String> = applied(&self.limits, who, deployment)
            .iter()
            .filter(|limit| limit.most > 0)
            .map(|limit| format!("{} {}", limit.most, limit.counts))
            .collect();
        match limits.is_empty() {
            true => "none".to_owned(),
            false => limits.join(", "),
        }
    }
}

/// What one request waits for, since when, and for how long still.
fn wait(waits: &Value) -> String {
    let seconds = |key: &str| waits[key].as_f64().map(|millis| millis / 1e3);
    let text = |key: &str| waits[key].as_str().unwrap_or_default().to_owned();
    let waited = seconds("waited_ms").unwrap_or_default();
    let still = seconds("expected_ms")
        .map_or_else(String::new, |still| format!(", about {still:.1} s more"));
    format!(
        "waiting: a request for {} has waited {waited:.1} s for {}{still}",
        text("model"),
        text("waits_for")
    )
}

/// Empty if no gateway runs, or if this user may not ask it.
async fn waiting(state_dir: &Path, user: &str) -> Vec<Value> {
    let user = utf8_percent_encode(user, NON_ALPHANUMERIC);
    let path = format!("/admin/waiting?user={user}");
    match call(state_dir, Method::GET, &path, None).await {
        Ok(answer) => answer.value["data"].as_array().cloned().unwrap_or_default(),
        Err(_) => Vec::new(),
    }
}

/// Asks the running gateway. The error says why it cannot be asked.
async fn health(admin: &ListenAddress) -> Result<BTreeMap<String, Health>, String> {
    let ListenAddress::Tcp(address) = admin else {
        return Err("server.admin_listen is a Unix socket".to_owned());
    };
    let nobody = || format!("no gateway answers at {address} (server.admin_listen)");
    // Port 0 means any port, so it is unknown.
    let url = HttpUrl::parse(&format!("http://{address}/metrics")).map_err(|_| nobody())?;
    let page = Page::default().get(&url).await.map_err(|_| nobody())?;
    Ok(parse(&page.text()))
}

/// Samples of OpenMetrics text: `ostia_endpoint_in_flight{endpoint="SLUG"} 3`.
fn parse(text: &str) -> BTreeMap<String, Health> {
    let mut all: BTreeMap<String, Health> = BTreeMap::new();
    for line in text.lines() {
        let sample = line.split_once("{endpoint=\"").and_then(|(name, rest)| {
            let (slug, value) = rest.split_once("\"} ")?;
            Some((name, slug, value.trim().parse::<u64>().ok()?))
        });
        match sample {
            Some(("ostia_endpoint_in_flight", slug, count)) => {
                all.entry(slug.to_owned()).or_default().in_flight = count;
            }
            Some(("ostia_endpoint_full", slug, count)) => {
                all.entry(slug.to_owned()).or_default().full = count > 0;
            }
            Some(("ostia_endpoint_failing", slug, count)) => {
                all.entry(slug.to_owned()).or_default().failing = count > 0;
            }
            Some(("ostia_endpoint_unread_tokens", slug, count)) => {
                all.entry(slug.to_owned()).or_default().unread_tokens = count;
            }
            Some(("ostia_endpoint_away_milliseconds", slug, count)) => {
                all.entry(slug.to_owned()).or_default().away_ms = count;
            }
            _ => {}
        }
    }
    all
}

#[cfg(test)]
mod tests {
    use super::{Health, parse};

    #[test]
    fn samples_of_endpoints_are_read() {
        let text = "# TYPE ostia_endpoint_in_flight gauge\n\
                    ostia_endpoint_in_flight{endpoint=\"a\"} 3\nostia_endpoint_in_flight{endpoint=\"b\"} 0\n\
                    ostia_endpoint_failing{endpoint=\"b\"} 1\nostia_endpoint_full{endpoint=\"a\"} 1\nostia_requests_total{endpoint=\"a\",outcome=\"ok\"} 7\n# EOF\n";
        let all = parse(text);
        let health = |in_flight, full, failing| Health {
            in_flight,
            full,
            failing,
            ..Health::default()
        };
        assert_eq!(all["a"], health(3, true, false));
        assert_eq!(all["b"], health(0, false, true));
        assert_eq!(all.len(), 2);
    }
}
