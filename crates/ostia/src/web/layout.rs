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
                a.brand href=(self.case.to("/ui")) { (mark(28)) "Ostia" }
                @if let Some(visitor) = self.visitor { (self.account(visitor)) }
            }
            @if let Some(visitor) = self.visitor { (self.navigation(visitor)) }
            main #main tabindex="-1" { (body) }
        };
        document(prefix, self.title, &framed)
    }

    fn account(&self, visitor: &Visitor) -> Markup {
        let principal = &visitor.principal;
        let name = match principal.username.is_empty() {
            true => &principal.user_id,
            false => &principal.username,
        };
        html! {
            form.account method="post" action=(self.case.to("/ui/logout")) {
                input type="hidden" name="token" value=(visitor.form_token);
                span.who title=(principal.user_id) { (name) }
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
        html! { li { a href=(self.case.to(path)) aria-current=[current] { (icon(page)) (text) } } }
    }
}

/// A page that says why there is none.
pub(super) fn fault(prefix: &str, status: StatusCode, text: &str) -> Markup {
    let title = status.canonical_reason().unwrap_or("Something is wrong");
    let body = html! {
        header.top { a.brand href=(format!("{prefix}/ui")) { (mark(28)) "Ostia" } }
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
pub(super) fn mark(size: u8) -> Markup {
    html! {
        svg.mark viewBox="0 0 32 32" width=(size) height=(size) aria-hidden="true" focusable="false" {
            path class="arch" d="M5 23V15a11 11 0 0 1 22 0v8" {}
            path class="water" d="M3 27c2.2-2 4.300-2 6.500 0s4.300 2 6.500 0 4.300-2 6.500 0 4.300 2 6.500 0" {}
        }
    }
}

/// A small picture of a page, for the navigation.
fn icon(page: Page) -> Markup {
    let lines = match page {
        Page::Models => "M10 2.5 17 6.3v7.4l-7 3.8-7-3.8V6.3zM3 6.3l7 3.7 7-3.7M10 10v7.5",
        Page::Keys => "M9.3 10.7A4 4 0 1 1 11.5 12l-1.3 1.3H8.5V15H6.8v1.7H3v-3z",
        Page::Start => "M2.5 4h15v12h-15zM6 8l2.3 2L6 12M10.5 12.5H14",
        Page::Try => "M3 4h14v9.5H9.5L6 17v-3.5H3z",
        Page::Usage => "M2.5 17h15M5.5 14V9.5M10 14V4M14.5 14V7",
        Page::Errors => "M10 3l7.5 13.5h-15zM10 8v4M10 14v.5",
        Page::Projects => "M2.5 4.5h5l2 2.5h8v9.5h-15z",
        Page::Status => "M2 10.5h3.5l2.5-6 4 11 2.5-5H18",
        Page::Terms => "M5 2.5h7l3.5 3.5v11.5H5zM8 9.5h5M8 13h5",
        Page::Now => "M3.5 15a7.5 7.5 0 1 1 13 0M10 12.5l3-4.5",
        Page::Report => "M9.5 3.5a7 7 0 1 0 7 7h-7zM12.5 2.5a5 5 0 0 1 5 5h-5z",
        Page::Requests => "M9 3.5a5.5 5.5 0 1 0 0 11 5.5 5.5 0 0 0 0-11M13 13l4.5 4.5",
        Page::People => {
            "M7.5 10a3 3 0 1 0 0-6 3 3 0 0 0 0 6M2 16.5c.3-3 2.5-4.5 5.5-4.5s5.2 1.5 5.5 4.5M13 4.3a3 3 0 0 1 0 5.4M15 12.5c1.8.6 2.8 2 3 4"
        }
        Page::Audit => {
            "M10 2.5 16.5 5v4.5c0 4-2.6 6.7-6.5 8-3.9-1.3-6.5-4-6.5-8V5zM7 10l2.2 2.2L13 8.3"
        }
        _ => "",
    };
    html! {
        svg.icon viewBox="0 0 20 20" width="18" height="18" aria-hidden="true" focusable="false" { path d=(lines) {} }
    }
}
