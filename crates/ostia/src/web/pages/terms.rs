use maud::{Markup, html};

use crate::web::answer::Fault;
use crate::web::layout::{Shell, heading};
use crate::web::site::Case;
use crate::web::table::Page;
use crate::web::visitor::Visitor;

/// Whether somebody has to accept the site's terms before they get a key.
pub(super) async fn are_due(case: &Case<'_>, visitor: &Visitor) -> Result<bool, Fault> {
    let Some(terms) = &case.live.settings.web.terms else {
        return Ok(false);
    };
    let desk = visitor.desk(case, None);
    let accepted = desk.accepted_terms(&visitor.principal.user_id).await?;
    Ok(accepted.as_deref() != Some(&*terms.version))
}

pub(super) async fn page(case: &Case<'_>, visitor: &Visitor) -> Result<Markup, Fault> {
    let terms = case
        .live
        .settings
        .web
        .terms
        .as_ref()
        .ok_or_else(Fault::not_found)?;
    let is_due = are_due(case, visitor).await?;
    let about = format!("Version {}.", terms.version);
    let body = html! {
        (heading("Terms", &about))
        article.card.terms {
            @for paragraph in terms.text.split("\n\n").map(str::trim).filter(|text| !text.is_empty()) {
                p { (paragraph) }
            }
        }
        @if is_due {
            form method="post" action=(case.to("/ui/terms")) {
                input type="hidden" name="token" value=(visitor.form_token);
                input type="hidden" name="version" value=(terms.version);
                button type="submit" { "I accept these terms" }
            }
        } @else { p.note.good { "You accepted this version." } }
    };
    Ok(Shell::of(case, visitor, "Terms", Page::Terms).page(&body))
}

/// Only what was shown is accepted: the version may have changed since.
pub(super) async fn accept(case: &Case<'_>, visitor: &Visitor) -> Result<(), Fault> {
    let terms = case
        .live
        .settings
        .web
        .terms
        .as_ref()
        .ok_or_else(Fault::not_found)?;
    if case.asked.field("version") != terms.version {
        return Err(Fault::Elsewhere(case.to("/ui/terms")));
    }
    let desk = visitor.desk(case, None);
    desk.accept_terms(&visitor.principal.user_id, &terms.version)
        .await?;
    Ok(())
}
