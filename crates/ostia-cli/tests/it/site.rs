use std::io::{BufRead as _, BufReader, Read as _, Seek as _, Write as _};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use serde_json::{Value, json};
use tempfile::TempDir;

/// Far longer than anything here takes, so only a hang reaches it.
const PATIENCE: Duration = Duration::from_secs(60);

/// An installation in a folder of its own.
pub struct Site {
    folder: TempDir,
}

/// A command's output and exit code.
#[derive(Debug)]
pub struct Ended {
    pub code: Option<i32>,
    pub stdout: String,
    pub stderr: String,
}

/// A running gateway, killed if the test fails before it ends.
pub struct Gateway {
    child: Child,
    log: Receiver<String>,
    printed: Receiver<Vec<u8>>,
}

/// Both ends of a terminal.
pub struct Terminal {
    here: OwnedFd,
    there: OwnedFd,
}

impl Terminal {
    pub fn open(columns: u16) -> Self {
        use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
        let here = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC).unwrap();
        grantpt(&here).unwrap();
        unlockpt(&here).unwrap();
        let name = ptsname(&here, Vec::new()).unwrap();
        let flags =
            rustix::fs::OFlags::RDWR | rustix::fs::OFlags::NOCTTY | rustix::fs::OFlags::CLOEXEC;
        let there = rustix::fs::open(&name, flags, rustix::fs::Mode::empty()).unwrap();
        let size = rustix::termios::Winsize {
            ws_row: 24,
            ws_col: columns,
            ws_xpixel: 0,
            ws_ypixel: 0,
        };
        rustix::termios::tcsetwinsize(&there, size).unwrap();
        Self { here, there }
    }

    /// The end to give to a process.
    pub fn end(&self) -> OwnedFd {
        self.there.try_clone().unwrap()
    }

    /// Everything that processes write until the last of them ends.
    fn read_to_end(self) -> String {
        let Self { here, there } = self;
        drop(there);
        let mut shown = Vec::new();
        // Linux reports an error when the last writer has gone.
        let _ = std::fs::File::from(here).read_to_end(&mut shown);
        String::from_utf8(shown).unwrap().replace("\r\n", "\n")
    }
}

impl Site {
    /// One cluster and one endpoint, whose backend is not called; both listeners use any free port.
    pub fn new() -> Self {
        let site = Self::empty();
        site.write(
            "ostia.toml",
            "[server]\nlisten = \"127.0.0.1:0\"\nadmin_listen = \"127.0.0.1:0\"\nstate_dir = \"state\"\n\
             [fixtures]\nclusters = \"clusters.json\"\nendpoints = \"endpoints.json\"\n",
        );
        let cluster = json!({
            "cluster_name": "sophia", "frameworks": ["vllm"], "openai_endpoints": ["chat/completions", "embeddings"],
        });
        let endpoint = json!({
            "cluster": "sophia", "framework": "vllm", "model": "org/model",
            "config": {"api_url": "http://127.0.0.1:9/v1?secret=canary"},
        });
        site.write("clusters.json", &fixture("cluster", &cluster));
        site.write("endpoints.json", &fixture("endpoint", &endpoint));
        std::fs::create_dir(site.path("state")).unwrap();
        site
    }

    pub fn empty() -> Self {
        Self {
            folder: tempfile::tempdir().unwrap(),
        }
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub fn write(&self, name: &str, text: &str) {
        std::fs::write(self.path(name), text).unwrap();
    }

    pub fn names(&self) -> Vec<String> {
        let names = std::fs::read_dir(self.folder.path()).unwrap();
        let mut names: Vec<String> = names
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    }

    pub fn run(&self, words: &[&str]) -> Ended {
        ended(&mut command(self.folder.path(), words))
    }

    pub fn run_with(&self, variables: &[(&str, &str)], words: &[&str]) -> Ended {
        ended(command(self.folder.path(), words).envs(variables.iter().copied()))
    }

    /// With this text on standard input.
    pub fn run_reading(&self, text: &str, words: &[&str]) -> Ended {
        let mut input = tempfile::tempfile().unwrap();
        input.write_all(text.as_bytes()).unwrap();
        input.rewind().unwrap();
        ended(command(self.folder.path(), words).stdin(input))
    }

    /// Like [`Site::run`], on a terminal with this many columns; returns what it showed.
    pub fn run_on_terminal(
        &self,
        columns: u16,
        variables: &[(&str, &str)],
        words: &[&str],
    ) -> String {
        let terminal = Terminal::open(columns);
        let mut child = command(self.folder.path(), words)
            .envs(variables.iter().copied())
            .stdout(terminal.end())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let shown = terminal.read_to_end();
        assert!(child.wait().unwrap().success(), "{words:?}: {shown}");
        shown
    }

    /// Like [`Site::run`], for a command that must succeed; returns the JSON on its stdout.
    pub fn json(&self, words: &[&str]) -> Value {
        let ended = self.run(words);
        assert_eq!(ended.code, Some(0), "{words:?}: {ended:?}");
        serde_json::from_str(&ended.stdout).unwrap()
    }

    pub fn serve(&self, words: &[&str]) -> Gateway {
        self.serve_with(&[], words)
    }

    pub fn serve_with(&self, variables: &[(&str, &str)], words: &[&str]) -> Gateway {
        self.serve_on(Stdio::null(), variables, words)
    }

    /// With this as standard input.
    pub fn serve_on(
        &self,
        stdin: impl Into<Stdio>,
        variables: &[(&str, &str)],
        words: &[&str],
    ) -> Gateway {
        let words: Vec<&str> = ["serve"].iter().chain(words).copied().collect();
        self.start_on(stdin, variables, &words)
    }

    /// Starts a command, and does not wait for its end.
    pub fn start(&self, variables: &[(&str, &str)], words: &[&str]) -> Gateway {
        self.start_on(Stdio::null(), variables, words)
    }

    fn start_on(
        &self,
        stdin: impl Into<Stdio>,
        variables: &[(&str, &str)],
        words: &[&str],
    ) -> Gateway {
        let mut command = command(self.folder.path(), words);
        command.envs(variables.iter().copied()).stdin(stdin);
        started(command)
    }

    /// Starts a script as a scheduler does, with the programs of the folder `bin` before the machine's.
    pub fn start_script(&self, variables: &[(&str, &str)], name: &str) -> Gateway {
        let machine = std::env::var("PATH").unwrap();
        let mut command = Command::new("bash");
        command
            .arg(self.path(name))
            .current_dir(self.folder.path())
            .env_clear()
            .env("HOME", self.folder.path())
            .env("PATH", format!("{}:{machine}", self.path("bin").display()))
            .envs(variables.iter().copied())
            .stdin(Stdio::null());
        started(command)
    }
}

fn started(mut command: Command) -> Gateway {
    let mut child = command
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdout = child.stdout.take().unwrap();
    let (sender, printed) = channel();
    std::thread::spawn(move || {
        let mut piece = [0; 4096];
        while let Ok(count @ 1..) = stdout.read(&mut piece) {
            if sender.send(piece[..count].to_vec()).is_err() {
                return;
            }
        }
    });
    let (lines, log) = channel();
    let stderr = BufReader::new(child.stderr.take().unwrap());
    std::thread::spawn(move || {
        for line in stderr.lines() {
            if lines.send(line.unwrap()).is_err() {
                return;
            }
        }
    });
    Gateway {
        child,
        log,
        printed,
    }
}

impl Gateway {
    /// The next event with this message. Every line before it must be JSON too.
    pub fn event(&self, message: &str) -> Value {
        self.events_until(message).pop().unwrap()
    }

    /// All events up to the next with this message.
    pub fn events_until(&self, message: &str) -> Vec<Value> {
        let mut events = Vec::new();
        loop {
            let line = self.log.recv_timeout(PATIENCE).unwrap();
            let event: Value = serde_json::from_str(&line).unwrap();
            let found = event["message"].as_str().unwrap().starts_with(message);
            events.push(event);
            if found {
                return events;
            }
        }
    }

    /// Waits for a line of its text log that contains this text.
    pub fn line(&self, text: &str) {
        while !self.log.recv_timeout(PATIENCE).unwrap().contains(text) {}
    }

    /// Its output up to and including this text.
    pub fn printed_until(&self, end: &str) -> String {
        let mut text = String::new();
        while !text.contains(end) {
            let piece = self.printed.recv_timeout(PATIENCE).unwrap();
            text.push_str(&String::from_utf8(piece).unwrap());
        }
        text
    }

    pub fn signal(&self, signal: rustix::process::Signal) {
        let id = rustix::process::Pid::from_child(&self.child);
        rustix::process::kill_process(id, signal).unwrap();
    }

    /// Waits until its log ends, which is when the process ends.
    pub fn code(mut self) -> Option<i32> {
        while self.log.recv_timeout(PATIENCE).is_ok() {}
        self.child.wait().unwrap().code()
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

pub fn ostia(words: &[&str]) -> Ended {
    Site::empty().run(words)
}

fn fixture(kind: &str, fields: &Value) -> String {
    json!([{"model": format!("resource_server_async.{kind}"), "pk": 1, "fields": fields}])
        .to_string()
}

fn command(folder: &Path, words: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_ostia"));
    command
        .args(words)
        .current_dir(folder)
        .env_clear()
        // There is no load balancer that has to notice.
        .env("OSTIA_SERVER__DRAIN_GRACE", "0")
        .stdin(Stdio::null());
    command
}

fn ended(command: &mut Command) -> Ended {
    let output = command.output().unwrap();
    Ended {
        code: output.status.code(),
        stdout: String::from_utf8(output.stdout).unwrap(),
        stderr: String::from_utf8(output.stderr).unwrap(),
    }
}
