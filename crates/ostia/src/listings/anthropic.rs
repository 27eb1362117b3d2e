use std::borrow::Cow;

use jiff::Timestamp;
use serde_json::{Value, json};

use super::described::Described;
use crate::dialect::Invalid;

/// Which part of a list is wanted (Anthropic's API reference, "List Models").
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Paging<'a> {
    limit: usize,
    after: Option<Cow<'a, str>>,
    before: Option<Cow<'a, str>>,
}

const USUAL: usize = 20;
const MOST: usize = 1000;

impl<'a> Paging<'a> {
    pub fn of(query: &'a str) -> Result<Self, Invalid> {
        let mut paging = Self {
            limit: USUAL,
            after: None,
            before: None,
        };
        for (name, value) in form_urlencoded::parse(query.as_bytes()) {
            match &*name {
                "limit" => {
                    let limit = value
                        .parse()
                        .ok()
                        .filter(|limit| (1..=MOST).contains(limit));
                    paging.limit = limit.ok_or_else(|| wrong("limit", "must be 1 to 1000"))?;
                }
                "after_id" => paging.after = Some(value),
                "before_id" => paging.before = Some(value),
                _ => {}
            }
        }
        match (&paging.after, &paging.before) {
            (Some(_), Some(_)) => Err(wrong(
                "before_id",
                "cannot be used together with 'after_id'",
            )),
            _ => Ok(paging),
        }
    }
}

fn wrong(param: &'static str, why: &str) -> Invalid {
    Invalid {
        code: "invalid_value",
        param: Some(param),
        message: format!("'{param}' {why}."),
    }
}

/// A page of models, each by its name and by its aliases: Claude Code offers only names that begin with `claude` or
/// `anthropic`, and a site can give any model such an alias.
pub(super) fn list(
    models: &[(Described, Vec<&str>)],
    created: i64,
    paging: &Paging<'_>,
) -> Result<Value, Invalid> {
    let entries: Vec<(&str, &Described)> = models
        .iter()
        .flat_map(|(model, aliases)| {
            let names = std::iter::once(&*model.name).chain(aliases.iter().copied());
            names.map(move |name| (name, model))
        })
        .collect();
    let place = |id: &str, param| {
        let found = entries.iter().position(|(name, _)| *name == id);
        found.ok_or_else(|| wrong(param, "names no model of this list"))
    };
    let (page, has_more) = match (&paging.after, &paging.before) {
        (_, Some(before)) => {
            let end = place(before, "before_id")?;
            let start = end.saturating_sub(paging.limit);
            (start..end, start > 0)
        }
        (after, None) => {
            let start = match after {
                Some(after) => place(after, "after_id")? + 1,
                None => 0,
            };
            let end = (start + paging.limit).min(entries.len());
            (start..end, end < entries.len())
        }
    };
    let page = &entries[page];
    let data: Vec<Value> = page
        .iter()
        .map(|(name, model)| entry(name, model, created))
        .collect();
    Ok(json!({
        "data": data,
        "has_more": has_more,
        "first_id": page.first().map(|(name, _)| name),
        "last_id": page.last().map(|(name, _)| name),
    }))
}

pub(super) fn entry(name: &str, model: &Described, created: i64) -> Value {
    let created = Timestamp::from_second(created).unwrap_or_default();
    // Under another name it must not look like another model.
    let display_name = match *name == *model.name || *model.display_name != *model.name {
        true => model.display_name.to_string(),
        false => format!("{name} ({})", model.name),
    };
    let mut entry = json!({
        "type": "model",
        "id": name,
        "display_name": display_name,
        "created_at": created.to_string(),
        "state": model.state.as_str(),
    });
    let sizes = [
        ("max_input_tokens", model.context_window),
        ("max_tokens", model.max_output_tokens),
    ];
    for (key, size) in sizes {
        if let Some(size) = size {
            entry[key] = size.into();
        }
    }
    entry
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn queries_of_pages_are_checked() {
        let paging = |query| Paging::of(query).map_err(|invalid| invalid.param);
        let all = Paging::of("").unwrap();
        assert_eq!((all.limit, all.after, all.before), (USUAL, None, None));
        let one = Paging::of("limit=1&after_id=a%2Fb&beta=true").unwrap();
        assert_eq!((one.limit, one.after.as_deref()), (1, Some("a/b")));
        for (query, param) in [
            ("limit=0", "limit"),
            ("limit=1001", "limit"),
            ("limit=x", "limit"),
            ("limit=", "limit"),
            ("after_id=a&before_id=b", "before_id"),
        ] {
            assert_eq!(paging(query), Err(Some(param)), "{query}");
        }
    }
}
