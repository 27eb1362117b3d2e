use std::collections::BTreeMap;
use std::time::Duration;

use ostia_core::{Identity, is_loopback};

use super::super::reader::{Reading, Section, Text};
use super::people::who;
use crate::catalog::{HttpUrl, Scheme};
use crate::settings::{
    Auth, Globus, Introspection, ListenAddress, Oidc, Provider, Settings, Vouching, Who,
};

const PROVIDERS: [(&str, Provider); 5] = [
    ("api_key", Provider::ApiKey),
    ("globus", Provider::Globus),
    ("introspection", Provider::Introspection),
    ("oidc", Provider::Oidc),
    ("none", Provider::None),
];

pub(super) fn read(root: &Section<'_>, reading: &Reading<'_>) -> Auth {
    let section = root.section("auth", "Who vouches for callers; see sign-in.md.");
    let list = section.list(
        "providers",
        &["api_key"],
        "Any of `api_key`, `globus`, `introspection`, `oidc`; or `none` alone, which admits whoever reaches the loopback port.",
    );
    let mut auth = Auth {
        providers: providers(list, reading),
        admit: read_admit(&section),
        max_stale: section.duration_or_zero(
            "max_stale",
            Duration::from_secs(15 * 60),
            "How long a cached sign-in serves while its source (an identity provider, or the store for keys) does not answer; never past the expiry of a token or key.",
        ),
        globus: read_globus(section.section("globus", "Globus Auth.")),
        introspection: read_introspection(section.section("introspection", "RFC 7662.")),
        oidc: section
            .sections(
                "oidc",
                "OpenID Connect: JWT access tokens of one issuer. For several issuers, write several tables, `[[auth.oidc]]`.",
            )
            .into_iter()
            .map(read_oidc)
            .collect(),
    };
    section.finish();
    part_groups(&mut auth);
    check_globus(&auth, reading);
    check_introspection(&auth, reading);
    check_oidc(&auth, reading);
    auth
}

/// Tells each provider whose groups it cannot name.
fn part_groups(auth: &mut Auth) {
    let in_use = |provider| auth.providers.contains(&provider);
    let mut prefixes: Vec<String> = Vec::new();
    if in_use(Provider::Globus) {
        prefixes.push(auth.globus.groups_prefix.clone());
    }
    if in_use(Provider::Introspection) {
        prefixes.push(auth.introspection.vouching.groups_prefix.clone());
    }
    if in_use(Provider::Oidc) {
        let issuers = auth.oidc.iter();
        prefixes.extend(issuers.map(|oidc| oidc.vouching.groups_prefix.clone()));
    }
    let issuers = auth.oidc.iter_mut().map(|oidc| &mut oidc.vouching);
    for vouching in issuers.chain([&mut auth.introspection.vouching]) {
        let foreign = |prefix: &&String| !prefix.is_empty() && **prefix != vouching.groups_prefix;
        vouching.foreign_prefixes = prefixes.iter().filter(foreign).cloned().collect();
    }
}

fn read_admit(section: &Section<'_>) -> Vec<Who> {
    let listed = section.list(
        "admit",
        &[],
        "Who may use the gateway at all: `group:ID`, `domain:NAME`, `user:NAME`, or `*` for whoever can sign in. Must be written once `oidc` is a provider, or the pages are on.",
    );
    let kinds = ["*", "group:", "domain:", "user:", "key:"];
    let read = listed
        .iter()
        .filter_map(|text| who(section, "admit", text, &kinds));
    read.collect()
}

/// With most issuers anybody in the world can sign in, so the site must decide who may use the gateway; there is no
/// default.
pub(super) fn check_admit(settings: &Settings, reading: &Reading<'_>) {
    let auth = &settings.auth;
    if !auth.admit.is_empty() {
        return;
    }
    if auth.providers.contains(&Provider::Oidc) {
        let text = "must say who may use the gateway, now that `auth.providers` lists \"oidc\": for example [\"group:ID\"], [\"domain:lab.org\"], or [\"*\"] for everybody whom the issuers know";
        reading.fatal("auth.admit", text);
    } else if settings.web.enabled && !auth.providers.contains(&Provider::None) {
        let text = "must say who may use the gateway, now that the pages are on (`web.enabled`): for example [\"group:ID\"], [\"domain:lab.org\"], or [\"*\"] for everybody who can sign in";
        reading.fatal("auth.admit", text);
    }
}

fn providers(list: Vec<Text>, reading: &Reading<'_>) -> Vec<Provider> {
    if list.is_empty() {
        let text = "is empty: list at least one of api_key, globus, introspection, oidc, none";
        reading.fatal("auth.providers", text);
    }
    let mut providers = Vec::new();
    for text in list {
        match PROVIDERS.iter().find(|(name, _)| *name == text.value) {
            Some((_, provider)) if providers.contains(provider) => {}
            Some((_, provider)) => providers.push(*provider),
            None => {
                let shown = text.shown();
                let fault = format!(
                    "`auth.providers`: {shown} is not a provider; known: api_key, globus, introspection, oidc, none"
                );
                reading.report.fatal(text.at.place(), &fault);
            }
        }
    }
    if providers.contains(&Provider::None) && providers.len() > 1 {
        let text = "lists \"none\" beside others: \"none\" lets everyone in, so it stands alone";
        reading.fatal("auth.providers", text);
    }
    providers
}

/// Provider `none` admits anybody who reaches the port, so only this machine may reach it.
pub(super) fn check_none(settings: &Settings, reading: &Reading<'_>) {
    if !settings.auth.providers.contains(&Provider::None) {
        return;
    }
    let server = &settings.server;
    let loopback =
        matches!(&server.listen, ListenAddress::Tcp(address) if address.ip().is_loopback());
    if !loopback {
        let text = "must be a loopback address such as \"127.0.0.1:8000\" while `auth.providers` is \"none\"";
        reading.fatal("server.listen", text);
    }
    if !server.trusted_proxies.is_empty() {
        let text = "must be empty while `auth.providers` is \"none\": behind a proxy everyone would be let in";
        reading.fatal("server.trusted_proxies", text);
    }
    if server.cors_origins.iter().any(|origin| origin == "*") {
        let text = "must not hold \"*\" while `auth.providers` is \"none\": every web page could call then; list the pages' origins";
        reading.fatal("server.cors_origins", text);
    }
}

fn read_globus(section: Section<'_>) -> Globus {
    let globus = Globus {
        client_id: section.text(
            "client_id",
            "",
            "The service's own client, registered with Globus Auth; required.",
        ),
        client_secret: section.secret("client_secret", "Its secret; required."),
        policies: uuids(section.texts(
            "policies",
            &[],
            "High-assurance policies, by UUID: all must be met.",
        )),
        required_groups: uuids(section.texts(
            "required_groups",
            &[],
            "Groups, by UUID: a user must be in one of them.",
        )),
        idp_domains: lower(section.texts(
            "idp_domains",
            &[],
            "Users must have a username in one of these domains.",
        )),
        groups_per_domain: section
            .section(
                "groups_per_domain",
                "`\"uni.edu\" = [\"uuid\"]`: users of that domain must be in one of these groups.",
            )
            .into_lists()
            .into_iter()
            .map(|(domain, groups)| {
                let groups = groups.into_iter().map(|group| group.value).collect();
                (domain.to_lowercase(), uuids(groups))
            })
            .collect(),
        service_usernames: section.texts(
            "service_usernames",
            &[],
            "Accounts of programs: policies and domains do not apply to them, groups do.",
        ),
        groups_prefix: section.text(
            "groups_prefix",
            "",
            "The prefix of each group from Globus, also in rules.",
        ),
        link_claim: section.text("link_claim", "", LINK_CLAIM),
        scope: section.text(
            "scope",
            "",
            "The scope that people sign in with on pages; by default `https://auth.globus.org/scopes/CLIENT_ID/action_all`.",
        ),
        auth_url: section.text("auth_url", "https://auth.globus.org", "Globus Auth."),
        groups_url: section.text(
            "groups_url",
            "https://groups.api.globus.org",
            "Globus Groups.",
        ),
        cache_ttl: section.duration_or_zero(
            "cache_ttl",
            Duration::from_secs(60),
            "How long a valid token is trusted without asking again; never beyond its expiry.",
        ),
        groups_ttl: section.duration_or_zero(
            "groups_ttl",
            Duration::from_secs(600),
            "How long a user's groups are trusted.",
        ),
    };
    section.finish();
    globus
}

fn check_globus(auth: &Auth, reading: &Reading<'_>) {
    let globus = &auth.globus;
    if !listed(auth, Provider::Globus, "globus", reading) {
        return;
    }
    need("auth.globus.client_id", &globus.client_id, reading);
    need(
        "auth.globus.client_secret",
        globus.client_secret.expose(),
        reading,
    );
    check_provider_url("auth.globus.auth_url", &globus.auth_url, reading);
    check_provider_url("auth.globus.groups_url", &globus.groups_url, reading);
    for (domain, groups) in &globus.groups_per_domain {
        if groups.is_empty() {
            let key = format!("auth.globus.groups_per_domain.{domain}");
            reading.fatal(
                &key,
                "is empty: list at least one group, or remove the line",
            );
        }
    }
}

fn read_introspection(section: Section<'_>) -> Introspection {
    let introspection = Introspection {
        url: section.text("url", "", "The introspection endpoint; required."),
        client_id: section.text(
            "client_id",
            "",
            "The gateway's name there (HTTP Basic); required.",
        ),
        client_secret: section.secret("client_secret", "Its secret; required."),
        audience: section.texts(
            "audience",
            &[],
            "If set, a token's `aud` must name one of these.",
        ),
        scope: section.text(
            "scope",
            "",
            "If set, a token must have been granted all of these, with spaces between.",
        ),
        vouching: vouching(&section),
    };
    section.finish();
    introspection
}

fn check_introspection(auth: &Auth, reading: &Reading<'_>) {
    let introspection = &auth.introspection;
    if !listed(auth, Provider::Introspection, "introspection", reading) {
        return;
    }
    need(
        "auth.introspection.client_id",
        &introspection.client_id,
        reading,
    );
    let secret = introspection.client_secret.expose();
    need("auth.introspection.client_secret", secret, reading);
    if need("auth.introspection.url", &introspection.url, reading) {
        check_provider_url("auth.introspection.url", &introspection.url, reading);
    }
    check_vouching("auth.introspection", &introspection.vouching, reading);
}

fn read_oidc(section: Section<'_>) -> Oidc {
    let oidc = Oidc {
        name: section.text("name", "", "The name that people see when they choose a provider."),
        issuer: section.text(
            "issuer",
            "",
            "A token's `iss`, to the letter; keys come from its discovery document. Required.",
        ),
        audience: section.texts(
            "audience",
            &[],
            "A token's `aud` must name one of these; required.",
        ),
        authorized_parties: section.texts(
            "authorized_parties",
            &[],
            "If set, the client that a token was given to (`azp`, `client_id` or `appid`) must be one of these.",
        ),
        client_id: section.text("client_id", "", "The gateway's own client there, for signing in on pages."),
        client_secret: section.secret("client_secret", "Its secret."),
        scopes: section.texts(
            "scopes",
            &["openid", "email", "profile"],
            "The scopes to ask for when somebody signs in on pages.",
        ),
        vouching: vouching(&section),
    };
    section.finish();
    oidc
}

fn check_oidc(auth: &Auth, reading: &Reading<'_>) {
    if !listed(auth, Provider::Oidc, "oidc", reading) {
        return;
    }
    let mut issuers: Vec<&str> = Vec::new();
    for (oidc, number) in auth.oidc.iter().zip(1..) {
        let path = oidc_path(number);
        // Without an audience, a token made for any other service of the same issuer would open this one.
        need(
            &format!("{path}.audience"),
            &oidc.audience.concat(),
            reading,
        );
        let key = format!("{path}.issuer");
        if need(&key, &oidc.issuer, reading) {
            check_provider_url(&key, &oidc.issuer, reading);
        }
        if issuers.contains(&&*oidc.issuer) {
            reading.fatal(&key, "appears twice: each issuer has one table");
        }
        issuers.push(&oidc.issuer);
        check_vouching(&path, &oidc.vouching, reading);
    }
}

/// The dotted path of an issuer's table, by its number from 1.
fn oidc_path(number: usize) -> String {
    match number {
        1 => "auth.oidc".to_owned(),
        number => format!("auth.oidc[{number}]"),
    }
}

const LINK_CLAIM: &str = "The claim whose value is the same for one person at all providers, and is the person's name here: whoever has it is one user, whichever way they sign in. An address counts if its domain does.";

/// The settings that all providers have.
fn vouching(section: &Section<'_>) -> Vouching {
    Vouching {
        claims: claims(section),
        domains: lower(section.texts(
            "domains",
            &[],
            "The domains that this provider may vouch for: users with another domain, or none, are not admitted. Empty: any.",
        )),
        groups_prefix: section.text(
            "groups_prefix",
            "",
            "The prefix of each group from this provider, so that no other provider can name the same group.",
        ),
        required_groups: uuids(section.texts(
            "required_groups",
            &[],
            "Users must be in one of these groups, as the provider names them.",
        )),
        required_acr: section.texts(
            "required_acr",
            &[],
            "The claim `acr` or `eduperson_assurance` must contain one of these; else 401 `reauthentication_required`.",
        ),
        link_claim: section.text("link_claim", "", LINK_CLAIM),
        foreign_prefixes: Vec::new(),
    }
}

/// Anybody can sign up with some providers and claim anything, so unlimited trust in a provider is reported.
fn check_vouching(path: &str, vouching: &Vouching, reading: &Reading<'_>) {
    if !vouching.domains.is_empty() {
        return;
    }
    let key = format!("{path}.domains");
    if !vouching.link_claim.is_empty() {
        let text = "is empty while `link_claim` is set: whoever controls this provider can be any user; list the domains that it may vouch for";
        reading.warning(&key, text);
    } else if ["domain", "user"]
        .iter()
        .any(|word| vouching.claims.contains_key(*word))
    {
        let text = "is empty, so this provider may give its users any domain: list those that it may vouch for";
        reading.warning(&key, text);
    }
}

fn claims(section: &Section<'_>) -> BTreeMap<String, String> {
    let words = section.text_map(
        "claims",
        "`user = \"eppn\"`: the provider's claim for our word (`id`, by default `sub`, `user`, `domain`, `name`, `groups`, `idp_name`). A domain counts only from a verified e-mail or from a claim that is named here.",
    );
    let known = [
        "id", "user", "username", "domain", "name", "groups", "idp_name",
    ];
    let mut claims = BTreeMap::new();
    for (word, claim) in words {
        if !known.contains(&&*word) {
            let text = format!(
                "`claims.{word}` is not a word that Ostia knows; known: {}",
                known.join(", ")
            );
            section.warn(&claim.at, &text);
        }
        // An older word for `user`.
        let word = if word == "username" {
            "user".to_owned()
        } else {
            word
        };
        claims.insert(word, claim.value);
    }
    claims
}

fn lower(texts: Vec<String>) -> Vec<String> {
    texts.iter().map(|text| text.to_lowercase()).collect()
}

fn uuids(texts: Vec<String>) -> Vec<String> {
    texts.iter().map(|text| Identity::group(text)).collect()
}

/// Whether a provider is in use. A section for an unused one gets a warning, because it protects nothing.
fn listed(auth: &Auth, provider: Provider, name: &str, reading: &Reading<'_>) -> bool {
    let listed = auth.providers.contains(&provider);
    let key = format!("auth.{name}");
    if !listed && reading.places.borrow().contains_key(&key) {
        let text = format!("has no effect: add \"{name}\" to `auth.providers`");
        reading.warning(&key, &text);
    }
    listed
}

fn need(key: &str, value: &str, reading: &Reading<'_>) -> bool {
    if value.trim().is_empty() {
        let provider = key.split('.').nth(1).unwrap_or("");
        let text = format!("is missing or empty; provider \"{provider}\" needs it");
        reading.fatal(key, &text);
        return false;
    }
    true
}

/// An identity provider decides who gets in, so nobody on the network path may be able to answer for it.
fn check_provider_url(key: &str, url: &str, reading: &Reading<'_>) {
    match HttpUrl::parse_bare(url) {
        Err(fault) => reading.fatal(key, &fault.to_string()),
        Ok(url) if url.origin.scheme == Scheme::Http && !is_loopback(&url.origin.host) => {
            reading.fatal(key, "must be https:// (plain http:// is for loopback only)");
        }
        Ok(_) => {}
    }
}
