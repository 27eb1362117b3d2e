//! Holds the order of the rooms: none on a request's path names a room after it.
#![expect(clippy::expect_used, reason = "this is test code")]

use std::fs;
use std::path::{Path, PathBuf};

/// A request's way. `error`, `app`, `admin`, `pipeline`, `models` and `telemetry` stand beside it or above it.
const PATH: [&str; 10] = [
    "listen",
    "identify",
    "read",
    "resolve",
    "authorize",
    "rank",
    "admit",
    "endpoint",
    "upstream",
    "relay",
];

#[test]
fn no_room_names_one_after_it() {
    let src = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut offences = Vec::new();
    for (at, room) in PATH.iter().enumerate() {
        let later: Vec<String> = PATH[at + 1..]
            .iter()
            .chain(&["account", "pipeline", "app", "admin"])
            .map(|name| format!("crate::{name}"))
            .collect();
        for file in rust_files(&src.join(room)) {
            let text = fs::read_to_string(&file).expect("a readable source file");
            for (number, line) in text.lines().enumerate() {
                if line.trim_start().starts_with("//") {
                    continue;
                }
                if let Some(name) = later.iter().find(|name| names(line, name)) {
                    offences.push(format!("{}:{}: {name}", file.display(), number + 1));
                }
            }
        }
    }
    assert!(offences.is_empty(), "{offences:#?}");
}

#[test]
fn every_room_opens_with_what_comes_in_and_what_goes_out() {
    let src = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    for entry in fs::read_dir(&src).expect("the sources") {
        let module = entry.expect("an entry").path().join("mod.rs");
        let Ok(text) = fs::read_to_string(&module) else {
            continue;
        };
        let head: Vec<&str> = text
            .lines()
            .take_while(|line| line.starts_with("//!"))
            .collect();
        let head = head.join(" ");
        for word in ["In:", "Out:", "Not here:"] {
            assert!(head.contains(word), "{}: no `{word}`", module.display());
        }
    }
}

/// Whether a line names exactly this room, and not one whose name begins alike.
fn names(line: &str, room: &str) -> bool {
    line.match_indices(room).any(|(at, found)| {
        let behind = line[at + found.len()..].chars().next();
        !behind.is_some_and(|next| next.is_alphanumeric() || next == '_')
    })
}

fn rust_files(folder: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).expect("a readable folder") {
            let path = entry.expect("an entry").path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|kind| kind == "rs") {
                files.push(path);
            }
        }
    }
    files
}
