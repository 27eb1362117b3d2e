use std::net::IpAddr;

use rustls::pki_types::{ServerName, UnixTime};
use rustls_pki_types::{CertificateDer, SubjectPublicKeyInfoDer};
use x509_parser::prelude::{FromDer, GeneralName, X509Certificate, X509Version};
use x509_parser::public_key::PublicKey;

/// SHA-1 with RSA, DSA and ECDSA: signatures that can be forged.
const WEAK_SIGNATURES: [&str; 3] = [
    "1.2.840.113549.1.1.5",
    "1.2.840.10040.4.3",
    "1.2.840.10045.4.1",
];
const SMALLEST_RSA: usize = 2048;
/// P-256, P-384.
const CURVES: [&str; 2] = ["1.2.840.10045.3.1.7", "1.3.132.0.34"];

/// A certificate read as leniently as OpenSSL does: of any version and for any purpose.
pub(super) struct Certificate<'a>(X509Certificate<'a>);

impl<'a> Certificate<'a> {
    pub(super) fn read(der: &'a CertificateDer<'_>) -> Option<Self> {
        let (rest, read) = X509Certificate::from_der(der).ok()?;
        rest.is_empty().then_some(Self(read))
    }

    /// Versions before 3 have no extensions, so they state neither alternative names nor a purpose.
    pub(super) fn is_old(&self) -> bool {
        self.0.version() != X509Version::V3
    }

    pub(super) fn has_names(&self) -> bool {
        !matches!(self.0.subject_alternative_name(), Ok(None))
    }

    pub(super) fn limits_names(&self) -> bool {
        !matches!(self.0.name_constraints(), Ok(None))
    }

    pub(super) fn has_expired(&self, now: UnixTime) -> bool {
        let now = i64::try_from(now.as_secs()).unwrap_or(i64::MAX);
        self.0.validity().not_after.timestamp() < now
    }

    pub(super) fn is_early(&self, now: UnixTime) -> bool {
        let now = i64::try_from(now.as_secs()).unwrap_or(i64::MAX);
        self.0.validity().not_before.timestamp() > now
    }

    /// Whether `issuer`, a certificate authority, signed it.
    pub(super) fn is_signed_by(&self, issuer: &Certificate<'_>) -> bool {
        let algorithm = self.0.signature_algorithm.algorithm.to_id_string();
        let may_sign = (issuer.is_old() || issuer.0.is_ca()) && !issuer.limits_names();
        self.0.issuer() == issuer.0.subject()
            && may_sign
            && issuer.key_fault().is_none()
            && !WEAK_SIGNATURES.contains(&algorithm.as_str())
            && self.0.verify_signature(Some(issuer.0.public_key())).is_ok()
    }

    pub(super) fn public_key(&self) -> SubjectPublicKeyInfoDer<'_> {
        self.0.public_key().raw.into()
    }

    /// The bytes of the public key alone.
    pub(super) fn key_bits(&self) -> &[u8] {
        &self.0.public_key().subject_public_key.data
    }

    /// Why connections with this key cannot be verified.
    pub(super) fn key_fault(&self) -> Option<&'static str> {
        let key = self.0.public_key();
        let named = key.algorithm.algorithm.to_id_string();
        match key.parsed() {
            Ok(PublicKey::RSA(rsa)) if rsa.key_size() < SMALLEST_RSA => {
                Some("its RSA key has fewer than 2048 bits")
            }
            Ok(PublicKey::RSA(_)) => None,
            Ok(PublicKey::EC(_)) => {
                let curve = key.algorithm.parameters.as_ref();
                let curve = curve.and_then(|curve| curve.as_oid().ok());
                let known = curve.is_some_and(|id| CURVES.contains(&id.to_id_string().as_str()));
                (!known).then_some("its key is on another curve than P-256 and P-384")
            }
            // Ed25519.
            _ if named == "1.3.101.112" => None,
            _ => Some("its key is neither RSA, ECDSA nor Ed25519"),
        }
    }

    /// Whether it is for this name: by its alternative names, or, if it has none, by its common name, as curl and
    /// OpenSSL do.
    pub(super) fn is_for(&self, name: &ServerName<'_>) -> bool {
        let host = name.to_str();
        let address = host.parse::<IpAddr>().ok();
        match self.0.subject_alternative_name() {
            Ok(Some(names)) => names.value.general_names.iter().any(|known| match known {
                GeneralName::DNSName(pattern) => address.is_none() && covers(pattern, &host),
                GeneralName::IPAddress(bytes) => address.is_some_and(|address| match address {
                    IpAddr::V4(address) => address.octets() == **bytes,
                    IpAddr::V6(address) => address.octets() == **bytes,
                }),
                _ => false,
            }),
            Ok(None) => {
                let common = self.0.subject().iter_common_name().last();
                let common = common.and_then(|name| name.as_str().ok());
                common.is_some_and(|common| match address {
                    Some(address) => common.parse() == Ok(address),
                    None => covers(common, &host),
                })
            }
            Err(_) => false,
        }
    }
}

/// Explains why a certificate in a site's PEM files can never be used.
pub fn certificate_fault(der: &CertificateDer<'_>) -> Option<&'static str> {
    match Certificate::read(der) {
        Some(certificate) => certificate.key_fault(),
        None => Some("it is not a certificate"),
    }
}

/// Whether a name in a certificate covers a host; `*` stands for one whole label, which must be the first (RFC 9525
/// section 6.3).
fn covers(pattern: &str, host: &str) -> bool {
    let host = host.trim_end_matches('.');
    match pattern.strip_prefix("*.") {
        Some(parent) => host.split_once('.').is_some_and(|(label, rest)| {
            !label.is_empty() && parent.contains('.') && rest.eq_ignore_ascii_case(parent)
        }),
        None => !pattern.is_empty() && pattern.eq_ignore_ascii_case(host),
    }
}

#[cfg(test)]
mod tests {
    use super::covers;

    #[test]
    fn names_cover_hosts() {
        for (pattern, host, covered) in [
            ("gpu.lab.org", "GPU.lab.org", true),
            ("gpu.lab.org", "gpu.lab.org.", true),
            ("*.lab.org", "gpu.lab.org", true),
            ("*.lab.org", "a.gpu.lab.org", false),
            ("*.lab.org", "lab.org", false),
            ("*.org", "lab.org", false),
            ("*", "lab", false),
            ("g*.lab.org", "gpu.lab.org", false),
            ("", "", false),
            ("gpu", "gpu.lab.org", false),
        ] {
            assert_eq!(covers(pattern, host), covered, "{pattern} {host}");
        }
    }
}
