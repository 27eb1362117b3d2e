use std::path::Path;

use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};

use super::source::check_readable;

/// Says why a file is no PEM file with at least one certificate.
pub(super) fn check_certificates(path: &Path) -> Result<(), String> {
    let bytes = check_readable(path)?;
    let mut found = 0;
    for certificate in CertificateDer::pem_slice_iter(&bytes) {
        certificate.map_err(|_| format!("`{}` is not sound PEM", path.display()))?;
        found += 1;
    }
    match found {
        0 => Err(format!("`{}` holds no PEM certificate", path.display())),
        _ => Ok(()),
    }
}

/// Says why a file is no PEM file with a private key.
pub(super) fn check_key(path: &Path) -> Result<(), String> {
    let bytes = check_readable(path)?;
    match PrivateKeyDer::from_pem_slice(&bytes) {
        Ok(_) => Ok(()),
        Err(_) => Err(format!(
            "`{}` holds no PEM private key (without a passphrase)",
            path.display()
        )),
    }
}
