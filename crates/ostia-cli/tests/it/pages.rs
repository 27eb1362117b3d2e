//! The documents' code blocks, by chapter.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// Name to text.
pub type Files = BTreeMap<String, String>;

/// A block of a page, fenced or indented by four.
#[derive(Debug)]
pub struct Block {
    /// The heading above it.
    pub chapter: String,
    /// The file name in the line above it, which ends with a colon.
    pub file: Option<String>,
    /// The fence's language; empty for an indented block.
    pub language: String,
    pub lines: Vec<String>,
}

pub fn top() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// Chapter -> file -> text, in the order of their titles.
pub fn chapters(page: &str) -> Vec<(String, Files)> {
    let mut chapters: BTreeMap<String, Files> = BTreeMap::new();
    for block in blocks(page) {
        if let Some(name) = block.file {
            let files = chapters.entry(block.chapter).or_default();
            files.insert(name, block.lines.join("\n") + "\n");
        }
    }
    chapters.into_iter().collect()
}

pub fn blocks(page: &str) -> Vec<Block> {
    let text = std::fs::read_to_string(top().join(page)).unwrap();
    let mut blocks: Vec<Block> = Vec::new();
    let (mut chapter, mut above) = (String::new(), String::new());
    let mut lines = text.lines().peekable();
    while let Some(line) = lines.next() {
        let bare = line.trim_start();
        let indent = line.len() - bare.len();
        if let Some(heading) = line.strip_prefix("## ") {
            heading.clone_into(&mut chapter);
        } else if let Some(language) = bare.strip_prefix("```") {
            // A file's name stands above its block, where every forge shows it.
            assert!(!language.contains(' '), "{page}: {line}");
            let body = lines.by_ref().take_while(|line| line.trim() != "```");
            let body = body.map(|line| line.get(indent..).unwrap_or("").to_owned());
            blocks.push(Block {
                chapter: chapter.clone(),
                file: named(&above),
                language: language.to_owned(),
                lines: body.collect(),
            });
        } else if let Some(depth) = indented(line, &above) {
            let mut body = vec![line[depth..].to_owned()];
            while let Some(more) = lines.next_if(|line| {
                line.is_empty() || line.len() > depth && line[..depth].trim().is_empty()
            }) {
                body.push(more.get(depth..).unwrap_or("").to_owned());
            }
            blocks.push(Block {
                chapter: chapter.clone(),
                file: None,
                language: String::new(),
                lines: body,
            });
        }
        if !bare.is_empty() {
            bare.clone_into(&mut above);
        }
    }
    blocks
}

/// The indentation that makes a block: four, or seven in a numbered step.
fn indented(line: &str, above: &str) -> Option<usize> {
    let depth = line.len() - line.trim_start().len();
    let is_code = matches!(depth, 4 | 7) && !above.starts_with('|');
    is_code.then_some(depth)
}

/// `` `NAME`: ``
fn named(line: &str) -> Option<String> {
    let name = line.strip_prefix('`')?.strip_suffix("`:")?;
    (!name.contains('`')).then(|| name.to_owned())
}
