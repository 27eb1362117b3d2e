use std::sync::Arc;

use http::{Method, Response, StatusCode, request};

use super::answer::{self, Fault, page, redirect};
use super::asked::Asked;
use super::guard::{is_for_us, is_from_us, wants_page};
use super::layout;
use super::links::Links;
use super::session::Ticket;
use super::sign_in;
use super::table::{Lost, Page, PageEntry, Who};
use super::visitor::Visitor;
use super::{operator, pages};
use crate::admin::Hosts;
use crate::gateway::{Gateway, begin_access, logged};
use crate::identify::hash_key;
use crate::listen::Inbound;
use crate::live::Live;
use crate::relay::ClientBody;
use crate::telemetry::AccessLog;

/// All pages, of both listeners.
pub struct Site {
    gateway: Arc<Gateway>,
    links: Links,
}

/// Which listener a browser came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Side {
    Public,
    Admin,
}

/// One request of a browser, while it is answered.
pub(super) struct Case<'a> {
    pub site: &'a Site,
    pub live: &'a Live,
    pub side: Side,
    pub asked: &'a Asked,
}

impl Site {
    pub fn new(gateway: Arc<Gateway>) -> Self {
        Self {
            gateway,
            links: Links::default(),
        }
    }

    /// The path of a link that signs the holder of a key in, once.
    pub fn link(&self, key: &str) -> Option<String> {
        let ticket = Ticket::new().ok()?;
        self.links
            .add(&ticket, hash_key(key), self.gateway.clock().now());
        Some(format!("/ui/enter?link={}", ticket.text()))
    }

    pub(super) const fn links(&self) -> &Links {
        &self.links
    }

    /// Whether a request is for a page. Where there are no pages, nothing is.
    pub(super) fn is_asked(&self, side: Side, head: &request::Parts) -> bool {
        let path = head.uri.path();
        // Of all that programs ask for, nothing comes further than this.
        if !(path == "/" || path.contains("/ui") || path.ends_with("/login")) {
            return false;
        }
        let live = self.gateway.live();
        let (_, path) = split(path, side, &live);
        let is_ours = match path {
            "/" => wants_page(&head.headers),
            "/ui" | "/login" => true,
            path => path.starts_with("/ui/"),
        };
        is_ours && live.settings.web.enabled
    }

    pub(super) async fn answer(&self, side: Side, inbound: Inbound) -> Response<ClientBody> {
        let live = self.gateway.live();
        let path = inbound.head.uri.path().to_owned();
        let (prefix, path) = split(&path, side, &live);
        let found = PageEntry::find(&inbound.head.method, path);
        let name = found.as_ref().map_or("/ui/*", |(entry, _)| entry.pattern);
        let mut access = begin_access(&inbound, name, &self.gateway.clock());
        let prefix = prefix.to_owned();
        let wanted = (inbound.head.method == Method::GET).then(|| {
            inbound
                .head
                .uri
                .path_and_query()
                .map_or("", |path| path.as_str())
                .to_owned()
        });
        let answered = self.attempt(&live, side, inbound, prefix.clone(), found, &mut access);
        let response = match answered.await {
            Ok(response) => response,
            Err(fault) => told(&prefix, wanted.as_deref().unwrap_or_default(), fault),
        };
        logged(response, access)
    }

    async fn attempt(
        &self,
        live: &Live,
        side: Side,
        inbound: Inbound,
        prefix: String,
        found: Result<(&'static PageEntry, Vec<String>), Lost>,
        access: &mut AccessLog,
    ) -> Result<Response<ClientBody>, Fault> {
        let server = &live.settings.server;
        let is_named = match side {
            Side::Public => is_for_us(&inbound.head, &server.public_url),
            Side::Admin => Hosts::of(server).hold(&inbound.head),
        };
        if !is_named {
            return Err(Fault::forbidden(
                "These pages do not answer under this name.",
            ));
        }
        self.gateway
            .admitter()
            .open(inbound.origin_ip, &live.settings.limits)
            .map_err(crate::refusal::Refusal::from)?;
        let (entry, captures) = found.map_err(|lost| match lost {
            Lost::NoPage => Fault::not_found(),
            Lost::OtherMethod(_) => Fault::new(
                StatusCode::METHOD_NOT_ALLOWED,
                "This page is not used that way.",
            ),
        })?;
        if inbound.head.method == Method::POST && !is_from_us(&inbound.head, &server.public_url) {
            return Err(Fault::forbidden(
                "This form was sent from another site, so nothing was done.",
            ));
        }
        let asked = Asked::read(inbound, prefix, captures).await?;
        let case = Case {
            site: self,
            live,
            side,
            asked: &asked,
        };
        if entry.page == Page::Asset {
            return layout::asset(asked.capture(0));
        }
        let visitor = Visitor::of(&case).await;
        if let Ok(Some(visitor)) = &visitor {
            access.caller(visitor.principal.identity());
        }
        self.show(case, entry, visitor).await
    }

    async fn show(
        &self,
        case: Case<'_>,
        entry: &PageEntry,
        visitor: Result<Option<Visitor>, Fault>,
    ) -> Result<Response<ClientBody>, Fault> {
        match entry.who {
            // Whoever cannot come in any more can still leave, sign in as somebody else, and see the status.
            Who::Anybody => sign_in::answer(&case, entry.page, visitor).await,
            who => {
                let visitor = visitor?.ok_or(Fault::SignInFirst)?;
                if case.asked.head.method == Method::POST {
                    check_token(&case, &visitor.form_token)?;
                }
                match who {
                    Who::Operators(place) => {
                        operator::answer(&case, &visitor, entry.page, place).await
                    }
                    _ => pages::answer(&case, &visitor, entry.page).await,
                }
            }
        }
    }
}

impl Case<'_> {
    pub fn gateway(&self) -> &Gateway {
        &self.site.gateway
    }

    /// The address of a page under the prefix that the browser came by.
    pub fn to(&self, path: &str) -> String {
        format!("{}{path}", self.asked.prefix)
    }

    /// Whether cookies are for TLS only.
    pub fn is_secure(&self) -> bool {
        self.side == Side::Public && self.live.settings.server.public_url.starts_with("https:")
    }

    /// Where people reach the gateway, as they have to write it into their clients.
    pub fn public_url(&self) -> String {
        let server = &self.live.settings.server;
        if !server.public_url.is_empty() {
            return server.public_url.clone();
        }
        let host = self.asked.head.headers.get(http::header::HOST);
        let host = host
            .and_then(|host| host.to_str().ok())
            .unwrap_or("localhost");
        format!("http://{host}{}", self.asked.prefix)
    }

    /// Whether the pages of operators are shown to this address.
    pub fn is_among_operators(&self) -> bool {
        let networks = &self.live.settings.web.admin_networks;
        let ip = self.asked.origin_ip().to_canonical();
        self.side == Side::Admin || networks.iter().any(|network| network.contains(&ip))
    }
}

/// A form has to hold what only this browser's own pages know.
pub(super) fn check_token(case: &Case<'_>, token: &str) -> Result<(), Fault> {
    match case.asked.field("token") == token {
        true => Ok(()),
        false => Err(Fault::forbidden(
            "This form is not from your present session, so nothing was done. Go back, load the page anew, and try again.",
        )),
    }
}

/// A path's prefix, and what is behind it. The admin listener has none.
fn split<'a>(path: &'a str, side: Side, live: &Live) -> (&'a str, &'a str) {
    let base = &live.settings.server.base_path;
    let behind = path
        .strip_prefix(base.as_str())
        .filter(|rest| rest.starts_with('/'));
    match behind.filter(|_| side == Side::Public) {
        Some(behind) => path.split_at(path.len() - behind.len()),
        None => ("", path),
    }
}

/// `wanted`: the page to show once somebody signed in.
fn told(prefix: &str, wanted: &str, fault: Fault) -> Response<ClientBody> {
    match fault {
        Fault::Elsewhere(to) => redirect(&to),
        Fault::SignInFirst => {
            let mut query = form_urlencoded::Serializer::new(String::new());
            query.append_pair("next", wanted);
            redirect(&format!("{prefix}/ui/login?{}", query.finish()))
        }
        Fault::Told(status, text) => answer::page(status, layout::fault(prefix, status, &text)),
    }
}

/// A page in the usual frame.
pub(super) fn shown(markup: maud::Markup) -> Response<ClientBody> {
    page(StatusCode::OK, markup)
}
