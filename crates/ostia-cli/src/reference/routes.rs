use ostia::routes::{ROUTES, RouteEntry};

use super::{code, head, table};

const INTRODUCTION: &str = "\
Every public route, bare and under `server.base_path`. `{name}` is one segment of the path, `{*name}` all that is left of
it; `{reserved}` is one of the APIs that are never relayed. Open routes need no key. The running gateway says the same
as `/openapi.json` and `/docs`.
";

pub(super) fn page() -> String {
    let rows: Vec<Vec<String>> = ROUTES.iter().map(row).collect();
    let table = table(&["methods", "path", "open", "what"], &rows);
    format!("{}{table}", head("Routes", INTRODUCTION))
}

fn row(entry: &RouteEntry) -> Vec<String> {
    let open = if entry.open { "yes" } else { "" };
    vec![
        entry.methods.join(", "),
        code(entry.pattern),
        open.to_owned(),
        entry.summary.to_owned(),
    ]
}
