//! In: a method and a path. Out: their [`Route`], or [`Lost`].
//! Here: the one table of public routes ([`ROUTES`]), from which the OpenAPI document and the page of routes are made;
//! what browser pages of other origins may do. Not here: what the routes do, who may use them.

mod address;
mod admin;
mod astray;
mod cors;
mod openapi;
mod page;
mod pattern;
mod table;
#[cfg(test)]
mod tests;

use std::borrow::Cow;
use std::sync::LazyLock;

use http::Method;

pub use address::Address;
pub use admin::{ADMIN_ROUTES, AdminKind, AdminLost, AdminRoute, Who};
pub use astray::Astray;
pub use cors::{Cors, is_origin, origin};
pub use openapi::openapi;
pub use page::{CONTENT_SECURITY_POLICY, page};
pub use table::{ROUTES, RouteEntry, RouteKind};

use crate::catalog::Scope;
use crate::dialect::{Api, Dialect, PLAIN};
use address::decoded;
pub use pattern::plain as is_plain_segment;
use pattern::{Captures, Pattern, Segments};

/// First path segments that are the gateway's own.
pub(crate) const RESERVED_CLUSTERS: [&str; 16] = [
    "openai",
    "ui",
    "oauth",
    "models",
    "login",
    "v1",
    "health",
    "status",
    "whoami",
    "list-endpoints",
    "docs",
    "admin",
    "api",
    "data",
    "metrics",
    "resource_server",
];

/// Whether a name may be no cluster's: it is one of these, or `/v1` as some base URLs have it.
pub(crate) fn is_reserved(name: &str) -> bool {
    RESERVED_CLUSTERS.contains(&name) || name.eq_ignore_ascii_case("v1")
}

/// What a path leads to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Route<'a> {
    Home,
    Health,
    Status,
    OpenApi,
    Docs,
    Whoami,
    Limits,
    Me,
    Usage,
    ListEndpoints,
    /// The models of a framework, or all.
    Models(Scope<'a>),
    /// One of them, by its decoded name.
    Model(Scope<'a>, Cow<'a, str>),
    /// What a cluster's scheduler says.
    Jobs(&'a str),
    /// The models of a cluster with their limits.
    ClusterModels(&'a str),
    /// A lease on an endpoint, by its slug.
    Register(&'a str),
    /// Inference on a cluster's framework, or on any deployment of the model.
    Inference(Address<'a>),
    /// A response that a backend stores, by its id.
    Stored(Address<'a>, &'a str),
    /// An API that would mix users' data behind one key, or is not served yet. `like`: the API whose clients ask for it.
    NotServed {
        like: &'static str,
    },
}

/// Why a request has no route.
#[derive(Debug, Clone)]
pub enum Lost {
    /// `astray`: what is probably wrong with the client's base URL.
    NoPath {
        astray: Option<Astray>,
        dialect: &'static dyn Dialect,
    },
    /// The path supports other methods, which `allow` lists. `open`: anyone may be told.
    NoMethod {
        allow: String,
        open: bool,
        dialect: &'static dyn Dialect,
    },
}

/// The patterns of [`ROUTES`], in its order.
static PATTERNS: LazyLock<Vec<Pattern>> = LazyLock::new(|| {
    ROUTES
        .iter()
        .map(|entry| Pattern::of(entry.pattern))
        .collect()
});

impl<'a> Route<'a> {
    /// Finds the route of a path, with or without the base path.
    pub fn find(method: &Method, path: &'a str, base_path: &str) -> Result<Self, Lost> {
        let inner = without_base(path, base_path);
        let found = match inner == "/" && path != "/" {
            // The base path itself is not a page.
            true => Err(Others::default()),
            false => Self::matching(method, inner),
        };
        found.map_err(|others| {
            let own = path.strip_suffix(inner).unwrap_or(path);
            others.lost(own, inner, reads(method))
        })
    }

    /// Finds the route of a path without the base path, or the methods that it supports. Routes that take any name do not
    /// take that of another route.
    fn matching(method: &Method, path: &'a str) -> Result<Self, Others> {
        let found = Self::in_table(method, path);
        let takes_any_name = match &found {
            Ok(Self::Inference(address)) => !address.api.is_listed(),
            Ok(Self::Model(..) | Self::Stored(..) | Self::NotServed { .. }) => true,
            Ok(_) => false,
            Err(others) => !others.methods.is_empty(),
        };
        match takes_any_name
            && astray::without_route(path, reads(method), &leads_somewhere).is_some()
        {
            true => Err(Others::default()),
            false => found,
        }
    }

    fn in_table(method: &Method, path: &'a str) -> Result<Self, Others> {
        let Some(segments) = Segments::of(path) else {
            return Err(Others::default());
        };
        let mut others = Others::default();
        for (entry, pattern) in ROUTES.iter().zip(&*PATTERNS) {
            let route = pattern
                .captures(&segments)
                .and_then(|captures| Self::of(entry.kind, &captures));
            let Some(route) = route else { continue };
            if entry.answers(method) {
                return Ok(route);
            }
            others.note(entry, &route);
            if matches!(route, Self::Models(_) | Self::Model(..)) {
                break;
            }
        }
        Err(others)
    }

    fn of(kind: RouteKind, captures: &Captures<'a>) -> Option<Self> {
        Some(match kind {
            RouteKind::Home => Self::Home,
            RouteKind::Health => Self::Health,
            RouteKind::Status => Self::Status,
            RouteKind::OpenApi => Self::OpenApi,
            RouteKind::Docs => Self::Docs,
            RouteKind::Whoami => Self::Whoami,
            RouteKind::Limits => Self::Limits,
            RouteKind::Me => Self::Me,
            RouteKind::Usage => Self::Usage,
            RouteKind::ListEndpoints => Self::ListEndpoints,
            RouteKind::Models => Self::Models(captures.scope()),
            RouteKind::Model => Self::Model(captures.scope(), decoded(captures.rest)),
            RouteKind::Jobs => Self::Jobs(captures.cluster),
            RouteKind::ClusterModels => Self::ClusterModels(captures.cluster),
            RouteKind::Register => Self::Register(captures.rest),
            RouteKind::Inference => Self::Inference(Address::of(captures)?),
            RouteKind::Stored => Self::Stored(Address::of_stored(captures), captures.rest),
            RouteKind::NotServed { like } => {
                let is_api = Api::parse(&format!("{like}/{}", captures.rest)).is_listed();
                return (!is_api).then_some(Self::NotServed { like });
            }
        })
    }

    /// The name in logs and metrics. The set is small, and no caller can add to it.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Home => "/",
            Self::Health => "/health",
            Self::Status => "/status",
            Self::OpenApi => "/openapi.json",
            Self::Docs => "/docs",
            Self::Whoami => "/whoami",
            Self::Limits => "/v1/limits",
            Self::Me => "/v1/me",
            Self::Usage => "/v1/usage",
            Self::ListEndpoints => "/list-endpoints",
            Self::Models(Scope::Everywhere) => "/v1/models",
            Self::Models(_) => "/{cluster}/{framework}/v1/models",
            Self::Model(Scope::Everywhere, _) => "/v1/models/{id}",
            Self::Model(..) => "/{cluster}/{framework}/v1/models/{id}",
            Self::Jobs(_) => "/{cluster}/jobs",
            Self::ClusterModels(_) => "/{cluster}/models",
            Self::Inference(Address { model: Some(_), .. }) => "/openai/deployments/{model}/{api}",
            Self::Inference(Address {
                scope: Scope::Everywhere,
                ..
            }) => "/v1/{api}",
            Self::Inference(_) => "/{cluster}/{framework}/v1/{api}",
            Self::Register(_) => "/v1/register/{slug}",
            Self::Stored(..) => "/v1/responses/{id}",
            Self::NotServed { .. } => "not_served",
        }
    }

    /// The dialect for errors, whatever is wrong with the request.
    pub fn dialect(&self) -> &'static dyn Dialect {
        match self {
            Self::Inference(address) | Self::Stored(address, _) => address.api.dialect(),
            Self::NotServed { like } => Api::parse(like).dialect(),
            _ => PLAIN,
        }
    }

    /// Open to everyone, without signing in.
    pub const fn is_open(&self) -> bool {
        matches!(
            self,
            Self::Home | Self::Health | Self::Status | Self::OpenApi | Self::Docs
        )
    }
}

impl Lost {
    /// Like [`Route::dialect`].
    pub fn dialect(&self) -> &'static dyn Dialect {
        match self {
            Self::NoPath { dialect, .. } | Self::NoMethod { dialect, .. } => *dialect,
        }
    }
}

fn reads(method: &Method) -> bool {
    method == Method::GET || method == Method::HEAD
}

fn leads_somewhere(path: &str) -> bool {
    let found = Route::in_table(&Method::POST, path);
    !matches!(found, Err(Others { methods, .. }) if methods.is_empty())
}

fn without_base<'a>(path: &'a str, base_path: &str) -> &'a str {
    path.strip_prefix(base_path)
        .filter(|rest| rest.starts_with('/'))
        .unwrap_or(path)
}

/// The methods that a path supports, collected while the requested one is not found.
#[derive(Default)]
struct Others {
    methods: Vec<&'static str>,
    open: bool,
    dialect: Option<&'static dyn Dialect>,
}

impl Others {
    fn note(&mut self, entry: &RouteEntry, route: &Route<'_>) {
        self.open |= route.is_open();
        self.dialect.get_or_insert(route.dialect());
        for method in entry.methods {
            if !self.methods.contains(method) {
                self.methods.push(method);
            }
        }
    }

    /// `own`: the part of the path that is the gateway's base path.
    fn lost(self, own: &str, path: &str, reads: bool) -> Lost {
        match self.methods.is_empty() {
            true => {
                let astray = astray::astray(path, reads, leads_somewhere);
                let meant = astray.as_ref().map_or(path, |astray| &astray.meant);
                Lost::NoPath {
                    dialect: astray::dialect_of(meant),
                    astray: astray.map(|astray| Astray {
                        meant: format!("{own}{}", astray.meant),
                        ..astray
                    }),
                }
            }
            false => Lost::NoMethod {
                allow: self.methods.join(", "),
                open: self.open,
                dialect: self.dialect.unwrap_or(PLAIN),
            },
        }
    }
}
