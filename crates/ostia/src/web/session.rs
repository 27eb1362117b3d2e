//! What a browser holds of a sign-in, and what is kept of it.

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ostia_core::{Identity, Session};
use serde_json::{Value, json};

use super::site::Side;
use crate::identify::{hash_key, said_json, said_of};

/// How somebody signed in.
#[derive(Debug, Clone)]
pub(super) enum Way {
    /// At a provider, which said this.
    Provider(Box<Identity>),
    /// With a key of this SHA-256.
    Key([u8; 32]),
    /// Nobody has to.
    Open,
}

/// 256 random bits that a browser holds and nobody else.
pub(super) struct Ticket(String);

/// A cookie by its name, and what holds for it.
#[derive(Clone, Copy)]
pub(super) struct Cookie {
    name: &'static str,
    is_secure: bool,
}

impl Way {
    pub fn kept(&self) -> Value {
        match self {
            Self::Provider(said) => json!({"way": "provider", "said": said_json(said)}),
            Self::Key(hash) => json!({"way": "key", "hash": hex::encode(hash)}),
            Self::Open => json!({"way": "open"}),
        }
    }

    /// `None`: another ostia wrote it.
    pub fn of(kept: &str) -> Option<Self> {
        let kept: Value = serde_json::from_str(kept).ok()?;
        match kept.get("way")?.as_str()? {
            "provider" => said_of(kept.get("said")?).map(|said| Self::Provider(Box::new(said))),
            "key" => {
                let mut hash = [0; 32];
                hex::decode_to_slice(kept.get("hash")?.as_str()?, &mut hash).ok()?;
                Some(Self::Key(hash))
            }
            "open" => Some(Self::Open),
            _ => None,
        }
    }
}

impl Ticket {
    pub fn new() -> Result<Self, getrandom::Error> {
        let mut bytes = [0; 32];
        getrandom::fill(&mut bytes)?;
        Ok(Self(URL_SAFE_NO_PAD.encode(bytes)))
    }

    /// What a browser shows.
    pub fn shown(text: &str) -> Option<Self> {
        let is_one = text.len() == 43
            && text
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte));
        is_one.then(|| Self(text.to_owned()))
    }

    pub fn text(&self) -> &str {
        &self.0
    }

    /// What the database knows it by.
    pub fn id(&self) -> [u8; 32] {
        hash_key(&format!("session\n{}", self.0))
    }

    /// What forms of this browser hold: no other page can know it.
    pub fn form_token(&self) -> String {
        URL_SAFE_NO_PAD.encode(hash_key(&format!("form\n{}", self.0)))
    }
}

impl Cookie {
    /// Of who is signed in. Ports do not part cookies, so the admin listener's has a name of its own.
    pub const fn session(side: Side, is_secure: bool) -> Self {
        let name = match (side, is_secure) {
            (Side::Public, true) => "__Host-ostia",
            (Side::Public, false) => "ostia",
            (Side::Admin, _) => "ostia-admin",
        };
        Self { name, is_secure }
    }

    /// Of who is about to sign in.
    pub const fn door(side: Side, is_secure: bool) -> Self {
        let name = match (side, is_secure) {
            (Side::Public, true) => "__Host-ostia-door",
            (Side::Public, false) => "ostia-door",
            (Side::Admin, _) => "ostia-admin-door",
        };
        Self { name, is_secure }
    }

    pub const fn name(self) -> &'static str {
        self.name
    }

    /// Lax: it comes along where a link or an identity provider leads here, and with no form of another site.
    pub fn set(self, value: &str, age: Duration) -> String {
        let secure = if self.is_secure { "; Secure" } else { "" };
        let (name, age) = (self.name, age.as_secs());
        format!("{name}={value}; Path=/; Max-Age={age}; HttpOnly; SameSite=Lax{secure}")
    }

    pub fn clear(self) -> String {
        self.set("", Duration::ZERO)
    }
}

/// Whether a session is over.
pub(super) fn is_over(session: &Session, now: i64, idle: Duration) -> bool {
    let idle = i64::try_from(idle.as_micros()).unwrap_or(i64::MAX);
    now >= session.expires_at || now >= session.seen_at.saturating_add(idle)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ticket_is_long_random_and_in_none_of_what_is_made_of_it() {
        let (one, other) = (Ticket::new().unwrap(), Ticket::new().unwrap());
        assert_ne!(one.text(), other.text());
        assert!(Ticket::shown(one.text()).is_some());
        assert!(!one.form_token().contains(one.text()) && one.form_token() != other.form_token());
        for text in ["", "a", &"a".repeat(42), &"<".repeat(43), &"a".repeat(44)] {
            assert!(Ticket::shown(text).is_none(), "{text}");
        }
    }

    #[test]
    fn cookies_are_kept_from_scripts_and_other_sites() {
        let hour = Duration::from_secs(3_600);
        assert_eq!(
            Cookie::session(Side::Public, true).set("v", hour),
            "__Host-ostia=v; Path=/; Max-Age=3600; HttpOnly; SameSite=Lax; Secure"
        );
        assert_eq!(
            Cookie::session(Side::Admin, false).clear(),
            "ostia-admin=; Path=/; Max-Age=0; HttpOnly; SameSite=Lax"
        );
    }

    #[test]
    fn ways_are_read_back() {
        let hash = [7; 32];
        let kept = Way::Key(hash).kept().to_string();
        assert!(matches!(Way::of(&kept), Some(Way::Key(read)) if read == hash));
        for text in [
            "",
            "{}",
            "{\"way\":\"key\",\"hash\":\"07\"}",
            "{\"way\":\"root\"}",
        ] {
            assert!(Way::of(text).is_none(), "{text}");
        }
    }

    #[test]
    fn a_session_ends_by_its_age_and_by_rest() {
        let session = Session {
            id: [0; 32],
            person: String::new(),
            login: String::new(),
            created_at: 0,
            seen_at: 50_000_000,
            expires_at: 100_000_000,
        };
        let idle = Duration::from_secs(30);
        assert!(!is_over(&session, 79_999_999, idle));
        assert!(is_over(&session, 80_000_000, idle));
        assert!(is_over(&session, 100_000_000, Duration::from_secs(3_600)));
    }
}
