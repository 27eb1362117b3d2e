use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use serde_json::{Value, json};
use tempfile::TempDir;

/// Far longer than anything here takes: only a hang reaches it.
const PATIENCE: Duration = Duration::from_secs(60);

/// An installation in a folder of its own.
pub struct Site {
    folder: TempDir,
}

/// What a command said, and how it ended.
#[derive(Debug)]
pub struct Ended {
    pub code: Option<i32>,
    pub stdout: String,
    pub stderr: String,
}

/// A gateway that runs; killed if a test fails before it ends.
pub struct Gateway {
    child: Child,
    log: Receiver<String>,
}

impl Site {
    /// One cluster and one endpoint, whose backend nobody calls; both listeners on any free port.
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

    /// As [`Site::run`], but gives the JSON on stdout of a command that has to end well.
    pub fn json(&self, words: &[&str]) -> Value {
        let ended = self.run(words);
        assert_eq!(ended.code, Some(0), "{words:?}: {ended:?}");
        serde_json::from_str(&ended.stdout).unwrap()
    }

    pub fn serve(&self, words: &[&str]) -> Gateway {
        self.serve_with(&[], words)
    }

    pub fn serve_with(&self, variables: &[(&str, &str)], words: &[&str]) -> Gateway {
        let words: Vec<&str> = ["serve"].iter().chain(words).copied().collect();
        let mut child = command(self.folder.path(), &words)
            .envs(variables.iter().copied())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let (lines, log) = channel();
        let stderr = BufReader::new(child.stderr.take().unwrap());
        std::thread::spawn(move || {
            for line in stderr.lines() {
                if lines.send(line.unwrap()).is_err() {
                    return;
                }
            }
        });
        Gateway { child, log }
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

    pub fn signal(&self, signal: rustix::process::Signal) {
        let id = rustix::process::Pid::from_child(&self.child);
        rustix::process::kill_process(id, signal).unwrap();
    }

    /// Waits for the end of its log, which is its own end.
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
