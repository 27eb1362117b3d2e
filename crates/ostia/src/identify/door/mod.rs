//! Signing in on pages: the authorization code grant with PKCE (RFC 6749 section 4.1, RFC 7636, RFC 9700).

mod globus;
mod oidc;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use form_urlencoded::Serializer;
use ostia_core::{BoxFuture, Secret};
use serde_json::Value;

use super::channel::Channel;
use super::introspection::basic;
use super::{SignInError, Verified, WebRequest, hash_key};
use crate::catalog::HttpUrl;

pub use globus::GlobusDoor;
pub use oidc::OidcDoor;

/// A provider at which people sign in with a browser.
pub trait Door: Send + Sync + 'static {
    /// What people are shown.
    fn name(&self) -> &str;

    /// Stands in addresses: the same on all replicas, whatever the order of providers is.
    fn id(&self) -> &str;

    /// Where the browser is sent.
    fn address<'a>(&'a self, attempt: &'a Attempt) -> BoxFuture<'a, Result<String, SignInError>>;

    /// Who came back with this code.
    fn redeem<'a>(
        &'a self,
        attempt: &'a Attempt,
        code: &'a str,
    ) -> BoxFuture<'a, Result<Verified, SignInError>>;
}

/// One attempt to sign in. All of it comes from one secret that the browser holds, so nothing is kept here and any replica
/// can go on with it.
pub struct Attempt {
    /// Where the provider sends the browser back to.
    pub redirect: String,
    pub state: String,
    nonce: String,
    verifier: String,
}

impl Attempt {
    /// `secret`: 256 random bits that only this browser has, for this one attempt.
    pub fn of(secret: &str, door: &str, redirect: String) -> Self {
        let derived = |word: &str| {
            let text = format!("{word}\n{door}\n{secret}");
            URL_SAFE_NO_PAD.encode(hash_key(&text))
        };
        Self {
            redirect,
            state: derived("state"),
            nonce: derived("nonce"),
            verifier: derived("verifier"),
        }
    }

    /// An authorization endpoint with the fields of this attempt behind it.
    fn ask(
        &self,
        endpoint: &HttpUrl,
        client_id: &str,
        scope: &str,
        more: &[(&str, &str)],
    ) -> String {
        let challenge = URL_SAFE_NO_PAD.encode(hash_key(&self.verifier));
        let mut address = format!("{}{}", endpoint.base(), endpoint.path_and_query());
        if endpoint.query.is_none() {
            address.push('?');
        }
        let query_at = address.find('?').map_or(address.len(), |mark| mark + 1);
        let mut query = Serializer::for_suffix(address, query_at);
        query
            .append_pair("response_type", "code")
            .append_pair("client_id", client_id)
            .append_pair("redirect_uri", &self.redirect)
            .append_pair("scope", scope)
            .append_pair("state", &self.state)
            .append_pair("nonce", &self.nonce)
            .append_pair("code_challenge", &challenge)
            .append_pair("code_challenge_method", "S256")
            .extend_pairs(more);
        query.finish()
    }

    /// What the token endpoint gives for a code.
    async fn exchange(
        &self,
        channel: &Channel,
        endpoint: HttpUrl,
        client: (&str, &Secret<String>),
        code: &str,
    ) -> Result<Value, SignInError> {
        let (client_id, secret) = client;
        let fields = [
            ("grant_type", "authorization_code"),
            ("code", code),
            ("redirect_uri", &self.redirect),
            ("client_id", client_id),
            ("code_verifier", &self.verifier),
        ];
        let mut request = WebRequest::post(endpoint, &fields);
        if !secret.expose().is_empty() {
            request = request.authorized(basic(client_id, secret.expose()));
        }
        let said = channel.ask(request).await?;
        if said.status.is_success() {
            return Ok(said.json);
        }
        let error = said.json["error"].as_str().unwrap_or_default();
        tracing::info!(target: "ostia::audit", kind = "code_refused", status = said.status.as_u16(), error, "the identity provider gives no token for a code");
        Err(SignInError::InvalidKey)
    }
}

/// A short name for an address.
fn short(text: &str) -> String {
    hex::encode(&hash_key(text)[..4])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_attempt_is_the_same_wherever_it_goes_on_and_no_other_is() {
        let of = |secret: &str, door: &str| Attempt::of(secret, door, "https://a/ui".to_owned());
        let (one, same) = (of("s", "a"), of("s", "a"));
        assert_eq!(
            (&one.state, &one.nonce, &one.verifier),
            (&same.state, &same.nonce, &same.verifier)
        );
        let words = [&one.state, &one.nonce, &one.verifier];
        assert!(words.iter().all(|word| word.len() == 43));
        assert!(one.state != one.nonce && one.nonce != one.verifier);
        for other in [of("t", "a"), of("s", "b")] {
            assert!(other.state != one.state && other.verifier != one.verifier);
        }
    }

    #[test]
    fn fields_follow_whatever_query_the_endpoint_has() {
        let attempt = Attempt::of("s", "d", "https://a/ui/back?x".to_owned());
        for (endpoint, begins) in [
            (
                "https://idp/auth",
                "https://idp/auth?response_type=code&client_id=me",
            ),
            (
                "https://idp/auth?p=1",
                "https://idp/auth?p=1&response_type=code",
            ),
        ] {
            let url = HttpUrl::parse(endpoint).unwrap();
            let address = attempt.ask(&url, "me", "openid", &[("extra", "a b")]);
            assert!(address.starts_with(begins), "{address}");
            assert!(address.contains("redirect_uri=https%3A%2F%2Fa%2Fui%2Fback%3Fx"));
            assert!(
                address.ends_with("&code_challenge_method=S256&extra=a+b"),
                "{address}"
            );
            assert!(!address.contains(&attempt.verifier));
        }
    }
}
