use http::{HeaderMap, HeaderName, StatusCode};
use ostia_core::Class;

use crate::refusal::Refusal;

const HEADER: HeaderName = HeaderName::from_static("x-ostia-class");

/// What the caller says in `X-Ostia-Class`.
pub fn class_of(headers: &HeaderMap) -> Result<Class, Refusal> {
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
    use super::*;

    fn class(values: &[&'static str]) -> Result<Class, u16> {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append(HEADER, value.parse().unwrap());
        }
        class_of(&headers).map_err(|refusal| refusal.status.as_u16())
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
