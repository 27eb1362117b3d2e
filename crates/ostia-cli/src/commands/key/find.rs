use std::io::{self, IsTerminal as _, Read as _};

use clap::Args;
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
    let mut words = text.split_whitespace();
    match (words.next(), words.next()) {
        (Some(key), None) => Ok(Secret::new(key.to_owned())),
        (None, _) => Err(Failure::usage("write the key to standard input")),
        (Some(_), Some(_)) => Err(Failure::usage("standard input holds more than one word")),
    }
}
