use std::os::unix::fs::PermissionsExt as _;

use serde_json::{Value, json};

use super::site::Site;

fn states(site: &Site) -> Vec<(String, String)> {
    let keys = site.json(&["key", "list", "--json"]);
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let keys = keys.as_array().unwrap().iter();
    keys.map(|key| (text(&key["user"]), text(&key["state"])))
        .collect()
}

#[test]
fn a_key_is_made_listed_and_revoked() {
    let site = Site::empty();
    let made = site.json(&[
        "key",
        "create",
        "--user",
        "ann@lab.org",
        "--group",
        "g1",
        "--group",
        "g2",
        "--expires",
        "30d",
        "--json",
    ]);
    let names: Vec<&String> = made.as_object().unwrap().keys().collect();
    assert_eq!(names, ["id", "key", "user", "groups", "expires_at"]);
    assert_eq!(made["user"], "ann@lab.org");
    assert_eq!(made["groups"], json!(["g1", "g2"]));
    let end = made["expires_at"].as_str().unwrap();
    assert_eq!((end.len(), &end[19..]), (20, "Z"), "{end}");
    let (id, key) = (made["id"].as_str().unwrap(), made["key"].as_str().unwrap());
    assert!(id.starts_with("key_") && id.len() == 16, "{id}");
    assert!(key.starts_with("sk-ostia-"));

    let listed = site.run(&["key", "list"]).stdout;
    assert!(
        listed.contains(id) && listed.contains("ann@lab.org") && listed.contains("g1,g2"),
        "{listed}"
    );
    assert!(!listed.contains(key));
    assert_eq!(
        states(&site),
        [("ann@lab.org".to_owned(), "active".to_owned())]
    );

    for _ in 0..2 {
        let revoked = site.run(&["key", "revoke", id]);
        assert_eq!(
            (revoked.code, &*revoked.stdout),
            (Some(0), ""),
            "{revoked:?}"
        );
    }
    assert_eq!(
        states(&site),
        [("ann@lab.org".to_owned(), "revoked".to_owned())]
    );
}

#[test]
fn the_key_stands_alone_on_stdout() {
    let site = Site::empty();
    let ended = site.run(&[
        "key",
        "create",
        "--user",
        "ann@lab.org",
        "--label",
        "my laptop",
        "--admin",
    ]);
    assert_eq!(ended.code, Some(0));
    let lines: Vec<&str> = ended.stdout.lines().collect();
    assert_eq!(lines.len(), 1, "{}", ended.stdout);
    assert!(lines[0].starts_with("sk-ostia-"));
    assert!(!ended.stderr.contains(lines[0]));
    let keys = site.json(&["key", "list", "--json"]);
    assert_eq!(keys[0]["label"], "my laptop");
    assert_eq!(keys[0]["admin"], true);
    assert_eq!(keys[0]["expires_at"], Value::Null);
}

#[test]
fn an_unknown_id_is_an_error() {
    let ended = Site::empty().run(&["key", "revoke", "key_none"]);
    assert_eq!(ended.code, Some(1));
    assert!(ended.stderr.contains("key_none"), "{}", ended.stderr);
}

#[test]
fn the_database_is_where_the_configuration_says_and_private() {
    let site = Site::empty();
    site.write("here.toml", "[store]\nurl = \"sqlite://keys.db\"\n");
    site.json(&["--config", "here.toml", "key", "list", "--json"]);
    let mode = site
        .path("keys.db")
        .metadata()
        .unwrap()
        .permissions()
        .mode();
    assert_eq!(mode & 0o777, 0o600);
    let elsewhere = [("OSTIA_STORE__URL", "sqlite://variable.db")];
    assert_eq!(site.run_with(&elsewhere, &["key", "list"]).code, Some(0));
    assert!(site.path("variable.db").exists());
}

#[test]
fn a_database_that_cannot_be_opened_is_one_line() {
    let site = Site::empty();
    let nowhere = site.path("missing/ostia.db");
    let url = format!("sqlite://{}", nowhere.display());
    let ended = site.run_with(&[("OSTIA_STORE__URL", &url)], &["key", "list"]);
    assert_eq!(ended.code, Some(1));
    assert_eq!(ended.stderr.lines().count(), 1, "{}", ended.stderr);
    assert!(ended.stderr.contains("missing"), "{}", ended.stderr);
}

#[test]
fn an_unsound_configuration_ends_with_78() {
    let site = Site::empty();
    site.write("ostia.toml", "[store]\nurl = 7\ncolour = \"red\"\n");
    let ended = site.run(&["key", "list"]);
    assert_eq!(ended.code, Some(78));
    assert!(ended.stderr.contains("ostia.toml:2:"), "{}", ended.stderr);
    assert!(ended.stderr.contains("ostia.toml:3:"), "{}", ended.stderr);
    assert_eq!(site.names(), ["ostia.toml"]);
}
