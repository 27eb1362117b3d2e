use rustix::process::Signal;
use serde_json::{Value, json};

use super::site::Site;

fn endpoints(site: &Site) -> Vec<Value> {
    let text = std::fs::read_to_string(site.path("endpoints.json")).unwrap();
    serde_json::from_str(&text).unwrap()
}

#[test]
fn the_difference_is_printed_and_a_dry_run_changes_nothing() {
    let site = Site::new();
    let gateway = site.serve(&[]);
    gateway.event("ostia listens");
    let same = site.run(&["reload"]);
    assert_eq!(same.code, Some(0), "{same:?}");
    assert_eq!(same.stdout, "nothing differs; generation 2 is served\n");

    let mut entries = endpoints(&site);
    let mut other = entries[0].clone();
    other["fields"]["model"] = "org/other".into();
    entries.push(other);
    entries[0]["fields"]["config"]["api_url"] = "http://127.0.0.1:9/v2?secret=canary".into();
    site.write("endpoints.json", &json!(entries).to_string());
    let toml = std::fs::read_to_string(site.path("ostia.toml")).unwrap();
    let toml = toml.replace(
        "admin_listen = \"127.0.0.1:0\"",
        "admin_listen = \"127.0.0.1:8999\"",
    );
    site.write("ostia.toml", &toml);
    for (words, end) in [
        (
            &["reload", "--dry-run"][..],
            "nothing was changed: this was a dry run",
        ),
        (&["reload"], "generation 3 is served"),
    ] {
        let told = site.run(words);
        assert_eq!(told.code, Some(0), "{told:?}");
        for line in [
            "+ endpoint sophia-vllm-orgother",
            "~ endpoint sophia-vllm-orgmodel: config.api_url",
            "~ setting server.admin_listen: \"127.0.0.1:0\" -> \"127.0.0.1:8999\"",
            "! server.admin_listen needs a restart and keeps its value until then",
            end,
        ] {
            assert!(
                told.stdout.lines().any(|told| told == line),
                "{line}: {told:?}"
            );
        }
        assert!(!told.stdout.contains("canary"), "{told:?}");
    }
    gateway.signal(Signal::TERM);
    assert_eq!(gateway.code(), Some(0));
}

#[test]
fn variables_of_a_file_scripts_and_certificates_are_read_again() {
    let site = Site::new();
    let mut entries = endpoints(&site);
    entries[0]["fields"]["config"]["api_key_env_name"] = "BACKEND_KEY".into();
    entries[0]["fields"]["endpoint_adapter"] = "script:own.rhai".into();
    site.write("endpoints.json", &json!(entries).to_string());
    site.write("own.rhai", "fn on_request(ctx) { ctx.log(\"one\"); }\n");
    site.write("vars", "BACKEND_KEY=one-canary\n");
    let gateway = site.serve(&["--env-file", "vars"]);
    gateway.event("ostia listens");
    site.write("vars", "BACKEND_KEY=two-canary\n");
    site.write("own.rhai", "fn on_request(ctx) { ctx.log(\"two\"); }\n");
    // The running gateway's variables count; the command has none.
    let told = site.run(&["reload"]);
    assert_eq!(told.code, Some(0), "{told:?}");
    for line in ["sophia-vllm-orgmodel: key", "own.rhai", "vars"] {
        assert!(told.stdout.contains(line), "{line}: {told:?}");
    }
    assert!(!told.stdout.contains("canary"), "{told:?}");

    site.write("vars", "OTHER=1\n");
    gateway.signal(Signal::HUP);
    let refused = gateway.event("reload refused");
    let text = refused["message"].as_str().unwrap();
    assert!(
        text.contains("BACKEND_KEY") && !text.contains("canary"),
        "{text}"
    );
    site.write("own.rhai", "fn on_request(ctx) {\n");
    let told = site.run(&["reload"]);
    assert_eq!(told.code, Some(78), "{told:?}");
    assert!(
        told.stderr.contains("own.rhai") || told.stderr.contains("BACKEND_KEY"),
        "{told:?}"
    );
    gateway.signal(Signal::TERM);
    assert_eq!(gateway.code(), Some(0));
}

#[test]
fn a_refusal_names_the_place_and_where_nothing_runs_that_is_said() {
    let site = Site::new();
    let nothing = site.run(&["reload"]);
    assert_eq!(nothing.code, Some(1), "{nothing:?}");
    assert!(nothing.stderr.contains("no gateway runs"), "{nothing:?}");
    let gateway = site.serve(&[]);
    gateway.event("ostia listens");
    let sound = std::fs::read_to_string(site.path("ostia.toml")).unwrap();
    for (bad, place) in [
        (format!("{sound}[limits]\ncolour = 1\n"), "ostia.toml:"),
        ("[server\n".to_owned(), "ostia.toml:1:"),
    ] {
        site.write("ostia.toml", &bad);
        let refused = site.run(&["reload"]);
        assert_eq!(refused.code, Some(78), "{refused:?}");
        assert!(refused.stderr.contains(place), "{refused:?}");
        assert!(!refused.stderr.contains("is served"), "{refused:?}");
    }
    site.write("ostia.toml", &sound);
    gateway.signal(Signal::TERM);
    assert_eq!(gateway.code(), Some(0));
    // The token was removed with the process.
    let names = std::fs::read_dir(site.path("state")).unwrap();
    let names: Vec<_> = names.map(|entry| entry.unwrap().file_name()).collect();
    assert!(
        !names
            .iter()
            .any(|name| name.to_string_lossy().contains("admin")),
        "{names:?}"
    );
}

#[test]
fn a_unix_socket_serves_commands_too() {
    let site = Site::new();
    let toml = std::fs::read_to_string(site.path("ostia.toml")).unwrap();
    let toml = toml.replace(
        "admin_listen = \"127.0.0.1:0\"",
        "admin_listen = \"unix:admin.socket\"",
    );
    site.write("ostia.toml", &toml);
    let gateway = site.serve(&[]);
    gateway.event("ostia listens");
    let same = site.run(&["reload"]);
    assert_eq!(same.code, Some(0), "{same:?}");
    gateway.signal(Signal::TERM);
    assert_eq!(gateway.code(), Some(0));
}
