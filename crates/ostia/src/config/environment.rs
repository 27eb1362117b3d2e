use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;

use super::dotenv;
use super::problem::{Place, Report};
use super::source::{Source, Unread};

/// Environment variables as a value: those of the process and of `--env-file`, which win. The process's own
/// environment is never changed, because every thread reads it.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Environment {
    variables: BTreeMap<String, String>,
}

impl Environment {
    /// The process's variables, except those that are not UTF-8.
    pub fn of_process() -> Self {
        std::env::vars_os()
            .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
            .collect()
    }

    pub fn get(&self, name: &str) -> Option<&str> {
        self.variables.get(name).map(String::as_str)
    }

    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.variables
            .iter()
            .map(|(name, value)| (name.as_str(), value.as_str()))
    }

    /// These variables, overridden by those of dotenv files; a later file wins over an earlier one.
    pub(super) fn with_files(&self, files: &[PathBuf], report: &Report) -> Self {
        let mut all = self.clone();
        for path in files {
            match Source::read(path, report) {
                Ok(source) => dotenv::read(&source, &mut all.variables, report),
                Err(Unread::Missing) => report.fatal(
                    Place::whole(&path.display().to_string()),
                    "does not exist, but --env-file names it",
                ),
                Err(Unread::Reported) => {}
            }
        }
        all
    }
}

impl FromIterator<(String, String)> for Environment {
    fn from_iter<I: IntoIterator<Item = (String, String)>>(variables: I) -> Self {
        Self {
            variables: variables.into_iter().collect(),
        }
    }
}

/// Values may be secrets.
impl fmt::Debug for Environment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.variables.keys()).finish()
    }
}

/// Whether a text looks like a variable's name, rather than the secret that should be in the variable. Names have
/// letters, digits and underscores, but not in the random mixture of a key. Dotenv files also have names with hyphens
/// and dots; in keys these come with lower-case letters.
pub(super) fn is_name(text: &str) -> bool {
    let has = |is: fn(&u8) -> bool| text.bytes().any(|byte| is(&byte));
    let (lower, digits) = (has(u8::is_ascii_lowercase), has(u8::is_ascii_digit));
    let underscore = text.contains('_');
    let is_word = !text.starts_with(|first: char| first.is_ascii_digit())
        && text.bytes().all(|byte| {
            byte.is_ascii_alphanumeric() || byte == b'_' || (!lower && matches!(byte, b'-' | b'.'))
        });
    let is_mixture = match lower {
        true => digits && (!underscore || text.len() >= 24),
        false => digits && !underscore && text.len() >= 16,
    };
    !text.is_empty() && text.len() <= 64 && is_word && !is_mixture
}

#[cfg(test)]
mod tests {
    use super::is_name;

    #[test]
    fn names_of_variables_are_told_from_keys() {
        for name in [
            "VLLM_KEY",
            "key",
            "vllm_key2",
            "KEY2",
            "MAVERICK_17B-129E_API_KEY",
            "A.B",
            "_x",
        ] {
            assert!(is_name(name), "{name}");
        }
        for key in [
            "",
            "hunter2",
            "sk-live-abcdef",
            "sk_live_0123456789abcdefgh",
            "hf_AbCdEfGhIjKlMnOpQrStUvWxYz0123456789",
            "AKIAIOSFODNN7EXAMPLE",
            "0123456789abcdef",
            "a b",
            "p@ss",
            "\u{e9}",
        ] {
            assert!(!is_name(key), "{key}");
        }
    }
}
