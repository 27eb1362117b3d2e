use std::collections::BTreeSet;
use std::sync::Arc;

use ostia_core::{
    AuditQuery, Change, Column, Identity, LedgerRow, Login, OwnName, Person, PersonState, Project,
    Value as Held, owners,
};
use serde_json::{Map, Value, json};

use crate::identify::Directory;

use super::{
    Desk, DeskError, audit_json, check_named, check_text, check_user, key_json, new_id,
    person_json, rfc3339,
};

/// Rows that are read at a time.
const PAGE: u32 = 5_000;

/// An allocation system's record of a user. Fields that it leaves out stay as they are.
#[derive(Debug, Clone, Default)]
pub struct UserRecord {
    /// NAME@DOMAIN: the name that keys are made for.
    pub user: String,
    pub name: Option<String>,
    pub email: Option<String>,
    pub groups: Option<Vec<String>>,
    pub state: Option<PersonState>,
    /// Identities at providers that are this person's.
    pub identities: Vec<String>,
}

impl Desk {
    /// Everybody who signed in, was listed, made a request or has a key.
    pub async fn people(&self) -> Result<Vec<Person>, DeskError> {
        let mut people = self.store.people().all().await?;
        let known: BTreeSet<String> = people
            .iter()
            .flat_map(|person| {
                let logins = person.logins.iter().map(|login| login.id.clone());
                logins.chain([person.id.to_string()])
            })
            .collect();
        let owners: BTreeSet<Arc<str>> = self
            .store
            .list_keys()
            .await?
            .into_iter()
            .map(|key| key.username)
            .filter(|owner| !known.contains(&**owner))
            .collect();
        people.extend(owners.into_iter().map(|owner| Person {
            username: owner.to_string(),
            id: owner,
            ..Person::default()
        }));
        people.sort_by(|one, other| {
            one.username
                .cmp(&other.username)
                .then(one.id.cmp(&other.id))
        });
        Ok(people)
    }

    /// The persons that the text names: by id, by an identity, or by a username.
    pub async fn people_named(&self, text: &str) -> Result<Vec<Person>, DeskError> {
        check_named(text)?;
        let mut people = self.people().await?;
        people.retain(|person| person.is_named(text));
        if people.is_empty() {
            let shown = text.escape_debug();
            return Err(DeskError::NotFound(format!(
                "there is no user `{shown}`: `ostia user list` shows who is known"
            )));
        }
        Ok(people)
    }

    /// The one person that the text names. An id goes before usernames: somebody may call themselves by another's id.
    pub async fn person(&self, text: &str) -> Result<Person, DeskError> {
        let mut people = self.people_named(text).await?;
        if let Some(exact) = people.iter().position(|person| *person.id == *text) {
            return Ok(people.swap_remove(exact));
        }
        match (people.pop(), people.len()) {
            (Some(person), 0) => Ok(person),
            (last, _) => {
                let ids = people.iter().chain(&last).map(|person| &*person.id);
                let ids: Vec<_> = ids.collect();
                Err(DeskError::Conflict(format!(
                    "`{}` names {} users; say which, by id: {}",
                    text.escape_debug(),
                    ids.len(),
                    ids.join(", ")
                )))
            }
        }
    }

    /// The name under which sums count a caller's requests, if they are nobody else's too: sums know names alone.
    pub async fn name_in_sums(
        &self,
        identity: &Identity,
        directory: &Directory,
    ) -> Result<Arc<str>, DeskError> {
        let name = identity.reported_name();
        if *identity.user_id == *name {
            return Ok(name.into());
        }
        let owns = directory.owns(identity, name);
        let is_certain = owns && directory.is_linked(name);
        let people = match is_certain || !owns {
            true => Vec::new(),
            false => self.store.people().all().await?,
        };
        let is_other = |person: &&Person| *person.id != *identity.user_id && *person.id != *name;
        match owns && !owners(&people, name).iter().any(is_other) {
            true => Ok(name.into()),
            false => Err(DeskError::Conflict(format!(
                "Another user is called `{}` too, and sums are kept by name: ask the operators to link the two, or to \
                 name a claim (`claims.user`) that tells users apart.",
                name.escape_debug()
            ))),
        }
    }

    /// Disables or enables everybody that the text names, so that somebody who leaves is out, however they signed in.
    /// Returns those who changed.
    pub async fn set_state(
        &self,
        text: &str,
        state: PersonState,
    ) -> Result<Vec<Person>, DeskError> {
        let mut people = self.people_named(text).await?;
        people.retain(|person| person.state != state && person.state != PersonState::Erased);
        let changes: Vec<_> = people
            .iter()
            .map(|person| state_of(person, state))
            .collect();
        let action = match state {
            PersonState::Active => "user.enable",
            _ => "user.disable",
        };
        let events: Vec<_> = people
            .iter()
            .map(|person| {
                let (before, after) = (person.state.word(), state.word());
                self.event(
                    action,
                    &person.id,
                    &json!({"state": before}),
                    &json!({"state": after}),
                )
            })
            .collect();
        self.commit(&changes, &events).await?;
        for person in &mut people {
            person.state = state;
        }
        Ok(people)
    }

    /// Makes `other` the same person as `person`. Either may never have signed in: then the text is the id of an
    /// identity, or the name for which keys are made.
    pub async fn link(&self, person: &str, other: &str) -> Result<(Arc<str>, Arc<str>), DeskError> {
        let ids = (self.id_or_new(person).await?, self.id_or_new(other).await?);
        if ids.0 == ids.1 {
            return Err(DeskError::Conflict(format!(
                "`{}` and `{}` are one user already",
                person.escape_debug(),
                other.escape_debug()
            )));
        }
        let change = Change::Link {
            person: ids.0.to_string(),
            other: ids.1.to_string(),
        };
        let event = self.event(
            "user.link",
            &ids.0,
            &Value::Null,
            &json!({"identity": &*ids.1}),
        );
        self.commit(&[change], &[event]).await?;
        Ok(ids)
    }

    /// Makes the name that keys are made for a person's own, once a provider that is believed vouched for both.
    pub async fn claim_name(&self, person: &str, name: &str) -> Result<(), DeskError> {
        let change = Change::Link {
            person: person.to_owned(),
            other: name.to_owned(),
        };
        let event = self.event(
            "user.link",
            person,
            &Value::Null,
            &json!({"identity": name}),
        );
        self.commit(&[change], &[event]).await.map(drop)
    }

    /// The version of the site's terms that a person accepted last.
    pub async fn accepted_terms(&self, person: &str) -> Result<Option<String>, DeskError> {
        Ok(self.store.people().accepted_terms(person).await?)
    }

    pub async fn accept_terms(&self, person: &str, version: &str) -> Result<(), DeskError> {
        let change = Change::AcceptedTerms {
            person: person.to_owned(),
            version: version.to_owned(),
            at: self.now(),
        };
        let event = self.event(
            "terms.accept",
            person,
            &Value::Null,
            &json!({"version": version}),
        );
        self.commit(&[change], &[event]).await.map(drop)
    }

    async fn id_or_new(&self, text: &str) -> Result<Arc<str>, DeskError> {
        match self.person(text).await {
            Ok(person) => Ok(person.id),
            Err(DeskError::NotFound(_)) => {
                check_text(text).map_err(DeskError::Invalid)?;
                Ok(text.into())
            }
            Err(error) => Err(error),
        }
    }

    /// All data about a person, as one JSON object, in pieces.
    pub async fn export(&self, text: &str, write: &mut dyn FnMut(&str)) -> Result<(), DeskError> {
        let (person, names) = self.owner(text).await?;
        self.note("user.export", &person.id, &Value::Null).await?;
        let now = self.now();
        let keys = self.keys_of(&person.id).await?;
        let keys: Vec<_> = keys.iter().map(|key| key_json(key, now)).collect();
        let projects = self.projects_of(&person).await?;
        let projects: Vec<_> = projects.iter().map(|one| &*one.name).collect();
        let head = json!({"user": person_json(&person), "keys": keys, "projects": projects});
        let head = head.to_string();
        write(head.trim_end_matches('}'));
        write(",\"requests\":[");
        let ids = ids_of(&person).into_iter();
        let ids = ids.chain(names.into_iter().map(Arc::from)).collect();
        self.export_rows(ids, write).await?;
        write("],\"audit\":[");
        self.export_events(&person, write).await?;
        write("]}\n");
        Ok(())
    }

    async fn export_rows(
        &self,
        ids: Vec<Arc<str>>,
        write: &mut dyn FnMut(&str),
    ) -> Result<(), DeskError> {
        let mut between = "\n";
        for id in ids {
            let mut after = None;
            loop {
                let mut rows = Vec::new();
                let mut take = |row: &LedgerRow<'_>| rows.push(row_json(row).to_string());
                let people = self.store.people();
                after = people.rows_of(&id, after, PAGE, &mut take).await?;
                for row in rows {
                    write(between);
                    write(&row);
                    between = ",\n";
                }
                if after.is_none() {
                    break;
                }
            }
        }
        Ok(())
    }

    async fn export_events(
        &self,
        person: &Person,
        write: &mut dyn FnMut(&str),
    ) -> Result<(), DeskError> {
        let mut between = "\n";
        let mut query = AuditQuery {
            object: Some(person.id.to_string()),
            limit: PAGE.into(),
            ..AuditQuery::default()
        };
        loop {
            let rows = self.audit(&query).await?;
            let Some(last) = rows.last() else {
                return Ok(());
            };
            query.before = Some(last.number);
            for row in &rows {
                write(between);
                write(&audit_json(row).to_string());
                between = ",\n";
            }
        }
    }

    /// Replaces a person by a pseudonym, and revokes their keys. Sums stay as they are. Returns the pseudonym.
    pub async fn erase(&self, text: &str) -> Result<String, DeskError> {
        let (person, names) = self.owner(text).await?;
        if person.state == PersonState::Erased {
            return Err(DeskError::Conflict(
                "this is a pseudonym already".to_owned(),
            ));
        }
        let pseudonym = new_id("erased")?;
        let projects = self.projects_of(&person).await?.into_iter();
        let left = projects.map(|project| Change::Project(without(project, &person)));
        // What stands under these names goes with the person.
        let linked = names.into_iter().map(|other| Change::Link {
            person: person.id.to_string(),
            other,
        });
        let mut changes: Vec<Change> = left.chain(linked).collect();
        changes.push(Change::Erase {
            person: person.id.to_string(),
            pseudonym: pseudonym.clone(),
            at: self.now(),
        });
        // The event names only the pseudonym, so that it does not reveal the person.
        let event = self.event("user.erase", &pseudonym, &Value::Null, &Value::Null);
        self.commit(&changes, &[event]).await?;
        Ok(pseudonym)
    }

    /// The person whom all that stands under the text belongs to, and the names that mean only this person although
    /// nobody linked them: those of keys that were made for a name for which a provider answers.
    async fn owner(&self, text: &str) -> Result<(Person, Vec<String>), DeskError> {
        let named = self.person(text).await?;
        let people = self.store.people().all().await?;
        let alone = |name: &str| {
            let mut owners = owners(&people, name);
            owners.retain(|owner| *owner.id != *name);
            match owners[..] {
                [only] => Some(only),
                _ => None,
            }
        };
        let person = alone(&named.id).cloned().unwrap_or(named);
        let keys = self.keys_of(&person.id).await?;
        let names = keys.iter().map(|key| &*key.username).chain(person.names());
        let mut names: BTreeSet<String> = names.map(str::to_owned).collect();
        let ids = ids_of(&person);
        names.retain(|name| {
            !ids.iter().any(|id| **id == **name)
                && alone(name).is_some_and(|owner| owner.id == person.id)
        });
        Ok((person, names.into_iter().collect()))
    }

    async fn projects_of(&self, person: &Person) -> Result<Vec<Project>, DeskError> {
        let mut projects = self.projects().await?;
        projects.retain(|project| {
            let mut names = project.members.iter().chain(&project.managers);
            names.any(|name| person.owns(name))
        });
        Ok(projects)
    }

    /// Stores an allocation system's record of a user, and that it vouches for them now. `true`: something else changed
    /// too.
    pub async fn put_user(&self, record: &UserRecord) -> Result<(Person, bool), DeskError> {
        check_user(&record.user).map_err(DeskError::Invalid)?;
        for identity in &record.identities {
            check_named(identity)?;
        }
        let people = self.people().await?;
        let known = people
            .iter()
            .find(|person| person.logins.iter().any(|login| login.id == record.user))
            .or_else(|| people.iter().find(|person| *person.id == *record.user));
        let before = known.cloned().unwrap_or_else(|| Person {
            id: record.user.as_str().into(),
            username: record.user.clone(),
            ..Person::default()
        });
        let old = before.logins.iter().find(|login| login.id == record.user);
        let login = login_of(record, &before, old, self.now());
        let mut changes = vec![Change::Confirmed(login.clone())];
        let is_new = |identity: &&String| !before.logins.iter().any(|login| login.id == **identity);
        let linked = record.identities.iter().filter(is_new);
        changes.extend(linked.map(|identity| Change::Link {
            person: before.id.to_string(),
            other: identity.clone(),
        }));
        let state = record.state.filter(|state| *state != before.state);
        changes.extend(state.map(|state| state_of(&before, state)));
        let is_same = old.is_some_and(|old| is_same(old, &login)) && changes.len() == 1;
        let after = Person {
            state: record.state.unwrap_or(before.state),
            ..before.clone()
        };
        let events = (!is_same).then(|| {
            let said = json!({"name": login.name, "email": login.email, "groups": login.groups,
                "state": after.state.word(), "identities": record.identities});
            self.event(
                "user.put",
                &before.id,
                &json!({"state": before.state.word()}),
                &said,
            )
        });
        let events: Vec<_> = events.into_iter().collect();
        self.commit(&changes, &events).await?;
        Ok((self.person(&before.id).await.unwrap_or(after), !is_same))
    }
}

fn state_of(person: &Person, state: PersonState) -> Change {
    Change::SetState {
        person: person.id.to_string(),
        username: person.username.clone(),
        state,
    }
}

fn row_json(row: &LedgerRow<'_>) -> Value {
    let names = Column::LEDGER.iter().map(|column| column.name.to_owned());
    let values = row.values().into_iter().map(|value| match value {
        Held::Id(id) => id.to_string().into(),
        Held::Text(text) => text.into(),
        Held::Stamp(micros) => rfc3339(micros).into(),
        Held::Flag(flag) => flag.into(),
        Held::Number(number) => number.into(),
        Held::Word { text, .. } => text.into(),
        Held::Absent => Value::Null,
    });
    Value::Object(names.zip(values).collect::<Map<_, _>>())
}

fn ids_of(person: &Person) -> Vec<Arc<str>> {
    let logins = person.logins.iter().map(|login| login.id.as_str().into());
    let mut ids: Vec<Arc<str>> = logins.collect();
    if !ids.contains(&person.id) {
        ids.push(Arc::clone(&person.id));
    }
    ids
}

fn login_of(record: &UserRecord, person: &Person, old: Option<&Login>, now: i64) -> Login {
    let kept = |said: &Option<String>, old: Option<&String>| {
        said.clone().or_else(|| old.cloned()).unwrap_or_default()
    };
    Login {
        id: record.user.clone(),
        person: person.id.to_string(),
        auth_service: "admin".to_owned(),
        idp: String::new(),
        username: record.user.clone(),
        name: kept(&record.name, old.map(|old| &old.name)),
        email: kept(&record.email, old.map(|old| &old.email)),
        own: OwnName::Username,
        groups: record.groups.as_ref().map_or_else(
            || old.and_then(|old| old.groups.clone()),
            |groups| Some(groups.iter().map(|group| Identity::group(group)).collect()),
        ),
        confirmed_at: now,
    }
}

/// Whether two records say the same of somebody, regardless of their times.
fn is_same(one: &Login, other: &Login) -> bool {
    let one = Login {
        confirmed_at: other.confirmed_at,
        ..one.clone()
    };
    one == *other
}

fn without(mut project: Project, person: &Person) -> Project {
    project.members.retain(|name| !person.owns(name));
    project.managers.retain(|name| !person.owns(name));
    project
}
