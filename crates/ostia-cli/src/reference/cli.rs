use clap::{Arg, Command, CommandFactory as _};

use super::{code, head, table};
use crate::arguments::Arguments;

const INTRODUCTION: &str = "\
`ostia --help` and `ostia COMMAND --help` say the same; `ostia man` prints manual pages and `ostia completions SHELL` a
script that completes words.
";

pub(super) fn page() -> String {
    let mut command = Arguments::command().term_width(100);
    command.build();
    let mut page = head("Commands", INTRODUCTION);
    let global: Vec<Vec<String>> = command
        .get_arguments()
        .filter(|argument| argument.is_global_set())
        .map(row)
        .collect();
    page.push_str("## Options of all commands\n\n");
    page.push_str(&table(&["option", "what"], &global));
    if let Some(after) = command.get_after_help() {
        page.push_str(&format!("\n{after}\n"));
    }
    for inner in command.get_subcommands() {
        describe(inner, &mut page);
    }
    page
}

fn describe(command: &Command, page: &mut String) {
    if command.get_name() == "help" || command.is_hide_set() {
        return;
    }
    let name = command.get_bin_name().unwrap_or(command.get_name());
    let about = command.get_long_about().or(command.get_about());
    let about = about.map(ToString::to_string).unwrap_or_default();
    let usage = command.clone().render_usage().to_string();
    let usage = usage.trim_start_matches("Usage: ");
    page.push_str(&format!("\n## `{name}`\n\n{about}\n\n    {usage}\n"));
    let rows: Vec<Vec<String>> = command
        .get_arguments()
        .filter(|argument| {
            !argument.is_global_set() && !argument.is_hide_set() && argument.get_id() != "help"
        })
        .map(row)
        .collect();
    if !rows.is_empty() {
        page.push('\n');
        page.push_str(&table(&["word", "what"], &rows));
    }
    if let Some(after) = command.get_after_help() {
        page.push_str(&format!("\n{after}\n"));
    }
    for inner in command.get_subcommands() {
        describe(inner, page);
    }
}

fn row(argument: &Arg) -> Vec<String> {
    let help = argument.get_long_help().or(argument.get_help());
    let mut what = help.map(ToString::to_string).unwrap_or_default();
    assert!(!what.is_empty(), "{} has no help", argument.get_id());
    let takes_value = argument.get_action().takes_values();
    let choices: Vec<String> = argument
        .get_possible_values()
        .iter()
        .map(|value| code(value.get_name()))
        .collect();
    if takes_value && !choices.is_empty() {
        what.push_str(&format!(" ({})", choices.join(", ")));
    }
    let defaults: Vec<String> = argument
        .get_default_values()
        .iter()
        .map(|value| code(&value.to_string_lossy()))
        .filter(|value| !value.is_empty())
        .collect();
    if takes_value && !defaults.is_empty() {
        what.push_str(&format!("; by default {}", defaults.join(", ")));
    }
    vec![code(&spelling(argument)), what.replace('\n', " ")]
}

/// `--since <DURATION>`, `-h`, `CLUSTER`.
fn spelling(argument: &Arg) -> String {
    let values: Vec<String> = argument
        .get_value_names()
        .unwrap_or_default()
        .iter()
        .map(ToString::to_string)
        .collect();
    let values = values.join(" ");
    match argument.get_long() {
        Some(long) if argument.get_action().takes_values() => format!("--{long} {values}"),
        Some(long) => format!("--{long}"),
        None => values,
    }
}
