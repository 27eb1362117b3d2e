//! Browser sessions of people who signed in.

use ostia_core::{Session, StoreError};
use sqlx::Row as _;

use super::work::Work;

const INSERT: &str = "
    INSERT INTO sessions (id, person, login, created_at, seen_at, expires_at) VALUES ($1, $2, $3, $4, $5, $6)";
const OVER: &str =
    "DELETE FROM sessions WHERE id IN (SELECT id FROM sessions WHERE expires_at < $1 LIMIT 1000)";

pub(super) async fn open(mut work: Work, session: &Session) -> Result<(), StoreError> {
    let done = async {
        work.run(sqlx::query(OVER).bind(session.created_at)).await?;
        let insert = sqlx::query(INSERT)
            .bind(session.id.to_vec())
            .bind(session.person.clone())
            .bind(session.login.clone())
            .bind(session.created_at)
            .bind(session.seen_at)
            .bind(session.expires_at);
        work.run(insert).await.map(drop)
    };
    let done = done.await;
    work.end(done).await
}

pub(super) async fn of(mut work: Work, id: &[u8; 32]) -> Result<Option<Session>, StoreError> {
    let done = async {
        let select =
            "SELECT person, login, created_at, seen_at, expires_at FROM sessions WHERE id = $1";
        let found = work.one(sqlx::query(select).bind(id.to_vec())).await?;
        let session = found.map(|row| {
            Ok(Session {
                id: *id,
                person: row.try_get(0)?,
                login: row.try_get(1)?,
                created_at: row.try_get(2)?,
                seen_at: row.try_get(3)?,
                expires_at: row.try_get(4)?,
            })
        });
        session.transpose()
    };
    let done = done.await;
    work.end(done).await
}

pub(super) async fn seen(mut work: Work, id: &[u8; 32], at: i64) -> Result<(), StoreError> {
    let update = sqlx::query("UPDATE sessions SET seen_at = $1 WHERE id = $2 AND seen_at < $1");
    let done = work.run(update.bind(at).bind(id.to_vec())).await.map(drop);
    work.end(done).await
}

pub(super) async fn end(mut work: Work, id: &[u8; 32]) -> Result<(), StoreError> {
    let delete = sqlx::query("DELETE FROM sessions WHERE id = $1");
    let done = work.run(delete.bind(id.to_vec())).await.map(drop);
    work.end(done).await
}
