use ostia_core::{Identity, millis};
use serde_json::{Map, Value, json};

use super::asked::Asked;
use crate::admit::{Shortage, Waits};
use crate::gateway::Gateway;
use crate::listings::{limits, measure_word};
use crate::settings::{OtherLimits, OwnLimit, OwnLimits};

/// `GET /admin/limits`: every limit and how much of it is used. Without `user`, these are the limits of endpoints; with
/// `user`, all limits that apply to this user, except those set for a group, project or key. These are listed in
/// `overrides` instead, because the user's groups and key are known only during a request.
pub(super) async fn standing(gateway: &Gateway, asked: &Asked) -> Value {
    let live = gateway.live();
    let user = asked.query("user");
    let identity = Identity {
        user_id: user.as_deref().unwrap_or_default().into(),
        own_name: user.as_deref().unwrap_or_default().into(),
        username: user.as_deref().unwrap_or_default().into(),
        ..Identity::default()
    };
    let admitter = gateway.admitter();
    let deployments = live.catalog.deployments();
    let standings = admitter
        .standing(&identity, &live.settings.limits, deployments)
        .await;
    let mut named = Vec::with_capacity(standings.len());
    for (endpoint, mut standing) in standings {
        if user.is_none() {
            standing.levels.retain(|level| level.scope.is_of_all());
        }
        named.push((endpoint.map_or("", |one| &*one.slug), standing));
    }
    let waiting = match &user {
        Some(user) => admitter.waiting_of(user),
        None => admitter.waiting(),
    };
    let mut page = limits(&named, "endpoint", waiting);
    page["overrides"] = overrides(&live.settings.limits.others, user.as_deref());
    page
}

/// The tables `[limits.KIND."NAME"]`. If one user is asked about, the tables of other users are left out.
fn overrides(others: &OtherLimits, user: Option<&str>) -> Value {
    let kinds = [
        ("user", &others.user),
        ("group", &others.group),
        ("project", &others.project),
        ("key", &others.key),
    ];
    let all = kinds.into_iter().flat_map(|(kind, names)| {
        let is_asked = move |name: &str| kind != "user" || user.is_none_or(|user| user == name);
        let asked = names.iter().filter(move |(name, _)| is_asked(name));
        asked.map(move |(name, own)| {
            let mut entry = written(own);
            entry.insert("for".to_owned(), kind.into());
            entry.insert("name".to_owned(), name.as_str().into());
            Value::Object(entry)
        })
    });
    all.collect()
}

/// The keys that a table sets.
fn written(own: &OwnLimits) -> Map<String, Value> {
    let flag = |value: bool| value.then_some(Value::Bool(true));
    let numbers = OwnLimit::ALL.map(|limit| (limit.key().name, own.of(limit).map(Value::from)));
    let others = [
        (
            "queue_timeout",
            own.queue_timeout
                .map(|time| Value::from(time.as_secs_f64())),
        ),
        ("fair_share", own.fair_share.map(Value::from)),
        ("blocked", flag(own.blocked)),
        ("allow_external", flag(own.allow_external)),
    ];
    let said = numbers.into_iter().chain(others);
    said.filter_map(|(key, value)| Some((key.to_owned(), value?)))
        .collect()
}

/// `GET /admin/waiting`: which requests wait, for what, since when, and for how long still. `user` restricts it to this
/// user's requests.
pub(super) fn waiting(gateway: &Gateway, asked: &Asked) -> Value {
    waiting_of(gateway, asked.query("user").as_deref())
}

/// The same list; `user` restricts it to this user's requests.
pub fn waiting_of(gateway: &Gateway, user: Option<&str>) -> Value {
    let mut waits = gateway.admitter().waits();
    waits.retain(|one| user.is_none_or(|user| *one.user == *user));
    waits.sort_by_key(|one| std::cmp::Reverse(one.waited));
    let data: Vec<Value> = waits.iter().map(entry).collect();
    json!({"object": "list", "data": data})
}

fn entry(waits: &Waits) -> Value {
    json!({
        "model": waits.model,
        "user": waits.user,
        "project": waits.project,
        "class": waits.class.as_str(),
        "waited_ms": millis(waits.waited),
        "waits_for": waits.lacks.as_ref().map_or("its turn".to_owned(), words),
        "expected_ms": waits.forecast.map(millis),
    })
}

fn words(lacks: &Shortage) -> String {
    match lacks {
        Shortage::EndpointsFull => "a place on an endpoint".to_owned(),
        Shortage::Limit { scope, measure } => {
            format!("{} of its {}", measure_word(*measure), scope.as_str())
        }
        Shortage::NotServing(fault) => fault.to_string(),
        Shortage::Blocked(_) => "nothing: it is blocked".to_owned(),
    }
}
