//! Pages for everybody who signs in: one file a page.

mod errors;
mod keys;
mod models;
mod projects;
mod snippets;
mod start;
mod status;
mod terms;
mod try_out;
pub(super) mod usage;

use http::Response;

use super::answer::{Fault, redirect};
use super::site::{Case, shown};
use super::table::Page;
use super::visitor::Visitor;
use crate::relay::ClientBody;

pub(super) use keys::{key_pill, narrowed, urlencoded};
pub(super) use projects::manages_any;
pub(super) use status::status;

pub(super) async fn answer(
    case: &Case<'_>,
    visitor: &Visitor,
    page: Page,
) -> Result<Response<ClientBody>, Fault> {
    Ok(match page {
        Page::Models => shown(models::page(case, visitor).await),
        Page::Keys => shown(keys::page(case, visitor).await?),
        Page::MakeKey => shown(keys::make(case, visitor).await?),
        Page::RotateKey => shown(keys::rotate(case, visitor).await?),
        Page::RevokeKey => {
            keys::revoke(case, visitor).await?;
            redirect(&case.to("/ui/keys"))
        }
        Page::Usage => shown(usage::page(case, visitor).await?),
        Page::UsageCsv => usage::csv(case, visitor).await?,
        Page::Errors => shown(errors::page(case, visitor).await?),
        Page::Start => shown(start::page(case, visitor)),
        Page::Try => shown(try_out::page(case, visitor)),
        Page::Terms => shown(terms::page(case, visitor).await?),
        Page::AcceptTerms => {
            terms::accept(case, visitor).await?;
            redirect(&case.to("/ui/keys"))
        }
        Page::Projects => shown(projects::list(case, visitor)),
        Page::Project => shown(projects::page(case, visitor).await?),
        Page::AddMember => redirect(&projects::add(case, visitor).await?),
        Page::RemoveMember => redirect(&projects::remove(case, visitor).await?),
        _ => return Err(Fault::not_found()),
    })
}
