//! Runs real commands: programs with the scheduler's names in the folder of `command_path`.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::Arc;

use http::StatusCode;
use ostia_core::{Clock, ManualClock};
use serde_json::{Value, json};
use tempfile::TempDir;

use super::{catalog, names, pbs, slurm};
use crate::cache::Cache;
use crate::cluster::pbs::Pbs;
use crate::cluster::slurm::Slurm;
use crate::cluster::{ClusterAdapter, ClusterContext, Jobs, JobsError};

/// A folder with a program of this name, made from a shell script.
fn program(name: &str, script: &str) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join(name);
    std::fs::write(&path, format!("#!/bin/sh\n{script}\n")).unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
    folder
}

/// A folder with a program that prints `listing` if it is called with exactly these words.
fn printing(name: &str, words: &str, listing: &Value) -> TempDir {
    let script = format!("[ \"$*\" = \"{words}\" ] || exit 3\ncat \"$(dirname \"$0\")/listing\"");
    let folder = program(name, &script);
    std::fs::write(folder.path().join("listing"), listing.to_string()).unwrap();
    folder
}

/// `adapter`: its name in fixtures.
async fn ask(adapter: &str, path: &Path, more: Value) -> Result<Jobs, JobsError> {
    let context = asking(adapter, path, more);
    match adapter {
        "pbs" => Pbs.jobs(&context).await,
        _ => Slurm.jobs(&context).await,
    }
}

fn asking(adapter: &str, path: &Path, more: Value) -> ClusterContext {
    let mut config = more;
    config["command_path"] = json!(path.display().to_string());
    context(adapter, config)
}

fn context(adapter: &str, config: Value) -> ClusterContext {
    let kind = json!({"cluster_adapter": adapter, "config": config});
    let models = ["org/Big-70B", "small", "other"];
    let endpoints: Vec<_> = models.iter().map(|model| json!({"model": model})).collect();
    let catalog = catalog(&kind, &endpoints);
    let clock: Arc<dyn Clock> = Arc::new(ManualClock::at(1_700_000_000_000_000));
    ClusterContext {
        cluster: Arc::clone(&catalog.clusters()[0]),
        deployments: catalog.deployments().to_vec(),
        http: None,
        cache: Arc::new(Cache::new(Arc::clone(&clock))),
        clock,
    }
}

#[tokio::test]
async fn squeue_of_two_versions() {
    for (listing, queued) in [
        (slurm::slurm_21_08(), vec!["small,other"]),
        (slurm::slurm_23_11(), vec!["small", "other"]),
    ] {
        let folder = printing("squeue", "--json", &listing);
        let jobs = ask("slurm", folder.path(), json!({})).await.unwrap();
        assert_eq!(names(&jobs.running), ["org/Big-70B"]);
        assert_eq!(names(&jobs.queued), queued);
    }
}

#[tokio::test]
async fn qstat_of_two_versions() {
    for (listing, running) in [(pbs::pbs_19(), vec!["small"]), (pbs::openpbs_23(), vec![])] {
        let folder = printing("qstat", "-f -F json", &listing);
        let jobs = ask("pbs", folder.path(), json!({})).await.unwrap();
        assert_eq!(names(&jobs.running), running);
    }
}

#[tokio::test]
async fn a_command_of_the_sites_own() {
    let folder = printing("mysqueue", "--json --me", &slurm::slurm_23_11());
    let config = json!({"command": "mysqueue --json --me"});
    assert!(ask("slurm", folder.path(), config).await.is_ok());
}

#[tokio::test]
async fn commands_that_fail_hang_or_write_without_end() {
    let quick = json!({"api_request_timeout": 0.2});
    for (script, status) in [
        ("echo secret-host is down >&2; exit 1", 500),
        ("echo not json", 500),
        ("exec sleep 1000", 504),
        ("exec cat /dev/zero", 500),
    ] {
        let limit = if status == 504 {
            quick.clone()
        } else {
            json!({})
        };
        let folder = program("squeue", script);
        let error = ask("slurm", folder.path(), limit).await.unwrap_err();
        assert_eq!(
            error.status,
            StatusCode::from_u16(status).unwrap(),
            "{script}"
        );
        assert!(!error.message.contains("secret-host"), "{error:?}");
    }
    let emptied = program("squeue", "exit 0");
    let context = asking("slurm", emptied.path(), json!({}));
    std::fs::remove_file(emptied.path().join("squeue")).unwrap();
    assert!(Slurm.jobs(&context).await.is_err());
}

#[tokio::test]
async fn a_command_may_complain_a_lot_and_succeed() {
    let script = "i=0; while [ $i -lt 3000 ]; do echo \"squeue: warning: node$i does not answer\" >&2; i=$((i+1)); done\n\
                  echo '{\"jobs\": []}'";
    let folder = program("squeue", script);
    assert_eq!(
        ask("slurm", folder.path(), json!({})).await.map(|_| ()),
        Ok(())
    );
}

/// A listing may be 64 MiB: other work on the same thread goes on while it is parsed.
#[tokio::test]
async fn a_listing_is_read_where_it_holds_up_nobody() {
    let (tell, told) = std::sync::mpsc::channel();
    let context = context("static", json!({}));
    let reading = context.read(move |_| {
        told.recv_timeout(std::time::Duration::from_secs(20))
            .map(|()| Jobs::default())
            .map_err(|_| JobsError::new("nobody else had a turn"))
    });
    let (read, _) = tokio::join!(reading, async { tell.send(()) });
    assert_eq!(read, Ok(Jobs::default()));
}

#[tokio::test]
async fn the_gateways_secrets_are_not_in_the_commands_environment() {
    let folder = program(
        "squeue",
        "env > \"$(dirname \"$0\")/env\"; echo '{\"jobs\": []}'",
    );
    ask("slurm", folder.path(), json!({})).await.unwrap();
    let seen = std::fs::read_to_string(folder.path().join("env")).unwrap();
    assert!(!seen.contains("CARGO"), "{seen}");
}
