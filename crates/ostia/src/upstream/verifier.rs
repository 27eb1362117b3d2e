use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{verify_server_cert_signed_by_trust_anchor, verify_server_name};
use rustls::crypto::{
    CryptoProvider, WebPkiSupportedAlgorithms, verify_tls12_signature, verify_tls13_signature,
    verify_tls13_signature_with_raw_key,
};
use rustls::server::ParsedCertificate;
use rustls::{CertificateError, DigitallySignedStruct, Error, RootCertStore, SignatureScheme};
use rustls_pki_types::{CertificateDer, ServerName, UnixTime};

use super::certificate::Certificate;

/// Checks a backend's certificate against those that the site gave for it.
///
/// Like curl and Python, it is more lenient than the rules for public authorities (webpki). It accepts a certificate
/// that is itself in the site's file, even if it is an authority's; names that are only in the subject; and
/// certificates of version 1.
#[derive(Debug)]
pub(super) struct SiteVerifier {
    given: Vec<CertificateDer<'static>>,
    roots: RootCertStore,
    checks_name: bool,
    algorithms: WebPkiSupportedAlgorithms,
}

impl SiteVerifier {
    /// `checks_name`: `check_hostname`.
    pub(super) fn new(
        given: Vec<CertificateDer<'static>>,
        checks_name: bool,
        provider: &CryptoProvider,
    ) -> Self {
        let mut roots = RootCertStore::empty();
        roots.add_parsable_certificates(given.iter().cloned());
        Self {
            given,
            roots,
            checks_name,
            algorithms: provider.signature_verification_algorithms,
        }
    }

    fn check_chain(
        &self,
        leaf: &CertificateDer<'_>,
        read: &Certificate<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<(), Error> {
        let was_given = self.given.iter().any(|given| given == leaf);
        if !was_given && !read.is_old() {
            let leaf = ParsedCertificate::try_from(leaf)?;
            return verify_server_cert_signed_by_trust_anchor(
                &leaf,
                &self.roots,
                intermediates,
                now,
                self.algorithms.all,
            );
        }
        let mut issuers = self
            .given
            .iter()
            .filter_map(|given| Certificate::read(given));
        let is_trusted = was_given || issuers.any(|issuer| read.is_signed_by(&issuer));
        match () {
            () if !is_trusted => Err(CertificateError::UnknownIssuer.into()),
            () if read.has_expired(now) => Err(CertificateError::Expired.into()),
            () if read.is_early(now) => Err(CertificateError::NotValidYet.into()),
            () => Ok(()),
        }
    }

    fn check_name(
        &self,
        leaf: &CertificateDer<'_>,
        read: &Certificate<'_>,
        intermediates: &[CertificateDer<'_>],
        name: &ServerName<'_>,
    ) -> Result<(), Error> {
        if !self.checks_name {
            return Ok(());
        }
        if read.has_names()
            && let Ok(leaf) = ParsedCertificate::try_from(leaf)
        {
            return verify_server_name(&leaf, name);
        }
        // The name constraints of an authority cannot be enforced on a common name.
        let mut chain = intermediates.iter().chain(&self.given);
        let limited = chain.any(|one| Certificate::read(one).is_none_or(|one| one.limits_names()));
        match !limited && read.is_for(name) {
            true => Ok(()),
            false => Err(CertificateError::NotValidForName.into()),
        }
    }
}

impl ServerCertVerifier for SiteVerifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let read = Certificate::read(end_entity).ok_or(CertificateError::BadEncoding)?;
        self.check_chain(end_entity, &read, intermediates, now)?;
        self.check_name(end_entity, &read, intermediates, server_name)?;
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        if ParsedCertificate::try_from(certificate).is_ok() {
            return verify_tls12_signature(message, certificate, signed, &self.algorithms);
        }
        let read = Certificate::read(certificate).ok_or(CertificateError::BadEncoding)?;
        let mut schemes = self.algorithms.mapping.iter();
        let known = schemes.find(|(scheme, _)| *scheme == signed.scheme);
        let is_sound = known.is_some_and(|(_, algorithms)| {
            algorithms.iter().any(|algorithm| {
                algorithm
                    .verify_signature(read.key_bits(), message, signed.signature())
                    .is_ok()
            })
        });
        match is_sound {
            true => Ok(HandshakeSignatureValid::assertion()),
            false => Err(CertificateError::BadSignature.into()),
        }
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        if ParsedCertificate::try_from(certificate).is_ok() {
            return verify_tls13_signature(message, certificate, signed, &self.algorithms);
        }
        let read = Certificate::read(certificate).ok_or(CertificateError::BadEncoding)?;
        verify_tls13_signature_with_raw_key(message, &read.public_key(), signed, &self.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}
