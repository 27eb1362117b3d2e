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
        "--project",
        "fusion",
        "--json",
    ]);
    let names: Vec<&String> = made.as_object().unwrap().keys().collect();
    assert_eq!(
        names,
        ["id", "key", "user", "groups", "project", "expires_at"]
    );
    assert_eq!(made["project"], "fusion");
    assert_eq!(made["user"], "ann@lab.org");
    assert_eq!(made["groups"], json!(["g1", "g2"]));
    let end = made["expires_at"].as_str().unwrap();
    assert_eq!((end.len(), &end[19..]), (20, "Z"), "{end}");
    let (id, key) = (made["id"].as_str().unwrap(), made["key"].as_str().unwrap());
    assert!(id.starts_with("key_") && id.len() == 16, "{id}");
    assert!(key.starts_with("sk-ostia-"));

    let listed = site.run(&["key", "list"]).stdout;
    assert!(
        [id, "ann@lab.org", "g1,g2", "fusion"]
            .iter()
            .all(|part| listed.contains(part)),
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
    // An admin key always expires.
    assert!(keys[0]["expires_at"].is_string());
}

#[test]
fn an_unknown_id_is_an_error() {
    let site = Site::empty();
    site.json(&["key", "create", "--user", "ann@lab.org", "--json"]);
    let ended = site.run(&["key", "revoke", "key_none"]);
    assert_eq!(ended.code, Some(1));
    assert!(ended.stderr.contains("key_none"), "{}", ended.stderr);
}

#[test]
fn the_database_is_where_the_configuration_says_and_private() {
    let site = Site::empty();
    site.write("here.toml", "[store]\nurl = \"sqlite://keys.db\"\n");
    let create = ["key", "create", "--user", "ann@lab.org"];
    site.run(&[&["--config", "here.toml"][..], &create].concat());
    let mode = site
        .path("keys.db")
        .metadata()
        .unwrap()
        .permissions()
        .mode();
    assert_eq!(mode & 0o777, 0o600);
    let elsewhere = [("OSTIA_STORE__URL", "sqlite://variable.db")];
    assert_eq!(site.run_with(&elsewhere, &create).code, Some(0));
    assert!(site.path("variable.db").exists());
    let listed = site.run_with(&elsewhere, &["key", "list"]);
    assert_eq!(listed.code, Some(0), "{listed:?}");
}

/// In the wrong folder, the command names the missing file, and does not create it.
#[test]
fn commands_that_only_look_create_no_database() {
    let site = Site::new();
    let before = site.names();
    let missing = site.path("ostia.db").display().to_string();
    for (words, code) in [
        (&["key", "list"][..], Some(1)),
        (&["key", "list", "--json"], Some(1)),
        (&["key", "find"], Some(1)),
        (&["key", "revoke", "key_none"], Some(1)),
        (&["key", "rotate", "key_none"], Some(1)),
        (&["usage"], Some(1)),
        (&["check"], Some(0)),
        (
            &["explain", "--user", "ann@lab.org", "--model", "org/model"],
            Some(0),
        ),
    ] {
        let ended = site.run(words);
        assert_eq!(ended.code, code, "{words:?}: {ended:?}");
        assert_eq!(
            ended.stderr.contains(&missing),
            words != ["check"],
            "{words:?}: {ended:?}"
        );
        assert_eq!(site.names(), before, "{words:?}");
    }
}

#[test]
fn a_key_on_standard_input_is_found() {
    let site = Site::empty();
    let create = [
        "key",
        "create",
        "--user",
        "ann@lab.org",
        "--label",
        "laptop",
        "--json",
    ];
    let made = site.json(&create);
    let key = made["key"].as_str().unwrap();
    let found = site.run_reading(&format!("  {key}\n"), &["key", "find"]);
    assert_eq!(found.code, Some(0), "{found:?}");
    for shown in [
        made["id"].as_str().unwrap(),
        "active",
        "ann@lab.org",
        "label laptop",
    ] {
        assert!(found.stdout.contains(shown), "{found:?}");
    }
    assert!(!format!("{found:?}").contains(key));
    let found = site.run_reading(key, &["key", "find", "--json"]);
    let object: Value = serde_json::from_str(&found.stdout).unwrap();
    assert_eq!(object["id"], made["id"]);
    for pasted in [
        format!("\"{key}\""),
        format!("Bearer {key}"),
        format!("export OPENAI_API_KEY='{key}'"),
    ] {
        let found = site.run_reading(&pasted, &["key", "find", "--json"]);
        let object: Value = serde_json::from_str(&found.stdout).unwrap();
        assert_eq!(object["id"], made["id"], "{pasted}");
    }
    let two = format!("{key} sk-ostia-other");
    for (text, code) in [
        ("sk-ostia-other", 1),
        ("", 64),
        ("two words", 64),
        (&two, 64),
    ] {
        let ended = site.run_reading(text, &["key", "find"]);
        assert_eq!(
            (ended.code, &*ended.stdout),
            (Some(code), ""),
            "{text}: {ended:?}"
        );
    }
}

#[test]
fn lists_are_chosen_and_counted() {
    let site = Site::empty();
    for (user, expires) in [
        ("ann@lab.org", "30d"),
        ("bo@lab.org", "1d"),
        ("ann@lab.org", "2d"),
    ] {
        site.json(&[
            "key",
            "create",
            "--user",
            user,
            "--expires",
            expires,
            "--json",
        ]);
    }
    let list = |words: &[&str]| {
        let ended = site.run(&[&["key", "list"], words].concat());
        assert_eq!(ended.code, Some(0), "{ended:?}");
        ended.stdout
    };
    assert!(list(&[]).ends_with("3 keys: 3 active\n"));
    let anns = list(&["--user", "ann@lab.org"]);
    assert!(
        !anns.contains("bo@lab.org") && anns.ends_with("2 keys: 2 active\n"),
        "{anns}"
    );
    let soon = list(&["--until", "3d", "--sort", "expires", "--top", "1"]);
    assert_eq!(soon.lines().count(), 3, "{soon}");
    assert!(
        soon.contains("bo@lab.org") && soon.ends_with("2 keys: 2 active\n"),
        "{soon}"
    );
    assert!(list(&["--user", "nobody@lab.org"]).ends_with("0 keys\n"));
}

#[test]
fn states_have_a_colour_on_a_terminal_only() {
    let site = Site::empty();
    site.json(&["key", "create", "--user", "ann@lab.org", "--json"]);
    let words = ["key", "list"];
    let green = "\u{1b}[32mactive";
    assert!(site.run_on_terminal(80, &[], &words).contains(green));
    let plain = site.run_on_terminal(80, &[("NO_COLOR", "1")], &words);
    assert!(
        plain.contains("active") && !plain.contains('\u{1b}'),
        "{plain}"
    );
    assert!(!site.run(&words).stdout.contains('\u{1b}'));
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
    site.write(
        "notes.txt",
        "no database, but long enough to have a header that could be one's",
    );
    let ended = site.run_with(
        &[("OSTIA_STORE__URL", "sqlite://notes.txt")],
        &["key", "list"],
    );
    assert_eq!(ended.code, Some(1));
    assert!(ended.stderr.contains("notes.txt: "), "{}", ended.stderr);
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

#[test]
fn a_rotated_key_has_a_successor_and_an_end() {
    let site = Site::empty();
    let made = site.json(&[
        "key",
        "create",
        "--user",
        "ann@lab.org",
        "--group",
        "g1",
        "--label",
        "laptop",
        "--project",
        "fusion",
        "--admin",
        "--expires",
        "30d",
        "--json",
    ]);
    let old = made["id"].as_str().unwrap();
    let new = site.json(&["key", "rotate", old, "--overlap", "1h", "--json"]);
    assert_eq!(
        (&new["user"], &new["groups"], &new["project"]),
        (&json!("ann@lab.org"), &json!(["g1"]), &json!("fusion"))
    );
    assert_eq!(new["replaces"], made["id"]);
    assert!(new["id"] != made["id"] && new["key"] != made["key"]);
    // The new key lives as long as the old one did; the old one ends with the overlap.
    assert!(new["expires_at"].as_str() >= made["expires_at"].as_str());
    let keys = site.json(&["key", "list", "--json"]);
    let key = |id: &Value| {
        keys.as_array()
            .unwrap()
            .iter()
            .find(|key| key["id"] == *id)
            .unwrap()
    };
    assert_eq!(
        (&key(&new["id"])["label"], &key(&new["id"])["admin"]),
        (&json!("laptop"), &json!(true))
    );
    assert_eq!(key(&made["id"])["expires_at"], new["old_expires_at"]);
    assert!(new["old_expires_at"].as_str() < made["expires_at"].as_str());
    assert_eq!(
        states(&site)
            .iter()
            .filter(|(_, state)| state == "active")
            .count(),
        2
    );

    // A long overlap does not prolong a key.
    let again = site.json(&["key", "rotate", old, "--overlap", "365d", "--json"]);
    assert_eq!(again["old_expires_at"], new["old_expires_at"]);

    site.run(&["key", "revoke", old]);
    for id in [old, "key_none"] {
        let ended = site.run(&["key", "rotate", id]);
        assert_eq!((ended.code, &*ended.stdout), (Some(1), ""), "{ended:?}");
    }
}

/// Creating, rotating and revoking keys is logged by the command, and by a gateway on the same database.
#[test]
fn changes_of_keys_are_written_down() {
    let site = Site::new();
    let audit = |ended: &super::site::Ended| -> Vec<Value> {
        let events = ended
            .stderr
            .lines()
            .filter_map(|line| serde_json::from_str(line).ok());
        events
            .filter(|event: &Value| event["target"] == "ostia::audit")
            .collect()
    };
    let made = site.run(&["key", "create", "--user", "ann@lab.org", "--json"]);
    let key: Value = serde_json::from_str(&made.stdout).unwrap();
    let (id, secret) = (key["id"].as_str().unwrap(), key["key"].as_str().unwrap());
    let rotated = site.run(&["key", "rotate", id, "--json"]);
    let revoked = site.run(&["key", "revoke", id]);
    for (ended, kind) in [
        (&made, "key.create"),
        (&rotated, "key.rotate"),
        (&revoked, "key.revoke"),
    ] {
        let events = audit(ended);
        assert_eq!(events.len(), 1, "{ended:?}");
        assert_eq!(events[0]["kind"], kind);
        assert!(
            events[0]["actor"].as_str().unwrap().starts_with("uid:")
                && !ended.stderr.contains(secret),
            "{ended:?}"
        );
    }
    // A second revocation changes nothing.
    assert!(audit(&site.run(&["key", "revoke", id])).is_empty());
}

fn created(site: &Site, words: &[&str]) -> Value {
    let create = ["key", "create", "--user", "ann@lab.org", "--json"];
    site.json(&[&create[..], words].concat())
}

#[test]
fn a_key_has_the_rights_that_were_asked_for() {
    let site = Site::empty();
    created(
        &site,
        &[
            "--role",
            "support",
            "--model",
            "m",
            "--model",
            "n",
            "--allow-ip",
            "10.1.2.3/8",
            "--class",
            "batch",
            "--limit",
            "tpm_user=7",
            "--on-behalf-of",
            "lab.org,Uni.edu",
        ],
    );
    let key = &site.json(&["key", "list", "--json"])[0];
    for (name, expected) in [
        ("role", json!("support")),
        ("models", json!(["m", "n"])),
        ("allowed_addresses", json!(["10.0.0.0/8"])),
        ("class", json!("batch")),
        ("limits", json!({"tpm_user": 7})),
        ("on_behalf_of", json!(["lab.org", "uni.edu"])),
    ] {
        assert_eq!(key[name], expected, "{name}");
    }
    for wrong in [
        &["--role", "root"][..],
        &["--role", "support", "--admin"],
        &["--admin", "--expires", "31d"],
        &["--expires", "366d"],
        &["--allow-ip", "10.0.0.0/33"],
        &["--limit", "blocked=1"],
        &["--service"],
    ] {
        let create = ["key", "create", "--user", "ann@lab.org"];
        let ended = site.run(&[&create[..], wrong].concat());
        assert_eq!(
            (ended.code, &*ended.stdout),
            (Some(64), ""),
            "{wrong:?}: {ended:?}"
        );
    }
}

#[test]
fn users_and_projects_are_looked_after_and_told() {
    let site = Site::empty();
    created(&site, &[]);
    for (words, code) in [
        (&["user", "disable", "nobody@lab.org"][..], 1),
        (&["user", "disable", "ann@lab.org", "--reason", "left"], 0),
        (&["user", "link", "ann@lab.org", "https://idp#s1"], 0),
        (&["user", "show", "https://idp#s1"], 0),
        (
            &[
                "project",
                "create",
                "fusion",
                "--title",
                "Fusion",
                "--manager",
                "pi@lab.org",
            ],
            0,
        ),
        (&["project", "create", "fusion"], 1),
        (&["project", "add", "fusion", "ann@lab.org"], 0),
        (&["project", "remove", "fusion", "bob@lab.org"], 1),
        (
            &[
                "key",
                "create",
                "--user",
                "bot@lab.org",
                "--project",
                "fusion",
                "--service",
            ],
            0,
        ),
        (&["key", "revoke", "--user", "ann@lab.org"], 0),
        (&["key", "revoke"], 64),
        (&["audit", "--verify"], 0),
    ] {
        let ended = site.run(words);
        assert_eq!(ended.code, Some(code), "{words:?}: {ended:?}");
    }
    let users = site.json(&["user", "list", "--json"]);
    let ann = users
        .as_array()
        .unwrap()
        .iter()
        .find(|user| user["id"] == "ann@lab.org")
        .unwrap();
    assert_eq!(ann["state"], "disabled");
    let export = site.json(&["user", "export", "ann@lab.org"]);
    assert_eq!(export["projects"], json!(["fusion"]));
    assert_eq!(site.run(&["user", "erase", "ann@lab.org"]).code, Some(0));
    let events = site.json(&["audit", "--json"]);
    let actions: Vec<_> = events
        .as_array()
        .unwrap()
        .iter()
        .map(|event| event["action"].as_str().unwrap())
        .collect();
    let expected = [
        "user.erase",
        "user.export",
        "key.revoke",
        "key.create",
        "project.add",
        "project.create",
        "user.link",
        "user.disable",
        "key.create",
    ];
    assert_eq!(actions, expected);
    let projects = site.json(&["project", "list", "--json"]);
    assert_eq!(
        (&projects[0]["members"], &projects[0]["managers"]),
        (&json!([]), &json!(["pi@lab.org"]))
    );
}
