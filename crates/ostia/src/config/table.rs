//! What `ostia check` prints: every endpoint with its URLs, limits and state.

use std::fmt::Write as _;

use serde_json::{Value, json};

use super::load::Loaded;
use super::problem::{Problem, Reach, printable};
use crate::catalog::{AdapterName, Catalog, Deployment, Scheme, Serving};

const HEAD: [&str; 9] = [
    "CLUSTER",
    "FRAMEWORK",
    "MODEL",
    "SLUG",
    "ADAPTER",
    "URL",
    "LIMITS",
    "ACCESS",
    "STATE",
];

/// The endpoints as a table of text, one line each and one more for every further URL.
pub fn table(catalog: &Catalog) -> String {
    let mut rows = vec![HEAD.map(str::to_owned)];
    for deployment in catalog.deployments() {
        let mut urls = urls(deployment).into_iter().map(|(_, url)| url);
        let first = urls.next().unwrap_or_default();
        rows.push(row(deployment, first));
        rows.extend(urls.map(|url| {
            let mut row: [String; 9] = Default::default();
            row[5] = url;
            row
        }));
    }
    let mut widths = [0; 9];
    for row in &rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = cell.chars().count().max(*width);
        }
    }
    let mut text = String::new();
    for row in &rows {
        let mut line = String::new();
        for (cell, width) in row.iter().zip(widths) {
            // Writing to a String cannot fail.
            let _ = write!(line, "{cell:width$}  ");
        }
        text.push_str(line.trim_end());
        text.push('\n');
    }
    text
}

fn row(deployment: &Deployment, url: String) -> [String; 9] {
    let access = if is_restricted(deployment) {
        "restricted"
    } else {
        "open"
    };
    [
        printable(&deployment.cluster.name),
        printable(&deployment.framework),
        printable(&deployment.model),
        printable(&deployment.slug),
        printable(adapter(deployment)),
        url,
        limits(deployment),
        access.to_owned(),
        state(deployment).to_owned(),
    ]
}

/// `check --json`: `{"ok", "problems", "clusters", "endpoints"}`.
pub fn report(loaded: &Loaded) -> Value {
    let catalog = &loaded.catalog;
    let clusters = catalog.clusters().iter().map(|cluster| {
        json!({
            "cluster": &*cluster.name,
            "frameworks": cluster.frameworks.iter().map(|name| &**name).collect::<Vec<_>>(),
            "openai_endpoints": &cluster.openai_endpoints,
            "restricted": !cluster.access.is_open(),
        })
    });
    json!({
        "ok": loaded.errors().next().is_none(),
        "problems": loaded.problems.iter().map(problem).collect::<Vec<_>>(),
        "clusters": clusters.collect::<Vec<_>>(),
        "endpoints": catalog.deployments().iter().map(|it| endpoint(it)).collect::<Vec<_>>(),
    })
}

fn problem(problem: &Problem) -> Value {
    let (line, column) = problem.place.position.unzip();
    json!({
        "severity": problem.severity.as_str(),
        "scope": match problem.scope {
            Reach::Entry => "entry",
            Reach::Fatal => "fatal",
        },
        "file": &*problem.place.source,
        "line": line,
        "column": column,
        "message": &problem.text,
    })
}

fn endpoint(deployment: &Deployment) -> Value {
    let urls: serde_json::Map<String, Value> = urls(deployment)
        .into_iter()
        .map(|(api, url)| (api, Value::from(url)))
        .collect();
    json!({
        "cluster": &*deployment.cluster.name,
        "framework": &*deployment.framework,
        "model": &*deployment.model,
        "endpoint_slug": &*deployment.slug,
        "upstream_model": &*deployment.upstream_model,
        "aliases": &deployment.aliases,
        "adapter": adapter(deployment),
        "urls": urls,
        "tpm_model": deployment.tpm_model,
        "tpm_user": deployment.tpm_user,
        "max_in_flight": deployment.max_in_flight,
        "priority": deployment.priority,
        "weight": deployment.weight,
        "federated": deployment.federated,
        "restricted": is_restricted(deployment),
        "state": state(deployment),
        "reason": reason(deployment),
    })
}

/// The URL of each api that the cluster lists, without its query, which may hold a key. Empty where nothing is called.
fn urls(deployment: &Deployment) -> Vec<(String, String)> {
    if deployment.serving != Serving::Yes {
        return Vec::new();
    }
    let target = &deployment.target;
    let scheme = match target.origin.scheme {
        Scheme::Http => "http",
        Scheme::Https => "https",
    };
    let origin = format!("{scheme}://{}", target.origin.authority());
    deployment
        .cluster
        .openai_endpoints
        .iter()
        .map(|api| {
            let path = target.path_and_query(api);
            let path = path.split('?').next().unwrap_or_default();
            (api.to_string(), format!("{origin}{path}"))
        })
        .collect()
}

fn adapter(deployment: &Deployment) -> &str {
    match (&deployment.serving, &deployment.adapter) {
        (Serving::AdapterUnavailable(name), _) => name,
        (_, AdapterName::Custom(name)) => name,
        (_, AdapterName::DirectApi) if deployment.require_running => "direct_api (running only)",
        (_, AdapterName::DirectApi) => "direct_api",
    }
}

fn limits(deployment: &Deployment) -> String {
    let mut limits = Vec::new();
    if deployment.tpm_model > 0 {
        limits.push(format!("{} tpm", deployment.tpm_model));
    }
    if deployment.tpm_user > 0 {
        limits.push(format!("{} tpm a user", deployment.tpm_user));
    }
    if deployment.max_in_flight > 0 {
        limits.push(format!("{} in flight", deployment.max_in_flight));
    }
    if limits.is_empty() {
        "none".to_owned()
    } else {
        limits.join(", ")
    }
}

fn is_restricted(deployment: &Deployment) -> bool {
    !(deployment.access.is_open() && deployment.cluster.access.is_open())
}

fn state(deployment: &Deployment) -> &'static str {
    match &deployment.serving {
        Serving::Disabled(_) => "disabled",
        Serving::AdapterUnavailable(_) => "adapter unavailable",
        Serving::Yes if !deployment.framework_listed() => "on no route",
        Serving::Yes => "served",
    }
}

fn reason(deployment: &Deployment) -> Option<&str> {
    match &deployment.serving {
        Serving::Disabled(reason) => Some(reason),
        Serving::AdapterUnavailable(_) | Serving::Yes => None,
    }
}
