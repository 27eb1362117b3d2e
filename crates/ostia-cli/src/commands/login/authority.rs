use ostia::catalog::HttpUrl;
use ostia::identify::{Web, WebAnswer, WebRequest};
use serde_json::Value;

use super::file::Saved;
use super::{call, json_of, parse};
use crate::failure::Failure;

/// An issuer's endpoints (OpenID Connect Discovery section 3, RFC 8628 section 4, RFC 8414 section 2).
pub(super) struct Authority {
    pub(super) issuer: String,
    pub(super) authorize: Option<HttpUrl>,
    pub(super) token: HttpUrl,
    pub(super) device: Option<HttpUrl>,
    revocation: Option<HttpUrl>,
}

/// What to ask for, and as which client.
pub(super) struct Grant<'a> {
    pub(super) client_id: &'a str,
    pub(super) scope: &'a str,
    /// Globus policies that the session must meet, separated by commas.
    pub(super) policies: &'a str,
    pub(super) force: bool,
    /// Whether to open the address in a browser, besides printing it.
    pub(super) browser: bool,
}

impl Authority {
    pub(super) async fn discover(web: &dyn Web, issuer: &str) -> Result<Self, Failure> {
        let address = format!(
            "{}/.well-known/openid-configuration",
            issuer.trim_end_matches('/')
        );
        let answer = call(web, WebRequest::get(parse(&address)?)).await?;
        let about = json_of(&answer)?;
        if about["issuer"].as_str() != Some(issuer) {
            return Err(Failure::other(format!(
                "{address} describes another issuer: --issuer must match it to the letter"
            )));
        }
        let door = |name: &str| about[name].as_str().map(parse).transpose();
        Ok(Self {
            issuer: issuer.to_owned(),
            authorize: door("authorization_endpoint")?,
            token: door("token_endpoint")?
                .ok_or_else(|| Failure::other("the issuer has no token endpoint"))?,
            device: door("device_authorization_endpoint")?,
            revocation: door("revocation_endpoint")?,
        })
    }

    /// Calls the token endpoint. Any status but success becomes a failure with the answer's `error` (RFC 6749 section
    /// 5.2).
    pub(super) async fn tokens(
        &self,
        web: &dyn Web,
        fields: &[(&str, &str)],
    ) -> Result<Value, Failure> {
        let answer = call(web, WebRequest::post(self.token.clone(), fields)).await?;
        told(&answer)
    }
}

/// Exchanges a refresh token for a new token.
pub(super) async fn refresh(web: &dyn Web, saved: &Saved, refresh: &str) -> Result<Value, Failure> {
    let authority = Authority::discover(web, &saved.issuer).await?;
    let fields = [
        ("grant_type", "refresh_token"),
        ("refresh_token", refresh),
        ("client_id", saved.client_id.as_str()),
    ];
    authority.tokens(web, &fields).await
}

/// Revokes both tokens at the issuer (RFC 7009), if the issuer supports that.
pub(super) async fn revoke(web: &dyn Web, saved: &Saved) -> Result<(), Failure> {
    let authority = Authority::discover(web, &saved.issuer).await?;
    let Some(door) = authority.revocation else {
        return Err(Failure::other("the issuer has no revocation endpoint"));
    };
    let tokens = saved.refresh_token.iter().chain([&saved.access_token]);
    let mut refused = None;
    for token in tokens {
        let fields = [
            ("token", token.expose().as_str()),
            ("client_id", &saved.client_id),
        ];
        let answer = call(web, WebRequest::post(door.clone(), &fields)).await?;
        if !answer.status.is_success() {
            refused = Some(answer.status.as_u16());
        }
    }
    match refused {
        None => Ok(()),
        Some(status) => Err(Failure::other(format!("the issuer answers {status}"))),
    }
}

fn told(answer: &WebAnswer) -> Result<Value, Failure> {
    let said = json_of(answer)?;
    if answer.status.is_success() {
        return Ok(said);
    }
    let word = |name: &str| {
        said[name]
            .as_str()
            .unwrap_or_default()
            .escape_debug()
            .to_string()
    };
    Err(Failure::other(format!(
        "the issuer refuses: {} {}",
        word("error"),
        word("error_description")
    )))
}
