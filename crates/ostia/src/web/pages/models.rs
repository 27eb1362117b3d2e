use maud::{Markup, html};

use crate::authorize::may_use;
use crate::cluster::ask_engines;
use crate::listings::{Offer, offers};
use crate::web::layout::{Shell, heading};
use crate::web::show::{moment, number, pill, state};
use crate::web::site::Case;
use crate::web::table::Page;
use crate::web::visitor::Visitor;

/// What one may use, how it is doing, and what one may not use yet.
pub(super) async fn page(case: &Case<'_>, visitor: &Visitor) -> Markup {
    let live = case.live;
    let all = live.catalog.deployments().iter();
    let usable: Vec<_> = all
        .filter(|one| may_use(one, &visitor.principal))
        .cloned()
        .collect();
    ask_engines(&usable, &live.backends, &*case.gateway().clock()).await;
    let offers = offers(&live.catalog, &live.notices, &visitor.principal);
    let (closed, open): (Vec<&Offer>, Vec<&Offer>) =
        offers.iter().partition(|offer| offer.hint.is_some());
    let body = html! {
        (heading("Models", "What you may use, how it is doing now, and where your prompts go."))
        div #live data-live {
            @if open.is_empty() {
                p.empty { "There is no model that you may use yet." }
            } @else { (table(case, &open)) }
            @if !closed.is_empty() {
                h2 { "Not open to you yet" }
                (closed_table(&closed))
            }
        }
    };
    Shell::of(case, visitor, "Models", Page::Models).page(&body)
}

fn table(case: &Case<'_>, offers: &[&Offer]) -> Markup {
    html! {
        div.table {
            table.stack {
                thead { tr {
                    th { "Model" } th { "State" } th.num { "Context" } th.num { "Longest answer" } th { "Prompts" }
                } }
                tbody {
                    @for offer in offers { tr {
                        td {
                            code { (offer.name) }
                            @if *offer.display_name != *offer.name { span.sub { (offer.display_name) } }
                            @if let Some(notice) = &offer.notice { span.sub { (notice) } }
                            div.chips { @for api in &offer.apis { span.chip { (api) } } }
                        }
                        td data-label="State" { (standing(case, offer)) }
                        td.num data-label="Context" { (tokens(offer.context_window)) }
                        td.num data-label="Longest answer" { (tokens(offer.max_output_tokens)) }
                        td data-label="Prompts" { (place(offer)) }
                    } }
                }
            }
        }
    }
}

fn closed_table(offers: &[&Offer]) -> Markup {
    html! {
        div.table {
            table.stack {
                thead { tr { th { "Model" } th { "How to get it" } } }
                tbody {
                    @for offer in offers { tr {
                        td { code { (offer.name) } @if *offer.display_name != *offer.name { span.sub { (offer.display_name) } } }
                        td data-label="How to get it" { (offer.hint.as_deref().unwrap_or_default()) }
                    } }
                }
            }
        }
    }
}

fn standing(case: &Case<'_>, offer: &Offer) -> Markup {
    if offer.notice.is_some() {
        return pill("fair", "under maintenance");
    }
    html! {
        (state(offer.state))
        @if let Some(at) = offer.expected_start {
            span.sub { "expected " (moment(case.live, at.saturating_mul(1_000_000))) }
        }
    }
}

fn tokens(count: Option<u64>) -> Markup {
    match count {
        Some(count) => html! { (number(count)) },
        None => html! { span.faint { "–" } },
    }
}

fn place(offer: &Offer) -> Markup {
    let names: Vec<&str> = offer.clusters.iter().map(|name| &**name).collect();
    let word = match (offer.on_site, offer.external) {
        (true, true) => "on site or outside",
        (false, true) => "leave the site",
        _ => "stay on site",
    };
    html! { span.nowrap { (word) } span.sub { (names.join(", ")) } }
}
