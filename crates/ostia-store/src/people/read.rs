use std::collections::BTreeMap;
use std::sync::Arc;

use ostia_core::{Identity, Login, Owner, Person, PersonState, Project, Roster, StoreError};
use sqlx::Row as _;

use super::super::db::{Pool, Row, failed};
use super::list;

pub(in super::super) async fn version(readers: &Pool) -> Result<i64, StoreError> {
    let row = sqlx::query("SELECT version FROM people_version")
        .fetch_one(readers)
        .await
        .map_err(failed)?;
    row.try_get("version").map_err(failed)
}

/// The version is read first: what changes meanwhile is read again with the next one.
pub(in super::super) async fn roster(readers: &Pool) -> Result<Roster, StoreError> {
    let version = version(readers).await?;
    let disabled = sqlx::query("SELECT id FROM users WHERE state <> 'active'")
        .fetch_all(readers)
        .await
        .map_err(failed)?;
    let links = sqlx::query("SELECT id, person FROM identities WHERE linked = 1")
        .fetch_all(readers)
        .await
        .map_err(failed)?;
    let projects = sqlx::query("SELECT * FROM projects ORDER BY created_at, id")
        .fetch_all(readers)
        .await
        .map_err(failed)?;
    Ok(Roster {
        version,
        disabled: disabled
            .iter()
            .map(|row| shared(row, "id"))
            .collect::<Result<_, _>>()?,
        links: links
            .iter()
            .map(|row| Ok((shared(row, "id")?, shared(row, "person")?)))
            .collect::<Result<_, StoreError>>()?,
        projects: projects.iter().map(project).collect::<Result<_, _>>()?,
    })
}

pub(in super::super) async fn all(readers: &Pool) -> Result<Vec<Person>, StoreError> {
    let users = sqlx::query("SELECT id, username, name, email, idp, state, last_seen FROM users")
        .fetch_all(readers)
        .await
        .map_err(failed)?;
    let identities = sqlx::query("SELECT * FROM identities ORDER BY id")
        .fetch_all(readers)
        .await
        .map_err(failed)?;
    let mut people: BTreeMap<Arc<str>, Person> = BTreeMap::new();
    for row in &users {
        let person = person(row)?;
        people.insert(Arc::clone(&person.id), person);
    }
    for row in &identities {
        let login = login(row)?;
        let person = people
            .entry(login.person.as_str().into())
            .or_insert_with(|| Person {
                id: login.person.as_str().into(),
                username: login.username.clone(),
                ..Person::default()
            });
        person.logins.push(login);
    }
    // Who was linked to somebody is that person now; what is left of them are old rows.
    let moved: Vec<Arc<str>> = people
        .values()
        .flat_map(|person| person.logins.iter().map(move |login| (person, login)))
        .filter(|(person, login)| *login.id != *person.id && people.contains_key(&*login.id))
        .map(|(_, login)| login.id.as_str().into())
        .collect();
    for id in moved {
        people.remove(&id);
    }
    Ok(people.into_values().collect())
}

pub(in super::super) async fn owner(readers: &Pool, username: &str) -> Result<Owner, StoreError> {
    let sql = "
        SELECT groups, confirmed_at FROM identities
        WHERE person = $1 OR person IN (SELECT person FROM identities WHERE id = $1)
            OR (proven = 1 AND lower(username) = lower($1))";
    let rows = sqlx::query(sql)
        .bind(username)
        .fetch_all(readers)
        .await
        .map_err(failed)?;
    let mut owner = Owner::default();
    let mut groups: Option<Vec<Arc<str>>> = None;
    for row in &rows {
        let at: i64 = row.try_get("confirmed_at").map_err(failed)?;
        owner.confirmed_at = owner.confirmed_at.max(Some(at));
        let held: Option<String> = row.try_get("groups").map_err(failed)?;
        let Some(held) = held else { continue };
        let known = groups.get_or_insert_default();
        for group in list(&held, "identities.groups")? {
            let group: Arc<str> = Identity::group(&group).into();
            if !known.contains(&group) {
                known.push(group);
            }
        }
    }
    owner.groups = groups.map(Into::into);
    Ok(owner)
}

fn person(row: &Row) -> Result<Person, StoreError> {
    let state: String = row.try_get("state").map_err(failed)?;
    Ok(Person {
        id: shared(row, "id")?,
        username: row.try_get("username").map_err(failed)?,
        name: row.try_get("name").map_err(failed)?,
        email: row.try_get("email").map_err(failed)?,
        idp: row.try_get("idp").map_err(failed)?,
        state: PersonState::of_word(&state),
        last_seen: row.try_get("last_seen").map_err(failed)?,
        logins: Vec::new(),
    })
}

fn login(row: &Row) -> Result<Login, StoreError> {
    let proven: i64 = row.try_get("proven").map_err(failed)?;
    let groups: Option<String> = row.try_get("groups").map_err(failed)?;
    Ok(Login {
        id: row.try_get("id").map_err(failed)?,
        person: row.try_get("person").map_err(failed)?,
        auth_service: row.try_get("auth_service").map_err(failed)?,
        idp: row.try_get("idp").map_err(failed)?,
        username: row.try_get("username").map_err(failed)?,
        name: row.try_get("name").map_err(failed)?,
        email: row.try_get("email").map_err(failed)?,
        proven: proven != 0,
        groups: groups
            .map(|text| list(&text, "identities.groups"))
            .transpose()?,
        confirmed_at: row.try_get("confirmed_at").map_err(failed)?,
    })
}

fn project(row: &Row) -> Result<Project, StoreError> {
    let names = |column: &str| -> Result<Vec<String>, StoreError> {
        let text: String = row.try_get(column).map_err(failed)?;
        list(&text, column)
    };
    let fair_share: Option<i64> = row.try_get("fair_share").map_err(failed)?;
    Ok(Project {
        id: shared(row, "id")?,
        name: shared(row, "name")?,
        title: row.try_get("title").map_err(failed)?,
        field: row.try_get("field").map_err(failed)?,
        institution: row.try_get("institution").map_err(failed)?,
        cost_centre: row.try_get("cost_centre").map_err(failed)?,
        external_id: row.try_get("external_id").map_err(failed)?,
        managers: names("managers")?,
        members: names("members")?,
        groups: names("groups")?,
        models: names("models")?,
        fair_share: fair_share.and_then(|share| u32::try_from(share).ok()),
        created_at: row.try_get("created_at").map_err(failed)?,
        ended_at: row.try_get("ended_at").map_err(failed)?,
    })
}

fn shared(row: &Row, column: &str) -> Result<Arc<str>, StoreError> {
    let value: String = row.try_get(column).map_err(failed)?;
    Ok(value.into())
}
