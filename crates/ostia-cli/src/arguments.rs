use std::ffi::OsString;
use std::path::PathBuf;

use clap::{Args, Parser, ValueEnum};

use crate::commands::Command;

/// An inference gateway for OpenAI-compatible backends.
#[derive(Debug, Parser)]
#[command(name = "ostia", version, max_term_width = 100)]
#[command(after_help = "\
Nothing at hand? `ostia serve --demo` needs no file and no key.
With fixtures: `ostia check`, `ostia key create --user you@example.org`, `ostia serve`.

Exit codes: 0 clean, 64 usage, 78 configuration, 1 anything else.")]
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

impl Arguments {
    /// Reads the process's words, its own name first.
    pub fn read(words: impl IntoIterator<Item = OsString>) -> Result<Self, clap::Error> {
        Self::try_parse_from(gather_env_files(words))
    }
}

/// Puts all `--env-file` to the front, in their order. Of an option that stands before and after a command clap keeps
/// only what stands after it, and a file of variables would be lost without a word.
fn gather_env_files(words: impl IntoIterator<Item = OsString>) -> Vec<OsString> {
    let mut words = words.into_iter();
    let mut front: Vec<OsString> = words.next().into_iter().collect();
    let mut rest = Vec::new();
    while let Some(word) = words.next() {
        if word == "--" {
            rest.push(word);
            break;
        }
        if word == "--env-file" {
            front.push(word);
            front.extend(words.next());
        } else if word.as_encoded_bytes().starts_with(b"--env-file=") {
            front.push(word);
        } else {
            rest.push(word);
        }
    }
    front.into_iter().chain(rest).chain(words).collect()
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::{Arguments, OsString, PathBuf};

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
            let global = read(line).unwrap().global;
            assert_eq!(global.config.unwrap().to_str(), Some("a.toml"), "{line}");
            assert!(global.log_format.is_some(), "{line}");
            assert_eq!(global.env_files, ["1", "2"].map(PathBuf::from), "{line}");
        }
    }

    #[test]
    fn words_after_two_hyphens_are_no_options() {
        let arguments = read("ostia slug --env-file=1 -- --env-file 2 3").unwrap();
        assert_eq!(arguments.global.env_files, [PathBuf::from("1")]);
        assert!(read("ostia key list --env-file").is_err());
    }

    fn read(line: &str) -> Result<Arguments, clap::Error> {
        Arguments::read(line.split(' ').map(OsString::from))
    }
}
