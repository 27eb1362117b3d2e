use super::row::{COLUMNS, IN_LEDGER};
use super::value::Kind;

/// The table of what is kept about a request. `ledger_columns!(make)` expands to `make! { the table }`.
///
/// To add a column:
/// 1. a line here, with the next free number;
/// 2. its value, in `books/page.rs`. If it is known from the request's head, it is a field of `Arrival` there, which
///    `Visit::begin` fills;
/// 3. its line in the documentation: `OSTIA_BLESS=1 cargo test -p ostia-cli reference`.
///
/// Databases get the column when they are next brought up to date (`ostia_store::release`); older rows have the value of
/// an empty row.
///
/// A line is: number, name, type, bound, meaning. The order is that of the columns in SQL, in the `usage` event and in
/// the documentation. The number identifies the column in the journal: it never changes and is never reused, not even
/// after the column is gone. `[128]` limits a text to that many bytes. `late` says that the text may grow after the
/// `started` record, so the journal reserves room for it; numbers may always change.
///
/// `beside` lists what the journal keeps for other tables: `name` is for `users`.
#[macro_export]
macro_rules! ledger_columns {
    ($make:ident) => {
        $make! {
            ledger {
                1 request_id: RequestId,
                    "The gateway's id of the request, a UUIDv7. Answers carry it as `x-request-id`.";
                2 client_request_id: Text<'a> [128],
                    "The client's own id: its `X-Request-Id` or `X-Client-Request-Id`.";
                3 started_at: i64,
                    "When the head of the request had arrived.";
                4 finished_at: i64,
                    "When the request was over.";
                5 user_id: Text<'a> [1024],
                    "The caller, by a name that is unique within the gateway: issuer and subject together, or the user of a key.";
                6 username: Text<'a> [320],
                    "The caller as people know them, `name@domain`.";
                8 auth_service: Text<'a> [64],
                    "What vouched for the caller: `api_key`, `globus`, `introspection`, `oidc` or `none`.";
                9 idp: Text<'a> [256],
                    "The caller's identity provider.";
                10 domain: Text<'a> [256],
                    "What follows the `@` of `username`, in lower case.";
                11 group_id: Text<'a> [256 late],
                    "The group that let the caller in: the first allowed group of the endpoint that they are in, or of its cluster where the endpoint has no rule. Empty where no rule asks for a group.";
                12 key_id: Text<'a> [128],
                    "The API key, as `ostia key list` shows it.";
                13 project: Text<'a> [128],
                    "The project of the API key (`ostia key create --project`).";
                14 cluster: Text<'a> [128 late],
                    "The cluster of the endpoint, or the one that the path named.";
                15 framework: Text<'a> [128 late],
                    "The framework of the endpoint.";
                16 model: Text<'a> [512],
                    "The model by its one name in the catalog. Empty until it was found for this caller.";
                17 endpoint_slug: Text<'a> [768 late],
                    "The endpoint that was asked, the last one after a retry.";
                18 api: Text<'a> [128],
                    "The API, as in the path: `chat/completions`.";
                19 stream: bool,
                    "Whether the client asked for a stream.";
                20 http_status: u16,
                    "The status that the client was sent; 499 if it left before.";
                21 outcome: Outcome,
                    "How the request ended. `ok` is a complete 2xx only.";
                22 phase: Phase,
                    "How far the request had come when it ended.";
                23 error_code: Text<'a> [64 late],
                    "The `code` of the error that the client was sent, or would have been.";
                24 prompt_tokens: u64,
                    "Tokens of the prompt.";
                25 completion_tokens: u64,
                    "Tokens of the answer.";
                26 total_tokens: u64,
                    "Both together, as the backend says it.";
                27 cached_tokens: u64,
                    "Tokens of the prompt that the backend had in its cache.";
                28 reasoning_tokens: u64,
                    "Tokens of the answer that were spent on reasoning.";
                29 usage_source: UsageSource,
                    "Where the counts of tokens come from.";
                30 ttft_ms: Option<u64>,
                    "Milliseconds from `started_at` to the first byte of the answer. No value if there was none.";
                31 duration_ms: u64,
                    "Milliseconds from `started_at` to `finished_at`.";
                32 queue_ms: u64,
                    "Milliseconds that the request waited for its turn.";
                33 request_bytes: u64,
                    "Bytes of the request's body.";
                34 response_bytes: u64,
                    "Bytes of the answer's body that were handed over.";
                35 upstream_status: u16,
                    "The backend's status; 0 if it never answered.";
                36 attempts: u32,
                    "How often the request was sent to a backend.";
                37 origin_ip: Text<'a> [64],
                    "The client's address.";
                39 class: Class,
                    "`interactive`, or `batch` where the caller asked for it (`X-Ostia-Class`).";
                40 location: Location,
                    "Where the endpoint that was asked runs: `on_site` or `external`. Empty until one was chosen.";
                41 served_model: Text<'a> [512 late],
                    "The model that was asked: another than `model` after a fallback. Empty until an endpoint was chosen.";
                42 reported_user: Text<'a> [1024],
                    "The name under which reports count the request, where it is not `username`, because its bearer may have chosen that: a name for which a provider answers, or `user_id`.";
                38 count: u32,
                    "How many requests the row stands for: above 1 only for refusals that share a row.";
            }
            beside {
                7 name: Text<'a> [256],
                    "The caller's full name.";
            }
        }
    };
}

/// What the table says about one column.
#[derive(Debug, Clone, Copy)]
pub struct Column {
    /// Identifies the column in the journal.
    pub number: u16,
    pub name: &'static str,
    pub kind: Kind,
    /// The longest text, in bytes.
    pub most: usize,
    /// Whether the text may grow after the `started` record.
    pub late: bool,
    pub meaning: &'static str,
}

impl Column {
    /// Everything that is kept about a request: the ledger's columns, then the others, in the order of
    /// `LedgerRow::values`.
    pub const ALL: &'static [Self] = &COLUMNS;
    /// The columns of the table `ledger`.
    pub const LEDGER: &'static [Self] = COLUMNS.split_at(IN_LEDGER).0;

    /// The column with this number in the journal; `None`: it belongs to a newer ostia.
    pub fn numbered(number: u64) -> Option<&'static Self> {
        let index = BY_NUMBER.get(usize::try_from(number).ok()?)?;
        COLUMNS.get(*index)
    }
}

/// Greater than every column's number.
const NUMBERS: usize = {
    let mut end = 0;
    let mut index = 0;
    while index < COLUMNS.len() {
        let number = COLUMNS[index].number as usize;
        if number >= end {
            end = number + 1;
        }
        index += 1;
    }
    end
};

/// The index in `COLUMNS` of each number. If two columns have the same number, this does not compile.
static BY_NUMBER: [usize; NUMBERS] = {
    let mut places = [usize::MAX; NUMBERS];
    let mut index = 0;
    while index < COLUMNS.len() {
        let place = &mut places[COLUMNS[index].number as usize];
        assert!(*place == usize::MAX, "two columns have the same number");
        *place = index;
        index += 1;
    }
    places
};

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::{Column, Kind};

    #[test]
    fn every_column_is_found_by_its_number_and_no_other_is() {
        for column in Column::ALL {
            let found = Column::numbered(column.number.into()).unwrap();
            assert_eq!(found.name, column.name);
        }
        for unknown in [0, 1_000, u64::MAX] {
            assert!(Column::numbered(unknown).is_none());
        }
        let names: HashSet<_> = Column::ALL.iter().map(|column| column.name).collect();
        assert_eq!(names.len(), Column::ALL.len());
        assert!(Column::LEDGER.iter().all(|column| column.name != "name"));
    }

    #[test]
    fn texts_and_only_texts_are_bounded() {
        for column in Column::ALL {
            let is_text = column.kind == Kind::Text;
            assert_eq!(column.most > 0, is_text, "{}", column.name);
            assert!(!column.late || is_text, "{}", column.name);
            assert!(column.meaning.ends_with('.'), "{}", column.name);
        }
    }
}
