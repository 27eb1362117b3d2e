use tracing::Level;
use tracing::level_filters::LevelFilter;
use tracing_subscriber::filter::Targets;

use super::LogFormat;

/// The ledger's columns, once a request: for machines.
const USAGE: &str = "ostia::usage";

/// A text of `OSTIA_LOG` that cannot be read.
#[derive(Debug, thiserror::Error)]
#[error(
    "OSTIA_LOG: `{text}` cannot be read: write a level (`debug`), or levels by target (`info,ostia::relay=trace`)"
)]
pub struct FilterError {
    text: String,
}

/// `level` holds where `directives` give no level for everything.
pub(super) fn parse(
    directives: &str,
    level: Level,
    format: LogFormat,
) -> Result<Targets, FilterError> {
    let asked = match directives.trim() {
        "" => Targets::new(),
        text => text.parse::<Targets>().map_err(|_| FilterError {
            text: text.escape_debug().to_string(),
        })?,
    };
    // Audit events are shown even by commands that otherwise show only warnings and errors.
    let audit = asked.default_level().unwrap_or(LevelFilter::INFO);
    let level = asked.default_level().unwrap_or(level.into());
    let mut filter = Targets::new()
        .with_default(level.min(LevelFilter::INFO))
        .with_target("ostia", level)
        .with_target("ostia::audit", audit)
        .with_targets(asked.iter());
    if matches!(format, LogFormat::Json) {
        return Ok(filter);
    }
    let named = asked.iter().any(|(named, _)| named == USAGE);
    if !named && !filter.would_enable(USAGE, &Level::DEBUG) {
        filter = filter.with_target(USAGE, LevelFilter::OFF);
    }
    Ok(filter)
}

#[cfg(test)]
mod tests {
    use tracing::Level;

    use super::parse;
    use crate::telemetry::log::LogFormat;

    const TEXT: LogFormat = LogFormat::Text { colors: false };

    #[track_caller]
    fn check(format: LogFormat, directives: &str, target: &str, level: Level, expected: bool) {
        let filter = parse(directives, Level::INFO, format).unwrap();
        let shown = filter.would_enable(target, &level);
        assert_eq!(shown, expected, "{directives:?}: {target} at {level}");
    }

    #[test]
    fn text_shows_requests_and_their_columns_at_debug_only() {
        for (target, at_info) in [("ostia::access", true), ("ostia::usage", false)] {
            check(TEXT, "", target, Level::INFO, at_info);
            check(TEXT, "info", target, Level::INFO, at_info);
            check(TEXT, "warn", target, Level::INFO, false);
            check(TEXT, "debug", target, Level::INFO, true);
            check(TEXT, "info,ostia=debug", target, Level::INFO, true);
            check(TEXT, &format!("{target}=info"), target, Level::INFO, true);
            check(LogFormat::Json, "", target, Level::INFO, true);
            check(LogFormat::Json, "warn", target, Level::INFO, false);
            let off = format!("{target}=off");
            check(LogFormat::Json, &off, target, Level::INFO, false);
        }
    }

    #[test]
    fn audit_events_are_told_by_quiet_commands_too() {
        let shown = |directives: &str| {
            let filter = parse(directives, Level::WARN, TEXT).unwrap();
            filter.would_enable("ostia::audit", &Level::INFO)
        };
        assert!(shown("") && shown("ostia::store=debug") && shown("debug"));
        assert!(!shown("warn") && !shown("ostia::audit=off"));
    }

    #[test]
    fn other_crates_stay_at_info_unless_they_are_named() {
        check(TEXT, "trace", "ostia::relay", Level::TRACE, true);
        check(TEXT, "trace", "ostia_store::sqlite", Level::TRACE, true);
        check(TEXT, "trace", "h2::codec", Level::DEBUG, false);
        check(TEXT, "trace", "h2::codec", Level::INFO, true);
        check(TEXT, "error", "h2::codec", Level::WARN, false);
        check(TEXT, "info,h2=debug", "h2::codec", Level::DEBUG, true);
    }

    #[test]
    fn a_word_that_is_no_level_silences_nothing() {
        check(TEXT, "debgu", "ostia::app", Level::INFO, true);
        check(TEXT, "off", "ostia::app", Level::ERROR, false);
    }

    #[test]
    fn a_wrong_level_is_an_error() {
        let error = parse("ostia=loud", Level::INFO, TEXT).unwrap_err();
        assert!(error.to_string().contains("ostia=loud"), "{error}");
    }
}
