use std::fmt;

use serde::Deserialize;
use serde::de::{Deserializer, IgnoredAny, MapAccess, Visitor};
use serde_json::value::RawValue;

/// The members of a whole answer, an object, that the gateway looks at. Of two with one name the last counts, as it does
/// for clients.
#[derive(Default)]
pub(super) struct Answer<'a> {
    pub(super) usage: Option<&'a RawValue>,
    pub(super) object: Option<&'a RawValue>,
    pub(super) id: Option<&'a RawValue>,
    /// It is there, and not null.
    pub(super) has_choices: bool,
    pub(super) has_error: bool,
}

#[derive(Deserialize)]
#[serde(field_identifier, rename_all = "snake_case")]
enum Member {
    Usage,
    Object,
    Id,
    Choices,
    Error,
    #[serde(other)]
    Other,
}

struct AnswerVisitor;

impl<'de: 'a, 'a> Deserialize<'de> for Answer<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(AnswerVisitor)
    }
}

impl<'de> Visitor<'de> for AnswerVisitor {
    type Value = Answer<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Answer<'de>, A::Error> {
        let mut answer = Answer::default();
        while let Some(member) = map.next_key()? {
            match member {
                Member::Usage => answer.usage = map.next_value()?,
                Member::Object => answer.object = map.next_value()?,
                Member::Id => answer.id = map.next_value()?,
                Member::Choices => answer.has_choices = is_given(&mut map)?,
                Member::Error => answer.has_error = is_given(&mut map)?,
                Member::Other => {
                    map.next_value::<IgnoredAny>()?;
                }
            }
        }
        Ok(answer)
    }
}

fn is_given<'de, A: MapAccess<'de>>(map: &mut A) -> Result<bool, A::Error> {
    Ok(map.next_value::<Option<IgnoredAny>>()?.is_some())
}
