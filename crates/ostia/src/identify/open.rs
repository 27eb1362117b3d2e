use std::net::IpAddr;
use std::sync::Arc;

use http::request;
use ostia_core::Identity;

use super::SignInError;

/// Headers that only a proxy adds: behind one, "everybody on this machine" would be everybody.
const PROXY_HEADERS: [&str; 5] = [
    "forwarded",
    "x-forwarded-for",
    "x-forwarded-host",
    "x-forwarded-proto",
    "x-real-ip",
];

/// Provider `none`: whoever reaches the loopback listener directly is let in.
pub struct Open {
    identity: Arc<Identity>,
}

impl Default for Open {
    fn default() -> Self {
        Self {
            identity: Arc::new(Identity {
                user_id: "local".into(),
                name: "local".into(),
                username: "local@localhost".into(),
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
        Ok(Arc::clone(&self.identity))
    }
}

fn host_of(head: &request::Parts) -> Option<&str> {
    let authority = match head.uri.authority() {
        Some(authority) => authority.as_str(),
        None => head.headers.get(http::header::HOST)?.to_str().ok()?,
    };
    if let Some(rest) = authority.strip_prefix('[') {
        return rest.split_once(']').map(|(host, _)| host);
    }
    Some(
        authority
            .rsplit_once(':')
            .map_or(authority, |(host, _)| host),
    )
}

fn is_loopback(host: &str) -> bool {
    host.eq_ignore_ascii_case("localhost")
        || host.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::Open;
    use http::Request;

    fn admitted(host: &str, header: Option<&str>) -> bool {
        let mut request = Request::builder().uri("/v1/models").header("host", host);
        if let Some(name) = header {
            request = request.header(name, "1.2.3.4");
        }
        let (head, ()) = request.body(()).unwrap().into_parts();
        Open::default().admit(&head).is_ok()
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
