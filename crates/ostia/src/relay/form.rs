//! The form that a backend's headers must have to reach a client. A header of any other form could contain anything,
//! even a key.

use http::header::{CONTENT_ENCODING, CONTENT_TYPE, RETRY_AFTER};
use http::{HeaderName, HeaderValue};

use super::disclosure::tells_too_much;
use crate::catalog::Target;

/// Longer numbers, durations and dates are none.
const LONGEST_VALUE: usize = 64;
const LONGEST_NAME: usize = 48;
const LONGEST_TYPE: usize = 256;
/// Types that nearly every answer has. They tell nothing, so they need no look.
const USUAL_TYPES: [&str; 3] = [
    "application/json",
    "text/event-stream",
    "text/event-stream; charset=utf-8",
];
/// Parameters of media types that clients need.
const PARAMETERS: [&str; 9] = [
    "boundary",
    "charset",
    "channels",
    "codec",
    "codecs",
    "endianness",
    "profile",
    "rate",
    "version",
];
const ENCODINGS: [&str; 7] = [
    "br", "compress", "deflate", "gzip", "identity", "x-gzip", "zstd",
];

/// The value that clients may see; `None`: the header is left out.
pub(super) fn shown(
    name: &HeaderName,
    value: &HeaderValue,
    target: &Target,
) -> Option<HeaderValue> {
    if *name == CONTENT_TYPE && USUAL_TYPES.iter().any(|usual| value == usual) {
        return Some(value.clone());
    }
    let text = value.to_str().ok()?.trim();
    let shown = match *name {
        CONTENT_TYPE => media_type(text)?,
        RETRY_AFTER => Some(text)
            .filter(|text| is_number(text) || is_date(text))?
            .to_owned(),
        CONTENT_ENCODING => Some(text).filter(|text| are_encodings(text))?.to_owned(),
        _ => Some(text).filter(|text| is_measure(text))?.to_owned(),
    };
    let told = format!("{name}: {shown}");
    match tells_too_much(told.as_bytes(), target) {
        true => None,
        false => HeaderValue::from_str(&shown).ok(),
    }
}

/// `x-ratelimit-` and words that say what it counts, and for how long.
pub(super) fn is_limit(name: &HeaderName) -> bool {
    let name = name.as_str();
    let rest = name.strip_prefix("x-ratelimit-");
    name.len() <= LONGEST_NAME
        && rest.is_some_and(|rest| {
            let mut words = rest.split('-');
            ["limit", "remaining", "reset"].contains(&words.next().unwrap_or_default())
                && words.all(is_word)
        })
}

fn is_word(word: &str) -> bool {
    !word.is_empty() && word.bytes().all(|byte| byte.is_ascii_lowercase())
}

/// A type, and those of its parameters that are known.
fn media_type(text: &str) -> Option<String> {
    let mut parts = text.split(';').map(str::trim);
    let essence = parts.next()?;
    let (kind, subtype) = essence.split_once('/')?;
    if text.len() > LONGEST_TYPE || !is_token(kind) || !is_token(subtype) {
        return None;
    }
    let is_known = |part: &&str| {
        part.split_once('=').is_some_and(|(name, value)| {
            let value = value
                .strip_prefix('"')
                .and_then(|value| value.strip_suffix('"'))
                .unwrap_or(value);
            PARAMETERS
                .iter()
                .any(|known| known.eq_ignore_ascii_case(name))
                && value
                    .bytes()
                    .all(|byte| byte.is_ascii_alphanumeric() || b"-._+,:/=' ".contains(&byte))
        })
    };
    let shown: Vec<&str> = std::iter::once(essence)
        .chain(parts.filter(is_known))
        .collect();
    Some(shown.join("; "))
}

fn is_token(text: &str) -> bool {
    !text.is_empty()
        && text
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"!#$&^_.+-".contains(&byte))
}

fn are_encodings(text: &str) -> bool {
    text.split(',').map(str::trim).all(|coding| {
        ENCODINGS
            .iter()
            .any(|known| known.eq_ignore_ascii_case(coding))
    })
}

/// With or without a fraction.
fn is_number(text: &str) -> bool {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, "0"));
    let are_digits =
        |digits: &str| !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
    text.len() <= LONGEST_VALUE && are_digits(whole) && are_digits(fraction)
}

/// `Sun, 06 Nov 1994 08:49:37 GMT` (RFC 9110, section 5.6.7).
fn is_date(text: &str) -> bool {
    const FORM: &[u8] = b"Aaa, 00 Aaa 0000 00:00:00 GMT";
    text.len() == FORM.len()
        && text.bytes().zip(FORM).all(|(byte, form)| match form {
            b'A' => byte.is_ascii_uppercase(),
            b'a' => byte.is_ascii_lowercase(),
            b'0' => byte.is_ascii_digit(),
            other => byte == *other,
        })
}

/// Numbers, durations (`6m0.5s`), times (`2026-11-30T00:00:00Z`), windows (`100;w=60`): digits, signs, and units.
fn is_measure(text: &str) -> bool {
    const UNITS: [&str; 10] = ["d", "h", "m", "ms", "ns", "s", "us", "w", "T", "Z"];
    let is_sign = |character: char| " +-.,:;=".contains(character);
    text.len() <= LONGEST_VALUE
        && text.contains(|character: char| character.is_ascii_digit())
        && text
            .split(|character: char| character.is_ascii_digit() || is_sign(character))
            .all(|unit| unit.is_empty() || UNITS.contains(&unit))
        || is_date(text)
}

#[cfg(test)]
mod tests {
    use ostia_core::Secret;

    use super::*;
    use crate::catalog::{Origin, Scheme, Timeouts};

    fn shown_as(name: &'static str, value: &str) -> Option<String> {
        let origin = Origin {
            scheme: Scheme::Http,
            host: "gpu7.lab".into(),
            port: 8000,
        };
        let target = Target {
            key: Some(Secret::new("20261130".to_owned())),
            ..Target::plain(origin, Timeouts::default())
        };
        let value = HeaderValue::from_bytes(value.as_bytes()).unwrap();
        let shown = shown(&HeaderName::from_static(name), &value, &target)?;
        Some(shown.to_str().unwrap().to_owned())
    }

    #[test]
    fn headers_pass_only_in_their_form() {
        for (name, value) in [
            ("retry-after", "7"),
            ("retry-after", "0.5"),
            ("retry-after", "Sun, 06 Nov 1994 08:49:37 GMT"),
            ("openai-processing-ms", "1234"),
            ("openai-processing-ms", "12.5"),
            ("x-ratelimit-limit-requests", "10000"),
            ("x-ratelimit-reset-tokens", "6m0s"),
            ("x-ratelimit-reset-tokens", "1h2m3.5s"),
            ("x-ratelimit-reset", "2026-12-01T00:00:00Z"),
            ("x-ratelimit-limit", "100, 100;w=60"),
            ("x-ratelimit-remaining", "-1"),
            ("content-type", "text/event-stream; charset=utf-8"),
            ("content-type", "audio/pcm; rate=24000; channels=1"),
            ("content-type", "audio/ogg; codecs=\"opus\""),
            ("content-encoding", "gzip, br"),
        ] {
            assert_eq!(
                shown_as(name, value).as_deref(),
                Some(value),
                "{name}: {value}"
            );
        }
        for (name, value) in [
            ("retry-after", "sk-secret"),
            ("retry-after", "7; sk"),
            ("retry-after", ""),
            ("retry-after", "20261130"),
            ("openai-processing-ms", "sk"),
            ("openai-processing-ms", "12 gpu7"),
            ("x-ratelimit-limit-requests", "sk-1"),
            ("x-ratelimit-reset-tokens", "abc"),
            ("x-ratelimit-reset-tokens", "20261130"),
            ("content-type", "sk-secret"),
            ("content-type", "text/"),
            ("content-type", "application/http://gpu7.lab:8000"),
            ("content-encoding", "sk-secret"),
            ("retry-after", "\u{e9}"),
        ] {
            assert_eq!(shown_as(name, value), None, "{name}: {value}");
        }
        assert_eq!(
            shown_as(
                "content-type",
                "application/json; key=sk-secret; charset=utf-8; x"
            )
            .as_deref(),
            Some("application/json; charset=utf-8")
        );
    }

    #[test]
    fn limits_are_words() {
        let is_limit = |name: &'static str| is_limit(&HeaderName::from_static(name));
        for name in [
            "x-ratelimit-limit",
            "x-ratelimit-remaining-requests",
            "x-ratelimit-limit-req-minute",
        ] {
            assert!(is_limit(name), "{name}");
        }
        for name in [
            "x-ratelimit-sk-secret",
            "x-ratelimit-limit-a1b2c3",
            "x-ratelimit-",
            "x-ratelimit-reset--a",
        ] {
            assert!(!is_limit(name), "{name}");
        }
    }
}
