//! The token with which commands on this machine call the admin listener: whoever may read the state folder's files may
//! run the gateway.

use std::fs::{self, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use ostia_core::Secret;

use crate::identify::hash_key;

const TOKEN_FILE: &str = "admin.token";
const ADDRESS_FILE: &str = "admin.address";
/// The prefix of every token. It keeps a token from being mistaken for a user's API key.
const PREFIX: &str = "ostia-admin-";

/// A process's token. Its file exists in the state folder for as long as this value lives.
pub struct Token {
    text: Secret<String>,
    folder: PathBuf,
}

impl Token {
    pub fn new(state_dir: &Path) -> io::Result<Self> {
        let mut bytes = [0; 32];
        getrandom::fill(&mut bytes).map_err(io::Error::other)?;
        let text = format!("{PREFIX}{}", BASE64_URL_SAFE_NO_PAD.encode(bytes));
        Ok(Self {
            text: Secret::new(text),
            folder: state_dir.to_owned(),
        })
    }

    /// Writes the token and the listener's address, readable only by this operating-system user.
    pub fn publish(&self, address: &str) -> io::Result<()> {
        write(&self.folder, ADDRESS_FILE, address)?;
        write(&self.folder, TOKEN_FILE, self.text.expose())
    }

    /// Whether a bearer token has the form of an admin token.
    pub(super) fn is_one(shown: &str) -> bool {
        shown.starts_with(PREFIX)
    }

    /// Compares hashes, so that timing reveals nothing about the token.
    pub(super) fn is(&self, shown: &str) -> bool {
        hash_key(self.text.expose()) == hash_key(shown)
    }
}

/// The address and the token that the gateway wrote into a state folder.
pub fn published(state_dir: &Path) -> io::Result<(String, Secret<String>)> {
    let read = |name| fs::read_to_string(state_dir.join(name));
    let (address, token) = (read(ADDRESS_FILE)?, read(TOKEN_FILE)?);
    let token = Secret::new(token.trim().to_owned());
    Ok((address.trim().to_owned(), token))
}

impl Drop for Token {
    fn drop(&mut self) {
        let ours = published(&self.folder).is_ok_and(|(_, token)| token == self.text);
        if ours {
            // A file that could not be removed does no harm: its token is no longer valid.
            let _ = fs::remove_file(self.folder.join(TOKEN_FILE));
            let _ = fs::remove_file(self.folder.join(ADDRESS_FILE));
        }
    }
}

/// Replaces the file in one step: readers see the old content or the new.
fn write(folder: &Path, name: &str, text: &str) -> io::Result<()> {
    let new = folder.join(format!("{name}.new"));
    // A file left by a killed process could have other permissions.
    let _ = fs::remove_file(&new);
    let mut options = OpenOptions::new();
    let mut file = options
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(&new)?;
    writeln!(file, "{text}")?;
    fs::rename(&new, folder.join(name))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn it_is_for_this_user_alone_and_goes_with_the_process() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join(TOKEN_FILE);
        fs::write(&file, "left over").unwrap();
        let token = Token::new(folder.path()).unwrap();
        token.publish("127.0.0.1:1").unwrap();
        assert_eq!(
            fs::metadata(&file).unwrap().permissions().mode() & 0o777,
            0o600
        );
        let (address, read) = published(folder.path()).unwrap();
        assert_eq!(address, "127.0.0.1:1");
        assert!(Token::is_one(read.expose()) && token.is(read.expose()));
        assert!(!token.is(&format!("{} ", read.expose())));

        // A process that takes over from this one has its own token.
        let next = Token::new(folder.path()).unwrap();
        next.publish("127.0.0.1:2").unwrap();
        drop(token);
        assert_eq!(published(folder.path()).unwrap().0, "127.0.0.1:2");
        drop(next);
        assert!(published(folder.path()).is_err());
    }
}
