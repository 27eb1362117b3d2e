use std::net::{Ipv4Addr, Ipv6Addr};
use std::sync::Arc;

use super::{Origin, Scheme};
use crate::dialect::url_tail;

/// The parts of an absolute `http` or `https` URL. Nothing is decoded or added.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HttpUrl {
    pub origin: Origin,
    /// "" or a path that begins with `/`.
    pub path: Box<str>,
    /// Without `?`.
    pub query: Option<Box<str>>,
    /// Whether there is a user or password before the host. The text itself is not kept.
    pub userinfo: bool,
}

/// What `api_url` names: a base, or a complete endpoint URL whose API is cut off.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ApiUrl {
    pub origin: Origin,
    /// The path before `/{api}`.
    pub base_path: Box<str>,
    pub query: Option<Box<str>>,
    /// The API that was cut off, if it was a complete endpoint URL.
    pub cut: Option<&'static str>,
}

/// Why a text is not accepted as a URL. The message never repeats the text, which may hold a password.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum UrlFault {
    #[error("is not a URL: it must begin with http:// or https://")]
    Scheme,
    #[error("has no host")]
    NoHost,
    #[error(
        "has a host that is neither a name nor an IP address (write names in other scripts as xn--...)"
    )]
    Host,
    #[error("has a port that is not between 1 and 65535")]
    Port,
    #[error("has a path or query with characters that must be percent-encoded")]
    Path,
    #[error("has a fragment (`#...`), which is never sent: remove it")]
    Fragment,
    #[error("contains a user name or password: remove it")]
    Userinfo,
}

impl HttpUrl {
    /// Refuses a URL with a user name or password, which would be shown in many places and sent nowhere.
    pub fn parse_bare(text: &str) -> Result<Self, UrlFault> {
        let url = Self::parse(text)?;
        if url.userinfo {
            return Err(UrlFault::Userinfo);
        }
        Ok(url)
    }

    pub fn parse(text: &str) -> Result<Self, UrlFault> {
        let (scheme, rest) = split_scheme(text)?;
        if rest.contains('#') {
            return Err(UrlFault::Fragment);
        }
        let end = rest.find(['/', '?']).unwrap_or(rest.len());
        let (authority, tail) = rest.split_at(end);
        let (path, query) = match tail.split_once('?') {
            Some((path, query)) => (path, Some(query)),
            None => (tail, None),
        };
        check_tail(path, query)?;
        let (userinfo, host_port) = match authority.rsplit_once('@') {
            Some((_, host_port)) => (true, host_port),
            None => (false, authority),
        };
        Ok(Self {
            origin: parse_origin(scheme, host_port)?,
            path: path.into(),
            query: query.filter(|query| !query.is_empty()).map(Into::into),
            userinfo,
        })
    }

    /// `https://host:port` and nothing after it.
    pub fn base(&self) -> String {
        self.origin.base()
    }

    /// Path and query in the form of a request line (RFC 9112 section 3.2.1).
    pub fn path_and_query(&self) -> String {
        let path = if self.path.is_empty() {
            "/"
        } else {
            &self.path
        };
        match &self.query {
            Some(query) => format!("{path}?{query}"),
            None => path.to_owned(),
        }
    }
}

impl ApiUrl {
    pub fn parse(text: &str) -> Result<Self, UrlFault> {
        let url = HttpUrl::parse_bare(text)?;
        let path = url.path.strip_suffix('/').unwrap_or(&url.path);
        let tail = url_tail(path);
        Ok(Self {
            origin: url.origin,
            base_path: tail.map_or(path, |(base, _)| base).into(),
            query: url.query,
            cut: tail.map(|(_, api)| api),
        })
    }

    /// The same text for everything that is spelt differently and means the same.
    pub fn canonical(&self) -> String {
        let (base, path) = (self.origin.base(), &self.base_path);
        match &self.query {
            Some(query) => format!("{base}{path}?{query}"),
            None => format!("{base}{path}"),
        }
    }
}

fn split_scheme(text: &str) -> Result<(Scheme, &str), UrlFault> {
    let (scheme, rest) = text.split_once("://").ok_or(UrlFault::Scheme)?;
    if scheme.eq_ignore_ascii_case("https") {
        Ok((Scheme::Https, rest))
    } else if scheme.eq_ignore_ascii_case("http") {
        Ok((Scheme::Http, rest))
    } else {
        Err(UrlFault::Scheme)
    }
}

fn check_tail(path: &str, query: Option<&str>) -> Result<(), UrlFault> {
    let graphic = |text: &str| {
        text.bytes().all(|byte| {
            byte.is_ascii_graphic() && !matches!(byte, b'"' | b'<' | b'>' | b'\\' | b'`')
        })
    };
    let sound = graphic(path)
        && graphic(query.unwrap_or(""))
        && (path.is_empty() || http::uri::PathAndQuery::try_from(path).is_ok());
    if sound { Ok(()) } else { Err(UrlFault::Path) }
}

fn parse_origin(scheme: Scheme, host_port: &str) -> Result<Origin, UrlFault> {
    let (host, port) = match host_port.strip_prefix('[') {
        Some(rest) => {
            let (address, after) = rest.split_once(']').ok_or(UrlFault::Host)?;
            let address: Ipv6Addr = address.parse().map_err(|_| UrlFault::Host)?;
            let port = match after {
                "" => None,
                _ => Some(after.strip_prefix(':').ok_or(UrlFault::Host)?),
            };
            (address.to_string(), port)
        }
        None => match host_port.split_once(':') {
            Some((host, port)) => (name(host)?, Some(port)),
            None => (name(host_port)?, None),
        },
    };
    let port = match port {
        None | Some("") => match scheme {
            Scheme::Http => 80,
            Scheme::Https => 443,
        },
        Some(digits) if digits.bytes().all(|byte| byte.is_ascii_digit()) => digits
            .parse()
            .ok()
            .filter(|port| *port != 0)
            .ok_or(UrlFault::Port)?,
        Some(_) => return Err(UrlFault::Port),
    };
    Ok(Origin {
        scheme,
        host: Arc::from(host),
        port,
    })
}

/// A host name in lower case. If its last label is a number, it must be a plain IPv4 address: resolvers also read
/// `0x7f.1` and `2130706433` as addresses, which rules that compare hosts would miss.
fn name(host: &str) -> Result<String, UrlFault> {
    if host.is_empty() {
        return Err(UrlFault::NoHost);
    }
    let labels_sound = host.len() <= 253
        && host
            .strip_suffix('.')
            .unwrap_or(host)
            .split('.')
            .all(|label| {
                !label.is_empty()
                    && label.len() <= 63
                    && label
                        .bytes()
                        .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'))
            });
    let last = host.trim_end_matches('.').rsplit('.').next().unwrap_or("");
    let numeric = last.bytes().all(|byte| byte.is_ascii_digit())
        || last
            .get(..2)
            .is_some_and(|start| start.eq_ignore_ascii_case("0x"));
    if !labels_sound || (numeric && host.parse::<Ipv4Addr>().is_err()) {
        return Err(UrlFault::Host);
    }
    Ok(host.to_ascii_lowercase())
}

#[cfg(test)]
mod tests {
    use super::{ApiUrl, HttpUrl, UrlFault};

    #[test]
    fn bases_and_whole_endpoint_urls() {
        for (text, authority, base, query, cut) in [
            ("https://h/v1", "h", "/v1", None, None),
            ("https://h/v1/", "h", "/v1", None, None),
            ("https://h", "h", "", None, None),
            ("http://127.0.0.1:8080", "127.0.0.1:8080", "", None, None),
            ("HTTPS://H.Example:443/", "h.example", "", None, None),
            (
                "https://h/v1/my-model/chat/completions",
                "h",
                "/v1/my-model",
                None,
                Some("chat/completions"),
            ),
            (
                "https://h/v1/chat/completions/",
                "h",
                "/v1",
                None,
                Some("chat/completions"),
            ),
            (
                "https://h/chat/completions",
                "h",
                "",
                None,
                Some("chat/completions"),
            ),
            (
                "https://h/v1/completions",
                "h",
                "/v1",
                None,
                Some("completions"),
            ),
            (
                "https://h/v1/mycompletions",
                "h",
                "/v1/mycompletions",
                None,
                None,
            ),
            (
                "https://h/v1/audio/speech?a=1",
                "h",
                "/v1",
                Some("a=1"),
                Some("audio/speech"),
            ),
            (
                "https://h/d/x/chat/completions?api-version=2",
                "h",
                "/d/x",
                Some("api-version=2"),
                Some("chat/completions"),
            ),
            ("http://[::1]:9/v1", "[::1]:9", "/v1", None, None),
            ("https://h/v1//", "h", "/v1/", None, None),
            ("https://h?x=1", "h", "", Some("x=1"), None),
        ] {
            let url = ApiUrl::parse(text).unwrap();
            assert_eq!(
                (
                    &*url.origin.authority(),
                    &*url.base_path,
                    url.query.as_deref(),
                    url.cut
                ),
                (authority, base, query, cut),
                "{text}"
            );
        }
    }

    #[test]
    fn what_is_no_url() {
        for (text, fault) in [
            ("", UrlFault::Scheme),
            ("h/v1", UrlFault::Scheme),
            ("file:///etc/passwd", UrlFault::Scheme),
            ("ftp://h", UrlFault::Scheme),
            ("https://", UrlFault::NoHost),
            ("https:///v1", UrlFault::NoHost),
            ("https://:80/v1", UrlFault::NoHost),
            ("https://h:0", UrlFault::Port),
            ("https://h:65536", UrlFault::Port),
            ("https://h:+1", UrlFault::Port),
            ("https://h/#top", UrlFault::Fragment),
            ("https://a b/", UrlFault::Host),
            ("https://münchen.de/", UrlFault::Host),
            ("https://2130706433/", UrlFault::Host),
            ("https://0x7f.1/", UrlFault::Host),
            ("https://127.1/", UrlFault::Host),
            ("https://[::1/", UrlFault::Host),
            ("https://h/a b", UrlFault::Path),
            ("https://h/\u{e9}", UrlFault::Path),
            ("https://user:hunter2@h/v1", UrlFault::Userinfo),
        ] {
            assert_eq!(ApiUrl::parse(text), Err(fault), "{text}");
        }
    }

    #[test]
    fn userinfo_is_noticed_and_forgotten() {
        let url = HttpUrl::parse("http://user:hunter2@proxy:3128").unwrap();
        assert!(url.userinfo);
        assert!(!format!("{url:?}").contains("hunter2"));
        assert_eq!(url.path_and_query(), "/");
    }
}
