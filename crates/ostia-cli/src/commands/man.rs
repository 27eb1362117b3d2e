use clap::{Args, CommandFactory as _};

use crate::arguments::Arguments;
use crate::failure::Failure;
use crate::output::print;

/// `ostia man | man -l -`, or `ostia man key create`
#[derive(Debug, Args)]
pub struct Man {
    /// The command to describe [default: all of ostia]
    #[arg(value_name = "COMMAND")]
    words: Vec<String>,
}

impl Man {
    pub fn run(&self) -> Result<(), Failure> {
        let mut command = Arguments::command();
        command.build();
        let mut name = command.get_name().to_owned();
        for word in &self.words {
            let Some(inner) = command.find_subcommand(word) else {
                return Err(Failure::usage(format!(
                    "there is no command `{name} {word}`"
                )));
            };
            name = format!("{name} {word}");
            command = inner.clone();
        }
        let mut page = Vec::new();
        clap_mangen::Man::new(command.display_name(name.replace(' ', "-")))
            .render(&mut page)
            .map_err(|error| Failure::other(error.to_string()))?;
        print(&String::from_utf8_lossy(&page))
    }
}
