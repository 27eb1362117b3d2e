use http::{HeaderMap, HeaderName, StatusCode};
use ostia_core::{Class, Identity};

use crate::refusal::Refusal;

const HEADER: HeaderName = HeaderName::from_static("x-ostia-class");

/// The class of a request, from its sender's `X-Ostia-Class`. A key may be for batch work only.
pub fn class_of(headers: &HeaderMap, who: &Identity) -> Result<Class, Refusal> {
    let asked = asked(headers)?;
    let key = who.front.as_deref().unwrap_or(who);
    match key.rights.as_ref().is_some_and(|rights| rights.batch) {
        true => Ok(Class::Batch),
        false => Ok(asked),
    }
}

fn asked(headers: &HeaderMap) -> Result<Class, Refusal> {
    let mut values = headers.get_all(HEADER).iter();
    match (values.next().map(|value| value.as_bytes()), values.next()) {
        (None | Some(b"" | b"interactive"), None) => Ok(Class::Interactive),
        (Some(b"batch"), None) => Ok(Class::Batch),
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

#[cfg(test)]
mod tests {
    use ostia_core::KeyRights;

    use super::*;

    fn class(values: &[&'static str]) -> Result<Class, u16> {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append(HEADER, value.parse().unwrap());
        }
        asked(&headers).map_err(|refusal| refusal.status.as_u16())
    }

    #[test]
    fn a_key_for_batch_work_waits_behind_everybody() {
        let mut who = Identity {
            rights: Some(KeyRights::default().into()),
            ..Identity::default()
        };
        let class = |who: &Identity| class_of(&HeaderMap::new(), who).unwrap();
        assert_eq!(class(&who), Class::Interactive);
        let batch = KeyRights {
            batch: true,
            ..KeyRights::default()
        };
        who.rights = Some(batch.into());
        assert_eq!(class(&who), Class::Batch);
        let named = Identity {
            front: Some(who.into()),
            ..Identity::default()
        };
        assert_eq!(class(&named), Class::Batch);
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
