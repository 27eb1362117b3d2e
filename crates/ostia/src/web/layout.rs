use http::{Response, StatusCode};
use maud::{DOCTYPE, Markup, html};

use super::answer::{self, Fault};
use super::site::Case;
use super::table::{Desk as Place, Page};
use super::visitor::Visitor;
use crate::live::Live;
use crate::relay::ClientBody;

const STYLE: &str = include_str!("assets/style.css");
const SCRIPT: &str = include_str!("assets/page.js");
const ICON: &str = include_str!("assets/icon.svg");
const VERSION: &str = env!("CARGO_PKG_VERSION");

/// A page's frame: title, navigation, and who is signed in.
pub(super) struct Shell<'a> {
    case: &'a Case<'a>,
    visitor: Option<&'a Visitor>,
    title: &'a str,
    /// Which entry of the navigation is meant.
    active: Option<Page>,
}

/// The files that pages are made with.
pub(super) fn asset(name: &str) -> Result<Response<ClientBody>, Fault> {
    match name {
        "style.css" => Ok(answer::asset("text/css; charset=utf-8", STYLE.as_bytes())),
        "page.js" => Ok(answer::asset(
            "text/javascript; charset=utf-8",
            SCRIPT.as_bytes(),
        )),
        "icon.svg" => Ok(answer::asset("image/svg+xml", ICON.as_bytes())),
        _ => Err(Fault::not_found()),
    }
}

/// Changes with every build whose files differ, so that browsers keep none that is old.
fn stamp() -> String {
    let both = format!("{STYLE}{SCRIPT}{ICON}");
    hex::encode(&crate::identify::hash_key(&both)[..6])
}

impl<'a> Shell<'a> {
    /// Of somebody who is not signed in.
    pub const fn bare(case: &'a Case<'a>, title: &'a str) -> Self {
        Self {
            case,
            visitor: None,
            title,
            active: None,
        }
    }

    pub const fn of(
        case: &'a Case<'a>,
        visitor: &'a Visitor,
        title: &'a str,
        active: Page,
    ) -> Self {
        Self {
            case,
            visitor: Some(visitor),
            title,
            active: Some(active),
        }
    }

    pub fn page(&self, body: &Markup) -> Markup {
        let prefix = &self.case.asked.prefix;
        let framed = html! {
            a.skip href="#main" { "Skip to the page" }
            header.top {
                a.brand href=(self.case.to("/ui")) { (mark()) "Ostia" }
                @if let Some(visitor) = self.visitor { (self.account(visitor)) }
            }
            @if let Some(visitor) = self.visitor { (self.navigation(visitor)) }
            main #main tabindex="-1" { (body) }
        };
        document(prefix, self.title, &framed)
    }

    fn account(&self, visitor: &Visitor) -> Markup {
        let principal = &visitor.principal;
        html! {
            form.account method="post" action=(self.case.to("/ui/logout")) {
                input type="hidden" name="token" value=(visitor.form_token);
                span.who title=(principal.user_id) { (principal.reported_name()) }
                button.plain type="submit" { "Sign out" }
            }
        }
    }

    fn navigation(&self, visitor: &Visitor) -> Markup {
        let manages = super::pages::manages_any(self.case, visitor);
        let live = self.case.live;
        html! {
            nav.side aria-label="Pages" {
                ul {
                    (self.item(Page::Models, "/ui/models", "Models"))
                    (self.item(Page::Keys, "/ui/keys", "Keys"))
                    (self.item(Page::Start, "/ui/start", "Start"))
                    (self.item(Page::Try, "/ui/try", "Try"))
                    (self.item(Page::Usage, "/ui/usage", "Usage"))
                    (self.item(Page::Errors, "/ui/errors", "My errors"))
                    @if manages { (self.item(Page::Projects, "/ui/projects", "Projects")) }
                    (self.item(Page::Status, "/ui/status", "Status"))
                    @if live.settings.web.terms.is_some() { (self.item(Page::Terms, "/ui/terms", "Terms")) }
                }
                @if self.case.is_among_operators() { (self.operators(visitor)) }
            }
        }
    }

    fn operators(&self, visitor: &Visitor) -> Markup {
        let may = |place| visitor.role_for(place).is_some();
        let places = [
            Place::Operations,
            Place::Reports,
            Place::Support,
            Place::Audit,
        ];
        html! {
            @if places.into_iter().any(may) {
                h2.group { "Operate" }
                ul {
                    @if may(Place::Operations) { (self.item(Page::Now, "/ui/now", "Now")) }
                    @if may(Place::Reports) { (self.item(Page::Report, "/ui/report", "Usage of all")) }
                    @if may(Place::Support) { (self.item(Page::Requests, "/ui/requests", "Requests")) }
                    @if may(Place::Support) { (self.item(Page::People, "/ui/people", "People")) }
                    @if may(Place::Audit) { (self.item(Page::Audit, "/ui/audit", "Audit")) }
                }
            }
        }
    }

    fn item(&self, page: Page, path: &str, text: &str) -> Markup {
        let current = (self.active == Some(page)).then_some("page");
        html! { li { a href=(self.case.to(path)) aria-current=[current] { (text) } } }
    }
}

/// A page that says why there is none.
pub(super) fn fault(prefix: &str, status: StatusCode, text: &str) -> Markup {
    let title = status.canonical_reason().unwrap_or("Something is wrong");
    let body = html! {
        header.top { a.brand href=(format!("{prefix}/ui")) { (mark()) "Ostia" } }
        main #main {
            section.door {
                p.code { (status.as_u16()) }
                h1 { (title) }
                p.lead { (text) }
                p { a.button href=(format!("{prefix}/ui")) { "Back to the pages" } }
            }
        }
    };
    document(prefix, title, &body)
}

/// Whom to ask.
pub(super) fn contact(live: &Live) -> Markup {
    let contact = &live.settings.web.contact;
    let href = match contact.contains('@') && !contact.contains("://") {
        true => format!("mailto:{contact}"),
        false => contact.clone(),
    };
    let is_link = href.starts_with("mailto:") || href.starts_with("https://");
    html! {
        @if !contact.is_empty() {
            p.small { "Questions? "
                @if is_link { a href=(href) { (contact) } } @else { (contact) }
            }
        }
    }
}

/// What every page begins with: its name, and one sentence.
pub(super) fn heading(title: &str, about: &str) -> Markup {
    html! {
        div.heading {
            h1 { (title) }
            p.lead { (about) }
        }
    }
}

fn document(prefix: &str, title: &str, body: &Markup) -> Markup {
    let at = |name: &str| format!("{prefix}/ui/assets/{name}?v={}", stamp());
    html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="color-scheme" content="light dark";
                title { (title) " · Ostia" }
                link rel="icon" type="image/svg+xml" href=(at("icon.svg"));
                link rel="stylesheet" href=(at("style.css"));
                script src=(at("page.js")) defer {}
            }
            body { (body) footer.foot { "Ostia " (VERSION) } }
        }
    }
}

/// The arch of a harbour's gate, and the water under it.
fn mark() -> Markup {
    html! {
        svg.mark viewBox="0 0 32 32" width="28" height="28" aria-hidden="true" focusable="false" {
            path class="arch" d="M5 23V15a11 11 0 0 1 22 0v8" {}
            path class="water" d="M3 27c2.2-2 4.300-2 6.500 0s4.300 2 6.500 0 4.300-2 6.500 0 4.300 2 6.500 0" {}
        }
    }
}
