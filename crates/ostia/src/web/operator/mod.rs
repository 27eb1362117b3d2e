//! Pages for operators, support and reporters. Each shows what the admin API says, to the same roles.

mod audit;
mod now;
mod people;
mod report;
mod requests;

use http::Response;
use ostia_core::{PersonState, Role};

use super::answer::{Fault, redirect};
use super::site::{Case, shown};
use super::table::{Desk as Place, Page};
use super::visitor::Visitor;
use crate::relay::ClientBody;

/// Somebody who was let in by a role.
pub(super) struct Officer<'a> {
    pub visitor: &'a Visitor,
    pub role: Role,
}

pub(super) async fn answer(
    case: &Case<'_>,
    visitor: &Visitor,
    page: Page,
    place: Place,
) -> Result<Response<ClientBody>, Fault> {
    let officer = admitted(case, visitor, place)?;
    Ok(match page {
        Page::Now => shown(now::page(case, &officer).await),
        Page::Drain => redirect(&now::drain(case, &officer, true).await?),
        Page::Undrain => redirect(&now::drain(case, &officer, false).await?),
        Page::Report => shown(report::page(case, &officer).await?),
        Page::ReportCsv => report::csv(case, &officer).await?,
        Page::Requests => shown(requests::find(case, &officer).await?),
        Page::Request => shown(requests::story(case, &officer).await?),
        Page::People => shown(people::list(case, &officer).await?),
        Page::Person => shown(people::person(case, &officer).await?),
        Page::DisablePerson => {
            redirect(&people::set_state(case, &officer, PersonState::Disabled).await?)
        }
        Page::EnablePerson => {
            redirect(&people::set_state(case, &officer, PersonState::Active).await?)
        }
        Page::RevokePersonKeys => redirect(&people::revoke_keys(case, &officer).await?),
        Page::RevokePersonKey => redirect(&people::revoke_key(case, &officer).await?),
        Page::Audit => shown(audit::page(case, &officer).await?),
        _ => return Err(Fault::not_found()),
    })
}

/// Elsewhere than on the operators' networks these pages do not exist.
fn admitted<'a>(case: &Case<'_>, visitor: &'a Visitor, place: Place) -> Result<Officer<'a>, Fault> {
    if !case.is_among_operators() {
        return Err(Fault::not_found());
    }
    let role = visitor.role_for(place);
    let role =
        role.ok_or_else(|| Fault::forbidden("This page needs a role that you do not have."))?;
    let now = case.gateway().clock().unix_micros();
    if !visitor.is_fresh(now, case.live.settings.web.admin_session_ttl) {
        return Err(Fault::forbidden(
            "You signed in too long ago for the pages of operators. Sign out, and sign in again.",
        ));
    }
    Ok(Officer { visitor, role })
}

impl Officer<'_> {
    pub fn desk(&self, case: &Case<'_>) -> crate::people::Desk {
        self.visitor.desk(case, Some(self.role))
    }

    pub fn may(&self, place: Place) -> bool {
        self.visitor.role_for(place).is_some()
    }
}
