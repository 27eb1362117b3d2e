//! The files of `migrations/`, compiled in. sqlx's own macro for this would have it compiled a second time, for the
//! compiler's machine.

use std::sync::LazyLock;

use sqlx::SqlSafeStr as _;
use sqlx::migrate::{Migration, MigrationType, Migrator};

/// A name and its statements. A file is `VERSION_DESCRIPTION.sql`.
type File = (&'static str, &'static str);

macro_rules! files {
    ($folder:literal: $($name:literal)+) => {
        &[$(($name, include_str!(concat!("../migrations/", $folder, "/", $name)))),+]
    };
}

static SQLITE_FILES: &[File] = files! { "sqlite":
    "0001_ledger_and_keys.sql"
    "0002_key_project.sql"
    "0003_refused.sql"
    "0004_class_location_served_model.sql"
    "0005_usage_sums.sql"
    "0006_key_changes.sql"
    "0007_retention.sql"
    "0008_responses.sql"
    "0009_people.sql"
    "0010_notices.sql"
    "0011_leases.sql"
    "0012_turns.sql"
    "0013_sessions.sql"
    "0014_usage_blocks.sql"
    "0015_find_keys.sql"
    "0016_own_addresses.sql"
};

static POSTGRES_FILES: &[File] = files! { "postgres":
    "0001_ledger_and_keys.sql"
    "0002_key_changes.sql"
    "0003_retention.sql"
    "0004_responses.sql"
    "0005_people.sql"
    "0006_notices.sql"
    "0007_leases.sql"
    "0008_turns.sql"
    "0009_sessions.sql"
    "0010_usage_blocks.sql"
    "0011_find_keys.sql"
    "0012_own_addresses.sql"
};

pub(crate) static SQLITE: LazyLock<Migrator> = LazyLock::new(|| migrator(SQLITE_FILES));
pub(crate) static POSTGRES: LazyLock<Migrator> = LazyLock::new(|| migrator(POSTGRES_FILES));

fn migrator(files: &[File]) -> Migrator {
    Migrator::with_migrations(files.iter().filter_map(migration).collect())
}

/// `None`: not such a name.
fn migration((name, statements): &File) -> Option<Migration> {
    let (version, description) = name.strip_suffix(".sql")?.split_once('_')?;
    Some(Migration::new(
        version.parse().ok()?,
        description.replace('_', " ").into(),
        MigrationType::Simple,
        statements.into_sql_str(),
        false,
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_file_is_a_migration() {
        for (folder, files, migrator) in [
            ("sqlite", SQLITE_FILES, &SQLITE),
            ("postgres", POSTGRES_FILES, &POSTGRES),
        ] {
            let folder = format!("{}/migrations/{folder}", env!("CARGO_MANIFEST_DIR"));
            let found = std::fs::read_dir(folder).unwrap();
            let mut found: Vec<_> = found.map(|file| file.unwrap().file_name()).collect();
            found.sort();
            let listed: Vec<_> = files.iter().map(|(name, _)| *name).collect();
            assert_eq!(found, listed);
            let versions = migrator.iter().map(|one| one.version);
            assert!(versions.eq(1..=i64::try_from(listed.len()).unwrap()));
        }
    }

    /// Databases of sites remember these.
    #[test]
    fn descriptions_and_checksums_are_those_that_databases_remember() {
        let first = SQLITE.iter().next().unwrap();
        assert_eq!(first.description, "ledger and keys");
        assert_eq!(hex::encode(&first.checksum[..8]), "ac8bf70bf2ed320f");
    }
}
