//! Work that one of several processes does for all of them.

use ostia_core::StoreError;

use super::work::Work;

const HOLD: &str = "
    INSERT INTO turns (name, holder, until) VALUES ($1, $2, $3)
    ON CONFLICT (name) DO UPDATE SET holder = excluded.holder, until = excluded.until
    WHERE turns.holder = excluded.holder";

/// Takes the names in one transaction and always in the same order, so that two processes cannot deadlock.
pub(super) async fn hold(
    mut work: Work,
    names: &[String],
    holder: &str,
    now: i64,
    until: i64,
) -> Result<Vec<bool>, StoreError> {
    let mut order: Vec<usize> = (0..names.len()).collect();
    order.sort_by_key(|place| names.get(*place));
    let done = async {
        let over = sqlx::query("DELETE FROM turns WHERE until <= $1").bind(now);
        work.run(over).await?;
        let mut held = vec![false; names.len()];
        for place in order {
            let (Some(name), Some(held)) = (names.get(place), held.get_mut(place)) else {
                continue;
            };
            let hold = sqlx::query(HOLD)
                .bind(name.clone())
                .bind(holder.to_owned())
                .bind(until);
            *held = work.run(hold).await? > 0;
        }
        Ok(held)
    };
    let done = done.await;
    work.end(done).await
}
