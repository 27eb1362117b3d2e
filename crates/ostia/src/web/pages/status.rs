use std::collections::BTreeMap;

use http::Response;
use maud::{Markup, html};
use ostia_core::Identity;

use crate::authorize::{NoticeLookup as _, may_see};
use crate::catalog::Serving;
use crate::fleet::ModelState;
use crate::listings::{Offer, offers};
use crate::relay::ClientBody;
use crate::web::answer::Fault;
use crate::web::layout::{Shell, contact, heading};
use crate::web::show::{pill, state};
use crate::web::site::{Case, shown};
use crate::web::table::Page;
use crate::web::visitor::Visitor;

/// How the site is doing. Without signing in where the site says so, and then only of what is open to all.
pub(in crate::web) fn status(
    case: &Case<'_>,
    visitor: Option<&Visitor>,
) -> Result<Response<ClientBody>, Fault> {
    if visitor.is_none() && !case.live.settings.web.public_status {
        return Err(Fault::SignInFirst);
    }
    let nobody = Identity::default();
    let identity = visitor.map_or(&nobody, |visitor| &visitor.principal);
    let body = body(case, identity);
    Ok(shown(match visitor {
        Some(visitor) => Shell::of(case, visitor, "Status", Page::Status).page(&body),
        None => Shell::bare(case, "Status").page(&body),
    }))
}

fn body(case: &Case<'_>, identity: &Identity) -> Markup {
    let live = case.live;
    let offers: Vec<Offer> = offers(&live.catalog, &live.notices, identity)
        .into_iter()
        .filter(|offer| offer.hint.is_none())
        .collect();
    let down = |offer: &&Offer| offer.notice.is_none() && offer.state == ModelState::Stopped;
    let stopped = offers.iter().filter(down).count();
    let notices: BTreeMap<_, _> = live
        .catalog
        .clusters()
        .iter()
        .filter(|cluster| may_see(cluster, identity))
        .filter_map(|cluster| Some((&cluster.name, live.notices.notice(&cluster.name)?)))
        .collect();
    let failing = incidents(case, identity);
    html! {
        (heading("Status", "How the site is doing now."))
        div #live data-live {
            @if failing.is_empty() && stopped == 0 && notices.is_empty() {
                p.note.good { "Everything works." }
            } @else if failing.is_empty() && notices.is_empty() {
                p.note.fair { (stopped) " of " (offers.len()) " models are stopped." }
            }
            @for text in &failing { p.note.bad { (text) } }
            @for (cluster, text) in &notices {
                p.note.fair { strong { (cluster) } " is under maintenance: " (text) }
            }
            div.table {
                table {
                    thead { tr { th { "Model" } th { "State" } } }
                    tbody {
                        @for offer in &offers { tr {
                            td { code { (offer.name) } }
                            td { @if offer.notice.is_some() { (pill("fair", "under maintenance")) } @else { (state(offer.state)) } }
                        } }
                    }
                }
            }
            (contact(live))
        }
    }
}

/// What fails that should not, as far as somebody may know of it.
fn incidents(case: &Case<'_>, identity: &Identity) -> Vec<String> {
    let live = case.live;
    let mut models: BTreeMap<&str, (usize, usize)> = BTreeMap::new();
    for one in live.catalog.deployments() {
        let counts = one.serving == Serving::Yes && crate::authorize::may_use(one, identity);
        if counts && live.notices.notice(&one.cluster.name).is_none() {
            let (all, suspect) = models.entry(&one.model).or_default();
            *all += 1;
            *suspect += usize::from(one.state.is_suspect() || one.state.is_unreachable());
        }
    }
    let hit = models.into_iter().filter(|(_, (_, suspect))| *suspect > 0);
    hit.map(|(model, (all, suspect))| match suspect == all {
        true => format!("{model} does not answer at present."),
        false => format!("{model} answers on {} of {all} endpoints.", all - suspect),
    })
    .collect()
}
