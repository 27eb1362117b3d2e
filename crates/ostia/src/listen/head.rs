use std::net::Ipv6Addr;
use std::sync::Arc;

use http::header::{CONTENT_LENGTH, EXPECT, HOST, TRANSFER_ENCODING};
use http::{HeaderMap, HeaderValue, Method, Uri, Version, request};

use super::Rejection;

const MAX_TARGET_BYTES: usize = 8 * 1024;
const MAX_CLIENT_REQUEST_ID: usize = 128;

/// The rules of RFC 9110 and 9112 that hyper leaves to us.
pub(super) fn check(head: &request::Parts) -> Result<(), Rejection> {
    check_framing(head)?;
    if head.method == Method::CONNECT || head.method == Method::TRACE {
        return Err(Rejection::MethodNotAllowed);
    }
    check_target(head)?;
    check_host(head)?;
    let continues = |value: &HeaderValue| value.as_bytes().eq_ignore_ascii_case(b"100-continue");
    if !head.headers.get_all(EXPECT).iter().all(continues) {
        return Err(Rejection::ExpectationFailed);
    }
    Ok(())
}

/// The caller's own request id, for the ledger and the response. It never replaces ours.
pub(super) fn client_request_id(headers: &HeaderMap) -> Option<Arc<str>> {
    ["x-request-id", "x-client-request-id"]
        .iter()
        .filter_map(|name| headers.get(*name))
        .filter_map(|value| std::str::from_utf8(value.as_bytes()).ok())
        .find(|id| {
            (1..=MAX_CLIENT_REQUEST_ID).contains(&id.len())
                && id.bytes().all(|byte| (b' '..=b'~').contains(&byte))
        })
        .map(Arc::from)
}

/// Stricter than RFC 9112 section 6: the only transfer coding is `chunked` alone, the only length one plain number.
/// hyper removes a Content-Length beside Transfer-Encoding, so that conflict is handled by closing the connection, see
/// `exchange`.
fn check_framing(head: &request::Parts) -> Result<(), Rejection> {
    let mut lengths = head.headers.get_all(CONTENT_LENGTH).iter();
    let sound_length = match (lengths.next(), lengths.next()) {
        (None, _) => true,
        (Some(length), None) => {
            !length.is_empty() && length.as_bytes().iter().all(u8::is_ascii_digit)
        }
        (Some(_), Some(_)) => false,
    };
    let mut codings = head.headers.get_all(TRANSFER_ENCODING).iter();
    let sound_coding = match (codings.next(), codings.next()) {
        (None, _) => true,
        (Some(coding), None) => {
            head.version == Version::HTTP_11 && coding.as_bytes().eq_ignore_ascii_case(b"chunked")
        }
        (Some(_), Some(_)) => false,
    };
    match sound_length && sound_coding {
        true => Ok(()),
        false => Err(Rejection::BadFraming),
    }
}

/// Origin form, absolute form, and `*` for OPTIONS (RFC 9112 section 3.2).
fn check_target(head: &request::Parts) -> Result<(), Rejection> {
    let uri = &head.uri;
    if target_bytes(uri) > MAX_TARGET_BYTES {
        return Err(Rejection::UriTooLong(MAX_TARGET_BYTES));
    }
    let sound = match (uri.scheme_str(), uri.authority()) {
        (None, Some(_)) | (Some(_), None) => false,
        (Some(scheme), Some(_)) => matches!(scheme, "http" | "https"),
        (None, None) => true,
    };
    let path = uri.path();
    let sound_path = path.starts_with('/') || (path == "*" && head.method == Method::OPTIONS);
    match sound && sound_path {
        true => Ok(()),
        false => Err(Rejection::BadTarget),
    }
}

fn target_bytes(uri: &Uri) -> usize {
    let scheme = uri.scheme_str().map_or(0, |scheme| scheme.len() + 3);
    let authority = uri.authority().map_or(0, |it| it.as_str().len());
    let path = uri.path_and_query().map_or(0, |it| it.as_str().len());
    scheme + authority + path
}

/// RFC 9112 section 3.2 and RFC 9113 section 8.3.1. An HTTP/1.0 request may omit Host.
fn check_host(head: &request::Parts) -> Result<(), Rejection> {
    let mut lines = head.headers.get_all(HOST).iter();
    let (line, second) = (lines.next(), lines.next());
    let host = line.map(|line| Host::parse(line.as_bytes()));
    let target = head
        .uri
        .authority()
        .map(|it| Host::parse(it.as_str().as_bytes()));
    let sound = match (host, target) {
        (Some(Some(host)), Some(Some(target))) => {
            host.is(&target, default_port(head.uri.scheme_str()))
        }
        (Some(Some(_)), None) => true,
        (None, Some(Some(_))) => head.version != Version::HTTP_11,
        (None, None) => head.version == Version::HTTP_10,
        (Some(None), _) | (_, Some(None)) => false,
    };
    match sound && second.is_none() {
        true => Ok(()),
        false => Err(Rejection::BadHost),
    }
}

fn default_port(scheme: Option<&str>) -> u16 {
    match scheme {
        Some("https") => 443,
        _ => 80,
    }
}

/// `uri-host [ ":" port ]` of RFC 3986 section 3.2, without user information.
#[derive(Debug)]
struct Host<'a> {
    name: &'a str,
    port: Option<u16>,
}

impl<'a> Host<'a> {
    fn parse(bytes: &'a [u8]) -> Option<Self> {
        let text = std::str::from_utf8(bytes).ok()?;
        let (name, port) = match text.strip_prefix('[') {
            Some(rest) => {
                let (address, port) = rest.split_once(']')?;
                address.parse::<Ipv6Addr>().ok()?;
                (address, port)
            }
            None => {
                let (name, port) = text.split_at(text.find(':').unwrap_or(text.len()));
                is_reg_name(name).then_some((name, port))?
            }
        };
        Some(Self {
            name,
            port: parse_port(port)?,
        })
    }

    fn is(&self, other: &Self, default_port: u16) -> bool {
        self.name.eq_ignore_ascii_case(other.name)
            && self.port.unwrap_or(default_port) == other.port.unwrap_or(default_port)
    }
}

/// "" and ":" mean no port.
fn parse_port(text: &str) -> Option<Option<u16>> {
    match text.strip_prefix(':') {
        None => text.is_empty().then_some(None),
        Some("") => Some(None),
        Some(digits) if digits.bytes().all(|byte| byte.is_ascii_digit()) => {
            digits.parse().ok().map(Some)
        }
        Some(_) => None,
    }
}

fn is_reg_name(name: &str) -> bool {
    let mut bytes = name.bytes();
    while let Some(byte) = bytes.next() {
        let sound = match byte {
            b'%' => {
                let mut hex = || bytes.next().is_some_and(|byte| byte.is_ascii_hexdigit());
                hex() && hex()
            }
            _ => byte.is_ascii_alphanumeric() || b"-._~!$&'()*+,;=".contains(&byte),
        };
        if !sound {
            return false;
        }
    }
    !name.is_empty()
}

#[cfg(test)]
mod tests {
    use http::{Request, Version};

    use super::{Host, Rejection, check, client_request_id};

    fn head(request: http::request::Builder) -> http::request::Parts {
        request.body(()).unwrap().into_parts().0
    }

    fn get(target: &str) -> http::request::Builder {
        Request::get(target)
    }

    #[test]
    fn hosts_are_names_and_addresses() {
        for host in [
            "a",
            "example.com",
            "EXAMPLE.com:8000",
            "127.0.0.1:1",
            "[::1]",
            "[2001:db8::1]:65535",
            "a%2Fb",
            "host:",
            "under_score",
        ] {
            assert!(Host::parse(host.as_bytes()).is_some(), "{host}");
        }
        for host in [
            "",
            ":80",
            "a b",
            "a@b",
            "a#b",
            "a/../health?x=",
            "a?b",
            "a:80:80",
            "a:65536",
            "a:+80",
            "a:8x",
            "[::1",
            "[::1]80",
            "::1",
            "[1.2.3.4]",
            "[fe80::1%eth0]",
            "a%2",
            "a%zz",
            "a\\b",
            "a\"b",
            "a\tb",
            "\u{e9}",
        ] {
            assert!(Host::parse(host.as_bytes()).is_none(), "{host}");
        }
    }

    #[test]
    fn host_must_be_there_once_and_match_the_target() {
        let bad = Err(Rejection::BadHost);
        let check_with = |request| check(&head(request));
        assert_eq!(check_with(get("/")), bad);
        assert_eq!(check_with(get("/").version(Version::HTTP_10)), Ok(()));
        assert_eq!(check_with(get("/").header("host", "a")), Ok(()));
        assert_eq!(
            check_with(get("/").header("host", "a").header("host", "a")),
            bad
        );
        assert_eq!(check_with(get("/").header("host", "a@b")), bad);
        let absolute = || get("http://a/v1");
        assert_eq!(check_with(absolute()), bad);
        assert_eq!(check_with(absolute().header("host", "A:80")), Ok(()));
        assert_eq!(check_with(absolute().header("host", "a:8080")), bad);
        assert_eq!(check_with(absolute().header("host", "b")), bad);
        assert_eq!(check_with(get("http://u@a/").header("host", "a")), bad);
        let http2 = || get("https://a/v1").version(Version::HTTP_2);
        assert_eq!(check_with(http2()), Ok(()));
        assert_eq!(check_with(http2().header("host", "a:443")), Ok(()));
        assert_eq!(check_with(http2().header("host", "b")), bad);
    }

    #[test]
    fn targets_have_the_form_of_their_method() {
        let check_with =
            |request: http::request::Builder| check(&head(request.header("host", "a")));
        assert_eq!(check_with(Request::options("*").header("x", "y")), Ok(()));
        assert_eq!(check_with(get("*")), Err(Rejection::BadTarget));
        assert_eq!(check_with(get("a:80")), Err(Rejection::BadTarget));
        assert_eq!(check_with(get("ftp://a/")), Err(Rejection::BadTarget));
        let long = format!("/{}", "x".repeat(8 * 1024));
        assert_eq!(check_with(get(&long)), Err(Rejection::UriTooLong(8192)));
        assert_eq!(check_with(get(&long[..8192])), Ok(()));
        for method in ["CONNECT", "TRACE"] {
            let request = Request::builder().method(method).uri("a:80");
            assert_eq!(check_with(request), Err(Rejection::MethodNotAllowed));
        }
    }

    #[test]
    fn framing_is_one_number_or_chunked() {
        let check_with = |name: &'static str, values: &[&str]| {
            let request = values
                .iter()
                .fold(get("/").header("host", "a"), |request, value| {
                    request.header(name, *value)
                });
            check(&head(request))
        };
        let bad = Err(Rejection::BadFraming);
        assert_eq!(check_with("content-length", &["05"]), Ok(()));
        for length in ["+5", "5,5", "", "0x5", "-1", "5 6"] {
            assert_eq!(check_with("content-length", &[length]), bad, "{length}");
        }
        assert_eq!(check_with("content-length", &["5", "5"]), bad);
        assert_eq!(check_with("transfer-encoding", &["CHUNKED"]), Ok(()));
        for coding in ["gzip, chunked", "chunked, identity", "xchunked", "chunked,"] {
            assert_eq!(check_with("transfer-encoding", &[coding]), bad, "{coding}");
        }
        assert_eq!(
            check_with("transfer-encoding", &["chunked", "chunked"]),
            bad
        );
        let old = get("/").version(Version::HTTP_10).header("host", "a");
        assert_eq!(
            check(&head(old.header("transfer-encoding", "chunked"))),
            bad
        );
    }

    #[test]
    fn only_100_continue_is_expected() {
        let check_with = |value| check(&head(get("/").header("host", "a").header("expect", value)));
        assert_eq!(check_with("100-Continue"), Ok(()));
        assert_eq!(check_with("200-ok"), Err(Rejection::ExpectationFailed));
    }

    #[test]
    fn client_ids_are_printable_and_short() {
        let id = |name: &'static str, value: &str| {
            let value = http::HeaderValue::from_bytes(value.as_bytes()).unwrap();
            client_request_id(&head(get("/").header(name, value)).headers)
        };
        assert_eq!(id("x-request-id", "my id").as_deref(), Some("my id"));
        assert_eq!(id("x-client-request-id", "7").as_deref(), Some("7"));
        assert!(id("x-request-id", &"x".repeat(128)).is_some());
        assert_eq!(id("x-request-id", &"x".repeat(129)), None);
        assert_eq!(id("x-request-id", ""), None);
        assert_eq!(id("x-request-id", "a\tb"), None);
        assert_eq!(id("x-request-id", "\u{e9}"), None);
    }
}
