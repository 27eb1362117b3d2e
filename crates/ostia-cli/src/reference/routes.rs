use ostia::routes::{ADMIN_ROUTES, AdminRoute, ROUTES, RouteEntry, Who};

use super::{code, head, table};

const INTRODUCTION: &str = "\
Every public route, bare and under `server.base_path`. `{name}` is one segment of the path, `{*name}` all that is left of
it; `{reserved}` is one of the APIs that are never relayed. Open routes need no key. The running gateway says the same
as `/openapi.json` and `/docs`.
";

const ADMINISTRATION: &str = "\
## The admin listener

On `server.admin_listen`, without a base path. Routes that are not open take a key with one of the roles, or the token that
a running gateway writes to `admin.token` in its `server.state_dir`, which `ostia reload` and other commands use.
";

pub(super) fn page() -> String {
    let rows: Vec<Vec<String>> = ROUTES.iter().map(row).collect();
    let public = table(&["methods", "path", "open", "what"], &rows);
    let rows: Vec<Vec<String>> = ADMIN_ROUTES.iter().map(admin_row).collect();
    let admin = table(&["method", "path", "who", "query", "what"], &rows);
    let head = head("Routes", INTRODUCTION);
    format!("{head}{public}\n{ADMINISTRATION}\n{admin}")
}

fn admin_row(route: &AdminRoute) -> Vec<String> {
    let who = match route.who {
        Who::Anybody => "open".to_owned(),
        Who::Managers => "admin, managers of the project".to_owned(),
        Who::Roles(roles) => {
            let words = roles.iter().map(|role| role.as_str());
            std::iter::once("admin")
                .chain(words)
                .collect::<Vec<_>>()
                .join(", ")
        }
    };
    let query: Vec<String> = route.query.iter().map(|name| code(name)).collect();
    vec![
        route.method.to_owned(),
        code(route.pattern),
        who,
        query.join(", "),
        route.summary.to_owned(),
    ]
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
