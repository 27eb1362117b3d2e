//! FIRST maps the slug of a removed endpoint to that of another. The old name itself is lost, but its slug is enough:
//! with `catalog.match = "slug"` every name that gives this slug finds it.

use toml::{Table, Value as Toml};

use super::fixtures::Entry;
use crate::catalog::slug;

#[derive(Default)]
pub(super) struct Made {
    /// The rest of the old name -> the model.
    pub aliases: Table,
    /// What cannot be an alias, and why.
    pub left: Vec<String>,
}

/// `mapping`: from old slugs to new ones.
pub(super) fn of(mapping: &Toml, entries: &[Entry]) -> Made {
    let mut made = Made::default();
    for (old, new) in mapping.as_table().into_iter().flatten() {
        let new = new.as_str().unwrap_or_default();
        match alias(old, new, entries, &made.aliases) {
            Ok((alias, model)) => {
                made.aliases.insert(alias, model.into());
            }
            Err(why) => made.left.push(why),
        }
    }
    made
}

fn alias(
    old: &str,
    new: &str,
    entries: &[Entry],
    known: &Table,
) -> Result<(String, String), String> {
    let Some(target) = entries.iter().find(|entry| entry.slug == new) else {
        return Err(format!("`{old}`: no endpoint has the slug `{new}`"));
    };
    if entries.iter().any(|entry| entry.slug == old) {
        return Err(format!(
            "`{old}` is an endpoint of its own, which FIRST hid behind `{new}`: here it is served until you remove it"
        ));
    }
    let (cluster, framework) = (&target.cluster, &target.framework);
    let begins = format!("{}-", slug(cluster, framework, ""));
    let Some(name) = old.strip_prefix(&begins).filter(|name| !name.is_empty()) else {
        return Err(format!(
            "`{old}` is not of {cluster}/{framework}, where `{new}` is: its users have to call that one"
        ));
    };
    match known.get(name).and_then(Toml::as_str) {
        Some(other) if other != target.model => Err(format!(
            "`{old}`: `{name}` already stands for {other}, and an alias holds on every cluster"
        )),
        _ => Ok((name.to_owned(), target.model.clone())),
    }
}
