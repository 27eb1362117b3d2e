use std::sync::Arc;

use ostia_core::{BoxFuture, Clock, Secret};
use serde_json::Value;

use super::{Attempt, Door, short};
use crate::catalog::{HttpUrl, UrlFault};
use crate::identify::channel::Channel;
use crate::identify::web::below;
use crate::identify::{Authenticator as _, Globus, SignInError, Verified, Web};
use crate::settings;

/// Globus Auth, whose client the service itself is. The token is looked at as if somebody had called with it.
pub struct GlobusDoor {
    provider: Arc<Globus>,
    channel: Channel,
    authorize: HttpUrl,
    token: HttpUrl,
    id: String,
    client_id: String,
    client_secret: Secret<String>,
    scope: String,
    policies: String,
}

impl GlobusDoor {
    pub fn new(
        settings: &settings::Globus,
        provider: &Arc<Globus>,
        web: &Arc<dyn Web>,
        clock: &Arc<dyn Clock>,
    ) -> Result<Self, UrlFault> {
        let auth = HttpUrl::parse(&settings.auth_url)?;
        let scope = match settings.scope.is_empty() {
            true => format!(
                "https://auth.globus.org/scopes/{}/action_all",
                settings.client_id
            ),
            false => settings.scope.clone(),
        };
        Ok(Self {
            provider: Arc::clone(provider),
            channel: Channel::new("globus auth", Arc::clone(web), Arc::clone(clock)),
            authorize: below(&auth, "/v2/oauth2/authorize"),
            token: below(&auth, "/v2/oauth2/token"),
            id: short(&settings.auth_url),
            client_id: settings.client_id.clone(),
            client_secret: settings.client_secret.clone(),
            scope: format!("openid profile email {scope}"),
            policies: settings.policies.join(","),
        })
    }

    async fn who(&self, attempt: &Attempt, code: &str) -> Result<Verified, SignInError> {
        let client = (&*self.client_id, &self.client_secret);
        let token = self.token.clone();
        let tokens = attempt.exchange(&self.channel, token, client, code).await?;
        let ours = ours(&tokens, &self.client_id).ok_or(SignInError::InvalidKey)?;
        self.provider.verify(ours).await
    }
}

/// Globus gives a token for each service that a scope is of, the first in the answer itself, the others beside it.
fn ours<'a>(tokens: &'a Value, client_id: &str) -> Option<&'a str> {
    let others = tokens["other_tokens"].as_array().into_iter().flatten();
    let all = std::iter::once(tokens).chain(others);
    let is_ours = |one: &&Value| one["resource_server"] == client_id;
    all.filter(is_ours)
        .find_map(|one| one["access_token"].as_str())
}

impl Door for GlobusDoor {
    fn name(&self) -> &'static str {
        "Globus"
    }

    fn id(&self) -> &str {
        &self.id
    }

    fn address<'a>(&'a self, attempt: &'a Attempt) -> BoxFuture<'a, Result<String, SignInError>> {
        let policies = [("session_required_policies", &*self.policies)];
        let more = if self.policies.is_empty() {
            &[][..]
        } else {
            &policies
        };
        let address = attempt.ask(&self.authorize, &self.client_id, &self.scope, more);
        Box::pin(std::future::ready(Ok(address)))
    }

    fn redeem<'a>(
        &'a self,
        attempt: &'a Attempt,
        code: &'a str,
    ) -> BoxFuture<'a, Result<Verified, SignInError>> {
        Box::pin(self.who(attempt, code))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::ours;

    #[test]
    fn the_token_is_the_one_for_this_service() {
        let token =
            |server: &str, text: &str| json!({"resource_server": server, "access_token": text});
        let mut tokens = token("auth.globus.org", "a");
        tokens["other_tokens"] = json!([token("groups.api.globus.org", "g"), token("me", "mine")]);
        assert_eq!(ours(&tokens, "me"), Some("mine"));
        assert_eq!(ours(&token("me", "first"), "me"), Some("first"));
        assert_eq!(ours(&tokens, "other"), None);
    }
}
