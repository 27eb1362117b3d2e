use maud::{Markup, html};

use crate::fleet::ModelState;
use crate::listings::offers;
use crate::web::layout::{Shell, heading};
use crate::web::site::Case;
use crate::web::table::Page;
use crate::web::visitor::Visitor;

/// One chat, to see whether a key works.
pub(super) fn page(case: &Case<'_>, visitor: &Visitor) -> Markup {
    let body = html! {
        (heading("Try", "One question with one of your keys, as your own programs would ask it."))
        (chat(case, visitor, ""))
    };
    Shell::of(case, visitor, "Try", Page::Try).page(&body)
}

/// The form; the page's script sends it to the public API with the key, and nowhere else.
pub(super) fn chat(case: &Case<'_>, visitor: &Visitor, key: &str) -> Markup {
    let offers = offers(&case.live.catalog, &case.live.notices, &visitor.principal);
    let chats: Vec<_> = offers
        .iter()
        .filter(|offer| {
            offer.hint.is_none() && offer.apis.iter().any(|api| **api == *"chat/completions")
        })
        .collect();
    html! {
        section.card {
            @if !key.is_empty() { h2 { "Try it" } }
            form.chat #chat data-api=(case.to("/v1/chat/completions")) autocomplete="off" {
                div.form {
                    div {
                        label for="chat-key" { "Key" }
                        input #chat-key type="password" name="key" value=(key) required placeholder="sk-ostia-…" spellcheck="false";
                    }
                    div {
                        label for="chat-model" { "Model" }
                        select #chat-model name="model" required {
                            @for offer in &chats {
                                option value=(offer.name) { (offer.name) " (" (word(offer.state)) ")" }
                            }
                        }
                    }
                    div.full {
                        label for="chat-prompt" { "Question" }
                        textarea #chat-prompt name="prompt" required { "Say hello in one sentence." }
                    }
                }
                div.row { button type="submit" { "Send" } span #told.small role="status" {} }
                output #said for="chat-prompt" aria-label="Answer" {}
                noscript { p.note { "This page needs a script; the lines under Start work without." } }
            }
        }
    }
}

fn word(state: ModelState) -> &'static str {
    match state {
        ModelState::Running => "live",
        other => other.as_str(),
    }
}
