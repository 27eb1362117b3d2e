//! Callers who stay: what is kept of a sign-in for a browser's session, and who they are at each later request.

use std::sync::Arc;

use http::HeaderMap;
use ostia_core::Identity;
use serde_json::{Value, json};

use super::house::Guest;
use super::{Door, Identify, Principal, Sender, SignInError, Verified};

impl Identify {
    /// The providers at which people can sign in with a browser.
    pub fn doors(&self) -> &[Arc<dyn Door>] {
        &self.doors
    }

    /// Whether nobody has to sign in.
    pub const fn is_open(&self) -> bool {
        self.open.is_some()
    }

    /// Whether keys are a credential here.
    pub fn takes_keys(&self) -> bool {
        let hash = [0; 32];
        self.providers
            .iter()
            .any(|one| one.verify_hash(&hash).is_some())
    }

    /// Who just signed in, as the house sees them. The sign-in vouches for the owner's keys.
    pub fn welcome(&self, verified: Verified) -> Result<Principal, SignInError> {
        let guest = Guest::new(verified, self.clock.unix_micros());
        let seated = self.house.seated(&guest)?;
        Ok(Principal::new(seated))
    }

    /// Who comes back, and what a provider said of them when they signed in.
    pub fn returning(&self, said: &Identity) -> Result<Principal, SignInError> {
        let placed = self.house.place(said)?;
        Ok(Principal::new(Arc::new(placed)))
    }

    /// Whose key it is, by its SHA-256: as if it had been shown again.
    pub async fn holder(&self, hash: &[u8; 32], sender: Sender) -> Result<Principal, SignInError> {
        let mut asking = self
            .providers
            .iter()
            .filter_map(|one| one.verify_hash(hash));
        let verified = asking.next().ok_or(SignInError::InvalidKey)?.await?;
        let guest = Guest::new(verified, self.clock.unix_micros());
        let seated = self.house.seat(&guest, &HeaderMap::new(), sender)?;
        Ok(Principal::new(seated))
    }

    /// Who still holds something by a key, from wherever they got it.
    pub async fn keeper(&self, key_id: &str) -> Result<Principal, SignInError> {
        let mut asking = self
            .providers
            .iter()
            .filter_map(|one| one.verify_id(key_id));
        let verified = asking.next().ok_or(SignInError::InvalidKey)?.await?;
        self.welcome(verified)
    }
}

/// What a provider said of somebody, as it is kept.
pub fn said_json(said: &Identity) -> Value {
    json!({
        "user_id": said.user_id, "name": said.name, "username": said.username, "email": said.email,
        "idp_id": said.idp_id, "idp_name": said.idp_name, "auth_service": said.auth_service,
        "domain": said.domain, "groups": said.groups, "groups_unlisted": said.groups_unlisted,
        "link": said.link, "own_name": said.own_name,
    })
}

/// The same read back. `None`: another ostia wrote it, and nobody is signed in.
pub fn said_of(kept: &Value) -> Option<Identity> {
    let text = |name: &str| Some(Arc::<str>::from(kept.get(name)?.as_str()?));
    let maybe = |name: &str| match kept.get(name)? {
        Value::Null => Some(None),
        value => Some(Some(Arc::<str>::from(value.as_str()?))),
    };
    let groups = kept.get("groups")?.as_array()?;
    let groups = groups.iter().map(|group| group.as_str().map(Arc::from));
    Some(Identity {
        user_id: text("user_id")?,
        name: text("name")?,
        username: text("username")?,
        email: text("email")?,
        idp_id: text("idp_id")?,
        idp_name: text("idp_name")?,
        auth_service: text("auth_service")?,
        domain: maybe("domain")?,
        groups: groups.collect::<Option<_>>()?,
        groups_unlisted: kept.get("groups_unlisted")?.as_bool()?,
        link: maybe("link")?,
        own_name: text("own_name")?,
        ..Identity::default()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_said_is_read_back_whole_or_not_at_all() {
        let said = Identity {
            user_id: "https://idp#ann".into(),
            name: "Ann <b>".into(),
            username: "ann@lab.org".into(),
            email: "ann@lab.org".into(),
            idp_id: "https://idp".into(),
            idp_name: "Lab".into(),
            auth_service: "oidc".into(),
            domain: Some("lab.org".into()),
            groups: ["g1".into(), "g2".into()].into(),
            groups_unlisted: true,
            link: Some("ann@lab.org".into()),
            own_name: "ann@lab.org".into(),
            ..Identity::default()
        };
        let kept = said_json(&said);
        assert_eq!(said_of(&kept), Some(said));
        for name in kept.as_object().unwrap().keys() {
            let mut less = kept.clone();
            less.as_object_mut().unwrap().remove(name);
            assert_eq!(said_of(&less), None, "{name}");
        }
    }
}
