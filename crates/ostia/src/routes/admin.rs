//! The routes of the admin listener. To add one: a line here, an arm in `admin/server.rs`, and what answers it in a file
//! of `admin`. The OpenAPI document and docs/reference/routes.md follow by themselves.

use http::Method;
use ostia_core::Role;

use super::address::decoded;

/// One route of the admin listener.
#[derive(Debug, Clone, Copy)]
pub struct AdminRoute {
    pub method: &'static str,
    /// `{name}` is one segment of the path, percent-encoded.
    pub pattern: &'static str,
    pub kind: AdminKind,
    pub who: Who,
    /// Names that its query may hold.
    pub query: &'static [&'static str],
    pub summary: &'static str,
}

/// Who is let in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Who {
    /// Everybody who reaches the listener.
    Anybody,
    /// Admins, and whoever has one of these roles.
    Roles(&'static [Role]),
    /// Admins, and the managers of the project that the path names.
    Managers,
}

/// What a route leads to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AdminKind {
    Live,
    Ready,
    Metrics,
    Document,
    Purge,
    Reload,
    Upgrade,
    Drain,
    Status,
    Now,
    Notices,
    SetNotice,
    ClearNotice,
    Config,
    Endpoints,
    Endpoint,
    DrainEndpoint,
    UndrainEndpoint,
    Clusters,
    Limits,
    Waiting,
    Usage,
    UsageRows,
    Requests,
    Users,
    User,
    PutUsers,
    DisableUser,
    EnableUser,
    RevokeKeysOf,
    Keys,
    RevokeKey,
    Projects,
    Project,
    PutProject,
    AddMembers,
    Audit,
}

impl AdminKind {
    /// Whether what it does tells the audit by itself.
    pub const fn is_of_people(self) -> bool {
        matches!(
            self,
            Self::PutUsers
                | Self::DisableUser
                | Self::EnableUser
                | Self::RevokeKeysOf
                | Self::RevokeKey
                | Self::PutProject
                | Self::AddMembers
        )
    }
}

/// Why a request has no route.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AdminLost {
    NoPath,
    /// The methods that there are, for `Allow`.
    NoMethod(String),
}

const ADMINS: Who = Who::Roles(&[]);
const OPERATORS: Who = Who::Roles(&[Role::Operator]);
const SUPPORT: Who = Who::Roles(&[Role::Support]);
const REPORTERS: Who = Who::Roles(&[Role::Reporter]);
const LOOKERS: Who = Who::Roles(&[Role::Operator, Role::Support]);

pub static ADMIN_ROUTES: &[AdminRoute] = &[
    open(
        "/health/live",
        AdminKind::Live,
        "Whether the process responds",
    ),
    AdminRoute {
        query: &["strict"],
        ..open(
            "/health/ready",
            AdminKind::Ready,
            "Whether this process should get requests; 503 if not. With `strict`, 503 for whatever is degraded too",
        )
    },
    open(
        "/metrics",
        AdminKind::Metrics,
        "Metrics as OpenMetrics text",
    ),
    open(
        "/openapi.json",
        AdminKind::Document,
        "The API as a document",
    ),
    post(
        "/admin/purge",
        AdminKind::Purge,
        ADMINS,
        "Forget what identity providers said, so that a right that was taken away is gone at once",
    ),
    AdminRoute {
        query: &["dry_run"],
        ..post(
            "/admin/reload",
            AdminKind::Reload,
            OPERATORS,
            "Read all files again and serve what they say, or nothing of it; gives the difference. With `dry_run`, only the difference",
        )
    },
    post(
        "/admin/upgrade",
        AdminKind::Upgrade,
        OPERATORS,
        "Start the binary that is installed now, hand the sockets and limits over once it is ready, and end as after a drain",
    ),
    post(
        "/admin/drain",
        AdminKind::Drain,
        OPERATORS,
        "End the process as SIGTERM does: not ready, still listening for `drain_grace`, then running requests are answered",
    ),
    get(
        "/admin/maintenance",
        AdminKind::Notices,
        LOOKERS,
        "What is under maintenance, now or later",
    ),
    AdminRoute {
        method: "PUT",
        ..post(
            "/admin/maintenance/{scope}",
            AdminKind::SetNotice,
            OPERATORS,
            "Put `all`, a cluster or `model:NAME` under maintenance: `text`, and Unix seconds `from` and `until` where it is not now and until it is cleared",
        )
    },
    AdminRoute {
        method: "DELETE",
        ..post(
            "/admin/maintenance/{scope}",
            AdminKind::ClearNotice,
            OPERATORS,
            "End it",
        )
    },
    get(
        "/admin/status",
        AdminKind::Status,
        LOOKERS,
        "The process: version, age, readiness, what it holds",
    ),
    AdminRoute {
        query: &["window"],
        ..get(
            "/admin/now",
            AdminKind::Now,
            LOOKERS,
            "What goes on: requests by outcome, tokens, quantiles of the time to the first token and errors by code of the last five minutes, or with `window` of the last hour (`1h`) or since the start (`start`)",
        )
    },
    AdminRoute {
        query: &["limit", "after", "cluster", "model"],
        ..get(
            "/admin/endpoints",
            AdminKind::Endpoints,
            LOOKERS,
            "Endpoints by slug: whether they serve, their state, and what is in flight",
        )
    },
    get(
        "/admin/endpoints/{slug}",
        AdminKind::Endpoint,
        LOOKERS,
        "One endpoint",
    ),
    post(
        "/admin/endpoints/{slug}/drain",
        AdminKind::DrainEndpoint,
        OPERATORS,
        "Send it nothing new; running requests end as they would",
    ),
    post(
        "/admin/endpoints/{slug}/undrain",
        AdminKind::UndrainEndpoint,
        OPERATORS,
        "Use it again",
    ),
    AdminRoute {
        query: &["limit", "after"],
        ..get(
            "/admin/clusters",
            AdminKind::Clusters,
            LOOKERS,
            "Clusters by name: what they are, and what is known of them",
        )
    },
    AdminRoute {
        query: &["user"],
        ..get(
            "/admin/limits",
            AdminKind::Limits,
            LOOKERS,
            "How the limits of endpoints stand; with `user`, all that hold for this user",
        )
    },
    AdminRoute {
        query: &["user"],
        ..get(
            "/admin/waiting",
            AdminKind::Waiting,
            LOOKERS,
            "Who waits, for what, since when, and how long still; with `user`, this user's requests",
        )
    },
    get(
        "/admin/config",
        AdminKind::Config,
        LOOKERS,
        "What holds for every key of ostia.toml, without secrets",
    ),
    AdminRoute {
        query: &["since", "until", "by", "user"],
        ..get(
            "/admin/usage",
            AdminKind::Usage,
            REPORTERS,
            "Requests and tokens: `?since=7d&by=model,day`. To a reporter no persons, and no group of fewer than five",
        )
    },
    AdminRoute {
        query: &["since", "until", "after", "limit"],
        ..get(
            "/admin/usage/rows",
            AdminKind::UsageRows,
            ADMINS,
            "Rows of the ledger, a page at a time",
        )
    },
    AdminRoute {
        query: &[
            "request_id",
            "user",
            "model",
            "outcome",
            "code",
            "since",
            "until",
            "before",
            "limit",
        ],
        ..get(
            "/admin/requests",
            AdminKind::Requests,
            SUPPORT,
            "Requests that somebody looks for, the newest first; by default of the last 7 days",
        )
    },
    get(
        "/admin/users",
        AdminKind::Users,
        SUPPORT,
        "Everybody who is known",
    ),
    get(
        "/admin/users/{user}",
        AdminKind::User,
        SUPPORT,
        "Whoever has this name, with identities and keys",
    ),
    AdminRoute {
        method: "PUT",
        ..get(
            "/admin/users",
            AdminKind::PutUsers,
            ADMINS,
            "What an allocation system says of users, which vouches for them; the same twice changes nothing",
        )
    },
    AdminRoute {
        query: &["reason"],
        ..post(
            "/admin/users/{user}/disable",
            AdminKind::DisableUser,
            SUPPORT,
            "Keep a user out: keys, sessions, waiting and running requests end within a second",
        )
    },
    AdminRoute {
        query: &["reason"],
        ..post(
            "/admin/users/{user}/enable",
            AdminKind::EnableUser,
            SUPPORT,
            "Let a disabled user in again",
        )
    },
    post(
        "/admin/users/{user}/revoke-keys",
        AdminKind::RevokeKeysOf,
        SUPPORT,
        "Revoke every key of a user",
    ),
    AdminRoute {
        query: &["user"],
        ..get(
            "/admin/keys",
            AdminKind::Keys,
            SUPPORT,
            "API keys, without the keys themselves",
        )
    },
    post(
        "/admin/keys/{id}/revoke",
        AdminKind::RevokeKey,
        SUPPORT,
        "Revoke a key",
    ),
    get("/admin/projects", AdminKind::Projects, SUPPORT, "Projects"),
    get(
        "/admin/projects/{external_id}",
        AdminKind::Project,
        SUPPORT,
        "A project by its external id, its name or its id",
    ),
    AdminRoute {
        method: "PUT",
        ..get(
            "/admin/projects/{external_id}",
            AdminKind::PutProject,
            ADMINS,
            "What an allocation system says of a project; the same twice changes nothing",
        )
    },
    post(
        "/admin/projects/{external_id}/members",
        AdminKind::AddMembers,
        Who::Managers,
        "Add `members` to a project; its managers may",
    ),
    AdminRoute {
        query: &[
            "since", "until", "actor", "action", "object", "before", "limit",
        ],
        ..get(
            "/admin/audit",
            AdminKind::Audit,
            ADMINS,
            "What was done about users, keys, projects and the gateway, the newest first",
        )
    },
];

impl AdminRoute {
    /// The route of a request, and the decoded segments that its placeholders stand for.
    pub fn find(method: &Method, path: &str) -> Result<(&'static Self, Vec<String>), AdminLost> {
        let asked = match method.as_str() {
            "HEAD" => "GET",
            other => other,
        };
        let mut allow = Vec::new();
        for route in ADMIN_ROUTES {
            let Some(captures) = captures(route.pattern, path) else {
                continue;
            };
            if route.method == asked {
                return Ok((route, captures));
            }
            allow.push(route.method);
            if route.method == "GET" {
                allow.push("HEAD");
            }
        }
        match allow.is_empty() {
            true => Err(AdminLost::NoPath),
            false => Err(AdminLost::NoMethod(allow.join(", "))),
        }
    }
}

fn captures(pattern: &str, path: &str) -> Option<Vec<String>> {
    let (mut parts, mut segments) = (pattern.split('/'), path.split('/'));
    let mut captures = Vec::new();
    loop {
        match (parts.next(), segments.next()) {
            (None, None) => return Some(captures),
            (Some(part), Some(segment)) if part.starts_with('{') && !segment.is_empty() => {
                captures.push(decoded(segment).into_owned());
            }
            (Some(part), Some(segment)) if part == segment => {}
            _ => return None,
        }
    }
}

const fn open(pattern: &'static str, kind: AdminKind, summary: &'static str) -> AdminRoute {
    get(pattern, kind, Who::Anybody, summary)
}

const fn get(
    pattern: &'static str,
    kind: AdminKind,
    who: Who,
    summary: &'static str,
) -> AdminRoute {
    AdminRoute {
        method: "GET",
        pattern,
        kind,
        who,
        query: &[],
        summary,
    }
}

const fn post(
    pattern: &'static str,
    kind: AdminKind,
    who: Who,
    summary: &'static str,
) -> AdminRoute {
    AdminRoute {
        method: "POST",
        ..get(pattern, kind, who, summary)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_route_is_found_and_its_siblings_are_not() {
        for route in ADMIN_ROUTES {
            let path: String = route
                .pattern
                .split('/')
                .map(|part| if part.starts_with('{') { "a%2Fb" } else { part })
                .collect::<Vec<_>>()
                .join("/");
            let method: Method = route.method.parse().unwrap();
            let (found, captures) = AdminRoute::find(&method, &path).unwrap();
            assert_eq!(found.pattern, route.pattern);
            assert!(captures.iter().all(|capture| capture == "a/b"));
            for sibling in [format!("{path}/"), format!("/{path}"), path.to_uppercase()] {
                assert_eq!(
                    AdminRoute::find(&method, &sibling).err(),
                    Some(AdminLost::NoPath),
                    "{sibling}"
                );
            }
            assert!(matches!(
                AdminRoute::find(&Method::PATCH, &path),
                Err(AdminLost::NoMethod(allow)) if allow.contains(route.method)
            ));
        }
    }

    #[test]
    fn only_health_metrics_and_the_document_are_open() {
        let open = ADMIN_ROUTES
            .iter()
            .filter(|route| route.who == Who::Anybody);
        let open: Vec<_> = open.map(|route| route.pattern).collect();
        let expected = ["/health/live", "/health/ready", "/metrics", "/openapi.json"];
        assert_eq!(open, expected);
    }
}
