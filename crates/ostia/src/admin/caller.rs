use http::StatusCode;
use http::header::AUTHORIZATION;
use ostia_core::{Role, ip_text};

use super::server::Admin;
use super::token::Token;
use crate::identify::{Principal, Sender, SignInError};
use crate::listen::Inbound;
use crate::people::{Actor, DeskError};
use crate::refusal::Refusal;
use crate::routes::Who;

/// Who calls the admin listener, for the audit log.
pub(super) struct Caller {
    pub name: String,
    /// The role that let the caller in; empty on routes open to everybody.
    role: &'static str,
}

impl Caller {
    pub fn actor(&self, inbound: &Inbound) -> Actor {
        Actor {
            name: self.name.clone(),
            role: self.role.to_owned(),
            address: ip_text(inbound.origin_ip),
            request_id: inbound.id.to_string(),
            reason: String::new(),
        }
    }
}

impl Admin {
    /// Lets in callers who present the state folder's token, a key with one of the roles, or a key of a manager of the
    /// project that the path names. `captures`: the values of the path's placeholders.
    pub(super) async fn admit(
        &self,
        inbound: &Inbound,
        who: Who,
        captures: &[String],
    ) -> Result<Caller, Refusal> {
        let roles = match who {
            Who::Anybody => {
                return Ok(Caller {
                    name: String::new(),
                    role: "",
                });
            }
            Who::Roles(roles) => roles,
            Who::Managers => &[],
        };
        if let Some(shown) = token_of(inbound) {
            return match self.token.is(shown) {
                true => Ok(Caller {
                    name: "token of the state folder".to_owned(),
                    role: Role::Admin.as_str(),
                }),
                false => Err(SignInError::InvalidKey.into()),
            };
        }
        let identify = self.gateway.live().identify.clone();
        let principal = identify
            .identify(&inbound.head, Sender::of(inbound))
            .await?;
        if let Some(role) = role_of(&principal, roles) {
            return Ok(Caller {
                name: principal.username.to_string(),
                role: role.as_str(),
            });
        }
        if who == Who::Managers {
            return self.manager(&principal, captures).await;
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

impl Admin {
    /// A project that does not exist and one that the caller does not manage get the same answer.
    async fn manager(&self, principal: &Principal, captures: &[String]) -> Result<Caller, Refusal> {
        let desk = self.gateway.desk(&self.gateway.live(), Actor::default());
        let named = captures.first().map_or("", String::as_str);
        let project = match desk.project_known_as(named).await {
            Ok(project) => Some(project),
            Err(DeskError::NotFound(_)) => None,
            Err(error) => return Err(error.into()),
        };
        let manages = project.is_some_and(|project| {
            project.is_open() && project.is_manager(&principal.user_id, &principal.username)
        });
        match manages {
            true => Ok(Caller {
                name: principal.username.to_string(),
                role: "manager",
            }),
            false => Err(Refusal::client(
                StatusCode::FORBIDDEN,
                "policy_denied",
                "This needs a key of a manager of the project, or one with the role admin.",
            )),
        }
    }
}

/// The role that lets the principal in: one of these, or admin, who may do everything. `None` refuses the request.
fn role_of(principal: &Principal, roles: &[Role]) -> Option<Role> {
    let enough = roles.iter().copied().chain([Role::Admin]);
    enough.into_iter().find(|role| principal.roles.has(*role))
}

fn token_of(inbound: &Inbound) -> Option<&str> {
    let mut lines = inbound.head.headers.get_all(AUTHORIZATION).iter();
    let line = lines.next()?.to_str().ok()?;
    // A request with more than one credential is refused below.
    if lines.next().is_some() {
        return None;
    }
    let (scheme, token) = line.split_once(' ')?;
    let token = token.trim();
    (scheme.eq_ignore_ascii_case("bearer") && Token::is_one(token)).then_some(token)
}
