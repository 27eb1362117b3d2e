use ostia::catalog::{Catalog, Deployment, Serving};
use ostia::config::{Loaded, Problem};
use serde_json::{Map, Value, json};

use crate::output::Look;
use crate::table::Table;

/// A line for each URL of each endpoint. The problems printed before it say why an endpoint is not served.
pub(super) fn table(catalog: &Catalog) -> String {
    let mut columns = vec![
        "ENDPOINT",
        "MODEL",
        "CLUSTER",
        "FRAMEWORK",
        "!STATE",
        "API",
        "URL",
    ];
    let proxied = catalog.deployments().iter().any(|one| proxy(one).is_some());
    columns.extend(proxied.then_some("PROXY"));
    let mut table = Table::new(columns);
    for deployment in catalog.deployments() {
        let (state, _) = state(deployment);
        let named = [
            &*deployment.slug,
            &*deployment.model,
            &*deployment.cluster.name,
            &*deployment.framework,
            state,
        ];
        let urls = urls(deployment);
        if urls.is_empty() {
            let none = ["-"; 3].into_iter().take(2 + usize::from(proxied));
            table.row(named.into_iter().chain(none));
        }
        for (nth, (api, url)) in urls.iter().enumerate() {
            let named = if nth == 0 { named } else { [""; 5] };
            let proxy = proxy(deployment).unwrap_or_else(|| "-".to_owned());
            let last = [api.as_str(), url.as_str()].into_iter();
            let last = last.chain(proxied.then_some(proxy.as_str()));
            table.row(named.into_iter().chain(last));
        }
    }
    // URLs are not wrapped, so that they can be compared and copied.
    table.render(Look::of_stdout().wide())
}

pub(super) fn json(loaded: &Loaded) -> String {
    let endpoints: Vec<Value> = loaded
        .catalog
        .deployments()
        .iter()
        .map(|one| endpoint(one))
        .collect();
    let problems: Vec<Value> = loaded.problems.iter().map(problem).collect();
    let ok = loaded.settings.is_some() && loaded.errors().next().is_none();
    let all = json!({"ok": ok, "endpoints": endpoints, "problems": problems});
    format!("{all:#}\n")
}

fn endpoint(deployment: &Deployment) -> Value {
    let (state, reason) = state(deployment);
    // The first URL of each API; those of replicas differ only in the base.
    let mut first = Map::new();
    let mut replicas: Vec<String> = Vec::new();
    for (api, url) in urls(deployment) {
        if first.contains_key(&api) {
            replicas.push(url);
        } else {
            first.insert(api, Value::from(url));
        }
    }
    json!({
        "endpoint_slug": &*deployment.slug,
        "cluster": &*deployment.cluster.name,
        "framework": &*deployment.framework,
        "model": &*deployment.model,
        "upstream_model": &*deployment.upstream_model,
        "aliases": deployment.aliases.iter().map(AsRef::as_ref).collect::<Vec<&str>>(),
        "federated": deployment.federated,
        "state": state,
        "reason": reason,
        "urls": first,
        "replica_urls": replicas,
        "proxy": proxy(deployment),
    })
}

fn problem(problem: &Problem) -> Value {
    let (line, column) = problem.place.position.unzip();
    json!({
        "severity": problem.severity.as_str(),
        "file": &*problem.place.source,
        "line": line,
        "column": column,
        "text": problem.text,
    })
}

/// The state in one word, and the reason if it is not served.
fn state(deployment: &Deployment) -> (&'static str, Option<&str>) {
    match &deployment.serving {
        Serving::Disabled(reason) => ("disabled", Some(reason)),
        Serving::AdapterUnavailable(name) => ("adapter_unavailable", Some(name)),
        Serving::Yes if !deployment.framework_listed() => (
            "on_no_route",
            Some("its cluster does not list its framework"),
        ),
        Serving::Yes => ("served", None),
    }
}

/// Each API that the cluster lists, with each URL that would be called. Empty if nothing would be called.
fn urls(deployment: &Deployment) -> Vec<(String, String)> {
    if deployment.serving != Serving::Yes {
        return Vec::new();
    }
    let apis = deployment.cluster.openai_endpoints.iter();
    let urls_of = |api: &str| {
        let urls = match deployment.register {
            Some(_) => vec!["by lease".to_owned()],
            None => deployment.target.urls(api),
        };
        let urls = urls.into_iter();
        urls.map(|url| (api.to_owned(), url)).collect::<Vec<_>>()
    };
    apis.flat_map(|api| urls_of(api)).collect()
}

/// The proxy in between, without its password.
fn proxy(deployment: &Deployment) -> Option<String> {
    deployment.target.proxy.shown()
}
