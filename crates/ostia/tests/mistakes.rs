//! Each folder of `tests/mistakes` holds files as sites get them wrong, and in `said.snap` what `ostia check` prints of
//! them, and whether `serve` would start. A folder holds what differs from `mistakes/sound`; each of its `*.toml` files is
//! loaded by itself. To add a mistake: write it into a folder, or a new one, run this test, look at the snapshot and take
//! it (`INSTA_UPDATE=always`).

use std::path::{Path, PathBuf};
use std::{fs, io};

use ostia::backend::{DIRECT_API, Registry};
use ostia::config::{Sources, load};
use ostia::fleet::Fleet;

/// A secret in any of the files: no problem may show it.
const SECRET: &str = "hunter2";

#[test]
fn every_mistake_is_told_with_its_place() -> io::Result<()> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/mistakes");
    let folders = sorted(&root)?;
    assert!(folders.len() > 20, "{folders:?}");
    for folder in folders {
        let said = check(&root.join("sound"), &folder)?;
        assert!(!said.contains(SECRET), "{}: {said}", folder.display());
        let mut settings = insta::Settings::clone_current();
        settings.set_snapshot_path(&folder);
        settings.set_prepend_module_to_snapshot(false);
        settings.set_omit_expression(true);
        settings.bind(|| insta::assert_snapshot!("said", said));
    }
    Ok(())
}

/// What is said of each `*.toml` of the folder.
fn check(sound: &Path, folder: &Path) -> io::Result<String> {
    let mut said = String::new();
    let site = tempfile::tempdir()?;
    copy(sound, site.path())?;
    copy(folder, site.path())?;
    let is_toml = |path: &PathBuf| path.extension().is_some_and(|kind| kind == "toml");
    let mut settings: Vec<PathBuf> = sorted(folder)?.into_iter().filter(is_toml).collect();
    if settings.is_empty() {
        settings.push("ostia.toml".into());
    }
    let variables = site.path().join("site.env");
    let env_files: Vec<PathBuf> = Some(variables)
        .into_iter()
        .filter(|path| path.exists())
        .collect();
    let prefix = format!("{}/", site.path().display());
    // Lists of adapters name every kind of backend. The snapshots show one, so that a new kind changes none.
    let registry = Registry::default();
    let kinds = registry.backend_names().filter(|kind| *kind != DIRECT_API);
    let others: Vec<String> = kinds.map(|kind| format!(", {kind}")).collect();
    for file in settings {
        let sources = Sources {
            config: file.file_name().map(|name| site.path().join(name)),
            env_files: env_files.clone(),
            ..Sources::default()
        };
        let loaded = load(&sources, &Fleet::default());
        for problem in &loaded.problems {
            let text = format!("{problem}\n").replace(&prefix, "");
            said += &others
                .iter()
                .fold(text, |text, kind| text.replace(kind, ""));
        }
        said += match loaded.fatal(false) {
            true => "(serve does not start)\n\n",
            false => "(serve starts)\n\n",
        };
    }
    Ok(said)
}

fn copy(from: &Path, to: &Path) -> io::Result<()> {
    fs::create_dir_all(to)?;
    for path in sorted(from)? {
        let target = to.join(path.file_name().unwrap_or_default());
        if path.is_dir() {
            copy(&path, &target)?;
        } else {
            fs::copy(&path, &target)?;
        }
    }
    Ok(())
}

fn sorted(folder: &Path) -> io::Result<Vec<PathBuf>> {
    let mut paths = Vec::new();
    for entry in fs::read_dir(folder)? {
        paths.push(entry?.path());
    }
    paths.sort();
    Ok(paths)
}
