use http::HeaderMap;
use http::header::{CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE};

use super::ReadError;
use super::multipart::boundary_of;
use crate::dialect::Api;

/// How a request's headers describe its body.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Content {
    Json,
    Multipart { boundary: Box<[u8]> },
}

/// Reads `Content-Type` and `Content-Encoding`. curl's default types count as JSON, because people forget the header.
pub(super) fn content_of(headers: &HeaderMap, api: &Api) -> Result<Content, ReadError> {
    let encoded = headers
        .get_all(CONTENT_ENCODING)
        .iter()
        .flat_map(|value| value.as_bytes().split(|byte| *byte == b','))
        .map(|coding| coding.trim_ascii())
        .any(|coding| !coding.is_empty() && !coding.eq_ignore_ascii_case(b"identity"));
    if encoded {
        return Err(ReadError::Encoded);
    }
    let mut types = headers.get_all(CONTENT_TYPE).iter();
    let value = types
        .next()
        .map_or(b"".as_slice(), |value| value.as_bytes());
    if types.next().is_some() {
        return Err(ReadError::UnsupportedType(
            "The Content-Type header is given more than once.",
        ));
    }
    let essence = value.split(|byte| *byte == b';').next().unwrap_or(value);
    let essence = essence.trim_ascii().to_ascii_lowercase();
    if essence == b"multipart/form-data" && api.takes_forms() {
        let boundary = boundary_of(value)?;
        return Ok(Content::Multipart { boundary });
    }
    match is_json(&essence) {
        true => Ok(Content::Json),
        false => Err(ReadError::UnsupportedType(
            "The Content-Type of this request is not supported here: send application/json.",
        )),
    }
}

/// The announced `Content-Length`.
pub(super) fn announced_length(headers: &HeaderMap) -> Option<u64> {
    headers.get(CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}

fn is_json(essence: &[u8]) -> bool {
    match essence {
        b"" | b"text/plain" | b"application/x-www-form-urlencoded" => true,
        other => other
            .strip_prefix(b"application/")
            .is_some_and(|subtype| subtype.windows(4).any(|window| window == b"json")),
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    fn of(content_type: Option<&str>, api: &str) -> Result<Content, ReadError> {
        let mut headers = HeaderMap::new();
        if let Some(value) = content_type {
            headers.insert(CONTENT_TYPE, HeaderValue::from_str(value).unwrap());
        }
        content_of(&headers, &Api::parse(api))
    }

    #[test]
    fn json_by_many_names() {
        for name in [
            None,
            Some(""),
            Some("application/json"),
            Some("Application/JSON; charset=utf-8"),
            Some("application/vnd.api+json"),
            Some("application/jsonlines"),
            Some("text/plain;charset=UTF-8"),
            Some("application/x-www-form-urlencoded"),
        ] {
            assert_eq!(of(name, "chat/completions"), Ok(Content::Json), "{name:?}");
        }
    }

    #[test]
    fn forms_only_where_an_api_takes_them() {
        let form = Some("multipart/form-data; boundary=x");
        assert!(matches!(
            of(form, "chat/completions"),
            Err(ReadError::UnsupportedType(_))
        ));
        assert_eq!(
            of(form, "audio/transcriptions"),
            Ok(Content::Multipart {
                boundary: b"x".as_slice().into()
            })
        );
        assert!(matches!(
            of(Some("multipart/form-data"), "images/edits"),
            Err(ReadError::Invalid(_))
        ));
    }

    #[test]
    fn other_types_are_refused() {
        for name in [
            "text/html",
            "image/png",
            "application/xml",
            "multipart/mixed",
            "json",
        ] {
            assert!(
                matches!(
                    of(Some(name), "audio/speech"),
                    Err(ReadError::UnsupportedType(_))
                ),
                "{name}"
            );
        }
        let mut headers = HeaderMap::new();
        headers.append(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        headers.append(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        assert!(content_of(&headers, &Api::parse("embeddings")).is_err());
    }

    #[test]
    fn only_identity_is_decoded() {
        for (value, fine) in [
            ("identity", true),
            ("Identity, identity", true),
            ("", true),
            ("gzip", false),
            ("identity, br", false),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(CONTENT_ENCODING, HeaderValue::from_str(value).unwrap());
            let found = content_of(&headers, &Api::parse("completions"));
            assert_eq!(found.is_ok(), fine, "{value}");
        }
    }
}
