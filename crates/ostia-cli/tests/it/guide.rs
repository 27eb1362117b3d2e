//! The blocks of README.md and docs/guide.md that are whole files: written out chapter by chapter, each has to pass
//! `ostia check` without a word of complaint.

use std::collections::BTreeMap;
use std::path::Path;

use super::site::Site;

#[test]
fn every_chapter_of_the_guide_can_be_followed_as_printed() {
    let chapters = chapters("docs/guide.md");
    let with_endpoints = chapters
        .values()
        .filter(|files| files.contains_key("fixtures/endpoints.json"));
    assert!(with_endpoints.count() >= 5, "{:?}", chapters.keys());
    for (title, files) in &chapters {
        follow(title, files);
    }
}

#[test]
fn the_readme_can_be_followed_as_printed() {
    let chapters = chapters("README.md");
    assert!(!chapters.is_empty());
    for (title, files) in &chapters {
        follow(title, files);
    }
}

type Files = BTreeMap<String, String>;

fn follow(title: &str, files: &Files) {
    let site = Site::empty();
    std::fs::create_dir(site.path("fixtures")).unwrap();
    for (name, text) in files {
        site.write(name, text);
    }
    if !files.contains_key("fixtures/endpoints.json") {
        // A chapter on `ostia.toml` alone goes with any fixtures.
        site.write("fixtures/clusters.json", CLUSTER);
        site.write("fixtures/endpoints.json", ENDPOINT);
    }
    let env_file: &[&str] = match files.contains_key("secrets.env") {
        true => &["--env-file", "secrets.env"],
        false => &[],
    };
    let ended = site.run(&[&["check"], env_file].concat());
    assert_eq!(ended.code, Some(0), "{title}: {ended:?}");
    let complaints: Vec<&str> = ended
        .stderr
        .lines()
        .filter(|line| !line.contains("on more than one host domain"))
        .collect();
    assert!(complaints.is_empty(), "{title}: {complaints:?}");
}

const CLUSTER: &str = r#"[{"model": "resource_server_async.cluster", "pk": 1, "fields": {
    "cluster_name": "lab", "frameworks": ["vllm"], "openai_endpoints": ["chat/completions"]}}]"#;
const ENDPOINT: &str = r#"[{"model": "resource_server_async.endpoint", "pk": 1, "fields": {
    "cluster": "lab", "framework": "vllm", "model": "m", "config": {"api_url": "http://127.0.0.1:9/v1"}}}]"#;

/// Chapter -> file -> text, from blocks that begin with ```` ```LANGUAGE FILE ````.
fn chapters(page: &str) -> BTreeMap<String, Files> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../..")
        .join(page);
    let text = std::fs::read_to_string(path).unwrap();
    let mut chapters: BTreeMap<String, Files> = BTreeMap::new();
    let mut title = String::new();
    let mut lines = text.lines();
    while let Some(line) = lines.next() {
        if let Some(heading) = line.strip_prefix("## ") {
            heading.clone_into(&mut title);
        }
        let Some(info) = line.trim_start().strip_prefix("```") else {
            continue;
        };
        let indent = line.len() - line.trim_start().len();
        let body: Vec<&str> = lines
            .by_ref()
            .take_while(|line| line.trim() != "```")
            .map(|line| line.get(indent..).unwrap_or(""))
            .collect();
        if let Some((_, name)) = info.split_once(' ') {
            let files = chapters.entry(title.clone()).or_default();
            files.insert(name.to_owned(), body.join("\n") + "\n");
        }
    }
    chapters
}
