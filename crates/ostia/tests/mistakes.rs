//! Each folder of `tests/mistakes` holds files as sites get them wrong, and in `said.snap` what `ostia check` prints of
//! them, and whether `serve` would start. A folder holds what differs from `mistakes/sound`; each of its `*.toml` files is loaded by itself.

use std::fs;
use std::path::{Path, PathBuf};

use ostia::config::{Sources, load};
use ostia::fleet::Fleet;

/// A secret in any of the files: no problem may show it.
const SECRET: &str = "hunter2";

#[test]
fn every_mistake_is_told_with_its_place() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/mistakes");
    let folders: Vec<PathBuf> = sorted(&root);
    assert!(folders.len() > 20, "{folders:?}");
    for folder in folders {
        let said = check(&root.join("sound"), &folder);
        assert!(!said.contains(SECRET), "{}: {said}", folder.display());
        let mut settings = insta::Settings::clone_current();
        settings.set_snapshot_path(&folder);
        settings.set_prepend_module_to_snapshot(false);
        settings.set_omit_expression(true);
        settings.bind(|| insta::assert_snapshot!("said", said));
    }
}

/// What is said of each `*.toml` of the folder.
fn check(sound: &Path, folder: &Path) -> String {
    let mut said = String::new();
    let site = tempfile::tempdir().unwrap();
    copy(sound, site.path());
    copy(folder, site.path());
    let mut settings: Vec<PathBuf> = sorted(folder);
    settings.retain(|path| path.extension().is_some_and(|kind| kind == "toml"));
    if settings.is_empty() {
        settings.push("ostia.toml".into());
    }
    let variables = site.path().join("site.env");
    let prefix = format!("{}/", site.path().display());
    for file in settings {
        let sources = Sources {
            config: Some(site.path().join(file.file_name().unwrap())),
            env_files: variables
                .exists()
                .then(|| variables.clone())
                .into_iter()
                .collect(),
            ..Sources::default()
        };
        let loaded = load(&sources, &Fleet::default());
        for problem in &loaded.problems {
            said += &format!("{problem}\n").replace(&prefix, "");
        }
        said += match loaded.fatal(false) {
            true => "(serve does not start)\n\n",
            false => "(serve starts)\n\n",
        };
    }
    said
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for path in sorted(from) {
        let target = to.join(path.file_name().unwrap());
        if path.is_dir() {
            copy(&path, &target);
        } else {
            fs::copy(&path, &target).unwrap();
        }
    }
}

fn sorted(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).unwrap();
    let mut paths: Vec<PathBuf> = entries.map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    paths
}
