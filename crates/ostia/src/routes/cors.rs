use http::header::{
    ACCESS_CONTROL_ALLOW_CREDENTIALS, ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS,
    ACCESS_CONTROL_ALLOW_ORIGIN, ACCESS_CONTROL_EXPOSE_HEADERS, ACCESS_CONTROL_MAX_AGE,
    ACCESS_CONTROL_REQUEST_HEADERS, ACCESS_CONTROL_REQUEST_METHOD, ORIGIN, VARY,
};
use http::{HeaderMap, HeaderValue, Method, request};

use crate::catalog::HttpUrl;

/// Our response headers that a script may read.
const EXPOSED: HeaderValue = HeaderValue::from_static(
    "x-request-id, x-client-request-id, retry-after, x-should-retry, www-authenticate, openai-processing-ms, \
     x-ratelimit-limit-requests, x-ratelimit-remaining-requests, x-ratelimit-reset-requests, \
     x-ratelimit-limit-tokens, x-ratelimit-remaining-tokens, x-ratelimit-reset-tokens",
);
const METHODS: HeaderValue = HeaderValue::from_static("GET, HEAD, POST, OPTIONS");
/// How long a browser may cache a preflight's result, in seconds.
const REMEMBERED: HeaderValue = HeaderValue::from_static("600");

/// Which browser pages may call the gateway (`cors_origins`; Fetch standard, section 3.2).
#[derive(Debug, Clone, Default)]
pub struct Cors {
    origins: Vec<String>,
    any: bool,
}

impl Cors {
    pub fn new(origins: &[String]) -> Self {
        Self {
            any: origins.iter().any(|origin| origin == "*"),
            origins: origins.iter().map(|origin| as_sent(origin)).collect(),
        }
    }

    /// Whether an `Origin` is listed by its name.
    pub fn names(&self, origin: &HeaderValue) -> bool {
        let mut known = self.origins.iter();
        known.any(|known| known != "*" && known.as_bytes() == origin.as_bytes())
    }

    /// Whether a request only asks what is allowed. Such requests carry no credentials.
    pub fn is_preflight(&self, head: &request::Parts) -> bool {
        !self.origins.is_empty()
            && head.method == Method::OPTIONS
            && head.headers.contains_key(ORIGIN)
            && head.headers.contains_key(ACCESS_CONTROL_REQUEST_METHOD)
    }

    /// The response headers of a preflight. For an unknown origin they allow nothing.
    pub fn preflight(&self, asked: &HeaderMap) -> HeaderMap {
        let mut headers = self.answer(asked);
        if headers.contains_key(ACCESS_CONTROL_ALLOW_ORIGIN) {
            headers.remove(ACCESS_CONTROL_EXPOSE_HEADERS);
            headers.insert(ACCESS_CONTROL_ALLOW_METHODS, METHODS);
            headers.insert(ACCESS_CONTROL_MAX_AGE, REMEMBERED);
            // SDKs send a dozen headers of their own. Allowing them is safe: none of those that we read has an effect
            // by itself.
            if let Some(names) = asked.get(ACCESS_CONTROL_REQUEST_HEADERS) {
                headers.insert(ACCESS_CONTROL_ALLOW_HEADERS, names.clone());
            }
            headers.append(
                VARY,
                HeaderValue::from_static("access-control-request-headers"),
            );
        }
        headers
    }

    /// The headers added to every other response. Listed origins may send the browser's credentials (client
    /// certificates); with `*` no origin may.
    pub fn answer(&self, asked: &HeaderMap) -> HeaderMap {
        let mut headers = HeaderMap::new();
        if self.origins.is_empty() {
            return headers;
        }
        let origin = asked.get(ORIGIN);
        let named = origin.filter(|origin| self.names(origin));
        headers.insert(VARY, HeaderValue::from_static("origin"));
        let allowed = match (named, origin) {
            (Some(origin), _) => {
                headers.insert(
                    ACCESS_CONTROL_ALLOW_CREDENTIALS,
                    HeaderValue::from_static("true"),
                );
                origin.clone()
            }
            (None, Some(_)) if self.any => HeaderValue::from_static("*"),
            _ => return headers,
        };
        headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, allowed);
        headers.insert(ACCESS_CONTROL_EXPOSE_HEADERS, EXPOSED);
        headers
    }
}

/// Whether a text is an origin that pages or apps can have: `https://host[:port]`, or of any other scheme
/// (`app://obsidian.md`, `chrome-extension://...`). Pages of files and `data:` URLs have none.
pub fn is_origin(text: &str) -> bool {
    let Some((scheme, host)) = text.split_once("://") else {
        return false;
    };
    if is_web(scheme) {
        let url = HttpUrl::parse(text);
        return url.is_ok_and(|url| url.path.is_empty() && url.query.is_none() && !url.userinfo);
    }
    let is_of_host = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~%:[]".contains(&byte);
    let is_of_scheme = |byte: u8| byte.is_ascii_alphanumeric() || b"+-.".contains(&byte);
    scheme.starts_with(|first: char| first.is_ascii_alphabetic())
        && scheme.bytes().all(is_of_scheme)
        && !host.is_empty()
        && host.bytes().all(is_of_host)
        && !["file", "data", "blob", "javascript", "about"]
            .iter()
            .any(|opaque| scheme.eq_ignore_ascii_case(opaque))
}

/// The origin of pages of a host, as browsers send it.
pub fn origin(scheme: &str, host: &str) -> String {
    as_sent(&format!("{scheme}://{host}"))
}

fn is_web(scheme: &str) -> bool {
    scheme.eq_ignore_ascii_case("http") || scheme.eq_ignore_ascii_case("https")
}

/// An origin as browsers send it: in lower case, without the scheme's default port (HTML standard, "origin"). The host
/// of another scheme is left as it is, because only its app knows what it means.
fn as_sent(origin: &str) -> String {
    let Some((scheme, host)) = origin.split_once("://") else {
        return origin.to_owned();
    };
    let scheme = scheme.to_ascii_lowercase();
    if !is_web(&scheme) {
        return format!("{scheme}://{host}");
    }
    let host = host.to_ascii_lowercase();
    let own_port = if scheme == "https" { ":443" } else { ":80" };
    let host = host.strip_suffix(own_port).unwrap_or(&host);
    format!("{scheme}://{host}")
}

#[cfg(test)]
mod tests {
    use http::header::ACCESS_CONTROL_ALLOW_ORIGIN;
    use http::{HeaderMap, HeaderValue, Request};

    use super::{Cors, is_origin};

    fn cors(origins: &[&str]) -> Cors {
        let origins: Vec<String> = origins.iter().map(|&origin| origin.to_owned()).collect();
        Cors::new(&origins)
    }

    fn from(origin: &str) -> HeaderMap {
        let mut headers = HeaderMap::new();
        headers.insert("origin", HeaderValue::from_str(origin).unwrap());
        headers.insert(
            "access-control-request-headers",
            HeaderValue::from_static("authorization, x-stainless-os"),
        );
        headers
    }

    fn allowed(cors: &Cors, origin: &str) -> Option<String> {
        let headers = cors.answer(&from(origin));
        Some(
            headers
                .get(ACCESS_CONTROL_ALLOW_ORIGIN)?
                .to_str()
                .unwrap()
                .to_owned(),
        )
    }

    #[test]
    fn only_listed_origins_byte_for_byte() {
        let cors = cors(&["https://chat.lab.org", "http://localhost:3000"]);
        for origin in ["https://chat.lab.org", "http://localhost:3000"] {
            assert_eq!(allowed(&cors, origin).as_deref(), Some(origin));
        }
        for origin in [
            "https://chat.lab.org.evil.org",
            "http://chat.lab.org",
            "https://CHAT.lab.org",
            "https://chat.lab.org:443",
            "null",
            "*",
        ] {
            assert_eq!(allowed(&cors, origin), None, "{origin}");
        }
        assert!(cors.answer(&HeaderMap::new()).contains_key("vary"));
    }

    #[test]
    fn origins_of_apps_and_extensions_are_allowed_where_they_are_listed() {
        let listed = [
            "app://obsidian.md",
            "tauri://localhost",
            "capacitor://localhost",
            "ionic://localhost",
            "chrome-extension://aabbccddeeffgghhiijjkkllmmnnoopp",
            "moz-extension://5b7c1e0e-4a2e-4a3b-9d9e-8e4f5a6b7c8d",
            "vscode-webview://1q2w3e",
            "http://tauri.localhost",
            "foo+bar://a.b:8080",
        ];
        let cors = cors(&listed);
        for origin in listed {
            assert!(is_origin(origin), "{origin}");
            assert_eq!(allowed(&cors, origin).as_deref(), Some(origin));
            let answer = cors.answer(&from(origin));
            assert_eq!(answer["access-control-allow-credentials"], "true");
        }
        for other in [
            "app://obsidian.md.evil.org",
            "tauri://other",
            "https://localhost",
            "null",
        ] {
            assert_eq!(allowed(&cors, other), None, "{other}");
        }
        assert_eq!(
            allowed(
                &Cors::new(&["APP://obsidian.md".to_owned()]),
                "app://obsidian.md"
            ),
            Some("app://obsidian.md".to_owned())
        );
    }

    #[test]
    fn what_is_not_an_origin_is_recognised() {
        for text in [
            "null",
            "obsidian.md",
            "app://",
            "app://obsidian.md/",
            "app://a/b",
            "app://a?b",
            "app://user@a",
            "app://a b",
            "app://*",
            "1app://a",
            "a_b://c",
            "file://",
            "file://a",
            "https://a/",
            "https://u:p@a",
            "https://",
            "://a",
        ] {
            assert!(!is_origin(text), "{text}");
        }
    }

    #[test]
    fn an_origin_may_be_written_otherwise_than_browsers_do() {
        let cors = cors(&[
            "https://Chat.Lab.org:443",
            "http://lab.org:80",
            "https://lab.org:80",
        ]);
        for origin in [
            "https://chat.lab.org",
            "http://lab.org",
            "https://lab.org:80",
        ] {
            assert_eq!(allowed(&cors, origin).as_deref(), Some(origin));
        }
        assert_eq!(allowed(&cors, "https://lab.org"), None);
    }

    #[test]
    fn a_star_never_comes_with_credentials() {
        let star = cors(&["*"]).answer(&from("https://anywhere.org"));
        assert_eq!(star["access-control-allow-origin"], "*");
        assert!(!star.contains_key("access-control-allow-credentials"));
        let named = cors(&["*", "https://a.org"]).answer(&from("https://a.org"));
        assert_eq!(named["access-control-allow-origin"], "https://a.org");
        assert_eq!(named["access-control-allow-credentials"], "true");
    }

    #[test]
    fn a_preflight_asks_for_a_method_from_an_origin() {
        let ask = |method: &str, asks: bool| {
            let mut request = Request::builder().method(method).uri("/v1/models");
            request = request.header("origin", "https://a.org");
            if asks {
                request = request.header("access-control-request-method", "POST");
            }
            request.body(()).unwrap().into_parts().0
        };
        let listed = cors(&["https://a.org"]);
        assert!(listed.is_preflight(&ask("OPTIONS", true)));
        assert!(!listed.is_preflight(&ask("OPTIONS", false)));
        assert!(!listed.is_preflight(&ask("POST", true)));
        assert!(!cors(&[]).is_preflight(&ask("OPTIONS", true)));

        let headers = listed.preflight(&from("https://a.org"));
        assert_eq!(
            headers["access-control-allow-headers"],
            "authorization, x-stainless-os"
        );
        let strange = listed.preflight(&from("https://b.org"));
        assert!(!strange.contains_key("access-control-allow-methods"));
    }

    #[test]
    fn switched_off_nothing_is_said() {
        assert!(cors(&[]).answer(&from("https://a.org")).is_empty());
    }
}
