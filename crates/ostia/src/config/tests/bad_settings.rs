use super::{Folder, assert_problem};

/// `ostia.toml`, where the problem stands, a piece of its text.
const BAD: &[(&str, &str, &str)] = &[
    (
        "[server\nlisten = 1",
        "ostia.toml:1:8: error",
        "not valid TOML",
    ),
    ("listen = = 1", "ostia.toml:1:10: error", "not valid TOML"),
    (
        "[server]\nlisten = 127.0.0.1:8000",
        "ostia.toml:2:15: error",
        "a text stands in quotes",
    ),
    (
        "[server]\nlisten = \"127.0.0.1:1\n",
        "ostia.toml:2:",
        "not valid TOML",
    ),
    (
        "[limits]\na = 1\na = 2",
        "ostia.toml:3:1: error",
        "duplicate key",
    ),
    (
        "[server]\nlisten = \"127.0.0.1:1\"\nlisten = 2",
        "ostia.toml:3:1: error",
        "duplicate key",
    ),
    (
        "[serve]\nlisten = \"x\"",
        "ostia.toml:1:2: error",
        "did you mean `server`?",
    ),
    (
        "[server]\nlisen = \"x\"",
        "ostia.toml:2:1: error",
        "`server.lisen` is not a key that Ostia knows; did you mean `listen`?",
    ),
    (
        "[server]\n\n  colour = 1",
        "ostia.toml:3:3: error",
        "known here: ",
    ),
    ("colour = 1", "ostia.toml:1:1: error", "`colour`"),
    (
        "server = 1",
        "ostia.toml:1:10: error",
        "must be a section: `[server]`",
    ),
    (
        "[server]\nlisten = 8000",
        "ostia.toml:2:10: error",
        "an address such as",
    ),
    (
        "[server]\nlisten = \":8000\"",
        "ostia.toml:2:10: error",
        "write `0.0.0.0:8000`",
    ),
    (
        "[server]\nlisten = \"example.org:80\"",
        "ostia.toml:2:10: error",
        "an address such as",
    ),
    (
        "[server]\nlisten = \"127.0.0.1:99999\"",
        "ostia.toml:2:10: error",
        "an address such as",
    ),
    (
        "[server]\nlisten = \"unix:\"",
        "ostia.toml:2:10: error",
        "no path",
    ),
    (
        "[server]\nadmin_listen = \"127.0.0.1:8000\"",
        "ostia.toml:2:16: error",
        "same address",
    ),
    (
        "[server]\nbase_path = \"x\"",
        "ostia.toml:2:13: error",
        "a path such as",
    ),
    (
        "[server]\nbase_path = \"/v1\"",
        "ostia.toml:2:13: error",
        "own routes",
    ),
    (
        "[server]\nmax_body_bytes = -1",
        "ostia.toml:2:18: error",
        "a size greater than 0",
    ),
    (
        "[server]\nmax_body_bytes = 0",
        "ostia.toml:2:18: error",
        "a size greater than 0",
    ),
    (
        "[server]\nmax_body_bytes = \"lots\"",
        "ostia.toml:2:18: error",
        "`lots` is no size",
    ),
    (
        "[server]\nmax_body_bytes = 1.5",
        "ostia.toml:2:18: error",
        "a number with a point",
    ),
    (
        "[server]\nmax_body_bytes = 99999999999999999999999",
        "ostia.toml:2:18: error",
        "beyond 64 bits",
    ),
    (
        "[server]\nmax_buffered_bytes = 5",
        "ostia.toml:2:22: error",
        "less than `server.max_body_bytes`",
    ),
    (
        "[server]\nheader_timeout = \"0\"",
        "ostia.toml:2:18: error",
        "greater than 0",
    ),
    (
        "[server]\nheader_timeout = \"soon\"",
        "ostia.toml:2:18: error",
        "`soon` is no duration",
    ),
    (
        "[server]\nheader_timeout = 1979-05-27",
        "ostia.toml:2:18: error",
        "a date",
    ),
    (
        "[server]\nmax_connections = 0",
        "ostia.toml:2:19: error",
        "from 1 to",
    ),
    (
        "[server]\ntrusted_proxies = [\"10.0.0.0/8\", \"nginx\"]",
        "ostia.toml:2:34: error",
        "`nginx` is no address",
    ),
    (
        "[server]\ntrusted_proxies = [\"0.0.0.0/0\"]",
        "ostia.toml:2:20: error",
        "believe everyone",
    ),
    (
        "[server]\ntrusted_proxies = [1]",
        "ostia.toml:2:20: error",
        "texts only",
    ),
    (
        "[server]\ntrusted_proxies = true",
        "ostia.toml:2:19: error",
        "`true` is no address",
    ),
    (
        "[server]\ncors_origins = [\"https://a.org/\"]",
        "ostia.toml:2:17: error",
        "no origin",
    ),
    (
        "[server]\ntls_cert = \"no.pem\"",
        "ostia.toml:2:12: error",
        "cannot be read",
    ),
    (
        "[server]\ntls_key = \"fixtures/clusters.json\"",
        "ostia.toml:2:11: error",
        "needs `server.tls_cert`",
    ),
    (
        "[server]\ntls_cert = \"ostia.toml\"\ntls_key = \"ostia.toml\"",
        "ostia.toml:2:12: error",
        "holds no PEM certificate",
    ),
    (
        "[server]\nstate_dir = \"\"",
        "ostia.toml:2:13: error",
        "is empty",
    ),
    (
        "[fixtures]\nclusters = \"nowhere.json\"",
        "ostia.toml:2:12: error",
        "does not exist",
    ),
    (
        "[fixtures]\nendpoint = \"x\"",
        "ostia.toml:2:1: error",
        "did you mean `endpoints`?",
    ),
    (
        "[adapters]\n\"a.B\" = \"nothing\"",
        "ostia.toml:2:9: error",
        "not known",
    ),
    (
        "[adapters]\n\"a.B\" = \"script:none.rhai\"",
        "ostia.toml:2:9: error",
        "cannot be read",
    ),
    (
        "[adapters]\ndirect_api = \"script:ostia.toml\"",
        "ostia.toml:2:14: warning",
        "no effect",
    ),
    (
        "[catalog]\nmatch = \"fuzzy\"",
        "ostia.toml:2:9: error",
        "\"exact\" or \"slug\"",
    ),
    (
        "[catalog.aliases]\na = \"b\"\nb = \"a\"",
        "ostia.toml:2:5: error",
        "is an alias too",
    ),
    (
        "[catalog.aliases]\na = \"N\"",
        "ostia.toml:2:5: error",
        "no model of the fixtures",
    ),
    (
        "[catalog.aliases]\nM = \"M\"",
        "ostia.toml:2:5: error",
        "itself a model",
    ),
    (
        "[catalog.aliases]\na = 1",
        "ostia.toml:2:5: error",
        "a text in quotes",
    ),
    (
        "[maintenance]\nx = \"down\"",
        "ostia.toml:2:5: warning",
        "no cluster of the fixtures",
    ),
    (
        "[maintenance.source.c]\nfield = \"f\"",
        "ostia.toml:1:",
        "needs a `url`",
    ),
    (
        "[maintenance.source.c]\nurl = \"http://u:hunter2@h\"",
        "ostia.toml:2:7: error",
        "user name or password",
    ),
    (
        "[maintenance.source.c]\nurl = \"ftp://h\"",
        "ostia.toml:2:7: error",
        "http://",
    ),
    (
        "[maintenance.source.c]\nurl = \"http://h\"\ndown = []",
        "ostia.toml:3:8: error",
        "is empty",
    ),
    (
        "[store]\nurl = \"mysql://u:hunter2@h/db\"",
        "ostia.toml:2:7: error",
        "sqlite://",
    ),
    (
        "[store]\nurl = \"postgres://u:hunter2@h/db\"",
        "ostia.toml:2:7: error",
        "PostgreSQL is not served",
    ),
    (
        "[auth]\nproviders = []",
        "ostia.toml:2:13: error",
        "is empty",
    ),
    (
        "[auth]\nproviders = [\"api_key\", \"ldap\"]",
        "ostia.toml:2:25: error",
        "`ldap` is no provider",
    ),
    (
        "[auth]\nproviders = [\"none\", \"api_key\"]",
        "ostia.toml:2:13: error",
        "stands alone",
    ),
    (
        "[auth]\nproviders = \"none\"\n[server]\nlisten = \"0.0.0.0:8000\"",
        "ostia.toml:4:10: error",
        "must be a loopback address",
    ),
    (
        "[auth]\nproviders = \"none\"\n[server]\nlisten = \"unix:x\"",
        "ostia.toml:4:10: error",
        "must be a loopback address",
    ),
    (
        "[auth]\nproviders = \"none\"\n[server]\ntrusted_proxies = \"10.0.0.1\"",
        "ostia.toml:4:19: error",
        "must be empty",
    ),
    (
        "[auth]\nproviders = \"globus\"",
        "ostia.toml: error",
        "`auth.globus.client_id` is missing",
    ),
    (
        "[auth]\nproviders = \"globus\"\n[auth.globus]\nclient_id = \"\"\nclient_secret = \"hunter2\"",
        "ostia.toml:4:13: error",
        "missing or empty",
    ),
    (
        "[auth]\nproviders = \"globus\"\n[auth.globus]\nclient_id = \"i\"\nclient_secret = \"hunter2\"\nauth_url = \"http://auth.example.org\"",
        "ostia.toml:6:12: error",
        "must be https://",
    ),
    (
        "[auth]\nproviders = \"globus\"\n[auth.globus.groups_per_domain]\n\"lab.org\" = []",
        "ostia.toml:4:13: error",
        "is empty",
    ),
    (
        "[auth.globus]\nclient_id = \"x\"",
        "ostia.toml:1:",
        "add \"globus\" to `auth.providers`",
    ),
    (
        "[auth]\nproviders = \"introspection\"",
        "ostia.toml: error",
        "`auth.introspection.url` is missing",
    ),
    (
        "[auth]\nproviders = \"introspection\"\n[auth.introspection]\nurl = \"https://u:hunter2@h/\"\n",
        "ostia.toml:4:7: error",
        "holds a user name or password",
    ),
    (
        "[auth]\nproviders = \"oidc\"",
        "ostia.toml: error",
        "`auth.oidc.issuer` is missing",
    ),
    (
        "[auth]\nproviders = \"oidc\"\n[auth.oidc]\nissuer = \"http://login.example.org\"\naudience = \"a\"",
        "ostia.toml:4:10: error",
        "must be https://",
    ),
    (
        "[auth]\nproviders = \"oidc\"\n[auth.oidc]\nissuer = \"https://login.example.org\"",
        "ostia.toml: error",
        "`auth.oidc.audience` is missing",
    ),
    (
        "[limits]\ntpm_model = -5",
        "ostia.toml:2:13: error",
        "from 0 to",
    ),
    (
        "[limits]\nrequests_per_second_per_user = 4294967296",
        "ostia.toml:2:32: error",
        "to 4294967295",
    ),
    (
        "[limits]\nshared = \"http://:hunter2@h\"",
        "ostia.toml:2:10: error",
        "redis://",
    ),
    (
        "[routing]\nsession_headers = [\"X Y\"]",
        "ostia.toml:2:20: error",
        "no header name",
    ),
    (
        "[upstream]\nretry_budget_percent = 101",
        "ostia.toml:2:24: error",
        "from 0 to 100",
    ),
    (
        "[upstream]\nconnect_timeout = -1",
        "ostia.toml:2:19: error",
        "a duration",
    ),
    (
        "[telemetry]\nlog_prompts = \"yes\"",
        "ostia.toml:2:15: error",
        "true or false",
    ),
    (
        "[telemetry]\notlp_endpoint = \"h:4318\"",
        "ostia.toml:2:17: error",
        "is not a URL",
    ),
    (
        "[store]\nurl = \"env:STORE_URL\"",
        "ostia.toml:2:7: error",
        "`STORE_URL`, which is not set",
    ),
    (
        "[store]\nurl = \"file:secret\"",
        "ostia.toml:2:7: error",
        "cannot be read",
    ),
];

#[test]
fn every_mistake_has_its_place() {
    assert!(BAD.len() >= 60);
    for (toml, place, piece) in BAD {
        let folder = Folder::new().file("ostia.toml", toml);
        let problems = folder.problems();
        assert_problem(&problems, place, piece, toml);
        assert!(!problems.concat().contains("hunter2"), "{problems:#?}");
    }
}

#[test]
fn all_mistakes_are_told_at_once_and_in_order() {
    let toml = "[server]\nlisten = 1\ncolour = 2\n[limits]\ntpm_user = \"x\"\n[auth]\nproviders = \"ldap\"\n";
    let problems = Folder::new().file("ostia.toml", toml).problems();
    let places: Vec<_> = problems
        .iter()
        .map(|line| line.split(": ").next().unwrap())
        .collect();
    assert_eq!(
        places,
        [
            "ostia.toml:2:10",
            "ostia.toml:3:1",
            "ostia.toml:5:12",
            "ostia.toml:7:13"
        ]
    );
}

#[test]
fn a_syntax_error_does_not_hide_other_files() {
    let folder = Folder::new()
        .file(
            "ostia.toml",
            "[fixtures]\nclusters = \"fixtures/other.json\"\n[server\nlisten = 1",
        )
        .file("fixtures/other.json", "[\n1\n2]")
        .file("fixtures/endpoints.json", "[{},]");
    let problems = folder.problems();
    assert_eq!(problems.len(), 3, "{problems:#?}");
    assert_problem(&problems, "ostia.toml:3:8", "not valid TOML", "");
    assert_problem(
        &problems,
        "fixtures/other.json:2:2",
        "comma `,` is missing",
        "",
    );
    assert_problem(
        &problems,
        "fixtures/endpoints.json:1:4",
        "behind the last entry",
        "",
    );
    assert!(folder.load().settings.is_none());
    assert!(folder.load().fatal(false));
}

#[test]
fn overrides_are_checked_as_well() {
    let folder = Folder::new()
        .variable("OSTIA_SERVER__MAX_BODY_BYTES", "hunter2")
        .variable("OSTIA_SERVER__COLOUR", "red")
        .variable("OSTIA_STORE__URL__X", "red")
        .variable("OSTIA_LIMITS", "ignored")
        .variable("OSTIA_SERVER", "ignored");
    let problems = folder.problems();
    assert_problem(
        &problems,
        "OSTIA_SERVER__MAX_BODY_BYTES: error",
        "a size greater than 0",
        "",
    );
    assert_problem(
        &problems,
        "OSTIA_SERVER__COLOUR: error",
        "`server.colour`",
        "",
    );
    assert_problem(&problems, "OSTIA_STORE__URL__X: error", "`store.url`", "");
    assert_eq!(problems.len(), 3, "{problems:#?}");
    assert!(!problems.concat().contains("hunter2"));
}

#[test]
fn files_that_are_named_must_be_there() {
    let folder = Folder::new().without("ostia.toml");
    assert_problem(
        &folder.problems(),
        "ostia.toml: error",
        "does not exist",
        "",
    );
    assert!(folder.load().fatal(false));
    let mut folder = Folder::new();
    folder.env_files.push("site.env");
    assert_problem(
        &folder.problems(),
        "site.env: error",
        "--env-file names it",
        "",
    );
    assert!(folder.load().fatal(false));
    let folder = Folder::new().file("ostia.toml", b"# \xff\n".as_slice());
    assert_problem(&folder.problems(), "ostia.toml:1:3: error", "not UTF-8", "");
}
