use std::borrow::Cow;
use std::net::IpAddr;

use base64::Engine;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use percent_encoding::percent_decode;

use crate::catalog::{Origin, Target};

/// Whether a backend's text reveals the endpoint's key or its address, in any case, plain, percent-encoded or written
/// with the escapes of JSON (each up to twice, as for a URL inside a URL). The key counts in base64 and in hex too, and so
/// does a large part of it.
///
/// A bare host name does not count as an address: behind `http://vllm:8000` every other message says "vllm".
pub(super) fn tells_too_much(text: &[u8], target: &Target) -> bool {
    let told = |text: &[u8]| {
        holds_key(text, target) || replicas(target).any(|(at, _)| holds_address(text, at))
    };
    let mut text = text.to_ascii_lowercase();
    for _ in 0..MOST_ENCODINGS {
        if told(&text) {
            return true;
        }
        match percent_decoded(&text).or_else(|| unescaped(&text)) {
            Some(decoded) => text = decoded,
            None => return false,
        }
    }
    told(&text)
}

/// Each of the two encodings twice.
const MOST_ENCODINGS: usize = 4;

/// The text without JSON's escapes and in lower case, if it had any: `\u0073`, and a backslash before anything else.
fn unescaped(text: &[u8]) -> Option<Vec<u8>> {
    let mut rest = text;
    let mut decoded = Vec::with_capacity(text.len());
    while let Some(at) = memchr::memchr(b'\\', rest) {
        decoded.extend_from_slice(&rest[..at]);
        let behind = &rest[at + 1..];
        let digits = behind.strip_prefix(b"u").and_then(|text| text.get(..4));
        let unit =
            digits.and_then(|text| u32::from_str_radix(std::str::from_utf8(text).ok()?, 16).ok());
        match unit.and_then(char::from_u32) {
            Some(letter) => {
                let mut buffer = [0; 4];
                decoded.extend_from_slice(
                    letter
                        .to_ascii_lowercase()
                        .encode_utf8(&mut buffer)
                        .as_bytes(),
                );
                rest = &behind[5..];
            }
            None => {
                let kept = behind.len().min(1);
                decoded.extend_from_slice(&behind[..kept]);
                rest = &behind[kept..];
            }
        }
    }
    let was_escaped = rest.len() < text.len();
    decoded.extend_from_slice(rest);
    was_escaped.then_some(decoded)
}

/// The text decoded and in lower case, if any of it was encoded.
fn percent_decoded(text: &[u8]) -> Option<Vec<u8>> {
    match percent_decode(text).into() {
        Cow::Owned(decoded) => Some(decoded.to_ascii_lowercase()),
        Cow::Borrowed(_) => None,
    }
}

fn holds_key(text: &[u8], target: &Target) -> bool {
    let key = target.key.as_ref().map(|key| &**key.expose());
    let queries = replicas(target).filter_map(|(_, query)| query);
    let values = queries.flat_map(|query| query.split('&').map(value_of));
    let values = values.filter(|value| value.len() >= LEAST_SECRET);
    key.filter(|key| !key.is_empty())
        .into_iter()
        .chain(values)
        .any(|secret| holds_secret(text, secret))
}

/// Whether the endpoint's key stands in a text as it is. Short keys are words that a model may say.
pub(super) fn holds_plain_key(text: &[u8], target: &Target) -> bool {
    let key = target.key.as_ref().map(|key| key.expose().as_bytes());
    key.filter(|key| key.len() >= LEAST_SECRET)
        .is_some_and(|key| memchr::memmem::find(text, key).is_some())
}

/// Whether a text in lower case holds a secret.
fn holds_secret(text: &[u8], secret: &str) -> bool {
    let holds = |form: &[u8]| memchr::memmem::find(text, form).is_some();
    let plain = secret.to_ascii_lowercase();
    let pieces = plain.as_bytes().windows(LEAST_SECRET.min(plain.len()));
    // Not every piece, as a stream may have many texts: a longer part of the key holds one of these.
    pieces.step_by(LEAST_SECRET / 2).any(holds)
        || encodings(secret).any(|form| holds(form.as_bytes()))
}

/// A long secret in hex, and in base64 wherever it stands in what was encoded (`Basic` credentials); in lower case.
fn encodings(secret: &str) -> impl Iterator<Item = String> {
    let secret = Some(secret.as_bytes()).filter(|secret| secret.len() >= LEAST_SECRET);
    secret.into_iter().flat_map(|secret| {
        let hex: String = secret.iter().map(|byte| format!("{byte:02x}")).collect();
        let base64 = (0..3).map(move |before| in_base64(before, secret));
        let for_urls = base64
            .clone()
            .map(|text| text.replace('+', "-").replace('/', "_"));
        std::iter::once(hex).chain(base64).chain(for_urls)
    })
}

/// Those characters of the base64 that depend on nothing but the secret, if that is preceded by so many bytes.
fn in_base64(before: usize, secret: &[u8]) -> String {
    let whole = STANDARD_NO_PAD.encode([&[0; 3][..before], secret].concat());
    let shared = usize::from(!(before + secret.len()).is_multiple_of(3));
    let own = whole.get((before * 8).div_ceil(6)..whole.len() - shared);
    own.unwrap_or_default().to_ascii_lowercase()
}

/// A shorter value in a URL's query (`?api-version=3`) is not a secret, and a shorter piece of a key does not tell it.
const LEAST_SECRET: usize = 16;

fn value_of(pair: &str) -> &str {
    pair.split_once('=').map_or(pair, |(_, value)| value)
}

/// Where the endpoint's backend is, each place with its URL's query.
fn replicas(target: &Target) -> impl Iterator<Item = (&Origin, Option<&str>)> {
    let further = target.replicas.iter();
    let further = further.map(|replica| (&replica.origin, replica.query.as_deref()));
    std::iter::once((&target.origin, target.query.as_deref())).chain(further)
}

fn holds_address(text: &[u8], origin: &Origin) -> bool {
    let host = &*origin.host;
    if let Ok(address) = host.parse::<IpAddr>() {
        return holds_ip(text, address.to_canonical());
    }
    let port = origin.port;
    !host.is_empty()
        && memchr::memmem::find_iter(text, host.as_bytes()).any(|at| {
            let (before, after) = (&text[..at], &text[at + host.len()..]);
            ends_here(after) && (is_url(before) || (begins_here(before) && has_port(after, port)))
        })
}

/// An IP address counts wherever it appears, in any notation.
fn holds_ip(text: &[u8], address: IpAddr) -> bool {
    let spells = |candidate: &str| {
        let found = candidate.parse::<IpAddr>();
        found.is_ok_and(|found| found.to_canonical() == address)
    };
    text.split(|byte| !matches!(byte, b'0'..=b'9' | b'.'))
        .chain(text.split(|byte| !matches!(byte, b'0'..=b'9' | b'a'..=b'f' | b'.' | b':')))
        .filter_map(|run| std::str::from_utf8(run).ok())
        .any(|run| {
            let run = run.trim_matches('.');
            // After the last colon there may be a port (even of an IPv6 address without brackets) or nothing.
            spells(run) || run.rsplit_once(':').is_some_and(|(host, _)| spells(host))
        })
}

/// Whether what follows `before` is a URL's host.
fn is_url(before: &[u8]) -> bool {
    let userinfo = before.strip_suffix(b"@").map(|before| {
        let is_part = |byte: &u8| byte.is_ascii_graphic() && !b"/@\"'<>".contains(byte);
        let length = before.iter().rev().take_while(|byte| is_part(byte)).count();
        &before[..before.len() - length]
    });
    userinfo.unwrap_or(before).ends_with(b"//")
}

/// Whether a host name can begin after `before`, that is, it is not the end of a longer name.
fn begins_here(before: &[u8]) -> bool {
    !before
        .last()
        .is_some_and(|&last| last == b'.' || is_of_name(last))
}

/// Whether a host name can end before `after`. A dot may end a sentence.
fn ends_here(after: &[u8]) -> bool {
    match after {
        [b'.', next, ..] | [next, ..] => !is_of_name(*next),
        [] => true,
    }
}

fn is_of_name(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_' || !byte.is_ascii()
}

/// Whether a port follows: any number after a colon, or the endpoint's own port in any notation ("gpu port 8000",
/// `host='gpu', port=8000`, `('gpu', 8000)`).
fn has_port(after: &[u8], port: u16) -> bool {
    if let Some(number) = after.strip_prefix(b":")
        && number_at(number).is_some()
    {
        return true;
    }
    let after = skip_punctuation(after);
    let after = after.strip_prefix(b"port").map_or(after, skip_punctuation);
    number_at(after) == Some(port)
}

fn skip_punctuation(text: &[u8]) -> &[u8] {
    let length = text.iter().take_while(|byte| !is_of_name(**byte)).count();
    &text[length..]
}

/// The port number that the text begins with, unless it is part of a version, a longer number or a word.
fn number_at(text: &[u8]) -> Option<u16> {
    let length = text.iter().take_while(|byte| byte.is_ascii_digit()).count();
    let (number, rest) = text.split_at(length);
    let number = std::str::from_utf8(number).ok()?.parse().ok()?;
    ends_here(rest).then_some(number)
}

#[cfg(test)]
mod tests {
    use ostia_core::Secret;

    use super::*;
    use crate::catalog::{Replica, Scheme, Timeouts};

    const KEY: &str = "sk-Ab/C+9=";

    fn target(host: &str) -> Target {
        let origin = Origin {
            scheme: Scheme::Http,
            host: host.into(),
            port: 8000,
        };
        Target {
            base_path: "/v1".into(),
            key: Some(Secret::new(KEY.to_owned())),
            ..Target::plain(origin, Timeouts::default())
        }
    }

    #[track_caller]
    fn check(host: &str, text: &str, withheld: bool) {
        let told = tells_too_much(text.as_bytes(), &target(host));
        assert_eq!(told, withheld, "{host} in {text:?}");
    }

    #[test]
    fn a_hosts_name_is_a_word_like_any_other() {
        for text in [
            "vllm engine is overloaded",
            "vLLM: model not found",
            "vllm 0.9.1",
            "vllm:0.9.1",
            "vllm-0.9.1",
            "vllm: 3 requests are waiting",
            "see https://docs.vllm.ai/en/latest",
            "see https://vllm.ai/errors",
            "http://my-vllm:8000/v1",
            "my_vllm:8000 and old.vllm:8000 and xvllm:8000 and vllm2:8000",
            "//myvllm/v1",
            "image vllm/vllm-openai",
            "user@vllm",
            "vllm:80000000",
            "vllm:8000th",
            "vllm",
            "",
        ] {
            check("vllm", text, false);
        }
        check("gpu7.example.org", "gpu7.example.org is busy", false);
    }

    #[test]
    fn an_address_is_withheld() {
        for text in [
            "cannot reach vllm:8000",
            "cannot reach VLLM:8000.",
            "vllm:9000",
            "http://vllm/v1/models",
            "http://vllm",
            "at http://vllm. Try again",
            "\"url\":\"//vllm/v1\"",
            "http://user:pa55@vllm/v1",
            "http:%2F%2Fvllm%2Fv1",
            "http%3a%2f%2Fvllm%3A8000",
            "next=http%253A%252F%252Fvllm%252Fv1",
            "HTTPConnectionPool(host='vllm', port=8000): Max retries exceeded",
            "Failed to connect to vllm port 8000",
            "('vllm', 8000)",
            "the word vllm, and then vllm:8000",
        ] {
            check("vllm", text, true);
        }
        check("gpu7.example.org", "https://GPU7.example.org/v1", true);
    }

    #[test]
    fn an_ip_address_is_withheld_wherever_it_stands() {
        for text in [
            "10.0.0.5 is down",
            "10.0.0.5:9",
            "10.0.0.5.",
            "ip=10.0.0.5,",
            "peer:10.0.0.5",
            "http://10.0.0.5/",
            "::ffff:10.0.0.5",
            "http://[::ffff:a00:5]:8000",
        ] {
            check("10.0.0.5", text, true);
        }
        for text in ["10.0.0.51", "110.0.0.5", "10.0.0.5.1", "10.0.0", "5"] {
            check("10.0.0.5", text, false);
        }
        for text in [
            "[2001:db8::5]:8000",
            "http://[2001:DB8::5]/v1",
            "2001:db8::5",
            "2001:db8::5:8000",
            "2001:db8:0:0:0:0:0:5.",
            "http://%5B2001%3Adb8::5%5D/",
            "host 2001:db8::5: refused",
        ] {
            check("2001:db8::5", text, true);
        }
        for text in ["2001:db8::51", "12001:db8::5", "2001:db8::6", "db8 5", "::"] {
            check("2001:db8::5", text, false);
        }
    }

    #[test]
    fn the_key_is_withheld_however_it_is_written() {
        for text in [
            "bad key sk-Ab/C+9=",
            "bad key SK-AB/C+9=!",
            "?key=sk-Ab%2FC%2B9%3D",
            "?key=sk-Ab%2fC+9%3d&a=b",
            "?key=%73k-Ab/C+9=",
            "?next=%3Fkey%3Dsk-Ab%252FC%252B9%253D",
            r"bad key \u0073k-Ab/C+9=",
            r"bad key sk-Ab\/C\u002b9\u003D",
            r"bad key \\u0073k-Ab\\/C+9=",
            r"bad key \u0053K-Ab%2FC%2B9%3D",
        ] {
            check("vllm", text, true);
        }
        check("vllm", "bad key sk-A***", false);
        check("vllm", "100 % of sk-Ab%2", false);
        check("vllm", r"\u00 \ud800 \ sk-\", false);
    }

    #[test]
    fn a_long_key_is_withheld_in_base64_in_hex_and_in_part() {
        let key = "sk-Prod_0123456789-ABCDEFghij?~";
        let mut target = target("vllm");
        target.key = Some(Secret::new(key.to_owned()));
        let told = |text: &str| tells_too_much(text.as_bytes(), &target);
        for before in ["", "a", "ab", "abc", "user:", "Bearer "] {
            for after in ["", "x", ":y"] {
                let text = format!("{before}{key}{after}");
                let standard = STANDARD_NO_PAD.encode(&text);
                assert!(told(&format!("got {standard}=")), "{text}");
                let for_urls = base64::engine::general_purpose::URL_SAFE.encode(&text);
                assert!(told(&for_urls), "{text}");
            }
        }
        let hex: String = key.bytes().map(|byte| format!("{byte:02X}")).collect();
        for text in [hex.as_str(), "0123456789-abcdef***", "sk-prod_01234567…"] {
            assert!(told(text), "{text}");
        }
        for text in ["sk-Prod_***hij?~", "0123456789-ABCD", "c2stUHJv"] {
            assert!(!told(text), "{text}");
        }
    }

    #[test]
    fn further_places_of_a_backend_and_keys_in_its_url_are_withheld_too() {
        let mut target = target("vllm");
        let other = self::target("gpu9.lab");
        target.query = Some("api-version=3&code=0123456789abcDEF".into());
        target.replicas.push(Replica {
            origin: other.origin,
            base_path: "/v1".into(),
            query: Some("0123456789abcdefXYZ".into()),
        });
        for (text, withheld) in [
            ("cannot reach gpu9.lab:8000", true),
            ("?code=0123456789ABCdef", true),
            ("0123456789abcdefxyz", true),
            ("api-version=3", false),
            ("gpu9.lab is busy", false),
        ] {
            assert_eq!(tells_too_much(text.as_bytes(), &target), withheld, "{text}");
        }
    }

    #[test]
    fn an_endpoint_without_a_key_has_none_to_tell() {
        let mut target = target("vllm");
        for key in [None, Some(Secret::new(String::new()))] {
            target.key = key;
            assert!(!tells_too_much(b"anything", &target));
        }
    }
}
