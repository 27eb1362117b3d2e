use serde_json::json;

use super::site::Site;

fn site() -> Site {
    let site = Site::new();
    let fixture = |kind: &str, fields: serde_json::Value| {
        json!([{"model": format!("resource_server_async.{kind}"), "pk": 1, "fields": fields}])
            .to_string()
    };
    let cluster = json!({
        "cluster_name": "sophia", "frameworks": ["vllm"], "openai_endpoints": ["chat/completions"],
        "allowed_domains": ["lab.org"],
    });
    let endpoint = json!({
        "cluster": "sophia", "framework": "vllm", "model": "org/model", "allowed_globus_groups": ["g1", "g2", "05D1C5A4-0FF0-11EF-9C26-6BEDA4A3F1CB"],
        "config": {"api_url": "http://127.0.0.1:9/v1"},
    });
    site.write("clusters.json", &fixture("cluster", cluster));
    site.write("endpoints.json", &fixture("endpoint", endpoint));
    site
}

#[test]
fn the_decision_and_its_rule_are_shown() {
    let site = site();
    let explain = |user: &str, more: &[&str]| {
        let words = [&["explain", "--user", user, "--model", "org/model"], more].concat();
        let ended = site.run(&words);
        assert_eq!(ended.code, Some(0), "{ended:?}");
        ended.stdout
    };
    let refused = explain("ann@other.org", &["--group", "g1"]);
    assert!(
        refused.contains("refused: cluster sophia: allowed_domains needs one of: lab.org"),
        "{refused}"
    );
    assert!(
        refused.contains("/v1  refused with 404 model_not_found"),
        "{refused}"
    );
    let refused = explain("ann@lab.org", &[]);
    assert!(
        refused.contains("allowed_globus_groups needs one of: g1, g2, 05d1c5a4-"),
        "{refused}"
    );
    let allowed = explain("ann@lab.org", &["--group", "g2"]);
    assert!(
        allowed.contains("/sophia/vllm/v1  allowed: the rules of cluster sophia and endpoint"),
        "{allowed}"
    );
    assert!(allowed.contains("/v1  allowed"), "{allowed}");

    // Without --group, the groups of the user's own keys count.
    site.json(&[
        "key",
        "create",
        "--user",
        "bob@lab.org",
        "--group",
        "g1",
        "--json",
    ]);
    assert!(explain("bob@lab.org", &[]).contains("/v1  allowed"));
    let all = site.json(&[
        "explain",
        "--user",
        "bob@lab.org",
        "--model",
        "org/model",
        "--json",
    ]);
    assert_eq!(all[0]["endpoints"][0]["allowed"], true);
    assert_eq!(all[0]["groups"], json!(["g1"]));
    let ended = site.run(&["explain", "--user", "bob@lab.org", "--model", "nothing"]);
    assert!(
        ended.stdout.contains("no endpoint has this model"),
        "{ended:?}"
    );
}

/// Groups are UUIDs, which people copy in either case.
#[test]
fn a_group_is_the_same_in_upper_case() {
    let site = site();
    let mut words = vec!["key", "create", "--user", "eve@lab.org", "--json"];
    for group in [
        "g9",
        "05d1c5a4-0FF0-11ef-9c26-6beda4a3f1cb",
        "g9",
        "05D1C5A4-0FF0-11EF-9C26-6BEDA4A3F1CB",
    ] {
        words.extend(["--group", group]);
    }
    let made = site.json(&words);
    assert_eq!(
        made["groups"],
        json!(["g9", "05d1c5a4-0ff0-11ef-9c26-6beda4a3f1cb"])
    );
    let by_key = ["explain", "--user", "eve@lab.org", "--model", "org/model"];
    let as_given = [&by_key[..], &["--group", words[8]]].concat();
    for words in [&by_key[..], &as_given] {
        let ended = site.run(words);
        assert!(ended.stdout.contains("/v1  allowed"), "{ended:?}");
    }
}

/// Besides the rules: limits, maintenance, the user's keys, and the endpoint's health as a running gateway sees it.
#[test]
fn what_else_stands_in_the_way_is_told() {
    let site = site();
    let settings = std::fs::read_to_string(site.path("ostia.toml")).unwrap();
    let with = |more: &str| site.write("ostia.toml", &format!("{settings}{more}"));
    with("[limits]\ntpm_user = 60000\n[maintenance]\nsophia = \"from the file\"\n");
    let explain = |user: &str| {
        let ended = site.run(&["explain", "--user", user, "--model", "org/model"]);
        assert_eq!(ended.code, Some(0), "{ended:?}");
        ended.stdout
    };
    let made = site.json(&[
        "key",
        "create",
        "--user",
        "bob@lab.org",
        "--expires",
        "1d",
        "--json",
    ]);
    let id = made["id"].as_str().unwrap();
    let shown = explain("bob@lab.org");
    for part in [
        "60000 tokens a minute for the user here",
        "10 requests a second for the user",
        "requests get 503 \"from the file\" ([maintenance])",
        &format!("key {id}: active, ends at 20"),
        "health is not known: no gateway answers",
    ] {
        assert!(shown.contains(part), "{part}: {shown}");
    }
    site.run(&["key", "revoke", id]);
    site.run(&["maintenance", "set", "sophia", "Back on Monday"]);
    let shown = explain("bob@lab.org");
    for part in [
        "\"Back on Monday\" (ostia maintenance set)",
        &format!("key {id}: revoked at 20"),
        "groups none given",
    ] {
        assert!(shown.contains(part), "{part}: {shown}");
    }
    assert!(!shown.contains("unknown user"), "{shown}");
    with(
        "[limits.user.\"bob@lab.org\"]\nmax_in_flight_per_user = 7\n[limits.group.\"g1\"]\nblocked = true\n",
    );
    assert!(explain("bob@lab.org").contains("7 requests at once for the user"));
    let blocked = [
        "explain",
        "--user",
        "bob@lab.org",
        "--model",
        "org/model",
        "--group",
        "g1",
    ];
    assert!(site.run(&blocked).stdout.contains("is blocked"));
    with("[limits]\ntpm_user = 60000\n");
    assert!(explain("bbo@lab.org").contains("unknown user"));

    let gateway = site.serve(&[]);
    let admin = gateway.event("ostia listens")["admin"].clone();
    let words = [
        "explain",
        "--user",
        "bob@lab.org",
        "--model",
        "org/model",
        "--group",
        "g1",
        "--json",
    ];
    let address = [("OSTIA_SERVER__ADMIN_LISTEN", admin.as_str().unwrap())];
    let ended = site.run_with(&address, &words);
    let all: serde_json::Value = serde_json::from_str(&ended.stdout).unwrap();
    let endpoint = &all[0]["endpoints"][0];
    assert_eq!(
        endpoint["health"],
        json!({"in_flight": 0, "full": false, "failing": false, "unread_tokens": 0, "away_ms": 0}),
        "{ended:?}"
    );
    assert_eq!(
        endpoint["rank"],
        json!({"place": 1, "signal": "work", "work": 0})
    );
    assert_eq!(endpoint["maintenance"], "Back on Monday");
    assert_eq!(endpoint["limits"]["tpm_user"], 60_000);
    assert_eq!(endpoint["limits"]["blocked"], false);
    assert_eq!(endpoint["limits"]["in_flight_per_user"], 0);
    assert_eq!(
        (&all[0]["known"], &all[0]["keys"][0]["state"]),
        (&json!(true), &json!("revoked"))
    );
    let ended = site.run_with(&address, &words[..5]);
    assert!(
        ended.stdout.contains("health: it answers; 0 in flight"),
        "{ended:?}"
    );
}
