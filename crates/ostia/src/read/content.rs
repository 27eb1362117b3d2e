use http::header::{CONTENT_LENGTH, CONTENT_TYPE};
use http::{HeaderMap, HeaderValue};

use super::ReadError;
use super::multipart::{Parameters, boundary_of};
use crate::dialect::Api;

/// How a request's headers describe its body.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Content {
    Json,
    Multipart { boundary: Box<[u8]> },
}

/// Reads `Content-Type`. curl's default types count as JSON, because people forget the header.
pub(super) fn content_of(headers: &HeaderMap, api: &Api) -> Result<Content, ReadError> {
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
    if names_another_charset(value) {
        return Err(ReadError::UnsupportedType(
            "The request body must be UTF-8: send no other charset in Content-Type.",
        ));
    }
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

impl Content {
    /// What a backend is told. It repeats nothing of what the client wrote that two programs may read in two ways.
    pub(super) fn header(&self) -> HeaderValue {
        let Self::Multipart { boundary } = self else {
            return HeaderValue::from_static("application/json");
        };
        let boundary = String::from_utf8_lossy(boundary);
        let needs_quotes = boundary.contains(|at: char| "(),/:=?".contains(at));
        let quote = if needs_quotes { "\"" } else { "" };
        let value = format!("multipart/form-data; boundary={quote}{boundary}{quote}");
        HeaderValue::try_from(value)
            .unwrap_or_else(|_| HeaderValue::from_static("multipart/form-data"))
    }
}

pub(super) fn names_another_charset(content_type: &[u8]) -> bool {
    Parameters::of_header(content_type)
        .flatten()
        .any(|parameter| {
            let name = parameter.name.to_ascii_lowercase();
            name.starts_with(b"charset*") || name == b"charset" && !is_utf8(parameter.value)
        })
}

/// ASCII is UTF-8 too.
fn is_utf8(charset: &[u8]) -> bool {
    [b"utf-8".as_slice(), b"utf8", b"us-ascii", b"ascii"]
        .iter()
        .any(|known| charset.eq_ignore_ascii_case(known))
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
    fn another_charset_is_refused_and_none_is_sent_on() {
        for (value, fine) in [
            ("application/json; charset=utf-8", true),
            ("application/json;charset=\"UTF-8\"", true),
            ("application/json; charset=us-ascii", true),
            ("application/json; charset", true),
            ("application/json; charset=utf-7", false),
            ("application/json; a=b; Charset=\"utf-16\"", false),
            ("application/json; charset*=utf-8''utf-7", false),
            ("text/plain; charset=iso-8859-1", false),
        ] {
            let found = of(Some(value), "chat/completions");
            assert_eq!(found.is_ok(), fine, "{value}");
            if let Ok(content) = found {
                assert_eq!(content.header(), "application/json");
            }
        }
        let form = |value: &str| of(Some(value), "images/edits").map(|content| content.header());
        assert!(form("multipart/form-data; charset=utf-7; boundary=x").is_err());
        for (sent, told) in [
            ("boundary=a-b; charset=utf-8", "boundary=a-b"),
            ("Boundary=\"a-b\"; x=y", "boundary=a-b"),
            ("boundary=\"a:b\"", "boundary=\"a:b\""),
        ] {
            let told = format!("multipart/form-data; {told}");
            let found = form(&format!("multipart/form-data; {sent}"));
            assert_eq!(found.unwrap(), told, "{sent}");
        }
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
}
