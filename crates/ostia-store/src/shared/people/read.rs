use std::collections::BTreeMap;
use std::sync::Arc;

use ostia_core::{Identity, Login, Owner, Person, PersonState, Project, Roster, StoreError};
use sqlx::Row as _;

use super::super::engine::Row;
use super::super::work::Work;
use super::{VERSION, list};

pub(in super::super) async fn version(mut work: Work) -> Result<i64, StoreError> {
    let found = read_version(&mut work).await;
    work.end(found).await
}

async fn read_version(work: &mut Work) -> sqlx::Result<i64> {
    let select = sqlx::query("SELECT CAST(value AS BIGINT) FROM meta WHERE name = $1");
    let row = work.one(select.bind(VERSION)).await?;
    row.map_or(Ok(0), |row| row.try_get(0))
}

pub(in super::super) async fn roster(mut work: Work) -> Result<Roster, StoreError> {
    let found = read_roster(&mut work).await;
    work.end(found).await
}

async fn read_roster(work: &mut Work) -> sqlx::Result<Roster> {
    let version = read_version(work).await?;
    let disabled = "SELECT id FROM users WHERE state <> 'active'";
    let disabled = work.all(sqlx::query(disabled)).await?;
    let links = "SELECT id, person FROM identities WHERE linked = 1";
    let links = work.all(sqlx::query(links)).await?;
    let projects = "SELECT * FROM projects ORDER BY created_at, id";
    let projects = work.all(sqlx::query(projects)).await?;
    let disabled = disabled.iter().map(|row| shared(row, "id"));
    let links = links
        .iter()
        .map(|row| -> sqlx::Result<_> { Ok((shared(row, "id")?, shared(row, "person")?)) });
    Ok(Roster {
        version,
        disabled: disabled.collect::<sqlx::Result<_>>()?,
        links: links.collect::<sqlx::Result<_>>()?,
        projects: projects.iter().map(project).collect::<sqlx::Result<_>>()?,
    })
}

pub(in super::super) async fn all(mut work: Work) -> Result<Vec<Person>, StoreError> {
    let found = read_all(&mut work).await;
    work.end(found).await
}

async fn read_all(work: &mut Work) -> sqlx::Result<Vec<Person>> {
    let users = "SELECT id, username, name, email, idp, state, last_seen FROM users";
    let users = work.all(sqlx::query(users)).await?;
    let identities = "SELECT * FROM identities ORDER BY id";
    let identities = work.all(sqlx::query(identities)).await?;
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
    // Persons who were linked to another are part of that person now; only old rows still name them.
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

pub(in super::super) async fn accepted_terms(
    mut work: Work,
    person: &str,
) -> Result<Option<String>, StoreError> {
    let select = sqlx::query("SELECT version FROM terms WHERE person = $1");
    let found = work.one(select.bind(person.to_owned())).await;
    let version = found.and_then(|row| row.map(|row| row.try_get(0)).transpose());
    work.end(version).await
}

const OWNER: &str = "
    SELECT groups, confirmed_at FROM identities
    WHERE person = $1 OR person IN (SELECT person FROM identities WHERE id = $1)
        OR (proven = 1 AND lower(username) = lower($1))";

pub(in super::super) async fn owner(mut work: Work, username: &str) -> Result<Owner, StoreError> {
    let rows = work.all(sqlx::query(OWNER).bind(username.to_owned())).await;
    let owner = rows.and_then(|rows| owner_of(&rows));
    work.end(owner).await
}

fn owner_of(rows: &[Row]) -> sqlx::Result<Owner> {
    let mut owner = Owner::default();
    let mut groups: Option<Vec<Arc<str>>> = None;
    for row in rows {
        let at: i64 = row.try_get("confirmed_at")?;
        owner.confirmed_at = owner.confirmed_at.max(Some(at));
        let held: Option<String> = row.try_get("groups")?;
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

fn person(row: &Row) -> sqlx::Result<Person> {
    let state: String = row.try_get("state")?;
    Ok(Person {
        id: shared(row, "id")?,
        username: row.try_get("username")?,
        name: row.try_get("name")?,
        email: row.try_get("email")?,
        idp: row.try_get("idp")?,
        state: PersonState::of_word(&state),
        last_seen: row.try_get("last_seen")?,
        logins: Vec::new(),
    })
}

fn login(row: &Row) -> sqlx::Result<Login> {
    let proven: i64 = row.try_get("proven")?;
    let groups: Option<String> = row.try_get("groups")?;
    Ok(Login {
        id: row.try_get("id")?,
        person: row.try_get("person")?,
        auth_service: row.try_get("auth_service")?,
        idp: row.try_get("idp")?,
        username: row.try_get("username")?,
        name: row.try_get("name")?,
        email: row.try_get("email")?,
        proven: proven != 0,
        groups: groups
            .map(|text| list(&text, "identities.groups"))
            .transpose()?,
        confirmed_at: row.try_get("confirmed_at")?,
    })
}

fn project(row: &Row) -> sqlx::Result<Project> {
    let names = |column: &str| -> sqlx::Result<Vec<String>> {
        let text: String = row.try_get(column)?;
        list(&text, column)
    };
    let fair_share: Option<i64> = row.try_get("fair_share")?;
    Ok(Project {
        id: shared(row, "id")?,
        name: shared(row, "name")?,
        title: row.try_get("title")?,
        field: row.try_get("field")?,
        institution: row.try_get("institution")?,
        cost_centre: row.try_get("cost_centre")?,
        external_id: row.try_get("external_id")?,
        managers: names("managers")?,
        members: names("members")?,
        groups: names("groups")?,
        models: names("models")?,
        fair_share: fair_share.and_then(|share| u32::try_from(share).ok()),
        created_at: row.try_get("created_at")?,
        ended_at: row.try_get("ended_at")?,
    })
}

fn shared(row: &Row, column: &str) -> sqlx::Result<Arc<str>> {
    let value: String = row.try_get(column)?;
    Ok(value.into())
}
