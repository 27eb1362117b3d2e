use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;

use bytes::Bytes;
use http::StatusCode;
use serde::de::{MapAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::Value;
use serde_json::value::RawValue;

use super::AdapterError;
use crate::scan::{Layout, layout};

/// What an adapter changed in a body. Untouched fields keep their bytes.
#[derive(Debug, Default, Clone)]
pub(super) struct Edits {
    /// Replaces the client's body.
    pub body: Option<Bytes>,
    /// The last edit of a name wins; `None` removes the field.
    pub fields: Vec<(String, Option<Value>)>,
}

/// A client's JSON body, and where its members stand: found once, however many of them an adapter asks for.
#[derive(Clone)]
pub(super) struct Original {
    body: Bytes,
    layout: Arc<Layout>,
}

/// A member of an object. A name that no Rust string can hold is empty, and kept as written.
struct Member<'a> {
    name: Cow<'a, str>,
    written: Cow<'a, [u8]>,
    value: &'a [u8],
}

/// Writes an object, part by part.
struct Writer {
    pieces: Vec<Bytes>,
    /// What comes after them.
    text: Vec<u8>,
    is_empty: bool,
}

/// What an adapter may be shown of a body: a value takes up to a hundred bytes where it takes two in the body.
const MOST_FIELDS: usize = 4096;
const MOST_VALUES: usize = 1 << 18;
/// Shorter values are copied.
const LONG: usize = 1024;

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
    pub fn field(&self, original: &Original, name: &str) -> Option<Value> {
        if let Some((_, value)) = self.fields.iter().find(|(known, _)| known == name) {
            return value.clone();
        }
        let members = self.members(original).ok()?;
        let member = members.iter().rfind(|member| member.name == name)?;
        serde_json::from_slice(member.value).ok()
    }

    /// Applies the edits to the body. Fields keep their order; new ones go last. Long values are not copied.
    pub fn apply(&self, original: &Original) -> Result<Vec<Bytes>, String> {
        let body = self.body.as_ref().unwrap_or(&original.body);
        let members = self.members(original)?;
        let mut writer = Writer::default();
        for member in &members {
            let mut edits = self.fields.iter();
            match edits.find(|(name, _)| *name == member.name) {
                None => writer.kept(member, body),
                Some((_, Some(value))) => writer.new_value(&member.written, value),
                Some((_, None)) => {}
            }
        }
        for (name, value) in &self.fields {
            let added = !members.iter().any(|member| member.name == *name);
            if let Some(value) = value.as_ref().filter(|_| added) {
                writer.new_value(quoted(name).as_bytes(), value);
            }
        }
        Ok(writer.finish())
    }

    /// The members of the body as it is now.
    fn members<'a>(&'a self, original: &'a Original) -> Result<Vec<Member<'a>>, String> {
        let Some(body) = &self.body else {
            return Ok(original.members().collect());
        };
        let members: Members<'_> = serde_json::from_slice(body)
            .map_err(|error| format!("the body is not a JSON object: {error}"))?;
        let members = members.0.into_iter();
        let member = |(name, value): (Cow<'a, str>, &'a RawValue)| Member {
            written: Cow::Owned(quoted(&name).into_bytes()),
            name,
            value: value.get().as_bytes(),
        };
        Ok(members.map(member).collect())
    }
}

impl Original {
    /// Finds the members of a client's body, which is an object.
    pub async fn of(body: &Bytes) -> Result<Self, AdapterError> {
        let found = layout(body, MOST_FIELDS, MOST_VALUES)
            .await
            .map_err(|error| AdapterError::Failed(error.to_string()))?;
        let layout = found.ok_or_else(|| AdapterError::Refusal {
            status: StatusCode::BAD_REQUEST,
            message: format!(
                "This model takes bodies of at most {MOST_FIELDS} fields and {MOST_VALUES} values altogether."
            ),
            code: "invalid_value".to_owned(),
        })?;
        Ok(Self {
            body: body.clone(),
            layout: Arc::new(layout),
        })
    }

    fn members(&self) -> impl Iterator<Item = Member<'_>> {
        self.layout.members.iter().map(|place| {
            let written = &self.body[place.name.clone()];
            let name = serde_json::from_slice::<Name<'_>>(written);
            Member {
                name: name.map_or(Cow::Borrowed(""), |name| name.0),
                written: Cow::Borrowed(written),
                value: &self.body[place.value.clone()],
            }
        })
    }
}

impl Writer {
    /// A member of `body` as it is.
    fn kept(&mut self, member: &Member<'_>, body: &Bytes) {
        self.name(&member.written);
        if member.value.len() < LONG {
            return self.text.extend_from_slice(member.value);
        }
        self.pieces.push(std::mem::take(&mut self.text).into());
        self.pieces.push(body.slice_ref(member.value));
    }

    fn new_value(&mut self, name: &[u8], value: &Value) {
        self.name(name);
        self.text.extend(value.to_string().into_bytes());
    }

    fn name(&mut self, quoted: &[u8]) {
        self.text.push(if self.is_empty { b'{' } else { b',' });
        self.is_empty = false;
        self.text.extend_from_slice(quoted);
        self.text.push(b':');
    }

    fn finish(mut self) -> Vec<Bytes> {
        if self.is_empty {
            self.text.push(b'{');
        }
        self.text.push(b'}');
        self.pieces.push(self.text.into());
        self.pieces
    }
}

fn quoted(name: &str) -> String {
    Value::from(name).to_string()
}

impl Default for Writer {
    fn default() -> Self {
        Self {
            pieces: Vec::new(),
            text: Vec::new(),
            is_empty: true,
        }
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
    use futures_util::FutureExt;
    use serde_json::json;

    fn original(body: &[u8]) -> Original {
        let body = Bytes::copy_from_slice(body);
        Original::of(&body).now_or_never().unwrap().unwrap()
    }

    fn applied(edits: &Edits, body: &Original) -> Result<String, String> {
        let pieces = edits.apply(body)?;
        Ok(String::from_utf8(pieces.concat()).unwrap())
    }

    #[test]
    fn untouched_fields_keep_their_bytes_and_their_place() {
        let body = br#"{ "model":"m", "x": 1.50e2, "big":123456789012345678901234567890, "stream" : true }"#;
        let body = &original(body);
        let mut edits = Edits::default();
        edits.set("stream", Some(json!(false)));
        edits.set("x", None);
        edits.set("new", Some(json!([1])));
        assert_eq!(
            applied(&edits, body).unwrap(),
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
        assert_eq!(applied(&edits, &original(b"{}")).unwrap(), "{}");
        let broken = Edits {
            body: Some(Bytes::from_static(b"[1]")),
            fields: Vec::new(),
        };
        assert!(broken.apply(&original(b"{}")).is_err());
    }

    #[test]
    fn long_values_are_slices_of_the_body() {
        let long = "x".repeat(LONG);
        let body = Bytes::from(format!(r#"{{"a":"{long}","b":1}}"#));
        let original = Original::of(&body).now_or_never().unwrap().unwrap();
        let mut edits = Edits::default();
        edits.set("b", Some(json!(2)));
        let pieces = edits.apply(&original).unwrap();
        assert_eq!(pieces[1].as_ptr(), body[5..].as_ptr());
        let text = String::from_utf8(pieces.concat()).unwrap();
        assert_eq!(text, format!(r#"{{"a":"{long}","b":2}}"#));
    }

    #[test]
    fn a_body_of_too_many_values_is_refused() {
        let refusal = |body: String| {
            let body = Bytes::from(body);
            Original::of(&body).now_or_never().unwrap().map(|_| ())
        };
        let list = |count: usize| format!("{{\"a\":[{}]}}", vec!["1"; count].join(","));
        let fields = |count: usize| format!("{{{}}}", vec!["\"a\":1"; count].join(","));
        assert!(refusal(list(1000)).is_ok());
        assert!(refusal(fields(MOST_FIELDS)).is_ok());
        assert!(matches!(
            refusal(fields(MOST_FIELDS + 1)),
            Err(AdapterError::Refusal {
                status: StatusCode::BAD_REQUEST,
                ..
            })
        ));
    }
}
