use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

use super::problem::{Place, Report};

/// The text of a file, with its name and its positions for messages.
#[derive(Debug)]
pub(super) struct Source {
    pub name: Arc<str>,
    pub path: PathBuf,
    pub text: String,
    /// `ostia.toml`, or a variable over it: `env:NAME` and `file:PATH` are followed, and a text may stand for a number.
    pub is_settings: bool,
    marks: OnceLock<Vec<Mark>>,
}

/// The line and column of an offset, counted from the mark before it, not from the file's beginning: a database dump is
/// one line of megabytes, and each of its entries has several places.
#[derive(Debug, Clone, Copy)]
struct Mark {
    offset: usize,
    line: usize,
    column: usize,
}

const BETWEEN_MARKS: usize = 1 << 10;

/// Larger files are refused as a mistake: reading them could exhaust the memory of a small machine.
const MAX_BYTES: u64 = 64 << 20;

/// Why there is no [`Source`].
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Unread {
    Missing,
    /// Already reported.
    Reported,
}

impl Source {
    /// Reads a UTF-8 file; a byte order mark is skipped.
    pub fn read(path: &Path, report: &Report) -> Result<Self, Unread> {
        let name: Arc<str> = path.display().to_string().into();
        let bytes = match read_limited(path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                return Err(Unread::Missing);
            }
            Err(error) => {
                report.fatal(Place::whole(&name), &format!("cannot be read: {error}"));
                return Err(Unread::Reported);
            }
        };
        Self::from_bytes(name, path, bytes, report)
    }

    pub fn from_bytes(
        name: Arc<str>,
        path: &Path,
        bytes: Vec<u8>,
        report: &Report,
    ) -> Result<Self, Unread> {
        let path = path.to_owned();
        let mut text = match String::from_utf8(bytes) {
            Ok(text) => text,
            Err(error) => {
                let sound = error.utf8_error().valid_up_to();
                let mut bytes = error.into_bytes();
                bytes.truncate(sound);
                let text = String::from_utf8(bytes).unwrap_or_default();
                let source = Self::new(name, path, text);
                report.fatal(
                    source.place(sound),
                    "this byte is not UTF-8: save the file as UTF-8",
                );
                return Err(Unread::Reported);
            }
        };
        if text.starts_with('\u{feff}') {
            text.remove(0);
        }
        Ok(Self::new(name, path, text))
    }

    pub fn new(name: Arc<str>, path: PathBuf, text: String) -> Self {
        Self {
            name,
            path,
            text,
            is_settings: false,
            marks: OnceLock::new(),
        }
    }

    /// Like [`Source::new`], for `ostia.toml` and the variables that override it.
    pub fn settings(name: Arc<str>, path: PathBuf, text: String) -> Self {
        Self {
            is_settings: true,
            ..Self::new(name, path, text)
        }
    }

    /// Line and column of a byte offset.
    pub fn place(&self, offset: usize) -> Place {
        let marks = self.marks.get_or_init(|| marks(&self.text));
        let before = marks.partition_point(|mark| mark.offset <= offset);
        let mut mark = marks[..before].last().copied().unwrap_or(Mark::START);
        let rest = self.text.get(mark.offset..offset);
        let rest = rest.or_else(|| self.text.get(mark.offset..)).unwrap_or("");
        rest.chars().for_each(|character| mark.pass(character));
        Place {
            source: Arc::clone(&self.name),
            position: Some((mark.line, mark.column)),
        }
    }
}

impl Mark {
    const START: Self = Self {
        offset: 0,
        line: 1,
        column: 1,
    };

    const fn pass(&mut self, character: char) {
        self.offset += character.len_utf8();
        if character == '\n' {
            self.line += 1;
            self.column = 1;
        } else {
            self.column += 1;
        }
    }
}

fn marks(text: &str) -> Vec<Mark> {
    let mut marks = Vec::with_capacity(text.len() / BETWEEN_MARKS + 1);
    let mut here = Mark::START;
    let mut due = 0;
    for character in text.chars() {
        if here.offset >= due {
            marks.push(here);
            due = here.offset + BETWEEN_MARKS;
        }
        here.pass(character);
    }
    marks
}

fn read_limited(path: &Path) -> std::io::Result<Vec<u8>> {
    use std::io::Read as _;
    let mut bytes = Vec::new();
    std::fs::File::open(path)?
        .take(MAX_BYTES + 1)
        .read_to_end(&mut bytes)?;
    if bytes.len() as u64 > MAX_BYTES {
        return Err(std::io::Error::other("it is larger than 64 MiB"));
    }
    Ok(bytes)
}

/// Resolves a path from a file, relative to that file's folder.
pub(super) fn resolve_path(folder: &Path, path: &str) -> PathBuf {
    if folder.as_os_str() == "." {
        return PathBuf::from(path);
    }
    folder.join(path)
}

/// Says why a file cannot be used, if so.
pub(super) fn check_readable(path: &Path) -> Result<Vec<u8>, String> {
    read_limited(path).map_err(|error| format!("`{}` cannot be read: {error}", path.display()))
}

/// The folder that a file stands in.
pub(super) fn folder_of(file: &Path) -> PathBuf {
    match file.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder.to_owned(),
        _ => PathBuf::from("."),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_where_they_would_be_counted_from_the_beginning() {
        let lines = "é, \u{1f600}, a\n".repeat(400);
        let one_line = "ü{},".repeat(1_500);
        for text in [
            "",
            "a",
            "\n\n",
            &lines,
            &one_line,
            &format!("{one_line}{lines}\n"),
        ] {
            let source = Source::new("f".into(), PathBuf::new(), text.to_owned());
            for (offset, _) in text.char_indices().chain([(text.len(), ' ')]) {
                let before = &text[..offset];
                let line = before.matches('\n').count() + 1;
                let last = before.rsplit('\n').next().unwrap();
                let expected = Some((line, last.chars().count() + 1));
                assert_eq!(source.place(offset).position, expected, "{offset}");
            }
        }
    }
}
