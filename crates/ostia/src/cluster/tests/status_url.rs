use http::StatusCode;
use serde_json::{Value, json};

use super::names;
use crate::cluster::status_url::read;
use crate::cluster::{Job, Jobs};

fn jobs(page: &Value) -> Jobs {
    read(page.to_string().as_bytes()).unwrap()
}

#[test]
fn an_entry_stands_for_its_model_and_its_experts() {
    let jobs = jobs(&json!({
        "a": {"status": "Live", "model": "m1", "experts": ["e1", "e2"]},
        "b": {"status": "LIVE", "model": "m2", "experts": []},
        "c": {"status": "live", "model": "m3", "experts": "not a list"},
        "d": {"status": "Stopped", "model": "m4", "experts": null},
        "e": {"status": "stopped", "model": " m5 ", "experts": ["m5", 7, ""]},
        "f": {"status": "Starting", "experts": ["m6"]},
        "g": {"model": "m7"},
        "h": {"status": "Live"},
        "i": {"status": 3, "model": "m9"},
        "j": {"model": ["m8", "m10"]},
        "k": {"status": true, "model": "m11"},
        "l": {"status": false, "model": "m12"},
    }));
    assert_eq!(names(&jobs.running), ["m1,e1,e2", "m2", "m3", "m11"]);
    assert_eq!(names(&jobs.stopped), ["m4", "m5", "m12"]);
    assert_eq!(names(&jobs.queued), ["m6", "m7", "m9", "m8,m10"]);
    assert_eq!(jobs.queued[0].shown["Model Status"], "starting");
    assert_eq!(jobs.queued[1].shown["Model Status"], "unknown");
    assert!(!jobs.complete);
    assert_eq!(jobs.faults.count(), 0);
}

#[test]
fn a_list_of_names_is_all_live() {
    for page in [
        json!({"models": ["a", "b"]}),
        json!({"models": ["a", {"model": "b", "status": "Live"}], "updated": "today"}),
    ] {
        assert_eq!(names(&jobs(&page).running), ["a", "b"]);
    }
    assert_eq!(jobs(&json!({"models": []})), Jobs::default());
    assert!(read(br#"{"models": [1]}"#).is_err());
    let page = read(br#"{"models": ["a", 1, null, "b"]}"#).unwrap();
    assert_eq!((names(&page.running).len(), page.faults.count()), (2, 2));
    // An entry may itself be called `models`.
    let page = json!({"models": {"status": "Live", "model": "a"}});
    assert_eq!(names(&jobs(&page).running), ["a"]);
}

/// Each of these is placed between two sound entries, which must be read.
#[test]
fn one_bad_entry_hides_no_other() {
    for (bad, read_too) in [
        (&b"null"[..], false),
        (b"\"maintenance\"", false),
        (b"[{\"status\": \"Live\", \"model\": \"x\"}]", false),
        (b"17", false),
        (
            b"{\"status\": \"Live\", \"model\": \"x\", \"load\": NaN}",
            true,
        ),
        (
            b"{\"status\": \"Live\", \"model\": \"x\", \"at\": 1e999}",
            true,
        ),
        (
            b"{\"status\": \"Live\", \"model\": \"x\", \"id\": 007}",
            true,
        ),
        (
            b"{\"status\": \"Live\", \"model\": \"x\", \"description\": \"M\xfcnchen\"}",
            true,
        ),
        (
            b"{\"status\": \"Live\", \"model\": \"x\", \"description\": \"a\nb\"}",
            true,
        ),
        (
            b"{\"status\": \"Live\", \"model\": \"x\", \"description\": \"the \"best\" one\"}",
            true,
        ),
    ] {
        let shown = String::from_utf8_lossy(bad).into_owned();
        let (first, last) = (
            &b"{\"1\": {\"status\": \"Live\", \"model\": \"a\"}, \"2\": "[..],
            &b", \"3\": {\"status\": \"Live\", \"model\": \"b\"}}"[..],
        );
        let jobs = read(&[first, bad, last].concat()).unwrap();
        let expected = if read_too {
            vec!["a", "x", "b"]
        } else {
            vec!["a", "b"]
        };
        assert_eq!(names(&jobs.running), expected, "{shown}");
        let fault = jobs.faults.first().unwrap();
        assert!(fault.contains("line 1, column"), "{shown}: {fault}");
    }
    let page = "{\"1\": {\"status\": \"Live\", \"model\": \"a\"}}";
    for page in [
        format!("\u{feff}{page}"),
        format!("\u{1b}[32m{page}\u{1b}[0m"),
        format!("// status\n{page}"),
        page.replace('"', "'").replace("'a'", "\"a\""),
    ] {
        let jobs = read(page.as_bytes()).unwrap();
        assert_eq!(names(&jobs.running), ["a"], "{page}");
    }
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
        "{\"detail\": {\"message\": \"sign in\"}}",
        "<html><script>x = {\"a\": {\"b\": 1}}</script></html>",
    ] {
        let error = read(page.as_bytes()).unwrap_err();
        assert_eq!(error.status, StatusCode::INTERNAL_SERVER_ERROR, "{page}");
        assert_eq!(error.code, "failed_to_get_cluster_jobs");
    }
}
