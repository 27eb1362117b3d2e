use std::collections::BTreeMap;
use std::ffi::OsString;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use http::HeaderValue;

/// What scheduler adapters read from a cluster's `config`; empty for other adapters.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Scheduler {
    /// The program and its arguments.
    pub command: Vec<String>,
    /// Folders, separated by `:`, to search for the program before the gateway's PATH.
    pub command_path: String,
    /// Job name -> its models.
    pub jobs: BTreeMap<String, Vec<String>>,
    /// Removed from a job's name before it is compared with models.
    pub job_name_prefix: String,
    /// The user name for slurmrestd.
    pub user: Option<HeaderValue>,
    /// Starts a job for an endpoint that somebody asks for: a program and its arguments; empty: nothing does.
    pub on_demand: Vec<String>,
}

impl Scheduler {
    /// The command that starts a job for this endpoint; `None`: there is none.
    pub fn starting(&self, slug: &str, model: &str) -> Option<Self> {
        let mut command = self.on_demand.clone();
        if command.is_empty() {
            return None;
        }
        command.extend([slug.to_owned(), model.to_owned()]);
        Some(Self {
            command,
            ..self.clone()
        })
    }

    /// Where the program is searched, and its own PATH.
    pub fn path(&self) -> OsString {
        let inherited = std::env::var_os("PATH").unwrap_or_default();
        if self.command_path.is_empty() {
            return inherited;
        }
        let mut path = OsString::from(&self.command_path);
        path.push(":");
        path.push(inherited);
        path
    }

    /// The program's file, or what is wrong with the command.
    pub fn find_program(&self) -> Result<PathBuf, String> {
        let name = self.command.first().map_or("", String::as_str);
        if name.contains('/') {
            return Ok(PathBuf::from(name));
        }
        std::env::split_paths(&self.path())
            .map(|folder| folder.join(name))
            .find(|file| is_program(file))
            .ok_or_else(|| {
                format!("the program `{name}` is not on the PATH; say where in `command_path`")
            })
    }
}

fn is_program(file: &Path) -> bool {
    file.metadata()
        .is_ok_and(|about| about.is_file() && about.permissions().mode() & 0o111 != 0)
}

#[cfg(test)]
mod tests {
    use std::fs::{Permissions, set_permissions, write};
    use std::os::unix::fs::PermissionsExt;

    use super::Scheduler;

    #[test]
    fn a_program_is_looked_for_in_command_path_first_and_on_the_path_then() {
        let folder = tempfile::tempdir().unwrap();
        let add = |name: &str, mode| {
            let path = folder.path().join(name);
            write(&path, "#!/bin/sh\n").unwrap();
            set_permissions(&path, Permissions::from_mode(mode)).unwrap();
        };
        add("squeue", 0o755);
        add("no-program", 0o644);
        let find = |name: &str| {
            let scheduler = Scheduler {
                command: vec![name.to_owned()],
                command_path: folder.path().display().to_string(),
                ..Scheduler::default()
            };
            scheduler.find_program()
        };
        assert_eq!(find("squeue"), Ok(folder.path().join("squeue")));
        assert!(find("cat").is_ok());
        let fault = find("no-program").unwrap_err();
        assert!(fault.contains("`no-program`"), "{fault}");
    }
}
