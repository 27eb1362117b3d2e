use ostia::refusal::{ERROR_CODES, ErrorCode};

use super::{code, head, table};

const INTRODUCTION: &str = "\
`{\"error\": {\"message\", \"type\", \"param\", \"code\"}}` with the status below; on `messages` also a top-level `\"type\": \"error\"`,
and `error.type` is Anthropic's word. The ledger's `error_code`, and with it the log's `usage` event, has the same `code`;
`access` events have the status only. 401 carries `WWW-Authenticate`. 429 and 503 carry `Retry-After` where waiting
helps, and any answer that no retry can help carries `x-should-retry: false`, which SDKs obey. A backend keeps its 4xx
(but for 401, 403 and 407), 503 and 529, its text and its own codes: an error object passes byte for byte, everything else
is put into the shape above. Every answer has `x-request-id`, which finds its line in the log and, for inference after
sign-in, its row in the ledger.
";

pub(super) fn page() -> String {
    let rows: Vec<Vec<String>> = ERROR_CODES.iter().map(row).collect();
    let columns = [
        "code",
        "status",
        "type",
        "what happened",
        "caller",
        "operator",
    ];
    let table = table(&columns, &rows);
    format!("{}{table}", head("Error codes", INTRODUCTION))
}

fn row(error: &ErrorCode) -> Vec<String> {
    let statuses: Vec<String> = error.statuses.iter().map(u16::to_string).collect();
    let (status, kind) = match statuses.is_empty() {
        true => (
            "the adapter's or backend's".to_owned(),
            "by status".to_owned(),
        ),
        false => (statuses.join(", "), code(error.kind())),
    };
    // The anchor lets other pages link to a code.
    let name = format!("<a id=\"{0}\"></a>`{0}`", error.code);
    let texts = [error.meaning, error.caller, error.operator].map(str::to_owned);
    [name, status, kind].into_iter().chain(texts).collect()
}
