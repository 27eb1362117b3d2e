use std::borrow::Cow;
use std::fmt;

use bytes::Bytes;
use serde::de::{MapAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::Value;
use serde_json::value::RawValue;

/// What an adapter changed in a body. Untouched fields keep their bytes.
#[derive(Debug, Default, Clone)]
pub(super) struct Edits {
    /// Replaces the client's body.
    pub body: Option<Bytes>,
    /// The last edit of a name wins; `None` removes the field.
    pub fields: Vec<(String, Option<Value>)>,
}

/// The top level of a JSON object; its values are not parsed.
struct Members<'a>(Vec<(Cow<'a, str>, &'a RawValue)>);

impl Edits {
    pub fn is_empty(&self) -> bool {
        self.body.is_none() && self.fields.is_empty()
    }

    pub fn set(&mut self, name: &str, value: Option<Value>) {
        self.fields.retain(|(known, _)| known != name);
        self.fields.push((name.to_owned(), value));
    }

    /// A field's value after the edits.
    pub fn field(&self, original: &[u8], name: &str) -> Option<Value> {
        if let Some((_, value)) = self.fields.iter().find(|(known, _)| known == name) {
            return value.clone();
        }
        let body = self.body.as_deref().unwrap_or(original);
        let members: Members<'_> = serde_json::from_slice(body).ok()?;
        let (_, raw) = members.0.iter().rfind(|(known, _)| known == name)?;
        serde_json::from_str(raw.get()).ok()
    }

    /// Applies the edits to the body. Fields keep their order; new ones go last.
    pub fn apply(&self, original: &[u8]) -> Result<String, String> {
        let body = self.body.as_deref().unwrap_or(original);
        let members: Members<'_> = serde_json::from_slice(body)
            .map_err(|error| format!("the body is not a JSON object: {error}"))?;
        let mut text = String::with_capacity(body.len() + 64);
        let mut write = |name: &str, value: &dyn fmt::Display| {
            text.push(if text.is_empty() { '{' } else { ',' });
            text.push_str(&Value::from(name).to_string());
            text.push(':');
            text.push_str(&value.to_string());
        };
        for (name, raw) in &members.0 {
            match self.fields.iter().find(|(known, _)| known == name) {
                None => write(name, &raw.get()),
                Some((_, Some(value))) => write(name, value),
                Some((_, None)) => {}
            }
        }
        for (name, value) in &self.fields {
            let added = !members.0.iter().any(|(known, _)| known == name);
            if let Some(value) = value.as_ref().filter(|_| added) {
                write(name, value);
            }
        }
        if text.is_empty() {
            text.push('{');
        }
        text.push('}');
        Ok(text)
    }
}

impl<'de> Deserialize<'de> for Members<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Object;

        impl<'de> Visitor<'de> for Object {
            type Value = Members<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Members<'de>, A::Error> {
                let mut members = Vec::new();
                while let Some(name) = map.next_key::<Name<'de>>()? {
                    members.push((name.0, map.next_value()?));
                }
                Ok(Members(members))
            }
        }

        deserializer.deserialize_map(Object)
    }
}

/// A key, borrowed if it has no escapes.
#[derive(Deserialize)]
struct Name<'a>(#[serde(borrow)] Cow<'a, str>);

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn untouched_fields_keep_their_bytes_and_their_place() {
        let body = br#"{ "model":"m", "x": 1.50e2, "big":123456789012345678901234567890, "stream" : true }"#;
        let mut edits = Edits::default();
        edits.set("stream", Some(json!(false)));
        edits.set("x", None);
        edits.set("new", Some(json!([1])));
        assert_eq!(
            edits.apply(body).unwrap(),
            r#"{"model":"m","big":123456789012345678901234567890,"stream":false,"new":[1]}"#
        );
        assert_eq!(edits.field(body, "model"), Some(json!("m")));
        assert_eq!(edits.field(body, "stream"), Some(json!(false)));
        assert_eq!(edits.field(body, "x"), None);
    }

    #[test]
    fn a_new_body_takes_the_place_of_the_old_one() {
        let edits = Edits {
            body: Some(Bytes::from_static(br#"{"a":1}"#)),
            fields: vec![("a".to_owned(), None)],
        };
        assert_eq!(edits.apply(b"{}").unwrap(), "{}");
        let broken = Edits {
            body: Some(Bytes::from_static(b"[1]")),
            fields: Vec::new(),
        };
        assert!(broken.apply(b"{}").is_err());
    }
}
