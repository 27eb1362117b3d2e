use http::StatusCode;
use http::header::AUTHORIZATION;
use ostia_core::Role;

use super::server::Admin;
use super::token::Token;
use crate::identify::{Principal, Sender, SignInError};
use crate::listen::Inbound;
use crate::refusal::Refusal;
use crate::routes::Who;

/// Who calls the admin listener, for the audit log.
pub(super) struct Caller {
    pub name: String,
}

impl Admin {
    /// Lets in whoever shows the state folder's token, or a key with one of the roles.
    pub(super) async fn admit(&self, inbound: &Inbound, who: Who) -> Result<Caller, Refusal> {
        let Who::Roles(roles) = who else {
            return Ok(Caller {
                name: String::new(),
            });
        };
        if let Some(shown) = token_of(inbound) {
            return match self.token.is(shown) {
                true => Ok(Caller {
                    name: "token of the state folder".to_owned(),
                }),
                false => Err(SignInError::InvalidKey.into()),
            };
        }
        let identify = self.gateway.live().identify.clone();
        let principal = identify
            .identify(&inbound.head, Sender::of(inbound))
            .await?;
        if may(&principal, roles) {
            return Ok(Caller {
                name: principal.username.to_string(),
            });
        }
        let words: Vec<&str> = std::iter::once(Role::Admin)
            .chain(roles.iter().copied())
            .map(Role::as_str)
            .collect();
        Err(Refusal::client(
            StatusCode::FORBIDDEN,
            "policy_denied",
            format!(
                "This needs a key with one of these roles: {}.",
                words.join(", ")
            ),
        ))
    }
}

/// An admin may do everything.
fn may(principal: &Principal, _roles: &[Role]) -> bool {
    principal.admin
}

fn token_of(inbound: &Inbound) -> Option<&str> {
    let mut lines = inbound.head.headers.get_all(AUTHORIZATION).iter();
    let line = lines.next()?.to_str().ok()?;
    // More than one credential is refused with the others.
    if lines.next().is_some() {
        return None;
    }
    let (scheme, token) = line.split_once(' ')?;
    let token = token.trim();
    (scheme.eq_ignore_ascii_case("bearer") && Token::is_one(token)).then_some(token)
}
