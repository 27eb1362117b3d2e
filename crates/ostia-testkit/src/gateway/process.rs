use std::io::{BufRead as _, BufReader};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, ChildStderr, Command, ExitStatus, Stdio};
use std::sync::Arc;

use ostia_core::BoxFuture;
use parking_lot::Mutex;
use rustix::process::{Pid, Resource, Rlimit, Signal};
use serde_json::Value;
use tokio::sync::watch;

use super::{Site, Subject};
use crate::patience::within;

/// The `ostia` binary with a site, as a process of its own, or as the one that took over from it. Killed when dropped.
pub struct Process {
    child: Child,
    /// Whether a test killed `child`.
    killed: bool,
    log: Arc<Mutex<Vec<u8>>>,
    /// How many lines the log has.
    lines: watch::Receiver<usize>,
    /// Its address, once it listens; `Gone` when its log has ended.
    state: watch::Receiver<State>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Starting,
    Listening {
        address: SocketAddr,
        admin: SocketAddr,
        pid: i32,
    },
    Gone,
}

impl Process {
    /// Starts `ostia serve` without waiting for anything. The site has to be prepared.
    pub fn spawn(binary: &Path, site: &Site) -> Self {
        // A shell in between, so that a file at its size limit gives an error instead of a signal, as a full disk does.
        // It also sets a careless umask.
        let mut command = Command::new("/bin/sh");
        command
            .args([
                "-c",
                "trap '' XFSZ; umask 000; exec \"$0\" serve --config \"$1\"",
            ])
            .args([binary, &site.config_path()])
            .env_clear()
            .envs(site.variables())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let log = Arc::new(Mutex::new(Vec::new()));
        let (said, state) = watch::channel(State::Starting);
        let (counted, lines) = watch::channel(0);
        let stderr = child.stderr.take().unwrap();
        let into = Arc::clone(&log);
        std::thread::spawn(move || follow(stderr, &into, &said, &counted));
        Self {
            child,
            killed: false,
            log,
            lines,
            state,
        }
    }

    /// Starts it and waits until it listens.
    pub async fn start(binary: &Path, site: &Site) -> Self {
        let mut process = Self::spawn(binary, site);
        let decided = process.state.wait_for(|state| *state != State::Starting);
        let state = *within(|| "the gateway to listen".to_owned(), decided)
            .await
            .unwrap();
        assert!(state != State::Gone, "{}", process.log_text());
        process
    }

    /// SIGKILL. Its end comes with the next drop, its sockets are closed at once.
    pub fn kill(&self) {
        rustix::process::kill_process(self.pid(), Signal::KILL).unwrap();
    }

    /// SIGKILL for the process that was started here, after another one took over from it.
    pub fn kill_predecessor(&mut self) {
        self.child.kill().unwrap();
        self.killed = true;
    }

    pub fn signal(&self, signal: Signal) {
        rustix::process::kill_process(self.pid(), signal).unwrap();
    }

    /// Has the binary that is installed now take over, and waits until it has.
    pub async fn upgrade(&mut self) {
        let old = self.pid().as_raw_nonzero().get();
        self.signal(Signal::USR2);
        let taken = self.state.wait_for(|state| match state {
            State::Listening { pid, .. } => *pid != old,
            State::Starting => false,
            State::Gone => true,
        });
        let state = *within(|| "another process to take over".to_owned(), taken)
            .await
            .unwrap();
        assert!(state != State::Gone, "{}", self.log_text());
    }

    /// Waits until its log holds this text.
    pub async fn said(&mut self, text: &str) {
        let log = Arc::clone(&self.log);
        let holds = |_: &usize| String::from_utf8_lossy(&log.lock()).contains(text);
        within(
            || format!("{text:?} in the log"),
            self.lines.wait_for(holds),
        )
        .await
        .unwrap();
    }

    /// Waits until it ends by itself.
    pub async fn ended(mut self) -> (ExitStatus, String) {
        let gone = self.state.wait_for(|state| *state == State::Gone);
        within(|| "the gateway to end".to_owned(), gone)
            .await
            .unwrap();
        let status = self.child.wait().unwrap();
        (status, self.log_text())
    }

    /// From now on none of its files may grow beyond `bytes`; `None`: as far as they like.
    pub fn limit_files(&self, bytes: Option<u64>) {
        let limit = Rlimit {
            current: bytes,
            maximum: None,
        };
        rustix::process::prlimit(Some(self.pid()), Resource::Fsize, limit).unwrap();
    }

    /// How many files it may have open, to be changed while it runs.
    pub fn open_files_limit(&self) -> OpenFiles {
        OpenFiles {
            pid: self.pid(),
            // Inherited from this process.
            usual: rustix::process::getrlimit(Resource::Nofile),
        }
    }

    /// Of the process that serves now.
    pub fn pid(&self) -> Pid {
        match *self.state.borrow() {
            State::Listening { pid, .. } => Pid::from_raw(pid).unwrap(),
            _ => Pid::from_child(&self.child),
        }
    }

    pub fn log_text(&self) -> String {
        String::from_utf8_lossy(&self.log.lock()).into_owned()
    }

    fn listening(&self) -> (SocketAddr, SocketAddr) {
        match *self.state.borrow() {
            State::Listening { address, admin, .. } => (address, admin),
            other => panic!("it does not listen ({other:?}): {}", self.log_text()),
        }
    }
}

/// The limit of open files of a process.
pub struct OpenFiles {
    pid: Pid,
    usual: Rlimit,
}

impl OpenFiles {
    /// What it has above stays open.
    pub fn lower_to(&self, count: u64) {
        self.set(Some(count));
    }

    pub fn restore(&self) {
        self.set(self.usual.current);
    }

    fn set(&self, current: Option<u64>) {
        let limit = Rlimit {
            current,
            maximum: self.usual.maximum,
        };
        rustix::process::prlimit(Some(self.pid), Resource::Nofile, limit).unwrap();
    }
}

impl Subject for Process {
    fn address(&self) -> SocketAddr {
        self.listening().0
    }

    fn admin_address(&self) -> SocketAddr {
        self.listening().1
    }

    fn log(&self) -> Vec<u8> {
        self.log.lock().clone()
    }

    fn stop(self: Box<Self>) -> BoxFuture<'static, ()> {
        Box::pin(async move {
            rustix::process::kill_process(self.pid(), Signal::TERM).unwrap();
            let killed = self.killed;
            let (status, log) = self.ended().await;
            assert!(killed || status.success(), "{status}: {log}");
        })
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if *self.state.borrow() != State::Gone {
            rustix::process::kill_process(self.pid(), Signal::KILL).ok();
        }
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

fn follow(
    stderr: ChildStderr,
    log: &Mutex<Vec<u8>>,
    said: &watch::Sender<State>,
    counted: &watch::Sender<usize>,
) {
    for line in BufReader::new(stderr).split(b'\n') {
        let Ok(line) = line else { break };
        if let Some(listening) = listening(&line) {
            said.send_replace(listening);
        }
        let mut log = log.lock();
        log.extend_from_slice(&line);
        log.push(b'\n');
        drop(log);
        counted.send_modify(|count| *count += 1);
    }
    said.send_replace(State::Gone);
}

fn listening(line: &[u8]) -> Option<State> {
    let event: Value = serde_json::from_slice(line).ok()?;
    if event["message"] != "ostia listens" {
        return None;
    }
    let address = |key: &str| event[key].as_str()?.parse().ok();
    Some(State::Listening {
        address: address("listen")?,
        admin: address("admin")?,
        pid: i32::try_from(event["pid"].as_i64()?).ok()?,
    })
}
