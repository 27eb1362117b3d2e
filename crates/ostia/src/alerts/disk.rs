use std::path::{Path, PathBuf};

use x509_parser::pem::Pem;

use super::{Severity, Trouble};

/// Checks that need the file system, which may block.
pub(super) struct Disk {
    pub(super) state_dir: PathBuf,
    pub(super) certificates: Vec<PathBuf>,
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
            .collect()
    }

    fn certificate(&self, path: &Path) -> Option<Trouble> {
        let ends = earliest_end(&std::fs::read(path).ok()?)?;
        let left = ends - self.now;
        (left < SOON).then(|| Trouble {
            name: "certificate_expires",
            subject: path.display().to_string(),
            severity: match left < VERY_SOON {
                true => Severity::Critical,
                false => Severity::Warning,
            },
            summary: match left < 0 {
                true => format!("The certificate {} has expired.", path.display()),
                false => format!(
                    "The certificate {} expires in {} days.",
                    path.display(),
                    left / DAY
                ),
            },
        })
    }
}

/// When the first of a file's certificates expires, in Unix seconds.
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
                now: ends - days * DAY,
            };
            disk.look().first().map(|trouble| trouble.severity)
        };
        assert_eq!(severity(22), None);
        assert_eq!(severity(20), Some(Severity::Warning));
        assert_eq!(severity(2), Some(Severity::Critical));
        assert_eq!(severity(-1), Some(Severity::Critical));
    }
}
