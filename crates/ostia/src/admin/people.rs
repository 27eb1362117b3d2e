//! Users, keys, projects, usage and the audit log, for callers whose role may see them.

use http::{Response, StatusCode};
use ostia_core::{AuditQuery, PersonState};
use serde::Deserialize;
use serde_json::{Value, json};

use super::asked::Asked;
use crate::gateway::{Gateway, json_answer};
use crate::people::{
    Desk, DeskError, Members, ProjectRecord, Put, UserRecord, audit_json, key_json, person_json,
    project_json,
};
use crate::refusal::Refusal;
use crate::relay::ClientBody;

const USUAL_EVENTS: i64 = 100;
const MOST_EVENTS: i64 = 1_000;

impl From<DeskError> for Refusal {
    fn from(error: DeskError) -> Self {
        match error {
            DeskError::Invalid(text) => {
                Self::client(StatusCode::BAD_REQUEST, "invalid_value", text)
            }
            DeskError::NotFound(text) => Self::client(StatusCode::NOT_FOUND, "not_found", text),
            DeskError::Conflict(text) => Self::client(StatusCode::CONFLICT, "conflict", text),
            DeskError::Store(error) => error.into(),
            DeskError::NoRandomness => Self::internal_error(),
        }
    }
}

/// Sums of usage. The role reporter sees neither single persons nor groups of fewer than five.
pub(super) async fn usage(gateway: &Gateway, desk: &Desk, asked: &Asked) -> Result<Value, Refusal> {
    match desk.is_admin() {
        true => gateway.usage(asked.raw_query(), None).await,
        false => gateway.usage_without_persons(asked.raw_query()).await,
    }
}

/// Looking at other people's requests is recorded in the audit log.
pub(super) async fn usage_rows(
    gateway: &Gateway,
    desk: &Desk,
    asked: &Asked,
) -> Result<Value, Refusal> {
    desk.note("usage.rows", asked.raw_query(), &Value::Null)
        .await?;
    gateway.usage_rows(asked.raw_query()).await
}

/// Recorded in the audit log too, if they are other people's requests.
pub(super) async fn requests(
    gateway: &Gateway,
    desk: &Desk,
    asked: &Asked,
) -> Result<Value, Refusal> {
    desk.note("requests.find", asked.raw_query(), &Value::Null)
        .await?;
    gateway.find_requests(asked.raw_query()).await
}

pub(super) async fn users(desk: &Desk) -> Result<Value, Refusal> {
    let people = desk.people().await?;
    Ok(list(people.iter().map(person_json)))
}

pub(super) async fn user(desk: &Desk, text: &str) -> Result<Value, Refusal> {
    let mut shown = Vec::new();
    for person in desk.people_named(text).await? {
        let keys = desk.keys_of(&person.id).await?;
        let now = desk.moment();
        let mut one = person_json(&person);
        one["keys"] = keys.iter().map(|key| key_json(key, now)).collect();
        shown.push(one);
    }
    Ok(list(shown.into_iter()))
}

pub(super) async fn set_state(desk: &Desk, asked: &Asked, active: bool) -> Result<Value, Refusal> {
    let state = match active {
        true => PersonState::Active,
        false => PersonState::Disabled,
    };
    let desk = desk.because(asked.query("reason").unwrap_or_default());
    let changed = desk.set_state(asked.capture(), state).await?;
    Ok(list(changed.iter().map(person_json)))
}

pub(super) async fn revoke_keys_of(desk: &Desk, user: &str) -> Result<Value, Refusal> {
    let ids = desk.revoke_keys_of(user).await?;
    Ok(json!({ "revoked": ids }))
}

pub(super) async fn keys(desk: &Desk, asked: &Asked) -> Result<Value, Refusal> {
    let keys = match asked.query("user") {
        Some(user) => desk.keys_of(&user).await?,
        None => desk.all_keys().await?,
    };
    let now = desk.moment();
    Ok(list(keys.iter().map(|key| key_json(key, now))))
}

pub(super) async fn revoke_key(desk: &Desk, id: &str) -> Result<Value, Refusal> {
    let revoked = desk.revoke_key(id).await?;
    Ok(json!({"id": id, "revoked": revoked}))
}

pub(super) async fn projects(desk: &Desk) -> Result<Value, Refusal> {
    let projects = desk.projects().await?;
    Ok(list(projects.iter().map(project_json)))
}

pub(super) async fn project(desk: &Desk, name: &str) -> Result<Value, Refusal> {
    Ok(project_json(&desk.project_known_as(name).await?))
}

/// The body of `POST /admin/projects/{external_id}/members`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct MembersBody {
    members: Vec<String>,
}

pub(super) async fn add_members(desk: &Desk, asked: &mut Asked) -> Result<Value, Refusal> {
    let body: MembersBody = parsed(asked.json().await?)?;
    let project = desk.project_known_as(asked.capture()).await?;
    let who = Members {
        members: body.members,
        ..Members::default()
    };
    let project = desk.add_to_project(&project.id, &who).await?;
    Ok(project_json(&project))
}

/// The body of `PUT /admin/projects/{external_id}`; every field is optional.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ProjectBody {
    name: Option<String>,
    title: Option<String>,
    field: Option<String>,
    institution: Option<String>,
    cost_centre: Option<String>,
    managers: Option<Vec<String>>,
    members: Option<Vec<String>>,
    groups: Option<Vec<String>>,
    models: Option<Vec<String>>,
    fair_share: Option<u32>,
    state: Option<ProjectState>,
}

#[derive(Deserialize, Clone, Copy, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
enum ProjectState {
    Open,
    Ended,
}

pub(super) async fn put_project(
    desk: &Desk,
    asked: &mut Asked,
) -> Result<Response<ClientBody>, Refusal> {
    let body: ProjectBody = parsed(asked.json().await?)?;
    let record = ProjectRecord {
        name: body.name,
        title: body.title,
        field: body.field,
        institution: body.institution,
        cost_centre: body.cost_centre,
        managers: body.managers,
        members: body.members,
        groups: body.groups,
        models: body.models,
        fair_share: body.fair_share,
        ended: body.state.map(|state| state == ProjectState::Ended),
    };
    let (project, put) = desk.put_project(asked.capture(), &record).await?;
    let status = match put {
        Put::Created => StatusCode::CREATED,
        Put::Changed | Put::Same => StatusCode::OK,
    };
    Ok(json_answer(status, &project_json(&project)))
}

/// The body of `PUT /admin/users`: one record, or `{"users": [...]}`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct UserBody {
    user: String,
    name: Option<String>,
    email: Option<String>,
    groups: Option<Vec<String>>,
    state: Option<UserState>,
    #[serde(default)]
    identities: Vec<String>,
}

#[derive(Deserialize, Clone, Copy)]
#[serde(rename_all = "lowercase")]
enum UserState {
    Active,
    Disabled,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct UsersBody {
    users: Vec<UserBody>,
}

pub(super) async fn put_users(desk: &Desk, body: Value) -> Result<Value, Refusal> {
    let bodies = match body.get("users") {
        Some(_) => parsed::<UsersBody>(body)?.users,
        None => vec![parsed::<UserBody>(body)?],
    };
    let mut shown = Vec::new();
    for body in bodies {
        let record = UserRecord {
            user: body.user,
            name: body.name,
            email: body.email,
            groups: body.groups,
            state: body.state.map(|state| match state {
                UserState::Active => PersonState::Active,
                UserState::Disabled => PersonState::Disabled,
            }),
            identities: body.identities,
        };
        let (person, changed) = desk.put_user(&record).await?;
        let mut one = person_json(&person);
        one["changed"] = changed.into();
        shown.push(one);
    }
    Ok(list(shown.into_iter()))
}

pub(super) async fn audit(desk: &Desk, asked: &Asked) -> Result<Value, Refusal> {
    let number = |name: &str| match asked.query(name) {
        None => Ok(None),
        Some(text) => text.parse::<i64>().map(Some).map_err(|_| {
            let text = format!("`{name}`: expected a number.");
            Refusal::client(StatusCode::BAD_REQUEST, "invalid_value", text)
        }),
    };
    let moment = |name: &str| match asked.query(name) {
        None => Ok(None),
        Some(text) => match text.parse::<jiff::Timestamp>() {
            Ok(moment) => Ok(Some(moment.as_microsecond())),
            Err(_) => {
                let text = format!("`{name}`: expected a timestamp such as 2026-01-31T00:00:00Z.");
                Err(Refusal::client(
                    StatusCode::BAD_REQUEST,
                    "invalid_value",
                    text,
                ))
            }
        },
    };
    let query = AuditQuery {
        since: moment("since")?.unwrap_or(0),
        until: moment("until")?,
        actor: asked.query("actor"),
        action: asked.query("action"),
        object: asked.query("object"),
        before: number("before")?,
        limit: number("limit")?
            .unwrap_or(USUAL_EVENTS)
            .clamp(1, MOST_EVENTS),
    };
    let rows = desk.audit(&query).await?;
    let mut shown = list(rows.iter().map(audit_json));
    shown["next"] = match rows.last() {
        Some(last) if rows.len() as i64 == query.limit => last.number.into(),
        _ => Value::Null,
    };
    Ok(shown)
}

fn parsed<T: for<'de> Deserialize<'de>>(body: Value) -> Result<T, Refusal> {
    serde_json::from_value(body).map_err(|error| {
        let text = format!("The body is not as it has to be: {error}.");
        Refusal::client(StatusCode::BAD_REQUEST, "invalid_value", text)
    })
}

fn list(data: impl Iterator<Item = Value>) -> Value {
    json!({"object": "list", "data": data.collect::<Vec<_>>()})
}
