//! Where the code comes from that is built in (R95): one registry, by checksum. `cargo deny` looks at licences and bans.

use std::collections::BTreeSet;

const LOCK: &str = include_str!("../../../../Cargo.lock");

/// What is wrong with a lock file whose packages without a source may only be these.
fn faults(lock: &str, own: &BTreeSet<String>) -> Vec<String> {
    let lock: toml::Table = lock.parse().unwrap();
    let packages = lock["package"].as_array().unwrap();
    let text = |package: &toml::Value, key: &str| {
        package
            .get(key)
            .map(|value| value.as_str().unwrap().to_owned())
    };
    let mut registries = BTreeSet::new();
    let mut faults = Vec::new();
    for package in packages {
        let name = text(package, "name").unwrap();
        let Some(source) = text(package, "source") else {
            if !own.contains(&name) {
                faults.push(format!("{name} comes from a folder"));
            }
            continue;
        };
        if !source.starts_with("registry+") {
            faults.push(format!("{name} comes from {source}"));
        }
        let checksum = text(package, "checksum").unwrap_or_default();
        if checksum.len() != 64 || !checksum.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            faults.push(format!("{name} has no checksum"));
        }
        registries.insert(source);
    }
    if registries.len() > 1 {
        faults.push(format!("several sources: {registries:?}"));
    }
    faults
}

/// The packages of this repository: the folders under `crates`, and the example.
fn own() -> BTreeSet<String> {
    let crates = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let folders = std::fs::read_dir(crates).unwrap();
    let names = folders.map(|folder| folder.unwrap().file_name().into_string().unwrap());
    names.chain(["custom-adapters".to_owned()]).collect()
}

#[test]
fn r95_every_dependency_comes_from_one_registry_by_checksum() {
    let own = own();
    assert_eq!(faults(LOCK, &own), Vec::<String>::new());
    for planted in [
        "name = \"evil\"\nversion = \"1.0.0\"\nsource = \"git+https://example.org/evil#0123\"",
        "name = \"evil\"\nversion = \"1.0.0\"\nsource = \"registry+https://example.org/index\"",
        "name = \"evil\"\nversion = \"1.0.0\"",
    ] {
        let lock = format!("{LOCK}\n[[package]]\n{planted}\n");
        assert!(!faults(&lock, &own).is_empty(), "{planted}");
    }
}
