use std::path::Path;

use rustls::sign::CertifiedKey;
use rustls::{CertificateError, Error};
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
        Some(fault) => Err(format!(
            "connections to a server with the certificate in `{}` cannot be checked: {fault}",
            path.display()
        )),
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
    let (shown, key_shown) = (cert.display(), key_path.display());
    match CertifiedKey::from_der(chain, key, &provider) {
        Ok(_) => Ok(()),
        Err(Error::InconsistentKeys(_)) => Err(format!(
            "`{key_shown}` is not the key of the first certificate in `{shown}`: in a chain, the key's own certificate \
             comes first"
        )),
        Err(Error::InvalidCertificate(fault)) if is_of_version_1(&fault) => Err(format!(
            "the certificate in `{shown}` is of X.509 version 1, with which the gateway cannot sign in: make one of \
             version 3 (`openssl x509 -req -extfile ...`)"
        )),
        Err(error) => Err(format!(
            "`{key_shown}` and the certificate in `{shown}` cannot be used together: {error}"
        )),
    }
}

fn is_of_version_1(fault: &CertificateError) -> bool {
    format!("{fault:?}").contains("UnsupportedCertVersion")
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, String> {
    let bytes = check_readable(path)?;
    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&bytes).collect();
    let shown = path.display();
    match found {
        Err(_) => Err(format!(
            "`{shown}` is damaged PEM: between `-----BEGIN` and `-----END` there must be whole lines of Base64"
        )),
        Ok(found) if found.is_empty() => Err(format!(
            "`{shown}` holds no PEM certificate{}",
            instead_of_certificate(&bytes)
        )),
        Ok(found) => Ok(found),
    }
}

fn key(path: &Path) -> Result<PrivateKeyDer<'static>, String> {
    let bytes = check_readable(path)?;
    PrivateKeyDer::from_pem_slice(&bytes).map_err(|_| {
        format!(
            "`{}` holds no PEM private key{}",
            path.display(),
            instead_of_key(&bytes)
        )
    })
}

/// What stands in the place of a certificate, and how to make one of it.
fn instead_of_certificate(bytes: &[u8]) -> &'static str {
    match () {
        () if bytes.trim_ascii().is_empty() => ": it is empty",
        () if holds(bytes, "TRUSTED CERTIFICATE") || holds(bytes, "X509 CERTIFICATE") => {
            " of the usual kind: `openssl x509 -in FILE -out FILE.pem` converts it"
        }
        () if holds(bytes, "CERTIFICATE REQUEST") => {
            ", only a request for one: the authority makes the certificate from it"
        }
        () if holds(bytes, "BEGIN PKCS7") => {
            ", but PKCS #7: `openssl pkcs7 -print_certs -in FILE -out FILE.pem` converts it"
        }
        () if holds(bytes, "PRIVATE KEY") => ", only a private key",
        () if holds(bytes, "-----BEGIN CERTIFICATE") => {
            ": `-----BEGIN CERTIFICATE-----` must begin its line, with nothing before it, not even a byte order mark"
        }
        () if bytes.first() == Some(&0x30) => {
            ", but DER: `openssl x509 -inform DER -in FILE -out FILE.pem` converts it"
        }
        () => "",
    }
}

/// What stands in the place of a key, and how to make one of it.
fn instead_of_key(bytes: &[u8]) -> &'static str {
    match () {
        () if bytes.trim_ascii().is_empty() => ": it is empty",
        () if holds(bytes, "ENCRYPTED") => {
            " without a passphrase: `openssl pkey -in FILE -out FILE.key` removes it"
        }
        () if holds(bytes, "BEGIN CERTIFICATE") => ", only certificates",
        () if holds(bytes, "PUBLIC KEY") => ", only a public key",
        () if bytes.first() == Some(&0x30) => {
            ", but DER: `openssl pkey -inform DER -in FILE -out FILE.key` converts it"
        }
        () => "",
    }
}

fn holds(bytes: &[u8], text: &str) -> bool {
    memchr::memmem::find(bytes, text.as_bytes()).is_some()
}

#[cfg(test)]
mod tests {
    use rcgen::{CertificateParams, KeyPair};

    use super::*;

    fn check_as(check: fn(&Path) -> Result<(), String>, bytes: impl AsRef<[u8]>) -> String {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("given");
        std::fs::write(&path, bytes).unwrap();
        check(&path).err().unwrap_or_default()
    }

    #[test]
    fn bundles_may_hold_comments_and_keys() {
        let key = KeyPair::generate().unwrap();
        let pem = CertificateParams::new(vec!["lab.test".to_owned()]).unwrap();
        let pem = pem.self_signed(&key).unwrap().pem();
        for given in [
            pem.clone(),
            format!("# our authority\n\n{pem}\nthe end\n"),
            pem.replace('\n', "\r\n"),
            format!("{pem}{pem}"),
            format!("{}{pem}", key.serialize_pem()),
        ] {
            assert_eq!(check_as(check_authorities, &given), "", "{given}");
        }
    }

    #[test]
    fn what_is_no_pem_is_told_with_the_cure() {
        let section = |label: &str| {
            format!("-----BEGIN {label}-----\nMIIB\n-----END {label}-----\n").into_bytes()
        };
        let der = || b"\x30\x82\x01\x00".to_vec();
        let certificate = section("CERTIFICATE");
        for (given, said) in [
            (Vec::new(), "is empty"),
            (der(), "-inform DER"),
            (section("PKCS7"), "pkcs7 -print_certs"),
            (section("CERTIFICATE REQUEST"), "a request for one"),
            (section("TRUSTED CERTIFICATE"), "openssl x509"),
            (section("X509 CERTIFICATE"), "openssl x509"),
            (section("PRIVATE KEY"), "only a private key"),
            ([b"  ", &certificate[..]].concat(), "must begin its line"),
            (
                [b"\xef\xbb\xbf", &certificate[..]].concat(),
                "byte order mark",
            ),
            (certificate[..certificate.len() / 2].to_vec(), "damaged"),
        ] {
            let fault = check_as(check_certificates, given);
            assert!(fault.contains(said), "{said}: {fault}");
        }
        for (given, said) in [
            (section("ENCRYPTED PRIVATE KEY"), "openssl pkey -in"),
            (
                b"-----BEGIN RSA PRIVATE KEY-----\nProc-Type: 4,ENCRYPTED\n".to_vec(),
                "passphrase",
            ),
            (certificate.clone(), "only certificates"),
            (section("PUBLIC KEY"), "public key"),
            (der(), "-inform DER"),
            (Vec::new(), "is empty"),
        ] {
            let fault = check_as(check_key, given);
            assert!(fault.contains(said), "{said}: {fault}");
        }
    }

    #[test]
    fn a_key_and_its_certificate_belong_together() {
        let folder = tempfile::tempdir().unwrap();
        let (own, other) = (KeyPair::generate().unwrap(), KeyPair::generate().unwrap());
        let certificate = |key: &KeyPair| {
            let params = CertificateParams::new(vec!["lab.test".to_owned()]).unwrap();
            params.self_signed(key).unwrap().pem()
        };
        let chain = format!("{}{}", certificate(&other), certificate(&own));
        let (cert, key) = (folder.path().join("cert"), folder.path().join("key"));
        std::fs::write(&key, own.serialize_pem()).unwrap();
        std::fs::write(&cert, chain).unwrap();
        let fault = check_pair(&cert, &key).unwrap_err();
        assert!(fault.contains("comes first"), "{fault}");
        std::fs::write(&cert, certificate(&own)).unwrap();
        assert_eq!(check_pair(&cert, &key), Ok(()));
    }
}
