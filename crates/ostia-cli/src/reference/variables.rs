use ostia::config::first_variables;

use super::{code, head, table};

const INTRODUCTION: &str = "\
Every environment variable that FIRST, its dashboard, its cron jobs and its compose file read, and what becomes of it.
`ostia import first` writes the keys and says the same of what it leaves out. A name that ends in `*` stands for all that
begin so. Variables that `api_key_env_name` names in fixtures keep their names, and so do the proxy variables.
";

pub(super) fn page() -> String {
    let rows: Vec<Vec<String>> = first_variables()
        .into_iter()
        .map(|variable| {
            let (key, why) = match variable.key {
                Some(key) => (code(key), String::new()),
                None => ("-".to_owned(), variable.why.to_owned()),
            };
            vec![code(&variable.name), key, why]
        })
        .collect();
    let table = table(
        &["variable", "key of `ostia.toml`", "if there is none, why"],
        &rows,
    );
    format!("{}{table}", head("Variables of FIRST", INTRODUCTION))
}
