use std::fs;
use std::os::unix::fs::PermissionsExt as _;

use serde_json::{Value, json};

use super::super::files::{Home, Record};
use super::super::site::Site;
use super::super::site::tests::site;
use super::*;

const ALL: [&dyn Configuration; 8] = [
    &Claude, &Codex, &Opencode, &Qwen, &Pi, &Aider, &Goose, &Continue,
];

fn of(wanted: Option<&str>) -> Site {
    site(wanted).unwrap()
}

fn configure(client: &dyn Configuration, home: &Home, site: &Site) -> String {
    let files = client.files(home);
    let changes: Result<Vec<_>, _> = files.iter().map(|file| file.change(site)).collect();
    let changes = changes.unwrap();
    let record = Record::of(home, client.name());
    record
        .write(&changes)
        .map_err(|failure| format!("{failure:?}"))
        .unwrap()
}

fn undo(client: &dyn Configuration, home: &Home) -> Result<String, String> {
    let record = Record::of(home, client.name());
    record.undo().map_err(|failure| format!("{failure:?}"))
}

/// A file written by its owner, for each file extension.
fn theirs(path: &std::path::Path) -> &'static str {
    match path.extension().and_then(|ending| ending.to_str()) {
        Some("json") => "{\"mine\": {\"a\": 1}, \"model\": \"other/model\"}",
        Some("toml") => "# mine\nmodel = \"other\"\n[profiles.mine]\nmodel = \"x\"\n",
        _ => "# mine\nmodel: other\nmine: 1\nmodels:\n  - name: mine\n",
    }
}

#[test]
fn files_are_written_once_and_undone_to_the_byte() {
    for client in ALL {
        for there in [false, true] {
            let folder = tempfile::tempdir().unwrap();
            let home = Home::at(folder.path());
            let files = client.files(&home);
            for file in files.iter().filter(|_| there) {
                fs::create_dir_all(file.path.parent().unwrap()).unwrap();
                fs::write(&file.path, theirs(&file.path)).unwrap();
            }
            let first = configure(client, &home, &of(None));
            assert_eq!(first.matches("is written").count(), files.len(), "{first}");
            let written: Vec<String> = files
                .iter()
                .map(|file| fs::read_to_string(&file.path).unwrap())
                .collect();
            let all = written.concat();
            assert!(all.contains("sk-ostia-canary"), "{all}");
            assert!(all.contains("org/big") && !all.contains("vectors"), "{all}");
            assert_eq!(all.contains("mine"), there, "{all}");
            for file in &files {
                let mode = fs::metadata(&file.path).unwrap().permissions().mode();
                assert_eq!(mode & 0o777, 0o600);
            }
            let again = configure(client, &home, &of(None));
            assert_eq!(
                again.matches("is already so").count(),
                files.len(),
                "{again}"
            );
            // Another model, then back to the files before any change.
            configure(client, &home, &of(Some("small")));
            undo(client, &home).unwrap();
            for file in &files {
                let now = fs::read_to_string(&file.path).ok();
                assert_eq!(
                    now.as_deref(),
                    there.then(|| theirs(&file.path)),
                    "{}",
                    client.name()
                );
            }
            assert!(undo(client, &home).is_err());
        }
    }
}

#[test]
fn a_file_that_was_changed_since_is_not_undone() {
    let folder = tempfile::tempdir().unwrap();
    let home = Home::at(folder.path());
    configure(&Opencode, &home, &of(None));
    let path = &Opencode.files(&home)[0].path;
    let mut text = fs::read_to_string(path).unwrap();
    text.push('\n');
    fs::write(path, &text).unwrap();
    assert!(
        undo(&Opencode, &home)
            .unwrap_err()
            .contains("was changed since")
    );
    assert_eq!(fs::read_to_string(path).unwrap(), text);
}

#[test]
fn what_cannot_be_read_is_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    let home = Home::at(folder.path());
    let path = &Claude.files(&home)[0].path;
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, "{ // mine\n}").unwrap();
    assert!(Claude.files(&home)[0].change(&of(None)).is_err());
}

fn rendered(client: &dyn Configuration, at: usize, before: Option<&str>) -> String {
    let home = Home::at(std::path::Path::new("/nowhere"));
    (client.files(&home)[at].render)(before, &of(None)).unwrap()
}

fn json_of(client: &dyn Configuration, at: usize) -> Value {
    serde_json::from_str(&rendered(client, at, None)).unwrap()
}

#[test]
fn each_agent_is_told_where_the_gateway_is_and_how_long_a_context_may_be() {
    let claude = &json_of(&Claude, 0)["env"];
    assert_eq!(claude["ANTHROPIC_BASE_URL"], "http://127.0.0.1:8000");
    assert_eq!(claude["ANTHROPIC_MODEL"], "org/big");
    assert_eq!(claude["CLAUDE_CODE_MAX_CONTEXT_TOKENS"], "200000");
    let opencode = json_of(&Opencode, 0);
    let big = &opencode["provider"]["ostia"]["models"]["org/big"];
    assert_eq!(big["limit"], json!({"context": 200_000, "output": 16_000}));
    assert_eq!(opencode["model"], "ostia/org/big");
    let qwen = json_of(&Qwen, 0);
    assert_eq!(
        qwen["security"]["auth"]["baseUrl"],
        "http://127.0.0.1:8000/v1"
    );
    let pi = json_of(&Pi, 0);
    assert_eq!(
        pi["providers"]["ostia"]["models"][0]["contextWindow"],
        200_000
    );
    assert_eq!(json_of(&Pi, 1)["defaultModel"], "org/big");
    assert_eq!(
        json_of(&Aider, 1)["openai/org/big"]["max_input_tokens"],
        200_000
    );
    let goose = json_of(&Goose, 0);
    assert_eq!(
        goose["base_url"],
        "http://127.0.0.1:8000/v1/chat/completions"
    );
    for (client, at, line) in [
        (&Codex as &dyn Configuration, 0, "model = \"org/big\""),
        (&Codex, 0, "model_context_window = 200000"),
        (&Codex, 0, "base_url = \"http://127.0.0.1:8000/v1\""),
        (&Aider, 0, "openai-api-base: \"http://127.0.0.1:8000/v1\""),
        (&Aider, 0, "model: \"openai/org/big\""),
        (&Goose, 1, "GOOSE_MODEL: \"org/big\""),
        (&Continue, 0, "  - name: \"Big \\\"8B\\\"\""),
        (&Continue, 0, "      contextLength: 200000"),
    ] {
        let text = rendered(client, at, None);
        assert!(text.lines().any(|one| one == line), "{line}: {text}");
    }
}

#[test]
fn codex_reads_its_keys_before_all_tables() {
    let text = rendered(&Codex, 0, Some("model = \"x\"\n[a]\nb = 1"));
    let at = |part: &str| text.find(part).unwrap_or_else(|| panic!("{part}: {text}"));
    assert!(at("model = \"org/big\"") < at("#ostia# model = \"x\""));
    assert!(at("#ostia# model = \"x\"") < at("[a]"));
    assert!(at("[a]") < at("[model_providers.ostia]"));
}
