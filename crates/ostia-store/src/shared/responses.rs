//! Which user made which response.

use std::sync::LazyLock;

use ostia_core::{MadeResponse, StoreError};
use sqlx::Row as _;

use super::bulk::Bulk;
use super::work::Work;
use crate::cell::{Cell, Kind};

/// If two replicas record the same id, they record the same facts.
static INSERT: LazyLock<Bulk> = LazyLock::new(|| {
    let columns = [
        ("id", Kind::Blob),
        ("endpoint", Kind::Text),
        ("until", Kind::Number),
    ];
    let columns = columns.map(|(name, kind)| (name.to_owned(), kind));
    Bulk::new("responses", columns.into(), "ON CONFLICT (id) DO NOTHING")
});

pub(super) async fn note(
    mut work: Work,
    made: &[MadeResponse],
    now: i64,
) -> Result<(), StoreError> {
    let done = async {
        INSERT.run(&mut work, made, cells).await?;
        let over = "DELETE FROM responses WHERE id IN (SELECT id FROM responses WHERE until < $1 LIMIT 1000)";
        work.run(sqlx::query(over).bind(now)).await.map(drop)
    };
    let done = done.await;
    work.end(done).await
}

pub(super) async fn of(mut work: Work, id: &[u8; 32]) -> Result<Option<MadeResponse>, StoreError> {
    let done = async {
        let select = sqlx::query("SELECT endpoint, until FROM responses WHERE id = $1");
        let found = work.one(select.bind(id.to_vec())).await?;
        let made = found.map(|row| {
            Ok(MadeResponse {
                id: *id,
                endpoint: row.try_get::<String, _>(0)?.into(),
                until: row.try_get(1)?,
            })
        });
        made.transpose()
    };
    let done = done.await;
    work.end(done).await
}

fn cells(made: &MadeResponse) -> impl Iterator<Item = Cell<'_>> {
    let id = Cell::Blob(made.id.as_slice().into());
    [id, Cell::text(&made.endpoint), Cell::Number(made.until)].into_iter()
}
