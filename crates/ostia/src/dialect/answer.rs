use std::fmt;

use serde::Deserialize;
use serde::de::{Deserializer, IgnoredAny, MapAccess, Visitor};
use serde_json::value::RawValue;

use super::event::{is_error_object, usage_of};
use super::{Counters, Dialect};

/// The members of a complete response object that the gateway looks at. If a name occurs twice the last one counts, as
/// it does for clients.
#[derive(Default)]
pub struct AnswerMembers<'a> {
    usage: Option<&'a RawValue>,
    /// Groq's, with its own `usage`.
    x_groq: Option<&'a RawValue>,
    object: Option<&'a RawValue>,
    id: Option<&'a RawValue>,
    status: Option<&'a RawValue>,
    /// Present and not null.
    has_choices: bool,
    has_error: bool,
}

/// What a complete JSON response says.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct AnswerFacts {
    pub usage: Counters,
    /// It is an error object, whatever the status says.
    pub is_error: bool,
    /// It says that it is still in progress.
    pub unfinished: bool,
    /// The id of a response object.
    pub response_id: Option<String>,
}

/// Reads a complete JSON response; `None` if it is not a JSON object.
pub fn read_answer(dialect: &dyn Dialect, body: &[u8]) -> Option<AnswerFacts> {
    // Of bytes, serde_json checks each part again.
    let answer: AnswerMembers<'_> = match std::str::from_utf8(body) {
        Ok(text) => serde_json::from_str(text).ok()?,
        Err(_) => serde_json::from_slice(body).ok()?,
    };
    Some(dialect.answer(&answer))
}

/// Whether it is valid JSON.
pub fn is_json(body: &[u8]) -> bool {
    serde_json::from_slice::<IgnoredAny>(body).is_ok()
}

impl AnswerFacts {
    /// What all dialects have in common.
    pub(super) fn of(answer: &AnswerMembers<'_>) -> Self {
        let mut usage = Counters::default();
        let beside = answer.x_groq.and_then(usage_of);
        for told in answer.usage.into_iter().chain(beside) {
            usage.take(told);
        }
        let is_error = answer.has_error && answer.usage.is_none();
        Self {
            usage,
            is_error: !answer.has_choices
                && (is_error || answer.object.is_some_and(is_error_object)),
            unfinished: false,
            response_id: None,
        }
    }
}

impl AnswerMembers<'_> {
    /// The response's id, if its `object` has this value.
    pub(super) fn id_of(&self, object: &str) -> Option<String> {
        let found: String = serde_json::from_str(self.object?.get()).ok()?;
        let id = self.id.filter(|_| found == object)?;
        serde_json::from_str(id.get()).ok()
    }

    /// Whether its `status` is one of these, in any letters.
    pub(super) fn has_status(&self, which: &[&str]) -> bool {
        let status = self
            .status
            .and_then(|status| serde_json::from_str::<String>(status.get()).ok());
        status.is_some_and(|status| which.iter().any(|word| status.eq_ignore_ascii_case(word)))
    }
}

#[derive(Deserialize)]
#[serde(field_identifier, rename_all = "snake_case")]
enum Member {
    Usage,
    XGroq,
    Object,
    Id,
    Status,
    Choices,
    Error,
    #[serde(other)]
    Other,
}

struct AnswerVisitor;

impl<'de: 'a, 'a> Deserialize<'de> for AnswerMembers<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(AnswerVisitor)
    }
}

impl<'de> Visitor<'de> for AnswerVisitor {
    type Value = AnswerMembers<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<AnswerMembers<'de>, A::Error> {
        let mut answer = AnswerMembers::default();
        while let Some(member) = map.next_key()? {
            match member {
                Member::Usage => answer.usage = map.next_value()?,
                Member::XGroq => answer.x_groq = map.next_value()?,
                Member::Status => answer.status = map.next_value()?,
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
