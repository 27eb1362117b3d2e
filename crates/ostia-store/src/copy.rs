//! Copies a whole site from one database to another: `ostia db copy`, `backup` and `restore`.
//!
//! The copy is one transaction on either side, so it shows a single moment, and succeeds as a whole or not at all. The
//! target must be empty, so nothing is copied twice.

use ostia_core::{BoxFuture, StoreError};

use crate::cell::{Cell, Kind};

/// Rows per statement.
const PAGE: usize = 1_000;
/// Tables that the database fills by itself.
const LEFT_OUT: [&str; 2] = ["_sqlx_migrations", "key_changes"];
/// A table that has rows even in an empty database.
const META: &str = "meta";
/// Its rows that are not copied, because each database has its own.
const OF_THE_SCHEMA: [&str; 2] = ["release", "key_changes"];

/// A row of any table.
pub(crate) type Record = Vec<Cell<'static>>;

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Table {
    pub(crate) name: String,
    pub(crate) columns: Vec<(String, Kind)>,
    /// Indexes of the primary key's columns.
    pub(crate) key: Vec<usize>,
}

/// A database, within one transaction.
pub(crate) trait Side: Send {
    fn tables(&mut self) -> BoxFuture<'_, Result<Vec<Table>, StoreError>>;

    /// The next rows after `after`, by primary key.
    fn page<'a>(
        &'a mut self,
        table: &'a Table,
        after: Option<&'a Record>,
    ) -> BoxFuture<'a, Result<Vec<Record>, StoreError>>;

    fn fill<'a>(
        &'a mut self,
        table: &'a Table,
        rows: &'a [Record],
    ) -> BoxFuture<'a, Result<u64, StoreError>>;

    fn count<'a>(&'a mut self, table: &'a Table) -> BoxFuture<'a, Result<u64, StoreError>>;

    fn commit(self: Box<Self>) -> BoxFuture<'static, Result<(), StoreError>>;
}

/// How many rows of each table were copied.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Copied {
    pub tables: Vec<(String, u64)>,
}

pub(crate) async fn copy(
    mut from: Box<dyn Side>,
    mut to: Box<dyn Side>,
) -> Result<Copied, StoreError> {
    let tables = from.tables().await?;
    let targets = to.tables().await?;
    let mut copied = Vec::new();
    for table in tables.iter().filter(|table| !table.is_left_out()) {
        let target = targets.iter().find(|target| target.name == table.name);
        let target = target.ok_or_else(|| unlike(&table.name))?;
        let target = target
            .ordered_like(table)
            .ok_or_else(|| unlike(&table.name))?;
        let before = to.count(&target).await?;
        if before > 0 && table.name != META {
            return Err(StoreError::Broken(format!(
                "the database that is copied to has rows in `{}` already: it must be empty",
                table.name
            )));
        }
        let count = fill(&mut *from, &mut *to, table, &target).await?;
        let there = to.count(&target).await?;
        if there < count {
            return Err(StoreError::Broken(format!(
                "of {count} rows of `{}` only {there} arrived: nothing was changed",
                table.name
            )));
        }
        copied.push((table.name.clone(), count));
    }
    to.commit().await?;
    Ok(Copied { tables: copied })
}

async fn fill(
    from: &mut dyn Side,
    to: &mut dyn Side,
    table: &Table,
    target: &Table,
) -> Result<u64, StoreError> {
    let mut after: Option<Record> = None;
    let mut count = 0;
    loop {
        let page = from.page(table, after.as_ref()).await?;
        let Some(last) = page.last() else {
            return Ok(count);
        };
        after = Some(last.clone());
        let rows: Vec<Record> = page
            .into_iter()
            .filter(|row| !table.is_of_the_schema(row))
            .map(|row| target.fit(row))
            .collect();
        count += rows.len() as u64;
        to.fill(target, &rows).await?;
    }
}

impl Table {
    pub(crate) fn named(name: String) -> Self {
        Self {
            name,
            columns: Vec::new(),
            key: Vec::new(),
        }
    }

    fn is_left_out(&self) -> bool {
        LEFT_OUT.contains(&self.name.as_str())
    }

    /// Whether a row describes the schema of its own database.
    fn is_of_the_schema(&self, row: &Record) -> bool {
        let is_own = |cell: &Cell<'_>| OF_THE_SCHEMA.iter().any(|name| *cell == Cell::text(name));
        self.name == META && row.iter().any(is_own)
    }

    pub(crate) fn conflict(&self) -> &'static str {
        match self.name.as_str() {
            META => "ON CONFLICT (name) DO UPDATE SET value = excluded.value",
            _ => "",
        }
    }

    /// The same table with its columns in the other's order. `None`: their columns differ.
    fn ordered_like(&self, other: &Self) -> Option<Self> {
        if self.columns.len() != other.columns.len() {
            return None;
        }
        let columns = other.columns.iter().map(|(name, _)| {
            let found = self.columns.iter().find(|(known, _)| known == name);
            found.cloned()
        });
        Some(Self {
            columns: columns.collect::<Option<_>>()?,
            ..other.clone()
        })
    }

    /// Converts the cells for this table's columns.
    fn fit(&self, row: Record) -> Record {
        let cells = row.into_iter().zip(&self.columns);
        cells
            .map(|(cell, (_, kind))| cell.into_kind(*kind))
            .collect()
    }

    /// Selects a page in the order of the primary key, from the beginning or after a row.
    pub(crate) fn select(&self, behind: bool) -> String {
        let name = |at: &usize| self.columns.get(*at).map(|(name, _)| format!("\"{name}\""));
        let columns: Vec<_> = (0..self.columns.len()).filter_map(|at| name(&at)).collect();
        let key: Vec<_> = self.key.iter().filter_map(name).collect();
        let (columns, key) = (columns.join(", "), key.join(", "));
        let marks: Vec<_> = (1..=self.key.len()).map(|at| format!("${at}")).collect();
        let behind = match behind {
            true => format!(" WHERE ({key}) > ({})", marks.join(", ")),
            false => String::new(),
        };
        let table = &self.name;
        format!("SELECT {columns} FROM \"{table}\"{behind} ORDER BY {key} LIMIT {PAGE}")
    }
}

fn unlike(table: &str) -> StoreError {
    StoreError::Broken(format!(
        "the table `{table}` is not the same in both databases: bring both up to date with `ostia db migrate`"
    ))
}

#[cfg(test)]
mod tests {
    use ostia_core::{StoreError, UsageQuery};

    use crate::story::{self, NOON, row};
    use crate::testing::Server;
    use crate::{Handle, copy, migrate};

    async fn usage(store: &Handle) -> Vec<ostia_core::UsageRow> {
        let query = UsageQuery {
            by: ["user", "model", "day", "outcome"]
                .map(str::to_owned)
                .into(),
            ..UsageQuery::default()
        };
        store.store().usage(&query).await.unwrap()
    }

    /// From SQLite to PostgreSQL and back: everything arrives once, and reports are equal.
    #[tokio::test]
    async fn a_site_moves_and_nothing_is_lost_or_there_twice() {
        let folder = tempfile::tempdir().unwrap();
        let file = |name: &str| format!("sqlite://{}", folder.path().join(name).display());
        let urls = [
            file("a.db"),
            Server::database().await,
            file("b.db"),
            file("c.db"),
        ];
        for url in &urls {
            migrate(url, "UTC").await.unwrap();
        }
        let first = Handle::open(&urls[0]).await.unwrap();
        story::run(first.store()).await;
        let many: Vec<_> = (0..2_500).map(|n| row("zoe", NOON + n, 3)).collect();
        first.store().insert_rows(&many).await.unwrap();
        let (expected, keys) = (
            usage(&first).await,
            first.store().list_keys().await.unwrap(),
        );

        for pair in urls.windows(2) {
            let copied = copy(&pair[0], &pair[1]).await.unwrap();
            let ledger = copied.tables.iter().find(|(name, _)| name == "ledger");
            assert!(ledger.unwrap().1 > 2_500);
            let there = Handle::open(&pair[1]).await.unwrap();
            assert_eq!(usage(&there).await, expected);
            assert_eq!(there.store().list_keys().await.unwrap(), keys);
            // The journal may bring rows again: they are recognized.
            assert_eq!(there.store().insert_rows(&many).await.unwrap(), 0);
            let again = copy(&pair[0], &pair[1]).await.unwrap_err();
            assert!(
                matches!(&again, StoreError::Broken(text) if text.contains("must be empty")),
                "{again}"
            );
            assert_eq!(usage(&there).await, expected);
        }
    }

    /// The months of another time zone: set before the first row, or by a rebuild.
    #[tokio::test]
    async fn reports_follow_their_time_zone() {
        let folder = tempfile::tempdir().unwrap();
        let file = format!("sqlite://{}", folder.path().join("a.db").display());
        for url in [file, Server::database().await] {
            migrate(&url, "UTC").await.unwrap();
            let store = Handle::open(&url).await.unwrap();
            // 2026-11-30T23:30Z is in December in Berlin; two more rows are too, and one is not.
            let midnight = 1_796_083_200_000_000;
            let half = 1_800_000_000;
            let rows = [-3 * half, -half, half, 3 * half].map(|at| row("ann", midnight + at, 1));
            store.store().insert_rows(&rows).await.unwrap();
            let months = async |by: &[&str]| {
                let query = UsageQuery {
                    by: by.iter().map(|&name| name.to_owned()).collect(),
                    ..UsageQuery::default()
                };
                let lines = store.store().usage(&query).await.unwrap();
                let lines = lines
                    .iter()
                    .map(|line| (line.keys.join(" "), line.requests));
                lines.collect::<Vec<_>>()
            };
            let names = |november: u64, december: u64, behind: &str| {
                let name = |month: &str| format!("2026-{month}{behind}");
                vec![(name("11"), november), (name("12"), december)]
            };
            assert_eq!(months(&["month"]).await, names(2, 2, ""));
            assert!(
                !store
                    .store()
                    .keep_reports_in("Europe/Berlin")
                    .await
                    .unwrap()
            );
            migrate(&url, "Europe/Berlin").await.unwrap();
            assert!(
                store
                    .store()
                    .keep_reports_in("Europe/Berlin")
                    .await
                    .unwrap()
            );
            assert_eq!(months(&["month"]).await, names(1, 3, ""));
            assert_eq!(months(&["month", "model"]).await, names(1, 3, " m"));
            assert_eq!(
                months(&["month", "user"]).await,
                names(1, 3, " ann@lab.org")
            );
            let more = [row("ann", midnight - half + 1, 1)];
            store.store().insert_rows(&more).await.unwrap();
            assert_eq!(
                months(&["month", "model", "user"]).await,
                names(1, 4, " m ann@lab.org")
            );
            let hours = months(&["month", "hour", "api"]).await;
            assert_eq!(hours[0].0, "2026-11 2026-11-30T22:00Z chat/completions");
            assert_eq!(hours[1].0, "2026-12 2026-11-30T23:00Z chat/completions");
        }
    }
}
