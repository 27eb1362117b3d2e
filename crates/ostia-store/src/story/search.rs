//! Searches for rows of the ledger.

use std::borrow::Cow;

use ostia_core::{LedgerRow, Outcome, RequestId, RowFilter, RowPlace, Store};

use super::{DAY, NOON, row};

const START: i64 = NOON + 500 * DAY;

/// Every filter, alone and combined, returns the newest rows first.
pub(super) async fn rows_are_found(store: &dyn Store) {
    let rows = rows();
    assert_eq!(store.insert_rows(&rows).await.unwrap(), 12);
    pages_hold_all_rows(store, &rows).await;
    filters_find(store, &rows).await;
}

fn rows() -> Vec<LedgerRow<'static>> {
    let mut rows: Vec<_> = (0..12).map(|n| row("hal", START + n / 2, 1)).collect();
    rows[3].model = Cow::Borrowed("other");
    rows[4].outcome = Outcome::Rejected;
    rows[4].error_code = Cow::Borrowed("tokens");
    rows[5].user_id = Cow::Borrowed("ida");
    rows[5].username = Cow::Borrowed("o'hara@lab.org");
    rows
}

fn all() -> RowFilter {
    RowFilter {
        since: START,
        until: Some(START + DAY),
        limit: 100,
        ..RowFilter::default()
    }
}

async fn find(store: &dyn Store, filter: &RowFilter) -> (Vec<RequestId>, Option<RowPlace>) {
    let mut ids = Vec::new();
    let mut take = |row: &LedgerRow<'_>| ids.push(row.request_id);
    let last = store.find_rows(filter, &mut take).await.unwrap();
    (ids, last)
}

async fn pages_hold_all_rows(store: &dyn Store, rows: &[LedgerRow<'_>]) {
    let mut newest: Vec<_> = rows
        .iter()
        .map(|row| (row.started_at, row.request_id))
        .collect();
    newest.sort_by_key(|(at, id)| std::cmp::Reverse((*at, *id.as_bytes())));
    let newest: Vec<_> = newest.into_iter().map(|(_, id)| id).collect();
    assert_eq!(find(store, &all()).await, (newest.clone(), None));
    let mut page = RowFilter { limit: 5, ..all() };
    let mut ids = Vec::new();
    loop {
        let (found, last) = find(store, &page).await;
        ids.extend(found);
        page.before = last;
        if last.is_none() {
            break;
        }
    }
    assert_eq!(ids, newest);
}

async fn filters_find(store: &dyn Store, rows: &[LedgerRow<'_>]) {
    let id = |place: usize| rows[place].request_id;
    let found = async |change: &dyn Fn(&mut RowFilter), expected: &[RequestId]| {
        let mut filter = all();
        change(&mut filter);
        assert_eq!(find(store, &filter).await.0, expected, "{filter:?}");
    };
    let user = |name: &str| vec![name.to_owned()];
    let other = |filter: &mut RowFilter| filter.model = Some("other".to_owned());
    let refused = |filter: &mut RowFilter| filter.error_code = Some("tokens".to_owned());
    let rejected = |filter: &mut RowFilter| filter.outcome = Some(Outcome::Rejected);
    found(&|all| all.request_id = Some(id(7)), &[id(7)]).await;
    found(&|all| all.users = user("ida"), &[id(5)]).await;
    let two = || vec!["x".to_owned(), "o'hara@lab.org".to_owned()];
    found(&|all| all.users = two(), &[id(5)]).await;
    found(&|all| all.users = user("' OR 1=1 --"), &[]).await;
    found(&other, &[id(3)]).await;
    found(&rejected, &[id(4)]).await;
    found(&refused, &[id(4)]).await;
    found(&|all| all.failed = true, &[id(4)]).await;
    found(&|all| all.until = Some(START), &[]).await;
    let every = |filter: &mut RowFilter| {
        refused(filter);
        rejected(filter);
        filter.users = user("hal");
        filter.model = Some("m".to_owned());
        filter.failed = true;
        filter.request_id = Some(id(4));
    };
    found(&every, &[id(4)]).await;
}
