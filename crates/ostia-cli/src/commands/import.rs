//! `ostia import first`: from a FIRST installation to an `ostia.toml`.

use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};
use ostia::config::{Environment, ImportError, Imported, Problem, Sources, import_first};
use ostia::fleet::Fleet;

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
    after_help = "The variables are read from --env-file, by default .env, where their secrets stay. The file that is \
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
        for problem in problems_of(setup, &target, &imported.variables) {
            note(&problem.to_string());
        }
        print(&told(&imported, &target, &env_files))
    }
}

/// What in the fixtures is not served as before, and why.
fn problems_of(setup: &Setup, target: &Path, variables: &Environment) -> Vec<Problem> {
    let process = Environment::of_process();
    let all = process.iter().chain(variables.iter());
    let sources = Sources {
        config: Some(target.to_owned()),
        environment: all
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .collect(),
        ..Sources::default()
    };
    setup.adapters.load(&sources, &Fleet::default()).problems
}

fn refused(error: ImportError) -> Failure {
    Failure::config(format!("nothing was written: {}", chain(&error)))
}

fn told(imported: &Imported, target: &Path, env_files: &[PathBuf]) -> String {
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
