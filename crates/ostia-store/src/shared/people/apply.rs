use ostia_core::{Change, Login, PersonState, Project};

use super::super::engine::Query;
use super::super::keys;
use super::super::work::Work;
use super::{erase, written};
use crate::columns::text;

/// Writes one change. Returns how many rows it touched.
pub(super) async fn apply(work: &mut Work, change: &Change) -> sqlx::Result<u64> {
    match change {
        Change::CreateKey(key) => keys::insert(work, key).await,
        Change::EndKey { id, at } => keys::end(work, id, *at).await,
        Change::RevokeKey { id, at } => keys::revoke(work, id, *at).await,
        Change::NotedEnd { id, days } => noted(work, id, *days).await,
        Change::Confirmed(login) => confirmed(work, login).await,
        Change::SetState {
            person,
            username,
            state,
        } => set_state(work, person, username, *state).await,
        Change::Link { person, other } => link(work, person, other).await,
        Change::Project(project) => write_project(work, project).await,
        Change::AcceptedTerms {
            person,
            version,
            at,
        } => accepted(work, person, version, *at).await,
        Change::Erase {
            person,
            pseudonym,
            at,
        } => erase::erase(work, person, pseudonym, *at).await,
    }
}

/// Whether replicas have to learn of the change at once.
pub(super) const fn is_of_roster(change: &Change) -> bool {
    matches!(
        change,
        Change::SetState { .. } | Change::Link { .. } | Change::Project(_) | Change::Erase { .. }
    )
}

async fn noted(work: &mut Work, id: &str, days: i64) -> sqlx::Result<u64> {
    run(
        work,
        "UPDATE api_keys SET noted_days = $1 WHERE id = $2 AND (noted_days IS NULL OR noted_days > $1)",
        &[&days, &id],
    )
    .await
}

/// A value to bind.
pub(super) trait Bound: Sync {
    fn add<'q>(&'q self, query: Query<'q>) -> Query<'q>;
}

impl Bound for i64 {
    fn add<'q>(&'q self, query: Query<'q>) -> Query<'q> {
        query.bind(*self)
    }
}

impl Bound for Option<i64> {
    fn add<'q>(&'q self, query: Query<'q>) -> Query<'q> {
        query.bind(*self)
    }
}

impl Bound for &str {
    fn add<'q>(&'q self, query: Query<'q>) -> Query<'q> {
        query.bind(text(self).into_owned())
    }
}

impl Bound for String {
    fn add<'q>(&'q self, query: Query<'q>) -> Query<'q> {
        query.bind(text(self).into_owned())
    }
}

impl Bound for Option<String> {
    fn add<'q>(&'q self, query: Query<'q>) -> Query<'q> {
        query.bind(self.clone())
    }
}

pub(super) async fn run(
    work: &mut Work,
    sql: &'static str,
    values: &[&dyn Bound],
) -> sqlx::Result<u64> {
    let query = values
        .iter()
        .fold(sqlx::query(sql), |query, value| value.add(query));
    work.run(query).await
}

/// If a provider does not list groups, the known groups are kept.
const CONFIRM: &str = "
    INSERT INTO identities (id, person, auth_service, idp, username, name, email, proven, linked, groups, confirmed_at)
    VALUES ($1, $2, $3, $4, $5, $6, $7, $8, 0, $9, $10)
    ON CONFLICT (id) DO UPDATE SET
        person = CASE WHEN identities.linked = 1 THEN identities.person ELSE excluded.person END,
        auth_service = excluded.auth_service, idp = excluded.idp, username = excluded.username, name = excluded.name,
        email = excluded.email, proven = excluded.proven, groups = coalesce(excluded.groups, identities.groups),
        confirmed_at = excluded.confirmed_at
    WHERE excluded.confirmed_at >= identities.confirmed_at";

const SEE: &str = "
    INSERT INTO users (id, username, name, idp, email, state, last_seen)
    SELECT person, $2, $3, $4, $5, 'active', $6 FROM identities WHERE id = $1
    ON CONFLICT (id) DO UPDATE SET
        username = excluded.username, name = excluded.name, idp = excluded.idp, email = excluded.email,
        last_seen = excluded.last_seen
    WHERE excluded.last_seen >= users.last_seen";

async fn confirmed(work: &mut Work, login: &Login) -> sqlx::Result<u64> {
    let groups = login.groups.as_deref().map(written);
    let proven = i64::from(login.proven);
    let touched = run(
        work,
        CONFIRM,
        &[
            &login.id,
            &login.person,
            &login.auth_service,
            &login.idp,
            &login.username,
            &login.name,
            &login.email,
            &proven,
            &groups,
            &login.confirmed_at,
        ],
    )
    .await?;
    run(
        work,
        SEE,
        &[
            &login.id,
            &login.username,
            &login.name,
            &login.idp,
            &login.email,
            &login.confirmed_at,
        ],
    )
    .await?;
    Ok(touched)
}

async fn set_state(
    work: &mut Work,
    person: &str,
    username: &str,
    state: PersonState,
) -> sqlx::Result<u64> {
    let sql = "
        INSERT INTO users (id, username, name, idp, email, state, last_seen) VALUES ($1, $2, '', '', '', $3, 0)
        ON CONFLICT (id) DO UPDATE SET state = excluded.state";
    if state != PersonState::Active {
        run(work, END_SESSIONS, &[&person]).await?;
    }
    run(work, sql, &[&person, &username, &state.word()]).await
}

/// Ends all sessions of a person who is shut out.
pub(super) const END_SESSIONS: &str = "DELETE FROM sessions WHERE person = $1 OR person IN (SELECT id FROM identities WHERE person = $1)";

async fn accepted(work: &mut Work, person: &str, version: &str, at: i64) -> sqlx::Result<u64> {
    let sql = "
        INSERT INTO terms (person, version, accepted_at) VALUES ($1, $2, $3)
        ON CONFLICT (person) DO UPDATE SET version = excluded.version, accepted_at = excluded.accepted_at";
    run(work, sql, &[&person, &version, &at]).await
}

/// Whoever is known as `other`, now or later by a claim, is `person`.
async fn link(work: &mut Work, person: &str, other: &str) -> sqlx::Result<u64> {
    let moved = run(
        work,
        "UPDATE identities SET person = $1, linked = 1 WHERE person = $2 OR id = $2",
        &[&person, &other],
    )
    .await?;
    let named = run(
        work,
        "INSERT INTO identities (id, person, auth_service, idp, username, name, email, proven, linked, groups, confirmed_at)
         VALUES ($1, $2, 'admin', '', '', '', '', 0, 1, NULL, 0)
         ON CONFLICT (id) DO UPDATE SET person = excluded.person, linked = 1",
        &[&other, &person],
    )
    .await?;
    Ok(moved + named)
}

const PROJECT: &str = "
    INSERT INTO projects (id, name, title, field, institution, cost_centre, external_id, managers, members, groups, models,
        fair_share, created_at, ended_at)
    VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14)
    ON CONFLICT (id) DO UPDATE SET
        title = excluded.title, field = excluded.field, institution = excluded.institution,
        cost_centre = excluded.cost_centre, external_id = excluded.external_id, managers = excluded.managers,
        members = excluded.members, groups = excluded.groups, models = excluded.models,
        fair_share = excluded.fair_share, ended_at = excluded.ended_at";

async fn write_project(work: &mut Work, project: &Project) -> sqlx::Result<u64> {
    let fair_share = project.fair_share.map(i64::from);
    run(
        work,
        PROJECT,
        &[
            &&*project.id,
            &&*project.name,
            &project.title,
            &project.field,
            &project.institution,
            &project.cost_centre,
            &project.external_id,
            &written(&project.managers),
            &written(&project.members),
            &written(&project.groups),
            &written(&project.models),
            &fair_share,
            &project.created_at,
            &project.ended_at,
        ],
    )
    .await
}
