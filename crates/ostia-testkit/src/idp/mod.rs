//! In: calls of a gateway, or of any client, to an identity provider on a loopback port.
//! Out: Globus Auth and Groups, an RFC 7662 server, and an OpenID Connect issuer, in one; a record of all calls.
//! Not here: knowledge of the gateway. The real Globus client accepts what it says (`scripts/identity`).

mod answers;
mod form;
mod globus;
mod mint;
mod people;
mod server;
mod state;

use std::net::SocketAddr;
use std::sync::Arc;

use serde_json::{Value, json};

pub use form::Form;
pub use globus::GlobusUser;
pub use mint::{Minter, Signing, seal};
pub use state::{Call, Mood};

use crate::canary::Canary;
use state::State;

pub const CLIENT_ID: &str = "5d8d2a3f-6b0e-4c7e-9d0a-000000000001";

/// A scripted identity provider. Its connections end when it is dropped.
pub struct FakeIdp {
    address: SocketAddr,
    state: Arc<State>,
    task: tokio::task::JoinHandle<()>,
}

impl FakeIdp {
    pub async fn start() -> Self {
        let state = Arc::new(State::new(Canary::new("the identity provider's secret")));
        let (address, task) = server::start(Arc::clone(&state)).await;
        state.change(|inner| inner.base_url = format!("http://{address}"));
        Self {
            address,
            state,
            task,
        }
    }

    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// `http://127.0.0.1:PORT`: Globus Auth, Globus Groups, and the OpenID issuer.
    pub fn base_url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// The secret with which the gateway authenticates itself, next to [`CLIENT_ID`].
    pub fn secret(&self) -> &Canary {
        &self.state.secret
    }

    /// Makes a Globus token active.
    pub fn globus(&self, token: &str, user: GlobusUser) {
        self.state
            .change(|inner| inner.globus.insert(token.to_owned(), user));
    }

    /// Makes `POST /introspect` answer this for a token; `aud`, `scope` and the like are the test's business.
    pub fn introspected(&self, token: &str, answer: Value) {
        self.state
            .change(|inner| inner.introspected.insert(token.to_owned(), answer));
    }

    /// Every token is inactive from now on.
    pub fn revoke_all(&self) {
        self.state.change(|inner| {
            inner.globus.clear();
            inner.introspected.clear();
        });
    }

    /// How it answers from now on; waiting calls are affected too.
    pub fn be(&self, mood: Mood) {
        self.state.set_mood(mood);
    }

    /// Signs tokens with the keys that `/jwks` shows.
    pub fn minter(&self) -> &Minter {
        &self.state.minter
    }

    /// A token's usual claims: this issuer, an audience, a subject, five minutes.
    pub fn claims(&self, audience: &str, subject: &str, now_seconds: i64) -> Value {
        json!({
            "iss": self.base_url(), "aud": audience, "sub": subject, "iat": now_seconds, "exp": now_seconds + 300,
            "preferred_username": format!("{subject}@example.org"), "name": subject,
        })
    }

    /// Who signs in with a browser from now on: claims of the ID token beside the usual ones, or in their place.
    pub fn signs_in(&self, claims: &Value) {
        self.state.change(|inner| {
            inner.logins.who = Some(claims.clone());
            inner.logins.userinfo = json!({"sub": claims["sub"]});
        });
    }

    /// What `/userinfo` says of them.
    pub fn userinfo(&self, said: &Value) {
        self.state
            .change(|inner| inner.logins.userinfo = said.clone());
    }

    /// Which of the tokens that Globus knows a browser comes back with.
    pub fn globus_gives(&self, token: &str) {
        self.state
            .change(|inner| token.clone_into(&mut inner.logins.globus_token));
    }

    /// The user types the device's code in, and agrees.
    pub fn approve_device(&self) {
        self.state.change(|inner| inner.logins.approved = true);
    }

    /// All calls so far.
    pub fn calls(&self) -> Vec<Call> {
        self.state.read(|inner| inner.calls.clone())
    }

    pub fn calls_to(&self, path: &str) -> usize {
        self.state
            .read(|inner| inner.calls.iter().filter(|call| call.path == path).count())
    }

    /// The most calls that were under way at once.
    pub fn most_at_once(&self) -> usize {
        self.state.read(|inner| inner.most_at_once)
    }

    /// Waits until at least so many calls have come.
    pub async fn reached(&self, count: usize) {
        self.state.reached(count).await;
    }
}

impl Drop for FakeIdp {
    fn drop(&mut self) {
        self.task.abort();
    }
}
