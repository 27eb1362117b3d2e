use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use ostia_core::Secret;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Scheme {
    Http,
    Https,
}

/// Where a backend listens.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Origin {
    pub scheme: Scheme,
    /// Lower case; an IPv6 address without brackets.
    pub host: Arc<str>,
    pub port: u16,
}

/// How to call a backend: everything in `config` that the direct API uses. A timeout of `None` is disabled.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    pub origin: Origin,
    /// The path before `/{api}`: "" or `/v1`, never with a trailing slash.
    pub base_path: Box<str>,
    /// Sent with every call; without `?`.
    pub query: Option<Box<str>>,
    /// Further URLs of the same backend: each request goes to one of them all.
    pub replicas: Vec<Replica>,
    /// API -> absolute path, used instead of `base_path/{api}`.
    pub paths: BTreeMap<String, String>,
    pub key: Option<Secret<String>>,
    pub timeouts: Timeouts,
    pub pool_idle_timeout: Option<Duration>,
    pub tls: Tls,
    pub proxy: Proxy,
    /// `true`: use HTTP/2 even without TLS; otherwise only if ALPN negotiates it.
    pub http2: bool,
    pub inject_usage: bool,
    /// Whether this backend's streams end with their dialect's terminal event.
    pub done_marker: bool,
    /// What is billed does not end with the client: answers are read to their end, for their usage.
    pub bills_to_end: bool,
    pub forward_headers: Vec<http::HeaderName>,
    /// Hosts other than the origin's that an adapter may call.
    pub allowed_hosts: Vec<String>,
    /// The addresses of the origin's name; `None`: it is resolved for each connection.
    pub addresses: Option<Arc<[IpAddr]>>,
}

/// Another address of the same backend.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Replica {
    pub origin: Origin,
    pub base_path: Box<str>,
    pub query: Option<Box<str>>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Timeouts {
    pub connect: Option<Duration>,
    pub response_header: Option<Duration>,
    pub stream_idle: Option<Duration>,
    pub total: Option<Duration>,
}

#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Tls {
    pub ca_cert_path: Option<PathBuf>,
    pub client_cert_path: Option<PathBuf>,
    pub client_key_path: Option<PathBuf>,
    /// `true`: do not compare the certificate's name. The chain is still checked, against `ca_cert_path`.
    pub skip_host_check: bool,
    /// Older versions are not used.
    pub min_version: TlsVersion,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub enum TlsVersion {
    #[default]
    V1_2,
    V1_3,
}

/// The proxy to use. Its URL may hold a password.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Proxy {
    #[default]
    None,
    /// `http://[user:password@]host:port`, or `socks5h` in the place of `http`.
    Url(Secret<String>),
}

impl Proxy {
    /// The same without a user name and password.
    pub fn shown(&self) -> Option<String> {
        let Self::Url(url) = self else { return None };
        let (scheme, rest) = url.expose().split_once("://")?;
        let host = rest.rsplit_once('@').map_or(rest, |(_, host)| host);
        Some(format!("{scheme}://{host}"))
    }
}

impl Target {
    /// All defaults except the origin and the timeouts.
    pub fn plain(origin: Origin, timeouts: Timeouts) -> Self {
        Self {
            origin,
            base_path: "".into(),
            query: None,
            replicas: Vec::new(),
            paths: BTreeMap::new(),
            key: None,
            timeouts,
            pool_idle_timeout: Some(Duration::from_secs(4)),
            tls: Tls::default(),
            proxy: Proxy::None,
            http2: false,
            inject_usage: true,
            done_marker: true,
            bills_to_end: false,
            forward_headers: Vec::new(),
            allowed_hosts: Vec::new(),
            addresses: None,
        }
    }

    /// Path and query of a call to `api` (`chat/completions`).
    pub fn path_and_query(&self, api: &str) -> String {
        self.path_at(&self.base_path, self.query.as_deref(), api)
    }

    /// The URLs called for `api`: its own, then that of each replica. Without the query, which may contain a key.
    pub fn urls(&self, api: &str) -> Vec<String> {
        let own = (&self.origin, &*self.base_path);
        let replicas = self.replicas.iter();
        let places = replicas.map(|replica| (&replica.origin, &*replica.base_path));
        std::iter::once(own)
            .chain(places)
            .map(|(origin, base_path)| {
                let path = self.path_at(base_path, None, api);
                format!("{}{path}", origin.base())
            })
            .collect()
    }

    /// The same at a replica.
    pub fn replica_path(&self, replica: &Replica, api: &str) -> String {
        self.path_at(&replica.base_path, replica.query.as_deref(), api)
    }

    pub fn path_at(&self, base_path: &str, query: Option<&str>, api: &str) -> String {
        let path = match self.paths.get(api) {
            Some(path) => path.clone(),
            None => [base_path, "/", api].concat(),
        };
        match query {
            Some(query) => format!("{path}?{query}"),
            None => path,
        }
    }
}

/// Cloud metadata services hand out the machine's credentials at such addresses: no adapter may call them.
pub fn is_link_local(address: IpAddr) -> bool {
    match address.to_canonical() {
        IpAddr::V4(address) => address.is_link_local(),
        IpAddr::V6(address) => address.is_unicast_link_local(),
    }
}

impl Origin {
    /// `https://host:port`.
    pub fn base(&self) -> String {
        let scheme = match self.scheme {
            Scheme::Http => "http",
            Scheme::Https => "https",
        };
        format!("{scheme}://{}", self.authority())
    }

    /// Whether the host is a link-local address (RFC 3927, RFC 4291 section 2.5.6), also as an IPv4-mapped IPv6
    /// address.
    pub fn is_link_local(&self) -> bool {
        self.host.parse().is_ok_and(is_link_local)
    }

    /// `host` or `host:port`, in the form of the `Host` header (RFC 9110 section 7.2).
    pub fn authority(&self) -> String {
        let host = if self.host.contains(':') {
            format!("[{}]", self.host)
        } else {
            self.host.to_string()
        };
        match (self.scheme, self.port) {
            (Scheme::Http, 80) | (Scheme::Https, 443) => host,
            (_, port) => format!("{host}:{port}"),
        }
    }
}
