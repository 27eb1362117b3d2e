//! `ostia import first`: makes an `ostia.toml` from a FIRST installation.

use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};
use ostia::config::{Environment, ImportError, Imported, Loaded, Sources, changes, import_first};
use ostia::fleet::Fleet;

use super::check::verdict;
use super::new_file::write_new;
use crate::arguments::Setup;
use crate::failure::{Failure, chain};
use crate::output::{note, print};

#[derive(Debug, Subcommand)]
pub enum Import {
    /// Write an ostia.toml from FIRST's fixtures and variables, and say what is not carried over and why
    First(First),
}

#[derive(Debug, Args)]
#[command(
    after_help = "Exits as `ostia check` does on what it wrote: 78 if anything of it has to be mended. The variables are read from --env-file, by default .env, where their secrets stay. The file that is \
                  written is the one that --config names, by default ostia.toml; an existing one is left alone."
)]
pub struct First {
    /// The folder of FIRST's fixtures, or one file of `manage.py dumpdata`
    #[arg(long, value_name = "DIR", default_value = "fixtures")]
    fixtures: PathBuf,
}

impl Import {
    pub fn run(&self, setup: &Setup) -> Result<(), Failure> {
        let Self::First(first) = self;
        first.run(setup)
    }
}

impl First {
    fn run(&self, setup: &Setup) -> Result<(), Failure> {
        let target = setup
            .global
            .config
            .clone()
            .unwrap_or_else(|| PathBuf::from("ostia.toml"));
        let usual = Path::new(".env");
        let env_files = match &*setup.global.env_files {
            [] if usual.is_file() => vec![usual.to_owned()],
            given => given.to_vec(),
        };
        let imported = import_first(&self.fixtures, &env_files, &target).map_err(refused)?;
        for problem in &imported.problems {
            note(&problem.to_string());
        }
        write_new(&target, &imported.toml)?;
        if env_files.is_empty() {
            note(
                "There is no .env here, so only the fixtures were read; --env-file names another file.",
            );
        }
        let loaded = load(setup, &target, &imported.variables);
        for problem in &loaded.problems {
            note(&problem.to_string());
        }
        print(&told(&imported, &loaded, &target, &env_files))?;
        verdict(&loaded)
    }
}

/// What `check` would read. Its problems name everything in the fixtures that is not served as before.
fn load(setup: &Setup, target: &Path, variables: &Environment) -> Loaded {
    let process = Environment::of_process();
    let all = process.iter().chain(variables.iter());
    let sources = Sources {
        config: Some(target.to_owned()),
        environment: all
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .collect(),
        ..Sources::default()
    };
    setup.adapters.load(&sources, &Fleet::default())
}

fn refused(error: ImportError) -> Failure {
    Failure::config(format!("nothing was written: {}", chain(&error)))
}

const FOR_ALL: &str = "For the users of every endpoint: errors have OpenAI's shape, and a backend's own error comes through;
a stream that fails ends with an error event and without [DONE]; tokens are counted before the
call; /v1/... leads to it too. docs/migrate-from-first.md has the whole list.\n\n";

fn told(imported: &Imported, loaded: &Loaded, target: &Path, env_files: &[PathBuf]) -> String {
    let mut text = String::new();
    let mut list = |title: &str, lines: &[(String, String)]| {
        if lines.is_empty() {
            return;
        }
        text.push_str(&format!("{title}\n"));
        for (name, what) in lines {
            text.push_str(&format!("  {name}: {what}\n"));
        }
        text.push('\n');
    };
    list("Carried over, variable and key:", &imported.carried);
    list("Not carried over, variable and why:", &imported.left);
    let mut endpoints = Vec::new();
    for (slug, changes) in changes(loaded) {
        let what = match &*changes {
            [] => "nothing else".to_owned(),
            changes => changes.join("; "),
        };
        endpoints.push((slug.to_string(), what));
    }
    list("What changes for the users of each endpoint:", &endpoints);
    text.push_str(FOR_ALL);
    let mut options = format!("--config {}", target.display());
    for file in env_files {
        options.push_str(&format!(" --env-file {}", file.display()));
    }
    text.push_str(&format!(
        "Written: {}. Next: ostia check {options}\n",
        target.display()
    ));
    text
}
