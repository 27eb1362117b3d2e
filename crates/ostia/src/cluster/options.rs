use std::path::PathBuf;
use std::time::Duration;

use serde_json::Value;

use crate::catalog::ClusterAdapterName;

/// What the adapters of schedulers read of a cluster's `config`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct SchedulerOptions {
    /// The program and what it is given.
    pub command: Vec<String>,
    /// Where the program is looked for: `command_path`, folders with `:` between; else the gateway's own PATH.
    pub path: Option<String>,
    pub time_limit: Duration,
}

const TIME_LIMIT: Duration = Duration::from_secs(10);

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
            path: config
                .get("command_path")
                .and_then(Value::as_str)
                .map(str::to_owned),
            time_limit: time_limit(config),
        })
    }

    /// The program's file.
    pub fn find_program(&self) -> Result<PathBuf, String> {
        let name = self.command.first().map_or("", String::as_str);
        if name.contains('/') {
            return Ok(PathBuf::from(name));
        }
        let folders = match &self.path {
            Some(path) => path.clone(),
            None => std::env::var("PATH").unwrap_or_default(),
        };
        std::env::split_paths(&folders)
            .map(|folder| folder.join(name))
            .find(|file| file.is_file())
            .ok_or_else(|| {
                format!("the command `{name}` is not on the PATH; say where in `command_path`")
            })
    }
}

/// `api_request_timeout`, as for status pages.
pub(super) fn time_limit(config: &Value) -> Duration {
    config
        .get("api_request_timeout")
        .and_then(Value::as_f64)
        .and_then(|seconds| Duration::try_from_secs_f64(seconds).ok())
        .filter(|limit| !limit.is_zero())
        .unwrap_or(TIME_LIMIT)
}
