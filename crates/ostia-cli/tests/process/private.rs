//! What Ostia creates is for its owner only, whatever the umask.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use ostia_core::SystemClock;
use ostia_testkit::backend::FakeBackend;
use ostia_testkit::gateway::{CLUSTER, Process, Site, TestGateway};

use crate::binary;

/// Everything below a folder.
fn all(folder: &Path) -> BTreeSet<PathBuf> {
    let mut found = BTreeSet::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(all(&path));
        }
        found.insert(path);
    }
    found
}

fn run(site: &Site, words: &[&str]) {
    let mut command = Command::new("/bin/sh");
    command
        .args(["-c", "umask 000; exec \"$0\" \"$@\""])
        .arg(binary());
    command.args(words).arg("--config").arg(site.config_path());
    let output = command.env_clear().envs(site.variables()).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{words:?}: {said}");
}

#[tokio::test]
async fn files_folders_and_sockets_are_their_owners_alone() {
    let backend = FakeBackend::start().await;
    let site = Site::new().model("m", &backend);
    site.write();
    let before = all(site.folder());
    run(&site, &["key", "create", "--user", "ann@lab.org"]);
    run(&site, &["maintenance", "set", CLUSTER, "soon"]);
    run(&site, &["maintenance", "clear", CLUSTER]);
    site.prepare(&SystemClock).await;
    let process = Process::start(binary(), &site).await;
    let gateway = TestGateway::around(site, process);
    assert_eq!(gateway.call(&gateway.chat("m")).await.status(), 200);
    let made: Vec<PathBuf> = all(gateway.site().folder())
        .difference(&before)
        .cloned()
        .collect();
    assert!(made.len() >= 5, "{made:?}");
    for path in made {
        let mode = path.metadata().unwrap().permissions().mode() & 0o777;
        assert_eq!(mode & 0o077, 0, "{} has the mode {mode:o}", path.display());
    }
    gateway.finish(&[&backend]).await;
}
