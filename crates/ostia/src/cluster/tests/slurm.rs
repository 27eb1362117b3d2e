use serde_json::{Value, json};

use super::{deployments, names, scheduler};
use crate::catalog::Scheduler;
use crate::cluster::Jobs;
use crate::cluster::mapping::Mapping;
use crate::cluster::slurm::read;

const NOW: i64 = 1_700_000_000;

/// Slurm 21.08, data parser v0.0.37: plain words and numbers.
pub(super) fn slurm_21_08() -> Value {
    let job = |id: u32, name: &str, comment: &str, state: &str, start: i64, priority: u32| {
        json!({
            "account": "ai", "admin_comment": "", "array_job_id": 0, "batch_host": "gpu01", "comment": comment,
            "job_id": id, "job_state": state, "name": name, "nodes": "gpu01", "partition": "gpu",
            "priority": priority, "start_time": start, "state_reason": "None", "user_name": "svc",
            "command": "/lus/svc/run.sh --api-key hidden",
        })
    };
    json!({
        "meta": {"plugin": {"type": "openapi/v0.0.37", "name": "Slurm OpenAPI v0.0.37"},
                 "Slurm": {"version": {"major": 21, "micro": 8, "minor": 8}, "release": "21.08.8"}},
        "errors": [],
        "jobs": [
            job(11, "org-big-70b", "", "RUNNING", NOW - 60, 100),
            job(12, "anything", "ostia:small,other prod", "PENDING", NOW + 600, 50),
            job(13, "someone-elses", "", "PENDING", 0, 90),
            job(14, "gone", "ostia:gone", "COMPLETED", NOW - 9000, 1),
            job(15, "held", "ostia:held", "SUSPENDED", NOW - 9000, 1),
        ],
    })
}

/// Slurm 23.11 and later, data parser v0.0.40: lists of states, numbers that may be unset.
pub(super) fn slurm_23_11() -> Value {
    let number = |set: bool, number: i64| json!({"set": set, "infinite": false, "number": number});
    let job = |id: u32, name: &str, comment: &str, state: &[&str], start: Value, priority: i64| {
        json!({
            "account": "ai", "admin_comment": "", "comment": comment, "job_id": id, "job_state": state,
            "name": name, "partition": "gpu", "priority": number(true, priority), "start_time": start,
            "time_limit": number(true, 240), "user_name": "svc", "job_resources": {"nodes": {"count": 1}},
        })
    };
    json!({
        "jobs": [
            job(21, "org-big-70b", "", &["RUNNING"], number(true, NOW - 60), 1),
            job(22, "small", "", &["RUNNING", "CONFIGURING"], number(true, NOW - 5), 1),
            job(23, "other", "", &["PENDING"], number(false, 0), 70),
            job(24, "x", "", &["PENDING"], number(true, NOW + 60), 80),
            job(25, "held", "", &["CANCELLED"], number(true, NOW - 60), 1),
        ],
        "last_backfill": number(true, NOW), "last_update": number(true, NOW),
        "meta": {"plugin": {"data_parser": "data_parser/v0.0.40"}, "slurm": {"version": {"major": "23"}}},
        "errors": [], "warnings": [],
    })
}

fn jobs(listing: &Value, config: &Value) -> Jobs {
    let deployments = deployments(&["org/Big-70B", "small", "other", "gone", "held"]);
    let scheduler = scheduler(config);
    let mapping = Mapping::new(&scheduler, &deployments);
    read(listing.to_string().as_bytes(), &mapping, NOW).unwrap()
}

#[test]
fn the_listing_of_21_08() {
    let jobs = jobs(&slurm_21_08(), &json!({}));
    assert_eq!(names(&jobs.running), ["org/Big-70B"]);
    assert_eq!(names(&jobs.queued), ["small,other"]);
    // Job 13 has the higher priority, although this site's users may not see it.
    assert_eq!(jobs.queued[0].shown["Queue Position"], 2);
    assert_eq!(jobs.queued[0].expected_start, Some(NOW + 600));
    assert_eq!(
        jobs.queued[0].shown["Expected Start"],
        "2023-11-14T22:23:20Z"
    );
    assert_eq!(names(&jobs.others), ["held"]);
    assert!(jobs.complete && jobs.stopped.is_empty());
    assert!(!format!("{jobs:?}").contains("hidden"));
}

#[test]
fn the_listing_of_23_11() {
    let jobs = jobs(&slurm_23_11(), &json!({"jobs": {"x": ["held", "gone"]}}));
    assert_eq!(names(&jobs.running), ["org/Big-70B"]);
    assert_eq!(names(&jobs.queued), ["small", "other", "held,gone"]);
    assert!(jobs.queued[0].starting);
    assert_eq!(jobs.queued[1].expected_start, None);
    assert_eq!(jobs.queued[1].shown["Queue Position"], 2);
    assert_eq!(jobs.queued[2].expected_start, Some(NOW + 60));
    assert!(jobs.others.is_empty());
}

#[test]
fn names_of_jobs_and_models() {
    let deployments = deployments(&["org/Big-70B", "small", "a/same", "b/same"]);
    let scheduler = scheduler(&json!({"job_name_prefix": "serve-", "jobs": {"nightly": "small"}}));
    let mapping = Mapping::new(&scheduler, &deployments);
    for (job, comment, models) in [
        ("serve-big-70b", "", vec!["org/Big-70B"]),
        ("serve-ORG/BIG-70B", "", vec!["org/Big-70B"]),
        ("serve-orgbig-70b", "", vec!["org/Big-70B"]),
        ("serve-org-big-70b", "", vec!["org/Big-70B"]),
        ("big-70b", "", vec![]),
        ("serve-", "", vec![]),
        ("serve-same", "", vec!["a/same", "b/same"]),
        ("nightly", "", vec!["small"]),
        (
            "nightly",
            "run; ostia:org/Big-70B; prod",
            vec!["org/Big-70B"],
        ),
        ("serve-small", "ostia:", vec!["small"]),
        ("other", "ostia: small", vec![]),
    ] {
        assert_eq!(mapping.models(job, &[comment]), models, "{job} {comment}");
    }
}

#[test]
fn what_is_no_listing_is_an_error() {
    let deployments = deployments(&["m"]);
    let scheduler = Scheduler::default();
    let mapping = Mapping::new(&scheduler, &deployments);
    for text in ["", "{}", "[]", "{\"jobs\": 3}", "slurm_load_jobs error"] {
        assert!(read(text.as_bytes(), &mapping, NOW).is_err(), "{text}");
    }
    let empty = read(b"{\"jobs\": []}", &mapping, NOW).unwrap();
    assert!(empty.complete && empty.running.is_empty());
}

#[test]
fn a_controller_that_does_not_answer_stops_no_model() {
    let deployments = deployments(&["m"]);
    let scheduler = Scheduler::default();
    let mapping = Mapping::new(&scheduler, &deployments);
    let errors = json!([{"description": "Unable to contact slurm controller (connect failure)", "error_number": 1007}]);
    let nothing = json!({"jobs": [], "errors": errors});
    let error = read(nothing.to_string().as_bytes(), &mapping, NOW).unwrap_err();
    assert!(error.detail.contains("controller"), "{error:?}");
    assert!(!error.message.contains("controller"), "{error:?}");
    // Jobs that were listed count; models without one are unknown.
    let some = json!({"jobs": [{"name": "m", "job_state": "RUNNING"}], "errors": errors});
    let jobs = read(some.to_string().as_bytes(), &mapping, NOW).unwrap();
    assert_eq!(names(&jobs.running), ["m"]);
    assert!(!jobs.complete);
}

fn read_page(page: impl AsRef<[u8]>) -> Jobs {
    let deployments = deployments(&["org/Big-70B", "small", "other", "gone", "held"]);
    let scheduler = Scheduler::default();
    let mapping = Mapping::new(&scheduler, &deployments);
    read(page.as_ref(), &mapping, NOW).unwrap()
}

#[test]
fn what_users_write_into_comments_hides_no_job() {
    let page = format!("{:#}", slurm_21_08());
    let (before, after) = page
        .split_once("\"/lus/svc/run.sh --api-key hidden\"")
        .unwrap();
    for value in [
        &br#""ab\,c""#[..],
        br#""it's "quoted" and it\'s""#,
        br#""MYDOMAIN\myuser""#,
        b"005",
        b"1e999",
        b"Infinity",
        b"\"two\nlines\"",
        b"\"M\xfcller\"",
    ] {
        let jobs = read_page([before.as_bytes(), value, after.as_bytes()].concat());
        let shown = String::from_utf8_lossy(value);
        assert_eq!(names(&jobs.running), ["org/Big-70B"], "{shown}");
        assert_eq!(names(&jobs.queued), ["small,other"], "{shown}");
        assert!(jobs.complete && jobs.faults.count() > 0, "{shown}");
    }
}

#[test]
fn a_job_that_is_none_hides_no_other() {
    for wrong in [json!(null), json!("x"), json!([1]), json!(7)] {
        let mut listing = slurm_23_11();
        listing["jobs"][4] = wrong;
        let jobs = read_page(listing.to_string());
        assert_eq!(names(&jobs.running), ["org/Big-70B"]);
        assert_eq!(names(&jobs.queued), ["small", "other"]);
        assert!(!jobs.complete && jobs.faults.count() == 1);
    }
    for key in [
        "name",
        "comment",
        "admin_comment",
        "partition",
        "start_time",
        "priority",
        "job_state",
    ] {
        for wrong in [
            json!(null),
            json!({"x": 1}),
            json!([]),
            json!(-1.5),
            json!(true),
        ] {
            let mut listing = slurm_23_11();
            listing["jobs"][3][key] = wrong.clone();
            let jobs = read_page(listing.to_string());
            assert_eq!(names(&jobs.running), ["org/Big-70B"], "{key} {wrong}");
            assert_eq!(names(&jobs.queued), ["small", "other"], "{key} {wrong}");
        }
    }
    let mut listing = slurm_23_11();
    listing["jobs"][0]["job_state"] = json!(null);
    assert_eq!(
        names(&read_page(listing.to_string()).others),
        ["org/Big-70B"]
    );
}

#[test]
fn text_around_the_listing_keys_twice_and_a_cut_end() {
    let page = slurm_23_11().to_string();
    for around in [
        format!("\u{feff}{page}"),
        format!("squeue: warning: node[1-3] down\n{page}\nslurm_load: {{}}"),
    ] {
        let jobs = read_page(around);
        assert_eq!(names(&jobs.running), ["org/Big-70B"]);
        assert!(jobs.complete && jobs.faults.count() > 0);
    }
    let twice = page.replace("\"account\":", "\"name\":\"x\",\"account\":");
    assert_eq!(names(&read_page(twice).running), ["org/Big-70B"]);
    let cut = page.find("\"other\"").unwrap();
    let jobs = read_page(&page[..cut]);
    assert_eq!(names(&jobs.running), ["org/Big-70B"]);
    assert!(!jobs.complete);
}

#[test]
fn numbers_and_names_in_other_spellings() {
    let job = |name: &str, start: Value, priority: Value| json!({"name": name, "job_state": "PENDING", "partition": "gpu", "start_time": start, "priority": priority});
    let set = |number: Value| json!({"set": true, "infinite": false, "number": number});
    let listing = json!({"jobs": [
        job("small ", json!("1700000060"), json!("5")),
        job("\tother", json!(1_700_000_060.0), json!(9.5)),
        job("gone", set(json!(1_700_000_060.0)), set(json!("7"))),
        job("held", json!("soon"), json!(null)),
    ]});
    let jobs = read_page(listing.to_string());
    assert_eq!(names(&jobs.queued), ["small", "other", "gone", "held"]);
    let told: Vec<_> = jobs
        .queued
        .iter()
        .map(|job| (job.shown["Queue Position"].clone(), job.expected_start))
        .collect();
    let start = Some(NOW + 60);
    assert_eq!(
        told,
        [
            (json!(3), start),
            (json!(1), start),
            (json!(2), start),
            (json!(4), None)
        ]
    );
}

#[test]
fn states_in_other_forms() {
    for (state, place) in [
        (json!("R"), "running"),
        (json!("RUNNING "), "running"),
        (json!({"current": ["RUNNING"], "reason": "None"}), "running"),
        (json!({"current": "PENDING"}), "queued"),
        (json!("PD"), "queued"),
        (json!("CF"), "queued"),
        (json!("RUNNING+CONFIGURING"), "queued"),
        (json!(["PENDING", "REQUEUED"]), "queued"),
        (json!("RUNNING,COMPLETING"), "others"),
        (json!("CG"), "others"),
        (json!(["SUSPENDED"]), "others"),
        (json!(1), "others"),
        // A state that this Slurm does not have yet.
        (json!(["EXPEDITED"]), "others"),
        (json!("CANCELLED by 100"), "over"),
        (json!("TO"), "over"),
        (json!(["COMPLETED"]), "over"),
        (json!(["NODE_FAIL", "REQUEUED"]), "over"),
    ] {
        let listing = json!({"jobs": [{"name": "small", "job_state": state}]});
        let jobs = read_page(listing.to_string());
        let places = [
            ("running", &jobs.running),
            ("queued", &jobs.queued),
            ("others", &jobs.others),
        ];
        let found = places.iter().find(|(_, jobs)| !jobs.is_empty());
        assert_eq!(found.map_or("over", |(place, _)| place), place, "{state}");
    }
    let accounting = json!({"jobs": [{"name": "small", "state": {"current": ["RUNNING"]}}]});
    assert_eq!(names(&read_page(accounting.to_string()).running), ["small"]);
}

#[test]
fn errors_of_any_shape_stop_no_model() {
    let deployments = deployments(&["small"]);
    let scheduler = Scheduler::default();
    let mapping = Mapping::new(&scheduler, &deployments);
    for member in [
        json!({"errors": "Unable to contact slurm controller"}),
        json!({"errors": {"error": "Unable to contact slurm controller"}}),
        json!({"errors": ["Unable to contact slurm controller"]}),
        json!({"error": "Unable to contact slurm controller"}),
    ] {
        let mut nothing = member.clone();
        nothing["jobs"] = json!([]);
        let error = read(nothing.to_string().as_bytes(), &mapping, NOW).unwrap_err();
        assert!(error.detail.contains("controller"), "{member}: {error:?}");
        let mut some = member.clone();
        some["jobs"] = json!([{"name": "small", "job_state": "RUNNING"}]);
        let jobs = read(some.to_string().as_bytes(), &mapping, NOW).unwrap();
        assert!(!jobs.complete && !jobs.running.is_empty(), "{member}");
    }
    for member in [
        json!({"errors": []}),
        json!({"errors": {}}),
        json!({"error": ""}),
        json!({"error": null}),
    ] {
        let mut sound = member.clone();
        sound["jobs"] = json!([]);
        let jobs = read(sound.to_string().as_bytes(), &mapping, NOW).unwrap();
        assert!(jobs.complete, "{member}");
    }
}
