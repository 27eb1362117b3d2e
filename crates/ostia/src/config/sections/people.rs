use std::time::Duration;

use ostia_core::{Identity, Role, names_somebody};

use super::super::reader::{Reading, Section, Text};
use crate::settings::{Keys, Provider, Settings, Who};

const DAY: Duration = Duration::from_secs(86_400);
const OWNER_TTL: &str = "keys.owner_ttl";

pub(super) fn read_keys(root: &Section<'_>) -> Keys {
    let section = root.section(
        "keys",
        "API keys, which `ostia key create` and the pages make.",
    );
    let keys = Keys {
        default_age: section.duration(
            "default_age",
            90 * DAY,
            "How long a key is valid if it is made without an end.",
        ),
        max_age: section.duration(
            "max_age",
            365 * DAY,
            "The longest that a key may be valid; an admin key at most 30 days, whatever is set here.",
        ),
        per_user: section.number(
            "per_user",
            10,
            (0, u32::MAX),
            "How many usable keys one user may have; 0 means unlimited.",
        ),
        owner_ttl: section.duration_or_off(
            "owner_ttl",
            30 * DAY,
            "A key works while its owner has signed in, or was listed by `PUT /admin/users`, within this time; then 401 `reauthentication_required`. \"0\" means off, and so does the default if nobody can sign in (`auth.providers` lists only `api_key`).",
        ),
    };
    section.finish();
    keys
}

/// Where nobody can sign in, nobody could vouch for an owner, unless the site declares that it lists its users.
pub(super) fn with_owner_ttl(mut settings: Settings, reading: &Reading<'_>) -> Settings {
    let keys_alone = |provider: &Provider| matches!(provider, Provider::ApiKey | Provider::None);
    let is_written = reading.places.borrow().contains_key(OWNER_TTL);
    if settings.auth.providers.iter().all(keys_alone) && !is_written {
        settings.keys.owner_ttl = None;
    }
    if settings.keys.default_age > settings.keys.max_age {
        let text = "is longer than `keys.max_age`";
        reading.fatal("keys.default_age", text);
    }
    settings
}

pub(super) fn read_roles(root: &Section<'_>) -> Vec<(Role, Who)> {
    let section = root.section(
        "roles",
        "Who may do more than inference: lists of `group:ID`, `user:NAME` and `key:ID`. Keys may have a role of their own (`ostia key create --role`).",
    );
    let mut holders = Vec::new();
    for (role, key, meaning) in [
        (Role::Operator, "operator", "Drain, maintenance, reload."),
        (
            Role::Support,
            "support",
            "Look up and disable a user, revoke a key.",
        ),
        (
            Role::Reporter,
            "reporter",
            "Read sums: no persons, and no group of fewer than five.",
        ),
        (
            Role::Registrar,
            "registrar",
            "Register engines for endpoints that the catalogue names.",
        ),
    ] {
        let listed = section.list(key, &[], meaning);
        let read = listed.iter().filter_map(|text| {
            let who = who(&section, key, text, &["group:", "user:", "key:"])?;
            Some((role, who))
        });
        holders.extend(read);
    }
    section.finish();
    holders
}

/// Whom a text names; what it may begin with is in `kinds`.
pub(super) fn who(section: &Section<'_>, key: &str, text: &Text, kinds: &[&str]) -> Option<Who> {
    let value = text.value.trim();
    if value == "*" && kinds.contains(&"*") {
        return Some(Who::Everybody);
    }
    let named = kinds.iter().find_map(|kind| {
        let name = value.strip_prefix(kind)?.trim();
        names_somebody(name).then(|| (*kind, name.to_owned()))
    });
    let who = named.and_then(|(kind, name)| match kind {
        "group:" => Some(Who::Group(Identity::group(&name))),
        "domain:" => Some(Who::Domain(name.to_lowercase())),
        "user:" => Some(Who::User(name)),
        "key:" => Some(Who::Key(name)),
        _ => None,
    });
    if who.is_none() {
        let shown = text.shown();
        let known = kinds.join(", ");
        let fault =
            format!("holds {shown}, which names nobody: each entry begins with one of: {known}");
        section.error_at(&text.at, key, &fault);
    }
    who
}
