use std::io;

use rustls::{AlertDescription, CertificateError, Error, InvalidMessage};

/// Why a handshake failed, in words that say what to change, followed by the library's own message.
pub(super) fn in_words(error: &io::Error) -> String {
    let cause = error
        .get_ref()
        .and_then(|inner| inner.downcast_ref::<Error>());
    match cause.and_then(words) {
        Some(words) => format!("{words} ({error})"),
        None => error.to_string(),
    }
}

fn words(error: &Error) -> Option<&'static str> {
    Some(match error {
        Error::InvalidCertificate(fault) => return of_certificate(fault),
        Error::NoCertificatesPresented => "it shows no certificate",
        Error::InvalidMessage(
            InvalidMessage::InvalidContentType | InvalidMessage::UnknownProtocolVersion,
        ) => "it does not speak TLS on this port: is `http://` meant?",
        Error::AlertReceived(
            AlertDescription::CertificateRequired
            | AlertDescription::BadCertificate
            | AlertDescription::UnknownCA
            | AlertDescription::CertificateUnknown
            | AlertDescription::AccessDenied,
        ) => {
            "it does not accept the gateway's own certificate, or wants one: `client_cert_path`, `client_key_path`"
        }
        Error::AlertReceived(
            AlertDescription::ProtocolVersion
            | AlertDescription::HandshakeFailure
            | AlertDescription::InsufficientSecurity,
        )
        | Error::PeerIncompatible(_) => {
            "it speaks neither TLS 1.2 nor 1.3 with a cipher and key that the gateway accepts"
        }
        Error::AlertReceived(AlertDescription::UnrecognisedName) => {
            "it has no certificate for this host name"
        }
        _ => return None,
    })
}

fn of_certificate(fault: &CertificateError) -> Option<&'static str> {
    use CertificateError as Fault;
    Some(match fault {
        Fault::UnknownIssuer => {
            "its certificate is signed by nobody whom the gateway trusts: give the authority's certificate, or the \
             server's own, as `ca_cert_path`"
        }
        Fault::NotValidForName | Fault::NotValidForNameContext { .. } => {
            "its certificate is for another host name; `\"check_hostname\": false` accepts that"
        }
        Fault::Expired | Fault::ExpiredContext { .. } => "its certificate has expired",
        Fault::NotValidYet | Fault::NotValidYetContext { .. } => {
            "its certificate is not valid yet: is this machine's clock right?"
        }
        Fault::UnsupportedSignatureAlgorithmContext { .. }
        | Fault::UnsupportedSignatureAlgorithmForPublicKeyContext { .. } => {
            "its certificate has a key or a signature that cannot be checked: RSA from 2048 bits, P-256, P-384 and \
             Ed25519 can, SHA-1 cannot"
        }
        Fault::BadSignature => "its certificate or its key is not what it claims to be",
        Fault::InvalidPurpose | Fault::InvalidPurposeContext { .. } => {
            "its certificate is not for servers"
        }
        Fault::BadEncoding => "its certificate cannot be read",
        Fault::UnhandledCriticalExtension => {
            "its certificate has an extension that the gateway does not know: give the server's own certificate as \
             `ca_cert_path`"
        }
        // webpki has more kinds of error than rustls has variants.
        Fault::Other(other) => match format!("{other:?}") {
            fault if fault.contains("CaUsedAsEndEntity") => {
                "its certificate is an authority's: give exactly this one as `ca_cert_path`"
            }
            fault if fault.contains("UnsupportedCertVersion") => {
                "its certificate is of X.509 version 1: give it, or the authority that signed it, as `ca_cert_path`"
            }
            _ => return None,
        },
        _ => return None,
    })
}
