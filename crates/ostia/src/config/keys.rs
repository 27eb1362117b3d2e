//! The keys of `ostia.toml`: every section and key that the code asks for, with its default and meaning. The page
//! docs/reference/config.md is generated from them.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use super::environment::Environment;
use super::problem::Report;
use super::reader::Reading;
use super::sections;
use super::source::Source;
use super::toml_file;
use super::tree::At;

/// A section or key, recorded when it was asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SettingKey {
    /// With its sections: `auth.globus.client_id`.
    pub name: String,
    /// What is accepted, with the unit; [`SettingKey::SECTION`] for a section.
    pub accepts: String,
    /// As it would be written in the file; "" if there is none.
    pub default: String,
    pub meaning: &'static str,
}

impl SettingKey {
    pub const SECTION: &'static str = "section";
    /// A text that is never shown.
    pub const SECRET: &'static str = "secret text";

    pub fn is_section(&self) -> bool {
        self.accepts == Self::SECTION
    }
}

/// Sections that are read only if the site uses names of its own.
const NAMED_BY_SITES: &str = "[maintenance.source.CLUSTER]\nurl = \"https://status.example/\"\n";

/// Every section and key, in the order in which they are read.
pub fn setting_keys() -> Vec<SettingKey> {
    let report = Report::default();
    let environment = Environment::default();
    let source = Source::settings("".into(), PathBuf::new(), NAMED_BY_SITES.to_owned());
    let source = Arc::new(source);
    let (table, _) = toml_file::parse(&source, &report);
    let reading = Reading::new(&environment, At::whole(source), PathBuf::new(), &report);
    sections::read(&reading, &table);
    reading.keys.into_inner()
}

/// `90s`, `1m`, `24h`, `365d`, `10y`.
pub(super) fn show_duration(duration: Duration) -> String {
    if duration.is_zero() {
        return "\"0\"".to_owned();
    }
    let millis = duration.as_millis();
    // A day is shown as 24 hours, and a year as 365 days, as people write them.
    let units = [
        ("y", 2, 365 * 86_400_000),
        ("d", 2, 86_400_000),
        ("h", 1, 3_600_000),
        ("m", 1, 60_000),
        ("s", 1, 1_000),
    ];
    let (unit, size) = units
        .into_iter()
        .find(|(_, least, size)| millis.is_multiple_of(*size) && millis / size >= *least)
        .map_or(("ms", 1), |(unit, _, size)| (unit, size));
    format!("\"{}{unit}\"", millis / size)
}

pub(super) fn show_size(bytes: u64) -> String {
    match bytes >> 20 {
        mebibytes if mebibytes > 0 && bytes.is_multiple_of(1 << 20) => {
            format!("\"{mebibytes}MiB\"")
        }
        _ => bytes.to_string(),
    }
}

pub(super) fn show_text(text: &str) -> String {
    format!("\"{text}\"")
}

pub(super) fn show_list(texts: &[&str]) -> String {
    let shown: Vec<String> = texts.iter().map(|text| show_text(text)).collect();
    format!("[{}]", shown.join(", "))
}

#[cfg(test)]
mod tests {
    use super::{Duration, setting_keys, show_duration, show_size};

    #[test]
    fn every_key_stands_once_and_says_what_it_means() {
        let keys = setting_keys();
        assert!(keys.len() > 60, "{}", keys.len());
        for (index, key) in keys.iter().enumerate() {
            let name = &key.name;
            assert!(!key.meaning.is_empty(), "{name}");
            assert!(
                keys[..index].iter().all(|earlier| earlier.name != *name),
                "{name}"
            );
        }
        let listen = keys.iter().find(|key| key.name == "server.listen").unwrap();
        assert_eq!(listen.default, "\"127.0.0.1:8000\"");
        let source = keys
            .iter()
            .find(|key| key.name == "maintenance.source.CLUSTER.interval")
            .unwrap();
        assert_eq!(source.default, "\"1m\"");
    }

    #[test]
    fn defaults_are_shown_as_they_are_written() {
        for (millis, shown) in [
            (0, "\"0\""),
            (250, "\"250ms\""),
            (10_000, "\"10s\""),
            (90_000, "\"90s\""),
            (600_000, "\"10m\""),
            (3_600_000, "\"1h\""),
            (86_400_000, "\"24h\""),
            (365 * 86_400_000, "\"365d\""),
            (3_650 * 86_400_000, "\"10y\""),
        ] {
            assert_eq!(show_duration(Duration::from_millis(millis)), shown);
        }
        assert_eq!(show_size(32 << 20), "\"32MiB\"");
        assert_eq!(show_size(1000), "1000");
    }
}
