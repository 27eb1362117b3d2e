//! `ostia support-bundle`: what a helper needs to know, in one file, without secrets, prompts or user names.

use std::fs::{self, OpenOptions};
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use clap::Args;
use http::Method;
use jiff::Timestamp;
use ostia::config::{Loaded, Problem};
use ostia::fleet::Fleet;
use serde_json::{Value, json};

use super::admin::ask;
use super::load::load;
use crate::arguments::Setup;
use crate::failure::Failure;
use crate::output::{note, print};

#[derive(Debug, Args)]
pub struct SupportBundle {
    /// Where to write it; "-" is standard output [default: ostia-support-TIME.json in this folder]
    #[arg(long, value_name = "FILE")]
    output: Option<PathBuf>,
}

impl SupportBundle {
    pub fn run(&self, setup: &Setup) -> Result<(), Failure> {
        let loaded = load(setup, None, &Fleet::default());
        let bundle = json!({
            "made_at": Timestamp::now().to_string(),
            "version": env!("CARGO_PKG_VERSION"),
            "machine": machine(),
            "configuration": configuration(&loaded),
            "state": loaded.state_dir.as_deref().map(sizes),
            "running": running(setup),
        });
        let text = format!("{bundle:#}\n");
        if self.output.as_deref() == Some(Path::new("-")) {
            return print(&text);
        }
        let path = self.output.clone().unwrap_or_else(usual_name);
        write(&path, &text).map_err(|error| {
            let path = path.display();
            Failure::other(format!("{path}: {error}"))
        })?;
        note(
            "read it before you send it: it holds no secrets, but names of clusters, models and hosts",
        );
        print(&format!("{}\n", path.display()))
    }
}

fn usual_name() -> PathBuf {
    let now = Timestamp::now().strftime("%Y%m%dT%H%M%SZ");
    format!("ostia-support-{now}.json").into()
}

/// Readable only by its owner, and never overwrites a file.
fn write(path: &Path, text: &str) -> std::io::Result<()> {
    let mut options = OpenOptions::new();
    let mut file = options
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path)?;
    file.write_all(text.as_bytes())
}

/// The configuration in the files now. The running gateway may have read them at another time.
fn configuration(loaded: &Loaded) -> Value {
    let problems = loaded.problems.iter().map(Problem::to_string);
    let values = loaded.values.iter().filter(|value| !value.is_default);
    let deployments = loaded.catalog.deployments();
    json!({
        "problems": problems.collect::<Vec<_>>(),
        "files": loaded.files,
        "settings": values.map(|value| (value.name.clone(), value.shown.clone().into())).collect::<serde_json::Map<_, _>>(),
        "clusters": loaded.catalog.clusters().len(),
        "endpoints": deployments.len(),
    })
}

/// The running gateway's own account, or why it cannot be asked.
fn running(setup: &Setup) -> Value {
    let told = |path: &str| match ask(setup, Method::GET, path, None) {
        Ok(value) => value,
        Err(failure) => json!({"error": failure.text()}),
    };
    let status = told("/admin/status");
    if status["error"].is_string() {
        return status;
    }
    json!({
        "status": status,
        "endpoints": told("/admin/endpoints?limit=1000"),
        "clusters": told("/admin/clusters?limit=1000"),
        "config": told("/admin/config"),
    })
}

fn machine() -> Value {
    let read = |path: &str| fs::read_to_string(path).unwrap_or_default();
    let line_of = |text: &str, start: &str| {
        let mut lines = text.lines();
        let found = lines.find(|line| line.starts_with(start));
        found.unwrap_or_default().to_owned()
    };
    json!({
        "system": line_of(&read("/etc/os-release"), "PRETTY_NAME"),
        "kernel": read("/proc/sys/kernel/osrelease").trim(),
        "cores": std::thread::available_parallelism().map_or(0, |cores| cores.get()),
        "memory": line_of(&read("/proc/meminfo"), "MemTotal"),
        "open_files": line_of(&read("/proc/self/limits"), "Max open files"),
        "load": read("/proc/loadavg").trim(),
    })
}

/// Names and sizes of the files in the state folder and its subfolders.
fn sizes(folder: &Path) -> Value {
    let mut found = serde_json::Map::new();
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        let path = entry.path();
        let is_journal = name.starts_with("journal") && path.is_dir();
        let value = match (is_journal, entry.metadata()) {
            (true, _) => sizes(&path),
            (false, Ok(meta)) if meta.is_file() => meta.len().into(),
            _ => continue,
        };
        found.insert(name, value);
    }
    found.into()
}
