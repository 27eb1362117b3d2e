use ostia_core::{Change, Identity, Project};
use serde_json::{Value, json};

use super::{Desk, DeskError, check_name, check_named, check_text, new_id, project_json};

/// A record of a project, from an allocation system or the command line. Fields that are `None` stay as they are.
#[derive(Debug, Clone, Default)]
pub struct ProjectRecord {
    pub name: Option<String>,
    pub title: Option<String>,
    pub field: Option<String>,
    pub institution: Option<String>,
    pub cost_centre: Option<String>,
    pub managers: Option<Vec<String>>,
    pub members: Option<Vec<String>>,
    pub groups: Option<Vec<String>>,
    pub models: Option<Vec<String>>,
    pub fair_share: Option<u32>,
    /// Whether it is over.
    pub ended: Option<bool>,
}

/// The members to add to a project, or to remove.
#[derive(Debug, Clone, Default)]
pub struct Members {
    pub members: Vec<String>,
    pub managers: Vec<String>,
    pub groups: Vec<String>,
}

/// The effect of writing a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Put {
    Created,
    Changed,
    Same,
}

impl Desk {
    pub async fn projects(&self) -> Result<Vec<Project>, DeskError> {
        Ok(self.store.people().roster().await?.projects)
    }

    /// A project by its name or its id.
    pub async fn project(&self, name: &str) -> Result<Project, DeskError> {
        let projects = self.projects().await?;
        let found = projects
            .into_iter()
            .find(|project| *project.name == *name || *project.id == *name);
        found.ok_or_else(|| {
            let shown = name.escape_debug();
            DeskError::NotFound(format!(
                "there is no project `{shown}`: `ostia project list` shows all"
            ))
        })
    }

    /// A project by its external id, its name or its id.
    pub async fn project_known_as(&self, text: &str) -> Result<Project, DeskError> {
        let projects = self.projects().await?;
        match projects.into_iter().find(|one| one.external_id == text) {
            Some(project) if !text.is_empty() => Ok(project),
            _ => self.project(text).await,
        }
    }

    pub async fn create_project(
        &self,
        name: &str,
        record: &ProjectRecord,
    ) -> Result<Project, DeskError> {
        self.new_project(name, "", record).await
    }

    /// Stores an allocation system's record of a project, by its id there. The same record again changes nothing.
    pub async fn put_project(
        &self,
        external_id: &str,
        record: &ProjectRecord,
    ) -> Result<(Project, Put), DeskError> {
        check_name(external_id).map_err(DeskError::Invalid)?;
        let projects = self.projects().await?;
        let known = projects
            .into_iter()
            .find(|project| project.external_id == external_id);
        let Some(before) = known else {
            let name = record.name.as_deref().unwrap_or(external_id);
            let made = self.new_project(name, external_id, record).await?;
            return Ok((made, Put::Created));
        };
        if record
            .name
            .as_ref()
            .is_some_and(|name| **name != *before.name)
        {
            return Err(DeskError::Conflict(format!(
                "this project is called `{}`, and names do not change: rows go by them",
                before.name
            )));
        }
        let after = with(before.clone(), record, self.now())?;
        if after == before {
            return Ok((before, Put::Same));
        }
        self.write(&before, &after, "project.put").await?;
        Ok((after, Put::Changed))
    }

    /// Adds people and groups to a project.
    pub async fn add_to_project(&self, name: &str, who: &Members) -> Result<Project, DeskError> {
        let before = self.project(name).await?;
        let mut after = before.clone();
        check_all_named(who.members.iter().chain(&who.managers))?;
        add(&mut after.members, &who.members)?;
        add(&mut after.managers, &who.managers)?;
        let groups: Vec<_> = who.groups.iter().map(|id| Identity::group(id)).collect();
        add(&mut after.groups, &groups)?;
        if after != before {
            self.write(&before, &after, "project.add").await?;
        }
        Ok(after)
    }

    /// Removes people and groups from a project, whatever their place in it.
    pub async fn remove_from_project(
        &self,
        name: &str,
        who: &[String],
    ) -> Result<Project, DeskError> {
        let before = self.project(name).await?;
        let mut after = before.clone();
        for list in [&mut after.members, &mut after.managers, &mut after.groups] {
            list.retain(|one| !who.contains(one));
        }
        if after == before {
            return Err(DeskError::NotFound(format!(
                "none of them is in project `{}`",
                before.name
            )));
        }
        self.write(&before, &after, "project.remove").await?;
        Ok(after)
    }

    /// Ends a project. It keeps its rows, its id and its name.
    pub async fn end_project(&self, name: &str) -> Result<Project, DeskError> {
        let before = self.project(name).await?;
        if !before.is_open() {
            return Ok(before);
        }
        let after = Project {
            ended_at: Some(self.now()),
            ..before.clone()
        };
        self.write(&before, &after, "project.end").await?;
        Ok(after)
    }

    async fn new_project(
        &self,
        name: &str,
        external_id: &str,
        record: &ProjectRecord,
    ) -> Result<Project, DeskError> {
        check_name(name).map_err(DeskError::Invalid)?;
        let projects = self.projects().await?;
        if let Some(taken) = projects.iter().find(|project| *project.name == *name) {
            let ended = if taken.is_open() {
                ""
            } else {
                ", which has ended"
            };
            return Err(DeskError::Conflict(format!(
                "there is a project `{name}` already{ended}: names are not used again"
            )));
        }
        let blank = Project {
            id: new_id("prj")?.into(),
            name: name.into(),
            external_id: external_id.to_owned(),
            created_at: self.now(),
            ..Project::default()
        };
        let project = with(blank, record, self.now())?;
        let shown = project_json(&project);
        let event = self.event("project.create", &project.name, &Value::Null, &shown);
        self.commit(&[Change::Project(project.clone())], &[event])
            .await?;
        Ok(project)
    }

    async fn write(
        &self,
        before: &Project,
        after: &Project,
        action: &str,
    ) -> Result<(), DeskError> {
        let (was, is) = difference(&project_json(before), &project_json(after));
        let event = self.event(action, &after.name, &was, &is);
        self.commit(&[Change::Project(after.clone())], &[event])
            .await
            .map(drop)
    }
}

fn with(mut project: Project, record: &ProjectRecord, now: i64) -> Result<Project, DeskError> {
    let texts = [
        (&mut project.title, &record.title),
        (&mut project.field, &record.field),
        (&mut project.institution, &record.institution),
        (&mut project.cost_centre, &record.cost_centre),
    ];
    for (kept, said) in texts {
        if let Some(said) = said {
            if said.contains(char::is_control) {
                return Err(DeskError::Invalid(
                    "a text contains a control character".to_owned(),
                ));
            }
            kept.clone_from(said);
        }
    }
    let people = [&record.managers, &record.members];
    check_all_named(people.into_iter().flatten().flatten())?;
    let groups = record.groups.as_ref();
    let groups: Option<Vec<_>> =
        groups.map(|groups| groups.iter().map(|id| Identity::group(id)).collect());
    let lists = [
        (&mut project.managers, &record.managers),
        (&mut project.members, &record.members),
        (&mut project.groups, &groups),
        (&mut project.models, &record.models),
    ];
    for (kept, said) in lists {
        if let Some(said) = said {
            kept.clear();
            add(kept, said)?;
        }
    }
    project.fair_share = record.fair_share.or(project.fair_share);
    project.ended_at = match record.ended {
        Some(true) => project.ended_at.or(Some(now)),
        Some(false) => None,
        None => project.ended_at,
    };
    Ok(project)
}

fn check_all_named<'a>(names: impl IntoIterator<Item = &'a String>) -> Result<(), DeskError> {
    names.into_iter().try_for_each(|name| check_named(name))
}

fn add(list: &mut Vec<String>, more: &[String]) -> Result<(), DeskError> {
    for one in more {
        check_text(one).map_err(DeskError::Invalid)?;
        if !list.contains(one) {
            list.push(one.clone());
        }
    }
    Ok(())
}

/// The differences between two objects with the same keys.
fn difference(before: &Value, after: &Value) -> (Value, Value) {
    let (mut was, mut is) = (json!({}), json!({}));
    for (key, old) in before.as_object().into_iter().flatten() {
        if after[key] != *old {
            was[key] = old.clone();
            is[key] = after[key].clone();
        }
    }
    (was, is)
}
