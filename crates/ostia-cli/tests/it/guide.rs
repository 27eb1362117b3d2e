//! The blocks of README.md and docs/guide.md that are whole files: written out chapter by chapter, each must pass
//! `ostia check` without any complaint.

use super::pages::{Files, chapters};
use super::site::Site;

#[test]
fn every_chapter_of_the_guide_can_be_followed_as_printed() {
    let chapters = chapters("docs/guide.md");
    let whole = chapters.iter().filter(|(_, files)| serves(files));
    assert!(whole.count() >= 5, "{chapters:?}");
    for (title, files) in &chapters {
        follow(title, files);
    }
}

#[test]
fn the_readme_can_be_followed_as_printed() {
    let chapters = chapters("README.md");
    assert!(chapters.iter().any(|(_, files)| serves(files)));
    for (title, files) in &chapters {
        follow(title, files);
    }
}

fn serves(files: &Files) -> bool {
    let settings = files.get("ostia.toml");
    settings.is_some_and(|text| text.contains("[[endpoints]]"))
}

fn follow(title: &str, files: &Files) {
    let site = Site::empty();
    for (name, text) in files {
        site.write(name, text);
    }
    if !serves(files) {
        // A chapter about some settings goes with any endpoints.
        std::fs::create_dir(site.path("fixtures")).unwrap();
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
        .filter(|line| !line.contains("nothing was called"))
        .collect();
    assert!(complaints.is_empty(), "{title}: {complaints:?}");
}

const CLUSTER: &str = r#"[{"model": "resource_server_async.cluster", "pk": 1, "fields": {
    "cluster_name": "lab", "frameworks": ["vllm"], "openai_endpoints": ["chat/completions"]}}]"#;
const ENDPOINT: &str = r#"[{"model": "resource_server_async.endpoint", "pk": 1, "fields": {
    "cluster": "lab", "framework": "vllm", "model": "m", "config": {"api_url": "http://127.0.0.1:9/v1"}}}]"#;
