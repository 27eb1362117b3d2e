//! Processes that the comparison starts, pins to a core, and stops.

use super::target::Target;
use crate::{Result, cpu};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use std::ffi::OsStr;
use std::net::SocketAddr;
use std::process::Stdio;
use std::time::{Duration, Instant};
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};

/// How long a process may take to stop before its whole process tree is killed.
const PATIENCE: Duration = Duration::from_secs(5);

/// The core of each role. On a machine with one core nothing is pinned, and the figures are less reliable.
pub struct Cores {
    load: Option<usize>,
    proxy: Option<usize>,
}

impl Cores {
    pub fn choose(load: usize, proxy: usize) -> Self {
        if std::thread::available_parallelism().is_ok_and(|cores| cores.get() > 1) {
            return Self {
                load: Some(load),
                proxy: Some(proxy),
            };
        }
        eprintln!("one core only: the proxy shares it with the load, and latencies mean little");
        Self::any()
    }

    /// Where the system puts them.
    pub const fn any() -> Self {
        Self {
            load: None,
            proxy: None,
        }
    }

    pub fn load(&self, program: impl AsRef<OsStr>) -> Command {
        pinned(self.load, program.as_ref())
    }

    pub fn proxy(&self, program: impl AsRef<OsStr>) -> Command {
        pinned(self.proxy, program.as_ref())
    }
}

/// setpriv and taskset both exec the program, so the process id is the program's own. The kernel kills it if this
/// process dies without stopping it.
fn pinned(core: Option<usize>, program: &OsStr) -> Command {
    let mut command = Command::new("setpriv");
    command.args(["--pdeathsig", "TERM"]);
    if let Some(core) = core {
        command.args(["taskset", "-c", &core.to_string()]);
    }
    command.arg(program).stdin(Stdio::null());
    command
}

/// A process that is stopped, with its children, when this value is dropped.
pub struct Process {
    child: Child,
    pub pid: u32,
}

impl Process {
    pub fn start(mut command: Command) -> Result<Self> {
        let child = command
            .spawn()
            .map_err(|error| format!("cannot start {:?}: {error}", command.as_std()))?;
        let pid = child.id().ok_or("ended at once")?;
        Ok(Self { child, pid })
    }

    pub fn ended(&mut self) -> bool {
        !matches!(self.child.try_wait(), Ok(None))
    }

    fn signal(pid: u32, signal: Signal) {
        // It does not matter if it has already ended.
        let _ = i32::try_from(pid)
            .ok()
            .and_then(Pid::from_raw)
            .map(|pid| kill_process(pid, signal));
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if self.ended() {
            return;
        }
        // First a request to stop, because nginx stops its worker only then.
        Self::signal(self.pid, Signal::TERM);
        let end = Instant::now() + PATIENCE;
        while !self.ended() {
            if Instant::now() > end {
                cpu::tree_of(self.pid)
                    .into_iter()
                    .for_each(|pid| Self::signal(pid, Signal::KILL));
                return;
            }
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}

/// The upstream of all targets.
pub struct Mock {
    pub process: Process,
    pub addr: SocketAddr,
}

impl Mock {
    pub async fn start(cores: &Cores) -> Result<Self> {
        let mut command = cores.load(std::env::current_exe()?);
        command.arg("mock").stdout(Stdio::piped());
        let mut process = Process::start(command)?;
        let line = first_line(&mut process).await?;
        let addr = line.rsplit(' ').next().unwrap_or_default().parse()?;
        Ok(Self { process, addr })
    }

    /// Sets how the mock streams from now on.
    pub async fn stream_as(&self, chunks: u64, interval_ms: u64) -> Result<()> {
        let target = Target::new(self.addr, None);
        target
            .get(&format!("/set?chunks={chunks}&interval_ms={interval_ms}"))
            .await
    }
}

/// Runs `bench load` and returns its report.
pub async fn load(cores: &Cores, target: &Target, args: &[String]) -> Result<Value> {
    let mut command = cores.load(std::env::current_exe()?);
    command
        .arg("load")
        .args(target.args())
        .args(args)
        .kill_on_drop(true)
        .stderr(Stdio::inherit());
    let output = command.output().await?;
    match output.status.success() {
        true => Ok(serde_json::from_slice(&output.stdout)?),
        false => Err("the load generator failed".into()),
    }
}

/// Runs `bench hold` until the returned value is dropped.
pub async fn hold(cores: &Cores, target: &Target, args: &[&str]) -> Result<Process> {
    let mut command = cores.load(std::env::current_exe()?);
    command
        .arg("hold")
        .args(target.args())
        .args(args)
        .stdout(Stdio::piped());
    let mut process = Process::start(command)?;
    first_line(&mut process).await?;
    Ok(process)
}

async fn first_line(process: &mut Process) -> Result<String> {
    let out = process.child.stdout.take().ok_or("no output")?;
    let line = BufReader::new(out).lines().next_line().await?;
    line.ok_or_else(|| "ended before it was ready".into())
}
