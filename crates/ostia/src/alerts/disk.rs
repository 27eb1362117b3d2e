use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ostia_core::Secret;
use x509_parser::pem::Pem;

use super::{Severity, Trouble};

/// Checks that need the file system, which may block.
pub(super) struct Disk {
    pub(super) state_dir: PathBuf,
    pub(super) certificates: Vec<PathBuf>,
    /// Of endpoints, by slug.
    pub(super) keys: Vec<(String, Secret<String>)>,
    /// Unix seconds.
    pub(super) now: i64,
}

const GIB: u64 = 1 << 30;
/// Less than this, and less than a twentieth, is nearly full.
const LITTLE: u64 = 5 * GIB;
const DAY: i64 = 86_400;
/// How long before its expiry a certificate is reported.
const SOON: i64 = 21 * DAY;
const VERY_SOON: i64 = 3 * DAY;

impl Disk {
    pub(super) fn look(&self) -> Vec<Trouble> {
        let certificates = self.certificates.iter();
        certificates
            .filter_map(|path| self.certificate(path))
            .chain(nearly_full(&self.state_dir))
            .chain(self.keys.iter().filter_map(|(slug, key)| {
                let what = format!("The key for the backend of {slug}");
                self.expires(
                    "backend_key_expires",
                    slug,
                    &what,
                    end_of_key(key.expose())?,
                )
            }))
            .collect()
    }

    fn certificate(&self, path: &Path) -> Option<Trouble> {
        let ends = earliest_end(&std::fs::read(path).ok()?)?;
        let shown = path.display().to_string();
        let what = format!("The certificate {shown}");
        self.expires("certificate_expires", &shown, &what, ends)
    }

    fn expires(&self, name: &'static str, subject: &str, what: &str, ends: i64) -> Option<Trouble> {
        let left = ends.saturating_sub(self.now);
        (left < SOON).then(|| Trouble {
            name,
            subject: subject.to_owned(),
            severity: match left < VERY_SOON {
                true => Severity::Critical,
                false => Severity::Warning,
            },
            summary: match left < 0 {
                true => format!("{what} has expired."),
                false => format!("{what} expires in {} days.", left / DAY),
            },
        })
    }
}

/// When a key ends that says so itself, in Unix seconds: a JSON Web Token.
fn end_of_key(key: &str) -> Option<i64> {
    let mut parts = key.split('.');
    let (_, claims, _) = (parts.next()?, parts.next()?, parts.next()?);
    let claims = URL_SAFE_NO_PAD.decode(claims).ok()?;
    let claims: serde_json::Value = serde_json::from_slice(&claims).ok()?;
    claims.get("exp")?.as_i64()
}

/// When the first of a file's certificates ends, in Unix seconds.
fn earliest_end(bytes: &[u8]) -> Option<i64> {
    let pems = Pem::iter_from_buffer(bytes).filter_map(Result::ok);
    let ends = pems.filter_map(|pem| {
        let certificate = pem.parse_x509().ok()?;
        Some(certificate.validity().not_after.timestamp())
    });
    ends.min()
}

fn nearly_full(folder: &Path) -> Option<Trouble> {
    let stats = rustix::fs::statvfs(folder).ok()?;
    let left = stats.f_bavail.saturating_mul(stats.f_frsize);
    let all = stats.f_blocks.saturating_mul(stats.f_frsize);
    (left < LITTLE && left < all / 20).then(|| Trouble {
        name: "disk_nearly_full",
        subject: folder.display().to_string(),
        severity: match left < LITTLE / 10 {
            true => Severity::Critical,
            false => Severity::Warning,
        },
        summary: format!("{} has {} MiB left.", folder.display(), left >> 20),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_certificate_is_told_of_three_weeks_before_its_end() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("cert.pem");
        let key = rcgen::KeyPair::generate().unwrap();
        let mut parameters = rcgen::CertificateParams::new(["a.example".to_owned()]).unwrap();
        parameters.not_after = rcgen::date_time_ymd(2030, 1, 1);
        let pem = parameters.self_signed(&key).unwrap().pem();
        std::fs::write(&path, pem).unwrap();
        let ends = 1_893_456_000;
        let severity = |days: i64| {
            let disk = Disk {
                state_dir: folder.path().join("absent"),
                certificates: vec![path.clone(), folder.path().join("none.pem")],
                keys: Vec::new(),
                now: ends - days * DAY,
            };
            disk.look().first().map(|trouble| trouble.severity)
        };
        assert_eq!(severity(22), None);
        assert_eq!(severity(20), Some(Severity::Warning));
        assert_eq!(severity(2), Some(Severity::Critical));
        assert_eq!(severity(-1), Some(Severity::Critical));
    }

    #[test]
    fn a_backends_key_that_names_its_end_is_told_of_and_never_shown() {
        let key = |claims: &str| {
            let claims = URL_SAFE_NO_PAD.encode(claims);
            Secret::new(format!("eyJhbGciOiJub25lIn0.{claims}.c2lnbmF0dXJl"))
        };
        let told = |key: Secret<String>| {
            let disk = Disk {
                state_dir: "/nowhere".into(),
                certificates: Vec::new(),
                keys: vec![("lab-vllm-m".to_owned(), key)],
                now: 1_000 * DAY,
            };
            disk.look().pop()
        };
        for plain in ["sk-plain", "a.b.c", "..", "a.!.c"] {
            assert_eq!(told(Secret::new(plain.to_owned())), None, "{plain}");
        }
        for far in [
            "{}",
            "[]",
            "{\"exp\":\"soon\"}",
            "{\"exp\":9223372036854775807}",
        ] {
            assert_eq!(told(key(far)), None, "{far}");
        }
        let near = key(&format!("{{\"exp\":{}}}", 1_002 * DAY));
        let trouble = told(near.clone()).unwrap();
        assert_eq!(
            (trouble.name, &*trouble.subject, trouble.severity),
            ("backend_key_expires", "lab-vllm-m", Severity::Critical)
        );
        assert!(!trouble.summary.contains(near.expose()));
        assert!(told(key("{\"exp\":-9223372036854775808}")).is_some());
    }
}
