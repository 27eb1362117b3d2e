use std::sync::Arc;
use std::time::Duration;

use super::{Folder, assert_problem};
use crate::backend::{EndpointAdapter, Registry};
use crate::catalog::{Catalog, ClusterAdapterName, HooksName, Proxy, Scope, Serving};

fn cluster(name: &str, more: &str) -> String {
    format!(
        r#"{{"model": "resource_server_async.cluster", "fields": {{"cluster_name": "{name}", "frameworks": ["f"],
            "openai_endpoints": ["chat/completions"] {more}}}}}"#
    )
}

/// An endpoint of framework `f` whose fields go on with `more`.
fn endpoint(cluster: &str, model: &str, more: &str) -> String {
    format!(
        r#"{{"model": "resource_server_async.endpoint", "fields": {{"cluster": "{cluster}", "framework": "f", "model": "{model}"{more}}}}}"#
    )
}

const URL: &str = r#", "config": {"api_url": "http://127.0.0.1:9/v1"}"#;

fn list(entries: &[String]) -> String {
    format!("[\n{}\n]", entries.join(",\n"))
}

/// Two clusters `c` and `d`, and these endpoints, one a line from line 2.
fn folder(endpoints: &[String]) -> Folder {
    Folder::new()
        .file(
            "fixtures/clusters.json",
            list(&[cluster("c", ""), cluster("d", "")]),
        )
        .file("fixtures/endpoints.json", list(endpoints))
}

fn models(catalog: &Catalog, scope: Scope<'_>, name: &str) -> Option<(String, Vec<String>)> {
    let (model, deployments) = catalog.lookup(scope, name)?;
    let slugs = deployments.iter().map(|it| it.slug.to_string()).collect();
    Some((model.to_string(), slugs))
}

const IN_C: Scope<'_> = Scope::Framework {
    cluster: "c",
    framework: "f",
};

#[test]
fn either_file_may_hold_both_kinds() {
    let both = list(&[
        r#"{"model": "auth.user", "pk": 1, "fields": {}}"#.into(),
        cluster("c", ""),
        endpoint("c", "M", URL),
        r#"{"model": "auth.user", "pk": 2, "fields": {}}"#.into(),
        r#"{"model": "resource_server.Endpoint", "pk": 2, "fields": {}}"#.into(),
        r#"{"model": "resource_server_async.federatedendpoint", "pk": 2, "fields": {}}"#.into(),
        r#"{"model": "sessions.session", "pk": 2}"#.into(),
    ]);
    let folder = Folder::new()
        .file("fixtures/clusters.json", both)
        .without("fixtures/endpoints.json");
    let loaded = folder.load();
    let problems = folder.shown(&loaded);
    assert!(!loaded.fatal(true), "{problems:#?}");
    assert_eq!(loaded.catalog.deployments().len(), 1);
    assert_problem(
        &problems,
        "fixtures/endpoints.json: warning",
        "does not exist",
        "",
    );
}

#[test]
fn one_file_may_be_named_twice() {
    let both = list(&[cluster("c", ""), endpoint("c", "M", URL)]);
    let folder = Folder::new()
        .file(
            "ostia.toml",
            "[fixtures]\nclusters = \"all.json\"\nendpoints = \"all.json\"",
        )
        .file("all.json", both);
    assert_eq!(folder.problems(), Vec::<String>::new());
    assert_eq!(folder.load().catalog.deployments().len(), 1);
}

#[test]
fn all_forms_of_config_mean_the_same() {
    let forms = [
        r#", "config": {"api_url": "http://h/v1", "done_marker": false, "x": [1, "a"]}"#,
        r#", "config": "{\"api_url\": \"http://h/v1\", \"done_marker\": false, \"x\": [1, \"a\"]}""#,
        r#", "config": "{'api_url': 'http://h/v1', 'done_marker': False, 'x': (1, 'a',),}""#,
    ];
    let mut seen = Vec::new();
    for form in forms {
        let folder = folder(&[endpoint("c", "M", form)]);
        let loaded = folder.load();
        assert_eq!(folder.shown(&loaded), Vec::<String>::new());
        let deployment = &loaded.catalog.deployments()[0];
        assert!(!deployment.target.done_marker);
        seen.push((deployment.config.clone(), deployment.target.clone()));
    }
    assert_eq!(seen[0], seen[1]);
    assert_eq!(seen[0], seen[2]);
    let long = format!(r#", "config": "{{\"a\": \"{}\"}}""#, "x".repeat(70_000));
    let problems = folder(&[endpoint("c", "M", &long)]).problems();
    assert_problem(&problems, "fixtures/endpoints.json:2:", "64 KiB", "");
}

#[test]
fn one_model_with_different_slugs_is_replicas() {
    let slugged = format!(r#", "endpoint_slug": "c-f-m-2"{URL}"#);
    let folder = folder(&[endpoint("c", "M", URL), endpoint("c", "M", &slugged)]);
    let loaded = folder.load();
    assert!(!loaded.fatal(true));
    assert_eq!(
        models(&loaded.catalog, IN_C, "M"),
        Some(("M".into(), vec!["c-f-m".into(), "c-f-m-2".into()]))
    );
}

#[test]
fn a_framework_that_the_cluster_does_not_list_is_on_no_route() {
    let unlisted = endpoint("c", "M", URL).replace(r#""framework": "f""#, r#""framework": "g""#);
    let folder = folder(&[unlisted, endpoint("c", "N", URL)]);
    let loaded = folder.load();
    assert!(!loaded.fatal(true));
    assert_eq!(models(&loaded.catalog, Scope::Everywhere, "M"), None);
    let scope = Scope::Framework {
        cluster: "c",
        framework: "g",
    };
    assert_eq!(models(&loaded.catalog, scope, "M"), None);
    assert_eq!(loaded.catalog.of_cluster("c").len(), 1);
}

#[test]
fn an_unknown_cluster_disables_its_endpoint_for_everyone() {
    let folder = folder(&[endpoint("e", "M", URL), endpoint("c", "N", URL)]);
    let loaded = folder.load();
    assert!(!loaded.fatal(false) && loaded.fatal(true));
    let deployment = &loaded.catalog.deployments()[0];
    assert!(matches!(deployment.serving, Serving::Disabled(_)));
    assert!(!deployment.cluster.access.is_open());
    assert!(loaded.catalog.cluster("e").is_none());
    assert_eq!(models(&loaded.catalog, Scope::Everywhere, "M"), None);
}

#[test]
fn a_faulty_cluster_disables_its_endpoints_which_are_still_found() {
    let folder = Folder::new()
        .file(
            "fixtures/clusters.json",
            list(&[
                cluster("c", r#", "cluster_adapter": "own""#),
                cluster("d", ""),
            ]),
        )
        .file(
            "fixtures/endpoints.json",
            list(&[endpoint("c", "M", URL), endpoint("d", "M", URL)]),
        );
    let loaded = folder.load();
    assert!(!loaded.fatal(false));
    let found = loaded.catalog.lookup(IN_C, "M").unwrap().1;
    assert!(matches!(&found[0].serving, Serving::Disabled(why) if why.contains("its cluster")));
    assert_eq!(loaded.catalog.deployments()[1].serving, Serving::Yes);
}

#[test]
fn rules_that_cannot_be_read_let_nobody_in() {
    let rule = format!(r#", "allowed_globus_groups": ["g", 5]{URL}"#);
    let loaded = folder(&[endpoint("c", "M", &rule), endpoint("c", "N", URL)]).load();
    let broken = &loaded.catalog.deployments()[0];
    assert_eq!(broken.access, crate::catalog::Access::nobody());
    for open in [
        "",
        r#", "allowed_globus_groups": null, "allowed_domains": """#,
        r#", "allowed_globus_groups": []"#,
    ] {
        let loaded = folder(&[endpoint("c", "M", &format!("{open}{URL}"))]).load();
        assert!(loaded.catalog.deployments()[0].access.is_open(), "{open}");
    }
    let text = format!(
        r#", "allowed_globus_groups": "G1, 05D1C5A4-0FF0-11EF-9C26-6BEDA4A3F1CB", "allowed_domains": ["Lab.ORG"]{URL}"#
    );
    let loaded = folder(&[endpoint("c", "M", &text)]).load();
    let access = &loaded.catalog.deployments()[0].access;
    let groups: Vec<&str> = access.groups.iter().flatten().map(AsRef::as_ref).collect();
    assert_eq!(groups, ["G1", "05d1c5a4-0ff0-11ef-9c26-6beda4a3f1cb"]);
    assert_eq!(&*access.domains.as_deref().unwrap()[0], "lab.org");
}

#[test]
fn a_cluster_twice_is_a_mistake_that_names_both() {
    let folder = Folder::new().file(
        "fixtures/clusters.json",
        list(&[
            cluster("c", ""),
            cluster("c", r#", "allowed_domains": "lab.org""#),
        ]),
    );
    let loaded = folder.load();
    assert!(matches!(
        loaded.catalog.deployments()[0].serving,
        Serving::Disabled(_)
    ));
}

fn alias(alias: &str) -> String {
    format!(r#", "aliases": ["{alias}"]{URL}"#)
}

#[test]
fn aliases_stand_for_one_model() {
    let folder = folder(&[endpoint("c", "M", &alias("m")), endpoint("d", "M", URL)]);
    let loaded = folder.load();
    assert_eq!(folder.shown(&loaded), Vec::<String>::new());
    let both = Some(("M".into(), vec!["c-f-m".into(), "d-f-m".into()]));
    assert_eq!(models(&loaded.catalog, Scope::Everywhere, "m"), both);
    assert_eq!(models(&loaded.catalog, Scope::Everywhere, "M"), both);
    assert_eq!(
        models(&loaded.catalog, IN_C, "m"),
        Some(("M".into(), vec!["c-f-m".into()]))
    );
    let in_d = Scope::Framework {
        cluster: "d",
        framework: "f",
    };
    assert_eq!(models(&loaded.catalog, in_d, "m"), None);
}

#[test]
fn aliases_that_clash() {
    let same = folder(&[endpoint("c", "M", &alias("N")), endpoint("c", "N", URL)]);
    assert_eq!(
        models(&same.load().catalog, IN_C, "N"),
        Some(("N".into(), vec!["c-f-n".into()]))
    );

    let elsewhere = folder(&[endpoint("c", "M", &alias("N")), endpoint("d", "N", URL)]);
    let loaded = elsewhere.load();
    assert_eq!(
        models(&loaded.catalog, IN_C, "N"),
        Some(("M".into(), vec!["c-f-m".into()]))
    );
    assert_eq!(
        models(&loaded.catalog, Scope::Everywhere, "N"),
        Some(("N".into(), vec!["d-f-n".into()]))
    );

    let shared = folder(&[
        endpoint("c", "M", &alias("x")),
        endpoint("d", "N", &alias("x")),
    ]);
    let loaded = shared.load();
    assert_eq!(models(&loaded.catalog, Scope::Everywhere, "x"), None);
    assert_eq!(
        models(&loaded.catalog, IN_C, "x"),
        Some(("M".into(), vec!["c-f-m".into()]))
    );
    assert!(!loaded.fatal(false));

    let apart = format!(r#", "federated": false{}"#, alias("x"));
    let apart = folder(&[endpoint("c", "M", &alias("x")), endpoint("d", "N", &apart)]);
    assert_eq!(apart.problems(), Vec::<String>::new());
    let catalog = apart.load().catalog;
    assert_eq!(
        models(&catalog, Scope::Everywhere, "x"),
        Some(("M".into(), vec!["c-f-m".into()]))
    );
    assert_eq!(models(&catalog, Scope::Everywhere, "N"), None);
}

#[test]
fn adapters_by_name() {
    let metis = "resource_server_async.endpoints.metis.MetisEndpoint";
    let with = |name: &str| format!(r#", "endpoint_adapter": "{name}"{URL}"#);
    struct Own;
    impl EndpointAdapter for Own {}
    let mut backends = Registry::default();
    backends.add_hooks("site.Own", Arc::new(Own));
    let folder = Folder {
        backends,
        ..folder(&[
            endpoint("c", "A", &with(metis)),
            endpoint("c", "B", &with("site.Own")),
            endpoint("c", "C", &with("site.Script")),
            endpoint("c", "D", &with("script:local.rhai")),
            endpoint("c", "E", &with("site.Plain")),
            endpoint("c", "F", r#", "endpoint_adapter": "resource_server_async.endpoints.globus_compute.GlobusComputeEndpoint""#),
        ])
    }
    .file(
        "ostia.toml",
        "[adapters]\n\"site.Script\" = \"script:adapters/own.rhai\"\n\"site.Plain\" = \"direct_api\"",
    )
    .file("adapters/own.rhai", "fn on_request(ctx) {}")
    .file("fixtures/local.rhai", "fn on_complete(row) {}");
    let loaded = folder.load();
    let problems = folder.shown(&loaded);
    assert_eq!(problems.len(), 1, "{problems:#?}");
    assert!(!loaded.fatal(true));
    let hooks = |index: usize| match &loaded.catalog.deployments()[index].hooks {
        Some(HooksName::Script(path)) => {
            path.replace(&format!("{}/", folder.path().display()), "script:")
        }
        Some(HooksName::Registered(name)) => name.to_string(),
        None => "none".to_owned(),
    };
    let names: Vec<_> = (0..5).map(hooks).collect();
    assert_eq!(
        names,
        [
            "none",
            "site.Own",
            "script:adapters/own.rhai",
            "script:fixtures/local.rhai",
            "none"
        ]
    );
    let kinds = loaded.catalog.deployments().iter();
    assert!(
        kinds
            .map(|deployment| &*deployment.kind)
            .all(|kind| kind == "direct_api")
    );
    assert!(loaded.catalog.deployments()[0].require_listed);
    assert!(!loaded.catalog.deployments()[4].require_running);
    assert!(matches!(
        &loaded.catalog.deployments()[5].serving,
        Serving::AdapterUnavailable(_)
    ));
    assert!(loaded.catalog.lookup(IN_C, "F").is_some());

    let globus = "resource_server_async.clusters.globus_compute.GlobusComputeCluster";
    let more = format!(r#", "cluster_adapter": "{globus}""#);
    let folder = Folder::new().file("fixtures/clusters.json", list(&[cluster("c", &more)]));
    let loaded = folder.load();
    assert_eq!(
        loaded.catalog.cluster("c").unwrap().adapter,
        ClusterAdapterName::Unavailable(globus.into())
    );
    assert_eq!(loaded.catalog.deployments()[0].serving, Serving::Yes);
}

#[test]
fn everything_that_config_may_say() {
    let certificate = rcgen::generate_simple_self_signed(vec!["h".to_owned()]).unwrap();
    let more = r#", "tpm_model": 0, "tpm_user": 18446744073709551615, "config": {"api_url": "https://H.lab.org:8443/v1/?k=v",
        "api_key_env_name": "KEY", "api_request_timeout": 0.5, "ca_cert_path": "tls/ca.pem", "check_hostname": false,
        "client_cert_path": "tls/ca.pem", "client_key_path": "tls/key.pem", "proxy_url": "env:PROXY",
        "inject_usage": false, "done_marker": false, "forward_headers": ["X-Tenant"], "allowed_hosts": "b.lab.org c:81",
        "require_running": true, "priority": -2, "weight": 3, "max_in_flight": 4, "upstream_model": "up",
        "http2": true, "paths": {"tokenize": "/tokenize"}, "aliases": ["m"], "own": {"deep": [1]}}"#;
    let folder = folder(&[endpoint("c", "M", more)])
        .file("fixtures/tls/ca.pem", certificate.cert.pem())
        .file(
            "fixtures/tls/key.pem",
            certificate.signing_key.serialize_pem(),
        )
        .variable("KEY", "hunter2\n")
        .variable("PROXY", "http://u:hunter3@proxy:3128");
    let loaded = folder.load();
    assert_eq!(folder.shown(&loaded), Vec::<String>::new());
    let deployment = &loaded.catalog.deployments()[0];
    let target = &deployment.target;
    assert_eq!((deployment.tpm_model, deployment.tpm_user), (0, u64::MAX));
    assert_eq!(target.origin.authority(), "h.lab.org:8443");
    assert_eq!(target.path_and_query("embeddings"), "/v1/embeddings?k=v");
    assert_eq!(target.path_and_query("tokenize"), "/tokenize?k=v");
    assert_eq!(target.key.as_ref().unwrap().expose(), "hunter2");
    assert_eq!(
        target.timeouts.response_header,
        Some(Duration::from_millis(500))
    );
    assert_eq!(target.timeouts.connect, Some(Duration::from_secs(5)));
    assert_eq!(
        target.tls.ca_cert_path,
        Some(folder.path().join("fixtures/tls/ca.pem"))
    );
    assert!(
        target.tls.skip_host_check && target.http2 && !target.inject_usage && !target.done_marker
    );
    assert!(
        matches!(&target.proxy, Proxy::Url(url) if url.expose() == "http://u:hunter3@proxy:3128")
    );
    assert_eq!(target.forward_headers, ["x-tenant"]);
    assert_eq!(target.allowed_hosts, ["b.lab.org", "c:81"]);
    assert_eq!(
        (deployment.priority, deployment.weight, deployment.places()),
        (-2, 3, 4)
    );
    assert_eq!(&*deployment.upstream_model, "up");
    assert!(deployment.require_running && !deployment.require_listed);
    assert_eq!(deployment.config["own"]["deep"][0], 1);
    assert!(loaded.catalog.lookup(IN_C, "m").is_some());
}

#[test]
fn how_long_a_cluster_has_for_an_answer_is_bounded() {
    for (said, seconds) in [("", 10.0), ("0", 10.0), ("0.5", 0.5), ("1e9", 300.0)] {
        let said = match said {
            "" => String::new(),
            said => format!(r#", "api_request_timeout": {said}"#),
        };
        let more = format!(
            r#", "cluster_adapter": "status_url", "config": {{"status_url": "http://127.0.0.1:9/s"{said}}}"#
        );
        let folder = Folder::new().file("fixtures/clusters.json", list(&[cluster("c", &more)]));
        let loaded = folder.load();
        let cluster = loaded.catalog.cluster("c").unwrap();
        let patience = Duration::from_secs_f64(seconds);
        assert_eq!(cluster.patience, patience, "{said}");
        let timeouts = &cluster.status.as_ref().unwrap().target.timeouts;
        assert_eq!(
            (timeouts.response_header, timeouts.total),
            (Some(patience), Some(patience))
        );
    }
}

#[test]
fn the_clusters_name_may_not_shadow_the_base_path() {
    let folder =
        folder(&[endpoint("c", "M", URL)]).file("ostia.toml", "[server]\nbase_path = \"/d\"");
    assert!(!folder.load().fatal(false));
    assert!(folder.load().catalog.cluster("d").is_none());
}
