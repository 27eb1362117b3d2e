//! Counts the instructions that a request takes, by stage, and compares them with a file of budgets. Counts do not depend
//! on how busy a machine is, so tests can hold them.

mod budget;
mod profile;

use crate::Result;
use crate::compare::Site;
use crate::compare::process::load;
use crate::compare::target::{Kind, Running, launch};
use budget::Budget;
use profile::Profile;
use std::path::{Path, PathBuf};
use std::time::Duration;
use tokio::process::Command;

#[derive(clap::Args)]
pub struct Args {
    /// The ostia program, built like this one
    #[arg(long)]
    ostia: PathBuf,
    /// What each stage may take
    #[arg(long)]
    budget: PathBuf,
    /// Write what was counted to the file of budgets
    #[arg(long)]
    write: bool,
}

struct Case {
    name: &'static str,
    requests: u32,
    args: &'static [&'static str],
}

const CASES: [Case; 3] = [
    Case {
        name: "plain",
        requests: 100,
        args: &[],
    },
    Case {
        name: "stream",
        requests: 20,
        args: &["--stream"],
    },
    Case {
        name: "32k",
        requests: 40,
        args: &["--prompt=32k"],
    },
];

/// Stages, and the function that each of them is. What SQLite takes depends on how many rows come together, which depends
/// on time, so it has no budget.
const STAGES: [(&str, &str); 5] = [
    // All that the connection's task does, sockets and hyper included.
    (
        "request",
        "ostia::listen::accept::Doorman<H>::admit::{{closure}}",
    ),
    // From the body to the right to send it on.
    ("enter", "ostia::pipeline::enter::{{closure}}"),
    // The backend's call and the answer's head and body, up to 256 KiB.
    ("dispatch", "ostia::pipeline::dispatch::{{closure}}"),
    // Reading the journal back.
    ("journal", "ostia::account::tail::Tail::read"),
    // The `usage` event.
    ("event", "ostia::account::usage_event::emit"),
];

/// Time for rows to leave the journal, at a profiler's speed.
const SETTLE: Duration = Duration::from_secs(3);

pub async fn run(args: Args) -> Result<()> {
    let mut site = Site::start(&args.ostia).await?;
    let out = site.folder.path().join("profile");
    site.under = [
        "valgrind".to_owned(),
        "--quiet".to_owned(),
        "--tool=callgrind".to_owned(),
        "--instr-atstart=no".to_owned(),
        format!("--callgrind-out-file={}", out.display()),
    ]
    .into();
    let running = launch(&site, Kind::Ostia).await?;
    let warm_up = Case {
        name: "warm-up",
        requests: 10,
        args: &["--stream"],
    };
    send(&site, &running, &warm_up).await?;
    let mut counted = Budget::default();
    for (number, case) in (1..).zip(CASES) {
        let profile = profile(
            &site,
            &running,
            &case,
            &out.with_extension(number.to_string()),
        )
        .await?;
        for (stage, function) in STAGES {
            let count = profile.of(function);
            let count = count.ok_or_else(|| format!("{}: {function} was not called", case.name))?;
            counted.note(case.name, stage, count / u64::from(case.requests));
        }
    }
    if args.write {
        return Ok(std::fs::write(&args.budget, counted.lines())?);
    }
    let budget = Budget::read(&std::fs::read_to_string(&args.budget)?)?;
    let (table, fits) = budget.compare(&counted);
    print!("{table}");
    match fits {
        true => Ok(()),
        false => Err("a stage takes more instructions than its budget".into()),
    }
}

async fn profile(site: &Site, running: &Running, case: &Case, out: &Path) -> Result<Profile> {
    control(running, &["--zero"]).await?;
    control(running, &["--instr=on"]).await?;
    send(site, running, case).await?;
    tokio::time::sleep(SETTLE).await;
    control(running, &["--instr=off"]).await?;
    control(running, &["--dump"]).await?;
    let text = std::fs::read(out).map_err(|error| format!("{}: {error}", out.display()))?;
    Ok(Profile::read(&String::from_utf8_lossy(&text)))
}

async fn send(site: &Site, running: &Running, case: &Case) -> Result<()> {
    let count = format!("--count={}", case.requests);
    let fixed = ["-c1", "--seconds=200", &count];
    let args: Vec<String> = fixed
        .iter()
        .chain(case.args)
        .map(|arg| (*arg).into())
        .collect();
    let report = load(&site.cores, &running.target, &args).await?;
    match report["requests"] == case.requests && report["errors"] == 0 {
        true => Ok(()),
        false => Err(format!("{}: not every request was answered: {report}", case.name).into()),
    }
}

async fn control(running: &Running, args: &[&str]) -> Result<()> {
    let process = running.process.as_ref().ok_or("has no process")?;
    let mut command = Command::new("callgrind_control");
    command.args(args).arg(process.pid.to_string());
    let output = command.output().await?;
    match output.status.success() {
        true => Ok(()),
        false => Err(String::from_utf8_lossy(&output.stderr).into_owned().into()),
    }
}
