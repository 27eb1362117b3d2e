//! Holds the order of the rooms: each names only rooms that stand before it in the list of docs/ARCHITECTURE.md.
#![expect(clippy::expect_used, reason = "this is test code")]

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

/// Room -> the rooms it names, each with a place that does.
type Graph = BTreeMap<String, BTreeMap<String, String>>;

#[test]
fn no_room_names_one_after_it() {
    let order = order();
    let place = |room: &str| order.iter().position(|name| name == room);
    let mut offences = Vec::new();
    for (room, named) in graph() {
        for (other, at) in named {
            match (place(&room), place(&other)) {
                (Some(here), Some(there)) if there < here => {}
                _ => offences.push(format!("{at}: {room} names {other}")),
            }
        }
    }
    assert!(offences.is_empty(), "{offences:#?}");
}

#[test]
fn the_list_holds_every_room_once() {
    let listed = order();
    let unique: BTreeSet<&String> = listed.iter().collect();
    assert_eq!(unique.len(), listed.len(), "a room is listed twice");
    let rooms = rooms();
    assert_eq!(
        unique,
        rooms.keys().collect(),
        "docs/ARCHITECTURE.md lists other rooms than there are"
    );
}

#[test]
fn every_room_opens_with_what_comes_in_and_what_goes_out() {
    for (room, files) in rooms() {
        let text = fs::read_to_string(&files[0]).expect("a readable source file");
        let head: String = text
            .lines()
            .take_while(|line| line.starts_with("//!"))
            .collect();
        for word in ["In:", "Out:", "Not here:"] {
            assert!(head.contains(word), "{room}: no `{word}`");
        }
    }
}

/// The words of the block behind the line that introduces it.
fn order() -> Vec<String> {
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/ARCHITECTURE.md");
    let text = fs::read_to_string(page).expect("docs/ARCHITECTURE.md");
    let (_, behind) = text
        .split_once("**Order of rooms.**")
        .expect("a paragraph that begins with **Order of rooms.**");
    let block = behind.split("\n\n").find(|block| block.starts_with("    "));
    let words = block.expect("an indented block").split_whitespace();
    words.map(str::to_owned).collect()
}

fn graph() -> Graph {
    let rooms = rooms();
    let mut graph = Graph::new();
    for (room, files) in &rooms {
        let named = graph.entry(room.clone()).or_default();
        for (index, file) in files.iter().enumerate() {
            let text = fs::read_to_string(file).expect("a readable source file");
            for (number, line) in code(&text) {
                let at = format!("{}:{number}", file.display());
                for other in named_in(line).filter(|other| other != room) {
                    named.entry(other).or_insert_with(|| at.clone());
                }
                // From a room's first file, `super` is the crate itself.
                assert!(
                    index != 0 || !line.contains("super::"),
                    "{at}: write `crate::`"
                );
            }
        }
    }
    graph
}

/// Lines that are neither comments nor tests, with their numbers.
fn code(text: &str) -> impl Iterator<Item = (usize, &str)> {
    let end = text.find("#[cfg(test)]\nmod tests {").unwrap_or(text.len());
    let lines = text[..end].lines().enumerate();
    lines
        .filter(|(_, line)| !line.trim_start().starts_with("//"))
        .map(|(at, line)| (at + 1, line))
}

/// Every `NAME` behind `crate::`.
fn named_in(line: &str) -> impl Iterator<Item = String> {
    line.split("crate::").skip(1).map(move |behind| {
        let is_name = |c: char| c.is_ascii_alphanumeric() || c == '_';
        let end = behind.find(|c| !is_name(c)).unwrap_or(behind.len());
        assert!(end > 0, "name one room a `use`: {line}");
        behind[..end].to_owned()
    })
}

/// Room -> its files without tests, the one that opens it first.
fn rooms() -> BTreeMap<String, Vec<PathBuf>> {
    let src = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut rooms = BTreeMap::new();
    for entry in fs::read_dir(&src).expect("the sources") {
        let path = entry.expect("an entry").path();
        let stem = path.file_stem().and_then(|stem| stem.to_str());
        let name = stem.expect("a name in UTF-8").to_owned();
        if path.is_dir() {
            let first = path.join("mod.rs");
            let mut files = rust_files(&path);
            files.retain(|file| *file != first);
            files.insert(0, first);
            rooms.insert(name, files);
        } else if name != "lib" {
            rooms.insert(name, vec![path]);
        }
    }
    rooms
}

fn rust_files(folder: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in fs::read_dir(folder).expect("a readable folder") {
        let path = entry.expect("an entry").path();
        if path.file_stem().is_some_and(|stem| stem == "tests") {
            continue;
        }
        if path.is_dir() {
            files.extend(rust_files(&path));
        } else if path.extension().is_some_and(|kind| kind == "rs") {
            files.push(path);
        }
    }
    files
}
