use ostia::config::{
    CLUSTER_CONFIG_KEYS, CLUSTER_KEYS, CONNECTION_KEYS, ENDPOINT_CONFIG_KEYS, ENDPOINT_KEYS,
    FixtureKey, SettingKey, setting_keys,
};

use super::{code, head, table};

const INTRODUCTION: &str = "\
`ostia.toml`: every section and key, with what is accepted and the default. Every key is optional unless it says
otherwise; an unknown key is an error. Relative paths are relative to the file.

- Durations: `\"250ms\"`, `\"10s\"`, `\"5m\"`, `\"1h30m\"`, `\"1d\"`; a bare number is seconds. Sizes: bytes, or `\"512KiB\"`,
  `\"32MiB\"`, `\"2GiB\"`.
- Lists: `[\"a\", \"b\"]`, or one text with commas, spaces or lines between.
- Any value may be `\"env:NAME\"` (that variable) or `\"file:PATH\"` (what the file holds). Secrets are never printed.
- A variable such as `OSTIA_SERVER__LISTEN` overrides the file: `OSTIA_`, section, two underscores, key.
- `ostia check` reports every mistake with file, line and column.";

const FIXTURES: &str = "
# Fixture entries

A fixture file is a list of `{\"model\": KIND, \"pk\": 1, \"fields\": {...}}`. An unknown key in `fields` is a warning, one that
begins with `allowed_` an error; `config` may hold anything but rules (`allowed_...`, `tpm_...`), which hold in `fields`
only. A key that occurs twice is a warning, a rule that does is an error. `null` is the same as absent.

The same entries may stand in `ostia.toml`, as `[[clusters]]` and `[[endpoints]]`: there the keys of `fields` and those of
`config` stand side by side, and values may be `\"env:NAME\"` or `\"file:PATH\"`.
";

pub(super) fn page() -> String {
    let mut page = head("Configuration", INTRODUCTION);
    let keys = setting_keys();
    for section in keys.iter().filter(|key| key.is_section()) {
        page.push_str(&section_text(section, &keys));
    }
    page.push_str(FIXTURES);
    for (title, keys) in [
        ("`resource_server_async.cluster`, fields", &CLUSTER_KEYS[..]),
        ("`config` of a cluster", &CLUSTER_CONFIG_KEYS),
        ("`resource_server_async.endpoint`, fields", &ENDPOINT_KEYS),
        ("`config` of an endpoint", ENDPOINT_CONFIG_KEYS),
        ("`config` of either: connections", &CONNECTION_KEYS),
    ] {
        let rows: Vec<Vec<String>> = keys.iter().map(fixture_row).collect();
        page.push_str(&format!("\n## {title}\n\n"));
        page.push_str(&table(&["key", "accepts", "default", "meaning"], &rows));
    }
    page
}

fn section_text(section: &SettingKey, keys: &[SettingKey]) -> String {
    let inside = |key: &&SettingKey| {
        let parent = key.name.rsplit_once('.').map_or("", |(parent, _)| parent);
        !key.is_section() && parent == section.name
    };
    let rows: Vec<Vec<String>> = keys.iter().filter(inside).map(row).collect();
    let (name, meaning) = (&section.name, section.meaning);
    let table = table(&["key", "accepts", "default", "meaning"], &rows);
    let gap = if table.is_empty() { "" } else { "\n" };
    format!("\n## `[{name}]`\n\n{meaning}\n{gap}{table}")
}

fn row(key: &SettingKey) -> Vec<String> {
    let name = key.name.rsplit('.').next().unwrap_or_default();
    // A default described in words is not formatted as code.
    let default = match key.default.starts_with(|first: char| first.is_lowercase()) {
        true if !matches!(&*key.default, "true" | "false") => key.default.clone(),
        _ => code(&key.default),
    };
    let accepts = key.accepts.trim_start_matches("a ").to_owned();
    vec![
        code(name),
        bounded(accepts),
        default,
        key.meaning.to_owned(),
    ]
}

/// The bounds of the integer type itself mean nothing to a reader.
fn bounded(accepts: String) -> String {
    let ends = [format!(" to {}", u32::MAX), format!(" to {}", u64::MAX)];
    ends.iter()
        .find_map(|end| accepts.strip_suffix(end.as_str()))
        .map_or_else(|| accepts.clone(), str::to_owned)
}

fn fixture_row(key: &FixtureKey) -> Vec<String> {
    [
        code(key.name),
        key.accepts.into(),
        key.default.into(),
        key.meaning.into(),
    ]
    .into()
}
