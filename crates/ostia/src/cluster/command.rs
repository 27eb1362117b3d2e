use std::process::Stdio;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::process::Command;

use super::JobsError;
use crate::catalog::Scheduler;

/// A big machine's queue is a few tens of MiB.
pub(super) const MAX_OUTPUT: u64 = 64 << 20;
const MAX_COMPLAINT: u64 = 4 << 10;

/// The variables that schedulers' commands need. They do not get the others, which include backend keys.
const PASSED: [&str; 9] = [
    "HOME",
    "USER",
    "LOGNAME",
    "TZ",
    "SLURM_CONF",
    "PBS_CONF_FILE",
    "PBS_SERVER",
    "KRB5CCNAME",
    "LD_LIBRARY_PATH",
];

/// Runs a command and returns its output. The command is killed if it takes longer than `limit` or writes too much.
pub(super) async fn run(scheduler: &Scheduler, limit: Duration) -> Result<Vec<u8>, JobsError> {
    tokio::time::timeout(limit, run_to_end(scheduler))
        .await
        .unwrap_or_else(|_| Err(JobsError::timeout()))
}

async fn run_to_end(scheduler: &Scheduler) -> Result<Vec<u8>, JobsError> {
    let program = scheduler.find_program().map_err(failed)?;
    let mut command = Command::new(program);
    command
        .args(scheduler.command.iter().skip(1))
        .env_clear()
        .envs(
            PASSED
                .iter()
                .filter_map(|name| Some((name, std::env::var_os(name)?))),
        )
        .env("PATH", scheduler.path())
        .env("LC_ALL", "C")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true);
    let mut child = command.spawn().map_err(|error| failed(error.to_string()))?;
    let (output, complaint) = tokio::join!(
        read(child.stdout.take(), MAX_OUTPUT),
        read_and_drain(child.stderr.take(), MAX_COMPLAINT),
    );
    let output = output.map_err(|error| failed(error.to_string()))?;
    if output.len() as u64 > MAX_OUTPUT {
        return Err(failed(format!("it wrote more than {MAX_OUTPUT} bytes")));
    }
    let status = child
        .wait()
        .await
        .map_err(|error| failed(error.to_string()))?;
    if !status.success() {
        let complaint = complaint.unwrap_or_default();
        let complaint = String::from_utf8_lossy(&complaint);
        return Err(failed(format!("{status}: {}", complaint.trim())));
    }
    Ok(output)
}

/// Reads at most `most` bytes, and one more if there is one.
async fn read(pipe: Option<impl AsyncRead + Unpin>, most: u64) -> std::io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    if let Some(pipe) = pipe {
        pipe.take(most + 1).read_to_end(&mut bytes).await?;
    }
    Ok(bytes)
}

/// Keeps the beginning and discards the rest, so that a program that writes many warnings is not killed by a closed
/// pipe.
async fn read_and_drain(
    pipe: Option<impl AsyncRead + Unpin>,
    most: u64,
) -> std::io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    if let Some(mut pipe) = pipe {
        (&mut pipe).take(most).read_to_end(&mut bytes).await?;
        tokio::io::copy(&mut pipe, &mut tokio::io::sink()).await?;
    }
    Ok(bytes)
}

fn failed(detail: String) -> JobsError {
    JobsError::new("The cluster's scheduler could not be asked.").with_detail(detail)
}
