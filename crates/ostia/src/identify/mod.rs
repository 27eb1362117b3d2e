//! In: a request's head. Out: a [`Principal`], or why the caller cannot sign in.
//! Here: credentials, the providers that vouch for them, the cache of what they said.
//! Not here: bodies, models, what a principal may do.
//!
//! To add a provider: 1. one file with a type that implements [`Authenticator`]; 2. its settings in `config`;
//! 3. one arm in `app`, where providers are built; 4. its row in the guide's table of providers.

mod api_key;
mod cache;
mod credential;
mod open;
mod principal;
mod sign_in;

pub use api_key::{ApiKeys, KEY_PREFIX, generate_key, hash_key};
pub use credential::Credential;
pub use open::Open;
pub use principal::Principal;
pub use sign_in::{Authenticator, Identify, SignInError, Verified};
