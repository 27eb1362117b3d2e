//! Unique secrets, and a search for them in everything that was written.

use std::collections::HashMap;
use std::io;
use std::path::Path;
use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::{STANDARD_NO_PAD, URL_SAFE_NO_PAD};
use parking_lot::Mutex;

/// This many consecutive bytes of a secret are a leak; 8 may be shown to tell keys apart.
const LEAK: usize = 12;
/// The number of first bytes by which the search looks up needles.
const START: usize = 4;

/// A secret that must not turn up anywhere.
#[derive(Clone, PartialEq, Eq)]
pub struct Canary {
    pub label: String,
    secret: String,
}

/// Everything that was written: logs, metrics, error bodies, files.
#[derive(Debug, Clone, Default)]
pub struct Sinks {
    texts: Arc<Mutex<Vec<Text>>>,
}

/// What was written to one place.
#[derive(Debug)]
struct Text {
    place: String,
    bytes: Vec<u8>,
}

/// A place that writes into [`Sinks`], for log subscribers.
#[derive(Debug, Clone)]
pub struct SinkWriter {
    sinks: Sinks,
    place: usize,
}

impl Canary {
    /// A new secret of 32 hexadecimal digits.
    pub fn new(label: &str) -> Self {
        let mut bytes = [0; 16];
        getrandom::fill(&mut bytes).unwrap();
        Self::of(label, &hex::encode(bytes))
    }

    /// A secret made elsewhere. Leave out what is public in it, such as a key's id.
    pub fn of(label: &str, secret: &str) -> Self {
        assert!(
            secret.len() >= LEAK,
            "{label}: too short to be told from chance"
        );
        Self {
            label: label.to_owned(),
            secret: secret.to_owned(),
        }
    }

    pub fn secret(&self) -> &str {
        &self.secret
    }

    /// Where `text` holds [`LEAK`] bytes of the secret in a row, plain, in base64 or in hexadecimal digits.
    pub fn find(&self, text: &[u8]) -> Option<usize> {
        let needles = self.needles();
        // One pass for all needles, since logs are long: a table of first pairs rules nearly every place out.
        let mut begins = vec![false; 1 << 16];
        let pair = |at: &[u8]| usize::from(at[0]) << 8 | usize::from(at[1]);
        for needle in &needles {
            begins[pair(needle)] = true;
        }
        let mut by_start: HashMap<&[u8], Vec<&[u8]>> = HashMap::new();
        for needle in &needles {
            by_start.entry(&needle[..START]).or_default().push(needle);
        }
        for (at, window) in text.windows(START).enumerate() {
            if begins[pair(window)]
                && let Some(needles) = by_start.get(window)
                && needles.iter().any(|needle| text[at..].starts_with(needle))
            {
                return Some(at);
            }
        }
        None
    }

    fn needles(&self) -> Vec<Vec<u8>> {
        let windows = self.secret.as_bytes().windows(LEAK);
        let mut needles: Vec<Vec<u8>> = windows.clone().map(<[u8]>::to_vec).collect();
        needles.extend(
            windows
                .clone()
                .map(|window| hex::encode(window).into_bytes()),
        );
        // Twelve bytes that begin at a multiple of three have the same base64, whatever comes before; one of three
        // consecutive windows always begins there.
        for window in windows {
            needles.push(STANDARD_NO_PAD.encode(window).into_bytes());
            needles.push(URL_SAFE_NO_PAD.encode(window).into_bytes());
        }
        needles
    }
}

/// Shows the label only: a failing assertion must not be the leak.
impl std::fmt::Debug for Canary {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Canary({})", self.label)
    }
}

impl Sinks {
    pub fn new() -> Self {
        Self::default()
    }

    pub fn add(&self, place: &str, text: impl Into<Vec<u8>>) {
        self.texts.lock().push(Text {
            place: place.to_owned(),
            bytes: text.into(),
        });
    }

    /// Adds every file below `folder` as it is now: databases, journals, sockets' neighbours.
    pub fn add_folder(&self, folder: &Path) {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                self.add_folder(&path);
            } else if path.is_file() {
                // A file may be gone by now: journal segments are deleted once they are in the database.
                let text = std::fs::read(&path).unwrap_or_default();
                self.add(&path.display().to_string(), text);
            }
        }
    }

    /// A writer whose text is searched too.
    pub fn writer(&self, place: &str) -> SinkWriter {
        let mut texts = self.texts.lock();
        texts.push(Text {
            place: place.to_owned(),
            bytes: Vec::new(),
        });
        SinkWriter {
            sinks: self.clone(),
            place: texts.len() - 1,
        }
    }

    /// Every place that holds one of the secrets: label, place, and the text around it with the secret cut out.
    pub fn leaks(&self, canaries: &[Canary]) -> Vec<String> {
        let texts = self.texts.lock();
        let mut leaks = Vec::new();
        for canary in canaries {
            for Text { place, bytes } in &*texts {
                if let Some(at) = canary.find(bytes) {
                    let before =
                        String::from_utf8_lossy(&bytes[at.saturating_sub(80)..at]).into_owned();
                    leaks.push(format!("{} in {place}, behind {before:?}", canary.label));
                }
            }
        }
        leaks
    }

    /// Panics with every leak.
    pub fn assert_clean(&self, canaries: &[Canary]) {
        let leaks = self.leaks(canaries);
        assert!(leaks.is_empty(), "secrets leaked:\n{}", leaks.join("\n"));
    }
}

impl SinkWriter {
    /// Bytes written so far.
    pub fn length(&self) -> usize {
        self.sinks.texts.lock()[self.place].bytes.len()
    }

    /// What was written behind the first `from` bytes.
    pub fn since(&self, from: usize) -> Vec<u8> {
        self.sinks.texts.lock()[self.place].bytes[from..].to_vec()
    }
}

impl io::Write for SinkWriter {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.sinks.texts.lock()[self.place]
            .bytes
            .extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use base64::engine::general_purpose::STANDARD;

    use super::*;

    #[test]
    fn a_secret_is_found_in_every_dress() {
        let canary = Canary::new("key");
        let secret = canary.secret().to_owned();
        for prefix in ["", "a", "ab", "user:"] {
            let whole = format!("{prefix}{secret}");
            for text in [
                whole.clone(),
                STANDARD.encode(&whole),
                hex::encode(&whole),
                whole[..prefix.len() + 20].to_owned(),
            ] {
                assert!(canary.find(text.as_bytes()).is_some(), "{prefix:?} {text}");
            }
        }
    }

    #[test]
    fn a_short_prefix_and_another_secret_are_no_leak() {
        let canary = Canary::new("key");
        assert_eq!(canary.find(&canary.secret().as_bytes()[..8]), None);
        assert_eq!(canary.find(Canary::new("key").secret().as_bytes()), None);
    }

    #[test]
    fn sinks_name_the_place_and_not_the_secret() {
        let (sinks, canary) = (Sinks::new(), Canary::new("backend key"));
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("ledger.db"), "nothing here").unwrap();
        sinks.add_folder(folder.path());
        sinks.assert_clean(std::slice::from_ref(&canary));

        write!(sinks.writer("log"), "key={}", canary.secret()).unwrap();
        let leaks = sinks.leaks(std::slice::from_ref(&canary));
        assert_eq!(leaks, ["backend key in log, behind \"key=\""]);
        assert!(!format!("{canary:?}").contains(canary.secret()));
    }
}
