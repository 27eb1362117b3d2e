use ostia::catalog::{Catalog, Deployment, Scheme, Serving};
use ostia::config::{Loaded, Problem};
use serde_json::{Map, Value, json};

use crate::table::Table;

/// A line for each API of each endpoint. Why one is not served is among the problems that are printed before it.
pub(super) fn table(catalog: &Catalog) -> String {
    let mut table = Table::new(&[
        "ENDPOINT",
        "MODEL",
        "CLUSTER",
        "FRAMEWORK",
        "STATE",
        "API",
        "URL",
    ]);
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
            table.row(named.into_iter().chain(["-", "-"]));
        }
        for (nth, (api, url)) in urls.iter().enumerate() {
            let named = if nth == 0 { named } else { [""; 5] };
            table.row(named.into_iter().chain([api.as_str(), url.as_str()]));
        }
    }
    table.render()
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
    let urls: Map<String, Value> = urls(deployment)
        .into_iter()
        .map(|(api, url)| (api, Value::from(url)))
        .collect();
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
        "urls": urls,
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

/// A word, and why if it is not served.
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

/// Each API that the cluster lists with the URL that would be called, without query: it may hold a key. Empty where
/// nothing would be called.
fn urls(deployment: &Deployment) -> Vec<(String, String)> {
    if deployment.serving != Serving::Yes {
        return Vec::new();
    }
    let origin = &deployment.target.origin;
    let scheme = match origin.scheme {
        Scheme::Http => "http",
        Scheme::Https => "https",
    };
    let authority = origin.authority();
    let url = |api: &str| {
        let whole = deployment.target.path_and_query(api);
        let path = whole.split('?').next().unwrap_or_default();
        format!("{scheme}://{authority}{path}")
    };
    deployment
        .cluster
        .openai_endpoints
        .iter()
        .map(|api| (api.to_string(), url(api)))
        .collect()
}
