use std::sync::Arc;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http::StatusCode;
use ostia_core::{BoxFuture, Clock, Secret};
use serde_json::Value;

use super::channel::Channel;
use super::claims::{Lifetime, is_for};
use super::vouching::Vouching;
use super::{Authenticator, Health, SignInError, Verified, Web, WebRequest, is_token, jwt};
use crate::catalog::{HttpUrl, UrlFault};
use crate::settings;

/// How long an answer is cached.
const FRESH: Duration = Duration::from_secs(60);

/// Provider `introspection`: any server of RFC 7662.
pub struct Introspection {
    channel: Channel,
    url: HttpUrl,
    authorization: Secret<String>,
    audience: Vec<String>,
    scopes: Vec<String>,
    vouching: Vouching,
    /// Issuers of other providers, for whose users this server may not speak.
    others: Vec<String>,
    /// Stands in for `iss` where the server names none.
    issuer: String,
    clock: Arc<dyn Clock>,
}

impl Introspection {
    pub fn new(
        settings: &settings::Introspection,
        issuers: Vec<String>,
        web: Arc<dyn Web>,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, UrlFault> {
        // RFC 6749 section 2.3.1: both are form-encoded before they are joined.
        let encode =
            |text: &str| form_urlencoded::byte_serialize(text.as_bytes()).collect::<String>();
        let id = encode(&settings.client_id);
        let secret = encode(settings.client_secret.expose());
        let url = HttpUrl::parse(&settings.url)?;
        let is_elsewhere = |issuer: &String| {
            let there = HttpUrl::parse(issuer);
            there.map_or(true, |there| there.origin != url.origin)
        };
        Ok(Self {
            others: issuers.into_iter().filter(is_elsewhere).collect(),
            channel: Channel::new("introspection", web, Arc::clone(&clock)),
            url,
            authorization: basic(&id, &secret),
            audience: settings.audience.clone(),
            scopes: settings
                .scope
                .split_whitespace()
                .map(str::to_owned)
                .collect(),
            vouching: Vouching::new(&settings.vouching),
            issuer: settings.url.clone(),
            clock,
        })
    }

    async fn check(&self, token: &str) -> Result<Verified, SignInError> {
        let fields = [("token", token), ("token_type_hint", "access_token")];
        let request = WebRequest::post(self.url.clone(), &fields);
        let said = self
            .channel
            .ask(request.authorized(self.authorization.clone()))
            .await?;
        accepted(said.status, "introspection")?;
        self.judge(&said.json)
    }

    /// Anything not exactly as required is a refusal.
    fn judge(&self, claims: &Value) -> Result<Verified, SignInError> {
        if claims.get("active") != Some(&Value::Bool(true)) {
            return Err(SignInError::InvalidKey);
        }
        let now = self.clock.unix_micros().div_euclid(1_000_000);
        let lifetime = Lifetime::of(claims, now)?;
        let for_us = self.audience.is_empty() || is_for(claims, &self.audience);
        // Bound to a key of its holder (RFC 7800): somebody who sends it as a bearer token is not that holder.
        let bound = claims.get("cnf").is_some_and(|cnf| !cnf.is_null());
        if !for_us || bound || !self.has_scopes(claims) {
            return Err(SignInError::InvalidKey);
        }
        let issuer = match claims.get("iss") {
            Some(Value::String(issuer)) if !issuer.is_empty() => issuer,
            None | Some(Value::Null) => &self.issuer,
            Some(_) => return Err(SignInError::InvalidKey),
        };
        if self.others.contains(issuer) {
            return Err(SignInError::InvalidKey);
        }
        let identity = self.vouching.identity(claims, issuer, "introspection")?;
        Ok(Verified {
            vouched_at: None,
            identity: Arc::new(identity),
            expires_at: Some(lifetime.micros()),
            fresh_for: FRESH,
        })
    }

    fn has_scopes(&self, claims: &Value) -> bool {
        let granted = claims
            .get("scope")
            .and_then(Value::as_str)
            .unwrap_or_default();
        self.scopes
            .iter()
            .all(|scope| granted.split(' ').any(|one| one == scope))
    }
}

impl Authenticator for Introspection {
    fn recognises(&self, token: &str) -> bool {
        is_token(token)
    }

    fn health(&self) -> Option<Health> {
        Some(self.channel.health())
    }

    fn verify<'a>(&'a self, token: &'a str) -> BoxFuture<'a, Result<Verified, SignInError>> {
        Box::pin(self.check(token))
    }
}

/// Which of two providers for opaque tokens a token goes to: Globus makes no JWTs, and its tokens begin with `Ag`.
pub(super) fn is_foreign_to_globus(token: &str) -> bool {
    jwt::issuer_of(token).is_some() || !token.starts_with("Ag")
}

/// `Authorization: Basic` (RFC 7617).
pub(super) fn basic(id: &str, secret: &str) -> Secret<String> {
    Secret::new(format!(
        "Basic {}",
        STANDARD.encode(format!("{id}:{secret}"))
    ))
}

/// A 401 or 403 here concerns the gateway's own credentials and says nothing about the token; other 4xx refuse the
/// token.
pub(super) fn accepted(status: StatusCode, provider: &'static str) -> Result<(), SignInError> {
    match status {
        StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => {
            tracing::error!(provider, %status, "the identity provider refuses the gateway's own client_id and client_secret");
            Err(SignInError::IdentityUnavailable)
        }
        status if status.is_success() => Ok(()),
        _ => Err(SignInError::InvalidKey),
    }
}
