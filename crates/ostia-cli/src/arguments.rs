use std::ffi::OsString;
use std::path::PathBuf;

use clap::{Args, Parser, ValueEnum};
use ostia::boot::Builder;
use ostia_core::names_somebody;

use crate::commands::Command;

/// An inference gateway for OpenAI-compatible backends.
#[derive(Debug, Parser)]
#[command(name = "ostia", version, max_term_width = 100)]
#[command(after_help = "\
To look around: `ostia serve --demo` needs no file, no key and no backend.
For a backend of yours: `ostia serve --backend http://127.0.0.1:8080/v1`; `ostia init` writes the same to a file.
Then `ostia check`, `ostia test`, `ostia key create --user you@example.org`, `ostia serve`.

Exit codes: 0 clean, 64 usage, 78 configuration, 1 anything else.")]
pub struct Arguments {
    #[command(flatten)]
    pub global: Global,
    #[command(subcommand)]
    pub command: Command,
}

/// Accepted by all commands, before or after the other words.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Options of all commands")]
pub struct Global {
    /// The configuration file [default: $OSTIA_CONFIG, else ostia.toml in the current folder, if it exists]
    #[arg(long, global = true, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// A file of variables in dotenv syntax. They override the environment. Repeatable; the last file wins
    #[arg(long = "env-file", global = true, value_name = "FILE")]
    pub env_files: Vec<PathBuf>,
    /// Format of the log on stderr [default: text on a terminal, JSON lines otherwise]. OSTIA_LOG=debug logs more
    #[arg(long, global = true, value_name = "FORMAT")]
    pub log_format: Option<Format>,
}

/// What every command gets.
#[derive(Clone)]
pub struct Setup {
    pub global: Global,
    /// The adapters written in Rust.
    pub adapters: Builder,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Format {
    Text,
    Json,
}

/// A user's name or id on the command line.
pub fn person(text: &str) -> Result<String, String> {
    match names_somebody(text) {
        true => Ok(text.to_owned()),
        false => Err("it names nobody: write a username, NAME@DOMAIN or an id".to_owned()),
    }
}

impl Arguments {
    /// Reads the process's arguments, beginning with its own name.
    pub fn read(words: impl IntoIterator<Item = OsString>) -> Result<Self, clap::Error> {
        Self::try_parse_from(gather_env_files(words))
    }
}

/// Moves every `--env-file` to the front, in order. If the option stood both before and after the command, clap would
/// keep only the later ones, and silently drop a file of variables.
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
    fn whoever_is_named_has_a_name() {
        for words in [
            "key list --user",
            "key revoke --user",
            "key create --user",
            "user show",
            "user disable",
            "user enable",
            "user export",
            "user erase",
            "user link ann@lab.org",
            "block user",
            "unblock user",
            "limits --user",
            "usage --user",
            "explain --model m --user",
            "test --user",
        ] {
            for nobody in ["", " ", ":", "\t", "@", "--=", "\u{200b}"] {
                let line = ["ostia"]
                    .into_iter()
                    .chain(words.split(' '))
                    .chain([nobody]);
                let read = Arguments::read(line.map(OsString::from));
                assert!(read.is_err(), "{words} {nobody:?}");
            }
            let line = ["ostia"]
                .into_iter()
                .chain(words.split(' '))
                .chain(["ann@lab.org"]);
            let read = Arguments::read(line.map(OsString::from));
            assert!(read.is_ok(), "{words}");
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
