use std::sync::Arc;

use http::Response;
use ostia_core::Clock;

use crate::listen::Inbound;
use crate::relay::ClientBody;
use crate::telemetry::AccessLog;

/// The route in the access log of a request that has none.
pub(crate) const NO_ROUTE: &str = "none";

pub(crate) fn begin_access(
    inbound: &Inbound,
    route: &'static str,
    clock: &Arc<dyn Clock>,
) -> AccessLog {
    let Inbound {
        id,
        origin_ip,
        received,
        ..
    } = *inbound;
    let asked = (&inbound.head.method, inbound.head.uri.path());
    let quiet = || inbound.guest.told();
    AccessLog::begin(id, asked, route, origin_ip, received, clock, quiet)
}

/// Writes the access event when the response ends.
pub(crate) fn logged(
    response: Response<ClientBody>,
    mut access: AccessLog,
) -> Response<ClientBody> {
    access.status(response.status());
    response.map(|body| body.logged(access))
}
