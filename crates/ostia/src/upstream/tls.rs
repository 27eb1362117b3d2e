use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

use rustls::{ClientConfig, RootCertStore, SupportedProtocolVersion};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};

use super::certificate::certificate_fault;
use super::verifier::SiteVerifier;
use crate::catalog::{Tls, TlsVersion};

/// Why a deployment's TLS files cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    #[error("cannot read certificates from {}: {reason}", path.display())]
    Certificates { path: PathBuf, reason: String },
    #[error("cannot read a private key from {}: {reason}", path.display())]
    Key { path: PathBuf, reason: String },
    #[error("the client certificate and its key do not match: {0}")]
    Pair(String),
    #[error("this machine has no list of trusted certificate authorities; set ca_cert_path")]
    NoRoots,
    #[error("TLS cannot be set up: {0}")]
    Setup(String),
}

/// The TLS configuration of a deployment's connections. Reads its files, so call it only at start and reload.
pub(super) fn client_config(tls: &Tls) -> Result<Arc<ClientConfig>, TlsError> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ClientConfig::builder_with_provider(Arc::clone(&provider))
        .with_protocol_versions(versions(tls.min_version))
        .map_err(|error| TlsError::Setup(error.to_string()))?;
    let builder = match &tls.ca_cert_path {
        Some(path) => {
            let verifier = SiteVerifier::new(trusted(path)?, !tls.skip_host_check, &provider);
            builder
                .dangerous()
                .with_custom_certificate_verifier(Arc::new(verifier))
        }
        None => builder.with_root_certificates(native_roots()?),
    };
    let mut config = match &tls.client_cert_path {
        Some(path) => {
            let key = private_key(tls.client_key_path.as_deref().unwrap_or(path))?;
            builder
                .with_client_auth_cert(certificates(path)?, key)
                .map_err(|error| TlsError::Pair(error.to_string()))?
        }
        None => builder.with_no_client_auth(),
    };
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(Arc::new(config))
}

fn versions(oldest: TlsVersion) -> &'static [&'static SupportedProtocolVersion] {
    static NEW: [&SupportedProtocolVersion; 1] = [&rustls::version::TLS13];
    match oldest {
        TlsVersion::V1_2 => rustls::DEFAULT_VERSIONS,
        TlsVersion::V1_3 => &NEW,
    }
}

/// The certificates that a site configured. At least one must be usable.
fn trusted(path: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let given = certificates(path)?;
    let faults: Option<Vec<_>> = given.iter().map(certificate_fault).collect();
    match faults.and_then(|faults| faults.first().copied()) {
        None => Ok(given),
        Some(fault) => Err(TlsError::Certificates {
            path: path.to_owned(),
            reason: fault.to_owned(),
        }),
    }
}

/// Loaded once for the whole process: it takes tens of milliseconds and hundreds of KiB.
fn native_roots() -> Result<Arc<RootCertStore>, TlsError> {
    static ROOTS: OnceLock<Arc<RootCertStore>> = OnceLock::new();
    let roots = ROOTS.get_or_init(|| {
        let found = rustls_native_certs::load_native_certs();
        for error in &found.errors {
            tracing::warn!(%error, "a system certificate store could not be read");
        }
        let mut roots = RootCertStore::empty();
        roots.add_parsable_certificates(found.certs);
        Arc::new(roots)
    });
    if roots.is_empty() {
        return Err(TlsError::NoRoots);
    }
    Ok(Arc::clone(roots))
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let unreadable = |reason: String| TlsError::Certificates {
        path: path.to_owned(),
        reason,
    };
    let found: Vec<_> = CertificateDer::pem_file_iter(path)
        .and_then(Iterator::collect)
        .map_err(|error| unreadable(error.to_string()))?;
    if found.is_empty() {
        return Err(unreadable("it holds no certificate".to_owned()));
    }
    Ok(found)
}

fn private_key(path: &Path) -> Result<PrivateKeyDer<'static>, TlsError> {
    PrivateKeyDer::from_pem_file(path).map_err(|error| TlsError::Key {
        path: path.to_owned(),
        reason: error.to_string(),
    })
}
