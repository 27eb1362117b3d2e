//! When the job that this command runs in must end, according to its scheduler.

use std::process::Stdio;
use std::time::Duration;

use jiff::Timestamp;
use jiff::fmt::strtime::BrokenDownTime;
use jiff::tz::TimeZone;
use serde_json::Value;
use tokio::process::Command;

use crate::span::Moment;

const PATIENCE: Duration = Duration::from_secs(15);
/// Two years, in seconds. Slurm gives a year to jobs without a limit.
const LONGEST: i64 = 2 * 366 * 86_400;

/// The time from now until a given moment.
pub(super) fn until(moment: Moment) -> Duration {
    let now = Timestamp::now().as_microsecond();
    let left = moment.after(now).saturating_sub(now);
    Duration::from_micros(u64::try_from(left).unwrap_or(0))
}

/// The time left until the job's wall limit; `None`: this is not a job, or it has no limit.
pub(super) async fn time_left() -> Option<Duration> {
    let variable = |name| std::env::var(name).ok().filter(|text| !text.is_empty());
    let now = Timestamp::now().as_second();
    if let Some(left) = variable("SLURM_JOB_END_TIME").and_then(|text| end_time_left(&text, now)) {
        return Some(left);
    }
    if let Some(job) = variable("SLURM_JOB_ID") {
        let array = variable("SLURM_ARRAY_JOB_ID").zip(variable("SLURM_ARRAY_TASK_ID"));
        // The id of one of the tasks is that of the whole array.
        let job = array.map_or(job, |(array, task)| format!("{array}_{task}"));
        return slurm_left(&output("squeue", &["-h", "-j", &job, "-o", "%L"]).await?);
    }
    if let Some(job) = variable("PBS_JOBID") {
        let told = output("qstat", &["-f", "-F", "json", &job]).await;
        let left = told.and_then(|told| pbs_left(&told, now, &TimeZone::system()));
        // Torque gives the limit from the job's start, which was a moment ago.
        return left.or_else(|| Some(seconds(clock_time(&variable("PBS_WALLTIME")?)?)));
    }
    None
}

/// Whether this runs in a job.
pub(super) fn is_one() -> bool {
    ["SLURM_JOB_ID", "PBS_JOBID"]
        .iter()
        .any(|name| std::env::var_os(name).is_some())
}

/// A moment that has passed is from before the limit was extended, and one that is far away stands for none.
fn end_time_left(text: &str, now: i64) -> Option<Duration> {
    let left = text.parse::<i64>().ok()?.checked_sub(now)?;
    (1..=LONGEST).contains(&left).then(|| seconds(left))
}

/// `squeue` has a line for each part of a job; the first to end counts.
fn slurm_left(text: &str) -> Option<Duration> {
    text.lines().filter_map(line_left).min()
}

/// `%L`: days-hours:minutes:seconds, without the leading parts that are zero.
fn line_left(text: &str) -> Option<Duration> {
    let text = text.trim();
    let (days, clock) = text.split_once('-').unwrap_or(("0", text));
    let days: i64 = days.parse().ok()?;
    Some(seconds(
        days.checked_mul(86_400)?.checked_add(clock_time(clock)?)?,
    ))
}

/// OpenPBS and PBS Professional: the limit, and when the job began or how long it has run.
fn pbs_left(text: &str, now: i64, zone: &TimeZone) -> Option<Duration> {
    let told: Value = serde_json::from_str(text).ok()?;
    let job = told["Jobs"].as_object()?.values().next()?;
    let limit = clock_time(job["Resource_List"]["walltime"].as_str()?)?;
    let began = job["stime"].as_str().and_then(|text| {
        let read = BrokenDownTime::parse("%a %b %d %H:%M:%S %Y", text.trim()).ok()?;
        let at = read.to_datetime().ok()?.to_zoned(zone.clone()).ok()?;
        Some(at.timestamp().as_second())
    });
    let used = || clock_time(job["resources_used"]["walltime"].as_str()?);
    let run = began.map_or_else(used, |began| Some(now - began));
    Some(seconds(limit - run.unwrap_or(0).max(0)))
}

/// `[[hours:]minutes:]seconds`, in seconds.
fn clock_time(text: &str) -> Option<i64> {
    let mut sum = 0_i64;
    for part in text.trim().split(':') {
        let part: i64 = part.parse().ok().filter(|part| *part >= 0)?;
        sum = sum.checked_mul(60)?.checked_add(part)?;
    }
    Some(sum)
}

fn seconds(left: i64) -> Duration {
    Duration::from_secs(u64::try_from(left).unwrap_or(0))
}

async fn output(program: &str, words: &[&str]) -> Option<String> {
    let mut command = Command::new(program);
    command
        .args(words)
        .stdin(Stdio::null())
        .stderr(Stdio::null());
    let done = tokio::time::timeout(PATIENCE, command.kill_on_drop(true).output()).await;
    let done = done.ok()?.ok().filter(|done| done.status.success())?;
    String::from_utf8(done.stdout).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn squeue_says_what_is_left_in_parts() {
        for (text, seconds) in [
            ("1-02:03:04\n", Some(93_784)),
            ("02:03:04", Some(7_384)),
            ("3:04", Some(184)),
            ("0:00", Some(0)),
            ("UNLIMITED", None),
            ("NOT_SET", None),
            ("INVALID", None),
            ("", None),
            ("-1:00", None),
            ("x-y", None),
            ("9223372036854775807-00:00:00", None),
            ("2:00\n1:00\nUNLIMITED\n", Some(60)),
        ] {
            assert_eq!(slurm_left(text), seconds.map(Duration::from_secs), "{text}");
        }
    }

    #[test]
    fn an_end_that_cannot_be_meant_is_not_believed() {
        let now = 1_800_000_000;
        for (text, seconds) in [
            ("1800000060", Some(60)),
            ("1831536000", Some(31_536_000)),
            ("1800000000", None),
            ("0", None),
            ("-5", None),
            ("soon", None),
            ("4294967294", None),
            ("9223372036854775807", None),
            ("-9223372036854775808", None),
        ] {
            let left = seconds.map(Duration::from_secs);
            assert_eq!(end_time_left(text, now), left, "{text}");
        }
    }

    #[test]
    fn qstat_says_the_limit_and_when_the_job_began() {
        let job = |more: &str| {
            format!(
                r#"{{"timestamp": 1, "Jobs": {{"7.pbs": {{"Resource_List": {{"walltime": "01:00:00"}}{more}}}}}}}"#
            )
        };
        let noon: Timestamp = "2026-11-30T12:00:00Z".parse().unwrap();
        let left = |more: &str| pbs_left(&job(more), noon.as_second(), &TimeZone::UTC);
        let minutes = |minutes: u64| Some(Duration::from_secs(60 * minutes));
        assert_eq!(
            left(r#", "stime": "Mon Nov 30 11:50:00 2026""#),
            minutes(50)
        );
        assert_eq!(
            left(r#", "stime": "Mon Nov 30 12:10:00 2026""#),
            minutes(60),
            "another clock"
        );
        assert_eq!(
            left(r#", "stime": "soon", "resources_used": {"walltime": "00:20:00"}"#),
            minutes(40)
        );
        assert_eq!(
            left(r#", "resources_used": {"walltime": "02:00:00"}"#),
            minutes(0)
        );
        assert_eq!(left(""), minutes(60));
        for wrong in [
            "",
            "{}",
            r#"{"Jobs": {}}"#,
            r#"{"Jobs": {"7": {"Resource_List": {"walltime": "long"}}}}"#,
        ] {
            assert_eq!(pbs_left(wrong, 0, &TimeZone::UTC), None, "{wrong}");
        }
    }
}
