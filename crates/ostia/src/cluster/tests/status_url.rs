use http::StatusCode;
use serde_json::{Value, json};

use super::names;
use crate::cluster::status_url::read;
use crate::cluster::{Job, Jobs};

fn jobs(page: &Value) -> Jobs {
    read(page.to_string().as_bytes()).unwrap()
}

#[test]
fn an_entry_stands_for_its_experts_or_else_for_its_model() {
    let jobs = jobs(&json!({
        "a": {"status": "Live", "model": "m1", "experts": ["e1", "e2"]},
        "b": {"status": "LIVE", "model": "m2", "experts": []},
        "c": {"status": "live", "model": "m3", "experts": "not a list"},
        "d": {"status": "Stopped", "model": "m4"},
        "e": {"status": "stopped", "model": "m5"},
        "f": {"status": "Starting", "model": "m6"},
        "g": {"model": "m7"},
        "h": {"status": "Live"},
    }));
    assert_eq!(names(&jobs.running), ["e1,e2", "m2", "m3"]);
    assert_eq!(names(&jobs.stopped), ["m4", "m5"]);
    assert_eq!(names(&jobs.queued), ["m6", "m7"]);
    assert_eq!(jobs.queued[0].shown["Model Status"], "starting");
    assert_eq!(jobs.queued[1].shown["Model Status"], "unknown");
    assert!(!jobs.complete);
}

#[test]
fn a_list_of_names_is_all_live() {
    assert_eq!(
        names(&jobs(&json!({"models": ["a", "b"]})).running),
        ["a", "b"]
    );
    assert_eq!(jobs(&json!({"models": []})), Jobs::default());
    assert!(read(br#"{"models": [1]}"#).is_err());
}

#[test]
fn private_values_reach_nobody() {
    let entry = json!({
        "status": "Live", "model": "m", "model_version": 4,
        "description": "maverick at https://gpu1.internal:8000/v1",
        "url": "https://gpu1.internal:8000/v1", "endpoint_id": "0ffd-77aa", "model_key": "sk-secret-1234",
    });
    let shown = |entry: &Value| -> Vec<Job> { jobs(&json!({"x": entry})).running };
    let text = format!("{:?}", shown(&entry));
    for private in ["internal", "0ffd", "sk-secret"] {
        assert!(!text.contains(private), "{text}");
    }
    let mut entry = entry;
    entry["description"] = json!("use key sk-secret-1234");
    let jobs = shown(&entry);
    assert!(!format!("{jobs:?}").contains("sk-secret"), "{jobs:?}");
    assert_eq!(jobs[0].shown["Model Version"], 4);
    entry["description"] = json!("maverick");
    assert_eq!(shown(&entry)[0].shown["Description"], "m - maverick");
}

#[test]
fn other_shapes_are_an_error_with_500() {
    for page in [
        "",
        "nothing",
        "[1]",
        "{\"a\": 1}",
        "3",
        "null",
        "{\"a\":",
        "\"text\"",
    ] {
        let error = read(page.as_bytes()).unwrap_err();
        assert_eq!(error.status, StatusCode::INTERNAL_SERVER_ERROR, "{page}");
        assert_eq!(error.code, "failed_to_get_cluster_jobs");
    }
}
