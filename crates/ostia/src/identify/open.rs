use std::sync::Arc;

use http::header::ORIGIN;
use http::{HeaderValue, request};
use ostia_core::{Identity, is_loopback};

use super::SignInError;
use crate::routes::{Cors, origin};

/// Headers that only a proxy adds: behind one, "everybody on this machine" would be everybody.
const PROXY_HEADERS: [&str; 5] = [
    "forwarded",
    "x-forwarded-for",
    "x-forwarded-host",
    "x-forwarded-proto",
    "x-real-ip",
];

/// Provider `none`: everybody who reaches the loopback listener directly is let in, except foreign web pages, whose
/// requests a browser also sends from this machine.
pub struct Open {
    identity: Arc<Identity>,
    listed: Cors,
    scheme: &'static str,
}

impl Open {
    /// `listed`: origins whose pages may call. `tls`: whether the listener uses TLS.
    pub fn new(listed: Cors, tls: bool) -> Self {
        Self {
            listed,
            scheme: if tls { "https" } else { "http" },
            identity: Arc::new(Identity {
                user_id: "local".into(),
                name: "local".into(),
                username: "local@localhost".into(),
                own_name: "local@localhost".into(),
                idp_id: "localhost".into(),
                idp_name: "localhost".into(),
                auth_service: "none".into(),
                domain: Some("localhost".into()),
                ..Identity::default()
            }),
        }
    }
}

impl Open {
    pub(super) fn admit(&self, head: &request::Parts) -> Result<Arc<Identity>, SignInError> {
        let proxied = head.headers.keys().any(|name| {
            PROXY_HEADERS.contains(&name.as_str()) || name.as_str().starts_with("x-forwarded-")
        });
        if proxied {
            return Err(SignInError::NotLocal(
                "sign-in is off (providers = [\"none\"]), so requests that came through a proxy are refused",
            ));
        }
        if !host_of(head).is_some_and(is_loopback) {
            return Err(SignInError::NotLocal(
                "sign-in is off (providers = [\"none\"]), so only requests for a loopback host are answered",
            ));
        }
        if self.is_foreign_page(head) {
            return Err(SignInError::NotLocal(
                "sign-in is off (providers = [\"none\"]), so pages of other origins are refused: list this page's origin in server.cors_origins",
            ));
        }
        Ok(Arc::clone(&self.identity))
    }

    /// Browsers say which page sends a request: with `Origin` if the request may change something or its answer can be
    /// read, otherwise with `Sec-Fetch-Site`.
    fn is_foreign_page(&self, head: &request::Parts) -> bool {
        let own = authority_of(head).map(|host| origin(self.scheme, host));
        let mut origins = head.headers.get_all(ORIGIN).iter().peekable();
        let is_named = origins.peek().is_some();
        let is_known = |asked: &HeaderValue| {
            let is_own = own
                .as_deref()
                .is_some_and(|own| own.as_bytes() == asked.as_bytes());
            is_own || self.listed.names(asked)
        };
        if is_named {
            return !origins.all(is_known);
        }
        let sites = head.headers.get_all("sec-fetch-site");
        sites
            .iter()
            .any(|site| !matches!(site.as_bytes(), b"same-origin" | b"none"))
    }
}

fn authority_of(head: &request::Parts) -> Option<&str> {
    match head.uri.authority() {
        Some(authority) => Some(authority.as_str()),
        None => head.headers.get(http::header::HOST)?.to_str().ok(),
    }
}

fn host_of(head: &request::Parts) -> Option<&str> {
    let authority = authority_of(head)?;
    if let Some(rest) = authority.strip_prefix('[') {
        return rest.split_once(']').map(|(host, _)| host);
    }
    Some(
        authority
            .rsplit_once(':')
            .map_or(authority, |(host, _)| host),
    )
}

#[cfg(test)]
mod tests {
    use super::Open;
    use crate::routes::Cors;
    use http::Request;

    fn admitted_with(host: &str, headers: &[(&str, &str)]) -> bool {
        let mut request = Request::builder().uri("/v1/models").header("host", host);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let (head, ()) = request.body(()).unwrap().into_parts();
        let listed = ["https://chat.lab.org".to_owned(), "app://notes".to_owned()];
        Open::new(Cors::new(&listed), false).admit(&head).is_ok()
    }

    fn admitted(host: &str, header: Option<&str>) -> bool {
        let header = header.map(|name| (name, "1.2.3.4"));
        admitted_with(host, header.as_slice())
    }

    #[test]
    fn pages_of_other_origins_are_refused() {
        let host = "localhost:8000";
        for headers in [
            &[][..],
            &[("origin", "http://localhost:8000")],
            &[
                ("origin", "http://localhost:8000"),
                ("sec-fetch-site", "same-origin"),
            ],
            &[
                ("origin", "https://chat.lab.org"),
                ("sec-fetch-site", "cross-site"),
            ],
            &[("origin", "app://notes")],
            &[("sec-fetch-site", "none")],
            &[("sec-fetch-site", "same-origin")],
        ] {
            assert!(admitted_with(host, headers), "{headers:?}");
        }
        for headers in [
            &[("origin", "https://evil.example")][..],
            &[("origin", "null")],
            &[("origin", "")],
            &[("origin", "http://localhost:3000")],
            &[("origin", "https://localhost:8000")],
            &[("origin", "http://127.0.0.1:8000")],
            &[("origin", "http://localhost:8000.evil.example")],
            &[
                ("origin", "http://localhost:8000"),
                ("origin", "https://evil.example"),
            ],
            &[("sec-fetch-site", "cross-site")],
            &[("sec-fetch-site", "same-site")],
            &[("sec-fetch-site", "Cross-Site")],
            &[
                ("origin", "https://evil.example"),
                ("sec-fetch-site", "same-origin"),
            ],
        ] {
            assert!(!admitted_with(host, headers), "{headers:?}");
        }
        assert!(admitted_with(
            "LOCALHOST:80",
            &[("origin", "http://localhost")]
        ));
        assert!(admitted_with(
            "[::1]:8000",
            &[("origin", "http://[::1]:8000")]
        ));
    }

    #[test]
    fn only_what_is_plainly_local_is_let_in() {
        for host in [
            "localhost",
            "LOCALHOST:8000",
            "127.0.0.1:8000",
            "[::1]:8000",
            "127.9.9.9",
        ] {
            assert!(admitted(host, None), "{host}");
        }
        for host in [
            "example.org",
            "10.0.0.1",
            "localhost.example.org",
            "[::2]:80",
        ] {
            assert!(!admitted(host, None), "{host}");
        }
        for header in [
            "forwarded",
            "x-forwarded-for",
            "x-real-ip",
            "x-forwarded-prefix",
        ] {
            assert!(!admitted("localhost", Some(header)), "{header}");
        }
    }
}
