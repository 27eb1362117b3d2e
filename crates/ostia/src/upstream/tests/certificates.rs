//! Certificates that curl and Python accept, though they break the rules for public authorities.

use std::sync::Arc;

use rcgen::{
    BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair, PublicKeyData, SigningKey,
    date_time_ymd,
};
use rustls::ServerConfig;
use rustls::crypto::ring::sign::any_supported_type;
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use tempfile::TempDir;
use tokio_rustls::TlsAcceptor;

use super::super::{FailureKind, certificate_fault};
use super::backend::Backend;
use super::tls::serve;
use super::{call, client, fail, outgoing, soon, target};
use crate::catalog::{Scheme, Target};

const NAME: &str = "model.test";

/// A backend's certificate, its key, and the file that the site configured for it.
struct Shown {
    leaf: CertificateDer<'static>,
    key: KeyPair,
    given: TempDir,
}

impl Shown {
    fn new(leaf: CertificateDer<'static>, key: KeyPair, given: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("given.pem"), given).unwrap();
        Self {
            leaf,
            key,
            given: folder,
        }
    }

    /// Like `openssl req -x509 -subj /CN=NAME`: marked as an authority's, with its name only in the subject.
    fn self_signed(change: impl FnOnce(&mut CertificateParams)) -> Self {
        let mut params = named(NAME);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        change(&mut params);
        let key = KeyPair::generate().unwrap();
        let certificate = params.self_signed(&key).unwrap();
        let pem = certificate.pem();
        Self::new(certificate.der().clone(), key, &pem)
    }

    async fn backend(&self, versions: &[&'static rustls::SupportedProtocolVersion]) -> Backend {
        let key = PrivateKeyDer::try_from(self.key.serialize_der()).unwrap();
        let signing = any_supported_type(&key).unwrap();
        // rustls's own constructor would reject certificates that webpki does not accept.
        let shown = CertifiedKey::new(vec![self.leaf.clone()], signing);
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = ServerConfig::builder_with_provider(provider)
            .with_protocol_versions(versions)
            .unwrap()
            .with_no_client_auth()
            .with_cert_resolver(Arc::new(SingleCertAndKey::from(shown)));
        let acceptor = TlsAcceptor::from(Arc::new(config));
        Backend::start(move |_, peer| serve(acceptor.clone(), peer.socket)).await
    }

    fn target(&self, backend: &Backend) -> Target {
        let mut target = target(Scheme::Https, NAME, backend.port);
        target.tls.ca_cert_path = Some(self.given.path().join("given.pem"));
        target
    }

    /// Calls succeed with each version of TLS.
    async fn accepted(&self, change: impl Fn(&mut Target)) {
        for version in [&rustls::version::TLS12, &rustls::version::TLS13] {
            let backend = self.backend(&[version]).await;
            let mut target = self.target(&backend);
            change(&mut target);
            let answer = soon(call(&client(&target))).await;
            assert_eq!(answer.0, 200, "{version:?}");
        }
    }

    /// The text of the failure.
    async fn refused(&self, change: impl Fn(&mut Target)) -> String {
        let backend = self.backend(rustls::ALL_VERSIONS).await;
        let mut target = self.target(&backend);
        change(&mut target);
        let (failure, _) = soon(fail(&client(&target), outgoing(&["{}"]))).await;
        assert_eq!(failure.kind, FailureKind::Tls, "{}", failure.detail);
        failure.detail
    }
}

fn named(name: &str) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name.push(DnType::CommonName, name);
    params
}

fn authority() -> (Issuer<'static, KeyPair>, String) {
    let mut params = named("Site CA");
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let key = KeyPair::generate().unwrap();
    let pem = params.self_signed(&key).unwrap().pem();
    (Issuer::new(params, key), pem)
}

fn unchanged(_: &mut Target) {}

fn without_name(target: &mut Target) {
    target.tls.skip_host_check = true;
}

#[tokio::test]
async fn a_certificate_that_was_given_is_trusted_even_if_it_is_an_authoritys() {
    let shown = Shown::self_signed(|_| {});
    shown.accepted(unchanged).await;
    shown.accepted(without_name).await;
    let leaf = Shown::self_signed(|params| params.is_ca = IsCa::ExplicitNoCa);
    leaf.accepted(unchanged).await;
}

#[tokio::test]
async fn another_certificate_of_the_same_name_is_not() {
    let (shown, other) = (Shown::self_signed(|_| {}), Shown::self_signed(|_| {}));
    let given = other.given.path().join("given.pem");
    for skip in [false, true] {
        let detail = shown
            .refused(|target| {
                target.tls.ca_cert_path = Some(given.clone());
                target.tls.skip_host_check = skip;
            })
            .await;
        assert!(detail.contains("certificate"), "{detail}");
    }
}

#[tokio::test]
async fn a_given_certificate_must_be_for_the_host_and_not_expired() {
    let elsewhere =
        Shown::self_signed(|params| params.distinguished_name = named("x").distinguished_name);
    let detail = elsewhere.refused(unchanged).await;
    assert!(
        detail.contains("for another host name") && detail.contains("check_hostname"),
        "{detail}"
    );
    elsewhere.accepted(without_name).await;
    let old = Shown::self_signed(|params| {
        params.not_before = date_time_ymd(2001, 1, 1);
        params.not_after = date_time_ymd(2002, 1, 1);
    });
    for change in [unchanged, without_name] {
        let detail = old.refused(change).await;
        assert!(detail.contains("has expired"), "{detail}");
    }
}

#[tokio::test]
async fn a_name_in_the_subject_alone_counts_where_there_is_no_other() {
    let (issuer, given) = authority();
    let key = KeyPair::generate().unwrap();
    let leaf = named(NAME).signed_by(&key, &issuer).unwrap();
    let shown = Shown::new(leaf.der().clone(), key, &given);
    shown.accepted(unchanged).await;

    let key = KeyPair::generate().unwrap();
    let mut params = CertificateParams::new(vec!["other.test".to_owned()]).unwrap();
    params.distinguished_name = named(NAME).distinguished_name;
    let leaf = params.signed_by(&key, &issuer).unwrap();
    let shown = Shown::new(leaf.der().clone(), key, &given);
    let detail = shown.refused(unchanged).await;
    assert!(detail.contains("for another host name"), "{detail}");
}

#[tokio::test]
async fn version_1_is_accepted_from_an_authority_that_was_given() {
    let (issuer, given) = authority();
    let key = KeyPair::generate().unwrap();
    let leaf = version_1(&key, "Site CA", issuer.key());
    let shown = Shown::new(leaf.clone(), key, &given);
    shown.accepted(unchanged).await;
    shown.accepted(without_name).await;

    // Another authority of the same name.
    let (_, other) = authority();
    let key = KeyPair::generate().unwrap();
    let leaf = version_1(&key, "Site CA", issuer.key());
    let shown = Shown::new(leaf, key, &other);
    let detail = shown.refused(unchanged).await;
    assert!(
        detail.contains("signed by nobody whom the gateway trusts"),
        "{detail}"
    );

    // A leaf certificate in the site's file does not act as an authority.
    let key = KeyPair::generate().unwrap();
    let params = named("Site CA");
    let middle = params.signed_by(&key, &issuer).unwrap();
    let signer = key;
    let key = KeyPair::generate().unwrap();
    let leaf = version_1(&key, "Site CA", &signer);
    let shown = Shown::new(leaf, key, &middle.pem());
    shown.refused(unchanged).await;
}

#[tokio::test]
async fn who_cannot_prove_the_key_is_refused() {
    let (issuer, given) = authority();
    let owner = KeyPair::generate().unwrap();
    let leaf = version_1(&owner, "Site CA", issuer.key());
    let thief = KeyPair::generate().unwrap();
    for version in [&rustls::version::TLS12, &rustls::version::TLS13] {
        let stolen = Shown::new(
            leaf.clone(),
            KeyPair::from_pem(&thief.serialize_pem()).unwrap(),
            &given,
        );
        let backend = stolen.backend(&[version]).await;
        let (failure, _) = soon(fail(&client(&stolen.target(&backend)), outgoing(&["{}"]))).await;
        assert_eq!(failure.kind, FailureKind::Tls, "{version:?}");
    }
}

#[test]
fn keys_that_cannot_be_checked_are_told_at_once() {
    let sound = Shown::self_signed(|_| {});
    assert_eq!(certificate_fault(&sound.leaf), None);
    let ed = KeyPair::generate_for(&rcgen::PKCS_ED25519).unwrap();
    let leaf = named(NAME).self_signed(&ed).unwrap();
    assert_eq!(certificate_fault(leaf.der()), None);
    let nonsense = CertificateDer::from(vec![0x30, 0]);
    assert_eq!(
        certificate_fault(&nonsense),
        Some("it is not a certificate")
    );
}

/// A certificate for [`NAME`] without version and extensions (RFC 5280 section 4.1). rcgen cannot make one.
fn version_1(key: &KeyPair, issuer: &str, signer: &KeyPair) -> CertificateDer<'static> {
    const ECDSA_SHA256: &[u8] = b"\x30\x0a\x06\x08\x2a\x86\x48\xce\x3d\x04\x03\x02";
    let validity = [tlv(0x17, b"200101000000Z"), tlv(0x18, b"21200101000000Z")].concat();
    let body = [
        tlv(0x02, &[1]),
        ECDSA_SHA256.to_vec(),
        subject(issuer),
        tlv(0x30, &validity),
        subject(NAME),
        key.subject_public_key_info(),
    ];
    let body = tlv(0x30, &body.concat());
    let signature = signer.sign(&body).unwrap();
    let signature = tlv(0x03, &[&[0], &*signature].concat());
    let whole = [body, ECDSA_SHA256.to_vec(), signature].concat();
    CertificateDer::from(tlv(0x30, &whole))
}

fn subject(common_name: &str) -> Vec<u8> {
    let name = [
        b"\x06\x03\x55\x04\x03".to_vec(),
        tlv(0x0c, common_name.as_bytes()),
    ];
    tlv(0x30, &tlv(0x31, &tlv(0x30, &name.concat())))
}

fn tlv(tag: u8, value: &[u8]) -> Vec<u8> {
    let length = u16::try_from(value.len()).unwrap().to_be_bytes();
    let head = match value.len() {
        0..=0x7f => vec![tag, length[1]],
        0x80..=0xff => vec![tag, 0x81, length[1]],
        _ => vec![tag, 0x82, length[0], length[1]],
    };
    [&*head, value].concat()
}
