use std::fs::{self, File, OpenOptions};
use std::io::{ErrorKind, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use ostia_core::Secret;
use rustix::fs::{FlockOperation, flock};
use serde_json::{Value, json};

use crate::failure::Failure;

/// The file with a person's tokens: `$XDG_CONFIG_HOME/ostia/login.json`, else `~/.config/ostia/login.json`. Its mode is
/// 0600, in a folder of mode 0700.
pub(super) struct TokenFile {
    folder: PathBuf,
}

/// What is kept between commands.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Saved {
    pub(super) issuer: String,
    pub(super) client_id: String,
    pub(super) scope: String,
    /// Separated by commas; may be empty.
    pub(super) policies: String,
    /// The gateway; may be empty.
    pub(super) url: String,
    pub(super) access_token: Secret<String>,
    pub(super) refresh_token: Option<Secret<String>>,
    /// Unix microseconds; `None` if the issuer does not say.
    pub(super) expires_at: Option<i64>,
}

impl Saved {
    /// Stores the tokens of a token endpoint's answer (RFC 6749 section 5.1). Without a new refresh token, the old one
    /// is kept.
    pub(super) fn take(&mut self, said: &Value, now_micros: i64) -> Result<(), Failure> {
        let said = self.ours(said);
        let access = said["access_token"]
            .as_str()
            .filter(|token| !token.is_empty() && token.bytes().all(|byte| byte.is_ascii_graphic()));
        let access = access.ok_or_else(|| Failure::other("the issuer gave no access token"))?;
        let bearer = said["token_type"]
            .as_str()
            .is_none_or(|kind| kind.eq_ignore_ascii_case("bearer"));
        if !bearer {
            return Err(Failure::other("the issuer's token is not a bearer token"));
        }
        self.access_token = Secret::new(access.to_owned());
        if let Some(refresh) = said["refresh_token"].as_str() {
            self.refresh_token = Some(Secret::new(refresh.to_owned()));
        }
        let life = said["expires_in"].as_i64();
        self.expires_at =
            life.map(|seconds| now_micros.saturating_add(seconds.saturating_mul(1_000_000)));
        Ok(())
    }

    /// Globus returns one token per service: the first at the top level, the others in `other_tokens`, in its own
    /// order. Ours has the first scope that is not about the person alone.
    fn ours<'a>(&self, said: &'a Value) -> &'a Value {
        const PERSONAL: [&str; 4] = ["openid", "profile", "email", "offline_access"];
        let mut asked = self.scope.split_whitespace();
        let Some(wanted) = asked.find(|scope| !PERSONAL.contains(scope)) else {
            return said;
        };
        let has = |token: &&Value| {
            let scopes = token["scope"].as_str().unwrap_or_default();
            scopes.split_whitespace().any(|scope| scope == wanted)
        };
        let others = said["other_tokens"].as_array();
        let mut all = std::iter::once(said).chain(others.into_iter().flatten());
        all.find(has).unwrap_or(said)
    }

    fn to_json(&self) -> Value {
        json!({
            "issuer": self.issuer, "client_id": self.client_id, "scope": self.scope, "policies": self.policies,
            "url": self.url,
            "access_token": self.access_token.expose(),
            "refresh_token": self.refresh_token.as_ref().map(Secret::expose),
            "expires_at": self.expires_at,
        })
    }

    fn from_json(value: &Value) -> Option<Self> {
        let text = |name: &str| value[name].as_str().map(str::to_owned);
        Some(Self {
            issuer: text("issuer")?,
            client_id: text("client_id")?,
            scope: text("scope")?,
            policies: text("policies").unwrap_or_default(),
            url: text("url")?,
            access_token: Secret::new(text("access_token")?),
            refresh_token: text("refresh_token").map(Secret::new),
            expires_at: value["expires_at"].as_i64(),
        })
    }
}

impl TokenFile {
    pub(super) fn find() -> Result<Self, Failure> {
        let absolute = |name: &str| {
            let path = PathBuf::from(std::env::var_os(name)?);
            path.is_absolute().then_some(path)
        };
        let base = absolute("XDG_CONFIG_HOME").or_else(|| Some(absolute("HOME")?.join(".config")));
        let base = base.ok_or_else(|| Failure::other("neither XDG_CONFIG_HOME nor HOME is set"))?;
        Ok(Self::at(base.join("ostia")))
    }

    fn at(folder: PathBuf) -> Self {
        Self { folder }
    }

    /// Held while tokens are read, refreshed and written, because a refresh token often works only once.
    pub(super) fn lock(&self) -> Result<File, Failure> {
        let mut builder = fs::DirBuilder::new();
        builder
            .recursive(true)
            .mode(0o700)
            .create(&self.folder)
            .map_err(|error| self.fault(&self.folder, &error))?;
        let path = self.folder.join("login.lock");
        let file = private()
            .create(true)
            .truncate(false)
            .open(&path)
            .map_err(|error| self.fault(&path, &error))?;
        flock(&file, FlockOperation::LockExclusive)
            .map_err(|error| self.fault(&path, &error.into()))?;
        Ok(file)
    }

    /// `None`: nobody has signed in.
    pub(super) fn read(&self) -> Result<Option<Saved>, Failure> {
        let path = self.path();
        let text = match fs::read(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(self.fault(&path, &error)),
        };
        let saved = serde_json::from_slice(&text).ok();
        let saved = saved.as_ref().and_then(Saved::from_json);
        saved.map(Some).ok_or_else(|| {
            let shown = path.display();
            Failure::other(format!(
                "{shown} was not written by `ostia login`: remove it"
            ))
        })
    }

    /// Replaces the file as a whole.
    pub(super) fn write(&self, saved: &Saved) -> Result<(), Failure> {
        let new = self.folder.join("login.new");
        // A leftover file could have any mode.
        let _ = fs::remove_file(&new);
        let write = || {
            let mut file = private().create_new(true).open(&new)?;
            file.write_all(saved.to_json().to_string().as_bytes())?;
            file.sync_all()?;
            fs::rename(&new, self.path())
        };
        write().map_err(|error| self.fault(&new, &error))
    }

    pub(super) fn remove(&self) -> Result<(), Failure> {
        let path = self.path();
        fs::remove_file(&path).map_err(|error| self.fault(&path, &error))
    }

    fn path(&self) -> PathBuf {
        self.folder.join("login.json")
    }

    fn fault(&self, path: &Path, error: &std::io::Error) -> Failure {
        Failure::other(format!("{}: {error}", path.display()))
    }
}

fn private() -> OpenOptions {
    let mut options = OpenOptions::new();
    options.write(true).mode(0o600);
    options
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn what_is_written_is_read_and_private() {
        let folder = tempfile::tempdir().unwrap();
        let file = TokenFile::at(folder.path().join("config/ostia"));
        let _lock = file.lock().unwrap();
        assert_eq!(file.read().unwrap(), None);
        let mut saved = Saved {
            issuer: "https://idp".to_owned(),
            ..Saved::default()
        };
        saved
            .take(
                &json!({"access_token": "a", "refresh_token": "r", "expires_in": 60}),
                1_000_000,
            )
            .unwrap();
        for _ in 0..2 {
            file.write(&saved).unwrap();
            assert_eq!(file.read().unwrap(), Some(saved.clone()));
        }
        let mode = |path: &Path| path.metadata().unwrap().permissions().mode() & 0o777;
        assert_eq!((mode(&file.path()), mode(&file.folder)), (0o600, 0o700));
        assert!(!format!("{saved:?}").contains("\"a\""));
        file.remove().unwrap();
        assert_eq!(file.read().unwrap(), None);
    }

    #[test]
    fn of_several_tokens_the_gateway_s_is_taken() {
        let gateway = json!({"access_token": "ours", "refresh_token": "r", "scope": "https://gw/all", "expires_in": 60});
        let other = json!({"access_token": "theirs", "scope": "openid email", "expires_in": 9});
        let with = |mut first: Value, others: Value| {
            first["other_tokens"] = others;
            first
        };
        for said in [
            with(gateway.clone(), json!([other])),
            with(other.clone(), json!([other, gateway])),
            gateway.clone(),
        ] {
            let mut saved = Saved {
                scope: "openid email https://gw/all".to_owned(),
                ..Saved::default()
            };
            saved.take(&said, 0).unwrap();
            assert_eq!(saved.access_token.expose(), "ours", "{said}");
            assert_eq!(saved.expires_at, Some(60_000_000));
        }
        // An issuer that lists no scopes has granted all that were asked for (RFC 6749 section 5.1).
        let mut saved = Saved {
            scope: "https://gw/all".to_owned(),
            ..Saved::default()
        };
        saved.take(&json!({"access_token": "a"}), 0).unwrap();
        assert_eq!(saved.access_token.expose(), "a");
    }

    #[test]
    fn answers_are_taken_over_with_care() {
        let mut saved = Saved::default();
        saved
            .take(
                &json!({"access_token": "a", "refresh_token": "r", "expires_in": 60}),
                0,
            )
            .unwrap();
        saved
            .take(&json!({"access_token": "b", "token_type": "bearer"}), 0)
            .unwrap();
        assert_eq!(
            saved
                .refresh_token
                .as_ref()
                .map(|token| token.expose().as_str()),
            Some("r")
        );
        assert_eq!(saved.expires_at, None);
        for wrong in [
            json!({}),
            json!({"access_token": ""}),
            json!({"access_token": "a b"}),
            json!({"access_token": "a", "token_type": "DPoP"}),
        ] {
            assert!(saved.take(&wrong, 0).is_err(), "{wrong}");
        }
    }
}
