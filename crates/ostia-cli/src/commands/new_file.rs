use std::io::{ErrorKind, Write as _};
use std::path::Path;

use ostia_core::new_private_file;

use crate::failure::Failure;

/// Writes a file that must not exist yet, readable only by its owner, because it may hold secrets one day.
pub fn write_new(target: &Path, text: &str) -> Result<(), Failure> {
    let failed = |error: std::io::Error| match error.kind() {
        ErrorKind::AlreadyExists => taken(target),
        _ => Failure::other(format!("{}: {error}", target.display())),
    };
    let mut file = new_private_file(target).map_err(failed)?;
    file.write_all(text.as_bytes()).map_err(failed)
}

pub fn taken(target: &Path) -> Failure {
    let shown = target.display();
    Failure::usage(format!(
        "{shown} exists and is left alone: name another file with --config"
    ))
}
