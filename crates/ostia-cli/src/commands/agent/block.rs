//! A block of our lines in a text file that is not ours. Everything else in the file stays, and our lines can be
//! recognized.

const BEGIN: &str = "# >>> ostia agent configure: these lines are written anew each time";
const END: &str = "# <<< ostia agent configure";
/// Prefix of a line that is disabled because it contradicts ours.
const OFF: &str = "#ostia# ";

/// The text without our changes.
pub(super) fn without(text: &str) -> String {
    let mut inside = false;
    let mut kept = String::with_capacity(text.len());
    for line in text.split_inclusive('\n') {
        match line.trim_end() {
            BEGIN => inside = true,
            END => inside = false,
            _ if inside => {}
            _ => kept.push_str(line.strip_prefix(OFF).unwrap_or(line)),
        }
    }
    kept
}

/// Our lines, between marks.
pub(super) fn block(lines: &str) -> String {
    format!("{BEGIN}\n{}\n{END}\n", lines.trim_end())
}

/// Disables the lines of `text` that set one of `keys` at the top level, where a key is followed by `separator`. In
/// TOML, the top level ends at the first table.
pub(super) fn turned_off(text: &str, keys: &[&str], separator: char) -> String {
    let mut in_table = false;
    let lines = text.split_inclusive('\n').map(|line| {
        in_table |= separator == '=' && line.starts_with('[');
        let key = line.split(separator).next().unwrap_or_default().trim_end();
        match !in_table && line.contains(separator) && keys.contains(&key) {
            true => format!("{OFF}{line}"),
            false => line.to_owned(),
        }
    });
    lines.collect()
}

/// Two parts of a file, each starting on a new line.
pub(super) fn joined(first: &str, second: &str) -> String {
    match first.is_empty() || first.ends_with('\n') {
        true => format!("{first}{second}"),
        false => format!("{first}\n{second}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_ours_stays_and_what_contradicts_is_turned_off() {
        let theirs = "# mine\nmodel = \"x\"\nmodel_other = 1\n[profiles.a]\nmodel = \"y\"\n";
        let off = turned_off(theirs, &["model"], '=');
        assert_eq!(
            off,
            "# mine\n#ostia# model = \"x\"\nmodel_other = 1\n[profiles.a]\nmodel = \"y\"\n"
        );
        let ours = joined(&block("model = \"z\""), &off);
        assert_eq!(without(&ours), theirs);
        let yaml = turned_off("model: a\n  model: b\nmodels: c\n", &["model"], ':');
        assert_eq!(yaml, "#ostia# model: a\n  model: b\nmodels: c\n");
        assert_eq!(joined("a", "b"), "a\nb");
    }
}
