//! The two calls of an engine's registrar: where the engine is, and that it is gone.

use std::time::Duration;

use http::header::{CONNECTION, UPGRADE};
use http::{HeaderValue, Method, Response, StatusCode};
use http_body_util::{BodyExt as _, Limited};
use serde_json::{Value, json};

use crate::gateway::{Gateway, empty_answer, json_answer};
use crate::identify::Principal;
use crate::listen::{Inbound, REPLICA, TUNNEL, Turning};
use crate::live::Live;
use crate::refusal::Refusal;
use crate::register::{Asked, Given, RegisterFault, TunnelAsked, registrar};
use crate::relay::ClientBody;

const LONGEST: usize = 16 << 10;
const PATIENCE: Duration = Duration::from_secs(10);
/// How often a lease is renewed within its lifetime.
const RENEWALS: f64 = 3.0;

pub(super) async fn answer(
    gateway: &Gateway,
    live: &Live,
    inbound: &mut Inbound,
    principal: &Principal,
    slug: &str,
) -> Result<Response<ClientBody>, Refusal> {
    // Bodies of other callers are not read.
    registrar(principal)?;
    let board = gateway.board();
    if inbound.head.method == Method::GET {
        return tunnel(gateway, live, inbound, principal, slug);
    }
    if inbound.head.method == Method::DELETE {
        let query = inbound.head.uri.query().unwrap_or_default();
        let named = form_urlencoded::parse(query.as_bytes()).find(|(name, _)| name == "lease");
        let lease = named.map(|(_, value)| value).unwrap_or_default();
        let given = board.give_back(&live.catalog, principal, slug, &lease);
        return match given.await? {
            true => Ok(empty_answer()),
            false => Err(RegisterFault::Gone.into()),
        };
    }
    let asked = Asked::read(&body(inbound).await?)?;
    let given = board.hold(&live.catalog, principal, slug, asked).await?;
    let status = match given.new {
        true => StatusCode::CREATED,
        false => StatusCode::OK,
    };
    Ok(json_answer(status, &shown(&given)))
}

fn tunnel(
    gateway: &Gateway,
    live: &Live,
    inbound: &mut Inbound,
    principal: &Principal,
    slug: &str,
) -> Result<Response<ClientBody>, Refusal> {
    let query = inbound.head.uri.query().unwrap_or_default().to_owned();
    let named = |name: &str| {
        let mut pairs = form_urlencoded::parse(query.as_bytes());
        pairs.find_map(|(key, value)| (key == name).then(|| value.into_owned()))
    };
    let most = named("max_in_flight").map_or(Ok(0), |text| text.parse());
    let most =
        most.map_err(|_| RegisterFault::Value("max_in_flight", "is not a number".to_owned()))?;
    let held = named("held").unwrap_or_default();
    let asked = TunnelAsked {
        path: named("path").unwrap_or_default(),
        max_in_flight: most,
        held: held.split(',').map(str::to_owned).collect(),
        origin: inbound.origin_ip,
    };
    let turning = Turning::of(&mut inbound.head, &inbound.guest);
    let board = gateway.board();
    let replica = board.turn(&live.catalog, principal, slug, &asked, turning)?;
    let mut response = Response::new(ClientBody::empty());
    *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    let headers = response.headers_mut();
    headers.insert(CONNECTION, HeaderValue::from_static("upgrade"));
    headers.insert(UPGRADE, TUNNEL);
    if let Ok(replica) = HeaderValue::from_str(&replica) {
        headers.insert(REPLICA, replica);
    }
    Ok(response)
}

fn shown(given: &Given) -> Value {
    let lease = &given.lease;
    let ttl = lease.ttl.as_secs_f64();
    json!({
        "lease": &*lease.id,
        "slug": &*lease.slug,
        "url": &*lease.url,
        "state": lease.state.as_str(),
        "sequence": lease.sequence,
        "ttl": ttl,
        "renew_in": ttl / RENEWALS,
        "until": lease.until.map(|until| until.as_secs_f64()),
        "max_in_flight": lease.max_in_flight,
        "in_use": given.in_use,
        "serving": given.serving,
    })
}

async fn body(inbound: &mut Inbound) -> Result<bytes::Bytes, Refusal> {
    let reading = Limited::new(&mut inbound.body, LONGEST).collect();
    match tokio::time::timeout(PATIENCE, reading).await {
        Ok(Ok(read)) => Ok(read.to_bytes()),
        _ => Err(Refusal::client(
            StatusCode::BAD_REQUEST,
            "invalid_json",
            "The body did not come, or is longer than 16 KiB.",
        )),
    }
}
