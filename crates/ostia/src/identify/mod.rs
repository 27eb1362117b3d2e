//! In: a request's head. Out: a [`Principal`], or why the caller cannot sign in.
//! Here: credentials, the providers that vouch for them, the cache of their answers.
//! Not here: bodies, models, what a principal may do.
//!
//! To add a provider: 1. one file with a type that implements [`Authenticator`]; 2. its settings in `config`;
//! 3. one arm in `app`, where providers are built; 4. its row in the guide's table of providers.

mod api_key;
mod audit;
mod behalf;
mod cache;
mod channel;
mod claims;
mod credential;
mod directory;
mod door;
#[cfg(any(test, feature = "fuzz"))]
pub mod fuzz;
mod globus;
mod house;
mod introspection;
mod jwt;
mod key_watch;
mod oidc;
mod open;
mod peers;
mod presence;
mod principal;
mod sign_in;
#[cfg(test)]
mod tests;
mod visit;
mod vouching;
mod web;

pub use api_key::{ApiKeys, KEY_PREFIX, generate_key, hash_key};
pub use behalf::AUDIENCE;
pub use credential::Credential;
pub use directory::Directory;
pub use door::{Attempt, Door, GlobusDoor, OidcDoor};
pub use globus::Globus;
pub use house::House;
pub use introspection::Introspection;
pub use key_watch::KeyWatch;
pub use oidc::Oidc;
pub use open::Open;
pub use peers::Sender;
pub use presence::{Presence, Present};
pub use principal::Principal;
pub use sign_in::{Authenticator, Health, Identify, SignInError, Verified};
pub use visit::{said_json, said_of};
pub use web::{Web, WebAnswer, WebFault, WebRequest};

/// Whether a text can be a bearer token at all (`b64token`, RFC 6750 section 2.1). Nothing else is sent to a provider.
fn is_token(text: &str) -> bool {
    let body = text.trim_end_matches('=');
    !body.is_empty()
        && body
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"-._~+/".contains(&byte))
}
