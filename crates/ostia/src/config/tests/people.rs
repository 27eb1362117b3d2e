use std::time::Duration;

use ostia_core::Role;

use super::{Folder, assert_problem};
use crate::settings::{Settings, Who};

const DAY: Duration = Duration::from_secs(86_400);

fn settings(text: &str) -> Settings {
    let folder = Folder::new().file("ostia.toml", text);
    let loaded = folder.load();
    let problems = folder.shown(&loaded);
    loaded.settings.unwrap_or_else(|| panic!("{problems:#?}"))
}

#[test]
fn several_issuers_are_several_tables_and_one_is_one() {
    let one = "[auth]\nproviders = \"oidc\"\nadmit = \"*\"\n[auth.oidc]\nissuer = \"https://a.example\"\naudience = \"x y\"\n";
    let read = settings(one).auth;
    assert_eq!(read.oidc.len(), 1);
    assert_eq!(read.oidc[0].audience, ["x", "y"]);
    assert_eq!(read.admit, [Who::Everybody]);
    let table = |issuer: &str, more: &str| {
        format!("[[auth.oidc]]\nissuer = \"https://{issuer}\"\naudience = [\"x\"]\n{more}\n")
    };
    let several = format!(
        "[auth]\nproviders = [\"oidc\"]\nadmit = [\"domain:Lab.ORG\", \"user:ann@lab.org\"]\n{}{}",
        table(
            "a.example",
            "domains = [\"Lab.org\"]\nclaims = { username = \"upn\" }"
        ),
        table(
            "b.example",
            "groups_prefix = \"b:\"\nlink_claim = \"eppn\"\ndomains = \"uni.edu\""
        )
    );
    let read = settings(&several).auth;
    let (a, b) = (&read.oidc[0], &read.oidc[1]);
    assert_eq!(
        (&*a.issuer, &*b.issuer),
        ("https://a.example", "https://b.example")
    );
    assert_eq!(a.vouching.domains, ["lab.org"]);
    assert_eq!(a.vouching.claims["user"], "upn");
    assert_eq!(
        (&*b.vouching.groups_prefix, &*b.vouching.link_claim),
        ("b:", "eppn")
    );
    assert_eq!(a.vouching.foreign_prefixes, ["b:"]);
    assert!(b.vouching.foreign_prefixes.is_empty());
    assert_eq!(read.admit[0], Who::Domain("lab.org".to_owned()));
}

#[test]
fn a_provider_that_is_believed_without_bounds_is_told() {
    let open = "[auth]\nproviders = [\"oidc\"]\nadmit = [\"*\"]\n[[auth.oidc]]\nissuer = \"https://a.example\"\naudience = \"x\"\n\
                link_claim = \"eppn\"\n";
    let problems = Folder::new().file("ostia.toml", open).problems();
    assert_problem(&problems, "ostia.toml", "can be any user", open);
    let bounded = format!("{open}domains = [\"lab.org\"]\n");
    let problems = Folder::new().file("ostia.toml", bounded).problems();
    assert_eq!(problems, Vec::<String>::new());
}

#[test]
fn owners_are_asked_for_where_somebody_can_sign_in() {
    let of = |text: &str| settings(text).keys;
    assert_eq!(of("").owner_ttl, None);
    assert_eq!((of("").default_age, of("").max_age), (90 * DAY, 365 * DAY));
    assert_eq!(of("[keys]\nowner_ttl = \"7d\"").owner_ttl, Some(7 * DAY));
    let globus = "[auth]\nproviders = [\"api_key\", \"globus\"]\n[auth.globus]\nclient_id = \"a\"\nclient_secret = \"b\"\n";
    assert_eq!(of(globus).owner_ttl, Some(30 * DAY));
    let off = format!("{globus}[keys]\nowner_ttl = \"0\"");
    assert_eq!(of(&off).owner_ttl, None);
}

#[test]
fn roles_name_groups_users_and_keys() {
    let text = "[roles]\noperator = [\"group:05D1C5A4-0FF0-11EF-9C26-6BEDA4A3F1CB\"]\nsupport = \"user:ann@lab.org key:key_1\"";
    let group = "05d1c5a4-0ff0-11ef-9c26-6beda4a3f1cb".to_owned();
    let expected = [
        (Role::Operator, Who::Group(group)),
        (Role::Support, Who::User("ann@lab.org".to_owned())),
        (Role::Support, Who::Key("key_1".to_owned())),
    ];
    assert_eq!(settings(text).roles, expected);
}

#[test]
fn limits_of_groups_are_found_however_their_ids_are_written() {
    let text = "[limits.group.\"05D1C5A4-0FF0-11EF-9C26-6BEDA4A3F1CB\"]\nblocked = true\n[limits.group.Staff]\ntpm_user = 5";
    let groups = settings(text).limits.others.group;
    let names: Vec<&str> = groups.keys().map(String::as_str).collect();
    assert_eq!(names, ["05d1c5a4-0ff0-11ef-9c26-6beda4a3f1cb", "Staff"]);
}

#[test]
fn limits_of_users_are_found_however_their_names_are_written() {
    let text = "[limits.user.\"ANN@Lab.org\"]\nblocked = true\n[limits.user.Portal]\ntpm_user = 5";
    let users = settings(text).limits.others.user;
    let names: Vec<&str> = users.keys().map(String::as_str).collect();
    assert_eq!(names, ["Portal", "ann@lab.org"]);
}

#[test]
fn a_rule_that_names_nobody_is_a_mistake() {
    for nobody in [
        "user:",
        "user: ",
        "user::",
        "user:@",
        "group:-",
        "key: :",
        "user:\u{a0}",
        ":",
        "",
    ] {
        let text = format!("[roles]\noperator = [\"{nobody}\"]\n");
        let problems = Folder::new().file("ostia.toml", &text).problems();
        let is_told = problems
            .iter()
            .any(|one| one.contains("which names nobody"));
        assert!(is_told, "{nobody:?}: {problems:?}");
    }
}
