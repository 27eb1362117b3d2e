use std::ffi::OsString;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::catalog::ClusterAdapterName;

/// What the adapters of schedulers read of a cluster's `config`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct SchedulerOptions {
    /// The program and what it is given.
    pub command: Vec<String>,
    /// Where the program is looked for, and its own PATH: the folders of `command_path` (with `:` between), then those of
    /// the gateway's PATH.
    pub path: OsString,
}

/// Says what is wrong with a cluster's `config` for the adapter that it names.
pub fn check_config(adapter: &ClusterAdapterName, config: &Value) -> Result<(), String> {
    match adapter {
        ClusterAdapterName::Slurm if config.get("slurmrestd_url").is_some() => {}
        ClusterAdapterName::Slurm => {
            let options = SchedulerOptions::read(config, &["squeue", "--json"])?;
            options.find_program()?;
        }
        ClusterAdapterName::Pbs => {
            let options = SchedulerOptions::read(config, &["qstat", "-f", "-F", "json"])?;
            options.find_program()?;
        }
        _ => return Ok(()),
    }
    match config.get("jobs") {
        None | Some(Value::Null | Value::Object(_)) => Ok(()),
        Some(_) => Err("`jobs` must be an object: {\"job name\": \"model\"}".to_owned()),
    }
}

impl SchedulerOptions {
    pub fn read(config: &Value, default: &[&str]) -> Result<Self, String> {
        let words = |text: &str| text.split_whitespace().map(str::to_owned).collect();
        let command: Vec<String> = match config.get("command") {
            None | Some(Value::Null) => default.iter().map(|word| (*word).to_owned()).collect(),
            Some(Value::String(text)) => words(text),
            Some(Value::Array(parts)) => parts
                .iter()
                .filter_map(|part| part.as_str().map(str::to_owned))
                .collect(),
            Some(_) => Vec::new(),
        };
        if command.is_empty() {
            return Err("`command` must be a text or a list of texts".to_owned());
        }
        Ok(Self {
            command,
            path: path(config.get("command_path").and_then(Value::as_str)),
        })
    }

    /// The program's file.
    pub fn find_program(&self) -> Result<PathBuf, String> {
        let name = self.command.first().map_or("", String::as_str);
        if name.contains('/') {
            return Ok(PathBuf::from(name));
        }
        std::env::split_paths(&self.path)
            .map(|folder| folder.join(name))
            .find(|file| is_program(file))
            .ok_or_else(|| {
                format!("the command `{name}` is not on the PATH; say where in `command_path`")
            })
    }
}

fn path(first: Option<&str>) -> OsString {
    let inherited = std::env::var_os("PATH").unwrap_or_default();
    let Some(first) = first.filter(|first| !first.is_empty()) else {
        return inherited;
    };
    let mut path = OsString::from(first);
    path.push(":");
    path.push(inherited);
    path
}

fn is_program(file: &Path) -> bool {
    file.metadata()
        .is_ok_and(|about| about.is_file() && about.permissions().mode() & 0o111 != 0)
}
