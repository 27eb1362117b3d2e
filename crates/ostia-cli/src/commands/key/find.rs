use std::io::{self, IsTerminal as _, Read as _};

use clap::Args;
use ostia::identify::KEY_PREFIX;
use ostia::people::key_json;
use ostia_core::{Clock as _, Secret, SystemClock};

use super::list::table;
use crate::arguments::Setup;
use crate::commands::desk;
use crate::failure::Failure;
use crate::output::{Look, note, print};

/// Longer than any key.
const LONGEST: u64 = 16 * 1024;

#[derive(Debug, Args)]
pub struct Find {
    /// Print one object
    #[arg(long)]
    json: bool,
}

impl Find {
    pub async fn run(&self, setup: &Setup) -> Result<(), Failure> {
        let desk = desk::existing(setup).await?;
        let found = desk.find_key(&read()?).await?;
        let now = SystemClock.unix_micros();
        if self.json {
            return print(&format!("{}\n", key_json(&found, now)));
        }
        print(&table(&[found], now).render(Look::of_stdout()))
    }
}

/// Reads standard input instead of the command line, which other users of the machine can see.
fn read() -> Result<Secret<String>, Failure> {
    if io::stdin().is_terminal() {
        note("Paste the key, then press Enter and Ctrl-D:");
    }
    let mut text = String::new();
    io::stdin()
        .lock()
        .take(LONGEST)
        .read_to_string(&mut text)
        .map_err(|error| Failure::other(format!("stdin: {error}")))?;
    match (keys_in(&text).as_slice(), text.split_whitespace().count()) {
        ([key], _) => Ok(Secret::new((*key).to_owned())),
        ([], 0) => Err(Failure::usage("write the key to standard input")),
        ([], 1) => Ok(Secret::new(text.trim().to_owned())),
        ([], _) => Err(Failure::usage(
            "standard input holds more than one word, and none of them is a key of this gateway (`sk-ostia-...`)",
        )),
        (_, _) => Err(Failure::usage("standard input holds more than one key")),
    }
}

/// The different keys in a text, however they are quoted: people paste headers and lines of env files.
fn keys_in(text: &str) -> Vec<&str> {
    let mut keys: Vec<&str> = Vec::new();
    for (at, _) in text.match_indices(KEY_PREFIX) {
        let rest = &text[at..];
        let is_of_key = |letter: char| letter.is_ascii_alphanumeric() || "-_".contains(letter);
        let end = rest.find(|letter| !is_of_key(letter)).unwrap_or(rest.len());
        if !keys.contains(&&rest[..end]) {
            keys.push(&rest[..end]);
        }
    }
    keys
}

#[cfg(test)]
mod tests {
    use super::keys_in;

    #[test]
    fn a_key_is_found_however_it_was_pasted() {
        for text in [
            "sk-ostia-aB_1-2",
            "\"sk-ostia-aB_1-2\"\n",
            "'sk-ostia-aB_1-2',",
            "\u{201c}sk-ostia-aB_1-2\u{201d}",
            "Bearer sk-ostia-aB_1-2",
            "bearer  `sk-ostia-aB_1-2`",
            "Authorization: Bearer sk-ostia-aB_1-2\r\n",
            "-H 'x-api-key: sk-ostia-aB_1-2'",
            "export OPENAI_API_KEY=\"sk-ostia-aB_1-2\"",
            "{\"key\":\"sk-ostia-aB_1-2\",\"again\":\"sk-ostia-aB_1-2\"}",
            "\u{feff}sk-ostia-aB_1-2\u{200b}",
        ] {
            assert_eq!(keys_in(text), ["sk-ostia-aB_1-2"], "{text}");
        }
        assert!(keys_in("sk-proj-other").is_empty());
        assert_eq!(keys_in("sk-ostia-a sk-ostia-b").len(), 2);
    }
}
