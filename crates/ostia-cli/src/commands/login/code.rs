//! The authorization code grant with PKCE (RFC 7636): what all ways of receiving the code share.

use std::io::BufRead as _;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ostia::identify::{Web, hash_key};
use serde_json::Value;

use super::authority::{Authority, Grant};
use super::browser;
use crate::failure::Failure;
use crate::output::note;

/// One attempt: its secret, and the state that its answer must contain.
pub(super) struct Try {
    verifier: String,
    pub(super) state: String,
    redirect: String,
}

impl Try {
    pub(super) fn new(redirect: &str) -> Result<Self, Failure> {
        Ok(Self {
            verifier: random()?,
            state: random()?,
            redirect: redirect.to_owned(),
        })
    }

    /// The URL for the browser.
    pub(super) fn address(
        &self,
        authority: &Authority,
        ask: &Grant<'_>,
    ) -> Result<String, Failure> {
        let door = authority
            .authorize
            .as_ref()
            .ok_or_else(|| Failure::other("the issuer has no authorization endpoint"))?;
        let challenge = challenge(&self.verifier);
        let mut fields = vec![
            ("response_type", "code"),
            ("client_id", ask.client_id),
            ("redirect_uri", &self.redirect),
            ("scope", ask.scope),
            ("state", &self.state),
            ("code_challenge", &challenge),
            ("code_challenge_method", "S256"),
            // Globus's parameter for a refresh token; others use the scope offline_access.
            ("access_type", "offline"),
        ];
        if !ask.policies.is_empty() {
            fields.push(("session_required_policies", ask.policies));
        }
        if ask.force {
            fields.push(("prompt", "login"));
        }
        let mut address = format!("{}{}", door.base(), door.path_and_query());
        if door.query.is_none() {
            address.push('?');
        }
        let query_at = address.find('?').map_or(address.len(), |mark| mark + 1);
        let mut query = form_urlencoded::Serializer::for_suffix(address, query_at);
        Ok(query.extend_pairs(fields).finish())
    }

    pub(super) async fn redeem(
        &self,
        web: &dyn Web,
        authority: &Authority,
        ask: &Grant<'_>,
        code: &str,
    ) -> Result<Value, Failure> {
        let fields = [
            ("grant_type", "authorization_code"),
            ("code", code),
            ("redirect_uri", &*self.redirect),
            ("client_id", ask.client_id),
            ("code_verifier", &*self.verifier),
        ];
        authority.tokens(web, &fields).await
    }
}

/// The issuer shows the code and the user pastes it. Without a redirect no state comes back, but PKCE binds the code to
/// this attempt.
pub(super) async fn sign_in(
    web: &dyn Web,
    authority: &Authority,
    ask: &Grant<'_>,
    page: &str,
) -> Result<Value, Failure> {
    let this = Try::new(page)?;
    note("Open this address in a browser, sign in, and paste the code it shows:");
    browser::open(&this.address(authority, ask)?, ask.browser);
    let mut line = String::new();
    std::io::stdin()
        .lock()
        .read_line(&mut line)
        .map_err(|error| Failure::other(format!("stdin: {error}")))?;
    let code = line.trim();
    if code.is_empty() {
        return Err(Failure::other("no code was pasted"));
    }
    this.redeem(web, authority, ask, code).await
}

/// `S256` of RFC 7636 section 4.2.
fn challenge(verifier: &str) -> String {
    URL_SAFE_NO_PAD.encode(hash_key(verifier))
}

/// 256 bits as 43 characters that need no escaping in URLs.
fn random() -> Result<String, Failure> {
    let mut bytes = [0; 32];
    getrandom::fill(&mut bytes)
        .map_err(|error| Failure::other(format!("the system has no randomness: {error}")))?;
    Ok(URL_SAFE_NO_PAD.encode(bytes))
}

#[cfg(test)]
mod tests {
    use super::{challenge, random};

    /// The example of RFC 7636, appendix B.
    #[test]
    fn the_challenge_is_the_rfc_s() {
        let verifier = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk";
        assert_eq!(
            challenge(verifier),
            "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM"
        );
        let (one, two) = (random().unwrap(), random().unwrap());
        assert!(one != two && one.len() == 43);
    }
}
