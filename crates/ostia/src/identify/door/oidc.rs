use std::sync::Arc;

use ostia_core::{BoxFuture, Secret};
use serde_json::Value;

use super::{Attempt, Door, short};
use crate::catalog::HttpUrl;
use crate::identify::jwt::issuer_of;
use crate::identify::{Authenticator as _, Oidc, SignInError, Verified, WebRequest};
use crate::settings;

/// An OpenID Connect issuer whose client this gateway is.
pub struct OidcDoor {
    provider: Arc<Oidc>,
    name: String,
    id: String,
    client_id: String,
    client_secret: Secret<String>,
    scope: String,
}

impl OidcDoor {
    /// `None`: the gateway is not registered as a client there.
    pub fn new(settings: &settings::Oidc, provider: &Arc<Oidc>) -> Option<Self> {
        if settings.client_id.is_empty() {
            return None;
        }
        let host = || {
            HttpUrl::parse(&settings.issuer).map_or_else(
                |_| settings.issuer.clone(),
                |url| url.origin.host.to_string(),
            )
        };
        Some(Self {
            provider: Arc::clone(provider),
            name: match settings.name.is_empty() {
                true => host(),
                false => settings.name.clone(),
            },
            id: short(&settings.issuer),
            client_id: settings.client_id.clone(),
            client_secret: settings.client_secret.clone(),
            scope: settings.scopes.join(" "),
        })
    }

    async fn ask(&self, attempt: &Attempt) -> Result<String, SignInError> {
        let about = self.provider.about().await?;
        let endpoint = self.provider.endpoint(&about, "authorization_endpoint")?;
        Ok(attempt.ask(&endpoint, &self.client_id, &self.scope, &[]))
    }

    /// An access token that is for us says the same on pages and to the API. Where there is none, the ID token and the
    /// userinfo endpoint say who it is (OpenID Connect Core sections 3.1.3.7 and 5.3).
    async fn who(&self, attempt: &Attempt, code: &str) -> Result<Verified, SignInError> {
        let about = self.provider.about().await?;
        let endpoint = self.provider.endpoint(&about, "token_endpoint")?;
        let client = (&*self.client_id, &self.client_secret);
        let channel = self.provider.channel();
        let tokens = attempt.exchange(channel, endpoint, client, code).await?;
        let token = |name: &str| tokens[name].as_str().unwrap_or_default();
        let id_token = token("id_token");
        let mut claims = self
            .provider
            .signed_in(id_token, &self.client_id, &attempt.nonce)
            .await?;
        let access = token("access_token");
        if issuer_of(access).as_deref() == Some(self.provider.issuer()) {
            match self.provider.verify(access).await {
                Ok(verified) => return same_person(&verified, &claims, &self.provider),
                // It is meant for another service.
                Err(SignInError::InvalidKey) => {}
                Err(error) => return Err(error),
            }
        }
        if let Ok(endpoint) = self.provider.endpoint(&about, "userinfo_endpoint") {
            self.add_userinfo(&mut claims, endpoint, access).await?;
        }
        self.provider.vouch(&claims)
    }

    /// Without what stands there a group may be missing, so a failure is one of the sign-in.
    async fn add_userinfo(
        &self,
        claims: &mut Value,
        endpoint: HttpUrl,
        access: &str,
    ) -> Result<(), SignInError> {
        let bearer = Secret::new(format!("Bearer {access}"));
        let request = WebRequest::get(endpoint).authorized(bearer);
        let said = self.provider.channel().ask(request).await?;
        let Value::Object(said) = said.json else {
            return Err(SignInError::IdentityUnavailable);
        };
        if said.get("sub") != claims.get("sub") {
            return Err(SignInError::InvalidKey);
        }
        if let Value::Object(claims) = claims {
            for (name, value) in said {
                claims.entry(name).or_insert(value);
            }
        }
        Ok(())
    }
}

/// Two tokens of one answer are of one person, or somebody mixed them.
fn same_person(
    verified: &Verified,
    claims: &Value,
    provider: &Oidc,
) -> Result<Verified, SignInError> {
    let said = provider.vouch(claims);
    match said {
        Ok(said) if said.identity.user_id != verified.identity.user_id => {
            Err(SignInError::InvalidKey)
        }
        _ => Ok(verified.clone()),
    }
}

impl Door for OidcDoor {
    fn name(&self) -> &str {
        &self.name
    }

    fn id(&self) -> &str {
        &self.id
    }

    fn address<'a>(&'a self, attempt: &'a Attempt) -> BoxFuture<'a, Result<String, SignInError>> {
        Box::pin(self.ask(attempt))
    }

    fn redeem<'a>(
        &'a self,
        attempt: &'a Attempt,
        code: &'a str,
    ) -> BoxFuture<'a, Result<Verified, SignInError>> {
        Box::pin(self.who(attempt, code))
    }
}
