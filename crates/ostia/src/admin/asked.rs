use form_urlencoded::parse;

use crate::listen::Inbound;

/// A request of the admin listener whose sender was let in.
pub(super) struct Asked {
    inbound: Inbound,
    /// What the placeholders of its pattern stand for.
    captures: Vec<String>,
}

impl Asked {
    pub const fn new(inbound: Inbound, captures: Vec<String>) -> Self {
        Self { inbound, captures }
    }

    /// What the pattern's one placeholder stands for.
    pub fn capture(&self) -> &str {
        self.captures.first().map_or("", String::as_str)
    }

    /// The last value of this name in the query.
    pub fn query(&self, name: &str) -> Option<String> {
        let query = self.inbound.head.uri.query().unwrap_or_default();
        let named = parse(query.as_bytes()).filter(|(key, _)| key == name);
        named.last().map(|(_, value)| value.into_owned())
    }

    /// Whether the query says yes: the name alone does, as do all values but these.
    pub fn says(&self, name: &str) -> bool {
        let value = self.query(name);
        value.is_some_and(|value| !matches!(&*value, "false" | "0" | "no"))
    }
}
