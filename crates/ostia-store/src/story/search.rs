//! Searches for rows of the ledger.

use std::borrow::Cow;

use ostia_core::{LedgerRow, Outcome, RowFilter, Store};

use super::{DAY, NOON, row};

/// Every filter, alone and combined, returns the newest rows first.
pub(super) async fn rows_are_found(store: &dyn Store) {
    let start = NOON + 500 * DAY;
    let mut rows: Vec<_> = (0..12).map(|n| row("hal", start + n / 2, 1)).collect();
    rows[3].model = Cow::Borrowed("other");
    rows[4].outcome = Outcome::Rejected;
    rows[4].error_code = Cow::Borrowed("tokens");
    rows[5].user_id = Cow::Borrowed("ida");
    rows[5].username = Cow::Borrowed("o'hara@lab.org");
    assert_eq!(store.insert_rows(&rows).await.unwrap(), 12);
    let all = RowFilter {
        since: start,
        until: Some(start + DAY),
        limit: 100,
        ..RowFilter::default()
    };
    let find = async |filter: &RowFilter| {
        let mut ids = Vec::new();
        let mut take = |row: &LedgerRow<'_>| ids.push(row.request_id);
        let last = store.find_rows(filter, &mut take).await.unwrap();
        (ids, last)
    };
    let mut newest: Vec<_> = rows
        .iter()
        .map(|row| (row.started_at, row.request_id))
        .collect();
    newest.sort_by_key(|(at, id)| std::cmp::Reverse((*at, *id.as_bytes())));
    let newest: Vec<_> = newest.into_iter().map(|(_, id)| id).collect();
    assert_eq!(find(&all).await, (newest.clone(), None));
    let mut page = RowFilter {
        limit: 5,
        ..all.clone()
    };
    let mut ids = Vec::new();
    loop {
        let (found, last) = find(&page).await;
        ids.extend(found);
        page.before = last;
        if last.is_none() {
            break;
        }
    }
    assert_eq!(ids, newest);
    let of = |place: usize| vec![rows[place].request_id];
    let with = |change: &dyn Fn(&mut RowFilter)| {
        let mut filter = all.clone();
        change(&mut filter);
        filter
    };
    let user = |name: &str| vec![name.to_owned()];
    let other = |filter: &mut RowFilter| filter.model = Some("other".to_owned());
    let refused = |filter: &mut RowFilter| filter.error_code = Some("tokens".to_owned());
    for (filter, found) in [
        (
            with(&|all| all.request_id = Some(rows[7].request_id)),
            of(7),
        ),
        (with(&|all| all.users = user("ida")), of(5)),
        (
            with(&|all| all.users = vec!["x".to_owned(), "o'hara@lab.org".to_owned()]),
            of(5),
        ),
        (with(&other), of(3)),
        (with(&|all| all.outcome = Some(Outcome::Rejected)), of(4)),
        (with(&refused), of(4)),
        (with(&|all| all.failed = true), of(4)),
        (
            RowFilter {
                users: user("hal"),
                model: Some("m".to_owned()),
                outcome: Some(Outcome::Rejected),
                error_code: Some("tokens".to_owned()),
                failed: true,
                request_id: Some(rows[4].request_id),
                ..all.clone()
            },
            of(4),
        ),
        (with(&|all| all.users = user("' OR 1=1 --")), Vec::new()),
        (with(&|all| all.until = Some(start)), Vec::new()),
    ] {
        assert_eq!(find(&filter).await.0, found, "{filter:?}");
    }
}
