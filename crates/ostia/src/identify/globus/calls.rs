use std::sync::Arc;

use http::StatusCode;
use ostia_core::{Clock, Identity, Secret};
use serde_json::Value;

use super::Groups;
use crate::catalog::{HttpUrl, UrlFault};
use crate::identify::channel::Channel;
use crate::identify::claims::text;
use crate::identify::introspection::{accepted, basic};
use crate::identify::web::below;
use crate::identify::{Health, SignInError, Web, WebRequest};
use crate::settings;

const GROUPS_SERVICE: &str = "groups.api.globus.org";
const DEPENDENT_GRANT: &str = "urn:globus:auth:grant_type:dependent_token";
const MOST_GROUPS: usize = 10_000;

/// The three calls, as Globus's own Python client makes them.
pub(super) struct Calls {
    auth: Channel,
    /// A separate service, which may fail on its own.
    groups: Channel,
    introspect: HttpUrl,
    token: HttpUrl,
    my_groups: HttpUrl,
    authorization: Secret<String>,
}

impl Calls {
    pub(super) fn new(
        settings: &settings::Globus,
        web: &Arc<dyn Web>,
        clock: &Arc<dyn Clock>,
    ) -> Result<Self, UrlFault> {
        let auth = HttpUrl::parse(&settings.auth_url)?;
        let groups = HttpUrl::parse(&settings.groups_url)?;
        let channel = |name| Channel::new(name, Arc::clone(web), Arc::clone(clock));
        Ok(Self {
            auth: channel("globus auth"),
            groups: channel("globus groups"),
            introspect: below(&auth, "/v2/oauth2/token/introspect"),
            token: below(&auth, "/v2/oauth2/token"),
            my_groups: below(&groups, "/v2/groups/my_groups"),
            authorization: basic(&settings.client_id, settings.client_secret.expose()),
        })
    }

    pub(super) fn health(&self) -> Health {
        self.auth.health()
    }

    /// Globus Auth's answer about a token. `policies` are evaluated for its session.
    pub(super) async fn introspect(
        &self,
        token: &str,
        policies: &[String],
    ) -> Result<Value, SignInError> {
        let joined = policies.join(",");
        let mut fields = vec![("token", token)];
        if !policies.is_empty() {
            fields.push(("authentication_policies", &joined));
        }
        fields.push(("include", "session_info,identity_set_detail"));
        let request = WebRequest::post(self.introspect.clone(), &fields);
        let said = self
            .auth
            .ask(request.authorized(self.authorization.clone()))
            .await?;
        accepted(said.status, "globus")?;
        Ok(said.json)
    }

    /// The groups of the token's holder, through a dependent token.
    pub(super) async fn groups(&self, token: &str) -> Result<Groups, SignInError> {
        let Some(access) = self.dependent_token(token).await? else {
            return Ok(Groups::default());
        };
        let bearer = Secret::new(format!("Bearer {}", access.expose()));
        let request = WebRequest::get(self.my_groups.clone()).authorized(bearer);
        let said = self.groups.ask(request).await?;
        // The token was made a moment ago: a refusal is the service's fault, not the user's.
        match (said.status.is_success(), said.json) {
            (true, Value::Array(groups)) => Ok(active_groups(&groups)),
            _ => Err(SignInError::IdentityUnavailable),
        }
    }

    /// A token for Globus Groups; `None` if the user's token does not carry the right to see groups.
    async fn dependent_token(&self, token: &str) -> Result<Option<Secret<String>>, SignInError> {
        let fields = [("grant_type", DEPENDENT_GRANT), ("token", token)];
        let request = WebRequest::post(self.token.clone(), &fields);
        let said = self
            .auth
            .ask(request.authorized(self.authorization.clone()))
            .await?;
        match said.status {
            StatusCode::FORBIDDEN => {
                return Err(SignInError::PolicyDenied(
                    "The gateway may not look up your Globus groups: sign in again and give it the consent it asks for."
                        .to_owned(),
                ));
            }
            status if !status.is_success() => return Err(SignInError::InvalidKey),
            _ => {}
        }
        let Value::Array(tokens) = said.json else {
            return Err(SignInError::IdentityUnavailable);
        };
        let ours = tokens
            .iter()
            .find(|entry| entry["resource_server"] == GROUPS_SERVICE);
        match ours.map(|entry| entry["access_token"].as_str()) {
            None => Ok(None),
            Some(Some(access)) if sendable(access) => Ok(Some(Secret::new(access.to_owned()))),
            Some(_) => Err(SignInError::IdentityUnavailable),
        }
    }
}

/// Groups of which somebody is an active member: Globus lists invitations too.
fn active_groups(groups: &[Value]) -> Groups {
    let ids = groups.iter().take(MOST_GROUPS).filter_map(|group| {
        let active = match group["my_memberships"].as_array() {
            None => true,
            Some(memberships) => memberships.iter().any(|one| {
                one["status"]
                    .as_str()
                    .is_none_or(|status| status == "active")
            }),
        };
        group.get("id").filter(|_| active).and_then(text)
    });
    ids.map(|id| Identity::group(id).into()).collect()
}

fn sendable(token: &str) -> bool {
    !token.is_empty() && token.bytes().all(|byte| byte.is_ascii_graphic())
}
