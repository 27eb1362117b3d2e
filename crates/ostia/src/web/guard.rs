//! Which browsers are listened to: those that came by one of our own names, from one of our own pages.

use std::net::IpAddr;

use http::{HeaderMap, header, request};

use crate::catalog::HttpUrl;

/// Whether a request names us. A page whose own name leads here (DNS rebinding) asks under that name; nobody can do that
/// with an address.
pub(super) fn is_for_us(head: &request::Parts, public_url: &str) -> bool {
    let Some(asked) = authority(head) else {
        return false;
    };
    is_address(asked) || host_of_url(public_url).is_some_and(|own| own.eq_ignore_ascii_case(asked))
}

/// Whether a form was sent by one of our own pages. Browsers say where a form is from; what says nothing is no browser, or
/// an old one, and has to know the form's own token all the same.
pub(super) fn is_from_us(head: &request::Parts, public_url: &str) -> bool {
    let mut sites = head.headers.get_all("sec-fetch-site").iter();
    if !sites.all(|site| matches!(site.as_bytes(), b"same-origin" | b"none")) {
        return false;
    }
    let mut origins = head.headers.get_all(header::ORIGIN).iter();
    let own = authority(head).unwrap_or_default();
    origins.all(|origin| {
        let origin = origin.to_str().unwrap_or_default();
        let host = origin.split_once("://").map_or("", |(_, host)| host);
        let is_public = host_of_url(public_url).is_some_and(|own| own.eq_ignore_ascii_case(host));
        !host.is_empty() && (is_public || (is_address(own) && own.eq_ignore_ascii_case(host)))
    })
}

/// Whether a reader of pages asks, and no program.
pub(super) fn wants_page(headers: &HeaderMap) -> bool {
    let accepts = headers.get_all(header::ACCEPT).iter();
    let mut accepts = accepts.filter_map(|value| value.to_str().ok());
    accepts.any(|value| value.contains("text/html"))
}

/// Where a browser may be sent after it signed in: one of our own pages.
pub(super) fn own_path(next: &str) -> Option<&str> {
    let is_path = next.starts_with('/') && !next.starts_with("//");
    let is_plain = next
        .bytes()
        .all(|byte| byte.is_ascii_graphic() && byte != b'\\');
    let path = next.split(['?', '#']).next().unwrap_or_default();
    let is_ours = path.split('/').any(|segment| segment == "ui");
    let decoded = percent_encoding::percent_decode_str(path)
        .decode_utf8()
        .ok()?;
    let is_one = !decoded.contains("//") && !decoded.contains('\\') && !decoded.contains("..");
    (is_path && is_plain && is_ours && is_one && next.len() <= 1_024).then_some(next)
}

fn authority(head: &request::Parts) -> Option<&str> {
    match head.uri.authority() {
        Some(authority) => Some(authority.as_str()),
        None => head.headers.get(header::HOST)?.to_str().ok(),
    }
}

/// Host and port, as browsers send them: without the scheme's own port.
fn host_of_url(url: &str) -> Option<String> {
    let parsed = HttpUrl::parse(url).ok()?;
    let base = parsed.base();
    let host = base.split_once("://").map(|(_, host)| host)?;
    let own_port = if base.starts_with("https:") {
        ":443"
    } else {
        ":80"
    };
    Some(host.strip_suffix(own_port).unwrap_or(host).to_owned())
}

fn is_address(authority: &str) -> bool {
    let host = match authority.strip_prefix('[') {
        Some(rest) => rest.split_once(']').map_or("", |(host, _)| host),
        None => authority
            .rsplit_once(':')
            .map_or(authority, |(host, _)| host),
    };
    host.eq_ignore_ascii_case("localhost") || host.parse::<IpAddr>().is_ok()
}

#[cfg(test)]
mod tests {
    use http::Request;

    use super::*;

    const PUBLIC: &str = "https://ai.lab.org";

    fn head(lines: &[(&str, &str)]) -> request::Parts {
        let mut request = Request::post("/ui/keys");
        for (name, value) in lines {
            request = request.header(*name, *value);
        }
        request.body(()).unwrap().into_parts().0
    }

    #[test]
    fn only_our_own_names_are_answered() {
        for (host, is_ours) in [
            ("ai.lab.org", true),
            ("AI.lab.org", true),
            ("127.0.0.1:8000", true),
            ("localhost:8000", true),
            ("[::1]:8000", true),
            ("10.1.2.3", true),
            ("evil.example", false),
            ("ai.lab.org.evil.example", false),
            ("ai.lab.org:8443", false),
            ("localhost.evil.example:8000", false),
        ] {
            assert_eq!(
                is_for_us(&head(&[("host", host)]), PUBLIC),
                is_ours,
                "{host}"
            );
        }
        assert!(!is_for_us(&head(&[]), PUBLIC));
    }

    #[test]
    fn forms_come_from_our_own_pages() {
        let (public, local) = (("host", "ai.lab.org"), ("host", "127.0.0.1:8000"));
        for lines in [
            &[public][..],
            &[public, ("origin", "https://ai.lab.org")],
            &[
                public,
                ("origin", "https://ai.lab.org"),
                ("sec-fetch-site", "same-origin"),
            ],
            &[local, ("origin", "http://127.0.0.1:8000")],
            &[local, ("origin", "https://ai.lab.org")],
        ] {
            assert!(is_from_us(&head(lines), PUBLIC), "{lines:?}");
        }
        for lines in [
            &[public, ("origin", "https://evil.example")][..],
            &[public, ("origin", "null")],
            &[public, ("origin", "")],
            &[public, ("sec-fetch-site", "cross-site")],
            &[public, ("sec-fetch-site", "same-site")],
            &[local, ("origin", "http://127.0.0.1:9000")],
            &[local, ("origin", "http://localhost:8000")],
            &[
                public,
                ("origin", "https://ai.lab.org"),
                ("origin", "https://evil.example"),
            ],
            &[("host", "evil.example"), ("origin", "http://evil.example")],
        ] {
            assert!(!is_from_us(&head(lines), PUBLIC), "{lines:?}");
        }
    }

    #[test]
    fn the_way_back_leads_to_our_own_pages_only() {
        for next in [
            "/ui/keys",
            "/resource_server/ui/models?x=1",
            "/ui/people/a%40b",
        ] {
            assert_eq!(own_path(next), Some(next));
        }
        for next in [
            "//evil/ui",
            "https:evil/ui",
            "/\\evil/ui",
            "%2f%2fevil",
            "/ui/%2f%2fevil",
            "https://evil/ui",
            "/ui/..%2f..",
            "/v1/models",
            "",
            "ui/keys",
            "/ui/a b",
            "/ui\n",
            "javascript:alert(1)//ui",
        ] {
            assert_eq!(own_path(next), None, "{next}");
        }
    }
}
