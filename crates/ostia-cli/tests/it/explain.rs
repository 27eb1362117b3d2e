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

    // The groups of the user's own keys count where none are given.
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
