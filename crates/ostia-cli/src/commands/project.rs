use clap::{Args, Subcommand};
use ostia::people::{Members, ProjectRecord, project_json};
use ostia_core::Project as Record;
use serde_json::Value;

use super::desk;
use crate::arguments::Setup;
use crate::failure::Failure;
use crate::output::{Look, note, print};
use crate::runtime;
use crate::table::Table;

#[derive(Debug, Subcommand)]
pub enum Project {
    /// Create a project. Its id and its name are never reused
    Create {
        /// The project's name
        name: String,
        #[command(flatten)]
        about: Box<About>,
        #[command(flatten)]
        who: People,
    },
    /// List projects
    List {
        /// Print an array of objects
        #[arg(long)]
        json: bool,
    },
    /// Show a project
    Show {
        /// The project's name
        name: String,
    },
    /// Put people and groups into a project
    Add {
        /// The project's name
        name: String,
        /// Members, by username or user id
        members: Vec<String>,
        #[command(flatten)]
        who: People,
    },
    /// Remove people and groups from a project; without any, end the project
    Remove {
        /// The project's name
        name: String,
        /// Usernames, user ids or groups
        who: Vec<String>,
    },
}

#[derive(Debug, Args)]
pub struct About {
    /// The project's full name
    #[arg(long, value_name = "TEXT")]
    title: Option<String>,
    /// Its field of science
    #[arg(long, value_name = "TEXT")]
    field: Option<String>,
    /// The organization that it belongs to
    #[arg(long, value_name = "TEXT")]
    institution: Option<String>,
    /// Who pays
    #[arg(long, value_name = "TEXT")]
    cost_centre: Option<String>,
    /// A model that the project may use; repeatable [default: all that the caller may use]
    #[arg(long = "model", value_name = "M")]
    models: Vec<String>,
    /// The project's share of a queue
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1000))]
    fair_share: Option<u32>,
}

#[derive(Debug, Args)]
pub struct People {
    /// Who may add members; repeatable
    #[arg(long = "manager", value_name = "NAME@DOMAIN")]
    managers: Vec<String>,
    /// A member; repeatable
    #[arg(long = "member", value_name = "NAME@DOMAIN")]
    more: Vec<String>,
    /// A group whose members are members; repeatable
    #[arg(long = "group", value_name = "ID")]
    groups: Vec<String>,
}

impl Project {
    pub fn run(&self, setup: &Setup) -> Result<(), Failure> {
        runtime::run(self.perform(setup))
    }

    async fn perform(&self, setup: &Setup) -> Result<(), Failure> {
        match self {
            Self::Create { name, about, who } => {
                let desk = desk::open(setup).await?;
                let record = about.record(who);
                show(&desk.create_project(name, &record).await?)
            }
            Self::List { json } => {
                let projects = desk::existing(setup).await?.projects().await?;
                if *json {
                    let all: Vec<Value> = projects.iter().map(project_json).collect();
                    return print(&format!("{}\n", Value::from(all)));
                }
                print(&table(&projects).render(Look::of_stdout()))
            }
            Self::Show { name } => show(&desk::existing(setup).await?.project(name).await?),
            Self::Add { name, members, who } => {
                let desk = desk::existing(setup).await?;
                let who = who.and(members);
                show(&desk.add_to_project(name, &who).await?)
            }
            Self::Remove { name, who } if who.is_empty() => {
                let ended = desk::existing(setup).await?.end_project(name).await?;
                note(&format!(
                    "Project {} has ended; its rows stay, and its name is not used again.",
                    ended.name
                ));
                Ok(())
            }
            Self::Remove { name, who } => {
                let desk = desk::existing(setup).await?;
                show(&desk.remove_from_project(name, who).await?)
            }
        }
    }
}

impl About {
    fn record(&self, who: &People) -> ProjectRecord {
        let some = |list: &[String]| (!list.is_empty()).then(|| list.to_vec());
        ProjectRecord {
            name: None,
            title: self.title.clone(),
            field: self.field.clone(),
            institution: self.institution.clone(),
            cost_centre: self.cost_centre.clone(),
            managers: some(&who.managers),
            members: some(&who.more),
            groups: some(&who.groups),
            models: some(&self.models),
            fair_share: self.fair_share,
            ended: None,
        }
    }
}

impl People {
    fn and(&self, members: &[String]) -> Members {
        Members {
            members: members.iter().chain(&self.more).cloned().collect(),
            managers: self.managers.clone(),
            groups: self.groups.clone(),
        }
    }
}

fn show(project: &Record) -> Result<(), Failure> {
    let shown = serde_json::to_string_pretty(&project_json(project));
    let shown = shown.map_err(|error| Failure::other(error.to_string()))?;
    print(&format!("{shown}\n"))
}

fn table(projects: &[Record]) -> Table {
    let mut table = Table::new([
        "PROJECT",
        "!STATE",
        "?TITLE",
        ">MEMBERS",
        ">GROUPS",
        "?MANAGERS",
    ]);
    for project in projects {
        let state = if project.is_open() { "open" } else { "ended" };
        table.row([
            project.name.to_string(),
            state.to_owned(),
            project.title.clone(),
            project.members.len().to_string(),
            project.groups.len().to_string(),
            project.managers.join(","),
        ]);
    }
    table
}
