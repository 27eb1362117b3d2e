//! Orderly shutdown, and what operators see before it.

use rustix::process::Signal;

use super::serve::answer;
use super::site::Site;

const LONG_GRACE: [(&str, &str); 1] = [("OSTIA_SERVER__DRAIN_GRACE", "1h")];

/// While load balancers notice the shutdown, clients are still served, and told to open a new connection next time
/// (R86).
#[test]
fn in_the_grace_it_is_not_ready_and_still_serves() {
    for asked_by_command in [false, true] {
        let site = Site::new();
        let gateway = site.serve_with(&LONG_GRACE, &[]);
        let ready = gateway.event("ostia listens");
        let address = ready["listen"].as_str().unwrap();
        let admin = ready["admin"].as_str().unwrap();
        if asked_by_command {
            let told = site.run(&["drain"]);
            assert_eq!(told.code, Some(0), "{told:?}");
            assert!(told.stdout.contains("not ready"), "{told:?}");
        } else {
            gateway.signal(Signal::TERM);
        }
        gateway.event("stopping");
        let ready = answer(admin, "/health/ready", "");
        assert!(ready.starts_with("HTTP/1.1 503 "), "{ready}");
        assert!(ready.contains("\"draining\":true"), "{ready}");
        let health = answer(address, "/health", "");
        assert!(health.starts_with("HTTP/1.1 200 "), "{health}");
        assert!(health.contains("connection: close"), "{health}");
        // A reload is too late now, and kills nothing.
        gateway.signal(Signal::HUP);
        gateway.event("SIGHUP");
        // The second signal shortens the drain (R87).
        gateway.signal(Signal::TERM);
        assert_eq!(gateway.code(), Some(0));
    }
}

#[test]
fn without_a_grace_it_ends_at_once_and_ctrl_c_waits_for_none() {
    let site = Site::new();
    let gateway = site.serve_with(&LONG_GRACE, &[]);
    gateway.event("ostia listens");
    gateway.signal(Signal::INT);
    assert_eq!(gateway.code(), Some(0));
}

#[test]
fn the_state_is_a_table_and_a_line_for_monitoring() {
    let site = Site::new();
    let nothing = site.run(&["status", "--check"]);
    assert_eq!(nothing.code, Some(2), "{nothing:?}");
    assert!(
        nothing.stdout.starts_with("OSTIA CRITICAL - "),
        "{nothing:?}"
    );
    let gateway = site.serve(&[]);
    gateway.event("ostia listens");
    let shown = site.run(&["status"]);
    assert_eq!(shown.code, Some(0), "{shown:?}");
    for part in ["ok, generation 1", "sophia-vllm-orgmodel", "served"] {
        assert!(shown.stdout.contains(part), "{part}: {shown:?}");
    }
    let widest = shown.stdout.lines().map(|line| line.chars().count()).max();
    assert!(widest <= Some(80), "{shown:?}");
    let json = site.json(&["status", "--json"]);
    assert_eq!(json["endpoints"][0]["state"], "served");
    let check = site.run(&["status", "--check"]);
    assert_eq!(check.code, Some(0), "{check:?}");
    assert!(
        check.stdout.starts_with("OSTIA OK - 1 endpoint(s) | "),
        "{check:?}"
    );

    let drained = site.run(&["drain", "sophia-vllm-orgmodel"]);
    assert_eq!(drained.code, Some(0), "{drained:?}");
    let check = site.run(&["status", "--check"]);
    assert_eq!(check.code, Some(2), "{check:?}");
    assert!(
        check.stdout.contains("no endpoint serves org/model"),
        "{check:?}"
    );
    let unknown = site.run(&["drain", "nobody"]);
    assert_eq!(unknown.code, Some(1), "{unknown:?}");
    let used = site.run(&["undrain", "sophia-vllm-orgmodel"]);
    assert_eq!(used.code, Some(0), "{used:?}");
    assert_eq!(site.run(&["status", "--check"]).code, Some(0));
    gateway.signal(Signal::TERM);
    assert_eq!(gateway.code(), Some(0));
}

/// A support bundle contains nothing that is private.
#[test]
fn a_bundle_holds_no_secret_and_overwrites_nothing() {
    let site = Site::new();
    let toml = std::fs::read_to_string(site.path("ostia.toml")).unwrap();
    let more = "[auth.globus]\nclient_secret = \"canary-one\"\n[routing]\nhmac_key = \"canary-two-canary-two-canary-two-canary\"\n";
    site.write("ostia.toml", &format!("{toml}{more}"));
    site.write("ostia.db.canary", "");
    let gateway = site.serve(&[]);
    gateway.event("ostia listens");
    let key = site.json(&["key", "create", "--user", "canary-user@lab.org", "--json"]);
    let written = site.run(&["support-bundle", "--output", "bundle.json"]);
    assert_eq!(written.code, Some(0), "{written:?}");
    let text = std::fs::read_to_string(site.path("bundle.json")).unwrap();
    for part in [
        "sophia-vllm-orgmodel",
        "\"generation\": 1",
        "journal",
        "Max open files",
    ] {
        assert!(text.contains(part), "{part}: {text}");
    }
    assert!(!text.contains("canary"), "{text}");
    assert!(!text.contains(key["key"].as_str().unwrap()), "{text}");
    let token = std::fs::read_to_string(site.path("state/admin.token")).unwrap();
    assert!(!text.contains(token.trim()), "{text}");
    let again = site.run(&["support-bundle", "--output", "bundle.json"]);
    assert_eq!(again.code, Some(1), "{again:?}");
    gateway.signal(Signal::TERM);
    assert_eq!(gateway.code(), Some(0));
    let alone = site.run(&["support-bundle", "--output", "-"]);
    assert_eq!(alone.code, Some(0), "{alone:?}");
    assert!(alone.stdout.contains("no gateway runs"), "{alone:?}");
}
