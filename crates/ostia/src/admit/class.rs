use http::{HeaderMap, HeaderName, StatusCode};
use ostia_core::Identity;

use crate::refusal::Refusal;

const HEADER: HeaderName = HeaderName::from_static("x-ostia-class");

/// Batch work waits behind everybody.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Class {
    #[default]
    Interactive,
    Batch,
}

impl Class {
    /// What the caller says in `X-Ostia-Class`.
    pub fn of(headers: &HeaderMap) -> Result<Self, Refusal> {
        let mut values = headers.get_all(HEADER).iter();
        match (values.next().map(|value| value.as_bytes()), values.next()) {
            (None | Some(b"" | b"interactive"), None) => Ok(Self::Interactive),
            (Some(b"batch"), None) => Ok(Self::Batch),
            _ => {
                let message = "The header 'X-Ostia-Class' must be 'interactive' or 'batch'.";
                Err(Refusal::client(
                    StatusCode::BAD_REQUEST,
                    "invalid_value",
                    message,
                ))
            }
        }
    }
}

impl Class {
    /// A key may be for batch work only.
    #[must_use]
    pub fn for_caller(self, who: &Identity) -> Self {
        let key = who.front.as_deref().unwrap_or(who);
        match key.rights.as_ref().is_some_and(|rights| rights.batch) {
            true => Self::Batch,
            false => self,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn class(values: &[&'static str]) -> Result<Class, u16> {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append(HEADER, value.parse().unwrap());
        }
        Class::of(&headers).map_err(|refusal| refusal.status.as_u16())
    }

    #[test]
    fn two_classes_and_nothing_else() {
        assert_eq!(class(&[]), Ok(Class::Interactive));
        assert_eq!(class(&[""]), Ok(Class::Interactive));
        assert_eq!(class(&["interactive"]), Ok(Class::Interactive));
        assert_eq!(class(&["batch"]), Ok(Class::Batch));
        assert_eq!(class(&["Batch"]), Err(400));
        assert_eq!(class(&["batch", "batch"]), Err(400));
    }
}
