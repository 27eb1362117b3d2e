use std::path::PathBuf;
use std::sync::Arc;

use ostia_core::{Phase, Secret};
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig, SupportedProtocolVersion};
use rustls_pki_types::PrivateKeyDer;
use tempfile::TempDir;
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio_rustls::TlsAcceptor;

use super::super::{ClientError, FailureKind, TlsError};
use super::backend::{Backend, Peer, header};
use super::{OK, call, client, fail, outgoing, soon, target};
use crate::catalog::{Proxy, Scheme, Target, TlsVersion};

/// A site's own certificate authority, with its files.
pub(super) struct Authority {
    issuer: Issuer<'static, KeyPair>,
    roots: RootCertStore,
    folder: TempDir,
}

impl Authority {
    pub(super) fn new() -> Self {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().unwrap();
        let certificate = params.self_signed(&key).unwrap();
        let mut roots = RootCertStore::empty();
        roots.add(certificate.der().clone()).unwrap();
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("ca.pem"), certificate.pem()).unwrap();
        Self {
            issuer: Issuer::new(params, key),
            roots,
            folder,
        }
    }

    pub(super) fn path(&self, file: &str) -> PathBuf {
        self.folder.path().join(file)
    }

    /// A server certificate for `name`; `known`: clients must present a certificate from this authority.
    pub(super) fn acceptor(&self, name: &str, known: bool, alpn: &[&str]) -> TlsAcceptor {
        self.acceptor_with(name, known, alpn, rustls::DEFAULT_VERSIONS)
    }

    fn acceptor_with(
        &self,
        name: &str,
        known: bool,
        alpn: &[&str],
        versions: &[&'static SupportedProtocolVersion],
    ) -> TlsAcceptor {
        let key = KeyPair::generate().unwrap();
        let params = CertificateParams::new(vec![name.to_owned()]).unwrap();
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
            .with_protocol_versions(versions)
            .unwrap();
        let builder = if known {
            let roots = Arc::new(self.roots.clone());
            let verifier = WebPkiClientVerifier::builder_with_provider(roots, provider);
            builder.with_client_cert_verifier(verifier.build().unwrap())
        } else {
            builder.with_no_client_auth()
        };
        let key = PrivateKeyDer::try_from(key.serialize_der()).unwrap();
        let mut config = builder
            .with_single_cert(vec![certificate.der().clone()], key)
            .unwrap();
        config.alpn_protocols = alpn.iter().map(|name| name.as_bytes().to_vec()).collect();
        TlsAcceptor::from(Arc::new(config))
    }

    /// Writes `client.pem` and `client.key`.
    fn issue_client(&self) {
        let key = KeyPair::generate().unwrap();
        let params = CertificateParams::new(vec!["gateway".to_owned()]).unwrap();
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        std::fs::write(self.path("client.pem"), certificate.pem()).unwrap();
        std::fs::write(self.path("client.key"), key.serialize_pem()).unwrap();
    }

    pub(super) fn target(&self, backend: &Backend) -> Target {
        let mut target = target(Scheme::Https, "model.test", backend.port);
        target.tls.ca_cert_path = Some(self.path("ca.pem"));
        target
    }
}

pub(super) async fn serve(acceptor: TlsAcceptor, socket: TcpStream) {
    let Ok(stream) = acceptor.accept(socket).await else {
        return;
    };
    let mut peer = Peer::new(stream);
    while let Some(request) = peer.request().await {
        assert!(
            request
                .head
                .starts_with("POST /v1/chat/completions HTTP/1.1\r\n")
        );
        assert_eq!(header(&request.head, "proxy-authorization"), None);
        peer.send(OK).await;
    }
}

pub(super) async fn backend(authority: &Authority, name: &str, known: bool) -> Backend {
    let acceptor = authority.acceptor(name, known, &["http/1.1"]);
    Backend::start(move |_, peer| serve(acceptor.clone(), peer.socket)).await
}

#[tokio::test]
async fn a_private_authority_is_trusted_where_it_is_named() {
    let authority = Authority::new();
    let backend = backend(&authority, "model.test", false).await;
    let client = client(&authority.target(&backend));
    for _ in 0..3 {
        assert_eq!(soon(call(&client)).await, (200, "ok".into(), 1));
    }
    assert_eq!(backend.accepted(), 1);
}

#[tokio::test]
async fn another_authority_is_not() {
    let backend = backend(&Authority::new(), "model.test", false).await;
    for skip in [false, true] {
        let mut target = Authority::new().target(&backend);
        let other = Authority::new();
        target.tls.ca_cert_path = Some(other.path("ca.pem"));
        target.tls.skip_host_check = skip;
        let (failure, phases) = soon(fail(&client(&target), outgoing(&["{}"]))).await;
        assert_eq!(failure.kind, FailureKind::Tls);
        assert!(failure.sends == 0 && failure.retry_safe);
        assert_eq!(phases, [Phase::Connecting]);
    }
}

#[tokio::test]
async fn the_name_counts_unless_the_check_is_off() {
    let authority = Authority::new();
    let backend = backend(&authority, "other.test", false).await;
    let mut target = authority.target(&backend);
    let (failure, _) = soon(fail(&client(&target), outgoing(&["{}"]))).await;
    assert_eq!(failure.kind, FailureKind::Tls);
    target.tls.skip_host_check = true;
    assert_eq!(soon(call(&client(&target))).await.0, 200);
}

#[tokio::test]
async fn a_client_certificate_is_shown_where_one_is_demanded() {
    let authority = Authority::new();
    authority.issue_client();
    let backend = backend(&authority, "model.test", true).await;
    let mut target = authority.target(&backend);
    let (failure, _) = soon(fail(&client(&target), outgoing(&["{}"]))).await;
    assert_eq!(failure.kind, FailureKind::Tls, "{}", failure.detail);
    target.tls.client_cert_path = Some(authority.path("client.pem"));
    target.tls.client_key_path = Some(authority.path("client.key"));
    assert_eq!(soon(call(&client(&target))).await.0, 200);
}

#[tokio::test]
async fn a_peer_that_does_not_speak_tls_is_a_tls_failure() {
    let backend = Backend::start(|_, mut peer| async move {
        peer.send("HTTP/1.1 400 Bad Request\r\n\r\n").await;
        peer.gone().await;
    })
    .await;
    let client = client(&Authority::new().target(&backend));
    let (failure, _) = soon(fail(&client, outgoing(&["{}"]))).await;
    assert_eq!(failure.kind, FailureKind::Tls);
    assert!(failure.retry_safe);
    assert_eq!(client.stats().open, 0);
}

#[tokio::test]
async fn a_handshake_that_never_ends_times_out() {
    let backend = Backend::start(|_, mut peer| async move { peer.gone().await }).await;
    let client = client(&Authority::new().target(&backend));
    let mut request = outgoing(&["{}"]);
    request.timeouts.connect = Some(std::time::Duration::from_millis(30));
    let (failure, _) = soon(fail(&client, request)).await;
    assert_eq!(failure.kind, FailureKind::Timeout);
    assert_eq!(failure.phase, Phase::Connecting);
    assert!(failure.sends == 0 && failure.retry_safe);
}

#[test]
fn files_that_cannot_be_used_are_named() {
    let authority = Authority::new();
    authority.issue_client();
    std::fs::write(authority.path("empty"), "").unwrap();
    let refused = |change: &dyn Fn(&mut Target)| {
        let mut target = target(Scheme::Https, "model.test", 1);
        target.tls.ca_cert_path = Some(authority.path("ca.pem"));
        change(&mut target);
        let clock: Arc<dyn ostia_core::Clock> = Arc::new(ostia_core::SystemClock);
        let resolver = Arc::new(super::Resolver::new(Arc::clone(&clock)));
        super::Client::new(&target, resolver, clock).err()
    };
    assert!(refused(&|_| {}).is_none());
    for file in ["absent", "empty", "client.key"] {
        let error = refused(&|target| target.tls.ca_cert_path = Some(authority.path(file)));
        assert!(
            matches!(
                &error,
                Some(ClientError::Tls(TlsError::Certificates { .. }))
            ),
            "{file}"
        );
        assert!(error.unwrap().to_string().contains(file));
    }
    let error = refused(&|target| target.tls.client_cert_path = Some(authority.path("client.pem")));
    assert!(matches!(
        error,
        Some(ClientError::Tls(TlsError::Key { .. }))
    ));
    let error = refused(&|target| {
        target.tls.client_cert_path = Some(authority.path("ca.pem"));
        target.tls.client_key_path = Some(authority.path("client.key"));
    });
    assert!(matches!(error, Some(ClientError::Tls(TlsError::Pair(_)))));
    let error = refused(&|target| target.proxy = Proxy::Url(Secret::new("socks4://x:pw@y".into())));
    let error = error.unwrap();
    assert!(matches!(error, ClientError::Proxy(_)));
    assert!(!format!("{error} {error:?}").contains("pw"));
}

#[tokio::test]
async fn a_tunnel_through_a_proxy() {
    let authority = Authority::new();
    let acceptor = authority.acceptor("model.test", false, &["http/1.1"]);
    let (heads, mut seen) = mpsc::unbounded_channel();
    let proxy = Backend::start(move |_, mut peer| {
        let (acceptor, heads) = (acceptor.clone(), heads.clone());
        async move {
            heads.send(peer.head().await.unwrap()).unwrap();
            peer.send("HTTP/1.1 200 Connection established\r\nvia: x\r\n\r\n")
                .await;
            serve(acceptor, peer.socket).await;
        }
    })
    .await;
    let mut target = target(Scheme::Https, "model.test", 8443);
    target.tls.ca_cert_path = Some(authority.path("ca.pem"));
    let url = format!("http://user:secret@127.0.0.1:{}", proxy.port);
    target.proxy = Proxy::Url(Secret::new(url));
    let client = client(&target);
    for _ in 0..2 {
        assert_eq!(soon(call(&client)).await.0, 200);
    }
    let head = seen.recv().await.unwrap();
    assert!(head.starts_with("CONNECT model.test:8443 HTTP/1.1\r\n"));
    assert_eq!(header(&head, "host"), Some("model.test:8443"));
    assert_eq!(
        header(&head, "proxy-authorization"),
        Some("Basic dXNlcjpzZWNyZXQ=")
    );
    assert_eq!(proxy.accepted(), 1);
}

#[tokio::test]
async fn a_proxy_that_refuses_makes_the_backend_unreachable() {
    let proxy = Backend::answering("HTTP/1.1 407 Proxy Authentication Required\r\n\r\n").await;
    let authority = Authority::new();
    let mut target = authority.target(&proxy);
    let url = format!("http://user:secret@127.0.0.1:{}", proxy.port);
    target.proxy = Proxy::Url(Secret::new(url));
    let (failure, _) = soon(fail(&client(&target), outgoing(&["{}"]))).await;
    assert_eq!(failure.kind, FailureKind::Unreachable);
    assert!(failure.retry_safe && failure.sends == 0);
    assert!(failure.detail.contains("407") && !failure.detail.contains("secret"));
}

#[tokio::test]
async fn an_older_tls_than_asked_for_is_refused() {
    let authority = Authority::new();
    let versions = [&rustls::version::TLS12];
    let old = authority.acceptor_with("model.test", false, &["http/1.1"], &versions);
    let backend = Backend::start(move |_, peer| serve(old.clone(), peer.socket)).await;
    let mut target = authority.target(&backend);
    assert_eq!(soon(call(&client(&target))).await, (200, "ok".into(), 1));
    target.tls.min_version = TlsVersion::V1_3;
    let (failure, _) = soon(fail(&client(&target), outgoing(&["{}"]))).await;
    assert_eq!(failure.kind, FailureKind::Tls);
    let new = self::backend(&authority, "model.test", false).await;
    let mut target = authority.target(&new);
    target.tls.min_version = TlsVersion::V1_3;
    assert_eq!(soon(call(&client(&target))).await, (200, "ok".into(), 1));
}
