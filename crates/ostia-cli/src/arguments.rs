use std::path::PathBuf;

use clap::{Args, Parser, ValueEnum};

use crate::commands::Command;

/// An inference gateway for OpenAI-compatible backends.
#[derive(Debug, Parser)]
#[command(name = "ostia", version, max_term_width = 100)]
#[command(after_help = "Exit codes: 0 clean, 64 usage, 78 configuration, 1 anything else.")]
pub struct Arguments {
    #[command(flatten)]
    pub global: Global,
    #[command(subcommand)]
    pub command: Command,
}

/// Accepted by all commands, before or after the other words.
#[derive(Debug, Args)]
#[command(next_help_heading = "Options of all commands")]
pub struct Global {
    /// The configuration; OSTIA_CONFIG names it too, and by default it is ostia.toml in the current folder, if there
    #[arg(long, global = true, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// A file of variables in dotenv syntax, which win over the process environment; repeatable, the last one wins
    #[arg(long = "env-file", global = true, value_name = "FILE")]
    pub env_files: Vec<PathBuf>,
    /// How the log on stderr looks; by default text on a terminal, JSON lines otherwise. OSTIA_LOG=debug shows more
    #[arg(long, global = true, value_name = "FORMAT")]
    pub log_format: Option<Format>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Format {
    Text,
    Json,
}

#[cfg(test)]
mod tests {
    use clap::{CommandFactory as _, Parser as _};

    use super::Arguments;

    #[test]
    fn the_command_line_is_consistent() {
        Arguments::command().debug_assert();
    }

    #[test]
    fn global_options_stand_before_or_after_the_other_words() {
        let before = "ostia --config a.toml --env-file 1 --env-file 2 --log-format json key list";
        let between = "ostia --env-file 1 key --config a.toml --env-file 2 --log-format json list";
        let after = "ostia key list --config a.toml --env-file 1 --env-file 2 --log-format json";
        for line in [before, between, after] {
            let arguments = Arguments::try_parse_from(line.split(' ')).unwrap();
            let global = arguments.global;
            assert_eq!(global.config.unwrap().to_str(), Some("a.toml"), "{line}");
            assert!(global.log_format.is_some(), "{line}");
            if line != between {
                assert_eq!(global.env_files.len(), 2, "{line}");
            }
        }
    }
}
