//! Lets another process take over from this one, or this one from another.

use std::env::{args_os, current_exe, var_os};
use std::ffi::OsStr;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::process::Command;

use listenfd::ListenFd;
use ostia::boot::{HandoverError, Predecessor, Running, Sockets};
use ostia::gateway::{UpgradeError, UpgradeWish};

use crate::failure::Failure;

/// Variables that are meant for this process only.
const OWN_VARIABLES: [&str; 4] = ["LISTEN_FDS", "LISTEN_PID", "LISTEN_FDNAMES", "WATCHDOG_PID"];

/// Sockets from a running process, from systemd, or new ones.
pub(super) fn sockets() -> Result<Sockets, Failure> {
    let failed = |error: std::io::Error| {
        Failure::other(format!("the sockets cannot be taken over: {error}"))
    };
    if let Some(predecessor) = Predecessor::meet().map_err(failed)? {
        return Ok(Sockets::Inherited(predecessor));
    }
    let mut given = ListenFd::from_env();
    let mut sockets = Vec::new();
    for index in 0..given.len() {
        let socket = match given.take_tcp_listener(index) {
            Ok(socket) => socket.map(OwnedFd::from),
            Err(_) => given
                .take_unix_listener(index)
                .map_err(failed)?
                .map(OwnedFd::from),
        };
        sockets.extend(socket);
    }
    Ok(match sockets.is_empty() {
        true => Sockets::Bind,
        false => Sockets::Given(sockets),
    })
}

/// Starts the binary that is installed now, with this process's arguments. `None`: it did not take over, so this
/// process continues to serve, and the caller of the upgrade was told why.
pub(super) async fn hand_over(running: &Running, wish: Option<UpgradeWish>) -> Option<u32> {
    tracing::info!("another process is started to take over");
    let offered = match program() {
        Ok(program) => {
            let mut command = Command::new(program);
            command.args(args_os().skip(1));
            for name in OWN_VARIABLES {
                command.env_remove(name);
            }
            running.offer(command).await
        }
        Err(error) => Err(HandoverError::NotStarted(error)),
    };
    let outcome = match &offered {
        Ok(successor) => Ok(successor.pid),
        Err(error) => {
            tracing::error!(%error, "no other process took over, this one serves on");
            Err(UpgradeError::Failed(error.to_string()))
        }
    };
    if let Ok(successor) = offered {
        running.give_way(successor).await;
    }
    let pid = outcome.as_ref().ok().copied();
    if let Some(wish) = wish {
        wish.fulfil(outcome);
    }
    pid
}

/// The path that this process was started with. It may be a link that leads to another version now, so the path of the
/// running file does not matter.
fn program() -> std::io::Result<PathBuf> {
    let called = args_os().next().unwrap_or_default();
    if Path::new(&called).components().count() > 1 {
        return Ok(called.into());
    }
    match in_path(&called) {
        Some(found) => Ok(found),
        None => current_exe(),
    }
}

fn in_path(name: &OsStr) -> Option<PathBuf> {
    let folders = var_os("PATH")?;
    let mut candidates = std::env::split_paths(&folders).map(|folder| folder.join(name));
    candidates.find(|candidate| !name.is_empty() && candidate.is_file())
}
