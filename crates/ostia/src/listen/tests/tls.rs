//! TLS: ALPN, reload, truncation, slow handshakes.

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use http::Response;
use http_body_util::{BodyExt, Empty};
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls::{ClientConfig, RootCertStore};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::super::{Inbound, Options, Tls};
use super::broken::{WAYS, breaking};
use super::{Gateway, echo, options, status, text};
use crate::runtime;

struct Files {
    folder: tempfile::TempDir,
}

impl Files {
    fn new() -> (Self, RootCertStore) {
        let files = Self {
            folder: tempfile::tempdir().unwrap(),
        };
        let roots = files.write();
        (files, roots)
    }

    /// Writes a new certificate and returns the roots that trust it.
    fn write(&self) -> RootCertStore {
        let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
        std::fs::write(self.cert(), made.cert.pem()).unwrap();
        std::fs::write(self.key(), made.signing_key.serialize_pem()).unwrap();
        let mut roots = RootCertStore::empty();
        roots.add(made.cert.der().clone()).unwrap();
        roots
    }

    fn cert(&self) -> std::path::PathBuf {
        self.folder.path().join("cert.pem")
    }

    fn key(&self) -> std::path::PathBuf {
        self.folder.path().join("key.pem")
    }

    fn load(&self) -> Arc<Tls> {
        Arc::new(Tls::load(&self.cert(), &self.key()).unwrap())
    }
}

async fn connect(
    gateway: &Gateway,
    roots: RootCertStore,
    alpn: &[&str],
) -> io::Result<TlsStream<TcpStream>> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = alpn.iter().map(|name| name.as_bytes().to_vec()).collect();
    let socket = TcpStream::connect(gateway.address).await?;
    TlsConnector::from(Arc::new(config))
        .connect("localhost".try_into().unwrap(), socket)
        .await
}

fn with_tls(tls: &Arc<Tls>) -> Options {
    Options {
        tls: Some(Arc::clone(tls)),
        ..options()
    }
}

#[tokio::test]
async fn alpn_decides_the_protocol() {
    let (files, roots) = Files::new();
    let gateway = Gateway::start(with_tls(&files.load()), echo).await;
    for alpn in [&[][..], &["http/1.1"]] {
        let mut client = connect(&gateway, roots.clone(), alpn).await.unwrap();
        client
            .write_all(b"GET / HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n")
            .await
            .unwrap();
        let mut bytes = Vec::new();
        // Ends with close_notify, so without an error.
        client.read_to_end(&mut bytes).await.unwrap();
        assert_eq!(status(&bytes), 200);
    }
    let socket = connect(&gateway, roots, &["h2", "http/1.1"]).await.unwrap();
    assert_eq!(socket.get_ref().1.alpn_protocol(), Some(&b"h2"[..]));
    let (mut requests, conn) =
        hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(socket))
            .await
            .unwrap();
    runtime::spawn(conn);
    let request = http::Request::get("https://a/v1").body(Empty::<bytes::Bytes>::new());
    let response = requests.send_request(request.unwrap()).await.unwrap();
    let body = response.into_body().collect().await.unwrap();
    assert_eq!(body.to_bytes(), "/v1 0");
}

#[tokio::test]
async fn a_cut_answer_is_truncated_tls() {
    let (files, roots) = Files::new();
    for way in WAYS {
        let gateway = Gateway::start(
            with_tls(&files.load()),
            move |inbound: Inbound| async move {
                Response::new(breaking(inbound.wire, way, 3, 100_000))
            },
        )
        .await;
        for _ in 0..20 {
            let mut client = connect(&gateway, roots.clone(), &[]).await.unwrap();
            client
                .write_all(b"GET / HTTP/1.1\r\nhost: a\r\n\r\n")
                .await
                .unwrap();
            let mut bytes = Vec::new();
            let end = client.read_to_end(&mut bytes).await;
            assert_eq!(end.unwrap_err().kind(), io::ErrorKind::UnexpectedEof);
            assert!(bytes.len() > 300_000);
            assert!(text(&bytes).ends_with("data: {\"error\":{}}\n\n\r\n"));
        }
    }
}

#[tokio::test]
async fn a_reload_is_for_new_connections_and_all_or_nothing() {
    let (files, old_roots) = Files::new();
    let tls = files.load();
    let gateway = Gateway::start(with_tls(&tls), echo).await;
    let new_roots = files.write();
    assert!(connect(&gateway, old_roots.clone(), &[]).await.is_ok());
    tls.reload(&files.cert(), &files.key()).unwrap();
    assert!(connect(&gateway, new_roots.clone(), &[]).await.is_ok());
    assert!(connect(&gateway, old_roots, &[]).await.is_err());

    std::fs::write(files.cert(), "nonsense").unwrap();
    assert!(tls.reload(&files.cert(), &files.key()).is_err());
    assert!(tls.reload(Path::new("/nowhere"), &files.key()).is_err());
    assert!(connect(&gateway, new_roots, &[]).await.is_ok());
}

#[tokio::test]
async fn a_key_of_another_certificate_is_refused() {
    let (files, _) = Files::new();
    let (other, _) = Files::new();
    let mismatched = Tls::load(&files.cert(), &other.key());
    let error = mismatched.err().unwrap().to_string();
    assert!(!error.is_empty());
}

#[tokio::test]
async fn a_handshake_has_to_come_in_time() {
    let (files, _) = Files::new();
    let options = Options {
        header_timeout: Duration::from_millis(200),
        ..with_tls(&files.load())
    };
    let gateway = Gateway::start(options, echo).await;
    let mut client = gateway.connect().await;
    client.send([0x16, 3, 1]).await;
    assert_eq!(client.read_all().await, b"");
    gateway.until_none_is_open().await;
}
