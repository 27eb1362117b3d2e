//! The schemas that this ostia can use: its own, and that of the next release, so that replicas can be upgraded one by
//! one and rolled back. Therefore a release only adds to the schema; what it no longer needs is removed one release
//! later. Columns of the ledger have no migration: they are added from the table in `ostia_core`.

use ostia_core::{Column, Kind, LedgerRow, StoreError, Value};
use sqlx::migrate::MigrateError;

/// Incremented by each release that brings migrations.
pub const RELEASE: i64 = 2;

/// Records which release brought the schema up to date.
pub(crate) const NOTE_RELEASE: &str = "INSERT INTO meta (name, value) VALUES ('release', $1) \
    ON CONFLICT (name) DO UPDATE SET value = excluded.value";

/// Why a migration failed. `failed` interprets the database's own errors.
pub(crate) fn not_migrated(
    error: MigrateError,
    failed: fn(sqlx::Error) -> StoreError,
) -> StoreError {
    match error {
        MigrateError::Execute(error) | MigrateError::ExecuteMigration(error, _) => failed(error),
        other => StoreError::Broken(other.to_string()),
    }
}

/// The version of a database's schema.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Schema {
    /// The last migration that was applied; 0: none.
    pub version: i64,
    /// The release that applied it.
    pub release: i64,
    /// How many of the ledger's columns it lacks.
    pub lacking: usize,
}

/// The statements that add what a ledger with these columns lacks. `definition`: a column's type and default, where the
/// value of an empty row is given.
pub(crate) fn missing_columns(
    present: &[String],
    definition: fn(Kind, Value<'_>) -> String,
) -> Vec<String> {
    let empty = LedgerRow::default();
    let columns = Column::LEDGER.iter().zip(empty.values());
    let missing = columns.filter(|(column, _)| !present.iter().any(|name| name == column.name));
    missing
        .map(|(column, value)| {
            let definition = definition(column.kind, value);
            format!("ALTER TABLE ledger ADD COLUMN {} {definition}", column.name)
        })
        .collect()
}

/// Whether this ostia can use a schema.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// It can be used.
    Fits,
    /// It must be migrated first.
    Old,
    /// It cannot be used.
    Newer,
}

impl Schema {
    /// `known`: the last migration that this ostia knows.
    pub fn standing(self, known: i64) -> Standing {
        if self.version < known || (self.version == known && self.lacking > 0) {
            Standing::Old
        } else if self.version == known || self.release == RELEASE + 1 {
            Standing::Fits
        } else {
            Standing::Newer
        }
    }

    pub(crate) fn refuse_newer(self, known: i64) -> Result<(), StoreError> {
        let version = self.version;
        match self.standing(known) {
            Standing::Newer => Err(StoreError::Broken(format!(
                "the database has schema {version}, this ostia knows {known}: use the newer ostia that wrote it"
            ))),
            Standing::Fits | Standing::Old => Ok(()),
        }
    }

    pub(crate) fn require(self, known: i64) -> Result<(), StoreError> {
        self.refuse_newer(known)?;
        match (self.standing(known), self.version) {
            (Standing::Old, 0) => Err(StoreError::Broken(
                "the database has no tables yet: run `ostia db migrate`".into(),
            )),
            (Standing::Old, version) if version >= known => Err(StoreError::Broken(format!(
                "the ledger lacks {} of the columns that this ostia writes: run `ostia db migrate`",
                self.lacking
            ))),
            (Standing::Old, version) => Err(StoreError::Broken(format!(
                "the database has schema {version}, this ostia needs {known}: run `ostia db migrate`"
            ))),
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{RELEASE, Schema, Standing};

    #[test]
    fn a_release_runs_on_its_own_schema_and_on_the_next() {
        for (version, release, standing) in [
            (0, 0, Standing::Old),
            (6, RELEASE, Standing::Old),
            (7, RELEASE, Standing::Fits),
            (9, RELEASE + 1, Standing::Fits),
            (9, RELEASE + 2, Standing::Newer),
            (9, RELEASE, Standing::Newer),
        ] {
            let schema = Schema {
                version,
                release,
                lacking: 0,
            };
            assert_eq!(schema.standing(7), standing, "{schema:?}");
            assert_eq!(schema.require(7).is_ok(), standing == Standing::Fits);
        }
        let schema = Schema {
            version: 7,
            release: RELEASE,
            lacking: 1,
        };
        assert_eq!(schema.standing(7), Standing::Old);
        let told = schema.require(7).unwrap_err().to_string();
        assert!(told.contains("lacks 1 of the columns"), "{told}");
    }
}
