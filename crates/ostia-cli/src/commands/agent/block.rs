//! Lines of ours in a text file of somebody else's. Whatever else stands there stays, and ours can be told apart.

const BEGIN: &str = "# >>> ostia agent configure: these lines are written anew each time";
const END: &str = "# <<< ostia agent configure";
/// In front of a line that would contradict ours.
const OFF: &str = "#ostia# ";

/// The text as it would be without us.
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

/// Our lines, with marks around them.
pub(super) fn block(lines: &str) -> String {
    format!("{BEGIN}\n{}\n{END}\n", lines.trim_end())
}

/// Turns off the lines of `text` that set one of `keys` at its top level: `separator` stands behind a key. For TOML that is
/// all before the first table.
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

/// Two parts of a file, each on lines of its own.
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
