use std::sync::Arc;

use http::Response;

use super::site::{Side, Site};
use crate::listen::{Handler, Inbound, Rejection};
use crate::relay::ClientBody;

/// A listener's handler with the pages before it. Everything else goes on as if they were not there.
pub struct Front<H> {
    site: Arc<Site>,
    side: Side,
    behind: Arc<H>,
}

impl<H> Front<H> {
    pub fn public(site: Arc<Site>, behind: Arc<H>) -> Self {
        Self {
            site,
            side: Side::Public,
            behind,
        }
    }

    pub fn admin(site: Arc<Site>, behind: Arc<H>) -> Self {
        Self {
            site,
            side: Side::Admin,
            behind,
        }
    }
}

impl<H: Handler<Body = ClientBody>> Handler for Front<H> {
    type Body = ClientBody;

    async fn handle(self: Arc<Self>, inbound: Inbound) -> Response<ClientBody> {
        match self.site.is_asked(self.side, &inbound.head) {
            true => Box::pin(self.site.answer(self.side, inbound)).await,
            false => Arc::clone(&self.behind).handle(inbound).await,
        }
    }

    fn reject(&self, inbound: Inbound, rejection: Rejection) -> Response<ClientBody> {
        self.behind.reject(inbound, rejection)
    }
}
