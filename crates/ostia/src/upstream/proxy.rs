use std::borrow::Cow;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http::{HeaderValue, Uri};
use ostia_core::Secret;
use percent_encoding::percent_decode_str;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

use tokio::net::TcpStream;
use tokio_socks::tcp::Socks5Stream;

use super::connect::ConnectError;

/// A proxy's response to CONNECT is a status line and a few headers.
const ANSWER_LIMIT: usize = 8 * 1024;

/// What is wrong with a proxy's URL. Never contains the URL, which may hold a password.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ProxyError {
    #[error("the proxy's URL must be http://[user:password@]host:port, or socks5:// or socks5h://")]
    Url,
    #[error(
        "the proxy's user or password is not percent-encoded UTF-8 or holds control characters"
    )]
    Credentials,
}

/// A proxy between the gateway and a backend.
pub(super) struct ProxyServer {
    pub(super) host: Box<str>,
    pub(super) port: u16,
    kind: Kind,
}

enum Kind {
    /// `Proxy-Authorization`; marked sensitive, so that no Debug output shows it.
    Http(Option<HeaderValue>),
    /// User and password (RFC 1929).
    Socks5(Option<Secret<(String, String)>>),
}

impl ProxyServer {
    pub(super) fn parse(url: &Secret<String>) -> Result<Self, ProxyError> {
        let uri: Uri = url.expose().parse().map_err(|_| ProxyError::Url)?;
        let authority = uri.authority().ok_or(ProxyError::Url)?;
        if authority.host().is_empty() {
            return Err(ProxyError::Url);
        }
        let user = authority.as_str().rsplit_once('@').map(|(user, _)| user);
        let (kind, usual_port) = match uri.scheme_str() {
            Some("http") => (Kind::Http(user.map(basic).transpose()?), 80),
            Some("socks5" | "socks5h") => (Kind::Socks5(user.map(plain).transpose()?), 1080),
            _ => return Err(ProxyError::Url),
        };
        let host = authority.host();
        let host = host
            .strip_prefix('[')
            .and_then(|host| host.strip_suffix(']'))
            .unwrap_or(host);
        Ok(Self {
            host: host.into(),
            port: authority.port_u16().unwrap_or(usual_port),
            kind,
        })
    }

    /// `Some` for an HTTP proxy that forwards requests, with the credentials it wants, if any. `None` for a SOCKS
    /// proxy, which only tunnels.
    pub(super) fn forwards(&self) -> Option<Option<&HeaderValue>> {
        match &self.kind {
            Kind::Http(authorization) => Some(authorization.as_ref()),
            Kind::Socks5(_) => None,
        }
    }

    /// Asks for a tunnel. Afterwards the connection is the backend's. The proxy resolves the host's name.
    pub(super) async fn tunnel(
        &self,
        mut stream: TcpStream,
        host: &str,
        port: u16,
    ) -> Result<TcpStream, ConnectError> {
        match &self.kind {
            Kind::Http(authorization) => {
                connect(&mut stream, &tunnel_end(host, port), authorization.as_ref()).await?;
                Ok(stream)
            }
            Kind::Socks5(user) => {
                let end = (host, port);
                let tunnel = match user.as_ref().map(Secret::expose) {
                    None => Socks5Stream::connect_with_socket(stream, end).await,
                    Some((user, password)) => {
                        Socks5Stream::connect_with_password_and_socket(stream, end, user, password)
                            .await
                    }
                };
                let tunnel = tunnel.map_err(|error| ConnectError::proxy(error.to_string()))?;
                Ok(tunnel.into_inner())
            }
        }
    }
}

/// `host:port`, always with the port: CONNECT has no default (RFC 9110 section 9.3.6).
fn tunnel_end(host: &str, port: u16) -> String {
    match host.contains(':') {
        true => format!("[{host}]:{port}"),
        false => format!("{host}:{port}"),
    }
}

async fn connect<S>(
    stream: &mut S,
    authority: &str,
    authorization: Option<&HeaderValue>,
) -> Result<(), ConnectError>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let mut request = format!("CONNECT {authority} HTTP/1.1\r\nHost: {authority}\r\n").into_bytes();
    if let Some(authorization) = authorization {
        request.extend_from_slice(b"Proxy-Authorization: ");
        request.extend_from_slice(authorization.as_bytes());
        request.extend_from_slice(b"\r\n");
    }
    request.extend_from_slice(b"\r\n");
    stream
        .write_all(&request)
        .await
        .map_err(|error| ConnectError::proxy(error.to_string()))?;
    match read_status(stream).await? {
        200..=299 => Ok(()),
        status => Err(ConnectError::proxy(format!("it responded with {status}"))),
    }
}

/// A percent-encoded `user:password` as a header value (RFC 7617).
fn basic(user: &str) -> Result<HeaderValue, ProxyError> {
    let (name, password) = user.split_once(':').unwrap_or((user, ""));
    let plain = format!("{}:{}", decode(name)?, decode(password)?);
    let mut value = HeaderValue::try_from(format!("Basic {}", STANDARD.encode(plain)))
        .map_err(|_| ProxyError::Credentials)?;
    value.set_sensitive(true);
    Ok(value)
}

/// The `user:password` of a URL, percent-decoded.
fn plain(user: &str) -> Result<Secret<(String, String)>, ProxyError> {
    let (name, password) = user.split_once(':').unwrap_or((user, ""));
    let (name, password) = (decode(name)?.into_owned(), decode(password)?.into_owned());
    // RFC 1929 encodes each length in one byte, and allows no empty value.
    let sound = |text: &String| (1..=255).contains(&text.len());
    if !sound(&name) || !sound(&password) {
        return Err(ProxyError::Credentials);
    }
    Ok(Secret::new((name, password)))
}

/// Stricter than the crate, which takes a stray `%` literally. Someone who forgot to encode a password should hear of
/// it when the site is loaded, not from a proxy that rejects the user.
fn decode(text: &str) -> Result<Cow<'_, str>, ProxyError> {
    let begins_a_code = |rest: &str| {
        let digits = rest.as_bytes().get(..2);
        digits.is_some_and(|digits| digits.iter().all(u8::is_ascii_hexdigit))
    };
    percent_decode_str(text)
        .decode_utf8()
        .ok()
        .filter(|_| text.split('%').skip(1).all(begins_a_code))
        .filter(|plain| !plain.chars().any(char::is_control))
        .ok_or(ProxyError::Credentials)
}

/// Reads the status of the response to CONNECT. Nothing may follow its head: the backend stays silent until it is
/// spoken to.
async fn read_status<S>(stream: &mut S) -> Result<u16, ConnectError>
where
    S: AsyncRead + Unpin,
{
    let mut answer = Vec::with_capacity(256);
    loop {
        if let Some(end) = memchr::memmem::find(&answer, b"\r\n\r\n") {
            let status = status_of(&answer);
            return match status {
                Some(200..=299) if end + 4 < answer.len() => Err(ConnectError::proxy(
                    "bytes came before the tunnel was used".to_owned(),
                )),
                Some(status) => Ok(status),
                None => Err(ConnectError::proxy("its response is not HTTP".to_owned())),
            };
        }
        if answer.len() >= ANSWER_LIMIT {
            return Err(ConnectError::proxy(
                "its response head is too long".to_owned(),
            ));
        }
        let read = stream
            .read_buf(&mut answer)
            .await
            .map_err(|error| ConnectError::proxy(error.to_string()))?;
        if read == 0 {
            return Err(ConnectError::proxy("it closed the connection".to_owned()));
        }
    }
}

fn status_of(answer: &[u8]) -> Option<u16> {
    let rest = answer.strip_prefix(b"HTTP/1.")?;
    let digits = rest.get(1..5)?.strip_prefix(b" ")?;
    std::str::from_utf8(digits).ok()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(url: &str) -> Result<ProxyServer, ProxyError> {
        ProxyServer::parse(&Secret::new(url.to_owned()))
    }

    #[test]
    fn urls() {
        let proxy = parse("http://proxy.site:3128/").unwrap();
        assert_eq!((&*proxy.host, proxy.port), ("proxy.site", 3128));
        assert_eq!(proxy.forwards(), Some(None));
        for socks in ["socks5://proxy", "socks5h://u:p@proxy:1080/"] {
            let proxy = parse(socks).unwrap();
            assert_eq!((proxy.port, proxy.forwards()), (1080, None), "{socks}");
        }
        assert_eq!(parse("http://proxy").unwrap().port, 80);
        assert_eq!(&*parse("http://[::1]:8080").unwrap().host, "::1");
        for bad in [
            "https://proxy:1",
            "socks4://proxy:1",
            "socks5://user@proxy:1",
            "proxy:3128",
            "",
            "http://",
        ] {
            assert!(parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn credentials_are_decoded_and_hidden() {
        let proxy = parse("http://us%65r:p%40ss%3Aword@proxy:1").unwrap();
        let value = proxy.forwards().flatten().unwrap();
        assert_eq!(
            *value,
            format!("Basic {}", STANDARD.encode("user:p@ss:word"))
        );
        assert!(value.is_sensitive());
        for bad in [
            "http://u:%0d%0a@p:1",
            "http://u:%4@p:1",
            "http://u:%+4@p:1",
            "http://u:50%@p:1",
            "http://u:%ff@p:1",
        ] {
            assert_eq!(parse(bad).err(), Some(ProxyError::Credentials), "{bad}");
        }
    }

    #[tokio::test]
    async fn answers() {
        for (answer, wanted) in [
            ("HTTP/1.1 200 OK\r\n\r\n", Some(200)),
            ("HTTP/1.0 200\r\nVia: x\r\n\r\n", Some(200)),
            ("HTTP/1.1 407 No\r\n\r\nbody", Some(407)),
            ("HTTP/1.1 200 OK\r\n\r\nearly", None),
            ("HTTP/1.1 20", None),
            ("SSH-2.0-x\r\n\r\n", None),
        ] {
            let mut bytes = answer.as_bytes();
            assert_eq!(read_status(&mut bytes).await.ok(), wanted, "{answer}");
        }
        let endless = vec![b'a'; 2 * ANSWER_LIMIT];
        assert!(read_status(&mut &endless[..]).await.is_err());
    }
}
