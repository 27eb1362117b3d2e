use jiff::tz::TimeZone;
use serde_json::{Value, json};

use super::{deployments, names};
use crate::catalog::Scheduler;
use crate::cluster::Jobs;
use crate::cluster::mapping::Mapping;
use crate::cluster::pbs::read;

const NOW: i64 = 1_700_000_000;

/// PBS Professional 19.2: times as text.
pub(super) fn pbs_19() -> Value {
    json!({
        "timestamp": 1_700_000_000, "pbs_version": "19.2.8.20200925072630", "pbs_server": "pbs-01",
        "Jobs": {
            "101.pbs-01": {
                "Job_Name": "small", "Job_Owner": "svc@login", "job_state": "R", "queue": "prod",
                "comment": "Job run at Tue Nov 14 at 20:13 on (x3001:ncpus=64)", "qtime": "Tue Nov 14 20:00:00 2023",
                "Variable_List": {"PBS_O_HOME": "/home/svc", "API_KEY": "hidden"}, "exec_host": "x3001/0*64",
            },
            "103.pbs-01": {
                "Job_Name": "STDIN", "job_state": "Q", "queue": "prod", "qtime": "Tue Nov 14 22:10:00 2023",
                "comment": "Not Running: Insufficient amount of resource: ncpus",
                "estimated": {"exec_vnode": "(x3002:ncpus=64)", "start_time": "Tue Nov 14 23:13:20 2023"},
                "Variable_List": {"OSTIA_MODELS": "org/Big-70B,other"},
            },
            "102.pbs-01": {
                "Job_Name": "nobodys", "job_state": "Q", "queue": "prod", "qtime": "Tue Nov 14 22:00:00 2023",
            },
            "100.pbs-01": {"Job_Name": "gone", "job_state": "F", "queue": "prod"},
        },
    })
}

/// OpenPBS 23.06: seconds as numbers, names of digits unquoted.
pub(super) fn openpbs_23() -> Value {
    json!({
        "timestamp": 1_700_000_000, "pbs_version": "23.06.06", "pbs_server": "pbs",
        "Jobs": {
            "1[].pbs": {"Job_Name": 70, "job_state": "B", "queue": "gpu", "qtime": NOW - 50, "array": true},
            "2.pbs": {"Job_Name": "small", "job_state": "H", "queue": "gpu", "qtime": NOW - 40},
            "3.pbs": {"Job_Name": "other", "job_state": "Q", "queue": "gpu", "qtime": NOW - 30,
                       "estimated": {"start_time": NOW + 120}},
            "4.pbs": {"Job_Name": "gone", "job_state": "E", "queue": "gpu"},
            "5.pbs": {"Job_Name": "org-big-70b", "job_state": "S", "queue": "gpu"},
        },
    })
}

fn jobs(listing: &str) -> Jobs {
    let deployments = deployments(&["org/Big-70B", "small", "other", "gone", "70"]);
    let scheduler = Scheduler::default();
    let mapping = Mapping::new(&scheduler, &deployments);
    read(listing.as_bytes(), &mapping, NOW, &TimeZone::UTC).unwrap()
}

#[test]
fn the_listing_of_19() {
    let jobs = jobs(&pbs_19().to_string());
    assert_eq!(names(&jobs.running), ["small"]);
    assert_eq!(names(&jobs.queued), ["org/Big-70B,other"]);
    assert_eq!(jobs.queued[0].shown["Queue Position"], 2);
    assert_eq!(jobs.queued[0].expected_start, Some(NOW + 3600));
    assert!(jobs.others.is_empty() && jobs.complete);
    assert!(!format!("{jobs:?}").contains("hidden"));
}

#[test]
fn the_listing_of_23() {
    let jobs = jobs(&openpbs_23().to_string());
    assert_eq!(names(&jobs.running), ["70"]);
    assert_eq!(names(&jobs.queued), ["small", "other"]);
    assert_eq!(jobs.queued[0].expected_start, None);
    assert_eq!(jobs.queued[1].expected_start, Some(NOW + 120));
    assert_eq!(names(&jobs.others), ["gone", "org/Big-70B"]);
}

#[test]
fn control_characters_that_pbs_writes_as_they_are() {
    let text = pbs_19().to_string().replace("Job run at", "Job\trun\nat");
    assert_eq!(names(&jobs(&text).running), ["small"]);
}

#[test]
fn without_jobs_the_key_may_be_missing() {
    let none = jobs(r#"{"timestamp": 1, "pbs_version": "20.0.1", "pbs_server": "s"}"#);
    assert!(none.complete && none.running.is_empty());
    let deployments = deployments(&["m"]);
    let scheduler = Scheduler::default();
    let mapping = Mapping::new(&scheduler, &deployments);
    for text in [
        "",
        "{}",
        "qstat: cannot connect to server",
        "{\"Jobs\": []}",
    ] {
        let read = read(text.as_bytes(), &mapping, NOW, &TimeZone::UTC);
        assert!(read.is_err(), "{text}");
    }
}

/// The listing of 19 with another user's job in its middle, which has this value as a variable.
fn with_variable(value: &[u8]) -> Jobs {
    let text = format!("{:#}", pbs_19());
    let (before, after) = text.split_once("\"hidden\"").unwrap();
    let deployments = deployments(&["org/Big-70B", "small", "other", "gone", "70"]);
    let scheduler = Scheduler::default();
    let mapping = Mapping::new(&scheduler, &deployments);
    let page = [before.as_bytes(), value, after.as_bytes()].concat();
    read(&page, &mapping, NOW, &TimeZone::UTC).unwrap()
}

#[test]
fn what_users_write_into_variables_hides_no_job() {
    for value in [
        &br#""ab\,c""#[..],
        br#""it\'s""#,
        br#""say "hi" to all""#,
        br#""MYDOMAIN\myuser""#,
        br#""C:\Users\x\""#,
        br#""{"json": "inside"}""#,
        b"005",
        b"1e999",
        b"NaN",
        b"\"two\nlines\"",
        b"\"\x1b[1m\"",
        b"\"M\xfcller\"",
        b"null",
        b"",
    ] {
        let jobs = with_variable(value);
        let shown = String::from_utf8_lossy(value);
        assert_eq!(names(&jobs.running), ["small"], "{shown}");
        assert_eq!(names(&jobs.queued), ["org/Big-70B,other"], "{shown}");
        assert_eq!(jobs.queued[0].shown["Queue Position"], 2, "{shown}");
        assert!(jobs.complete, "{shown}");
        assert_eq!(
            jobs.faults.count() > 0,
            !matches!(value, b"null"),
            "{shown}"
        );
        let fault = jobs.faults.first().unwrap_or("at line 12, column 1");
        assert!(fault.contains("at line 1"), "{fault}");
    }
}

#[test]
fn a_job_that_is_none_hides_no_other() {
    for wrong in [json!(null), json!("x"), json!([1]), json!(7)] {
        let mut listing = pbs_19();
        listing["Jobs"]["102.pbs-01"] = wrong;
        let jobs = jobs(&listing.to_string());
        assert_eq!(names(&jobs.running), ["small"]);
        assert_eq!(names(&jobs.queued), ["org/Big-70B,other"]);
        // The models of the unreadable job may be running.
        assert!(!jobs.complete && jobs.faults.count() == 1);
    }
    for key in [
        "Job_Name",
        "job_state",
        "queue",
        "qtime",
        "comment",
        "estimated",
        "Variable_List",
    ] {
        for wrong in [json!(null), json!({"x": 1}), json!([]), json!(1e300)] {
            let mut listing = pbs_19();
            listing["Jobs"]["102.pbs-01"][key] = wrong.clone();
            let jobs = jobs(&listing.to_string());
            assert_eq!(names(&jobs.running), ["small"], "{key} {wrong}");
            assert_eq!(names(&jobs.queued), ["org/Big-70B,other"], "{key} {wrong}");
        }
    }
}

#[test]
fn a_job_without_a_state_may_run() {
    let mut listing = pbs_19();
    listing["Jobs"]["101.pbs-01"]["job_state"] = json!(null);
    let jobs = jobs(&listing.to_string());
    assert_eq!(names(&jobs.others), ["small"]);
    assert_eq!(jobs.others[0].shown["Model Status"], "unknown");
}

/// `qsub -v` with a list: PBS puts a backslash before its commas, which its JSON may double.
#[test]
fn models_in_a_variable_may_have_escaped_commas() {
    let page = pbs_19().to_string();
    for commas in [r"\,", r"\\,"] {
        let page = page.replace("org/Big-70B,other", &format!("org/Big-70B{commas}other"));
        assert_eq!(names(&jobs(&page).queued), ["org/Big-70B,other"], "{page}");
    }
}

#[test]
fn text_around_the_listing_and_a_cut_end() {
    let page = format!("{:#}", pbs_19());
    for around in [
        format!("\u{feff}{page}"),
        format!("qstat: warning: {{node}} [down]\n{page}\nbye"),
    ] {
        let jobs = jobs(&around);
        assert_eq!(names(&jobs.running), ["small"]);
        assert!(jobs.complete && jobs.faults.count() > 0);
    }
    let cut = page.find("\"103.pbs-01\"").unwrap() + 100;
    let jobs = jobs(&page[..cut]);
    assert_eq!(names(&jobs.running), ["small"]);
    assert!(jobs.queued.is_empty() && !jobs.complete);
}

#[test]
fn variables_in_other_forms() {
    for variables in [
        json!("PBS_O_HOME=/home/svc,OSTIA_MODELS=org/Big-70B\\,other,X=1"),
        json!("OSTIA_MODELS=org/Big-70B\\,other"),
        json!(["PBS_O_HOME=/home/svc", "OSTIA_MODELS=org/Big-70B\\,other"]),
        json!([{"OSTIA_MODELS": "org/Big-70B,other"}]),
        json!({"OSTIA_MODELS": ["org/Big-70B", "other"]}),
        json!({"OSTIA_MODELS": "\"org/Big-70B,other\""}),
    ] {
        let mut listing = pbs_19();
        listing["Jobs"]["103.pbs-01"]["Variable_List"] = variables.clone();
        let jobs = jobs(&listing.to_string());
        assert_eq!(names(&jobs.queued), ["org/Big-70B,other"], "{variables}");
    }
    for variables in [
        json!("NOT_OSTIA_MODELS=org/Big-70B"),
        json!({"OSTIA_MODELS": 7}),
        json!(null),
    ] {
        let mut listing = pbs_19();
        listing["Jobs"]["103.pbs-01"]["Variable_List"] = variables.clone();
        let jobs = jobs(&listing.to_string());
        assert!(jobs.queued.is_empty(), "{variables}");
    }
}

#[test]
fn states_and_times_in_other_forms() {
    for (state, time) in [
        ("q", json!("1699999140")),
        (" Q ", json!(1_699_999_140.5)),
        ("Queued", json!("2023-11-14T21:59:00")),
    ] {
        let mut listing = pbs_19();
        let job = &mut listing["Jobs"]["103.pbs-01"];
        job["job_state"] = json!(state);
        job["qtime"] = time.clone();
        job["estimated"]["start_time"] = json!("1700003600.0");
        let jobs = jobs(&listing.to_string());
        assert_eq!(names(&jobs.queued), ["org/Big-70B,other"], "{state}");
        assert_eq!(jobs.queued[0].shown["Queue Position"], 1, "{time}");
        assert_eq!(jobs.queued[0].expected_start, Some(NOW + 3600), "{time}");
    }
    let mut listing = pbs_19();
    listing["Jobs"]["101.pbs-01"]["job_state"] = json!("Running");
    assert_eq!(names(&jobs(&listing.to_string()).running), ["small"]);
}

/// `qstat -f -F json @a @b`, and array jobs, whose ids have brackets.
#[test]
fn several_servers_and_array_jobs() {
    let server = |name: &str, job: &str| {
        let jobs = json!({format!("7[].{name}"): {"Job_Name": job, "job_state": "B"}, format!("7[3].{name}"): {"Job_Name": job, "job_state": "R"}});
        format!("{:#}", json!({"pbs_server": name, "Jobs": jobs}))
    };
    let page = format!("{}\n{}\n", server("a", "small"), server("b", "other"));
    let jobs = jobs(&page);
    assert_eq!(names(&jobs.running), ["small", "small", "other", "other"]);
    assert!(jobs.complete);
}

#[test]
fn an_error_in_the_listing_stops_no_model() {
    let deployments = deployments(&["small"]);
    let scheduler = Scheduler::default();
    let mapping = Mapping::new(&scheduler, &deployments);
    let text = r#"{"timestamp": 1, "pbs_version": "20", "error": "Unauthorized Request"}"#;
    let error = read(text.as_bytes(), &mapping, NOW, &TimeZone::UTC).unwrap_err();
    assert!(error.detail.contains("Unauthorized"), "{error:?}");
}
