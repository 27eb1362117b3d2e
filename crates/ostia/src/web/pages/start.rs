use maud::{Markup, html};

use super::snippets::{a_model, snippets};
use crate::web::layout::{Shell, contact, heading};
use crate::web::site::Case;
use crate::web::table::Page;
use crate::web::visitor::Visitor;

/// What stands in the lines where the key belongs.
const KEY: &str = "YOUR_KEY";

/// The first minutes: a key, and the lines for a client.
pub(super) fn page(case: &Case<'_>, visitor: &Visitor) -> Markup {
    let model = a_model(case, visitor);
    let url = format!("{}/v1", case.public_url());
    let body = html! {
        (heading("Start", "The lines for your client. Each has this site's address and a model that you may use."))
        section.card {
            dl.facts {
                dt { "Base URL" } dd { code #base-url { (url) } " " button.plain.slim type="button" data-copy="base-url" aria-label="Copy the base URL" { "Copy" } }
                dt { "Model" } dd { @match &model { Some(model) => code { (model) }, None => span.faint { "none yet" } } }
                dt { "Key" } dd { a href=(case.to("/ui/keys")) { "Make one" } ", and put it where " code { (KEY) } " stands" }
            }
        }
        (snippets(case, visitor, KEY))
        (contact(case.live))
    };
    Shell::of(case, visitor, "Start", Page::Start).page(&body)
}
