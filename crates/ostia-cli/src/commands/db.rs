//! `ostia db`: commands for the whole database.

use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};
use ostia_store::{Copied, Standing, copy, migrate, schema};

use super::load::{not_opened, settings};
use crate::arguments::Setup;
use crate::failure::Failure;
use crate::output::{note, print};
use crate::runtime;

#[derive(Debug, Subcommand)]
pub enum Db {
    /// Show which schema the database has, and whether this ostia can use it
    Status,
    /// Bring the schema up to date, and reports into the time zone of [reports]. On PostgreSQL, `serve` never does this
    Migrate,
    /// Write a copy of the whole database into a new SQLite file, while the gateway runs
    Backup(Backup),
    /// Restore a backup into the configured database, which must be empty
    Restore(Restore),
    /// Copy everything from one database into another, which must be empty: sqlite://PATH or postgres://...
    Copy(Copy),
}

#[derive(Debug, Args)]
pub struct Backup {
    /// A file that does not exist yet
    file: PathBuf,
}

#[derive(Debug, Args)]
pub struct Restore {
    /// The file that `ostia db backup` wrote
    file: PathBuf,
}

#[derive(Debug, Args)]
#[command(
    after_help = "Stop the gateway before, so that no row is written behind the copy. What its journal still holds goes into the new \
                  database when it starts with the new store.url."
)]
pub struct Copy {
    /// The URL to copy from, as in store.url
    from: String,
    /// The URL to copy to, as in store.url
    to: String,
}

impl Db {
    pub fn run(&self, setup: &Setup) -> Result<(), Failure> {
        match self {
            Self::Status => runtime::run(status(setup)),
            Self::Migrate => runtime::run(bring_up_to_date(setup)),
            Self::Backup(backup) => runtime::run(backup.run(setup)),
            Self::Restore(restore) => runtime::run(restore.run(setup)),
            Self::Copy(copy) => runtime::run(copy.run(setup)),
        }
    }
}

async fn status(setup: &Setup) -> Result<(), Failure> {
    let settings = settings(setup)?;
    let url = settings.store.url.expose();
    if let Some(path) = sqlite_path(url)
        && !path.exists()
    {
        return print(&format!(
            "{}\nThere is no such file yet: `ostia serve` makes it.\n",
            shown(url)
        ));
    }
    let (schema, known) = schema(url).await.map_err(not_opened)?;
    let verdict = match (schema.standing(known), schema.version) {
        (Standing::Fits, version) if version > known => {
            "It is of the next release, and this ostia runs on it."
        }
        (Standing::Fits, _) => "It is up to date.",
        (Standing::Old, 0) => "It has no tables yet: run `ostia db migrate`.",
        (Standing::Old, _) => "It is older: run `ostia db migrate`.",
        (Standing::Newer, _) => "It is of a newer ostia, which has to be used.",
    };
    print(&format!(
        "{}\nSchema {} of release {}; this ostia knows schema {known} of release {}.\n{verdict}\n",
        shown(url),
        schema.version,
        schema.release,
        ostia_store::RELEASE
    ))?;
    match schema.standing(known) {
        Standing::Fits => Ok(()),
        Standing::Old | Standing::Newer => Err(Failure::other("")),
    }
}

async fn bring_up_to_date(setup: &Setup) -> Result<(), Failure> {
    let settings = settings(setup)?;
    let url = settings.store.url.expose();
    let done = migrate(url, &settings.reports.timezone).await;
    done.map_err(not_opened)?;
    note(&format!("{} is up to date.", shown(url)));
    Ok(())
}

impl Backup {
    async fn run(&self, setup: &Setup) -> Result<(), Failure> {
        let settings = settings(setup)?;
        if self.file.exists() {
            let file = self.file.display();
            return Err(Failure::usage(format!(
                "{file} exists: nothing is overwritten"
            )));
        }
        // An incomplete copy must not be mistaken for a backup.
        let part = self.file.with_added_extension("part");
        let failed = |error: std::io::Error| Failure::other(format!("{}: {error}", part.display()));
        if part.exists() {
            std::fs::remove_file(&part).map_err(failed)?;
        }
        let copied = copy(settings.store.url.expose(), &file_url(&part)?).await;
        let copied = copied.map_err(not_opened)?;
        std::fs::rename(&part, &self.file).map_err(failed)?;
        tell(&copied);
        Ok(())
    }
}

impl Restore {
    async fn run(&self, setup: &Setup) -> Result<(), Failure> {
        let settings = settings(setup)?;
        let file = self.file.display();
        if !self.file.exists() {
            return Err(Failure::usage(format!("{file} does not exist")));
        }
        let copied = copy(&file_url(&self.file)?, settings.store.url.expose()).await;
        tell(&copied.map_err(not_opened)?);
        Ok(())
    }
}

impl Copy {
    async fn run(&self, _setup: &Setup) -> Result<(), Failure> {
        if let Some(path) = sqlite_path(&self.from)
            && !path.exists()
        {
            return Err(Failure::usage(format!("{} does not exist", path.display())));
        }
        let copied = copy(&self.from, &self.to).await;
        tell(&copied.map_err(not_opened)?);
        Ok(())
    }
}

fn tell(copied: &Copied) {
    for (table, rows) in &copied.tables {
        note(&format!("{table}: {rows} rows"));
    }
}

fn file_url(path: &Path) -> Result<String, Failure> {
    let absolute = std::path::absolute(path);
    let absolute =
        absolute.map_err(|error| Failure::other(format!("{}: {error}", path.display())))?;
    let text = absolute.to_str();
    let text = text.ok_or_else(|| Failure::usage("the file's name is not UTF-8"))?;
    Ok(format!("sqlite://{text}"))
}

fn sqlite_path(url: &str) -> Option<&Path> {
    url.strip_prefix("sqlite://").map(Path::new)
}

/// The part of a URL that may be shown, because it may contain a password.
fn shown(url: &str) -> String {
    match sqlite_path(url) {
        Some(path) => format!("SQLite, {}", path.display()),
        None => "PostgreSQL".to_owned(),
    }
}
