//! In: the tables that the program itself uses (settings, fixture keys, clap's commands, metrics, error codes, routes,
//! columns of the ledger). Out: the pages in docs/reference, and a test that fails if a page differs from the tables.
//! Not here: text that is not in the tables, apart from each page's first lines.
//!
//! `OSTIA_BLESS=1 cargo test -p ostia-cli reference` writes the pages.

mod cli;
mod config;
mod errors;
mod ledger;
mod metrics;
mod routes;
mod variables;

use std::fs;
use std::path::Path;

#[test]
fn the_page_of_settings_is_current() {
    compare("config.md", &config::page());
}

#[test]
fn the_page_of_commands_is_current() {
    compare("cli.md", &cli::page());
}

#[test]
fn the_page_of_metrics_is_current() {
    compare("metrics.md", &metrics::page());
}

#[test]
fn the_page_of_error_codes_is_current() {
    compare("errors.md", &errors::page());
}

#[test]
fn the_page_of_the_ledger_is_current() {
    compare("ledger.md", &ledger::page());
}

#[test]
fn the_page_of_routes_is_current() {
    compare("routes.md", &routes::page());
}

#[test]
fn the_page_of_firsts_variables_is_current() {
    compare("first-variables.md", &variables::page());
}

fn compare(name: &str, page: &str) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/reference");
    let path = folder.join(name);
    if std::env::var_os("OSTIA_BLESS").is_some_and(|value| !value.is_empty()) {
        fs::create_dir_all(&folder).unwrap();
        fs::write(&path, page).unwrap();
    }
    let committed = fs::read_to_string(&path).unwrap_or_default();
    assert!(
        committed == page,
        "docs/reference/{name} is not what the code says: run \
         `OSTIA_BLESS=1 cargo test -p ostia-cli reference` and commit the page"
    );
}

/// The first lines of a page.
fn head(title: &str, text: &str) -> String {
    format!(
        "# {title}\n\n<!-- Made from the code by a test; see crates/ostia-cli/src/reference. -->\n\n{text}\n"
    )
}

/// A table, or nothing if there are no rows.
fn table(columns: &[&str], rows: &[Vec<String>]) -> String {
    if rows.is_empty() {
        return String::new();
    }
    let line = |cells: Vec<String>| format!("| {} |\n", cells.join(" | "));
    let mut text = line(columns.iter().map(|name| (*name).to_owned()).collect());
    text.push_str(&line(columns.iter().map(|_| "---".to_owned()).collect()));
    for row in rows {
        let cells = row.iter().map(|cell| cell.replace('|', "\\|"));
        text.push_str(&line(cells.collect()));
    }
    text
}

fn code(text: &str) -> String {
    match text.is_empty() {
        true => String::new(),
        false => format!("`{text}`"),
    }
}
