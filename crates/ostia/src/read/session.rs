use std::sync::Arc;

use http::{HeaderMap, HeaderName};

use super::ReadError;
use crate::dialect::Invalid;

const LONGEST: usize = 128;

/// The caller's session id: the first of `names` that it sent. An empty value counts as absent.
pub fn session(headers: &HeaderMap, names: &[HeaderName]) -> Result<Option<Arc<str>>, ReadError> {
    let sent = names.iter().find_map(|name| {
        let value = headers.get(name).filter(|value| !value.is_empty())?;
        Some((name, value))
    });
    let Some((name, value)) = sent else {
        return Ok(None);
    };
    let sound = value.len() <= LONGEST && value.as_bytes().iter().all(u8::is_ascii_graphic);
    match value.to_str() {
        Ok(text) if sound => Ok(Some(text.into())),
        _ => Err(ReadError::Invalid(Invalid {
            code: "invalid_value",
            param: None,
            message: format!(
                "The header '{name}' must hold at most {LONGEST} visible ASCII characters."
            ),
        })),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_that_is_there_counts_and_must_be_short_and_visible() {
        let names = ["x-session-id", "session-id"].map(|name| name.parse().unwrap());
        let read = |sent: &[(&'static str, &[u8])]| {
            let headers = sent
                .iter()
                .map(|(name, value)| (HeaderName::from_static(name), (*value).try_into().unwrap()));
            session(&headers.collect(), &names)
        };
        assert_eq!(read(&[]).unwrap(), None);
        assert_eq!(read(&[("session-id", b"a")]).unwrap().as_deref(), Some("a"));
        let both: [(_, &[u8]); 2] = [("session-id", b"a"), ("x-session-id", b"b")];
        assert_eq!(read(&both).unwrap().as_deref(), Some("b"));
        let empty: [(_, &[u8]); 2] = [("session-id", b"a"), ("x-session-id", b"")];
        assert_eq!(read(&empty).unwrap().as_deref(), Some("a"));
        let longest = [b'x'; LONGEST];
        assert!(read(&[("session-id", &longest)]).unwrap().is_some());
        for bad in [
            &[b'x'; LONGEST + 1][..],
            b"a b",
            "\u{e9}".as_bytes(),
            b"a\tb",
        ] {
            let error = read(&[("session-id", bad)]).unwrap_err();
            assert_eq!(error.code(), "invalid_value");
            assert!(error.to_string().contains("'session-id'"), "{error}");
        }
    }
}
