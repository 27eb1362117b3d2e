use std::io;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use futures_util::stream::{FuturesUnordered, StreamExt};
use http::HeaderValue;
use rustls_pki_types::ServerName;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use super::client::ClientError;
use super::proxy::ProxyServer;
use super::resolver::Resolver;
use super::socket::{Socket, Stream};
use super::tls_words::in_words;
use super::{FailureKind, tls};
use crate::catalog::{Origin, Proxy, Scheme, Target, is_link_local};
use crate::runtime::is_exhaustion;

/// How long one address is tried before the next one is tried in parallel (RFC 8305 section 5).
const HEAD_START: Duration = Duration::from_millis(250);
const KEEPALIVE: Duration = Duration::from_secs(60);

/// Opens connections with one deployment's settings.
pub(super) struct Connector {
    own: Origin,
    resolver: Arc<Resolver>,
    tls: Option<TlsConnector>,
    proxy: Option<ProxyServer>,
    http2: bool,
    /// Every connection through a proxy is a `CONNECT`, also without TLS.
    forwards_nothing: bool,
    /// The addresses of the target's own host, if they were resolved and checked before.
    addresses: Option<Arc<[IpAddr]>>,
}

/// A connection and the protocol spoken on it.
pub(super) struct Connected {
    pub(super) socket: Socket,
    pub(super) http2: bool,
}

/// Why there is no connection.
#[derive(Debug)]
pub(super) struct ConnectError {
    pub(super) kind: FailureKind,
    pub(super) detail: String,
}

impl ConnectError {
    fn unreachable(detail: String) -> Self {
        Self {
            kind: FailureKind::Unreachable,
            detail,
        }
    }

    fn tls(detail: String) -> Self {
        Self {
            kind: FailureKind::Tls,
            detail,
        }
    }

    pub(super) fn proxy(detail: String) -> Self {
        Self::unreachable(format!("the proxy: {detail}"))
    }
}

impl Connector {
    pub(super) fn new(target: &Target, resolver: Arc<Resolver>) -> Result<Self, ClientError> {
        let tls = match target.origin.scheme {
            Scheme::Https => Some(TlsConnector::from(tls::client_config(&target.tls)?)),
            Scheme::Http => None,
        };
        let proxy = match &target.proxy {
            Proxy::None => None,
            Proxy::Url(url) => Some(ProxyServer::parse(url)?),
        };
        Ok(Self {
            own: target.origin.clone(),
            resolver,
            tls,
            proxy,
            http2: target.http2,
            forwards_nothing: false,
            addresses: target.addresses.clone(),
        })
    }

    /// The same for connections to be turned into tunnels, which begin with HTTP/1.1. No proxy may read them.
    pub(super) fn for_tunnels(mut self) -> Self {
        self.http2 = false;
        self.forwards_nothing = true;
        if let Some(tls) = &self.tls {
            let mut config = rustls::ClientConfig::clone(tls.config());
            config.alpn_protocols = vec![b"http/1.1".to_vec()];
            self.tls = Some(TlsConnector::from(Arc::new(config)));
        }
        self
    }

    /// If requests pass the proxy unencrypted, they carry absolute URLs. Then this is `Some`, with the credentials that
    /// the proxy wants, if any.
    pub(super) fn forwarded(&self, origin: &Origin) -> Option<Option<HeaderValue>> {
        let proxy = self.proxy.as_ref()?;
        let credentials = proxy.forwards()?;
        (!self.tunnels(proxy, origin)).then(|| credentials.cloned())
    }

    pub(super) fn http2_without_tls(&self, origin: &Origin) -> bool {
        self.http2 && origin.scheme == Scheme::Http
    }

    pub(super) async fn connect(&self, origin: &Origin) -> Result<Connected, ConnectError> {
        let stream = match &self.proxy {
            None => {
                self.dial(&origin.host, origin.port, *origin == self.own)
                    .await?
            }
            Some(proxy) => {
                let stream = self.dial(&proxy.host, proxy.port, true).await?;
                match self.tunnels(proxy, origin) {
                    true => proxy.tunnel(stream, &origin.host, origin.port).await?,
                    false => stream,
                }
            }
        };
        match origin.scheme {
            Scheme::Http => Ok(Connected {
                socket: Socket::new(Stream::Plain(stream)),
                http2: self.http2,
            }),
            Scheme::Https => self.handshake(origin, stream).await,
        }
    }

    /// HTTP/2 without TLS is tunnelled as well, because forwarding proxies speak HTTP/1.
    fn tunnels(&self, proxy: &ProxyServer, origin: &Origin) -> bool {
        origin.scheme == Scheme::Https
            || self.http2
            || self.forwards_nothing
            || proxy.forwards().is_none()
    }

    /// `configured`: the site's files name the host. A host that an adapter named must not resolve to a link-local
    /// address, whatever its name is.
    async fn dial(
        &self,
        host: &str,
        port: u16,
        configured: bool,
    ) -> Result<TcpStream, ConnectError> {
        let addresses = match &self.addresses {
            Some(settled) if *host == *self.own.host => Arc::clone(settled),
            _ => {
                let found = self.resolver.resolve(host).await;
                found.map_err(|error| ConnectError::unreachable(format!("{host}: {error}")))?
            }
        };
        if !configured && addresses.iter().any(|address| is_link_local(*address)) {
            let detail = format!("{host}: resolves to a link-local address");
            return Err(ConnectError::unreachable(detail));
        }
        let stream = race(&addresses, port).await.map_err(|error| ConnectError {
            kind: match is_exhaustion(&error) {
                true => FailureKind::Exhausted,
                false => FailureKind::Unreachable,
            },
            detail: format!("{host}:{port}: {error}"),
        })?;
        // Both options are optimisations: a socket that refuses them still works.
        let _ = stream.set_nodelay(true);
        let keepalive = socket2::TcpKeepalive::new().with_time(KEEPALIVE);
        let _ = socket2::SockRef::from(&stream).set_tcp_keepalive(&keepalive);
        Ok(stream)
    }

    async fn handshake(
        &self,
        origin: &Origin,
        stream: TcpStream,
    ) -> Result<Connected, ConnectError> {
        let host = origin.host.trim_end_matches('.').to_owned();
        let tls = self
            .tls
            .as_ref()
            .ok_or_else(|| ConnectError::tls("TLS is not set up for this endpoint".to_owned()))?;
        let name = ServerName::try_from(host)
            .map_err(|_| ConnectError::tls(format!("{}: not a valid name for TLS", origin.host)))?;
        let stream = tls
            .connect(name, stream)
            .await
            .map_err(|error| ConnectError::tls(format!("{}: {}", origin.host, in_words(&error))))?;
        let http2 = match stream.get_ref().1.alpn_protocol() {
            Some(agreed) => agreed == b"h2",
            None => self.http2,
        };
        Ok(Connected {
            socket: Socket::new(Stream::Tls(Box::new(stream))),
            http2,
        })
    }
}

/// The first address that connects wins; each gets a head start on the next.
async fn race(addresses: &[IpAddr], port: u16) -> io::Result<TcpStream> {
    let mut waiting = addresses.iter();
    let mut attempts = FuturesUnordered::new();
    let mut failed = io::Error::from(io::ErrorKind::AddrNotAvailable);
    loop {
        if let Some(address) = waiting.next() {
            attempts.push(TcpStream::connect((*address, port)));
        }
        tokio::select! {
            attempt = attempts.next() => match attempt {
                Some(Ok(stream)) => return Ok(stream),
                Some(Err(error)) => failed = error,
                None => return Err(failed),
            },
            () = tokio::time::sleep(HEAD_START), if waiting.len() > 0 => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_dead_address_does_not_hide_a_living_one() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        // Only the last address has a listener.
        let addresses = ["127.0.0.2", "127.0.0.3", "127.0.0.1"].map(|ip| ip.parse().unwrap());
        let stream = race(&addresses, port).await.unwrap();
        assert_eq!(stream.peer_addr().unwrap().port(), port);
        assert!(race(&addresses[..2], port).await.is_err());
        assert!(race(&[], port).await.is_err());
    }
}
