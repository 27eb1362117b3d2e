use serde_json::Value;

use super::claims;
use super::jwt::{Jwt, Key, issuer_of};

/// Tokens of strangers, and key sets of issuers. None of them opens anything.
pub fn tokens(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else {
        return;
    };
    let (token, set) = text.split_once('\n').unwrap_or((text, KEYS));
    issuer_of(token);
    let set = serde_json::from_str::<Value>(set).unwrap_or_default();
    let keys = Key::read_set(&set).unwrap_or_default();
    let claims = serde_json::from_str::<Value>(token).unwrap_or_default();
    claims::is_for(&claims, &["us".to_owned()]);
    claims::seconds(&claims);
    let Some(jwt) = Jwt::parse(token) else { return };
    for key in &keys {
        assert!(key.open(&jwt).is_none(), "{token} is signed by {set}");
    }
    Key::choose(&keys, &jwt);
}

/// Of RFC 7517, appendix A.1.
const KEYS: &str = r#"{"keys":[{"kty":"EC","crv":"P-256","x":"MKBCTNIcKUSDii11ySs3526iDZ8AiTo7Tu6KPAqv7D4","y":"4Etl6SRW2YiLUrN5vfvVHuhp7x8PxltmWWlbbM4IFyM","use":"sig","kid":"1"}]}"#;
