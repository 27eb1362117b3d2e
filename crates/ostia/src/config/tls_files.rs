use std::path::Path;

use rustls::sign::CertifiedKey;
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};

use super::source::check_readable;
use crate::upstream::certificate_fault;

/// Says why a file is not a PEM file with at least one certificate.
pub(super) fn check_certificates(path: &Path) -> Result<(), String> {
    certificates(path).map(drop)
}

/// Says why a file is not a PEM file with certificates against which a server can be checked: authorities', or its own.
pub(super) fn check_authorities(path: &Path) -> Result<(), String> {
    let given = certificates(path)?;
    let faults: Option<Vec<_>> = given.iter().map(certificate_fault).collect();
    match faults.and_then(|faults| faults.first().copied()) {
        None => Ok(()),
        Some(fault) => Err(format!("`{}` cannot be trusted: {fault}", path.display())),
    }
}

/// Says why a file is not a PEM file with a private key.
pub(super) fn check_key(path: &Path) -> Result<(), String> {
    key(path).map(drop)
}

/// Says why a valid certificate and a valid key do not match. It says nothing about invalid files.
pub(super) fn check_pair(cert: &Path, key_path: &Path) -> Result<(), String> {
    let (Ok(chain), Ok(key)) = (certificates(cert), key(key_path)) else {
        return Ok(());
    };
    let provider = rustls::crypto::ring::default_provider();
    match CertifiedKey::from_der(chain, key, &provider) {
        Ok(_) => Ok(()),
        Err(error) => Err(format!(
            "`{}` is not the key of the certificate in `{}`: {error}",
            key_path.display(),
            cert.display()
        )),
    }
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, String> {
    let bytes = check_readable(path)?;
    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&bytes).collect();
    match found {
        Err(_) => Err(format!("`{}` is not sound PEM", path.display())),
        Ok(found) if found.is_empty() => {
            Err(format!("`{}` holds no PEM certificate", path.display()))
        }
        Ok(found) => Ok(found),
    }
}

fn key(path: &Path) -> Result<PrivateKeyDer<'static>, String> {
    let bytes = check_readable(path)?;
    PrivateKeyDer::from_pem_slice(&bytes).map_err(|_| {
        format!(
            "`{}` holds no PEM private key (without a passphrase)",
            path.display()
        )
    })
}
