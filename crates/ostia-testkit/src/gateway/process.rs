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

/// The `ostia` binary with a site, as a process of its own. Killed when dropped.
pub struct Process {
    child: Child,
    log: Arc<Mutex<Vec<u8>>>,
    /// Where it listens, once it does; `Gone` when its log has ended.
    state: watch::Receiver<State>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Starting,
    Listening {
        address: SocketAddr,
        admin: SocketAddr,
    },
    Gone,
}

impl Process {
    /// Starts `ostia serve` without waiting for anything. The site has to be prepared.
    pub fn spawn(binary: &Path, site: &Site) -> Self {
        // A shell in between, so that a file that may not grow is an error and no signal: as a full disk is. And the umask
        // of somebody who did not think of it.
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
        let stderr = child.stderr.take().unwrap();
        let into = Arc::clone(&log);
        std::thread::spawn(move || follow(stderr, &into, &said));
        Self { child, log, state }
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

    fn pid(&self) -> Pid {
        Pid::from_child(&self.child)
    }

    pub fn log_text(&self) -> String {
        String::from_utf8_lossy(&self.log.lock()).into_owned()
    }

    fn listening(&self) -> (SocketAddr, SocketAddr) {
        match *self.state.borrow() {
            State::Listening { address, admin } => (address, admin),
            other => panic!("it does not listen ({other:?}): {}", self.log_text()),
        }
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
            let (status, log) = self.ended().await;
            assert!(status.success(), "{status}: {log}");
        })
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

fn follow(stderr: ChildStderr, log: &Mutex<Vec<u8>>, said: &watch::Sender<State>) {
    for line in BufReader::new(stderr).split(b'\n') {
        let Ok(line) = line else { break };
        if let Some(listening) = listening(&line) {
            said.send_replace(listening);
        }
        let mut log = log.lock();
        log.extend_from_slice(&line);
        log.push(b'\n');
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
    })
}
